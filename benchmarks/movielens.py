"""Test error and speed of convergence on MovieLens 1M.

    python -m benchmarks.movielens --data ratings.npz

The file holds one entry a rating in `user`, `item` (from 0), `rating` and `split` (0 training,
1 validation, 2 test). The ratings are GroupLens's, who allow research but no redistribution
(https://grouplens.org/datasets/movielens/1m/), so they do not come with this project.

Two tables are printed. The first has the test error of the model with biases and its seconds,
compilation apart. The second counts sweeps until F is within 1e-4 of its optimum, relative to it:
the default `als` beside plain alternation. The optimum is the least value that any of the runs
found; the accelerated ones go on until they stall.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import scipy.sparse as sp

import wlrmf

TRAINING, TEST = 0, 2


class Ratings:
    """The file, and its parts as sparse matrices."""

    def __init__(self, path: str):
        with np.load(path, allow_pickle=False) as arrays:
            self.user = arrays["user"].astype(np.int64)
            self.item = arrays["item"].astype(np.int64)
            self.rating = arrays["rating"].astype(np.float64)
            self.split = arrays["split"]
        self.shape = int(self.user.max()) + 1, int(self.item.max()) + 1

    def training(self, dtype: Any, *, centred: bool = False) -> sp.csr_array:
        cells = self.split == TRAINING
        values = self.rating[cells]
        values = (values - values.mean() if centred else values).astype(dtype)
        return sp.csr_array((values, (self.user[cells], self.item[cells])), shape=self.shape)

    def test_rmse(self, model: wlrmf.Factorization) -> float:
        cells = self.split == TEST
        predicted = model.predict(self.user[cells], self.item[cells]).astype(np.float64)
        return float(np.sqrt(np.mean((predicted - self.rating[cells]) ** 2)))


def print_test_error(ratings: Ratings, rank: int, reg: float) -> None:
    R = ratings.training(np.float32)
    options = {"rank": rank, "reg": reg, "bias": True}
    wlrmf.fit(R, stop=wlrmf.Stop(max_iter=1), **options)  # compiles
    begin = time.perf_counter()
    model = wlrmf.fit(R, **options)
    seconds = time.perf_counter() - begin
    print(f"rank {rank}, reg {reg:g}, bias, float32, {R.nnz} training ratings")
    print("test RMSE  seconds  sweeps  value     status")
    print(
        f"{ratings.test_rmse(model):9.4f}  {seconds:7.2f}  {model.n_iter:6d}  {model.value:.6g}"
        f"  {model.status.name}"
    )


def print_sweeps(ratings: Ratings, rank: int, reg: float, seeds: int, within: float) -> None:
    R = ratings.training(np.float64, centred=True)
    long = wlrmf.Stop(gtol=1e-8, ftol=1e-12, max_iter=400)
    capped = wlrmf.Stop(gtol=0, ftol=0, max_iter=150)
    plain = wlrmf.solvers.ALS(acceleration=None)
    runs = [
        (name, seed, wlrmf.fit(R, rank=rank, reg=reg, seed=seed, solver=solver, stop=stop))
        for name, solver, stop in (("als", "als", long), ("als, plain", plain, capped))
        for seed in range(seeds)
    ]
    optimum = min(model.value for _, _, model in runs)
    print(f"\nrank {rank}, reg {reg:g}, float64, centred; optimum {optimum:.9g}")
    print(f"solver      seed  sweeps to {within:g}  seconds to it  least value - 1  status")
    for name, seed, model in runs:
        sweeps, seconds = reach(model, optimum * (1 + within))
        print(
            f"{name:10s}  {seed:4d}  {sweeps:>15s}  {seconds:>13s}"
            f"  {model.value / optimum - 1:15.1e}  {model.status.name}"
        )


def reach(model: wlrmf.Factorization, value: float) -> tuple[str, str]:
    """The first entry of the trace at or below a value: its iteration and its seconds."""
    for k, reached in enumerate(model.trace.value):
        if reached <= value:
            return str(model.trace.iteration[k]), f"{model.trace.seconds[k]:.2f}"
    return f"> {model.n_iter}", "-"


def main() -> None:
    parser = argparse.ArgumentParser(description="Test error and sweeps on MovieLens 1M.")
    parser.add_argument("--data", required=True, help="npz with user, item, rating, split")
    parser.add_argument("--seeds", type=int, default=5, help="random starts (default 5)")
    options = parser.parse_args()
    ratings = Ratings(options.data)
    print_test_error(ratings, rank=10, reg=8.0)
    print_sweeps(ratings, rank=16, reg=8.0, seeds=options.seeds, within=1e-4)


if __name__ == "__main__":
    main()
