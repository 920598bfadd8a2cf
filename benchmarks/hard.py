"""How often random starts reach the best value known, on masks that are hard.

    python -m benchmarks.hard [--data DIR] [--starts 40] [--solvers varpro als lbfgs]

One thread, float64, no ridge, the same normal starts for all solvers. A start succeeds if its root
mean square over the observed cells is within a millionth of the best known. With --data, the files
`hard_dino_trimmed.npz` and `hard_giraffe.npz` of that folder (Y and mask; point tracks of the
structure-from-motion literature); always, planted matrices of noise 0.01 whose mask is a band, and
there the best known value is that of a fit from the plant itself.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

import wlrmf

CLOSE = 1e-6
FILES = {"dino_trimmed": (4, 1.084673), "giraffe": (6, 0.322795)}  # rank, best root mean square
BANDS = ((60, 200, 4, 14), (80, 160, 5, 30))  # rows, columns, rank, rows a column sees
DIGITS = 5e-7  # to which the figures above are rounded


class Instance(NamedTuple):
    """Data with holes, and what is known of them."""

    name: str
    Y: np.ndarray
    rank: int
    best: float
    slack: float


def rms(model: wlrmf.Factorization, Y: np.ndarray) -> float:
    """Root mean square over the observed cells."""
    return float((model.loss / np.isfinite(Y).sum()) ** 0.5)


def stored(folder: Path) -> list[Instance]:
    """The instances of files."""
    found = []
    for name, (rank, best) in FILES.items():
        with np.load(folder / f"hard_{name}.npz") as data:
            Y = np.where(data["mask"], data["Y"], np.nan)
        found.append(Instance(name, Y, rank, best, DIGITS))
    return found


def band(m: int, n: int, rank: int, width: int, stop: wlrmf.Stop) -> Instance:
    """Each column sees `width` rows in sequence, which move down from column to column."""
    rng = np.random.default_rng(m)
    W, X = rng.standard_normal((rank, m)), rng.standard_normal((rank, n))
    Y = W.T @ X + 0.01 * rng.standard_normal((m, n))
    first = np.linspace(0, m - width, n).round().astype(int)
    away = np.arange(m)[:, None] - first
    Y[(away < 0) | (away >= width)] = np.nan
    model = wlrmf.fit(Y, rank=rank, solver="varpro", start=(W, X), stop=stop)
    return Instance(f"band {m}x{n}", Y, rank, rms(model, Y), 0.0)


def measure(instance: Instance, solver: str, starts: int, stop: wlrmf.Stop) -> str:
    """One line: successes, median seconds and iterations, and the median excess."""
    seconds, iterations, ratios, reached = [], [], [], 0
    for seed in range(starts):
        rng = np.random.default_rng(seed)
        begin = [rng.standard_normal((instance.rank, size)) for size in instance.Y.shape]
        clock = time.perf_counter()
        model = wlrmf.fit(
            instance.Y, rank=instance.rank, solver=solver, start=begin, stop=stop, n_threads=1
        )
        seconds.append(time.perf_counter() - clock)
        iterations.append(model.n_iter)
        ratios.append(rms(model, instance.Y) / instance.best)
        reached += rms(model, instance.Y) <= instance.best * (1 + CLOSE) + instance.slack
    return (
        f"{instance.name:15s} {solver:8s} {reached:3d} of {starts:3d}  {np.median(seconds):8.2f}"
        f"  {np.median(iterations):10.0f}  {np.median(ratios):12.6f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Successes from random starts on hard masks.")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--starts", type=int, default=40)
    parser.add_argument("--solvers", nargs="+", default=["varpro", "als", "lbfgs"])
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60, help="of one start, at most")
    given = parser.parse_args()
    stop = wlrmf.Stop(gtol=1e-10, ftol=1e-12, max_iter=given.iterations, max_seconds=given.seconds)
    instances = [band(*size, stop) for size in BANDS]
    if given.data is not None:
        instances += stored(given.data)
    print("instance        solver    reached    seconds  iterations  rms / best (medians)")
    for instance in instances:
        for solver in given.solvers:
            print(measure(instance, solver, given.starts, stop), flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore", wlrmf.ConvergenceWarning)
    with threadpool_limits(1):
        main()
