"""The data sets: read from files or made, split once, and kept as one npz file each.

Files that users fetch themselves are looked for in a directory; a data set whose file is not there
raises FileNotFoundError. Kept files stay until they are deleted: after a change here, do that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from . import generate
from .environments import WORK


@dataclass(frozen=True)
class Data:
    """A data set without its held-out cells.

    `Y` is sparse (ratings) or dense with NaN where missing; `weights`, of the squared errors, are
    (m, n) or None; `held_out` has rows, columns, values and weights.
    """

    Y: sp.csr_matrix | np.ndarray
    weights: np.ndarray | None
    held_out: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def split_ratings(R: sp.csr_matrix, test: np.ndarray) -> Data:
    """Ratings without those that the boolean array `test` marks."""
    rows = np.repeat(np.arange(R.shape[0], dtype=np.int32), np.diff(R.indptr))
    kept = np.bincount(rows[~test], minlength=R.shape[0])
    indptr = np.concatenate([[0], np.cumsum(kept)])
    training = sp.csr_matrix((R.data[~test], R.indices[~test], indptr), shape=R.shape)
    ones = np.ones(test.sum(), np.float32)
    return Data(training, None, (rows[test], R.indices[test], R.data[test], ones))


def split_at_random(R: sp.csr_matrix, share: float) -> Data:
    return split_ratings(R, np.random.default_rng(1).random(R.nnz) < share)


def split_cells(Y: np.ndarray, weights: np.ndarray | None, share: float) -> Data:
    """A dense matrix without a share of its cells."""
    test = (np.random.default_rng(1).random(Y.shape) < share) & ~np.isnan(Y)
    i, j = np.nonzero(test)
    held_weights = np.ones(i.size) if weights is None else weights[test]
    held_out = i, j, Y[test], held_weights
    Y = np.where(test, np.nan, Y)
    return Data(Y, None if weights is None else np.where(test, 0, weights), held_out)


def triplets(user: np.ndarray, item: np.ndarray, rating: np.ndarray, test: np.ndarray) -> Data:
    """Ratings in any order, as rows of a file."""
    order = np.lexsort((item, user))
    shape = int(user.max()) + 1, int(item.max()) + 1
    indptr = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=shape[0]))])
    values, columns = rating[order].astype(np.float32), item[order].astype(np.int32)
    return split_ratings(sp.csr_matrix((values, columns, indptr), shape=shape), test[order])


def ml100k(arrays: dict[str, np.ndarray]) -> Data:
    """MovieLens 100K, the first of the published splits."""
    parts = arrays["u1_base"], arrays["u1_test"]
    user, item, rating, _ = np.concatenate(parts).T
    test = np.repeat([False, True], [len(part) for part in parts])
    return triplets(user - 1, item - 1, rating, test)


def ml1m(arrays: dict[str, np.ndarray]) -> Data:
    """MovieLens 1M; `split` has 0 training, 1 validation (left out here), 2 test."""
    used = arrays["split"] != 1
    user, item = (arrays[name][used].astype(np.int64) for name in ("user", "item"))
    return triplets(user, item, arrays["rating"][used], arrays["split"][used] == 2)


def jester(arrays: dict[str, np.ndarray]) -> Data:
    """Jester-1: -10 to 10, kept in hundredths, 9999 = missing."""
    return observed(arrays["centi"], arrays["centi"] != 9999, 0.01)


def un_votes(arrays: dict[str, np.ndarray]) -> Data:
    """Roll calls of the UN General Assembly: -1, 0, 1; 9 = missing."""
    return observed(arrays["votes"], arrays["votes"] != 9, 1.0)


def observed(values: np.ndarray, there: np.ndarray, scale: float) -> Data:
    """The cells of a dense matrix that are there, as ratings; a twentieth held out."""
    indptr = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    data, columns = (scale * values[there]).astype(np.float32), np.nonzero(there)[1]
    R = sp.csr_matrix((data, columns.astype(np.int32), indptr), shape=values.shape)
    return split_at_random(R, 0.05)


def epa(arrays: dict[str, np.ndarray]) -> Data:
    """Particulate matter at Baltimore, each cell with an error bar; PM2.5 is the others' total."""
    species = arrays["species"] != "PM2.5"
    Y, error = (arrays[name][:, species].astype(np.float64) for name in ("conc", "unc"))
    return split_cells(Y, error**-2.0, 0.05)


FILES: dict[str, tuple[str, Callable[[dict[str, np.ndarray]], Data]]] = {
    "ml100k": ("ml100k_u1_u5.npz", ml100k),
    "ml1m": ("ml1m.npz", ml1m),
    "jester": ("jester1.npz", jester),
    "un_votes": ("un_votes.npz", un_votes),
    "epa": ("epa_baltimore.npz", epa),
}
# Users, items and numbers of ratings are near those of MovieLens 1M, 10M, 25M and of Netflix.
RATINGS = {
    "ratings_1m": ((6_040, 3_706), 1_000_000),
    "ratings_10m": ((70_000, 10_700), 10_000_000),
    "ratings_25m": ((162_000, 59_000), 25_000_000),
    "ratings_100m": ((480_000, 17_800), 100_000_000),
}
DENSE = {
    "dense_weighted": ((2_000, 1_500), 0.5),
    "dense_tall": ((20_000, 500), 0.5),
    "dense_complete": ((2_000, 1_500), 0.0),
}


def path_of(name: str) -> Path:
    return WORK / "cases" / f"{name}.npz"


def keep(name: str, directory: Path) -> None:
    """Make a data set's file unless it is there."""
    path = path_of(name)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, make(name, directory))


def make(name: str, directory: Path) -> Data:
    if name in RATINGS:
        return split_at_random(generate.ratings(*RATINGS[name]), 0.03)
    if name in DENSE:
        Y, weights = generate.measurements(*DENSE[name])
        complete = name == "dense_complete"
        return split_cells(Y, None, 0.0) if complete else split_cells(Y, weights, 0.03)
    file, reader = FILES[name]
    if not (directory / file).exists():
        raise FileNotFoundError(f"{file} is not in the directory of --data")
    with np.load(directory / file, allow_pickle=False) as arrays:
        return reader(dict(arrays))


def save(path: Path, data: Data) -> None:
    Y = data.Y
    arrays = dict(zip(("i", "j", "y", "w"), data.held_out, strict=True))
    if sp.issparse(Y):
        arrays |= {"data": Y.data, "indices": Y.indices, "indptr": Y.indptr, "shape": Y.shape}
    else:
        arrays["Y"] = Y
    if data.weights is not None:
        arrays["weights"] = data.weights
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, **arrays)
    unfinished.rename(path)


def read(name: str) -> Data:
    with np.load(path_of(name), allow_pickle=False) as a:
        if "Y" in a:
            Y = a["Y"]
        else:
            Y = sp.csr_matrix((a["data"], a["indices"], a["indptr"]), shape=tuple(a["shape"]))
        return Data(Y, a.get("weights"), tuple(a[name] for name in ("i", "j", "y", "w")))


if __name__ == "__main__":
    # In a process of its own, so that the caller stays small: a process that it starts would
    # count the caller's memory into its own peak.
    keep(sys.argv[1], Path(sys.argv[2]))
