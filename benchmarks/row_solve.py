"""Speed of the exact row solves against the matrix product of the same machine and run.

    python -m benchmarks.row_solve [--ratings 930000] [--ranks 16 64 128]
    python -m benchmarks.row_solve --shape 70000 10700 --ratings 9700000 --ranks 64 --threads 1 2

One thread, unless more are asked for; the product always has one. A sweep solves all rows of W and
all rows of X once. The ratings are made (`generate.ratings`). Useful operations are those of the
lower triangle, ratings x rank x (rank + 1), and of the Cholesky factors, rows x rank^3 / 3; the
peak is that of a product of two square matrices. An OPENBLAS_CORETYPE of the environment is
ignored: the peak is this machine's best.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
from threadpoolctl import threadpool_limits

from wlrmf.problem import Problem, build
from wlrmf.validation import read_cells

from .generate import ratings
from .machine import least_seconds, product_rate

SHAPE = 6040, 3706
REPEATS = 3


def sweep_seconds(problem: Problem, rank: int) -> float:
    """Seconds of the row solves of both factors."""
    generator = np.random.default_rng(rank)
    total = 0.0
    for side in (problem, problem.T):
        m, n = side.shape
        X = generator.standard_normal((n, rank)).astype(side.dtype)
        reg = np.full(m, 5, side.dtype)
        total += least_seconds(lambda side=side, X=X, reg=reg: side.best_rows(X, reg), REPEATS)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of the exact row solves.")
    parser.add_argument("--shape", type=int, nargs=2, default=SHAPE)
    parser.add_argument("--ratings", type=int, default=930_000)
    parser.add_argument("--ranks", type=int, nargs="+", default=[10, 16, 32, 50, 64, 100, 128])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    data = ratings(tuple(arguments.shape), arguments.ratings)
    for dtype in (np.float32, np.float64):
        peak = product_rate(dtype)
        print(f"{np.dtype(dtype)}: matrix product {peak:.0f} GFLOP/s")
        print("threads  rank  seconds a sweep  GFLOP/s  of the product")
        for threads, rank in itertools.product(arguments.threads, arguments.ranks):
            problem = build(read_cells(data, dtype=dtype), threads)
            seconds = sweep_seconds(problem, rank)
            useful = 2 * data.nnz * rank * (rank + 1) + sum(data.shape) * rank**3 / 3
            rate = useful / seconds / 1e9
            print(f"{threads:7d}  {rank:4d}  {seconds:15.4f}  {rate:7.1f}  {rate / peak:14.0%}")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
