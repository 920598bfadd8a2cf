"""``rank="auto"``: the optimum over all ranks, by factors that join until the gap is closed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse.linalg import LinearOperator

from .certificate import certify_end, scaled_residuals
from .leading import leading
from .objective import Objective
from .path import Clock
from .problem import widened
from .result import Status
from .solvers.base import End, Solver, State, Stop, check_ridges, minimise
from .spectral import EIGEN, Scaled, is_flat, pairs
from .start import Pins

GAP = 1e-4  # that ends it, where the caller's `Stop` has none
FEWEST = 8  # factors that may join at once; later as many as there are
FIRST, EASE = 1e-2, 0.02  # change of F that ends the first fit; the next, against the gap
ENOUGH = 0.5  # of the gap, that one fit should leave at most
TIGHT = 0.1  # change of F, against the gap's square, of a fit that is worth a bound: gaps are roots
SHORT = 60  # iterations of a fit, at most
LEAST = 1e-14  # the smallest change of F to wait for
DUST = 1e-9  # size of a factor, against the largest, below which it is none


def grow(
    objective: Objective,
    pins: Pins,
    solver: Solver,
    stop: Stop,
    generator: np.random.Generator,
    callback: Callable[[State], Any] | None = None,
) -> tuple[Objective, End]:
    """The objective at the rank that was needed, and the end of its fit.

    Parameters
    ----------
    objective : Objective
        Of any rank.
    pins : Pins
    solver : Solver
        For the fits at a given rank.
    stop : Stop
        `gap` (default 1e-4) ends it, `max_iter` and `max_seconds` are those of all fits together;
        `gtol` and `ftol` are not asked.
    generator, callback : as in `wlrmf.fit`
        The work is in float64, whatever the dtype of the data; so are the states of the callback.

    Raises
    ------
    ValueError
        If a row or column that has cells has no ridge.

    Notes
    -----
    With a ridge on both factors, min F over all ranks is a convex problem in the product WX', and
    a stationary point is its optimum if no singular value of the scaled residuals is above 1 (see
    `wlrmf.certificate`). Where some are, their vectors join as factors, √t u and √t v with the best
    t, and all factors are fitted again; those that vanish leave.

    References
    ----------
    Mishra, Meyer, Bach & Sepulchre (2013), SIAM J. Optim. 23, arXiv:1112.2318 (fits at fixed rank
    and factors that join take turns); Hastie, Mazumder, Lee & Zadeh (2015), JMLR 16, 3367-3402,
    section 3 (soft-thresholding by alternating least squares).
    """
    check_ridges(objective)
    clock = Clock(stop)
    # A gap feels the rounding of the gradient, not that of the value: float32 is too coarse for it.
    wide = replace(objective, problem=widened(objective.problem))
    wide, end, least = _grown(wide, pins, solver, clock, generator, callback)
    objective = replace(objective, layout=wide.layout)
    W, X = (factor.astype(objective.problem.dtype) for factor in (end.best.W, end.best.X))
    here = replace(
        State.start(objective, W, X),
        first_norm=end.best.first_norm,
        iteration=end.last.iteration,
        trace=end.last.trace,
    )
    certified = end.status is not Status.GAP or here.value - least <= (stop.gap or GAP) * here.value
    return objective, End(here, here, end.status if certified else Status.UNCERTIFIED)


def _grown(
    objective: Objective,
    pins: Pins,
    solver: Solver,
    clock: Clock,
    generator: np.random.Generator,
    callback: Callable[[State], Any] | None,
) -> tuple[Objective, End, float]:
    """The same, and the bound on F that it ended by; an interrupt, too, is an end."""
    objective, state = _without_factors(objective, pins)
    stop, gap, change, wide, least = clock.whole, clock.whole.gap or GAP, FIRST, np.inf, 0.0
    watch, tight, aim = _Watch(callback), max(LEAST, TIGHT * gap**2), None
    try:
        while True:
            most = min(SHORT, stop.max_iter - state.iteration)
            test = clock.stop(gtol=0.0, ftol=change, max_iter=most, gap=aim)
            end = minimise(objective, solver, state, test, watch)
            if watch.chosen is not None:
                layout = watch.chosen.layout
                return replace(objective, layout=layout), end._replace(best=watch.chosen), least
            if end.status in (Status.CALLBACK, Status.NOT_FINITE):
                return objective, end, least
            state = replace(end.best, iteration=end.last.iteration, trace=end.last.trace)
            point = _trimmed(objective, state)
            whole, least = point.objective.layout == objective.layout, max(least, end.least)
            certified = whole and end.status is Status.GAP
            if certified:  # so the factors stay as they are
                point = _Point(objective, state.W, state.X, state.value)
            joined, above = (None, 0.0) if certified else _joined(point, generator)
            now = _likely_gap(point, above)
            aim = gap if now <= gap else None  # a look costs more than the iterations to get here
            if now <= gap and change <= tight and not certified:
                bound = certify_end(point.objective, point.W, point.X, gap)
                now, least = bound.relative_gap, max(least, bound.lower_bound)
                certified = now <= gap
            status = _ended(certified, state, clock)
            falls = end.status is Status.MAX_ITER  # the fit was cut, and can go on
            if change <= LEAST and now > ENOUGH * wide and not falls:
                status = status or Status.UNCERTIFIED
            if status is not None:
                objective, state = point.solved().after(state)
                return objective, End(state, state, status), least
            if joined is not None and gap < now <= ENOUGH * wide:
                change = EASE * now
            else:  # fits ended too early: for the gap, for what joined, or without any
                change = min(change / 10, max(EASE * now, tight) if now > gap else tight)
            change, wide = max(LEAST, change), now if now > gap else np.inf  # hope is no bound
            objective, state = (joined or point).after(state)
            state.trace.append(state.iteration, clock.seconds(), state.value, state.optimality)
    except KeyboardInterrupt as interrupt:
        here = End(state, state, Status.INTERRUPTED)
        return objective, getattr(interrupt, "end", here), least


def _likely_gap(point: _Point, above: float) -> float:
    """The gap, to first order in σ − 1."""
    ridge = point.objective.ridge(point.W, point.X) / (point.value or 1.0)
    return 2 * above * ridge if ridge > 0 else above


class _Watch:
    """The caller's callback, whose choice may be a state of a rank that the fit has left."""

    def __init__(self, callback: Callable[[State], Any] | None):
        self.callback = callback
        self.chosen: State | None = None

    def __call__(self, state: State) -> None:
        if self.callback is None:
            return
        try:
            self.callback(state)
        except StopIteration as wish:
            if not (isinstance(wish.value, State) and _kind(wish.value) == _kind(state)):
                raise
            self.chosen = wish.value
            raise StopIteration from None


def _kind(state: State) -> tuple[Any, ...]:
    """What the states of a fit have in common at all ranks."""
    layout = replace(state.layout, rank=0)
    return len(state.W), len(state.X), state.W.dtype, state.X.dtype, layout


def _ended(certified: bool, state: State, clock: Clock) -> Status | None:
    if certified:
        return Status.GAP
    if state.iteration >= clock.whole.max_iter:
        return Status.MAX_ITER
    return Status.MAX_SECONDS if clock.stop().max_seconds == 0 else None


def _without_factors(objective: Objective, pins: Pins) -> tuple[Objective, State]:
    objective = replace(objective, layout=replace(objective.layout, rank=0))
    problem, columns = objective.problem, objective.layout.columns
    left, right = (np.zeros((size, columns), problem.dtype) for size in problem.shape)
    pins.place(left, right, objective.layout)
    return objective, State.start(objective, left, right)


class _Point(NamedTuple):
    """Factors between two fits, without a gradient: between two points there may be a third."""

    objective: Objective
    W: np.ndarray
    X: np.ndarray
    value: float = np.nan

    @classmethod
    def of(
        cls, objective: Objective, state: State | _Point, W: np.ndarray, X: np.ndarray
    ) -> _Point:
        """These factors in place of those that there are, all else as it is."""
        shared, dtype = objective.layout.shared, objective.problem.dtype
        wider = replace(objective, layout=replace(objective.layout, rank=W.shape[1]))
        left, right = (
            np.hstack([whole[:, : shared.start], part, whole[:, shared.stop :]]).astype(dtype)
            for whole, part in ((state.W, W), (state.X, X))
        )
        return cls(wider, left, right)

    def solved(self) -> _Point:
        """After a last row solve, as a bound is."""
        return self._replace(W=self.objective.best_W(self.W, self.X)[0])

    def after(self, state: State) -> tuple[Objective, State]:
        """Where a fit goes on that has come to `state`."""
        here = State.start(self.objective, self.W, self.X)
        first = state.first_norm or here.first_norm  # without factors there may have been none
        here = replace(here, first_norm=first, iteration=state.iteration, trace=state.trace)
        return self.objective, here


class _Basis(NamedTuple):
    """root · factor = Q R, with the root of its ridge."""

    Q: np.ndarray
    R: np.ndarray
    root: np.ndarray

    @classmethod
    def of(cls, objective: Objective, whole: np.ndarray, reg: np.ndarray) -> _Basis:
        root = np.sqrt(reg.astype(np.float64))[:, None]
        return cls(*np.linalg.qr(root * whole[:, objective.layout.shared]), root)


def _bases(objective: Objective, W: np.ndarray, X: np.ndarray) -> tuple[_Basis, _Basis]:
    return (_Basis.of(objective, W, objective.reg_W), _Basis.of(objective, X, objective.reg_X))


def _trimmed(objective: Objective, state: State) -> _Point:
    """The factors balanced and orthogonal under the ridges, none idle."""
    if objective.layout.rank == 0:
        return _Point(objective, state.W, state.X, state.value)
    bases = _bases(objective, state.W, state.X)
    U, s, Vt = np.linalg.svd(bases[0].R @ bases[1].R.T)
    W, X = (
        np.divide(Q @ (side * np.sqrt(s)), root, where=root > 0, out=np.zeros_like(Q))
        for (Q, _, root), side in zip(bases, (U[:, : len(s)], Vt.T[:, : len(s)]), strict=True)
    )

    def kept(count: int) -> _Point:
        point = _Point.of(objective, state, W[:, :count], X[:, :count])
        return point._replace(value=point.objective.value(point.W, point.X))

    # Those that a fit would make vanish only cost: the least leave, ever more, until F rises.
    most = int(np.sum(s > DUST * s.max(initial=0)))
    best, leave, more = kept(most), 1, True
    while most > 0 and leave > 0:
        leave = min(leave, most)
        point = kept(most - leave)
        if point.value <= min(best.value, state.value):
            best, most = point, most - leave
        else:
            more = False
        leave = 2 * leave if more else leave // 2
    return best


def _joined(point: _Point, generator: np.random.Generator) -> tuple[_Point | None, float]:
    """With factors along the singular vectors whose values are above 1, and by how much one is."""
    objective, W, X, _ = point
    scaled, shared = scaled_residuals(objective, W, X), objective.layout.shared
    rank, shape = objective.layout.rank, objective.problem.shape
    if rank >= min(shape):
        return None, 0.0
    most = min(min(shape) - rank, max(FEWEST, rank))
    U, V = (basis.Q for basis in _bases(objective, W, X))
    if is_flat(shape, objective.problem.nnz, EIGEN):
        U, s, V = pairs(scaled, U, V, most)
    else:
        U, s, V = leading(_beside(scaled, U, V), most, generator, np.dtype(np.float64))
    above = s > 1
    if not above.any():
        return None, 0.0
    excess = np.sqrt(s[above] - 1)
    dW = scaled.left[:, None] * U[:, above] * excess
    dX = scaled.right[:, None] * V[:, above] * excess
    wider = ((0, 0), (0, dW.shape[1]))
    still = _Point.of(objective, point, *(np.pad(f[:, shared], wider) for f in (W, X)))
    ways = [np.zeros_like(factor) for factor in (still.W, still.X)]
    new = slice(shared.stop, shared.stop + dW.shape[1])
    ways[0][:, new], ways[1][:, new] = dW, dX
    t = still.objective.best_step(still.W, still.X, *ways)
    if not t > 0:
        return None, 0.0
    return still._replace(W=still.W + t * ways[0], X=still.X + t * ways[1]), float(s[0] - 1)


def _beside(scaled: Scaled, U: np.ndarray, V: np.ndarray) -> LinearOperator:
    """The matrix between what is orthogonal to U and to V."""

    def forward(x: np.ndarray) -> np.ndarray:
        x = x.reshape(len(x), -1)
        y = scaled.operator.matmat(scaled.right[:, None] * (x - V @ (V.T @ x)))
        y = scaled.left[:, None] * np.asarray(y, np.float64)
        return y - U @ (U.T @ y)

    def backward(y: np.ndarray) -> np.ndarray:
        y = y.reshape(len(y), -1)
        x = scaled.operator.rmatmat(scaled.left[:, None] * (y - U @ (U.T @ y)))
        x = scaled.right[:, None] * np.asarray(x, np.float64)
        return x - V @ (V.T @ x)

    return LinearOperator(
        scaled.shape,
        matvec=forward,
        rmatvec=backward,
        matmat=forward,
        rmatmat=backward,
        dtype=np.float64,
    )
