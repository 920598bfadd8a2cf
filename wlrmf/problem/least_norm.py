"""Row solves for the few rows whose system is singular to working precision."""

from __future__ import annotations

import numpy as np


def from_entries(X: np.ndarray, weight: np.ndarray, target: np.ndarray, reg: float) -> np.ndarray:
    """Minimum-norm minimiser of sum weight (target - X w)^2 + reg |w|^2.

    By a singular value decomposition of the weighted rows themselves, not of their Gram matrix,
    whose condition number is the square.
    """
    root = np.sqrt(weight.astype(np.float64))
    B = root[:, None] * X
    t = root * target
    if reg > 0:
        B = np.vstack([B, np.sqrt(float(reg)) * np.eye(X.shape[1])])
        t = np.concatenate([t, np.zeros(X.shape[1])])
    return np.linalg.lstsq(B, t, rcond=None)[0]


def from_gram(G: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Minimum-norm solution of G w = b for a symmetric positive semidefinite G."""
    return np.linalg.lstsq(G, b, rcond=None)[0]
