"""The only loop of the library. A method is one step; this is everything around it."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from ..certificate import certify_end, hoped_gap
from ..kernels import interrupts
from ..objective import LISTED, Layout, Objective
from ..result import Status, Trace
from ..validation.errors import describe
from ..validation.options import read_int, read_real

CALM = 1e-2  # change of F, relative, below which a small gradient means the end
SMALL = 1e-2  # optimality that rounding can leave
NEEDS = {
    "svd": "complete data without weights, biases or pinned rows, and one ridge for all rows",
    "reduced": f"a list of all cells with a weight (with a baseline: every cell), {LISTED} at most",
}

logger = logging.getLogger("wlrmf")


@dataclass(frozen=True)
class Stop:
    """When to stop; the first test met ends the fit.

    Parameters
    ----------
    gtol : float
        Stop when the norm of the gradient of F is at most `gtol` times its size at the start, and
        the last iteration changed F by a hundredth at most: a bad start has so large a gradient
        that a thousandth of it can still be far from the end.
    ftol : float
        Stop when an iteration changes F by at most `ftol` times F.
    max_iter : int
        Iterations of this call, for each of its starts.
    max_seconds : float, optional
        Wall-clock seconds of this call, all starts and the paths to them together, looked at after
        each iteration.
    gap : float, optional
        Stop when no factors of any rank can have a value that is smaller by more than this share
        of F, by a bound that holds with probability 1 − 1e-10 (see `wlrmf.certificate.certify`).
        It is looked at once the residuals on the spans of the factors allow it, and then again
        after a quarter more iterations each time. Needs a ridge on both factors. The other tests
        stay as they are: a fit whose rank is too small for the gap ends by one of them. Rounding
        allows gaps down to 1e-7 or so; factors that are rounded to float32 have wider ones.

    Examples
    --------
    >>> import wlrmf
    >>> wlrmf.Stop(max_iter=20).max_iter
    20
    """

    gtol: float = 1e-5
    ftol: float = 1e-8
    max_iter: int = 1000
    max_seconds: float | None = None
    gap: float | None = None

    def __post_init__(self) -> None:
        read_real(self.gtol, "gtol")
        read_real(self.ftol, "ftol")
        read_int(self.max_iter, "max_iter", 0)
        if self.max_seconds is not None:
            read_real(self.max_seconds, "max_seconds")
        if self.gap is not None:
            read_real(self.gap, "gap", positive=True)


@dataclass(frozen=True)
class State:
    """A point of a fit, and all that a solver needs to go on from it. It can be pickled.

    Attributes
    ----------
    W, X : ndarray, shape (m, columns) and (n, columns)
        Factors in storage form, pinned columns included (see `wlrmf.objective`).
    value : float
        F at (W, X).
    dW, dX : ndarray
        Its gradient, 0 in pinned columns.
    first_norm : float
        Norm of the gradient at the start of the first call, which a resumed fit keeps.
    layout : Layout
        Which columns are which.
    iteration : int
        Iterations from the first start on.
    trace : Trace
        The way here.
    memory : dict
        What the solver carries from step to step.
    marks : dict
        What tells its objective from others; see `wlrmf.objective.Objective.marks`.
    """

    W: np.ndarray
    X: np.ndarray
    value: float
    dW: np.ndarray
    dX: np.ndarray
    first_norm: float
    layout: Layout
    iteration: int = 0
    trace: Trace = field(default_factory=Trace)
    memory: dict[str, Any] = field(default_factory=dict)
    marks: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def start(cls, objective: Objective, W: np.ndarray, X: np.ndarray) -> State:
        """The state at a given point."""
        value, dW, dX = objective.value_and_grad(W, X)
        norm = inner(dW, dX, dW, dX) ** 0.5
        return cls(W, X, value, dW, dX, norm, objective.layout, marks=objective.marks)

    def moved(self, objective: Objective, W: np.ndarray, X: np.ndarray, **memory: Any) -> State:
        """The next state, at (W, X)."""
        value, dW, dX = objective.value_and_grad(W, X)
        iteration = self.iteration + 1
        return replace(
            self, W=W, X=X, value=value, dW=dW, dX=dX, iteration=iteration, memory=memory
        )

    @property
    def optimality(self) -> float:
        """Norm of the gradient relative to its size at the start."""
        return self.norm / self.first_norm if self.first_norm > 0 else self.norm

    @cached_property
    def norm(self) -> float:
        """Norm of the gradient."""
        return inner(self.dW, self.dX, self.dW, self.dX) ** 0.5


def inner(aW: np.ndarray, aX: np.ndarray, bW: np.ndarray, bX: np.ndarray) -> float:
    """Inner product of two pairs of factors, in float64."""
    return float(
        np.einsum("ik,ik->", aW, bW, dtype=np.float64)
        + np.einsum("ik,ik->", aX, bX, dtype=np.float64)
    )


class Solver(Protocol):
    """One method of minimisation: hyper-parameters as frozen fields, and one step.

    A solver whose loop belongs to somebody else (SciPy's, say) has, instead of `step`, a method
    ``run(objective, state, report)`` that calls ``report(state)`` once an iteration and lets the
    exception that ends it pass. A solver with ``exact = True`` is done after its first step.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]]

    def step(self, objective: Objective, state: State) -> State:
        """One iteration."""


class _Finished(Exception):
    def __init__(self, status: Status, choice: State | None = None):
        super().__init__(status)
        self.status = status
        self.choice = choice


class _Report:
    """Records every iterate, keeps the best one and ends the run."""

    def __init__(
        self,
        state: State,
        stop: Stop,
        callback: Callable[[State], Any] | None,
        exact: bool,
        objective: Objective,
    ):
        self.stop, self.callback, self.exact = stop, callback, exact
        self.begin = time.perf_counter()
        self.elapsed = state.trace.seconds[-1] if len(state.trace) else 0.0
        self.first = state.iteration
        self.best = self.last = state
        self.noise = 16 * float(np.finfo(state.W.dtype).eps)
        self.objective = objective
        self.next_look = 0  # the iteration from which on the gap is worth its price
        self.least = 0.0  # no F is below it
        if len(state.trace) == 0:
            self.record(state)

    def record(self, state: State) -> None:
        seconds = time.perf_counter() - self.begin
        state.trace.append(state.iteration, self.elapsed + seconds, state.value, state.optimality)
        logger.debug(
            "iteration %d: value %.9g, optimality %.3g",
            state.iteration,
            state.value,
            state.optimality,
        )

    def __call__(self, state: State) -> None:
        if not (np.isfinite(state.value) and np.isfinite(state.optimality)):
            raise _Finished(Status.NOT_FINITE)
        previous, self.last = self.last, state
        if state.value <= self.best.value:
            self.best = state
        self.record(state)
        interrupts.check()
        if self.callback is not None:
            try:
                with interrupts.released():
                    self.callback(state)
            except StopIteration as wish:
                raise _Finished(Status.CALLBACK, self.choice(wish.value)) from None
        status = self.test(previous, state)
        if status is not None:
            raise _Finished(status)

    def choice(self, value: Any) -> State | None:
        """The state that a callback wants to end with, if it named one of this run's."""
        if value is None:
            return None
        if not isinstance(value, State):
            raise TypeError(
                f"the callback raised StopIteration of {describe(value)}, not of a State"
            )
        if _form(value) != _form(self.last):
            raise ValueError("the callback raised StopIteration of a State of another fit")
        return value

    def test(self, previous: State, state: State) -> Status | None:
        stop, change, size = self.stop, previous.value - state.value, abs(previous.value)
        if self.exact:
            return Status.EXACT
        if stop.gap is not None and self.is_certified(state, stop.gap):
            return Status.GAP
        if state.optimality <= stop.gtol and abs(change) <= CALM * size:
            return Status.GRADIENT
        if state.value <= self.objective.rounding:
            return Status.PRECISION
        if change == 0 or (change < 0 and -change <= self.noise * size):
            return self.no_way_down(state)
        if abs(change) <= stop.ftol * size:
            return Status.VALUE
        if state.iteration - self.first >= stop.max_iter:
            return Status.MAX_ITER
        if stop.max_seconds is not None and time.perf_counter() - self.begin >= stop.max_seconds:
            return Status.MAX_SECONDS
        return None

    def is_certified(self, state: State, gap: float) -> bool:
        """Whether the value is within `gap` of its bound, if it is time to look."""
        if state.iteration < self.next_look:
            return False
        hoped = self._hoped_gap(state)
        if hoped > gap:  # it falls like a power, to an eighth in an iteration at best
            self.next_look = state.iteration + 1 + int(np.log2(hoped / gap) / 3)
            return False
        self.next_look = state.iteration + 1 + (state.iteration - self.first) // 4
        bound = certify_end(self.objective, state.W, state.X, gap)
        self.least = max(self.least, bound.lower_bound)
        return bound.relative_gap <= gap

    def _hoped_gap(self, state: State) -> float:
        factors, gradients = (state.W, state.X), (state.dW, state.dX)
        return hoped_gap(self.objective, *factors, state.value, *gradients)

    def no_way_down(self, state: State) -> Status:
        """Where no step lowers the value the gradient is small, or something is wrong.

        A solver with a model of F may tell by `flat` in its memory that the best step of the model
        promises no more than rounding hides.
        """
        noise = self.objective.gradient_rounding(state.W, state.X)
        small = state.optimality <= SMALL or state.norm <= noise
        return Status.PRECISION if small or state.memory.get("flat") else Status.STUCK


def _form(state: State) -> tuple[Any, ...]:
    """What states of one fit have in common."""
    return state.W.shape, state.X.shape, state.W.dtype, state.X.dtype, state.layout


class End(NamedTuple):
    """How a run ended."""

    best: State  # the point of the least value, or of the callback's choice
    last: State  # where to go on from
    status: Status
    chosen: bool = False  # by the callback
    least: float = 0.0  # what F cannot go below, if a gap was asked for and looked at


def minimise(
    objective: Objective,
    solver: Solver,
    state: State,
    stop: Stop,
    callback: Callable[[State], Any] | None = None,
) -> End:
    """Run a solver from `state` until a test of `stop` is met.

    Returns
    -------
    End
        The best point, the last one and why it ended.

    Raises
    ------
    ValueError
        If the solver needs what the objective does not provide, or the gap a ridge.
    KeyboardInterrupt
        Whose `end` is the End so far.
    """
    missing = solver.needs - objective.provides
    if missing:
        raise ValueError(
            f"solver {solver.name!r} needs {', '.join(NEEDS.get(m, m) for m in sorted(missing))}; "
            f"this problem is {describe_problem(objective)}"
        )
    if stop.gap is not None:
        check_ridges(objective)
    state = replace(state, trace=copy.deepcopy(state.trace))
    exact = getattr(solver, "exact", False)
    report = _Report(state, stop, callback, exact, objective)
    if not np.isfinite(state.value) or not np.isfinite(state.first_norm):
        return End(state, state, Status.NOT_FINITE)
    if stop.max_iter == 0:
        return End(state, state, Status.NOT_STARTED)
    if state.first_norm == 0 and not exact:
        return End(state, state, Status.GRADIENT)
    try:
        # a value that overflows is no accident here: it is looked for, and ends the run
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            _iterate(objective, solver, state, report)
        status = report.no_way_down(report.last)  # only an outside loop ends by itself
    except _Finished as finished:
        status = finished.status
        if finished.choice is not None:
            return End(finished.choice, report.last, status, chosen=True)
    except np.linalg.LinAlgError:
        status = Status.NOT_FINITE
    except KeyboardInterrupt as interrupt:
        interrupt.end = End(report.best, report.last, Status.INTERRUPTED)  # type: ignore[attr-defined]
        raise
    return End(report.best, report.last, status, least=report.least)


def _iterate(objective: Objective, solver: Solver, state: State, report: _Report) -> None:
    run = getattr(solver, "run", None)
    if run is not None:
        run(objective, state, report)
        return
    while True:
        state = solver.step(objective, state)
        report(state)


def check_ridges(objective: Objective) -> None:
    """A gap is measured against a bound, which takes a ridge on both factors."""
    problem = objective.problem
    for reg, counts in (
        (objective.reg_W, problem.row_counts()),
        (objective.reg_X, problem.col_counts()),
    ):
        if not (reg[counts > 0] > 0).all():
            raise ValueError(
                '`gap`, and rank="auto", need a ridge on all rows and columns: give reg > 0'
            )


def describe_problem(objective: Objective) -> str:
    """Words for a message: the weight structure and what is around it."""
    layout = objective.layout
    words = [type(objective.problem).__name__.lower()]
    if layout.columns > layout.rank:
        words.append("with biases or pinned rows")
    if np.ptp(objective.reg_W) or np.ptp(objective.reg_X):
        words.append("with a ridge that differs between rows")
    return " ".join(words)


def check_solver(solver: Any) -> None:
    """An object of the caller's must have what the loop calls."""
    lacks = [name for name in ("name", "needs") if not hasattr(solver, name)]
    if not (callable(getattr(solver, "step", None)) or callable(getattr(solver, "run", None))):
        lacks.append("step")
    if lacks or isinstance(solver, type):
        hint = " (a class: call it first)" if isinstance(solver, type) else ""
        raise TypeError(
            f"`solver` must be a name or an object with name, needs and step; "
            f"got {describe(solver)}{hint}" + (f", without {', '.join(lacks)}" if lacks else "")
        )
