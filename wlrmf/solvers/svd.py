"""Complete unweighted data: the optimum in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..objective import Objective
from .base import State


@dataclass(frozen=True)
class SVD:
    """Truncated singular value decomposition, soft-thresholded where there is a ridge.

    See `wlrmf.objective.Objective.svd` for the formula and its sources.
    """

    name: ClassVar[str] = "svd"
    needs: ClassVar[frozenset[str]] = frozenset({"svd"})
    exact: ClassVar[bool] = True

    def step(self, objective: Objective, state: State) -> State:
        """Go to the global optimum."""
        return state.moved(objective, *objective.svd())
