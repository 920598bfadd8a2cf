"""Methods of minimisation, one a file. To add one: its file, and its line in `SOLVERS`."""

from __future__ import annotations

from typing import Any

from ..objective import Objective
from .als import ALS
from .base import Solver, State, Stop, check_solver, minimise
from .gradient import GradientDescent
from .lbfgs import LBFGS
from .svd import SVD
from .varpro import VarPro

__all__ = [
    "ALS",
    "LBFGS",
    "SOLVERS",
    "SVD",
    "GradientDescent",
    "Solver",
    "State",
    "Stop",
    "VarPro",
    "choose",
    "get_solver",
    "minimise",
]

SOLVERS: dict[str, Any] = {
    "svd": SVD(),
    "als": ALS(),
    "gd": GradientDescent(),
    "scaled-gd": GradientDescent(scaled=True),
    "lbfgs": LBFGS(),
    "varpro": VarPro(),
}


SMALL = 1 << 18  # cells times factors of a problem on which variable projection takes a second
SLIGHT = 1e-9  # a ridge that counts for nothing, against the size of the weighted data


def choose(objective: Objective) -> Any:
    """The solver of ``solver="auto"``.

    A closed form where there is one. Variable projection where the ridge is slight and the
    problem small: there methods that alternate or move all entries often end in worse optima, or
    interpolate, and it is affordable. Otherwise accelerated alternating least squares.
    """
    if "svd" in objective.provides:
        return SOLVERS["svd"]
    problem = objective.problem
    if "reduced" in objective.provides:
        size = problem.n_listed * max(1, objective.layout.columns)  # type: ignore[attr-defined]
        ridge = max(float(objective.reg_W.max()), float(objective.reg_X.max()))
        scale = (problem.square_sum() * problem.total_weight()) ** 0.5  # above σ₁(A∘A∘Y) / √cells
        if size <= SMALL and ridge <= SLIGHT * scale:
            return SOLVERS["varpro"]
    return SOLVERS["als"]


def get_solver(solver: Any) -> Any:
    """A solver by its name, or the caller's own object if it has what a solver must have."""
    if isinstance(solver, str):
        if solver not in SOLVERS:
            names = ", ".join(map(repr, ["auto", *SOLVERS]))
            raise ValueError(f"`solver` must be one of {names} or an object; got {solver!r}")
        return SOLVERS[solver]
    check_solver(solver)
    return solver
