"""Recommended lists of wlrmf, implicit and cmfrec on MovieLens 1M, each tuned on the same ratings.

Users like what they rate 4 or 5. Every library has 60 settings a rank; that of the best NDCG@10 on
the validation ratings is fitted to training and validation ratings together and judged on the test
ratings. Lists never have a movie that the user rated, high or low, in what the fit was given. Lists
and metrics are `wlrmf.top` and `wlrmf.metrics` for all.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from wlrmf import metrics
from wlrmf.recommender import Recommender
from wlrmf.top import top_n

from .environments import ENVIRONMENTS, install, interpreter
from .movielens import Ratings
from .processes import run_module

LIKED = 4  # the least rating that is one
PLAIN = {
    "alpha": (1.0, 2.0, 3.0, 4.0, 6.0, 8.0),
    "reg": (10.0, 30.0, 60.0, 100.0, 150.0),
    "iterations": (8, 20),
}
GRIDS = {
    "wlrmf": {
        "alpha": (1.0, 2.0, 4.0),
        "reg": (0.1, 0.15, 0.2, 0.3),
        "activity": (0.0, 0.4, 0.6, 0.8, 1.0),
        "iterations": (15,),
    },
    "implicit": PLAIN,
    "cmfrec": PLAIN,
}
REPEATS = 5  # of a timed fit; the least seconds count


class Part:
    """Likes to fit, what lists must not have, and the likes to find."""

    def __init__(self, ratings: Ratings, fitted: tuple[int, ...], held_out: int):
        given, liked = np.isin(ratings.split, fitted), ratings.rating >= LIKED
        self.likes = cells(ratings, given & liked)
        self.seen = cells(ratings, given)
        self.wanted = cells(ratings, (ratings.split == held_out) & liked)

    def write(self, path: Path) -> None:
        likes = self.likes
        np.savez(path, indptr=likes.indptr, indices=likes.indices, shape=likes.shape)

    def score(self, W: np.ndarray, X: np.ndarray) -> dict[str, float]:
        lists = top_n(W, X, 20, skip=(self.seen.indptr, self.seen.indices))
        scores = metrics.ranking(
            (lists.indptr, lists.items),
            (self.wanted.indptr, self.wanted.indices),
            metrics=("ndcg", "recall"),
            at=(10, 20),
        )
        return {name: scores[name] for name in ("ndcg@10", "recall@20")} | {
            "n_users": scores.n_users
        }


def cells(ratings: Ratings, some: np.ndarray) -> sp.csr_array:
    ones = np.ones(int(some.sum()), np.float32)
    out = sp.csr_array((ones, (ratings.user[some], ratings.item[some])), shape=ratings.shape)
    out.sort_indices()
    return out


def grid(library: str) -> list[dict[str, float]]:
    given = GRIDS[library]
    return [dict(zip(given, each, strict=True)) for each in product(*given.values())]


def fits(
    library: str, rank: int, threads: int, part: Part, settings: list[dict[str, float]]
) -> list[dict]:
    """Scores and seconds of a library's fits at these settings, made in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        part.write(Path(scratch) / "likes.npz")
        job = {
            "library": library,
            "rank": rank,
            "threads": threads,
            "settings": settings,
            "likes": f"{scratch}/likes.npz",
            "folder": scratch,
        }
        printed, reason = run_module(
            interpreter(library),
            ["benchmarks.factor_files", json.dumps(job)],
            threads,
            one_blas_thread=ENVIRONMENTS[library].one_blas_thread,
        )
        if reason:
            raise RuntimeError(f"{library}: {reason}")
        out = []
        for k, setting in enumerate(settings):
            with np.load(Path(scratch) / f"{k}.npz") as a:
                scores = part.score(a["W"], a["X"])
                out.append({"setting": setting, "seconds": float(a["seconds"])} | scores)
        return [line | {"version": printed.split()[-1]} for line in out]


def lines(data: Path, libraries: list[str], ranks: list[int], threads: int) -> Iterator[dict]:
    """Of each library at each rank: all validation scores, and the chosen setting's on the test."""
    ratings = Ratings(data / "ml1m.npz")
    validation, test = Part(ratings, (0,), 1), Part(ratings, (0, 1), 2)
    for rank, library in product(ranks, libraries):
        about = {"data": "ml1m", "feedback": "implicit", "library": library, "rank": rank}
        if reason := install(library):
            yield about | {"status": "not installed", "reason": reason}
            continue
        tried = fits(library, rank, threads, validation, grid(library))
        yield from (about | {"status": "validation"} | line for line in tried)
        best = max(tried, key=lambda line: line["ndcg@10"])["setting"]
        yield about | {"status": "test"} | fits(library, rank, threads, test, [best])[0]
    if "wlrmf" not in libraries:
        return
    model = Recommender(feedback="implicit", n_threads=threads).fit(test.likes)
    scores = test.score(*model.to_ann())
    yield about | {"library": "wlrmf", "rank": model.rank, "status": "defaults"} | scores


def times(data: Path, chosen: list[dict], threads: int) -> Iterator[dict]:
    """Seconds of the chosen settings' fits, one library after the other."""
    test = Part(Ratings(data / "ml1m.npz"), (0, 1), 2)
    for line in chosen:
        about = {name: line[name] for name in ("data", "feedback", "library", "rank")}
        again = fits(line["library"], line["rank"], threads, test, [line["setting"]] * REPEATS)
        least = min(again, key=lambda line: line["seconds"])
        yield about | {"status": "timed"} | least
