"""Directions that change the factors and no prediction.

Gauge freedom: Triggs, McLauchlan, Hartley & Fitzgibbon 2000, section 9 (see `joint.Joint`).
"""

from __future__ import annotations

import numpy as np


def gauge(L: np.ndarray, R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An orthonormal basis of the changes (L M, −R M'), for any M, of two factors.

    L (m, l) are the columns of one factor that the other one is free in, R (n, r) the other way
    round; pinned columns are among them. With L'L = U diag(s) U' and R'R = V diag(t) V' the changes
    of M = u_a v_b' are orthogonal, of squared length s_a + t_b.

    Returns
    -------
    ndarray (number, m, r), ndarray (number, n, l)
    """
    s, U = np.linalg.eigh(L.T @ L)
    t, V = np.linalg.eigh(R.T @ R)
    length = np.sqrt(np.maximum(np.add.outer(s, t), 0))
    a, b = np.nonzero(length > 1e-8 * length.max(initial=0))
    scale = 1 / length[a, b][:, None, None]
    left = np.einsum("ia,ra->air", (L @ U)[:, a], V[:, b])
    right = np.einsum("jb,lb->bjl", (R @ V)[:, b], U[:, a])
    return scale * left, -scale * right
