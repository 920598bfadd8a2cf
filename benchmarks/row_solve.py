"""Speed of the exact row solves against the matrix product of the same machine and run.

    python -m benchmarks.row_solve [--ratings 930000] [--ranks 16 64 128]

One thread. A sweep solves all rows of W and all rows of X once. The ratings are generated: users
and items are drawn with probabilities k^-0.7 of their rank in activity, repeated pairs dropped.
Useful operations are those of the lower triangle, ratings x rank x (rank + 1), and of the Cholesky
factors, rows x rank^3 / 3; the peak is that of a 2000 x 2000 product in the same precision.
An OPENBLAS_CORETYPE of the environment is ignored: the peak is this machine's best.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.pop("OPENBLAS_CORETYPE", None)  # read when NumPy is imported

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from wlrmf.problem import Problem, build
from wlrmf.validation import read_cells

SHAPE = 6040, 3706
REPEATS = 3


def generate(ratings: int, seed: int = 0) -> sp.csr_array:
    """Ratings with power-law activity, about as many as asked for."""
    generator = np.random.default_rng(seed)
    pairs = np.empty(0, np.int64)
    while pairs.size < ratings:
        draws = [
            generator.choice(size, ratings, p=share / share.sum())
            for size, share in ((size, np.arange(1.0, size + 1) ** -0.7) for size in SHAPE)
        ]
        pairs = np.unique(np.concatenate([pairs, draws[0] * SHAPE[1] + draws[1]]))
    pairs = generator.permutation(pairs)[:ratings]
    values = generator.standard_normal(ratings)
    return sp.csr_array((values, (pairs // SHAPE[1], pairs % SHAPE[1])), shape=SHAPE)


def least_seconds(task: Callable[[], object]) -> float:
    """Least time of some runs, after one that is not counted."""
    task()
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        task()
        times.append(time.perf_counter() - begin)
    return min(times)


def sweep_seconds(problem: Problem, rank: int) -> float:
    """Seconds of the row solves of both factors."""
    generator = np.random.default_rng(rank)
    total = 0.0
    for side in (problem, problem.T):
        m, n = side.shape
        X = generator.standard_normal((n, rank)).astype(side.dtype)
        reg = np.full(m, 5, side.dtype)
        total += least_seconds(lambda side=side, X=X, reg=reg: side.best_rows(X, reg))
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of the exact row solves.")
    parser.add_argument("--ratings", type=int, default=930_000)
    parser.add_argument("--ranks", type=int, nargs="+", default=[10, 16, 32, 50, 64, 100, 128])
    arguments = parser.parse_args()
    data = generate(arguments.ratings)
    for dtype in (np.float32, np.float64):
        square = np.random.default_rng(0).standard_normal((2000, 2000)).astype(dtype)
        peak = 2 * 2000**3 / least_seconds(lambda square=square: square @ square) / 1e9
        print(f"{np.dtype(dtype)}: matrix product {peak:.0f} GFLOP/s")
        print("rank  seconds a sweep  GFLOP/s  of the product")
        problem = build(read_cells(data, dtype=dtype))
        for rank in arguments.ranks:
            seconds = sweep_seconds(problem, rank)
            useful = 2 * data.nnz * rank * (rank + 1) + sum(SHAPE) * rank**3 / 3
            rate = useful / seconds / 1e9
            print(f"{rank:4d}  {seconds:15.4f}  {rate:7.1f}  {rate / peak:14.0%}")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
