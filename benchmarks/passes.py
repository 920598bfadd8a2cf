"""Speed of the gradient and of the line search's quartic beside what they are made of.

    python -m benchmarks.passes [--ratings 930000] [--ranks 8 16 64 128]

One thread, float32. A gradient is two passes over the ratings, one a factor; each pass reads the
ratings (8 bytes each) and gathers a row of the other factor for each, and makes 4 x rank
operations a rating; the line search is one pass with rows twice as long and 8 x rank operations.
Beside the seconds: what the operations alone would take at the rate of a matrix product, and what
NumPy takes to gather the same rows into a small buffer; and the rate of the gathers.
"""

from __future__ import annotations

import argparse

import numpy as np
from threadpoolctl import threadpool_limits

from wlrmf.problem import Observed, build
from wlrmf.validation import read_cells

from .generate import ratings
from .machine import least_seconds, product_rate
from .row_solve import SHAPE

TAKEN = 256  # rows at a time, which stay in the first-level cache


def gather_seconds(problem: Observed, X: np.ndarray) -> float:
    """Seconds to take the rows of X that the entries need, in their order."""
    taken = np.empty((TAKEN, X.shape[1]), X.dtype)
    whole = problem.nnz // TAKEN * TAKEN
    parts = problem.indices[:whole].reshape(-1, TAKEN)

    def task() -> None:
        for part in parts:
            np.take(X, part, axis=0, out=taken, mode="clip")

    return least_seconds(task)


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of the gradient and the line search.")
    parser.add_argument("--ratings", type=int, default=930_000)
    parser.add_argument("--ranks", type=int, nargs="+", default=[8, 16, 64, 128])
    arguments = parser.parse_args()
    peak = product_rate(np.float32)
    print(f"matrix product {peak:.0f} GFLOP/s")
    print("rank  pass      seconds  operations  NumPy's gathers  GB/s gathered")
    problem = build(read_cells(ratings(SHAPE, arguments.ratings), dtype=np.float32))
    sides = problem, problem.T
    for rank in arguments.ranks:
        generator = np.random.default_rng(rank)
        W, X = (generator.standard_normal((n, rank)).astype(np.float32) for n in SHAPE)
        gathers = [gather_seconds(side, factor) for side, factor in zip(sides, (X, W), strict=True)]
        twice = gather_seconds(problem, np.hstack([X, X]))
        operations = 8 * rank * problem.nnz / peak / 1e9
        for name, seconds, gather in (
            ("gradient", least_seconds(lambda W=W, X=X: problem.loss_grad(W, X)), sum(gathers)),
            ("line", least_seconds(lambda W=W, X=X: problem.line(W, X, W, X)), twice),
        ):
            rate = 2 * problem.nnz * (4 * rank + 4) / seconds / 1e9
            print(
                f"{rank:4d}  {name:8s}  {seconds:7.4f}  {operations:10.4f}  {gather:15.4f}"
                f"  {rate:13.0f}"
            )


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
