"""Every cell is observed with weight 1: all rows share one Gram matrix."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from ..kernels import chunks
from . import grams
from .dense import Dense
from .observed import Observed
from .protocol import Fixed, Rows
from .residuals import Residuals

EXACT_SVD = 500  # smaller side up to which the full decomposition is also the fast one


class Complete(Dense):
    """Y (m, n), all cells of weight 1; A2 is empty."""

    @property
    def nnz(self) -> int:
        return self.Y.size

    def observed(self) -> Observed:
        m, n = self.shape
        indptr, indices = np.arange(m + 1) * n, np.tile(np.arange(n, dtype=np.int32), m)
        none = np.empty(0, self.dtype)
        y = np.ascontiguousarray(self.Y).ravel()
        return Observed(self.shape, indptr, indices, y, none, none, none, self.n_threads)

    def row_counts(self) -> np.ndarray:
        return np.full(self.shape[0], self.shape[1], np.int64)

    def mean(self) -> float:
        return float(self.Y.mean(dtype=np.float64))

    def start_operator(self, W: np.ndarray, X: np.ndarray) -> Residuals:
        return self.residual_operator(W, X)

    def total_weight(self) -> float:
        return float(self.Y.size)

    def row_grams(self, X: np.ndarray, rows: np.ndarray) -> np.ndarray:
        G = grams.of_weights(np.ones((1, len(X))), X)
        return np.broadcast_to(G, (len(rows), *G.shape[1:]))

    def best_rows(self, X: np.ndarray, reg: np.ndarray, fixed: Fixed | None = None) -> Rows:
        """With X = U diag(s) V', w_i = V diag(s / (s² + reg_i)) U'(y_i − z_i), in float64.

        The decomposition of X itself, not of X'X, keeps directions down to rounding, and leaves
        out those that are below it: the solution of minimum norm.
        """
        U, s, Vt = scipy.linalg.svd(X.astype(np.float64), full_matrices=False)
        b = np.empty((self.shape[0], len(s)))

        def task(lo: int, hi: int) -> None:
            for some in self.spans(lo, hi):
                np.matmul(self.Y[some].astype(np.float64), U, out=b[some])

        chunks.run(task, self.edges(), self.n_threads)
        if fixed is not None:
            b -= fixed.W @ (fixed.X.T.astype(np.float64) @ U)
        D = s**2 + reg[:, None].astype(np.float64)
        small = (s <= max(X.shape) * np.finfo(np.float64).eps * s[0]) & (reg[:, None] == 0)
        W = np.where(small, 0, b * s / np.where(small | (D == 0), 1, D)) @ Vt
        deficient = small.any(axis=1) | (X.shape[1] > X.shape[0])
        return Rows(W.astype(self.dtype), int(deficient.sum()))

    def svd(self, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Leading singular triplets U (m, rank), s (rank,) descending, V (n, rank), in float64."""
        Y = self.Y.astype(np.float64)
        small = min(self.shape)
        if small <= EXACT_SVD or rank > small // 5 or not Y.any():
            U, s, Vt = scipy.linalg.svd(Y, full_matrices=False)
            U, s, Vt = U[:, :rank], s[:rank], Vt[:rank]
        else:
            start = np.random.default_rng(0).standard_normal(small)
            U, s, Vt = scipy.sparse.linalg.svds(Y, rank, v0=start)
            order = np.argsort(-s)
            U, s, Vt = U[:, order], s[order], Vt[order]
        return U, s, Vt.T
