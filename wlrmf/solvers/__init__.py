"""Methods of minimisation, one a file. To add one: its file, and its line in `SOLVERS`."""

from __future__ import annotations

from typing import Any

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


def get_solver(solver: Any) -> Any:
    """A solver by its name, or the caller's own object if it has what a solver must have."""
    if isinstance(solver, str):
        if solver not in SOLVERS:
            names = ", ".join(map(repr, ["auto", *SOLVERS]))
            raise ValueError(f"`solver` must be one of {names} or an object; got {solver!r}")
        return SOLVERS[solver]
    check_solver(solver)
    return solver
