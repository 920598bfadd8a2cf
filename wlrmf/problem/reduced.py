"""F as a function of its shorter factor alone: the longer one is always its exact minimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from ..kernels import chunks
from ..kernels import varpro as kernels
from .observed import Observed

LEAST = 1e-10  # singular values and pivots below it, against the largest, are of dependent columns
CHUNK = 1 << 13  # entries below which a chunk is not worth its overhead


class Solved(NamedTuple):
    """The eliminated factor at a kept one, and what Gauss-Newton needs of it."""

    left: np.ndarray  # the kept factor, whole
    right: np.ndarray  # the eliminated one
    value: float
    Q: np.ndarray  # orthonormal panels, one row an entry
    a: np.ndarray  # root weights of the entries, 0 in rows that say nothing about the kept factor
    gradient: np.ndarray  # half of dF / d left[:, kept]
    n_silent: int  # such rows: no more entries than columns, and no ridge


@dataclass(frozen=True, eq=False)
class Reduced:
    """min over `right` of the loss and both ridges, and its Gauss-Newton model in `left`.

    Parameters
    ----------
    cells : Observed
        A row for each row of the eliminated factor, float64.
    reg_kept, reg_gone : ndarray
        Ridges of the kept and of the eliminated rows.
    kept, gone, shared : slice
        Free columns of the kept and of the eliminated factor, and those that both have.
    flipped : bool
        Whether X is kept and W eliminated.

    Notes
    -----
    Half of F's Gauss-Newton matrix, by Ruhe & Wedin's second algorithm: the Schur complement of
    the joint one. Without a ridge it is blind to ``left[:, kept] += left[:, gone] M`` for any M,
    which changes no value (Okatani, Yoshida & Deguchi 2011, doi:10.1109/ICCV.2011.6126324).
    """

    cells: Observed
    reg_kept: np.ndarray
    reg_gone: np.ndarray
    kept: slice
    gone: slice
    shared: slice
    flipped: bool

    @classmethod
    def of(
        cls, cells: Observed, regs: tuple[np.ndarray, np.ndarray], free: tuple[slice, slice, slice]
    ) -> Reduced:
        """Of a list of cells, both ridges and the free columns of W, of X and of both."""
        flipped = cells.shape[1] < cells.shape[0]
        cells = cells if flipped else cells.T
        owner = np.repeat(np.arange(cells.shape[0]), cells.row_counts())
        order, none = np.lexsort((cells.indices, owner)), np.empty(0)  # ascending in each row
        y, c = (
            part[order].astype(np.float64) if part.size else none for part in (cells.y, cells.c)
        )
        entries = cells.indptr, cells.indices[order], y, c
        listed = Observed(cells.shape, *entries, none, none, cells.n_threads)
        kept, gone = (1, 0) if flipped else (0, 1)
        ridges = [reg.astype(np.float64) for reg in regs]
        return cls(listed, ridges[kept], ridges[gone], free[kept], free[gone], free[2], flipped)

    @property
    def size(self) -> int:
        """Unknowns that are left."""
        return len(self.reg_kept) * self.columns

    @property
    def columns(self) -> int:
        """Free columns of the kept factor."""
        return self.kept.stop - self.kept.start

    @cached_property
    def bare(self) -> bool:
        """Whether no row has a ridge."""
        return not (self.reg_kept.any() or self.reg_gone.any())

    @cached_property
    def _roots(self) -> np.ndarray:
        c = self.cells.c
        return np.sqrt(c) if c.size else np.ones(self.cells.nnz)

    @cached_property
    def _turned(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each kept row: where its entries begin, their eliminated rows and their places."""
        place = np.argsort(self.cells.indices, kind="stable")
        owner = np.repeat(np.arange(self.cells.shape[0]), self.cells.row_counts())
        counts = np.bincount(self.cells.indices, minlength=self.cells.shape[1])
        return np.concatenate(([0], np.cumsum(counts))), owner[place], place

    @cached_property
    def _edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Chunks of eliminated and of kept rows."""
        starts = self.cells.indptr, self._turned[0]
        return tuple(chunks.even_edges(s + np.arange(len(s)), CHUNK) for s in starts)  # type: ignore[return-value]

    def _run(self, task: Callable[..., Any], side: int, room: Callable[[], Any] = tuple) -> None:
        chunks.run_with(room, task, self._edges[side], self.cells.n_threads)

    def pair(self, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(kept, eliminated) of (W, X), and the other way round."""
        return (right, left) if self.flipped else (left, right)

    def solve(self, left: np.ndarray, right: np.ndarray) -> Solved:
        """Eliminate; `right` gives the columns that are not free in it."""
        left, right = np.array(left, np.float64), np.array(right, np.float64)
        cells, gone = self.cells, self.gone.stop - self.gone.start
        Q, r = np.empty((cells.nnz, gone)), np.empty(cells.nnz)
        shape = np.empty(len(right), np.int8)
        entries = cells.indptr, cells.indices, cells.y, self._roots
        span = self.gone.start, self.gone.stop
        longest = int(cells.row_counts().max(initial=0))

        def task(lo: int, hi: int, own: Any) -> None:
            kernels.eliminate(entries, left, right, span, self.reg_gone, lo, hi, own, Q, r, shape)

        self._run(task, 0, partial(kernels.room, longest, gone))
        for j in np.flatnonzero(shape == kernels.DEFICIENT):
            self._least_norm(int(j), left, right, Q, r)
        few = (cells.row_counts() <= gone) & (self.reg_gone == 0)
        a = self._roots * np.repeat(~few, cells.row_counts())
        ridge = _ridge(self.reg_kept, left[:, self.kept]) + _ridge(
            self.reg_gone, right[:, self.gone]
        )
        gradient = self.reg_kept[:, None] * left[:, self.kept]
        gradient -= self._collect(self._roots * r, right)
        return Solved(left, right, float(r @ r) + ridge, Q, a, gradient, int(few.sum()))

    def _least_norm(
        self, j: int, left: np.ndarray, right: np.ndarray, Q: np.ndarray, r: np.ndarray
    ) -> None:
        """A row of a rank-deficient panel: solution of minimum norm, residuals, projector."""
        at = slice(self.cells.indptr[j], self.cells.indptr[j + 1])
        i, a = self.cells.indices[at], self._roots[at]
        rest = np.r_[0 : self.gone.start, self.gone.stop : left.shape[1]]
        t = a * (self.cells.y[at] - left[i][:, rest] @ right[j, rest])
        B = a[:, None] * left[i, self.gone]
        U, s, Vt = np.linalg.svd(B, full_matrices=False)
        good = s > kernels.DEPENDENT * s.max(initial=0)
        shrunk = s[good] ** 2 / (s[good] ** 2 + self.reg_gone[j])
        U, Vt = U[:, good], Vt[good]
        right[j, self.gone] = Vt.T @ (shrunk / s[good] * (U.T @ t))
        r[at] = t - B @ right[j, self.gone]
        Q[at] = 0
        Q[at, : U.shape[1]] = U * np.sqrt(shrunk)

    def _collect(self, values: np.ndarray, right: np.ndarray) -> np.ndarray:
        out = np.empty((len(self.reg_kept), self.columns))
        given = self._turned, values, right, (self.kept.start, self.kept.stop)
        self._run(lambda lo, hi, _: kernels.collect(*given, lo, hi, out), 1)
        return out

    def _entries(self, at: Solved) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.cells.indptr, self.cells.indices, at.a

    def hessian(self, at: Solved) -> np.ndarray:
        """The model's matrix, (size, size); only its lower triangle holds numbers that count."""
        m, k = len(self.reg_kept), self.columns
        H = np.zeros((m, m, k * k))
        given = self._entries(at), self._turned, at.Q, at.right, (self.kept.start, self.kept.stop)

        def task(lo: int, hi: int, own: Any) -> None:
            kernels.hessian(*given, lo, hi, own, H)

        self._run(task, 1, lambda: np.empty(k * k))
        whole = H.reshape(m, m, k, k).transpose(0, 2, 1, 3).reshape(m * k, m * k)
        whole[np.diag_indices(m * k)] += np.repeat(self.reg_kept, k)
        return whole

    def product(self, at: Solved, D: np.ndarray) -> np.ndarray:
        """The model's matrix times D, shape (rows, columns), without building it."""
        values, span = np.empty(self.cells.nnz), (self.kept.start, self.kept.stop)
        given = self._entries(at), at.Q, at.right, span, np.ascontiguousarray(D)

        def task(lo: int, hi: int, own: Any) -> None:
            kernels.project(*given, lo, hi, own, values)

        self._run(task, 0, lambda: np.empty(at.Q.shape[1]))
        return self._collect(values, at.right) + self.reg_kept[:, None] * D

    def blocks(self, at: Solved) -> np.ndarray:
        """The diagonal blocks of the model's matrix, (rows, columns, columns)."""
        k = self.columns
        out = np.empty((len(self.reg_kept), k, k))
        given = self._entries(at), self._turned, at.Q, at.right, (self.kept.start, self.kept.stop)
        self._run(lambda lo, hi, _: kernels.blocks(*given, lo, hi, out), 1)
        return out + self.reg_kept[:, None, None] * np.eye(k)

    def blind(self, at: Solved) -> np.ndarray:
        """Orthonormal U such that the model is blind to U M for any M; no columns with a ridge."""
        return _basis(at.left[:, self.gone]) if self.bare else np.empty((len(at.left), 0))

    def balanced(self, at: Solved) -> tuple[np.ndarray, np.ndarray]:
        """Without a ridge: both factors scaled to the same norm; with one, as they are."""
        left, right = at.left.copy(), at.right.copy()
        sizes = [float(np.linalg.norm(factor[:, self.shared])) for factor in (left, right)]
        if self.bare and min(sizes) > 0:
            root = (sizes[1] / sizes[0]) ** 0.5
            left[:, self.shared] *= root
            right[:, self.shared] /= root
        return left, right

    def retracted(self, left: np.ndarray) -> np.ndarray:
        """Without a ridge: a kept factor of the same value with orthonormal columns."""
        if not self.bare:
            return left
        given = np.r_[self.gone.start : self.shared.start, self.shared.stop : self.gone.stop]
        coef = np.r_[self.kept.start : self.shared.start, self.shared.stop : self.kept.stop]
        out = left.copy()
        others = _basis(left[:, given])
        rest = left[:, self.shared] - others @ (others.T @ left[:, self.shared])
        U, R = np.linalg.qr(rest)
        diagonal = np.abs(np.diag(R))
        if U.shape != rest.shape or diagonal.min(initial=1) <= LEAST * diagonal.max(initial=1):
            return out  # dependent columns: a basis of theirs would add directions
        out[:, self.shared] = U
        basis = np.hstack([others, U])
        out[:, coef] -= basis @ (basis.T @ left[:, coef])
        return out


def _basis(columns: np.ndarray) -> np.ndarray:
    U, s, _ = np.linalg.svd(columns, full_matrices=False)
    return U[:, s > LEAST * s.max(initial=0)]


def _ridge(reg: np.ndarray, factor: np.ndarray) -> float:
    return float(reg @ np.einsum("ik,ik->i", factor, factor))
