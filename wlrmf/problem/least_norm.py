"""Row solves for the few rows whose system is singular to working precision."""

from __future__ import annotations

import numpy as np
import scipy.linalg


def from_entries(X: np.ndarray, weight: np.ndarray, target: np.ndarray, reg: float) -> np.ndarray:
    """Minimum-norm minimiser of sum weight (target - X w)^2 + reg |w|^2, in float64.

    From the weighted rows themselves, not from their Gram matrix, whose condition number is the
    square: B = QR with the heavy rows first and pivoted columns, so that each row's rounding is of
    the row's own size (Cox & Higham 1998, Pitman Res. Notes Math. 380, 57-73); then
    R = U diag(s) V' and w = V diag(1 / (s + reg / s)) U'Q't, without the directions that are but
    rounding.
    """
    B = np.sqrt(weight.astype(np.float64))[:, None] * X
    t = np.sqrt(weight.astype(np.float64)) * target
    heavy = np.argsort(-np.abs(B).max(axis=1), kind="stable")
    Q, R, order = scipy.linalg.qr(B[heavy], mode="economic", pivoting=True, check_finite=False)
    U, s, Vt = np.linalg.svd(R, full_matrices=False)
    rounding = max(B.shape) * np.finfo(np.float64).eps * s.max(initial=0)
    known = s > max(rounding, float(np.finfo(np.float64).tiny))
    bare = np.where(known, s, 1)
    with np.errstate(over="ignore"):  # a ridge far above s^2 leaves 0
        filtered = np.where(known, 1 / (bare + reg / bare), 0)
    w = np.empty(X.shape[1])
    w[order] = Vt.T @ (filtered * (U.T @ (Q.T @ t[heavy])))
    return w


def from_gram(G: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Minimum-norm solution of G w = b for a symmetric positive semidefinite G."""
    return np.linalg.lstsq(G, b, rcond=None)[0]
