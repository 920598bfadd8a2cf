"""One library on one case at one rank: ``python -m benchmarks.worker JOB``.

JOB is JSON (see `jobs.perform`). Fits from scratch are timed with 1, 2, 3, 5, 8, ... iterations;
after each the objective and the held-out error are computed, and a line goes to the results. Not
timed: reading the data, bringing them into the library's own form once, and a first fit of one
iteration, which imports and compiles.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from .cases import SPECS
from .machine import peak_memory
from .quality import held_out_error, objective

LADDER = (1, 2, 3, 5, 8, 12, 18, 25, 35, 50, 70, 100, 140, 200, 280, 400, 560, 800, 1120, 1600)
SETTLED = 1e-5  # relative improvement from rung to rung that ends the ladder
SHORT, MOST_FITS = 0.2, 3  # fits below these seconds are made again, up to three times
FEWEST = 12  # iterations before it may: some methods begin slowly
PACKAGES = {"sklearn": "scikit-learn", "spark": "pyspark"}


def main() -> None:
    job = json.loads(sys.argv[1])
    seconds, path = job.pop("seconds_limit"), job.pop("output")
    case = SPECS[job["case"]].load()
    peer = import_module(f".peers.{job['library']}", __package__)
    for line in measure(peer, case, job, seconds):
        with open(path, "a") as output:
            output.write(json.dumps(job | line) + "\n")


def measure(peer, case, job, limit):
    """The lines of the ladder's rungs, until the time is used up or the objective settles."""
    arguments = job["rank"], job["threads"], job["seed"], peer.SETTINGS[job["setting"]]
    loaded = peak_memory()
    data = peer.prepare(case, job["threads"])
    timed_fit(peer, data, case, 1, *arguments)
    used, last = 0.0, None
    for iterations in LADDER:
        seconds, (W, X) = timed_fit(peer, data, case, iterations, *arguments)
        # with levels beside the factors it is another model, and another objective
        value = objective(case, W, X) if W.shape[1] == job["rank"] else None
        yield {
            "status": "ok",
            "iterations": iterations,
            "seconds": seconds,
            "memory": peak_memory(),  # before the evaluation, which has needs of its own
            "memory_before": loaded,
            "objective": value,
            "held_out": held_out_error(case, W, X),
            "dtype": peer.DTYPE if case.Y.dtype == "float32" else str(case.Y.dtype),
            "version": package_version(job["library"]),
        }
        used += seconds
        settled = None not in (last, value) and abs(last - value) <= SETTLED * abs(last)
        if used + seconds > limit or (settled and iterations >= FEWEST):
            return
        last = value


def timed_fit(peer, data, case, iterations, rank, threads, seed, setting):
    """Seconds and factors of a fit; the least seconds of a few where they are short."""
    seconds = []
    while not seconds or (len(seconds) < MOST_FITS and sum(seconds) < SHORT):
        begin = time.perf_counter()
        factors = peer.fit(data, case, rank, iterations, threads, seed, **setting)
        seconds.append(time.perf_counter() - begin)
    return min(seconds), factors


def package_version(library: str) -> str:
    try:
        return version(PACKAGES.get(library, library))
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    main()
