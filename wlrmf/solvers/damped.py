"""Damped Gauss-Newton steps of variable projection: by the whole matrix, or by products with it.

The damping is one number for all unknowns (Levenberg 1944, Quart. Appl. Math. 2,
doi:10.1090/qam/10666), smaller after a good step and larger after a bad one (Marquardt 1963,
J. SIAM 11, doi:10.1137/0111030). Conjugate gradients end at a residual relative to their first
(Dembo, Eisenstat & Steihaug 1982, SIAM J. Numer. Anal. 19, doi:10.1137/0719025); the block
diagonals before them are as in bundle adjustment (Agarwal, Snavely, Seitz & Szeliski 2010, ECCV,
doi:10.1007/978-3-642-15552-9_3).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ..problem import Reduced, Solved

PRODUCTS = 500  # of conjugate gradients in one step, at most
DUST = 1e-14  # added to what they are preconditioned by, relative, so that it has an inverse

Solve = Callable[[float], np.ndarray | None]


def factorized(reduced: Reduced, at: Solved) -> Solve:
    """Damped steps by Cholesky of the whole matrix."""
    H, U = reduced.hessian(at), reduced.blind(at)
    diagonal = np.diag_indices(len(H))
    scale = float(H[diagonal].mean()) if H.size else 0.0
    H += scale * np.kron(U @ U.T, np.eye(reduced.columns))
    bare, g = H[diagonal], at.gradient

    def solve(damping: float) -> np.ndarray | None:
        H[diagonal] = bare + damping * scale
        try:
            factor = cho_factor(H, lower=True, check_finite=False)
        except LinAlgError:
            return None
        return -cho_solve(factor, g.ravel(), check_finite=False).reshape(g.shape)

    return solve


def iterated(reduced: Reduced, at: Solved, inexact: float) -> Solve:
    """Damped steps by conjugate gradients, the diagonal blocks as their preconditioner.

    Where the model is blind nothing is sought: the steps stay orthogonal to it.
    """
    blocks, U = reduced.blocks(at), reduced.blind(at)
    unit, mean = np.eye(reduced.columns), blocks.mean(axis=0)
    scale = float(np.trace(mean)) / max(1, reduced.columns)
    blocks += DUST * mean + (DUST**2 * scale or 1.0) * unit

    def seen(D: np.ndarray) -> np.ndarray:
        return D - U @ (U.T @ D) if U.size else D

    def solve(damping: float) -> np.ndarray:
        inverse = np.linalg.inv(blocks + damping * scale * unit)

        def conditioned(r: np.ndarray) -> np.ndarray:
            return seen(np.matmul(inverse, r[:, :, None])[:, :, 0])

        D, r = np.zeros_like(at.gradient), seen(-at.gradient)
        p = z = conditioned(r)
        size = first = float(np.vdot(r, z))
        for _ in range(PRODUCTS):
            if not size > inexact**2 * first:
                break
            q = seen(reduced.product(at, p) + damping * scale * p)
            curvature = float(np.vdot(p, q))
            if not curvature > 0:
                break
            step = size / curvature
            D, r = D + step * p, r - step * q
            z = conditioned(r)
            before, size = size, float(np.vdot(r, z))
            p = z + (size / before) * p
        return D

    return solve
