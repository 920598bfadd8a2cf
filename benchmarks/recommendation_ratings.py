"""Rating prediction with `Recommender`: root mean square error on ratings that no choice has seen.

Rank, ridge and its scaling are those of the least error that `wlrmf.select` finds in the training
part; then the whole training part is fitted. Predictions are not clipped to the scale of the
ratings, and ratings of users or movies that the training part does not have count too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

import wlrmf
from wlrmf.recommender import Recommender

from .movielens import Ratings

FOLDS = 5  # of the 80,000 ratings of a split; of larger sets one hold-out is enough
STARS = {"none": (20.0, 16.0, 13.0, 10.0, 8.0, 6.0), "count": (0.16, 0.13, 0.1, 0.08, 0.06, 0.045)}
JOKES = {"none": (400.0, 250.0, 160.0, 100.0), "count": (0.4, 0.3, 0.2, 0.15, 0.1, 0.07)}
Triplets = tuple[np.ndarray, np.ndarray, np.ndarray]


def choose(
    R: sp.csr_array, ranks: tuple[int, ...], regs: dict[str, tuple[float, ...]], **parts: Any
) -> dict[str, Any]:
    """Settings of a recommender, and their error in the search."""
    found = {
        scaling: wlrmf.select(
            R, ranks=ranks, regs=regs[scaling], reg_scaling=scaling, bias=True, rule="best",
            seed=0, refit=False, **parts,
        )
        for scaling in regs
    }  # fmt: skip
    scaling = min(found, key=lambda name: found[name].best.error)
    best = found[scaling]
    return {
        "setting": {"rank": best.best_rank, "reg": best.best_reg, "reg_scaling": scaling},
        "search_rmse": best.best.error,
        "search_seconds": sum(each.seconds for each in found.values()),
        "at_edge": best.at_edge,
    }


def scored(R: sp.csr_array, test: Triplets, setting: dict[str, Any], threads: int) -> dict:
    """The error of a recommender fitted to R, and the seconds of the fit."""
    model = Recommender(**setting, unknown="mean", n_threads=threads)
    begin = time.perf_counter()
    model.fit(R)
    seconds = time.perf_counter() - begin
    rmse = model.evaluate(test, value="value", metrics="rmse")["rmse"]
    return {"rmse": rmse, "seconds": seconds, "n_test": test[2].size}


def matrix(triplets: Triplets, shape: tuple[int, int]) -> sp.csr_array:
    user, item, rating = triplets
    out = sp.csr_array((rating.astype(np.float32), (user, item)), shape=shape)
    out.sort_indices()
    return out


def both(R: sp.csr_array, test: Triplets, choice: dict[str, Any], threads: int) -> Iterator[dict]:
    """A line for the chosen settings and one for the defaults."""
    yield {"status": "test"} | choice | scored(R, test, choice["setting"], threads)
    yield {"status": "defaults"} | scored(R, test, {}, threads)


def ml100k(data: Path, threads: int) -> Iterator[dict]:
    """The five published splits, each with a choice of its own."""
    with np.load(data / "ml100k_u1_u5.npz", allow_pickle=False) as arrays:
        parts = dict(arrays)
    for k in range(1, 6):
        training, test = (
            tuple((parts[f"u{k}_{name}"][:, :3] - [1, 1, 0]).T) for name in ("base", "test")
        )
        R = matrix(training, (943, 1682))
        choice = choose(R, (5, 10, 20, 40, 80), STARS, folds=FOLDS, n_threads=threads)
        yield from ({"split": f"u{k}"} | line for line in both(R, test, choice, threads))


def ml1m(data: Path, threads: int) -> Iterator[dict]:
    """Chosen on the validation ratings; fitted without and with them."""
    ratings = Ratings(data / "ml1m.npz")
    parts = [
        tuple(column[ratings.split == part] for column in (ratings.user, ratings.item,
                                                           ratings.rating))
        for part in range(3)
    ]  # fmt: skip
    whole = tuple(np.concatenate(columns) for columns in zip(*parts[:2], strict=True))
    validation = matrix((*whole[:2], np.repeat([1.0, 2.0], [parts[0][0].size, parts[1][0].size])),
                        ratings.shape)  # fmt: skip
    R = matrix(whole, ratings.shape)
    choice = choose(R, (10, 20, 40), STARS, holdout=validation.data == 2, n_threads=threads)
    for name, given in (("0", matrix(parts[0], ratings.shape)), ("0+1", R)):
        yield from ({"split": name} | line for line in both(given, parts[2], choice, threads))


def jester(data: Path, threads: int) -> Iterator[dict]:
    """A random tenth held out."""
    with np.load(data / "jester1.npz", allow_pickle=False) as arrays:
        centi = arrays["centi"]
    user, item = np.nonzero(centi != 9999)
    rating = centi[user, item] / 100
    out = wlrmf.splits.random(user.size, 0.1, seed=0)
    R = matrix((user[~out], item[~out], rating[~out]), centi.shape)
    choice = choose(R, (5, 10, 20, 40), JOKES, holdout=0.1, n_threads=threads)
    test = user[out], item[out], rating[out]
    yield from ({"split": "tenth"} | line for line in both(R, test, choice, threads))


SETS = {"ml100k": ml100k, "ml1m": ml1m, "jester": jester}


def lines(name: str, data: Path, threads: int) -> Iterator[dict]:
    for line in SETS[name](data, threads):
        about = {"data": name, "feedback": "explicit", "library": "wlrmf"}
        yield about | line | {"version": wlrmf.__version__}
