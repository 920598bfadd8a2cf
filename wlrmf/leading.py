"""Leading singular vectors of a linear operator, to the accuracy that a start needs."""

from __future__ import annotations

from typing import Any

import numpy as np

OVERSAMPLING = 8  # columns beyond the rank in the subspace iteration
ROUNDS = 4  # of it
DEPENDENT = 1e-5  # least diagonal entry of a Cholesky factor against its largest


def leading(
    operator: Any, rank: int, generator: np.random.Generator, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U (m, rank), s (rank,) descending and V (n, rank) with operator ≈ U diag(s) V'.

    By subspace iteration (Halko, Martinsson & Tropp 2011, SIAM Review 53, doi:10.1137/090771806,
    algorithm 4.4). `rank` is at most min(m, n).
    """
    width = min(rank + OVERSAMPLING, *operator.shape)
    V = generator.standard_normal((operator.shape[1], width)).astype(dtype)
    for _ in range(ROUNDS - 1):
        U = operator.matmat(V)
        V, _ = basis(operator.rmatmat(U / (np.abs(U).max() or 1)))  # squares must not overflow
    U, _ = basis(operator.matmat(V))
    V, R = basis(operator.rmatmat(U))
    inner_V, s, inner_Ut = np.linalg.svd(R)  # operator ≈ U R' V'
    return (U @ inner_Ut.T)[:, :rank], s[:rank], (V @ inner_V)[:, :rank]


def basis(V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """V = Q R with orthonormal columns of Q: by Cholesky, several times faster than by QR.

    That loses digits as the condition number grows (Stathopoulos & Wu 2002, SIAM J. Sci. Comput.
    23, doi:10.1137/S1064827500370883), so columns near dependence go to QR.
    """
    wide = V.astype(np.float64)
    try:
        R = np.linalg.cholesky(wide.T @ wide).T
    except np.linalg.LinAlgError:
        return np.linalg.qr(V)
    diagonal = np.diag(R)
    if diagonal.min() < DEPENDENT * diagonal.max():
        return np.linalg.qr(V)
    return V @ np.linalg.inv(R).astype(V.dtype), R.astype(V.dtype)
