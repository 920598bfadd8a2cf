"""What a solver hands back: how it ended, the way it went, and counts of what it did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

SAME = 1e-6  # values that differ by less, relative, are of one optimum


class Status(Enum):
    """How a fit ended; the value says so in words and gives advice."""

    EXACT = "the optimum, in closed form"
    GRADIENT = "converged: the gradient is below gtol times its size at the start"
    VALUE = "converged: the last iteration lowered the value by less than ftol of it"
    GAP = "certified: no factors of any rank have a value that is smaller by more than the gap"
    PRECISION = "converged as far as rounding allows: no step lowers the value"
    STUCK = (
        "found no step that lowers the value, though the gradient is not small; "
        "try another solver, float64, or data scaled to about 1"
    )
    MAX_ITER = "stopped at max_iter before converging; give stop=Stop(max_iter=...) more"
    MAX_SECONDS = "stopped at max_seconds before converging; give stop=Stop(max_seconds=...) more"
    UNCERTIFIED = (
        "as low as steps and rounding allow, but the gap is not certified; "
        "try float64, smaller gtol and ftol, or a wider gap"
    )
    CALLBACK = "stopped by the callback"
    INTERRUPTED = (
        "interrupted; the best point before it is returned; go on with fit(..., start=model.state)"
    )
    VALIDATION = "stopped early: the score on held-out data had got no better for some iterations"
    NOT_FINITE = (
        "met a value that is not finite; the best point before it is returned; "
        "try a larger reg, float64, or data scaled to about 1"
    )
    NOT_STARTED = "max_iter is 0: the start is returned as it is"

    @property
    def success(self) -> bool:
        """Whether a stopping test on the solution itself was met."""
        tests = (Status.EXACT, Status.GRADIENT, Status.VALUE, Status.PRECISION, Status.VALIDATION)
        return self in (*tests, Status.GAP)


@dataclass
class Trace:
    """One entry an iteration, the start included.

    Attributes
    ----------
    iteration : list of int
    seconds : list of float
        Since the start of the fit, wall clock.
    value : list of float
        F, the loss and the ridge.
    optimality : list of float
        Norm of the gradient of F, relative to its size at the start.
    """

    iteration: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    optimality: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.iteration)

    def append(self, iteration: int, seconds: float, value: float, optimality: float) -> None:
        """Add one entry."""
        self.iteration.append(iteration)
        self.seconds.append(seconds)
        self.value.append(value)
        self.optimality.append(optimality)

    def to_dict(self) -> dict[str, np.ndarray]:
        """Arrays by name, ready for a data frame."""
        return {name: np.asarray(column) for name, column in vars(self).items()}


@dataclass
class Counts:
    """Work done: each number counts passes over the data."""

    value: int = 0
    gradient: int = 0
    row_solves: int = 0  # half sweeps: all rows of one factor
    row_steps: int = 0  # the same, inexact: some steps in each row
    line: int = 0

    def add(self, other: Counts) -> None:
        """The work of another run as well."""
        for name, number in vars(other).items():
            setattr(self, name, getattr(self, name) + number)


def optima(values: Iterable[float], rounding: float = 0.0) -> list[tuple[float, int]]:
    """Each value that starts ended with and how often, from the least on; only finite ones.

    Values that differ by a millionth, or by `rounding`, are of one optimum.
    """
    found: list[tuple[float, int]] = []
    for value in sorted(float(v) for v in values if np.isfinite(v)):
        if found and value - found[-1][0] <= SAME * abs(value) + rounding:
            found[-1] = found[-1][0], found[-1][1] + 1
        else:
            found.append((value, 1))
    return found
