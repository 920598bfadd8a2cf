"""Every cell has its own weight: a dense matrix of weights, 0 where a cell is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import cho_solve
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from ..kernels import chunks
from ..kernels import dense as kernels
from ..kernels.rows import SINGULAR, Entries, room, solve, solve_packed
from ..kernels.vectors import padded
from . import least_norm
from .observed import Observed
from .protocol import Fixed, Rows

BLOCK = 1 << 16  # cells of a temporary, so that it stays in cache between the GEMM and the kernel
CHUNK = 1 << 18  # cells below which a chunk does not repay the thread that computes it
GRAM_CHUNK = 1 << 24  # the same for row solves, in products
GRADIENT_CHUNKS = 16  # each holds its own share of dX
ALIKE = 8  # rows of the same weights that repay their being found
GRAM_ROWS = 256  # rows whose Gram matrices are one GEMM
GRAM_CELLS = 1 << 20  # numbers in a block of Khatri-Rao products
# Where a GEMM over all cells, seen or not, beats the tiles of the sparse row solve.
FEW = 12  # rank
HOLES = 0.4  # share of seen cells


class _Task(NamedTuple):
    """What the row solves are given, and where their answers go."""

    X: np.ndarray
    reg: np.ndarray
    fixed: Fixed | None
    W: np.ndarray
    failed: np.ndarray


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

    def observed(self) -> Observed:
        """The same problem as a list of its cells with a weight."""
        entries = self._entries(slice(None))
        weight = entries.c
        arrays = entries._replace(c=weight[:0] if np.all(weight == 1) else weight)
        return Observed(self.shape, *arrays, self.n_threads)

    def _entries(self, rows: slice | np.ndarray) -> Entries:
        """The cells with a weight of some rows."""
        indptr = np.concatenate(([0], np.cumsum(self.row_counts()[rows])))
        indices = np.empty(indptr[-1] + 1, np.int32)  # one too many: see `gather`
        y, c = np.empty((2, indptr[-1] + 1), self.dtype)
        kernels.gather(self._block(self.Y, rows), self._block(self.A2, rows), indices, y, c)
        none = np.empty(0, self.dtype)
        return Entries(indptr, indices[:-1], y[:-1], c[:-1], none, none)

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

    def _block(self, matrix: np.ndarray, rows: slice | np.ndarray) -> np.ndarray:
        """Some rows, contiguous; the empty matrix of weights stays empty."""
        return np.ascontiguousarray(matrix[rows]) if matrix.size else np.empty((0, 0), self.dtype)

    def _spans(self, lo: int, hi: int) -> Iterator[slice]:
        step = max(1, BLOCK // self.shape[1])
        return (slice(at, min(at + step, hi)) for at in range(lo, hi, step))

    def _edges(self, most: int = chunks.MAX_CHUNKS) -> np.ndarray:
        m, n = self.shape
        return chunks.even_edges(np.arange(m + 1) * n, max(CHUNK, m * n // most))

    def loss(self, W: np.ndarray, X: np.ndarray) -> float:
        def task(lo: int, hi: int) -> float:
            total = 0.0
            for some in self._spans(lo, hi):
                M = W[some] @ X.T
                total += kernels.loss(self._block(self.Y, some), self._block(self.A2, some), M)
            return total

        return sum(chunks.run(task, self._edges(), self.n_threads))

    def loss_grad(self, W: np.ndarray, X: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        dW = np.empty_like(W)

        def task(lo: int, hi: int) -> tuple[float, np.ndarray]:
            total, share = 0.0, np.zeros_like(X)
            for some in self._spans(lo, hi):
                M = W[some] @ X.T
                total += kernels.residual(self._block(self.Y, some), self._block(self.A2, some), M)
                np.multiply(M @ X, -2, out=dW[some])
                share += M.T @ W[some]
            return total, share

        parts = chunks.run(task, self._edges(GRADIENT_CHUNKS), self.n_threads)
        dX = sum((share for _, share in parts[1:]), start=parts[0][1])
        return sum(total for total, _ in parts), dW, -2 * dX

    def line(self, W: np.ndarray, X: np.ndarray, dW: np.ndarray, dX: np.ndarray) -> np.ndarray:
        left, right = np.hstack([dW, W]), np.hstack([X, dX])

        def task(lo: int, hi: int) -> np.ndarray:
            q = np.zeros(5)
            for some in self._spans(lo, hi):
                M, B, D = W[some] @ X.T, left[some] @ right.T, dW[some] @ dX.T
                Y, A2 = self._block(self.Y, some), self._block(self.A2, some)
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
            for some in self._spans(lo, hi):
                B = left[some] @ right.T
                if self.A2.size:
                    B *= self.A2[some]
                np.matmul(B, X, out=rows[some])
                share += B.T @ W[some]
            return share

        shares = chunks.run(task, self._edges(GRADIENT_CHUNKS), self.n_threads)
        return rows, sum(shares[1:], start=shares[0])

    def residual_operator(self, W: np.ndarray, X: np.ndarray) -> LinearOperator:
        R = W @ X.T
        np.subtract(self.Y, R, out=R)
        if self.A2.size:
            R *= self.A2
        return aslinearoperator(R)

    def best_rows(self, X: np.ndarray, reg: np.ndarray, fixed: Fixed | None = None) -> Rows:
        """Rows of the same weights share a factorization; few products of columns are a GEMM."""
        m, rank = self.shape[0], X.shape[1]
        W, failed = np.empty((m, rank), self.dtype), np.empty(m, np.bool_)
        counts, alone = self.row_counts(), np.ones(m, np.bool_)
        task = _Task(X, reg, fixed, W, failed)
        for rows in self._alike:
            if counts[rows[0]] >= rank and np.ptp(reg[rows]) == 0:
                self._solve_alike(rows, task)
                alone[rows] = False
        if rank <= FEW and alone.all() and counts.sum() > HOLES * self.Y.size:
            self._solve_by_products(task)
            alone = (counts < rank) & (counts > 0)  # what their dual form is for
        self._solve_by_entries(np.flatnonzero(alone), task)
        for i in np.flatnonzero(failed):
            seen = np.flatnonzero(self.A2[i])
            target = self._target(fixed, i, seen)
            W[i] = least_norm.from_entries(X[seen], self.A2[i, seen], target, reg[i])
        return Rows(W, int(failed.sum()))

    def _target(self, fixed: Fixed | None, rows: Any, seen: Any = slice(None)) -> np.ndarray:
        """What the fixed columns leave of Y at some rows and columns."""
        Y = self.Y[rows][..., seen]
        return Y if fixed is None else Y - fixed.W[rows] @ fixed.X[seen].T

    @cached_property
    def _alike(self) -> list[np.ndarray]:
        """The rows of each weight vector that at least ALIKE rows have, if most rows have one."""
        sums = self.A2.sum(axis=1, dtype=np.float64)
        if np.unique(sums).size * ALIKE > sums.size:
            return []
        found: dict[bytes, list[int]] = {}
        for i, row in enumerate(self.A2):
            found.setdefault(row.tobytes(), []).append(i)
        return [np.array(rows) for rows in found.values() if len(rows) >= ALIKE]

    def _solve_alike(self, rows: np.ndarray, task: _Task) -> None:
        """Rows of the same weights and ridge: one factorization in float64, many right sides."""
        X, reg, fixed, W, failed = task
        seen = np.flatnonzero(self.A2[rows[0]])
        x, a = X[seen].astype(np.float64), self.A2[rows[0], seen].astype(np.float64)
        weighted = x * a[:, None]
        G = weighted.T @ x + float(reg[rows[0]]) * np.eye(X.shape[1])
        try:
            factor = np.linalg.cholesky(G)
        except np.linalg.LinAlgError:
            failed[rows] = True
            return
        failed[rows] = bool(np.any(np.diag(factor) ** 2 <= SINGULAR * np.diag(G)))
        W[rows] = cho_solve((factor, True), (self._target(fixed, rows, seen) @ weighted).T).T

    def _solve_by_products(self, task: _Task) -> None:
        """The Gram matrices of a block of rows are one GEMM: A2 times X's Khatri-Rao square."""
        (m, n), (X, reg, fixed, W, failed) = self.shape, task
        left, right = np.tril_indices(X.shape[1])
        width = max(1, GRAM_CELLS // left.size)
        whole = X[:, left] * X[:, right] if n <= width else None

        def solve_block(rows: slice) -> None:
            packed = np.zeros((len(W[rows]), left.size), self.dtype)
            for at in range(0, n, width):
                panel = X[at : at + width]
                products = panel[:, left] * panel[:, right] if whole is None else whole
                packed += self.A2[rows, at : at + width] @ products
            np.matmul(self.A2[rows] * self._target(fixed, rows), X, out=W[rows])
            solve_packed(packed, reg[rows], W[rows], failed[rows])

        def solve_rows(lo: int, hi: int) -> None:
            for at in range(lo, hi, GRAM_ROWS):
                solve_block(slice(at, min(at + GRAM_ROWS, hi)))

        edges = chunks.even_edges(np.arange(m + 1) * (n * left.size), GRAM_CHUNK)
        chunks.run(solve_rows, edges, self.n_threads)

    def _solve_by_entries(self, rows: np.ndarray, task: _Task) -> None:
        """These rows as sparse ones, a block of them at a time."""
        if rows.size == 0:
            return
        X, reg, fixed, W, failed = task
        right, none, counts = padded(X), np.empty(0, self.dtype), self.row_counts()[rows]
        step, given = max(1, BLOCK // self.shape[1]), fixed or Fixed.none(self.shape, self.dtype)

        def solve_rows(lo: int, hi: int, own: Any) -> None:
            for at in range(lo, hi, step):
                some = rows[at : min(at + step, hi)]
                entries = self._entries(some)
                beside = Fixed(np.ascontiguousarray(given.W[some]), given.X)
                out, bad = np.empty((len(some), X.shape[1]), self.dtype), np.empty(len(some), bool)
                span = reg[some], none.reshape(0, 0), 0, len(some)
                solve(entries, beside, right, X.shape[1], none, *span, own, out, bad)
                W[some], failed[some] = out, bad

        edges = chunks.even_edges(np.concatenate(([0], np.cumsum(counts + 1))), CHUNK)
        room_of_thread = partial(room, right, np.dtype(np.int32))
        chunks.run_with(room_of_thread, solve_rows, edges, self.n_threads)
