"""Only the stored cells of a sparse matrix are observed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..kernels import chunks, rows, steps, transpose
from ..kernels import sparse as kernels
from ..kernels.vectors import aligned, padded, unpadded
from . import grams, least_norm
from .listing import Listing
from .protocol import Fixed, Rows
from .residuals import Residuals, Side

CHUNK = 1 << 14  # stored entries below which a chunk is not worth its overhead
GRAM_ROWS = 512  # rows of a Gram matrix's share, which stay in the cache
STEPS_COST = 28  # operations of an exact row solve, an entry and column, that take as long as steps
TRANSPOSED = 8  # chunks of a transpose at most: each has a count of every column


@dataclass(frozen=True, eq=False)
class Observed:
    """CSR: targets y and weights c of the stored cells (an empty c means that all are 1).

    `u` and `v` are empty here; `Baseline` fills them.
    """

    shape: tuple[int, int]
    indptr: np.ndarray
    indices: np.ndarray
    y: np.ndarray
    c: np.ndarray
    u: np.ndarray
    v: np.ndarray
    n_threads: int = 1

    @property
    def dtype(self) -> np.dtype:
        return self.y.dtype

    @property
    def nnz(self) -> int:
        return self.y.size

    @property
    def n_listed(self) -> int:
        return self.nnz

    def observed(self) -> Observed:
        return self

    listing = cached_property(Listing.of)

    @cached_property
    def T(self) -> Observed:
        m, n = self.shape
        edges = chunks.even_edges(self.indptr, max(CHUNK, self.nnz // TRANSPOSED))
        numbers = np.arange(len(edges))
        counts = np.zeros((len(edges), n), np.int64)  # row k: of the chunks before k
        own = np.empty(self.nnz, np.int32 if m <= np.iinfo(np.int32).max else np.int64)
        y, c = np.empty_like(self.y), np.empty_like(self.c)

        def count(k: int, _: int) -> None:
            lo, hi = self.indptr[edges[k]], self.indptr[edges[k + 1]]
            transpose.count(self.indices, lo, hi, counts[k + 1])

        def scatter(k: int, _: int) -> None:
            entries = self.indptr, self.indices, self.y, self.c
            transpose.scatter(*entries, edges[k], edges[k + 1], place[k], own, y, c)

        chunks.run(count, numbers, self.n_threads)
        indptr = np.concatenate(([0], np.cumsum(counts.sum(axis=0))))
        place = indptr[:-1] + np.cumsum(counts, axis=0)
        chunks.run(scatter, numbers, self.n_threads)
        twin = type(self)((n, m), indptr, own, y, c, self.v, self.u, self.n_threads)
        twin.__dict__["T"] = self
        return twin

    def _csr(self, values: np.ndarray) -> sp.csr_array:
        return sp.csr_array((values, self.indices, self.indptr), shape=self.shape)

    def row_counts(self) -> np.ndarray:
        return np.diff(self.indptr)

    def col_counts(self) -> np.ndarray:
        return self.T.row_counts()

    def mean(self) -> float:
        weighted = float(np.sum(self.c * self.y if self.c.size else self.y, dtype=np.float64))
        return weighted / self.total_weight()

    def total_weight(self) -> float:
        return float(self.c.sum(dtype=np.float64)) if self.c.size else float(self.nnz)

    def square_sum(self) -> float:
        square = np.square(self.y, dtype=np.float64)
        return float(np.dot(self.c, square) if self.c.size else square.sum())

    @property
    def _arrays(self) -> rows.Entries:
        return rows.Entries(self.indptr, self.indices, self.y, self.c, self.u, self.v)

    @cached_property
    def _edges(self) -> np.ndarray:
        work = self.indptr + np.arange(len(self.indptr))  # an empty row costs something too
        return chunks.even_edges(work, CHUNK)

    def _run(self, task: Any) -> list[Any]:
        return chunks.run(task, self._edges, self.n_threads)

    def loss(self, W: np.ndarray, X: np.ndarray) -> float:
        W, X = padded(W), padded(X)
        return sum(self._run(lambda lo, hi: kernels.loss(*self._arrays, W, X, lo, hi)))

    def loss_grad(self, W: np.ndarray, X: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        loss, dW = self._loss_row_grad(W, X)
        _, dX = self.T._loss_row_grad(X, W)
        return loss, dW, dX

    def row_grad(self, W: np.ndarray, X: np.ndarray) -> np.ndarray:
        return self._loss_row_grad(W, X)[1]

    def _loss_row_grad(self, W: np.ndarray, X: np.ndarray) -> tuple[float, np.ndarray]:
        """Each thread writes its own rows; the other factor's gradient is the transpose's."""
        rank, W, X = W.shape[1], padded(W), padded(X)
        dW = np.empty_like(W)
        parts = self._run(lambda lo, hi: kernels.gradient(*self._arrays, W, X, lo, hi, dW))
        return sum(parts), unpadded(dW, rank)

    def line(self, W: np.ndarray, X: np.ndarray, dW: np.ndarray, dX: np.ndarray) -> np.ndarray:
        WdW, XdX = padded(W, dW, W), padded(X, dX)

        def task(lo: int, hi: int) -> np.ndarray:
            q = np.zeros(5)
            kernels.line(*self._arrays, WdW, XdX, lo, hi, q)
            return q

        return np.sum(self._run(task), axis=0)

    def gn_product(
        self, W: np.ndarray, X: np.ndarray, dW: np.ndarray, dX: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return self._gn_rows(W, X, dW, dX), self.T._gn_rows(X, W, dX, dW)

    def _gn_rows(self, W: np.ndarray, X: np.ndarray, dW: np.ndarray, dX: np.ndarray) -> np.ndarray:
        dWW, XdX = padded(dW, W), padded(X, dX)
        out = np.empty((len(W), XdX.shape[1] // 2), self.dtype)
        arrays = self.indptr, self.indices, self.c, self.u, self.v
        self._run(lambda lo, hi: kernels.gauss_newton(*arrays, dWW, XdX, lo, hi, out))
        return unpadded(out, W.shape[1])

    def _residual(self, W: np.ndarray, X: np.ndarray) -> np.ndarray:
        out = np.empty_like(self.y)
        W, X = padded(W), padded(X)
        self._run(lambda lo, hi: kernels.residual(*self._arrays, W, X, lo, hi, out))
        return out

    def _product(self, values: np.ndarray, X: np.ndarray) -> np.ndarray:
        """The sparse matrix of these values times X, of one or two dimensions."""
        columns = X[:, None] if X.ndim == 1 else X
        right = padded(columns.astype(self.dtype, copy=False))
        out = np.empty((self.shape[0], right.shape[1]), self.dtype)
        arrays = self.indptr, self.indices, values, right
        self._run(lambda lo, hi: kernels.product(*arrays, lo, hi, out))
        return unpadded(out, columns.shape[1])

    def residual_operator(self, W: np.ndarray, X: np.ndarray) -> Residuals:
        sides = partial(self._residual_side, W, X), partial(self.T._residual_side, X, W)
        return Residuals(self.shape, self.dtype, *sides)

    def _residual_side(self, W: np.ndarray, X: np.ndarray) -> Side:
        values, m, n = self._residual(W, X), *self.shape

        def rows(lo: int, hi: int) -> np.ndarray:
            ends = self.indptr[lo : min(hi, m) + 1]
            some = slice(ends[0], ends[-1])
            arrays = values[some], self.indices[some], ends - ends[0]
            return sp.csr_array(arrays, shape=(len(ends) - 1, n)).toarray()

        return Side(lambda x: self._product(values, x), rows)

    def start_operator(self, W: np.ndarray, X: np.ndarray) -> Residuals:
        return self.residual_operator(W, X)

    def row_grams(self, X: np.ndarray, rows: np.ndarray) -> np.ndarray:
        weight = self.c if self.c.size else np.ones_like(self.y)
        return grams.of_weights(self._csr(weight.astype(np.float64))[rows], X)

    def best_rows(self, X: np.ndarray, reg: np.ndarray, fixed: Fixed | None = None) -> Rows:
        empty = np.empty(0, self.dtype)
        W, failed = self._solve(X, empty, reg, empty.reshape(0, 0), fixed)
        for i in np.flatnonzero(failed):
            entries = slice(self.indptr[i], self.indptr[i + 1])
            columns, target = self.indices[entries], self.y[entries]
            weight = self.c[entries] if self.c.size else np.ones_like(target)
            if fixed is not None:
                target = target - fixed.X[columns] @ fixed.W[i]
            W[i] = least_norm.from_entries(X[columns], weight, target, reg[i])
        return Rows(W, int(failed.sum()))

    def steps_are_cheaper(self, columns: int) -> bool:
        counts = self.row_counts().astype(np.float64)
        primal = counts * columns**2 + columns**3 / 3
        dual = counts**2 * columns + counts**3 / 3
        return float(np.minimum(primal, dual).sum()) > STEPS_COST * self.nnz * columns

    def near_rows(self, X: np.ndarray, reg: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        weight = self._column_weights
        lam, Q = np.linalg.eigh(self._gram(X, weight, dtype=self.dtype))
        lam, Q = np.maximum(lam, 0).astype(self.dtype), Q.astype(self.dtype)
        right, total = padded(X @ Q), float(weight.sum(dtype=np.float64))
        moved = aligned(len(gradient), right.shape[1], self.dtype)
        share = 1 / total if total > 0 else 0.0
        entries = self.indptr, self.indices, self.c, self.u, self.v

        def task(lo: int, hi: int, room: Any) -> None:
            rotated = moved[lo:hi, -len(lam) :]
            np.matmul(gradient[lo:hi] * self.dtype.type(-0.5), Q, out=rotated)
            steps.approach(entries, right, lam, share, reg, lo, hi, room, moved)
            rotated[:] = rotated @ Q.T

        chunks.run_with(partial(steps.room, right), task, self._edges, self.n_threads)
        return moved[:, -len(lam) :]

    @cached_property
    def _column_weights(self) -> np.ndarray:
        """What an average row would weigh its columns by."""
        if self.c.size == 0:
            return self.col_counts().astype(self.dtype)
        twin = self.T
        return np.asarray(twin._csr(twin.c) @ np.ones(self.shape[0], self.dtype))

    def _gram(
        self,
        W: np.ndarray,
        weight: np.ndarray,
        V: np.ndarray | None = None,
        dtype: Any = np.float64,
    ) -> np.ndarray:
        """W' diag(weight) V, or with W again; blocks of rows in `dtype`, their sum in float64."""

        def task(lo: int, hi: int) -> np.ndarray:
            scale, part = weight[lo:hi, None].astype(dtype), W[lo:hi].astype(dtype, copy=False)
            if V is not None:
                return (part * scale).T @ V[lo:hi].astype(dtype, copy=False)
            part = part * np.sqrt(scale)
            return part.T @ part  # half the work of other products

        edges = chunks.even_edges(np.arange(len(W) + 1), GRAM_ROWS)
        return np.asarray(np.sum(chunks.run(task, edges, self.n_threads), axis=0, dtype=np.float64))

    def _solve(
        self,
        X: np.ndarray,
        lam: np.ndarray,
        reg: np.ndarray,
        start: np.ndarray,
        fixed: Fixed | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        W = np.empty((self.shape[0], X.shape[1]), self.dtype)
        failed = np.empty(len(W), np.bool_)
        fixed = fixed or Fixed.none(self.shape, self.dtype)
        right, rank, entries = padded(X), X.shape[1], self._arrays

        def task(lo: int, hi: int, room: Any) -> None:
            rows.solve(entries, fixed, right, rank, lam, reg, start, lo, hi, room, W, failed)

        room = partial(rows.room, right, self.indices.dtype)
        chunks.run_with(room, task, self._edges, self.n_threads)
        return W, failed
