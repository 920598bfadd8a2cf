"""Many starts: one run from each, in turn or side by side, until enough of them agree."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np

from .kernels.interrupts import check
from .objective import Objective
from .path import Clock
from .result import SAME, Counts, Status, optima
from .solvers.base import End, Solver, State, Stop, minimise
from .start import Start

MOST = 100  # starts until the best value has recurred
HEARD = 0.1  # seconds until an interrupt is, while runs in other threads are waited for
Result = TypeVar("Result")


class _Abandoned(KeyboardInterrupt):
    """Of a run that nobody waits for any more; like an interrupt, it leaves with its `end`."""


def run_all(
    objective: Objective,
    solver: Solver,
    starts: Iterator[Start],
    stop: Stop,
    callback: Callable[[State], Any] | None,
    until_repeat: bool = False,
) -> list[End]:
    """The ends of the runs from these starts, within one budget of seconds.

    With `until_repeat` no start is taken after the least value has been met from two that have
    chance in them (paths agree too easily), or is 0 but for rounding, or after `MOST`: restarts
    until an optimum recurs (RUSSO: Hong & Fitzgibbon 2015, ICCV, doi:10.1109/ICCV.2015.470).

    Without a callback as many run side by side as the problem has threads. Each run is the same, to
    the bit, for any number of them; so is the list, unless the seconds run out.

    After an interrupt the last of them has its status, and the list ends with the point that the
    run, or the best of those side by side, had come to.

    Raises
    ------
    KeyboardInterrupt
        If it came before there was any point.
    """
    clock, ends = Clock(stop), []
    by_chance: list[bool] = []

    def taken() -> Iterator[Start]:
        for start in islice(starts, MOST) if until_repeat else starts:
            by_chance.append(start.by_chance)
            yield start

    try:
        with closing(_in_turn(objective, solver, taken(), clock, callback)) as runs:
            for end in runs:
                ends.append(end)
                if end.status is Status.CALLBACK or clock.stop().max_seconds == 0:
                    break
                if until_repeat and _recurred(ends, by_chance, objective.rounding):
                    break
    except KeyboardInterrupt as interrupt:
        if hasattr(interrupt, "end"):
            ends.append(interrupt.end)
        if not ends:
            raise
        ends[-1] = ends[-1]._replace(status=Status.INTERRUPTED)
    return ends


def _recurred(ends: list[End], by_chance: list[bool], rounding: float) -> bool:
    """Whether the least value has been met twice by chance, or cannot be smaller."""
    values = [end.best.value for end in ends]
    drawn = [value for value, chance in zip(values, by_chance, strict=False) if chance]
    least, times = (optima(drawn, rounding) or [(np.inf, 0)])[0]
    lowest = np.nanmin(values)
    return bool(lowest <= rounding or (times > 1 and least <= lowest * (1 + SAME) + rounding))


def _in_turn(
    objective: Objective,
    solver: Solver,
    starts: Iterator[Start],
    clock: Clock,
    callback: Callable[[State], Any] | None,
) -> Generator[End]:
    """The ends in the order of the starts."""
    threads = objective.problem.n_threads if callback is None else 1
    ahead = list(islice(starts, 2))
    starts = chain(ahead, starts)
    if threads > 1 and len(ahead) > 1:
        yield from _side_by_side(objective, solver, starts, clock, threads)
    else:
        for start in starts:
            yield _run(objective, solver, start, clock, callback)


def _side_by_side(
    objective: Objective, solver: Solver, starts: Iterator[Start], clock: Clock, threads: int
) -> Iterator[End]:
    """A run a thread, each on one thread."""
    over = threading.Event()

    def watch(_: State) -> None:
        if over.is_set():
            raise _Abandoned

    alone = replace(objective.problem, n_threads=1)  # type: ignore[type-var]
    watched = replace(clock, watch=watch)

    def task(start: Start) -> tuple[End, Counts]:
        own = replace(objective, problem=alone, counts=Counts())
        return _run(own, solver, start, watched, watch), own.counts

    pool = ThreadPoolExecutor(threads)
    waiting: deque[Future[tuple[End, Counts]]] = deque()
    try:
        waiting.extend(pool.submit(task, start) for start in islice(starts, threads))
        while waiting:
            end, counts = _awaited(waiting[0])
            waiting.popleft()
            objective.counts.add(counts)
            waiting.extend(pool.submit(task, start) for start in islice(starts, 1))
            yield end
    except KeyboardInterrupt as interrupt:
        over.set()
        pool.shutdown(wait=True, cancel_futures=True)
        ends = [end for end in map(_end_of, waiting) if end and np.isfinite(end.best.value)]
        if ends:
            interrupt.end = min(ends, key=lambda end: end.best.value)  # type: ignore[attr-defined]
        raise
    finally:
        over.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _awaited(future: Future[Result]) -> Result:
    """Its result, unless an interrupt comes first."""
    while not wait([future], HEARD).done:
        check()
    return future.result()


def _end_of(future: Future[tuple[End, Counts]]) -> End | None:
    """Of a run that is over or was left."""
    if future.cancelled():
        return None
    failure = future.exception()
    return future.result()[0] if failure is None else getattr(failure, "end", None)


def _run(
    objective: Objective,
    solver: Solver,
    start: Start,
    clock: Clock,
    callback: Callable[[State], Any] | None,
) -> End:
    state = start.make(objective, clock)
    stop = clock.stop()
    if start.patience is not None:
        stop = replace(stop, max_iter=min(stop.max_iter, start.patience))
    return minimise(objective, solver, state, stop, callback)
