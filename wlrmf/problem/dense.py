"""Every cell has its own weight: a dense matrix of weights, 0 where a cell is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from ..kernels import chunks
from ..kernels import dense as kernels
from ..kernels.rows import solve_packed
from . import least_norm
from .observed import Observed
from .protocol import Fixed, Rows

BLOCK = 1 << 16  # cells of a temporary, so that it stays in cache between the GEMM and the kernel
CHUNK = 1 << 18  # cells below which a chunk does not repay the thread that computes it
GRAM_CHUNK = 1 << 24  # the same for row solves, in products
GRADIENT_CHUNKS = 16  # each holds its own share of dX
GRAM_ROWS = 256  # rows whose Gram matrices are one GEMM
GRAM_CELLS = 1 << 20  # numbers in a block of Khatri-Rao products or of Gram matrices


@dataclass(frozen=True, eq=False)
class Dense:
    """Y (m, n) with the weights A2 = A∘A (m, n) of its squared residuals.

    Cells of weight 0 must hold a finite Y. An empty A2 means that every weight is 1.
    """

    Y: np.ndarray
    A2: np.ndarray
    n_threads: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        m, n = self.Y.shape
        return m, n

    @property
    def dtype(self) -> np.dtype:
        return self.Y.dtype

    @property
    def nnz(self) -> int:
        return int(self.row_counts().sum())

    @cached_property
    def T(self) -> Dense:
        twin = type(self)(self.Y.T, self.A2.T, self.n_threads)
        twin.__dict__["T"] = self
        return twin

    @cached_property
    def _row_counts(self) -> np.ndarray:
        return np.count_nonzero(self.A2, axis=1).astype(np.int64)

    def row_counts(self) -> np.ndarray:
        return self._row_counts

    def col_counts(self) -> np.ndarray:
        return self.T.row_counts()

    def mean(self) -> float:
        weighted = sum(float(np.vdot(a, y)) for y, a in zip(self.Y, self.A2, strict=True))
        return weighted / self.total_weight()

    def total_weight(self) -> float:
        return float(self.A2.sum(dtype=np.float64))

    def square_sum(self) -> float:
        zero = np.zeros((1, 1), self.dtype)
        W, X = (np.broadcast_to(zero, (size, 1)) for size in self.shape)
        return self.loss(W, X)

    def _block(self, matrix: np.ndarray, lo: int, hi: int) -> np.ndarray:
        """Rows lo..hi, contiguous; the empty matrix of weights stays empty."""
        return np.ascontiguousarray(matrix[lo:hi]) if matrix.size else np.empty((0, 0), self.dtype)

    def _spans(self, lo: int, hi: int) -> Iterator[tuple[int, int]]:
        step = max(1, BLOCK // self.shape[1])
        return ((at, min(at + step, hi)) for at in range(lo, hi, step))

    def _edges(self, most: int = chunks.MAX_CHUNKS) -> np.ndarray:
        m, n = self.shape
        return chunks.even_edges(np.arange(m + 1) * n, max(CHUNK, m * n // most))

    def loss(self, W: np.ndarray, X: np.ndarray) -> float:
        def task(lo: int, hi: int) -> float:
            total = 0.0
            for a, b in self._spans(lo, hi):
                M = W[a:b] @ X.T
                total += kernels.loss(self._block(self.Y, a, b), self._block(self.A2, a, b), M)
            return total

        return sum(chunks.run(task, self._edges(), self.n_threads))

    def loss_grad(self, W: np.ndarray, X: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        dW = np.empty_like(W)

        def task(lo: int, hi: int) -> tuple[float, np.ndarray]:
            total, share = 0.0, np.zeros_like(X)
            for a, b in self._spans(lo, hi):
                M = W[a:b] @ X.T
                total += kernels.residual(self._block(self.Y, a, b), self._block(self.A2, a, b), M)
                np.multiply(M @ X, -2, out=dW[a:b])
                share += M.T @ W[a:b]
            return total, share

        parts = chunks.run(task, self._edges(GRADIENT_CHUNKS), self.n_threads)
        dX = sum((share for _, share in parts[1:]), start=parts[0][1])
        return sum(total for total, _ in parts), dW, -2 * dX

    def line(self, W: np.ndarray, X: np.ndarray, dW: np.ndarray, dX: np.ndarray) -> np.ndarray:
        left, right = np.hstack([dW, W]), np.hstack([X, dX])

        def task(lo: int, hi: int) -> np.ndarray:
            q = np.zeros(5)
            for a, b in self._spans(lo, hi):
                M, B, D = W[a:b] @ X.T, left[a:b] @ right.T, dW[a:b] @ dX.T
                Y, A2 = self._block(self.Y, a, b), self._block(self.A2, a, b)
                kernels.line(Y, A2, M, B, D, q)
            return q

        return np.sum(chunks.run(task, self._edges(), self.n_threads), axis=0)

    def gn_product(
        self, W: np.ndarray, X: np.ndarray, dW: np.ndarray, dX: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        left, right = np.hstack([dW, W]), np.hstack([X, dX])
        rows = np.empty_like(W)

        def task(lo: int, hi: int) -> np.ndarray:
            share = np.zeros_like(X)
            for a, b in self._spans(lo, hi):
                B = left[a:b] @ right.T
                if self.A2.size:
                    B *= self.A2[a:b]
                np.matmul(B, X, out=rows[a:b])
                share += B.T @ W[a:b]
            return share

        shares = chunks.run(task, self._edges(GRADIENT_CHUNKS), self.n_threads)
        return rows, sum(shares[1:], start=shares[0])

    def residual_operator(self, W: np.ndarray, X: np.ndarray) -> LinearOperator:
        R = self.Y - W @ X.T
        if self.A2.size:
            R *= self.A2
        return aslinearoperator(R)

    def best_rows(self, X: np.ndarray, reg: np.ndarray, fixed: Fixed | None = None) -> Rows:
        """The Gram matrices of a block of rows are one GEMM: A2 times X's Khatri-Rao square."""
        m, n = self.shape
        rank = X.shape[1]
        left, right = np.tril_indices(rank)
        height = max(1, min(GRAM_ROWS, GRAM_CELLS // left.size))
        width = max(1, GRAM_CELLS // left.size)
        W = np.empty((m, rank), self.dtype)
        failed = np.empty(m, np.bool_)
        whole = X[:, left] * X[:, right] if n <= width else None

        def solve(rows: slice) -> None:
            packed = np.zeros((len(W[rows]), left.size), self.dtype)
            for at in range(0, n, width):
                panel = X[at : at + width]
                products = panel[:, left] * panel[:, right] if whole is None else whole
                packed += self.A2[rows, at : at + width] @ products
            target = self.Y[rows] if fixed is None else self.Y[rows] - fixed.W[rows] @ fixed.X.T
            np.matmul(self.A2[rows] * target, X, out=W[rows])
            solve_packed(packed, reg[rows], W[rows], failed[rows])

        def task(lo: int, hi: int) -> None:
            for at in range(lo, hi, height):
                solve(slice(at, min(at + height, hi)))

        edges = chunks.even_edges(np.arange(m + 1) * (n * left.size), GRAM_CHUNK)
        chunks.run(task, edges, self.n_threads)
        counts = self.row_counts()
        short = np.flatnonzero((counts < rank) & (counts > 0))
        failed[short] = False
        deficient = self._short_rows(short, W, X, reg, fixed) + int(failed.sum())
        for i in np.flatnonzero(failed):
            seen = np.flatnonzero(self.A2[i])
            target = self.Y[i, seen]
            if fixed is not None:
                target = target - fixed.X[seen] @ fixed.W[i]
            W[i] = least_norm.from_entries(X[seen], self.A2[i, seen], target, reg[i])
        return Rows(W, deficient)

    def _short_rows(
        self, rows: np.ndarray, W: np.ndarray, X: np.ndarray, reg: np.ndarray, fixed: Fixed | None
    ) -> int:
        """Rows with fewer cells than unknowns: their dual systems are small and not singular."""
        if rows.size == 0:
            return 0
        at, columns = np.nonzero(self.A2[rows])
        indptr = np.concatenate(([0], np.cumsum(np.bincount(at, minlength=rows.size))))
        y, c = self.Y[rows[at], columns], self.A2[rows[at], columns]
        none, shape = np.empty(0, self.dtype), (rows.size, self.shape[1])
        indices = columns.astype(np.int32)
        few = Observed(shape, indptr.astype(np.int64), indices, y, c, none, none, self.n_threads)
        if fixed is not None:
            fixed = Fixed(np.ascontiguousarray(fixed.W[rows]), fixed.X)
        W[rows], deficient = few.best_rows(X, np.ascontiguousarray(reg[rows]), fixed)
        return deficient
