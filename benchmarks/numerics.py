"""Errors of single row solves against rational arithmetic: `python -m benchmarks.numerics`.

Weights spread over many orders of magnitude, and two equal columns beside a small ridge; the
largest relative error over a number of drawn rows.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from wlrmf.problem import build
from wlrmf.validation import read_cells

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from naive import exact_row  # the tests' oracle

RANK = 5


def solved(c: np.ndarray, y: np.ndarray, X: np.ndarray, reg: float, dense: bool) -> np.ndarray:
    """The library's answer, from a dense or a sparse row."""
    at = np.zeros(len(y), int), np.arange(len(y))
    Y, weights = (v[None] if dense else sp.coo_array((v, at)) for v in (y, c))
    problem = build(read_cells(Y, weights=weights, dtype=X.dtype))
    return problem.best_rows(X, np.full(1, reg, X.dtype)).W[0]


def worst(draw: object, rows: int, dtype: type, reg: float = 0.0) -> str:
    """The largest relative error over the rows, dense and sparse."""
    errors = []
    for seed in range(rows):
        c, y, X = (part.astype(dtype) for part in draw(np.random.default_rng(seed)))  # type: ignore[operator]
        wanted = exact_row(c, y, X, float(dtype(reg)))
        for dense in (True, False):
            got = solved(c, y, X, reg, dense).astype(np.float64)
            errors.append(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))
    return f"{max(errors):.1e}"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50, help="drawn rows of each kind")
    rows = parser.parse_args().rows
    warnings.simplefilter("ignore")

    print(f"| weights over | cells of a row (rank {RANK}) | float64 | float32 |")
    print("|---|---|---|---|")
    for orders in (6, 12, 18, 24):
        for count in (8, 40):

            def spread(rng, orders=orders, count=count):  # type: ignore[no-untyped-def]
                c = 10 ** rng.uniform(-orders / 2, orders / 2, count)
                return c, rng.standard_normal(count), rng.standard_normal((count, RANK))

            errors = [worst(spread, rows, dtype) for dtype in (np.float64, np.float32)]
            print(f"| {orders} orders | {count} | {' | '.join(errors)} |")

    print("\n| two equal columns, ridge | float64 | float32 |\n|---|---|---|")
    for reg in (1e-4, 1e-8, 1e-12, 1e-20):

        def collinear(rng):  # type: ignore[no-untyped-def]
            X = rng.standard_normal((40, RANK))
            X[:, 1] = X[:, 0]
            return rng.uniform(0.5, 2, 40), rng.standard_normal(40), X

        errors = [worst(collinear, rows, dtype, reg) for dtype in (np.float64, np.float32)]
        print(f"| {reg:.0e} | {' | '.join(errors)} |")


if __name__ == "__main__":
    main()
