"""Where a fit begins: the pinned columns, and the factors beside them."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from .leading import leading
from .model import Factorization
from .objective import Layout, Objective
from .path import CHANGE, Clock, Path, move
from .problem import Problem
from .result import Status
from .solvers.base import End, State, Stop
from .solvers.varpro import VarPro
from .validation.errors import describe
from .validation.options import read_factor, read_pinned, read_seed

# What tells a state's objective from another, in words that name arguments.
WORDS = {
    "cells": "number of observed cells (Y, mask)",
    "weight": "sum of weights (mask, weights, baseline)",
    "squares": "weighted sum of squares of Y",
    "reg": "sum of ridges over rows and columns (reg, reg_scaling)",
}
LEAST = 1e-3  # least singular value of a start against its largest: a zero factor never moves
PATHS = Path(16, 1e-5), Path(8, 1e-3), Path(8, 1e-2)  # in this order
BLURRED = Path(8, 1e-3, blur=0.5)
EASED, EASY_STEPS = 1e-3, 50  # ridge of a random start's first steps, against σ₁, and their number
PATIENCE = 150  # steps from a random start: those that arrive mostly do so in fewer


@dataclass(frozen=True)
class Pins:
    """Columns with given values: left of the shared ones in X, right of them in W."""

    W: np.ndarray
    X: np.ndarray
    mean: float | None

    @property
    def pinned(self) -> bool:
        """Whether there is something to fit at rank 0."""
        return self.W.shape[1] + self.X.shape[1] > 0

    @property
    def layout(self) -> Layout:
        """The layout at rank 0."""
        return Layout(self.X.shape[1], 0, self.W.shape[1], int(self.mean is not None))

    def place(self, left: np.ndarray, right: np.ndarray, layout: Layout) -> None:
        """Write the given values into whole factors."""
        right[:, : layout.pinned_X] = self.X
        left[:, layout.shared.stop : layout.free_X.stop] = self.W
        if self.mean is not None:
            left[:, -1], right[:, -1] = 1, self.mean


def read_pins(problem: Problem, pinned_W: Any, pinned_X: Any, bias: bool) -> Pins:
    """The caller's pinned rows, and with biases a column of ones in each factor and the mean."""
    m, n = problem.shape
    W = read_pinned(pinned_W, "pinned_W", m, problem.dtype)
    X = read_pinned(pinned_X, "pinned_X", n, problem.dtype)
    if not bias:
        return Pins(W, X, None)
    ones = [np.ones((size, 1), problem.dtype) for size in (m, n)]
    return Pins(np.hstack([W, ones[0]]), np.hstack([X, ones[1]]), problem.mean())


class Start(NamedTuple):
    """One beginning: how to make its state, and how many iterations it may take from there."""

    make: Callable[[Objective, Clock], State]
    patience: int | None = None
    by_chance: bool = True  # whether another of its kind begins somewhere else


def starts(
    objective: Objective, pins: Pins, start: Any, n_starts: int | None, seed: Any, solver: Any
) -> Iterator[Start]:
    """Where to begin: the given start, or `n_starts` different ones (None: without end).

    The first is the spectral one, the others are random; for variable projection the first are
    paths, and then a blurred path, a random start with a ridge that is released and a random one
    take turns. Each has random numbers of its own, so they may be made in any order.
    """
    if start is not None:
        if n_starts != 1:
            given = "repeat" if n_starts is None else n_starts
            raise ValueError(f"`n_starts` must be 1 with a given `start`; got {given!r}")
        state = _given(objective, pins, start)
        yield Start(lambda *_: state)
        return
    generator = read_seed(seed)
    own = copy.deepcopy(generator).integers(2**63, size=2)  # the first start has `generator` itself
    for k in itertools.count() if n_starts is None else range(n_starts):
        chance = generator if k == 0 else np.random.default_rng([*own, k])
        yield _kind(k, pins, chance, solver)


def first_state(objective: Objective, pins: Pins, solver: Any) -> State:
    """What a fit with all else by default begins from."""
    (start,) = starts(objective, pins, None, 1, None, solver)
    return start.make(objective, Clock(Stop()))


def _kind(k: int, pins: Pins, chance: np.random.Generator, solver: Any) -> Start:
    """The k-th start."""
    if "reduced" not in solver.needs:
        # where the first step is the answer any start will do
        first = _random if getattr(solver, "exact", False) else _spectral
        make = first if k == 0 else _random
        return Start(lambda objective, _: make(objective, pins, chance), by_chance=k > 0)
    turn = (k - len(PATHS)) % 3
    if k < len(PATHS) or turn == 0:
        path = PATHS[k] if k < len(PATHS) else BLURRED
        return Start(
            lambda objective, clock: _climbed(objective, pins, chance, path, clock),
            by_chance=k >= len(PATHS),
        )
    if turn == 1:
        return Start(lambda objective, clock: _released(objective, pins, chance, clock))
    return Start(lambda objective, _: _random(objective, pins, chance), PATIENCE)


def _bare(objective: Objective, pins: Pins) -> tuple[np.ndarray, np.ndarray]:
    """Whole factors with nothing but the given values."""
    layout, problem = objective.layout, objective.problem
    left, right = (np.zeros((size, layout.columns), problem.dtype) for size in problem.shape)
    pins.place(left, right, layout)
    return left, right


def _random(objective: Objective, pins: Pins, generator: np.random.Generator) -> State:
    """Normal factors whose product has the root mean square of what the pinned columns leave."""
    layout, problem = objective.layout, objective.problem
    left, right = _bare(objective, pins)
    rms = (problem.loss(left, right) / problem.total_weight()) ** 0.5
    for factor in (left, right):
        draw = generator.standard_normal((len(factor), layout.rank))
        factor[:, layout.shared] = draw * (rms / max(1, layout.rank) ** 0.5) ** 0.5
    return _begin(objective, left, right)


def _spectral(objective: Objective, pins: Pins, generator: np.random.Generator) -> State:
    """Leading singular vectors of the weighted Y − pinned, scaled by the exact step from zero.

    Keshavan, Montanari & Oh 2010, IEEE Trans. Inf. Theory 56, doi:10.1109/TIT.2010.2046205, who
    also trim rows with many cells.
    """
    layout, problem = objective.layout, objective.problem
    left, right = _bare(objective, pins)
    rank = layout.rank
    if rank > min(problem.shape) or rank == 0:
        return _random(objective, pins, generator)
    U, s, V = leading(problem.start_operator(left, right), rank, generator, problem.dtype)
    root = np.sqrt(np.maximum(s, LEAST * s[0])).astype(problem.dtype)
    dW, dX = np.zeros_like(left), np.zeros_like(right)
    dW[:, layout.shared], dX[:, layout.shared] = U * root, V * root
    # zero is the best multiple where the ridge outweighs the data: then any step will do
    t = problem.dtype.type(objective.best_step(left, right, dW, dX) or 1.0)
    return _begin(objective, left + t * dW, right + t * dX)


def _climbed(
    objective: Objective, pins: Pins, generator: np.random.Generator, path: Path, clock: Clock
) -> State:
    """The end of a path, its seconds in the trace."""
    left, right = _bare(objective, pins)
    with _left_at(objective, pins, generator, (left, right), clock):
        path.climb(objective, left, right, generator, clock)
    return _timed(_begin(objective, left, right), clock)


def _released(
    objective: Objective, pins: Pins, generator: np.random.Generator, clock: Clock
) -> State:
    """Random factors after some steps at a ridge that the objective does not have."""
    begin = _random(objective, pins, generator)
    operator = objective.problem.residual_operator(*_bare(objective, pins))
    s = leading(operator, 1, generator, begin.W.dtype)[1]
    eased = objective.eased(objective.layout.rank, EASED * float(s[0]))
    stop = clock.stop(gtol=0.0, ftol=CHANGE, max_iter=EASY_STEPS)
    left, right = begin.W, begin.X
    with _left_at(objective, pins, generator, (left, right), clock):
        move(eased, VarPro(), (left, right), slice(None), stop, clock.watch)
    return _timed(_begin(objective, left, right), clock)


@contextmanager
def _left_at(
    objective: Objective,
    pins: Pins,
    generator: np.random.Generator,
    factors: tuple[np.ndarray, np.ndarray],
    clock: Clock,
) -> Iterator[None]:
    """An interrupt on the way to a start has the whole factors, as they are then, for its end.

    The point to go on from is beside it: factors that have not joined are small, not 0.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        left, right = factors
        here = _timed(_begin(objective, left, right), clock)
        none = ~(left.any(axis=0) | right.any(axis=0))
        by_chance = _random(objective, pins, generator)
        near = State.start(
            objective,
            *(f + LEAST**0.5 * none * g for f, g in ((left, by_chance.W), (right, by_chance.X))),
        )
        last = replace(near, first_norm=here.first_norm, trace=here.trace)
        interrupt.end = End(here, last, Status.INTERRUPTED)  # type: ignore[attr-defined]
        raise


def _timed(state: State, clock: Clock) -> State:
    """With the seconds that it took to get here."""
    state.trace.append(0, clock.seconds(), state.value, state.optimality)
    return state


def _begin(objective: Objective, left: np.ndarray, right: np.ndarray) -> State:
    """A row without observed cells starts, and so stays, at 0."""
    problem, layout = objective.problem, objective.layout
    left[problem.row_counts() == 0, layout.free_W] = 0
    right[problem.col_counts() == 0, layout.free_X] = 0
    return State.start(objective, left, right)


def _given(objective: Objective, pins: Pins, start: Any) -> State:
    if isinstance(start, State):
        return _given_state(objective, pins, start)
    layout, problem = objective.layout, objective.problem
    m, n = problem.shape
    left, right = _bare(objective, pins)
    if isinstance(start, Factorization):
        pair = (start.W, start.X)
    elif isinstance(start, tuple | list) and len(start) == 2:
        pair = (start[0], start[1])
    else:
        raise TypeError(
            f"`start` must be a pair (W, X), a Factorization or a State; got {describe(start)}"
        )
    W = read_factor(pair[0], "start[0]", layout.rank, m, problem.dtype)
    X = read_factor(pair[1], "start[1]", layout.rank, n, problem.dtype)
    if layout.rank and not (W.any() and X.any()):
        raise ValueError("`start` is zero: F is stationary there, and no solver can leave it")
    if isinstance(start, Factorization) and start.layout == layout:
        left[:], right[:] = start.left, start.right  # biases and coefficients too
        pins.place(left, right, layout)
    left[:, layout.shared], right[:, layout.shared] = W, X
    with np.errstate(over="ignore", invalid="ignore"):
        state = _begin(objective, left, right)
    if not np.isfinite([state.value, state.first_norm]).all():
        raise ValueError(
            f"`start` has too large factors: F is {state.value:.3g} there, its gradient has the "
            f"norm {state.first_norm:.3g}; divide them by a constant"
        )
    return state


def _given_state(objective: Objective, pins: Pins, start: State) -> State:
    layout, problem = objective.layout, objective.problem
    compared = {
        "shape": ((len(start.W), len(start.X)), problem.shape),
        "rank": (start.layout.rank, layout.rank),
        "pinned rows or biases": (start.layout, layout),
        "dtype": (str(start.W.dtype), str(problem.dtype)),
    }
    compared |= {
        WORDS[name]: (start.marks[name], mark)
        for name, mark in objective.marks.items()
        if name in start.marks
    }
    for what, (its, ours) in compared.items():
        if not is_same(its, ours):
            raise _stranger(what, its, ours)
    placed = start.W.copy(), start.X.copy()
    pins.place(placed[0], placed[1], layout)
    if not all(np.array_equal(a, b) for a, b in zip(placed, (start.W, start.X), strict=True)):
        raise _stranger("values of pinned rows, or mean of Y,", "others", "these")
    value = objective.value(start.W, start.X)
    if not is_same(start.value, value):
        raise _stranger("value with these Y, mask and weights", start.value, value)
    return start


def is_same(its: Any, ours: Any) -> bool:
    """Equal, but for the rounding of numbers."""
    if isinstance(ours, float | list):
        return bool(np.allclose(its, ours, rtol=1e-9, atol=0))
    return bool(its == ours)


def _stranger(what: str, its: Any, ours: Any) -> ValueError:
    return ValueError(
        f"`start` is a State of another fit: its {what} is {its}, here it is {ours}; "
        "give (W, X) to begin anew from there"
    )
