"""Problems that are made to break solvers: how often the best optimum known is reached.

    python -m benchmarks.hard [--data DIR] [--parts first random ...] [--seeds 50]

One thread, float64, no ridge. The parts:

    first    `fit(Y, mask, rank)` with all defaults on bands and on tracks
    random   normal starts, the same for every solver, on the same
    few      exact completion from few cells: 1000 x 1000, and 300 x 350, of rank 5
    noise    the same with noise: the value against that of a fit from the truth
    weights  lognormal weights on bands and uniform masks: the best of 50 random starts
    panels   `varpro` where many rows have one mask, against weights that tell them apart

A fit succeeds on a mask if its root mean square over the observed cells is within a millionth of
the best known; in completion if the whole matrix is within 1e-4 of the truth, relative. With
--data, `hard_dino_trimmed.npz` and `hard_giraffe.npz` of that folder (Y and mask; point tracks of
the structure-from-motion literature); always, planted bands of noise 0.01, whose best known value
is that of a fit from the plant itself.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

import wlrmf

CLOSE, FOUND = 1e-6, 1e-4
FILES = {"dino_trimmed": (4, 1.084673), "giraffe": (6, 0.322795)}  # rank, best root mean square
BANDS = ((60, 200, 4, 14), (80, 160, 5, 30))  # rows, columns, rank, rows a column sees
DIGITS = 5e-7  # to which the figures above are rounded
STRICT = wlrmf.Stop(gtol=1e-10, ftol=1e-12, max_iter=400, max_seconds=60)
# Shape, condition number, oversampling, and what others published: success and seconds.
FEW = (
    ((1000, 1000), 10, 1.5, "R2RILS .85 (139 s), MatrixIRLS .58, RTRMC 0"),
    ((1000, 1000), 10, 1.6, "R2RILS .98 (36 s), MatrixIRLS .88, RTRMC 0"),
    ((1000, 1000), 10, 2.0, "R2RILS 1 (25 s), MatrixIRLS 1, RTRMC .11"),
    ((1000, 1000), 1e5, 1.5, "best .50 (45 s)"),
    ((1000, 1000), 1e5, 1.6, "best .58"),
    ((1000, 1000), 1e5, 2.0, "best 1"),
    ((300, 350), 10, 1.3, ""),
    ((300, 350), 10, 1.5, ""),
)
RANK = 5  # of these


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


def band_of(m: int, n: int, width: int) -> np.ndarray:
    """Each column sees `width` rows in sequence, which move down from column to column."""
    away = np.arange(m)[:, None] - np.linspace(0, m - width, n).round().astype(int)
    return (away >= 0) & (away < width)


def band(m: int, n: int, rank: int, width: int) -> Instance:
    """A planted band."""
    rng = np.random.default_rng(m)
    W, X = rng.standard_normal((rank, m)), rng.standard_normal((rank, n))
    Y = W.T @ X + 0.01 * rng.standard_normal((m, n))
    Y[~band_of(m, n, width)] = np.nan
    model = wlrmf.fit(Y, rank=rank, solver="varpro", start=(W, X), stop=STRICT)
    return Instance(f"band {m}x{n}", Y, rank, rms(model, Y), 0.0)


def few_cells(
    shape: tuple[int, int], condition: float, oversampling: float, seed: int, noise: float = 0.0
) -> tuple[sp.csr_array, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Observed cells of a random matrix of rank `RANK`, that matrix, and its factors.

    Singular values in geometric progression down from the condition number to 1; oversampling x
    rank (m + n - rank) cells at random. As no row or column with RANK cells or fewer could be
    completed, such rows and columns are given more, which are taken from others that have enough.
    The noise is relative to the root mean square of the matrix.
    """
    rng = np.random.default_rng(seed)
    m, n = shape
    U, V = (np.linalg.qr(rng.standard_normal((size, RANK)))[0] for size in shape)
    root = np.sqrt(np.geomspace(condition, 1, RANK))
    W, X = U * root, V * root
    truth = W @ X.T
    wanted = round(oversampling * RANK * (m + n - RANK))
    seen = np.zeros(m * n, bool)
    seen[rng.choice(m * n, wanted, replace=False)] = True
    seen = seen.reshape(shape)
    for mask in (seen, seen.T):
        for i in np.flatnonzero(mask.sum(axis=1) <= RANK):
            holes = np.flatnonzero(~mask[i])
            mask[i, rng.choice(holes, RANK + 1 - mask[i].sum(), replace=False)] = True
    for cell in rng.permutation(np.flatnonzero(seen)):
        i, j = divmod(int(cell), n)
        if seen.sum() > wanted and min(seen[i].sum(), seen[:, j].sum()) > RANK + 1:
            seen[i, j] = False
        elif seen.sum() <= wanted:
            break
    i, j = np.nonzero(seen)
    rough = noise * np.linalg.norm(truth) / (m * n) ** 0.5 * rng.standard_normal(len(i))
    return sp.csr_array((truth[i, j] + rough, (i, j)), shape=shape), truth, (W, X)


def timed(*args, **options) -> tuple[wlrmf.Factorization, float]:
    """A fit on one thread, and its seconds."""
    clock = time.perf_counter()
    model = wlrmf.fit(*args, n_threads=1, **options)
    return model, time.perf_counter() - clock


def first(instances: list[Instance], solvers: list[str], seeds: int) -> Iterator[str]:
    """All defaults."""
    yield "instance        solver     seconds  iterations  rms / best"
    for name, Y, rank, best, _ in instances:
        for solver in ["auto", *(s for s in solvers if s != "varpro")]:
            model, seconds = timed(Y, rank=rank, solver=solver)
            solver = model.solver if solver == "auto" else solver
            ratio = rms(model, Y) / best
            yield f"{name:15s} {solver:8s} {seconds:9.2f}  {model.n_iter:10d}  {ratio:10.7f}"


def random(instances: list[Instance], solvers: list[str], seeds: int) -> Iterator[str]:
    """Normal starts."""
    yield "instance        solver    reached    seconds  iterations  rms / best (medians)"
    for name, Y, rank, best, slack in instances:
        for solver in solvers:
            seconds, iterations, ratios, reached = [], [], [], 0
            for seed in range(seeds):
                rng = np.random.default_rng(seed)
                begin = [rng.standard_normal((rank, size)) for size in Y.shape]
                model, took = timed(Y, rank=rank, solver=solver, start=begin, stop=STRICT)
                seconds.append(took)
                iterations.append(model.n_iter)
                ratios.append(rms(model, Y) / best)
                reached += rms(model, Y) <= best * (1 + CLOSE) + slack
            yield (
                f"{name:15s} {solver:8s} {reached:3d} of {seeds:3d}  {np.median(seconds):8.2f}"
                f"  {np.median(iterations):10.0f}  {np.median(ratios):12.7f}"
            )


def few(instances: list[Instance], solvers: list[str], seeds: int) -> Iterator[str]:
    """Exact completion."""
    yield "shape       condition  oversampling  solver    found  seconds (median, most)"
    for shape, condition, oversampling, others in FEW:
        for solver in ["auto", *(s for s in solvers if s != "varpro")]:
            seconds, found, tried = [], 0, seeds if solver == "auto" else min(seeds, 6)
            for seed in range(tried):
                Y, truth, _ = few_cells(shape, condition, oversampling, seed)
                model, took = timed(Y, rank=RANK, solver=solver)
                error = np.linalg.norm(model.reconstruct() - truth) / np.linalg.norm(truth)
                seconds.append(took)
                found += error < FOUND
            name, told = model.solver, others if solver == "auto" else ""
            yield (
                f"{shape[0]:4d} x {shape[1]:4d} {condition:9.0e}  {oversampling:12.1f}  {name:8s}"
                f"  {found:2d}/{tried}  {np.median(seconds):.2f}  {max(seconds):.2f}  {told}"
            )


def noise(instances: list[Instance], solvers: list[str], seeds: int) -> Iterator[str]:
    """The value against one from the truth."""
    yield "shape       condition  worst value / value from the truth, less 1"
    for shape, condition in (((1000, 1000), 10), ((300, 350), 10)):
        worst = -np.inf
        for seed in range(seeds):
            Y, _, (W, X) = few_cells(shape, condition, 2.0, seed, noise=1e-2)
            model, _ = timed(Y, rank=RANK)
            start = np.ascontiguousarray(W.T), np.ascontiguousarray(X.T)
            near, _ = timed(Y, rank=RANK, start=start, stop=STRICT)
            worst = max(worst, model.value / near.value - 1)
        yield f"{shape[0]:4d} x {shape[1]:4d} {condition:9.0e}  {worst:.1e}"


def weights(instances: list[Instance], solvers: list[str], seeds: int) -> Iterator[str]:
    """Lognormal weights: who reaches the best value that anyone did; a fifth as many problems."""
    ways = ("best of 50 random", "one random", "default", "repeat")
    yield "mask     log-sd  " + "  ".join(ways)
    m, n, rank, problems = 60, 80, 3, max(1, seeds // 5)
    for mask in ("band", "uniform"):
        for sd in (0, 1, 2):
            shares = np.zeros(4)
            for seed in range(problems):
                rng = np.random.default_rng([seed, sd])
                Y = rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n))
                Y += 0.1 * rng.standard_normal((m, n))
                seen = band_of(m, n, 16) if mask == "band" else rng.random((m, n)) < 0.3
                C = np.exp(sd * rng.standard_normal((m, n))) * seen
                values = []
                for _ in range(50):
                    begin = [rng.standard_normal((rank, size)) for size in (m, n)]
                    model, _ = timed(
                        Y, None, rank, weights=C, solver="varpro", start=begin, stop=STRICT
                    )
                    values.append(model.value)
                default = timed(Y, None, rank, weights=C)[0].value
                repeated = timed(Y, None, rank, weights=C, n_starts="repeat")[0].value
                best = min(*values, default, repeated) * (1 + CLOSE)
                reached = np.array(values) <= best
                shares += reached.any(), reached.mean(), default <= best, repeated <= best
            told = [
                f"{share:{len(w)}.0%}" for share, w in zip(shares / problems, ways, strict=True)
            ]
            yield f"{mask:8s} {sd:6d}  " + "  ".join(told)


def panels(instances: list[Instance], solvers: list[str], seeds: int) -> Iterator[str]:
    """Rows of ten masks, nine in ten of them; the weights of the others' way are off by 1e-14."""
    yield "rows x columns  its  seconds  each alone  ratio"
    for m, n in ((3000, 30), (3000, 60), (3000, 80)):
        rng = np.random.default_rng([m, n])
        Y = rng.standard_normal((m, RANK)) @ rng.standard_normal((RANK, n))
        Y += 0.1 * rng.standard_normal((m, n))
        seen = (rng.random((10, n)) < 0.7)[rng.integers(10, size=m)]
        own = rng.random(m) < 0.1
        seen[own] = rng.random((own.sum(), n)) < 0.7
        apart = seen * (1 + 1e-14 * np.arange(m))[:, None]
        begin = [rng.standard_normal((RANK, size)) for size in (m, n)]
        best, its = [], 0
        for C in (seen.astype(float), apart):
            tries = [
                timed(Y, None, RANK, weights=C, solver="varpro", start=begin, stop=STRICT)
                for _ in range(5)
            ]
            best.append(min(seconds for _, seconds in tries))
            its = tries[0][0].n_iter
        shared, alone = best
        yield f"{m:4d} x {n:2d} {its:10d}  {shared:7.3f}  {alone:10.3f}  {alone / shared:5.1f}"


PARTS = {part.__name__: part for part in (first, random, few, noise, weights, panels)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Successes on problems made to break solvers.")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--solvers", nargs="+", default=["varpro", "als", "lbfgs"])
    given = parser.parse_args()
    instances = [band(*size) for size in BANDS]
    if given.data is not None:
        instances += stored(given.data)
    wlrmf.fit(instances[0].Y, rank=3)  # compiled or loaded before the clock
    for part in given.parts:
        for line in PARTS[part](instances, given.solvers, given.seeds):
            print(line, flush=True)
        print()


if __name__ == "__main__":
    warnings.simplefilter("ignore", wlrmf.ConvergenceWarning)
    with threadpool_limits(1):
        main()
