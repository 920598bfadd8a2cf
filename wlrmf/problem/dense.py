"""Every cell has its own weight: a dense matrix of weights, 0 where a cell is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import cho_solve

from ..kernels import chunks
from ..kernels import dense as kernels
from ..kernels.rows import SINGULAR, Entries, room, solve, solve_packed
from ..kernels.vectors import BYTES, aligned, padded, whole
from . import grams, least_norm
from .listing import Listing
from .observed import Observed
from .protocol import Fixed, Rows
from .residuals import Residuals

BLOCK = 1 << 16  # cells of a temporary, so that it stays in cache between the GEMM and the kernel
TILE = 8  # rows of a tile
CHUNK = 1 << 18  # cells below which a chunk does not repay the thread that computes it
GRADIENT_CHUNKS = 16  # each holds its own share of dX
ALIKE = 8  # rows of the same weights that repay their being found
GRAM_ROWS = 256  # rows that repay the thread that solves them
# Products over all cells, seen or not, beat the tiles of the sparse row solve up to this many bytes
# of a row of X for each share of seen cells: rank 25 in float32 if half of them are.
NARROW = 200

behind = partial(padded, behind=True)


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

    @property
    def n_listed(self) -> int:
        return self.nnz

    def observed(self) -> Observed:
        """The same problem as a list of its cells with a weight."""
        entries = self._entries(slice(None))
        weight = entries.c
        arrays = entries._replace(c=weight[:0] if np.all(weight == 1) else weight)
        return Observed(self.shape, *arrays, self.n_threads)

    listing = cached_property(Listing.of)

    def _entries(self, rows: slice | np.ndarray) -> Entries:
        """The cells with a weight of some rows."""
        indptr = np.concatenate(([0], np.cumsum(self.row_counts()[rows])))
        indices = np.empty(indptr[-1] + 1, np.int32)  # one too many: see `gather`
        y, c = np.empty((2, indptr[-1] + 1), self.dtype)
        Y, A2 = (np.ascontiguousarray(matrix[rows]) for matrix in (self.Y, self.A2))
        kernels.gather(Y, A2, indices, y, c)
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

    @property
    def along_memory(self) -> bool:
        """Whether rows are contiguous; of a transpose they are not: passes over it are over T."""
        return self.Y.flags.c_contiguous

    @property
    def block_rows(self) -> int:
        """Rows whose temporaries stay in cache: whole tiles of them, unless they are very long."""
        m, n = self.shape
        return min(m, max(TILE if n <= BLOCK else 1, BLOCK // n // TILE * TILE))

    def spans(self, lo: int, hi: int) -> Iterator[slice]:
        """Blocks of the rows lo..hi."""
        step = self.block_rows
        return (slice(at, min(at + step, hi)) for at in range(lo, hi, step))

    def edges(self, most: int = chunks.MAX_CHUNKS) -> np.ndarray:
        """Chunks for a pass over all cells."""
        m, n = self.shape
        return chunks.even_edges(np.arange(m + 1) * n, max(CHUNK, m * n // most))

    def _blocks(self, *columns: int) -> list[np.ndarray]:
        """For what a thread makes of a block: arrays of so many columns."""
        rows, lanes = kernels.whole_tiles(self.block_rows), BYTES // self.dtype.itemsize
        return [aligned(rows, whole(max(count, 1), lanes), self.dtype) for count in columns]

    def loss(self, W: np.ndarray, X: np.ndarray) -> float:
        if not self.along_memory:
            return self.T.loss(X, W)
        left, right, room = behind(W), behind(X.T), partial(self._blocks, X.shape[1], len(X))

        def task(lo: int, hi: int, own: Any) -> float:
            return kernels.loss(self.Y, self.A2, left, right, lo, hi, *own)

        return sum(chunks.run_with(room, task, self.edges(), self.n_threads))

    def loss_grad(self, W: np.ndarray, X: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        if not self.along_memory:
            loss, dX, dW = self.T.loss_grad(X, W)
            return loss, dW, dX
        (n, rank), dW = X.shape, np.empty(W.shape, self.dtype)
        left, columns, right = behind(W), behind(X), behind(X.T)
        room = partial(self._blocks, rank, n, rank)

        def task(lo: int, hi: int, own: Any) -> tuple[float, np.ndarray]:
            share = aligned(kernels.whole_tiles(n), columns.shape[1], self.dtype)
            given = self.Y, self.A2, left, columns, right, lo, hi
            return kernels.gradient(*given, *own, dW, share), share

        parts = chunks.run_with(room, task, self.edges(GRADIENT_CHUNKS), self.n_threads)
        dX = sum((share for _, share in parts[1:]), start=parts[0][1])
        return sum(total for total, _ in parts), -2 * dW, -2 * dX[:n, :rank]

    def line(self, W: np.ndarray, X: np.ndarray, dW: np.ndarray, dX: np.ndarray) -> np.ndarray:
        if not self.along_memory:
            return self.T.line(X, W, dX, dW)
        (n, rank), factors = X.shape, [behind(F) for F in (W, dW, X.T, dX.T)]

        def task(lo: int, hi: int, own: Any) -> np.ndarray:
            q = np.zeros(5)
            kernels.line(self.Y, self.A2, *factors, lo, hi, *own, q)
            return q

        room = partial(self._blocks, rank, rank, n, n, n)
        return np.sum(chunks.run_with(room, task, self.edges(), self.n_threads), axis=0)

    def gn_product(
        self, W: np.ndarray, X: np.ndarray, dW: np.ndarray, dX: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        if not self.along_memory:
            return self.T.gn_product(X, W, dX, dW)[::-1]
        left, right = np.hstack([dW, W]), np.hstack([X, dX])
        rows = np.empty_like(W)

        def task(lo: int, hi: int) -> np.ndarray:
            share = np.zeros_like(X)
            for some in self.spans(lo, hi):
                B = left[some] @ right.T
                if self.A2.size:
                    B *= self.A2[some]
                np.matmul(B, X, out=rows[some])
                share += B.T @ W[some]
            return share

        shares = chunks.run(task, self.edges(GRADIENT_CHUNKS), self.n_threads)
        return rows, sum(shares[1:], start=shares[0])

    def residual_operator(self, W: np.ndarray, X: np.ndarray) -> Residuals:
        return self._operator(W, X, lambda A2: A2)

    def start_operator(self, W: np.ndarray, X: np.ndarray) -> Residuals:
        """With the weights a / (a + k), k the square of half the mean of A over the seen cells.

        The leading factors of A∘A∘(Y - W X') itself are those of its few heaviest cells. Sums of
        cells are least noisy if a cell that is known better than the signal is large counts no
        more for that; how large it is, weights that are known up to a factor do not tell.
        """
        knee = self.dtype.type((self._root_sum() / self.nnz / 2) ** 2)
        return self._operator(W, X, lambda A2: A2 / (A2 + knee))

    def _root_sum(self) -> float:
        """Sum of A."""

        def task(lo: int, hi: int) -> float:
            return sum(float(np.sqrt(self.A2[some]).sum()) for some in self.spans(lo, hi))

        return sum(chunks.run(task, self.edges(), self.n_threads))

    def _operator(self, W: np.ndarray, X: np.ndarray, weight: Any) -> Residuals:
        """weight(A∘A)∘(Y - W X')."""
        R = np.empty(self.shape, self.dtype)

        def fill(lo: int, hi: int) -> None:
            for some in self.spans(lo, hi):
                np.matmul(W[some], X.T, out=R[some])
                np.subtract(self.Y[some], R[some], out=R[some])
                if self.A2.size:
                    R[some] *= weight(self.A2[some])

        chunks.run(fill, self.edges(), self.n_threads)
        return Residuals.of(R)

    def row_grams(self, X: np.ndarray, rows: np.ndarray) -> np.ndarray:
        step = max(1, BLOCK // self.shape[1])
        blocks = (rows[at : at + step] for at in range(0, len(rows), step))
        grams_of = [grams.of_weights(self.A2[some].astype(np.float64), X) for some in blocks]
        return np.concatenate(grams_of or [np.empty((0, X.shape[1], X.shape[1]))])

    def best_rows(self, X: np.ndarray, reg: np.ndarray, fixed: Fixed | None = None) -> Rows:
        """Rows of the same weights share a factorization; few columns of X have few products."""
        m, rank = self.shape[0], X.shape[1]
        W, failed = np.empty((m, rank), self.dtype), np.empty(m, np.bool_)
        counts, alone = self.row_counts(), np.ones(m, np.bool_)
        task = _Task(X, reg, fixed, W, failed)
        for rows in self._alike:
            if counts[rows[0]] >= rank and np.ptp(reg[rows]) == 0:
                self._solve_alike(rows, task)
                alone[rows] = False
        narrow = rank * self.dtype.itemsize * self.Y.size <= NARROW * counts.sum()
        if narrow and grams.fits(self.shape, rank) and alone.all():
            self._solve_by_products(task)
            alone = (counts < rank) & (counts > 0)  # what their dual form is for
        self._solve_by_entries(np.flatnonzero(alone), task)
        for i in np.flatnonzero(failed):
            seen = np.flatnonzero(self.A2[i])
            target = self.target(fixed, i, seen)
            W[i] = least_norm.from_entries(X[seen], self.A2[i, seen], target, reg[i])
        return Rows(W, int(failed.sum()))

    def target(self, fixed: Fixed | None, rows: Any, seen: Any = slice(None)) -> np.ndarray:
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
        W[rows] = cho_solve((factor, True), (self.target(fixed, rows, seen) @ weighted).T).T

    def _solve_by_products(self, task: _Task) -> None:
        X, reg, fixed, W, failed = task
        G, w = grams.systems(self, X, fixed)
        W[:] = w

        def solve_rows(lo: int, hi: int) -> None:
            solve_packed(G[lo:hi], reg[lo:hi], W[lo:hi], failed[lo:hi])

        edges = chunks.even_edges(np.arange(len(W) + 1), GRAM_ROWS)
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
