"""Ctrl-C at random moments of every kind of fit, once or twice, and what is left afterwards."""

from __future__ import annotations

import random
import signal
import threading
import time
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import wlrmf

SOLVERS = ("als", "gd", "scaled-gd", "lbfgs", "varpro", "svd")
STARTS = ("als, 3 starts", "varpro, 3 starts", "varpro, 6 starts")
KINDS = (*SOLVERS, *STARTS, "rank auto")


@dataclass
class Interrupts:
    """What became of the fits of a kind."""

    kind: str
    interrupted: int = 0
    with_result: int = 0  # the exception had a model; otherwise the fit had no point yet
    latest: float = 0.0  # seconds from the signal to the exception
    too_late: int = 0  # the fit had ended before the signal came
    seconds: list[float] = field(default_factory=list, repr=False)


def problem(kind: str) -> dict[str, Any]:
    """Data and arguments that keep a fit busy for some tenths of a second."""
    rng = np.random.default_rng(0)
    solver, _, starts = kind.partition(", ")
    small = solver == "varpro"
    m, n, rank = (60, 40, 3) if small else (1500, 900, 40) if solver == "svd" else (400, 300, 6)
    Y = rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n))
    Y += rng.standard_normal(Y.shape)
    given: dict[str, Any] = {"Y": Y, "n_threads": 2}
    given["mask"] = None if solver == "svd" else rng.random(Y.shape) < 0.5
    if kind == "rank auto":
        return given | {"rank": "auto", "reg": 40.0, "stop": wlrmf.Stop(gap=1e-6)}
    stop = wlrmf.Stop(gtol=0, ftol=0, max_iter=15 if small or starts else 60)
    given |= {"rank": rank, "reg": 0.1, "solver": solver, "stop": stop}
    return given | ({"n_starts": int(starts.split()[0])} if starts else {})


def blas() -> list[Any]:
    """The thread counts of all BLAS libraries."""
    found = [each for each in threadpool_info() if each["user_api"] == "blas"]
    return [(each["filepath"], each["num_threads"]) for each in found]


class _Alarm:
    """Raise SIGINT after some seconds, and again soon after."""

    def __init__(self, delays: list[float]):
        self.delays, self.at = delays, 0.0

    def __enter__(self) -> _Alarm:
        self.old = signal.signal(signal.SIGALRM, self.ring)
        signal.setitimer(signal.ITIMER_REAL, self.delays.pop(0))
        return self

    def ring(self, signum: int, frame: Any) -> None:
        self.at = self.at or time.perf_counter()
        if self.delays:
            signal.setitimer(signal.ITIMER_REAL, self.delays.pop(0))
        signal.raise_signal(signal.SIGINT)

    def __exit__(self, *error: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.old)


def run(kind: str, count: int, seed: int = 0, twice: float = 0.3) -> Interrupts:
    """Interrupt fits until `count` were; a share `twice` of them gets a second signal.

    After each: no thread is left, BLAS and the handler are as before, the partial result predicts
    and can be gone on from. At the end, the same fit gives the same bits as before.
    """
    rng, out, given = random.Random(f"{kind}:{seed}"), Interrupts(kind), problem(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wlrmf.ConvergenceWarning)
        wlrmf.fit(**given)
        begin = time.perf_counter()
        whole = wlrmf.fit(**given)
        length = time.perf_counter() - begin
        before, threads = blas(), threading.active_count()
        while out.interrupted < count:
            delays = [max(1e-4, rng.random() * length)]
            if rng.random() < twice:
                delays.append(max(1e-5, rng.random() * 0.01))
            _one(given, delays, out)
            assert threading.active_count() == threads, threading.enumerate()
            assert blas() == before
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        again = wlrmf.fit(**given)
    np.testing.assert_array_equal(again.left, whole.left)
    np.testing.assert_array_equal(again.right, whole.right)
    return out


def _one(given: dict[str, Any], delays: list[float], out: Interrupts) -> None:
    part: Any = None
    seconds, two = 0.0, len(delays) == 2
    try:
        with _Alarm(delays) as alarm:
            try:
                wlrmf.fit(**given)
                out.too_late += 1
                return
            except KeyboardInterrupt as interrupt:
                seconds = time.perf_counter() - alarm.at
                # None too where the signal came outside of the fit, before or after it
                part = getattr(interrupt, "partial_result", None)
                if two:
                    time.sleep(0.02)  # the second one may come after the fit
    except KeyboardInterrupt:
        pass  # the second one, or one before the fit was called
    out.interrupted += 1
    out.seconds.append(seconds)
    out.latest = max(out.latest, seconds)
    if part is None:
        return
    out.with_result += 1
    trace = part.trace
    assert len({len(column) for column in vars(trace).values()}) == 1
    assert np.isfinite(part.left).all()
    assert np.isfinite(part.right).all()
    if part.status is wlrmf.Status.INTERRUPTED:
        assert part.value <= min(trace.value)
    part.predict(0, 0)
    if part.rank > 0:  # otherwise "auto" had found no factor yet
        one = {"rank": part.rank, "n_starts": 1, "stop": wlrmf.Stop(max_iter=1)}
        wlrmf.fit(**given | one, start=part.state)


def run_while_compiling(seed: int = 0) -> Interrupts:
    """Interrupt the first fits of a process that has no compiled kernels, until one is through.

    To be run in a process of its own, with NUMBA_CACHE_DIR at an empty folder.
    """
    rng, out = random.Random(seed), Interrupts("als, compiling")
    given = problem("als")
    while out.too_late == 0:
        _one(given, [0.2 + 2 * rng.random()], out)
        assert threading.active_count() == 1, threading.enumerate()
    return out
