"""Choosing rank and ridge on MovieLens 1M: `wlrmf.select` beside a loop over `wlrmf.fit`.

    python -m benchmarks.selection --data DIR [--ranks 5 10] [--plain no]

DIR has ml1m.npz (see `benchmarks.movielens`), whose training ratings are dealt to folds. Both get
the same folds and the same ranks and ridges, float32 and biases; the loop runs every pair on every
fold with the defaults of `fit`. Printed: the errors of both, the seconds, both choices by the rule
of one standard error and by the least error, and the error of the chosen model, fitted to all
training ratings, on the validation and the test ratings. Compilation is left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp

import wlrmf

from .movielens import Ratings

RANKS = (5, 10, 20, 40)
REGS = (32.0, 24.0, 16.0, 12.0, 8.0, 6.0, 4.0, 2.0)
FOLDS, SEED = 3, 0
Pair = tuple[int, float]


class Sides:
    """The ratings of each fold and the others."""

    def __init__(self, R: sp.csr_array):
        self.R = R
        self.rows = np.repeat(np.arange(R.shape[0]), np.diff(R.indptr))
        self.fold = wlrmf.splits.folds(self.rows, R.indices, R.shape, FOLDS, SEED)

    def training(self, k: int) -> sp.csr_array:
        some = self.fold != k
        place = self.rows[some], self.R.indices[some]
        return sp.csr_array((self.R.data[some], place), shape=self.R.shape)

    def error(self, model: wlrmf.Factorization, k: int) -> float:
        some = self.fold == k
        predicted = model.predict(self.rows[some], self.R.indices[some]).astype(np.float64)
        return float(np.sqrt(np.mean((predicted - self.R.data[some]) ** 2)))


def loop(sides: Sides, ranks: Sequence[int]) -> dict[Pair, list[float]]:
    """The errors of all fits, by fold."""
    errors: dict[Pair, list[float]] = {(rank, reg): [] for rank in ranks for reg in REGS}
    for k in range(FOLDS):
        R = sides.training(k)
        for (rank, reg), own in errors.items():
            own.append(sides.error(wlrmf.fit(R, rank=rank, reg=reg, bias=True), k))
    return errors


def choices(errors: dict[Pair, list[float]]) -> tuple[Pair, Pair]:
    """By one standard error and by the least error, written out here for itself."""
    mean = {pair: float(np.mean(own)) for pair, own in errors.items()}
    best = min(mean, key=mean.__getitem__)
    limit = mean[best] + float(np.std(errors[best], ddof=1)) / FOLDS**0.5
    near = [pair for pair in mean if mean[pair] <= limit]
    return min(near, key=lambda pair: (pair[0], -pair[1])), best


def timed(call: Callable[[], object]) -> tuple[float, object]:
    begin = time.perf_counter()
    answer = call()
    return time.perf_counter() - begin, answer


def part_rmse(ratings: Ratings, model: wlrmf.Factorization, part: int) -> float:
    cells = ratings.split == part
    predicted = model.predict(ratings.user[cells], ratings.item[cells]).astype(np.float64)
    return float(np.sqrt(np.mean((predicted - ratings.rating[cells]) ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Choosing rank and ridge on MovieLens 1M.")
    parser.add_argument("--data", required=True, type=Path, help="directory with ml1m.npz")
    parser.add_argument("--plain", choices=["yes", "no"], default="yes", help="the loop too")
    parser.add_argument("--ranks", type=int, nargs="+", default=list(RANKS))
    options = parser.parse_args()
    ratings = Ratings(options.data / "ml1m.npz")
    R = ratings.training(np.float32)
    grid = {"ranks": options.ranks, "regs": REGS, "folds": FOLDS, "seed": SEED, "bias": True}
    few = {"ranks": options.ranks, "regs": REGS[:1], "folds": 2, "bias": True}
    wlrmf.select(R, stop=wlrmf.Stop(max_iter=1), **few)  # compiles
    seconds, found = timed(lambda: wlrmf.select(R, refit=False, **grid))
    print(f"select: {seconds:.1f} s; {found!r}")
    model = wlrmf.fit(R, rank=found.rank, reg=found.reg, bias=True)
    parts = [part_rmse(ratings, model, part) for part in (1, 2)]
    print(f"the chosen model, fitted to all: RMSE {parts[0]:.4f} validation, {parts[1]:.4f} test")
    best = wlrmf.fit(R, rank=found.best_rank, reg=found.best_reg, bias=True)
    parts = [part_rmse(ratings, best, part) for part in (1, 2)]
    print(f"that of the least error:         RMSE {parts[0]:.4f} validation, {parts[1]:.4f} test")
    if options.plain == "no":
        return
    plain, errors = timed(lambda: loop(Sides(R), options.ranks))
    rule, least = choices(errors)
    print(f"loop over fit: {plain:.1f} s; one standard error {rule}, least {least}")
    same = (rule, least) == ((found.rank, found.reg), (found.best_rank, found.best_reg))
    print(f"ratio {plain / seconds:.1f}; the same choices: {'yes' if same else 'no'}")
    print("rank  reg   loop     select   status")
    for trial in found.table:
        own = float(np.mean(errors[trial.rank, trial.reg]))
        print(f"{trial.rank:4d}  {trial.reg:4g}  {own:.5f}  {trial.error:.5f}  {trial.status}")


if __name__ == "__main__":
    main()
