"""One library on one case at one rank, in a process of its own: ``python -m benchmarks.worker JOB``.

JOB is JSON (see `jobs.Job`). Fits from scratch are timed with 1, 2, 3, 5, 8, ... iterations, and
after each the objective and the held-out error are computed; each makes a line of the results file.
Outside the clock: reading the data, bringing them into the library's own form once, and a first fit
of one iteration, which imports and compiles.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .cases import SPECS
from .quality import held_out_error, objective

LADDER = (1, 2, 3, 5, 8, 12, 18, 25, 35, 50, 70, 100, 140, 200, 280, 400, 560, 800, 1120, 1600)
SETTLED = 1e-5  # relative improvement from rung to rung that ends the ladder
FEWEST = 12  # iterations before it may: some methods begin slowly
PACKAGES = {"sklearn": "scikit-learn", "spark": "pyspark"}


def main() -> None:
    job = json.loads(sys.argv[1])
    spec = SPECS[job["case"]]
    case = spec.load(Path(job["data"]) if job["data"] else None)
    peer = import_module(f".peers.{job['library']}", __package__)
    with open(job["output"], "a") as output:
        for line in measure(peer, case, job):
            output.write(json.dumps(job["common"] | line) + "\n")
            output.flush()


def measure(peer, case, job):
    """The lines of the ladder's rungs, until the time is used up or the objective settles."""
    arguments = job["rank"], job["threads"], job["seed"], peer.SETTINGS[job["setting"]]
    loaded = peak_memory()
    data = peer.prepare(case, job["threads"])
    timed_fit(peer, data, case, 1, *arguments)
    used, last = 0.0, None
    for iterations in LADDER:
        seconds, (W, X) = timed_fit(peer, data, case, iterations, *arguments)
        line = {
            "status": "ok",
            "iterations": iterations,
            "seconds": seconds,
            "memory": peak_memory(),  # before the evaluation, which has needs of its own
            "memory_before": loaded,
            "objective": objective(case, W, X),
            "held_out": held_out_error(case, W, X),
            "dtype": peer.DTYPE if case.Y.dtype == "float32" else str(case.Y.dtype),
            "version": package_version(job["library"]),
        }
        yield line
        used += seconds
        ahead = seconds * next_rung(iterations) / iterations
        settled = last is not None and abs(last - line["objective"]) <= SETTLED * abs(last)
        if used + ahead > job["seconds"] or (settled and iterations >= FEWEST):
            return
        last = line["objective"]


def timed_fit(peer, data, case, iterations, rank, threads, seed, setting):
    begin = time.perf_counter()
    factors = peer.fit(data, case, rank, iterations, threads, seed, **setting)
    return time.perf_counter() - begin, factors


def next_rung(iterations: int) -> int:
    return next((rung for rung in LADDER if rung > iterations), LADDER[-1])


def peak_memory() -> int:
    """Bytes; Linux counts in KiB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def package_version(library: str) -> str:
    try:
        return version(PACKAGES.get(library, library))
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    main()
