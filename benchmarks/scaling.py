"""Seconds a sweep and peak of memory against the number of ratings.

    python -m benchmarks.scaling [--cases ratings_1m,ratings_10m,ratings_25m,ratings_100m]

The default solver, float32, each size in its own process. A sweep is the slope between fits of two
and of six iterations, so it has the gradient and the line search, too. The shapes grow with the
number of ratings, and with them the share of rows that come from memory and not from a cache.

Memory is the peak of the process less what it held before the fit, data included; beside it what
the fit should need: two copies of the ratings (8 bytes each, and 4 for a weight) and fifteen
factors.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp

import wlrmf

from .cases import SPECS
from .environments import WORK
from .machine import peak_memory
from .processes import run_module

FACTORS = 15  # W, X: state, sweep, direction, gradient, best so far, padded copies


def measure(name: str, rank: int, threads: int) -> dict:
    """Ratings, seconds a sweep, bytes."""
    case = SPECS[name].load()
    held = peak_memory()

    def seconds(Y: sp.csr_matrix, iterations: int) -> float:
        stop = wlrmf.Stop(gtol=0, ftol=0, max_iter=iterations)
        begin = time.perf_counter()
        wlrmf.fit(Y, rank=rank, reg=case.spec.reg, stop=stop, n_threads=threads)
        return time.perf_counter() - begin

    seconds(case.Y[:200], 1)  # compiles
    two, six = (seconds(case.Y, iterations) for iterations in (2, 6))
    return {
        "ratings": case.Y.nnz,
        "sweep": (six - two) / 4,
        "fit": six,
        "memory": peak_memory() - held,
        "needed": 16 * case.Y.nnz + FACTORS * 4 * rank * sum(case.Y.shape),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds and memory against the size.")
    parser.add_argument("--cases", default="ratings_1m,ratings_10m,ratings_25m,ratings_100m")
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.rank, arguments.threads)))
        return

    def run(*module: str) -> str:
        printed, reason = run_module(Path(sys.executable), [*module], arguments.threads)
        if reason:
            raise SystemExit(reason)
        return printed

    print("   ratings  s a sweep  s of 6 sweeps  GiB of the fit  GiB expected")
    found = []
    for name in arguments.cases.split(","):
        run("benchmarks.datasets", SPECS[name].source, str(WORK / "data"))
        options = f"--one {name} --rank {arguments.rank} --threads {arguments.threads}"
        found.append(json.loads(run("benchmarks.scaling", *options.split())))
        row = found[-1]
        print(
            f"{row['ratings']:10d}  {row['sweep']:9.3f}  {row['fit']:13.2f}"
            f"  {row['memory'] / 2**30:14.2f}  {row['needed'] / 2**30:12.2f}",
            flush=True,
        )
    if len(found) > 1:
        logs = [[np.log(row[key]) for row in found] for key in ("ratings", "sweep")]
        print(f"exponent of the seconds a sweep: {np.polyfit(*logs, 1)[0]:.3f}")


if __name__ == "__main__":
    main()
