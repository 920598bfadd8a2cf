"""How many numbers the cells determine: by counting, and with a ridge by random probes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, cg

from ..objective import LISTED, Objective
from ..problem import Listed

PROBES = 4
CLOSE = 1e-3  # relative residual of the probes' systems
STEPS = 300  # of conjugate gradients, at most


class Widths(NamedTuple):
    """Independent columns that a row of W meets in X, and a row of X in W."""

    rows: int
    cols: int

    @classmethod
    def of(cls, objective: Objective, left: np.ndarray, right: np.ndarray) -> Widths:
        """Of the free columns at these factors."""
        layout = objective.layout
        pair = right[:, layout.free_W], left[:, layout.free_X]
        return cls(*(int(np.linalg.matrix_rank(f)) if f.size else 0 for f in pair))


class Marks(NamedTuple):
    """Rows and columns of the cells that count, one by one."""

    shape: tuple[int, int]
    rows: np.ndarray
    cols: np.ndarray

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Cells of each row and of each column."""
        m, n = self.shape
        return np.bincount(self.rows, minlength=m), np.bincount(self.cols, minlength=n)

    def where(self, kept: np.ndarray) -> Marks:
        """Some of them."""
        return Marks(self.shape, self.rows[kept], self.cols[kept])


def marks_of(objective: Objective) -> Marks | None:
    """The cells with a weight; None if there are too many to list."""
    problem = objective.problem
    if not (isinstance(problem, Listed) and problem.n_listed <= LISTED):
        return None
    cells = problem.observed()
    rows = np.repeat(np.arange(problem.shape[0]), cells.row_counts())
    marks = Marks(problem.shape, rows, cells.indices)
    return marks.where(cells.c > 0) if cells.c.size else marks


def n_cells(objective: Objective, marks: Marks | None) -> int:
    """Cells that count."""
    if marks is not None:
        return len(marks.rows)
    return int(getattr(objective.problem, "n_listed", objective.problem.nnz))


def core(marks: Marks, widths: Widths) -> Marks:
    """What is left when rows and columns with no more cells than unknowns are taken away.

    Such a row fits its cells exactly whatever they are, and says nothing about its columns; without
    its cells, a column may come to the same.
    """
    while True:
        before = len(marks.rows)
        marks = marks.where((marks.counts()[0] > widths.rows)[marks.rows])
        marks = marks.where((marks.counts()[1] > widths.cols)[marks.cols])
        if len(marks.rows) == before:
            return marks


def parts(marks: Marks) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows and columns of each connected part, the largest first."""
    m, n = marks.shape
    ones = np.ones(len(marks.rows), np.int8)
    graph = sp.coo_array((ones, (marks.rows, m + marks.cols.astype(np.int64))), (m + n, m + n))
    label = connected_components(graph, directed=False)[1]
    order = np.argsort(label, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(label))[:-1])
    found = [(group[group < m], group[group >= m] - m) for group in groups if len(group) > 1]
    return sorted(found, key=lambda part: -len(part[0]) - len(part[1]))


def counted(objective: Objective, marks: Marks | None, widths: Widths) -> int:
    """Rank of the Jacobian at factors in general position, by counting.

    A row meets r independent columns and a column l: each connected part of the core, of m rows and
    n columns, determines m r + n l − r l numbers, rank (m + n − rank) without pinned columns, and
    every cell outside the core one. It is a bound from above that random masks attain; where a part
    can still be bent (Singer & Cucuringu 2010, SIAM J. Matrix Anal. Appl. 31,
    doi:10.1137/090750688) the rank is less. What single cells of any mask determine: Király, Theran
    & Tomioka 2015, JMLR 16, 1391-1436, arXiv:1211.4116.
    """
    (r, c), shape = widths, objective.problem.shape
    if marks is None:
        return shape[0] * r + shape[1] * c - r * c
    inner = core(marks, widths)
    cells, rank = inner.counts()[0], len(marks.rows) - len(inner.rows)
    for rows, cols in parts(inner):
        rank += min(len(rows) * r + len(cols) * c - r * c, int(cells[rows].sum()))
    return rank


def determined(marks: Marks, widths: Widths) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns that the largest part of the core determines, one after the other."""
    m, n = marks.shape
    found = parts(core(marks, widths))
    if not found:
        return np.ones(m, bool), np.ones(n, bool)
    rows, cols = np.zeros(m, bool), np.zeros(n, bool)
    rows[found[0][0]], cols[found[0][1]] = True, True
    before = -1
    while before != (now := int(rows.sum() + cols.sum())):
        before = now
        rows |= np.bincount(marks.rows, cols[marks.cols], m) >= widths.rows
        cols |= np.bincount(marks.cols, rows[marks.rows], n) >= widths.cols
    return rows, cols


def probed(objective: Objective, left: np.ndarray, right: np.ndarray) -> float:
    """Trace of H⁻¹ J'A²J, the numbers that the cells and not the ridge determine, nearly.

    By random signs (Hutchinson 1990, Commun. Stat. Simul. Comput. 19,
    doi:10.1080/03610919008812866) and conjugate gradients; with one ridge for all, its standard
    deviation is below the root of half of it.
    """
    layout, problem = objective.layout, objective.problem
    free = layout.free_W, layout.free_X
    shapes = [(size, f.stop - f.start) for size, f in zip(problem.shape, free, strict=True)]
    cut, regs = shapes[0][0] * shapes[0][1], (objective.reg_W, objective.reg_X)
    ridge = np.concatenate(
        [np.repeat(reg, k) for reg, (_, k) in zip(regs, shapes, strict=True)]
    ).astype(np.float64)

    def product(vector: np.ndarray) -> np.ndarray:
        moves: list[Any] = [np.zeros_like(factor) for factor in (left, right)]
        for move, f, part, shape in zip(
            moves, free, (vector[:cut], vector[cut:]), shapes, strict=True
        ):
            move[:, f] = part.reshape(shape)
        out = problem.gn_product(left, right, *moves)
        return np.concatenate([o[:, f].ravel() for o, f in zip(out, free, strict=True)])

    size = len(ridge)
    scale = 1 / np.maximum(_diagonal(objective, left, right) + ridge, np.finfo(float).tiny)
    H = LinearOperator((size, size), lambda v: product(v.ravel()) + ridge * v.ravel(), dtype=float)
    near = LinearOperator((size, size), lambda v: scale * v.ravel(), dtype=float)
    rng, total = np.random.default_rng(0), 0.0
    for _ in range(PROBES):
        signs = rng.choice([-1.0, 1.0], size)
        solved, _ = cg(H, product(signs), rtol=CLOSE, maxiter=STEPS, M=near)
        total += float(signs @ solved) / PROBES
    return total


def _diagonal(objective: Objective, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Nearly that of J'A²J: each row's weight times the mean squares of its columns."""
    layout, found = objective.layout, []
    for problem, other in (
        (objective.problem, right[:, layout.free_W]),
        (objective.problem.T, left[:, layout.free_X]),
    ):
        ones = np.ones((len(other), 1), other.dtype)
        weight = problem.row_grams(ones, np.arange(problem.shape[0]))[:, 0, 0]
        found.append(np.outer(weight, np.mean(other**2, axis=0)).ravel())
    return np.concatenate(found)
