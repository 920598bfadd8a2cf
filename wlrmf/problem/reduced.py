"""F as a function of its shorter factor alone: the longer one is always its exact minimiser."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from ..kernels import varpro as kernels
from .listing import Groups, Listing

LEAST = 1e-10  # singular values and pivots below it, against the largest, are of dependent columns


class Solved(NamedTuple):
    """The eliminated factor at a kept one, and what Gauss-Newton needs of it."""

    left: np.ndarray  # the kept factor, whole
    right: np.ndarray  # the eliminated one
    value: float
    Q: np.ndarray  # orthonormal panels, one row an entry of a group's first row
    gradient: np.ndarray  # half of dF / d left[:, kept]
    n_silent: int  # such rows: no more entries than columns, and no ridge


@dataclass(frozen=True, eq=False)
class Reduced:
    """min over `right` of the loss and both ridges, and its Gauss-Newton model in `left`.

    Parameters
    ----------
    listing : Listing
        The cells, a row for each row of the eliminated factor.
    reg_kept, reg_gone : ndarray
        Ridges of the kept and of the eliminated rows.
    kept, gone, shared : slice
        Free columns of the kept and of the eliminated factor, and those that both have.

    Notes
    -----
    Half of F's Gauss-Newton matrix, by Ruhe & Wedin's second algorithm: the Schur complement of
    the joint one. Without a ridge it is blind to ``left[:, kept] += left[:, gone] M`` for any M,
    which changes no value (Okatani, Yoshida & Deguchi 2011, doi:10.1109/ICCV.2011.6126324).
    """

    listing: Listing
    reg_kept: np.ndarray
    reg_gone: np.ndarray
    kept: slice
    gone: slice
    shared: slice

    @classmethod
    def of(
        cls,
        listing: Listing,
        regs: tuple[np.ndarray, np.ndarray],
        free: tuple[slice, slice],
        shared: slice,
    ) -> Reduced:
        """Of a list of cells, the ridges of W and X, their free columns and those of both."""
        kept, gone = (1, 0) if listing.flipped else (0, 1)
        ridges = [reg.astype(np.float64) for reg in regs]
        return cls(listing, ridges[kept], ridges[gone], free[kept], free[gone], shared)

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
    def groups(self) -> Groups:
        """The rows of the eliminated factor that share a panel."""
        return Groups.of(self.listing.kinds, self.reg_gone, self.listing.counts)

    @cached_property
    def panels(self) -> Listing:
        """The cells of the groups' first rows."""
        return self.listing.taken(self.groups.leaders)

    def pair(self, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(kept, eliminated) of (W, X), and the other way round."""
        return (right, left) if self.listing.flipped else (left, right)

    def solve(self, left: np.ndarray, right: np.ndarray) -> Solved:
        """Eliminate; `right` gives the columns that are not free in it."""
        left, right = np.array(left, np.float64), np.array(right, np.float64)
        cells, gone = self.listing, self.gone.stop - self.gone.start
        Q, r = np.empty((self.panels.size, gone)), np.empty(cells.size)
        shape = np.empty(len(right), np.int8)
        entries = cells.indptr, cells.indices, cells.y, cells.roots
        given = entries, self.groups[:3], left, right, (self.gone.start, self.gone.stop)
        longest = int(cells.counts.max(initial=0))

        def task(lo: int, hi: int, own: Any) -> None:
            kernels.eliminate(*given, self.reg_gone, lo, hi, own, Q, r, shape)

        cells.over_groups(self.groups, task, partial(kernels.room, longest, gone))
        for j in np.flatnonzero(shape == kernels.DEFICIENT):
            self._least_norm(int(j), left, right, Q, r)
        ridge = _ridge(self.reg_kept, left[:, self.kept]) + _ridge(
            self.reg_gone, right[:, self.gone]
        )
        gradient = self.reg_kept[:, None] * left[:, self.kept]
        gradient -= self._collect(cells.roots * r, right)
        silent = int(self._silent.sum())
        return Solved(left, right, float(r @ r) + ridge, Q, gradient, silent)

    def _least_norm(
        self, j: int, left: np.ndarray, right: np.ndarray, Q: np.ndarray, r: np.ndarray
    ) -> None:
        """A row of a rank-deficient panel: solution of minimum norm, residuals, projector."""
        cells = self.listing
        at = slice(cells.indptr[j], cells.indptr[j + 1])
        i, a = cells.indices[at], cells.roots[at]
        rest = np.r_[0 : self.gone.start, self.gone.stop : left.shape[1]]
        t = a * (cells.y[at] - left[i][:, rest] @ right[j, rest])
        B = a[:, None] * left[i, self.gone]
        U, s, Vt = np.linalg.svd(B, full_matrices=False)
        good = s > kernels.DEPENDENT * s.max(initial=0)
        shrunk = s[good] ** 2 / (s[good] ** 2 + self.reg_gone[j])
        U, Vt = U[:, good], Vt[good]
        right[j, self.gone] = Vt.T @ (shrunk / s[good] * (U.T @ t))
        r[at] = t - B @ right[j, self.gone]
        panel = slice(at.start + self._places[j], at.stop + self._places[j])
        Q[panel] = 0
        Q[panel, : U.shape[1]] = U * np.sqrt(shrunk)

    def _collect(self, values: np.ndarray, right: np.ndarray) -> np.ndarray:
        out = np.empty((len(self.reg_kept), self.columns))
        given = self.listing.turned, values, right, self._span
        self.listing.over_columns(lambda lo, hi, _: kernels.collect(*given, lo, hi, out))
        return out

    @property
    def _span(self) -> tuple[int, int]:
        return self.kept.start, self.kept.stop

    @cached_property
    def _silent(self) -> np.ndarray:
        """Rows that say nothing about the kept factor: no more entries than columns, no ridge."""
        return (self.listing.counts <= self.gone.stop - self.gone.start) & (self.reg_gone == 0)

    @cached_property
    def _places(self) -> np.ndarray:
        """How far from its entries the panel of a row is."""
        return self.groups.panels[self.groups.group] - self.listing.indptr[:-1]

    @cached_property
    def _telling(self) -> np.ndarray:
        """Root weights of the entries, 0 in silent rows."""
        return self.listing.roots * np.repeat(~self._silent, self.listing.counts)

    def _model(self, at: Solved) -> tuple[Any, ...]:
        """What the kernels of the model's matrix are given."""
        panels, leaders = self.panels, self.groups.leaders
        roots = panels.roots * np.repeat(~self._silent[leaders], panels.counts)
        entries, groups = (panels.indptr, panels.indices, roots), self.groups[:2]
        return entries, panels.turned, at.Q, groups, at.right, self._span

    def hessian(self, at: Solved) -> np.ndarray:
        """The model's matrix, (size, size); only its lower triangle holds numbers that count."""
        m, k = len(self.reg_kept), self.columns
        H, given = np.zeros((m, m, k * k)), self._model(at)

        def task(lo: int, hi: int, own: Any) -> None:
            kernels.hessian(*given, lo, hi, own, H)

        self.panels.over_columns(task, lambda: np.empty(k * k))
        whole = H.reshape(m, m, k, k).transpose(0, 2, 1, 3).reshape(m * k, m * k)
        whole[np.diag_indices(m * k)] += np.repeat(self.reg_kept, k)
        return whole

    def product(self, at: Solved, D: np.ndarray) -> np.ndarray:
        """The model's matrix times D, shape (rows, columns), without building it."""
        cells, values = self.listing, np.empty(self.listing.size)
        entries, D = (cells.indptr, cells.indices, self._telling), np.ascontiguousarray(D)
        given = entries, at.Q, self._places, at.right, self._span, D

        def task(lo: int, hi: int, own: Any) -> None:
            kernels.project(*given, lo, hi, own, values)

        cells.over_rows(task, lambda: np.empty(at.Q.shape[1]))
        return self._collect(values, at.right) + self.reg_kept[:, None] * D

    def blocks(self, at: Solved) -> np.ndarray:
        """The diagonal blocks of the model's matrix, (rows, columns, columns)."""
        k, given = self.columns, self._model(at)
        out = np.empty((len(self.reg_kept), k * k))

        def task(lo: int, hi: int, own: Any) -> None:
            kernels.blocks(*given, lo, hi, own, out)

        self.panels.over_columns(task, lambda: np.empty(k * k))
        return out.reshape(-1, k, k) + self.reg_kept[:, None, None] * np.eye(k)

    def blind(self, at: Solved) -> np.ndarray:
        """Orthonormal U such that the model is blind to U M for any M; no columns with a ridge."""
        return _basis(at.left[:, self.gone]) if self.bare else np.empty((len(at.left), 0))

    def balanced(self, at: Solved) -> tuple[np.ndarray, np.ndarray]:
        """Both factors, of the same prediction, shared between them so that the ridge is least.

        Along ``left G``, ``right G^-T`` the model knows little of F. With A and B the Gram matrices
        of the shared columns under the ridges, tr(A S) + tr(B S^-1) is least over S = G G' where
        S A S = B: the geometric mean of A^-1 and B (Bhatia 2007, Positive Definite Matrices, 4.1).
        Without a ridge both get the same norm.
        """
        left, right = at.left.copy(), at.right.copy()
        first, second = left[:, self.shared], right[:, self.shared]
        if self.bare:
            sizes = np.linalg.norm(first), np.linalg.norm(second)
            if min(sizes) > 0:
                first *= (sizes[1] / sizes[0]) ** 0.5
                second *= (sizes[0] / sizes[1]) ** 0.5
            left[np.diff(self.listing.turned[0]) == 0, self.kept] = 0  # empty, but retracted too
            return left, right
        A = first.T @ (self.reg_kept[:, None] * first)
        B = second.T @ (self.reg_gone[:, None] * second)
        root, inverse = _roots(A)
        middle, _ = _roots(root @ B @ root)
        G, undo = _roots(inverse @ middle @ inverse)
        if undo.any():
            left[:, self.shared], right[:, self.shared] = first @ G, second @ undo
        return left, right

    def retracted(self, left: np.ndarray) -> np.ndarray:
        """Without a ridge: a kept factor with orthonormal columns and of no larger value.

        The value depends on what the columns span; dependent ones give way to new directions.
        """
        if not self.bare:
            return left
        given = np.r_[self.gone.start : self.shared.start, self.shared.stop : self.gone.stop]
        coef = np.r_[self.kept.start : self.shared.start, self.shared.stop : self.kept.stop]
        out, others = left.copy(), _basis(left[:, given])
        shared = left[:, self.shared]
        if len(left) < others.shape[1] + shared.shape[1]:
            return out
        U, R = np.linalg.qr(_beside(others, shared))
        dependent = np.abs(np.diag(R)) <= LEAST * np.linalg.norm(shared, axis=0)
        if dependent.any():
            new = np.random.default_rng(0).standard_normal(shared.shape)
            U, _ = np.linalg.qr(_beside(others, np.where(dependent, new, U)))
        out[:, self.shared] = U
        out[:, coef] = _beside(np.hstack([others, U]), left[:, coef])
        return out


def _beside(basis: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """What of the columns is orthogonal to an orthonormal basis."""
    for _ in range(2):  # once leaves rounding of the columns' size, which may be all there is
        columns = columns - basis @ (basis.T @ columns)
    return columns


def _basis(columns: np.ndarray) -> np.ndarray:
    U, s, _ = np.linalg.svd(columns, full_matrices=False)
    return U[:, s > LEAST * s.max(initial=0)]


def _roots(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A^½ and A^-½ of a positive definite matrix; zeros for any other."""
    values, Q = np.linalg.eigh(A)
    if not values.min(initial=np.inf) > LEAST * values.max(initial=0):
        return np.zeros_like(A), np.zeros_like(A)
    return (Q * np.sqrt(values)) @ Q.T, (Q / np.sqrt(values)) @ Q.T


def _ridge(reg: np.ndarray, factor: np.ndarray) -> float:
    return float(reg @ np.einsum("ik,ik->i", factor, factor))
