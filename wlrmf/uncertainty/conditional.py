"""Variances of each factor as if the other one were known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..objective import Objective
from .forms import Inverses

BLOCK = 1 << 22  # numbers of the Gram matrices that are held at a time


@dataclass(frozen=True, eq=False)
class Conditional:
    """Covariances G_i⁻¹ of w_i for fixed X, and of x_j for fixed W.

    The variance of a prediction is the sum x_j' G_i⁻¹ x_j + w_i' G_j⁻¹ w_i, that of independent
    errors of w_i and x_j. It is right in the limit of large matrices and many cells in each row
    (Chen, Fan, Ma & Yan 2019, PNAS 116, doi:10.1073/pnas.1910053116). What other rows' errors do to
    x_j, and through it to w_i, is left out: it is too small where there are few cells for each
    number that is fitted. In a complete matrix it is a little too large, by a product of the two.
    """

    objective: Objective
    left: np.ndarray
    right: np.ndarray

    kind = "conditional"

    @property
    def parameters(self) -> float | None:
        """Not known from here."""
        return None

    def variances(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Of the predictions of the cells (i, j), two vectors."""
        free_W, free_X = self.objective.layout.free_W, self.objective.layout.free_X
        return self._side(0, i, self.right[j, free_W]) + self._side(1, j, self.left[i, free_X])

    @cached_property
    def factors(self) -> tuple[np.ndarray, np.ndarray]:
        """Variances of all numbers of both whole factors, 0 in pinned columns."""
        found = []
        for side, factor in enumerate((self.left, self.right)):
            free = (self.objective.layout.free_W, self.objective.layout.free_X)[side]
            out, k = np.zeros(factor.shape), free.stop - free.start
            for rows in self._blocks(np.arange(len(factor)), k):
                inverses = self._inverses(side, rows)
                some = np.einsum("ikk->ik", inverses.matrices).copy()
                some[inverses.ranks < k] = np.inf
                out[rows, free] = some
            found.append(out)
        return found[0], found[1]

    def _side(self, side: int, rows: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Forms z' G⁻¹ z for some rows, which may repeat, of W (0) or of X (1)."""
        out = np.empty(len(rows))
        order = np.argsort(rows, kind="stable")
        unique, start = np.unique(rows[order], return_index=True)
        ends, done = np.append(start, len(rows)), 0
        for some in self._blocks(unique, z.shape[1]):
            cells = order[ends[done] : ends[done + len(some)]]
            inverses = self._inverses(side, some)
            place = np.searchsorted(some, rows[cells])
            out[cells] = Inverses(*(part[place] for part in inverses)).variances(z[cells])
            done += len(some)
        return out

    def _blocks(self, rows: np.ndarray, k: int) -> list[np.ndarray]:
        step = max(1, BLOCK // max(1, k * k))
        return [rows[at : at + step] for at in range(0, len(rows), step)]

    def _inverses(self, side: int, rows: np.ndarray) -> Inverses:
        objective = self.objective
        if side == 0:
            problem, reg = objective.problem, objective.reg_W
            other = self.right[:, objective.layout.free_W]
        else:
            problem, reg = objective.problem.T, objective.reg_X
            other = self.left[:, objective.layout.free_X]
        ridge = reg[rows, None, None].astype(np.float64) * np.eye(other.shape[1])
        return Inverses.of(problem.row_grams(other, rows) + ridge)
