"""Weighted panels of rows by singular values: what squares of weights would lose is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..kernels.interrupts import check
from ..problem.reduced import Reduced
from .forms import Inverses

LEAST = 1e-11  # singular values, against the largest, that are not told from 0 below it
BLOCK = 1 << 21  # numbers of the panels that are held at a time
WORK = 1 << 32  # products up to which `root` is worth its time


class Rows(NamedTuple):
    """The cells of each row of one factor: where they begin, their partners and root weights."""

    indptr: np.ndarray
    indices: np.ndarray
    roots: np.ndarray

    @classmethod
    def gone(cls, reduced: Reduced) -> Rows:
        """Of the eliminated factor."""
        cells = reduced.listing
        return cls(cells.indptr, cells.indices, cells.roots)

    @classmethod
    def kept(cls, reduced: Reduced) -> Rows:
        """Of the kept factor."""
        indptr, owner, place = reduced.listing.turned
        return cls(indptr, owner, reduced.listing.roots[place])


class Panels(NamedTuple):
    """Some panels U diag(s) V' D, D the lengths of the columns; padded with zeros to one depth."""

    rows: np.ndarray
    U: np.ndarray  # (rows, depth + k, k), the ridge last
    s: np.ndarray  # (rows, k), falling
    basis: np.ndarray  # D⁻¹ V, (rows, k, k)


def panels(cells: Rows, partner: np.ndarray, reg: np.ndarray) -> Iterator[Panels]:
    """Of all rows i: a_e partner[e] over its cells e, and √reg_i I below; those of like size."""
    counts, k = np.diff(cells.indptr), partner.shape[1]
    order, done = np.argsort(counts, kind="stable"), 0
    while done < len(order):
        room = np.cumsum(np.full(len(order) - done, 1)) * (counts[order[done:]] + k) * max(k, 1)
        rows = order[done : done + max(1, int(np.searchsorted(room, BLOCK)))]
        done += len(rows)
        depth = int(counts[rows].max())
        there = np.arange(depth) < counts[rows, None]
        at = np.where(there, cells.indptr[rows, None] + np.arange(depth), 0)
        B = np.empty((len(rows), depth + k, k))
        B[:, :depth] = np.where(there, cells.roots[at], 0)[:, :, None] * partner[cells.indices[at]]
        B[:, depth:] = np.sqrt(reg[rows])[:, None, None] * np.eye(k)
        length = np.linalg.norm(B, axis=1)
        length[length == 0] = 1
        U, s, Vt = np.linalg.svd(B / length[:, None], full_matrices=False)
        yield Panels(rows, U, s, Vt.swapaxes(1, 2) / length[:, :, None])


def inverses(
    cells: Rows, partner: np.ndarray, reg: np.ndarray, ranks: np.ndarray | None = None
) -> Inverses:
    """Of the Gram matrices of all panels, which are not formed.

    With `ranks` what is beyond them is left out altogether, as if no vector had a share in it.

    A singular value is known to rounding against the largest (Golub & Van Loan 2013, Matrix
    Computations, corollary 8.6.2), and so the eigenvalue of a Gram matrix to the square of that.
    """
    n, k = len(cells.indptr) - 1, partner.shape[1]
    basis, values = np.zeros((n, k, k)), np.zeros((n, k))
    for some in panels(cells, partner, reg):
        told = some.basis if ranks is None else some.basis * _first(some, ranks)[:, None]
        basis[some.rows] = told
        values[some.rows] = np.where(_kept(some, ranks), some.s**2, 0)
    return Inverses(basis, values)


def root(
    reduced: Reduced, left: np.ndarray, right: np.ndarray, ranks: np.ndarray | None
) -> np.ndarray:
    """R (size, rows, columns) of the kept factor with R'R the Schur complement S of H.

    Row by row of the eliminated factor, the part of its cells' weighted derivatives that its own
    panel does not explain, (I − U U') diag(a) times z_j', all orthogonalised in blocks (Demmel,
    Sommer, Cremers & Usenko 2021, CVPR, arXiv:2103.01843).
    """
    cells, m, k = Rows.gone(reduced), len(left), reduced.columns
    size = m * k
    R, stack = np.diag(np.sqrt(np.repeat(reduced.reg_kept, k))), list[np.ndarray]()

    def merged() -> np.ndarray:
        return np.asarray(np.linalg.qr(np.concatenate([R, *stack]), mode="r"))

    for some in panels(cells, left[:, reduced.gone], reduced.reg_gone):
        U = some.U * _kept(some, ranks)[:, None]
        for j, basis in zip(some.rows, U, strict=True):
            check()  # for Ctrl-C, as each row of `Joint`
            at = slice(cells.indptr[j], cells.indptr[j + 1])
            seen = cells.indices[at]
            rest = (np.eye(len(basis), len(seen)) - basis @ basis[: len(seen)].T) * cells.roots[at]
            rows = np.zeros((len(rest), m, k))
            rows[:, seen] = rest[:, :, None] * right[j, reduced.kept]
            stack.append(rows.reshape(len(rows), size))
            if sum(map(len, stack)) > 2 * size:
                R, stack = merged(), []
    R = merged()
    return R.reshape(len(R), m, k)


def _kept(some: Panels, ranks: np.ndarray | None) -> np.ndarray:
    """Which singular values are not 0."""
    kept = some.s > LEAST * some.s.max(axis=1, initial=0, keepdims=True)
    return np.asarray(kept if ranks is None else kept & _first(some, ranks))


def _first(some: Panels, ranks: np.ndarray) -> np.ndarray:
    """As many as the ranks say."""
    return np.asarray(np.arange(some.s.shape[1]) < ranks[some.rows, None])
