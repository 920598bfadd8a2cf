"""``rank="auto"``: the optimum over all ranks, by factors that join until the gap is closed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from .certificate import certify, scaled_residuals
from .leading import leading
from .objective import Objective
from .path import Clock
from .problem import widened
from .result import Status
from .solvers.base import FINE, End, Solver, State, Stop, check_ridges, minimise
from .spectral import Scaled
from .start import Pins

GAP = 1e-4  # that ends it, where the caller's `Stop` has none
FEWEST = 8  # factors that may join at once; later as many as there are
FIRST, EASE = 1e-2, 0.02  # change of F that ends the first fit; the next, against the gap
ENOUGH = 0.5  # of the gap, that one fit should leave at most
TIGHT = 0.1  # change of F, against the gap's square, of a fit that is worth a bound: gaps are roots
SHORT = 60  # iterations of a fit, at most
LEAST = 1e-14  # the smallest change of F to wait for
CUTS = (1e-2, 1e-4, 1e-6, 1e-9)  # sizes, against the largest, below which factors may leave


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
    t, and all factors are fitted again; those that vanish leave. Soft-thresholding by alternating
    least squares (Hastie, Mazumder, Lee & Zadeh 2015, JMLR 16, section 3) with no more factors
    than are needed, and a bound that says when to stop.
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
    watch, tight = _Watch(callback), max(LEAST, TIGHT * gap**2)
    try:
        while True:
            most = min(SHORT, stop.max_iter - state.iteration)
            test = clock.stop(gtol=0.0, ftol=change, max_iter=most, gap=None)
            end = minimise(objective, solver, state, test, watch)
            if watch.chosen is not None:
                layout = watch.chosen.layout
                return replace(objective, layout=layout), end._replace(best=watch.chosen), least
            if end.status in (Status.CALLBACK, Status.NOT_FINITE):
                return objective, end, least
            state = replace(end.best, iteration=end.last.iteration, trace=end.last.trace)
            objective, state = _trimmed(objective, state)
            joined, above = _joined(objective, state, generator)
            now, certified = _likely_gap(objective, state, above), False
            if now <= gap and change <= tight:  # a bound costs more than the iterations to get here
                now, least = _bound(objective, state, gap)
                certified = now <= gap
            status = _ended(certified, state, clock)
            if status is not None:
                return objective, End(state, state, status), least
            falls = end.status is Status.MAX_ITER  # the fit was cut, and can go on
            if change <= LEAST and now > ENOUGH * wide and not falls:
                return objective, End(state, state, Status.UNCERTIFIED), least
            if joined is not None and gap < now <= ENOUGH * wide:
                change = EASE * now
            else:  # fits ended too early: for the gap, for what joined, or without any
                change = min(change / 10, max(EASE * now, tight) if now > gap else tight)
            change, wide = max(LEAST, change), now
            objective, state = joined or (objective, state)
            state.trace.append(state.iteration, clock.seconds(), state.value, state.optimality)
    except KeyboardInterrupt as interrupt:
        here = End(state, state, Status.INTERRUPTED)
        return objective, getattr(interrupt, "end", here), least


def _likely_gap(objective: Objective, state: State, above: float) -> float:
    """The gap, to first order in σ − 1."""
    ridge = objective.ridge(state.W, state.X) / (state.value or 1.0)
    return 2 * above * ridge if ridge > 0 else above


def _bound(objective: Objective, state: State, gap: float) -> tuple[float, float]:
    """The gap where the fit will end, after a last row solve, and the bound it is above."""
    solved, _ = objective.best_W(state.W, state.X)
    bound = certify(objective, solved, state.X, exact=False, tolerance=FINE * gap)
    return bound.relative_gap, bound.lower_bound


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


def _with_factors(
    objective: Objective, state: State, W: np.ndarray, X: np.ndarray
) -> tuple[Objective, State]:
    """These factors in place of those that there are, all else as it is."""
    shared, dtype = objective.layout.shared, objective.problem.dtype
    wider = replace(objective, layout=replace(objective.layout, rank=W.shape[1]))
    left, right = (
        np.hstack([whole[:, : shared.start], part, whole[:, shared.stop :]]).astype(dtype)
        for whole, part in ((state.W, W), (state.X, X))
    )
    here = State.start(wider, left, right)
    first = state.first_norm or here.first_norm  # without factors there may have been no gradient
    return wider, replace(here, first_norm=first, iteration=state.iteration, trace=state.trace)


def _trimmed(objective: Objective, point: State) -> tuple[Objective, State]:
    """The point with its factors balanced and orthogonal under the ridges, none idle."""
    if objective.layout.rank == 0:
        return objective, point
    roots, bases, triangles = [], [], []
    for whole, reg in ((point.W, objective.reg_W), (point.X, objective.reg_X)):
        root = np.sqrt(reg.astype(np.float64))[:, None]
        Q, R = np.linalg.qr(root * whole[:, objective.layout.shared])
        roots.append(root)
        bases.append(Q)
        triangles.append(R)
    U, s, Vt = np.linalg.svd(triangles[0] @ triangles[1].T)
    W, X = (
        np.divide(Q @ (side * np.sqrt(s)), root, where=root > 0, out=np.zeros_like(Q))
        for Q, side, root in zip(bases, (U[:, : len(s)], Vt.T[:, : len(s)]), roots, strict=True)
    )
    for cut in CUTS:
        stay = s > cut * s.max(initial=0)
        trimmed = _with_factors(objective, point, W[:, stay], X[:, stay])
        if trimmed[1].value <= point.value:  # those that a fit would make vanish only cost
            break
    return trimmed


def _joined(
    objective: Objective, state: State, generator: np.random.Generator
) -> tuple[tuple[Objective, State] | None, float]:
    """With factors along the singular vectors whose values are above 1, and by how much one is."""
    scaled = scaled_residuals(objective, state.W, state.X)
    rank = objective.layout.rank
    room = min(objective.problem.shape) - rank
    if room < 1:
        return None, 0.0
    shared = objective.layout.shared
    taken = [
        np.linalg.qr(np.sqrt(reg.astype(np.float64))[:, None] * whole[:, shared])[0]
        for whole, reg in ((state.W, objective.reg_W), (state.X, objective.reg_X))
    ]
    operator = _beside(scaled, *taken)
    U, s, V = leading(operator, min(room, max(FEWEST, rank)), generator, np.dtype(np.float64))
    above = s > 1
    if not above.any():
        return None, 0.0
    excess = np.sqrt(s[above] - 1)
    dW, dX = U[:, above] * excess, V[:, above] * excess
    dW, dX = scaled.left[:, None] * dW, scaled.right[:, None] * dX
    none = np.zeros_like(dW), np.zeros_like(dX)
    W, X = state.W[:, shared], state.X[:, shared]
    wider, still = _with_factors(
        objective, state, *(np.hstack(pair) for pair in ((W, none[0]), (X, none[1])))
    )
    ways = [np.zeros_like(factor) for factor in (still.W, still.X)]
    new = slice(shared.stop, shared.stop + dW.shape[1])
    ways[0][:, new], ways[1][:, new] = dW, dX
    t = wider.best_step(still.W, still.X, *ways)
    if not t > 0:
        return None, 0.0
    joined = _with_factors(objective, state, np.hstack([W, t * dW]), np.hstack([X, t * dX]))
    return joined, float(s[0] - 1)


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
