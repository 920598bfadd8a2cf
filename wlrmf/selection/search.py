"""Fits along ridges and ranks, a fold at a time, without those that cannot be chosen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..result import Status
from ..solvers.base import State, Stop, minimise
from ..start import first_state
from .errors import Metric
from .grid import ridged
from .parts import Fold

Pair = tuple[int, float]  # rank and ridge
Factors = tuple[np.ndarray, np.ndarray]

CLEAR = 4.0  # standard errors above the least error at which a pair is hopeless
RISES = 2  # ridges in a row, clearly above the least error and rising, that end a path
ALIVE = 0.01  # least singular value of W X' against the largest, for a start
PATIENCE = 3  # iterations in a row, the same, that end a fit
LOOSE = Stop(gtol=1e-3, ftol=1e-5, max_iter=200)  # of the search


@dataclass(frozen=True)
class Outcome:
    """One fit and its error on the held-out cells of its fold."""

    error: float
    se: float  # over cells
    value: float
    n_iter: int
    seconds: float
    finished: bool  # not ended because its error rose


@dataclass(frozen=True)
class Setting:
    """What all fits of a search share."""

    metric: Metric
    reg_scaling: str
    solver: Any
    stop: Stop
    watch: Callable[[State], Any] | None


@dataclass(eq=False)
class Record:
    """Outcomes so far, and which pairs they leave in the race."""

    ranks: tuple[int, ...]
    regs: tuple[float, ...]  # falling
    n_folds: int
    outcomes: dict[Pair, dict[int, Outcome]] = field(default_factory=dict)

    def add(self, pair: Pair, fold: int, outcome: Outcome) -> None:
        """One more."""
        self.outcomes.setdefault(pair, {})[fold] = outcome

    def errors(self, pair: Pair) -> dict[int, float]:
        """By fold, of fits that came to their end."""
        return {k: o.error for k, o in self.outcomes.get(pair, {}).items() if o.finished}

    def limit(self, fold: int) -> float:
        """The error in this fold above which a pair is hopeless."""
        done = [o[fold] for o in self.outcomes.values() if fold in o and o[fold].finished]
        best = min(done, key=lambda o: o.error, default=None)
        return math.inf if best is None else best.error + CLEAR * best.se

    def hopeful(self, folds: int) -> set[Pair]:
        """Pairs whose mean error over the first `folds` is not clearly above the least one."""
        done = [pair for pair in self.outcomes if len(self.errors(pair)) >= folds]
        mean = {pair: float(np.mean(list(self.errors(pair).values()))) for pair in done}
        best = min(done, key=lambda pair: mean[pair])
        se = math.hypot(*(o.se for o in self.outcomes[best].values())) / folds
        return {pair for pair in done if mean[pair] <= mean[best] + CLEAR * se}

    def complete(self) -> list[Pair]:
        """Pairs with an error in every fold."""
        return [pair for pair in self.outcomes if len(self.errors(pair)) == self.n_folds]

    def standing(self, pair: Pair) -> tuple[float, float]:
        """Mean error of a complete pair, and its standard error: over folds, or over cells."""
        own = [self.outcomes[pair][k] for k in range(self.n_folds)]
        errors = [o.error for o in own]
        if self.n_folds > 1:
            return float(np.mean(errors)), float(np.std(errors, ddof=1)) / self.n_folds**0.5
        return errors[0], own[0].se if math.isfinite(own[0].se) else 0.0

    def best(self) -> Pair:
        """The complete pair of the least mean error; of equal ones the simplest."""
        return min(self.complete(), key=lambda pair: (self.standing(pair)[0], pair[0], -pair[1]))

    def gap(self, pair: Pair) -> float:
        """Mean error above that of the best pair, on the folds that this one was run on."""
        least = self.outcomes[self.best()]
        own = self.outcomes[pair]
        return float(np.mean([own[k].error - least[k].error for k in own]))

    def estimate(self, pair: Pair) -> float:
        """Mean error; of a pair not run on all folds, what its gap to the best one makes of it.

        Its plain mean would not do: some folds are harder than others.
        """
        return self.standing(self.best())[0] + self.gap(pair)

    def reprieved(self) -> set[Pair]:
        """Pairs left out too early: folds differ so much that a standard error reaches them.

        They are compared with the best pair on the folds that they were run on. A ridge that was
        not run at all goes with the last one of its rank that was.
        """
        se = self.standing(self.best())[1]
        out, done = set(), set(self.complete())
        for rank in self.ranks:
            near = False
            for reg in self.regs:
                if (rank, reg) in self.outcomes:
                    near = self.gap((rank, reg)) <= se
                if near and (rank, reg) not in done:
                    out.add((rank, reg))
        return out


def search(folds: Callable[[int], Fold], record: Record, setting: Setting) -> None:
    """Fill the record: every pair in the first fold, in the others those that stay in the race."""
    pairs = {(rank, reg) for rank in record.ranks for reg in record.regs}
    for k in range(record.n_folds):
        run_fold(folds(k), k, pairs, record, setting, cut=True)
        pairs = record.hopeful(k + 1)
    while pairs := record.reprieved():
        for k in range(record.n_folds):
            missing = {pair for pair in pairs if k not in record.errors(pair)}
            if missing:
                run_fold(folds(k), k, missing, record, setting, cut=False)


def run_fold(
    fold: Fold, k: int, pairs: set[Pair], record: Record, setting: Setting, *, cut: bool
) -> None:
    """One path a rank. A start is never from another fold: it would have seen held-out cells."""
    for rank in record.ranks:
        path = [reg for reg in record.regs if (rank, reg) in pairs]
        factors, rises, before = None, 0, math.inf
        for reg in path:
            limit = record.limit(k) if cut else math.inf
            outcome, factors = run(fold, rank, reg, factors, limit, setting)
            record.add((rank, reg), k, outcome)
            rises = rises + 1 if outcome.error > max(limit, before) else 0
            before = outcome.error
            if k == 0 and rises == RISES:
                break


def run(
    fold: Fold, rank: int, reg: float, near: Factors | None, limit: float, setting: Setting
) -> tuple[Outcome, Factors]:
    """One fit, from the factors of a stronger ridge if there are any, ended on a row solve."""
    begin = time.perf_counter()
    objective = ridged(fold, rank, reg, setting.reg_scaling)
    if near is not None and living(*(factor[:, objective.layout.shared] for factor in near)):
        state = State.start(objective, *near)
    else:
        state = first_state(objective, fold.pins, setting.solver)
    watch = _Watch(fold, limit if setting.metric.squared else math.inf, setting.watch)
    end = minimise(objective, setting.solver, state, setting.stop, watch)
    W, X, value = end.best.W, end.best.X, end.best.value
    solved, _ = objective.best_W(W, X)
    if np.isfinite(solved).all():
        W, value = solved, objective.value(solved, X)
    error, se = fold.error(W, X, setting.metric)
    outcome = Outcome(
        error=error,
        se=se,
        value=value,
        n_iter=end.last.iteration,
        seconds=time.perf_counter() - begin,
        finished=end.status is not Status.CALLBACK,
    )
    return outcome, (W, X)


def living(W: np.ndarray, X: np.ndarray) -> bool:
    """Whether no factor is next to nothing, as a strong ridge leaves those beyond some rank.

    From there a weaker ridge is slow to bring them back, and the value changes so little at first
    that a fit seems to be at its end; the spectral start does better.
    """
    R, S = (np.linalg.qr(factor.astype(np.float64))[1] for factor in (W, X))
    s = np.linalg.svd(R @ S.T, compute_uv=False)
    return s.size == 0 or bool(s[-1] > ALIVE * s[0])


@dataclass(eq=False)
class _Watch:
    """Ends a fit whose held-out error is hopeless and rises."""

    fold: Fold
    limit: float
    also: Callable[[State], Any] | None
    before: float = math.inf
    rises: int = 0

    def __call__(self, state: State) -> None:
        if self.also is not None:
            self.also(state)
        if self.limit == math.inf:
            return
        error = self.fold.rmse(state.W, state.X)
        self.rises = self.rises + 1 if error > max(self.limit, self.before) else 0
        self.before = error
        if self.rises == PATIENCE:
            raise StopIteration


def loosened(stop: Stop) -> Stop:
    """The search's tests, within the caller's budget."""
    return replace(
        stop,
        gtol=max(stop.gtol, LOOSE.gtol),
        ftol=max(stop.ftol, LOOSE.ftol),
        max_iter=min(stop.max_iter, LOOSE.max_iter),
    )
