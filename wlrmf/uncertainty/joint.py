"""Variances from the Gauss-Newton matrix of both factors together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..kernels.interrupts import check
from ..objective import Objective
from ..problem.reduced import Reduced
from .forms import BLIND, Inverses, cut, forms, reciprocal
from .freedom import Widths, determined, marks_of
from .gauge import gauge
from .panels import LEAST, WORK, Rows, inverses, root


class _Row(NamedTuple):
    """A row j of the eliminated factor."""

    seen: np.ndarray  # kept rows of its cells
    weight: np.ndarray  # of them, A2
    inverse: np.ndarray  # of its own Gram matrix
    z: np.ndarray  # its kept columns


@dataclass(frozen=True, eq=False)
class Joint:
    """The covariance H⁻ of both factors, H = J'A²J + ridges, by the Schur complement S of H.

    `left` is the kept, shorter factor and `right` the eliminated one, whole (see `Reduced`). With
    G_j the Gram matrix of an eliminated row j, u_i = left[i, gone] and z_j = right[j, kept], the
    prediction of a cell has the variance g' S⁻ g + u_i' G_j⁻ u_i, where g, a vector of all kept
    numbers, is z_j at the row i less Σ_e a_e² (u_e' G_j⁻ u_i) z_j at each row e that j is seen in.
    S is the reduced system of bundle adjustment (Triggs, McLauchlan, Hartley & Fitzgibbon 2000,
    LNCS 1883, doi:10.1007/3-540-44480-7_21, section 6.1).

    S = Q diag(λ) Q' once the rows are scaled by the blocks of H on its diagonal, which makes λ ≤ 1
    whatever the weights and the units; directions of λ ≤ 1e-11 are those that change no observed
    prediction: the gauge, and what the cells do not determine. A prediction that such a direction
    moves has an infinite variance.
    """

    objective: Objective
    reduced: Reduced
    left: np.ndarray
    right: np.ndarray
    own: Inverses  # of the Gram matrices of the eliminated rows
    basis: np.ndarray  # (k, kept rows, directions): eigenvectors, scaled back
    values: np.ndarray  # (directions,)
    scalings: np.ndarray
    unit: Joint | None  # the same with weights of 1, if that is another

    kind = "joint"

    @classmethod
    def of(cls, objective: Objective, W: np.ndarray, X: np.ndarray) -> Joint:
        """At whole factors in float64."""
        reduced = objective.reduced
        left, right = reduced.pair(W, X)
        roots = reduced.listing.roots
        if not reduced.bare or np.ptp(roots) == 0:
            return cls._at(objective, reduced, left, right, None)
        ones = replace(reduced, listing=replace(reduced.listing, roots=np.sign(roots)))
        unit = cls._at(objective, ones, left, right, None)
        return cls._at(objective, reduced, left, right, unit)

    @classmethod
    def _at(
        cls,
        objective: Objective,
        reduced: Reduced,
        left: np.ndarray,
        right: np.ndarray,
        unit: Joint | None,
    ) -> Joint:
        ranks = None if unit is None else unit.own.ranks
        own = inverses(Rows.gone(reduced), left[:, reduced.gone], reduced.reg_gone, ranks)
        blocks = inverses(Rows.kept(reduced), right[:, reduced.kept], reduced.reg_kept)
        T, (m, k) = blocks.scalings, (len(left), reduced.columns)
        if (reduced.listing.size + own.values.size) * (m * k) ** 2 <= WORK:
            R = np.einsum("dip,ipq->diq", root(reduced, left, right, ranks), T)
            _, s, Qt = np.linalg.svd(R.reshape(len(R), m * k))
            values, Q = np.where(s > LEAST, s**2, 0), Qt.T
        else:
            S = _scaled(reduced.hessian(reduced.solve(left, right)._replace(right=right)), T)
            values, Q = np.linalg.eigh(S)
            values, Q = cut(values[::-1]), Q[:, ::-1]
        if unit is not None:  # it has told the others already
            rank = np.count_nonzero(unit.values)
            values, Q = values[:rank], Q[:, :rank]
        basis = np.einsum("ipq,iqd->pid", T, Q.reshape(m, k, len(values)))
        basis = np.ascontiguousarray(basis)
        return cls(objective, reduced, left, right, own, basis, values, T, unit)

    def variances(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Of the predictions of the cells (i, j), two vectors."""
        kept, gone = (j, i) if self.reduced.listing.flipped else (i, j)
        u = self.left[kept][:, self.reduced.gone]
        out, order = np.empty(len(i)), np.argsort(gone, kind="stable")
        rows, start = np.unique(gone[order], return_index=True)
        edges = np.append(start, len(order))
        for number, (first, last) in zip(rows, pairwise(edges), strict=True):
            cells = order[first:last]
            row = self._row(int(number))
            own = Inverses(*(part[np.full(len(cells), number)] for part in self.own))
            out[cells] = self._through(row, kept[cells], u[cells]) + own.variances(u[cells])
        if self.unit is not None:
            out[np.isinf(self.unit.variances(i, j))] = np.inf
        return out

    def _through(self, row: _Row, kept: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Forms g' S⁻ g of the cells of one eliminated row."""
        back = row.weight[:, None] * (self._partner(row.seen) @ (row.inverse @ u.T))
        rows, place = np.unique(np.concatenate([row.seen, kept]), return_inverse=True)
        shares = self._shares(row, rows)
        seen, own = place[: len(row.seen)], place[len(row.seen) :]
        norms = np.sum(shares**2, axis=1)
        size = norms[own] + (back**2).T @ norms[seen]
        return forms(shares[own] - back.T @ shares[seen], self.values, size)

    def _row(self, j: int) -> _Row:
        check()  # for Ctrl-C: a loop over rows may take long
        listing = self.reduced.listing
        at = slice(listing.indptr[j], listing.indptr[j + 1])
        inverse = Inverses(*(part[j : j + 1] for part in self.own)).matrices[0]
        return _Row(
            listing.indices[at],
            listing.roots[at] ** 2,
            inverse,
            self.right[j, self.reduced.kept],
        )

    def _partner(self, rows: np.ndarray) -> np.ndarray:
        return self.left[rows][:, self.reduced.gone]

    def _shares(self, row: _Row, rows: np.ndarray) -> np.ndarray:
        """The directions' parts z_j' b_i of some kept rows."""
        basis = self.basis if len(rows) == len(self.left) else self.basis[:, rows]
        return np.asarray(np.tensordot(row.z, basis, 1))

    def _responses(self) -> Iterator[np.ndarray]:
        """Of each eliminated row, how it follows the directions: −G_j⁻ B_j' b, (gone, d)."""
        for j in range(len(self.right)):
            row = self._row(j)
            pull = (row.weight[:, None] * self._partner(row.seen)).T
            yield -row.inverse @ (pull @ self._shares(row, row.seen))

    @cached_property
    def _plain(self) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """Diagonal of H⁻ over kept and over eliminated rows, and the directions of no value."""
        lam, blind = reciprocal(self.values), self.values == 0
        kept = np.einsum("pid,d->ip", self.basis**2, lam)
        gone = np.einsum("jkk->jk", self.own.matrices).copy()
        silent = np.empty((*gone.shape, int(blind.sum())))
        for j, response in enumerate(self._responses()):
            gone[j] += response**2 @ lam
            silent[j] = response[:, blind]
        return kept, gone, (self.basis[:, :, blind].transpose(1, 0, 2), silent)

    @cached_property
    def parameters(self) -> float:
        """Trace of the hat matrix: the rank of H, less what the ridges determine of it."""
        reduced, unit = self.reduced, self.unit or self
        rank = float(unit.own.ranks.sum() + np.count_nonzero(unit.values))
        if reduced.bare:
            return rank
        kept, gone, _ = self._plain
        by_ridge = reduced.reg_kept @ kept.sum(axis=1) + reduced.reg_gone @ gone.sum(axis=1)
        return rank - float(by_ridge)

    @cached_property
    def factors(self) -> tuple[np.ndarray, np.ndarray]:
        """Variances of all numbers of W and X with the gauge projected out, 0 where pinned.

        Of C = H⁻ that is the diagonal of PCP, P = I − N N', N an orthonormal basis of the gauge on
        the rows that the cells determine; those of the others are inf.
        """
        reduced = self.reduced
        known = self._determined()
        N = gauge(
            self.left[:, reduced.gone] * known[0][:, None],
            self.right[:, reduced.kept] * known[1][:, None],
        )
        CN = self._solve(N)
        kept, gone, _ = self._plain
        inner = sum(np.einsum("aip,bip->ab", n, c) for n, c in zip(N, CN, strict=True))
        found = []
        for plain, n, c in zip((kept, gone), N, CN, strict=True):
            moved = 2 * c - np.einsum("ab,bip->aip", inner, n)
            found.append(np.maximum(plain - np.sum(n * moved, axis=0), 0))
        for variance, rows, free in zip(found, known, (self.unit or self)._free(N), strict=True):
            variance[free | ~rows] = np.inf
        out = tuple(np.zeros(factor.shape) for factor in (self.left, self.right))
        out[0][:, reduced.kept], out[1][:, reduced.gone] = found
        return reduced.pair(*out)

    def _solve(self, N: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """H⁻ times a stack of vectors (number, rows, columns)."""
        lam = reciprocal(self.values)
        kept, gone = [], []
        for n_kept, n_gone in zip(*N, strict=True):
            own = np.einsum("jkl,jl->jk", self.own.matrices, n_gone)
            rest = n_kept - self._coupling(None, own)
            part = lam * np.einsum("pid,ip->d", self.basis, rest)
            kept.append(np.einsum("pid,d->ip", self.basis, part))
            pull = n_gone - self._coupling(kept[-1], None)
            gone.append(np.einsum("jkl,jl->jk", self.own.matrices, pull))
        return np.reshape(kept, N[0].shape), np.reshape(gone, N[1].shape)

    def _coupling(self, kept: Any, gone: Any) -> np.ndarray:
        """What J'A²J makes of a change of one factor in the other."""
        reduced = self.reduced
        moves = [np.zeros(factor.shape) for factor in (self.left, self.right)]
        if kept is not None:
            moves[0][:, reduced.kept] = kept
        else:
            moves[1][:, reduced.gone] = gone
        W, X = reduced.pair(self.left, self.right)
        out = reduced.pair(*self.objective.problem.gn_product(W, X, *reduced.pair(*moves)))
        return out[0][:, reduced.kept] if kept is None else out[1][:, reduced.gone]

    def _determined(self) -> tuple[np.ndarray, np.ndarray]:
        """Kept and eliminated rows that the cells determine, by counting; with a ridge, all."""
        reduced = self.reduced
        if not reduced.bare:
            return np.ones(len(self.left), bool), np.ones(len(self.right), bool)
        factors = reduced.pair(self.left, self.right)
        marks = marks_of(self.objective)
        assert marks is not None  # what is not listed has no `reduced`
        return reduced.pair(*determined(marks, Widths.of(self.objective, *factors)))

    def _free(self, N: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Rows that a direction of no value moves by more than the gauge does."""
        silent = self._plain[2]
        inner = sum(np.einsum("aip,ipd->ad", n, s) for n, s in zip(N, silent, strict=True))
        found = []
        for n, s, T in zip(N, silent, (self.scalings, self.own.scalings), strict=True):
            rest = np.linalg.solve(T, s - np.einsum("aip,ad->ipd", n, inner))
            found.append(np.einsum("ipd,ipd->i", rest, rest) > BLIND)
        found[1] |= self.own.ranks < self.own.values.shape[1]
        return found[0], found[1]


def _scaled(S: np.ndarray, T: np.ndarray) -> np.ndarray:
    """The lower triangle of T' S T, T block diagonal; in place."""
    k = T.shape[1]
    for i, block in enumerate(T):
        rows = slice(i * k, (i + 1) * k)
        S[rows, : rows.stop] = block.T @ S[rows, : rows.stop]
        S[rows.start :, rows] = S[rows.start :, rows] @ block
    return S
