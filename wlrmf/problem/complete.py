"""Every cell is observed with weight 1: all rows share one Gram matrix."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from ..kernels import chunks
from .dense import Dense
from .protocol import Fixed, Rows

EXACT_SVD = 500  # smaller side up to which the full decomposition is also the fast one


class Complete(Dense):
    """Y (m, n), all cells of weight 1; A2 is empty."""

    @property
    def nnz(self) -> int:
        return self.Y.size

    def row_counts(self) -> np.ndarray:
        return np.full(self.shape[0], self.shape[1], np.int64)

    def mean(self) -> float:
        return float(self.Y.mean(dtype=np.float64))

    def total_weight(self) -> float:
        return float(self.Y.size)

    def best_rows(self, X: np.ndarray, reg: np.ndarray, fixed: Fixed | None = None) -> Rows:
        """Solve (X'X + reg_i) w_i = X'(y_i - z_i), every ridge at once by the eigenbasis of X'X."""
        X64 = X.astype(np.float64)
        lam, Q = np.linalg.eigh(X64.T @ X64)
        b = np.empty((self.shape[0], X.shape[1]), self.dtype)

        def task(lo: int, hi: int) -> None:
            np.matmul(self.Y[lo:hi], X, out=b[lo:hi])

        chunks.run(task, self._edges(), self.n_threads)
        b64 = b.astype(np.float64)
        if fixed is not None:
            b64 -= fixed.W @ (fixed.X.T.astype(np.float64) @ X64)
        D = np.maximum(lam, 0) + reg[:, None].astype(np.float64)
        cut = 4 * len(lam) * np.finfo(self.dtype).eps * D.max(axis=1, keepdims=True)
        small = cut >= D
        W = np.where(small, 0, (b64 @ Q) / np.where(small, 1, D)) @ Q.T
        return Rows(W.astype(self.dtype), int(small.any(axis=1).sum()))

    def svd(self, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Leading singular triplets U (m, rank), s (rank,) descending, V (n, rank), in float64."""
        Y = self.Y.astype(np.float64)
        small = min(self.shape)
        if small <= EXACT_SVD or rank > small // 5:
            U, s, Vt = scipy.linalg.svd(Y, full_matrices=False)
            U, s, Vt = U[:, :rank], s[:rank], Vt[:rank]
        else:
            start = np.random.default_rng(0).standard_normal(small)
            U, s, Vt = scipy.sparse.linalg.svds(Y, rank, v0=start)
            order = np.argsort(-s)
            U, s, Vt = U[:, order], s[order], Vt[order]
        return U, s, Vt.T
