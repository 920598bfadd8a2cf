"""The cases: data, weights, ridge and held-out cells, in one form for every library.

A name is a data set and a variant: `ml1m`, `ml1m_count`, `ml1m_implicit`, `ml1m_implicit_count`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from . import datasets

CONFIDENCE = 4.0  # of an implicit rating: 1 + 4 for each star above the mean


@dataclass(frozen=True)
class Spec:
    """What is known of a case before its data are read.

    Attributes
    ----------
    kind : "explicit", "implicit" or "dense"
        Sparse, the rest missing; sparse, the rest 0 with weight 1; or an array, NaN = missing.
    scaled : bool
        Each row's and column's ridge is multiplied by its number of stored entries.
    reg : float
        Ridge.
    weighted, complete : bool
        Whether cells have weights of their own, and whether none is missing.
    most_rank : int
        A quarter of the lesser side, where that is small: more is no low rank.
    """

    name: str
    source: str
    kind: str
    reg: float
    scaled: bool = False
    weighted: bool = False
    complete: bool = False
    most_rank: int = 1000

    def load(self) -> Case:
        """The case, from the file that `datasets.keep` made."""
        return Case(self, *variant(self.kind, datasets.read(self.source)))


@dataclass(frozen=True)
class Case:
    """The data of a case.

    Attributes
    ----------
    Y : csr_matrix or ndarray, shape (m, n)
        Explicit ratings minus their mean; 1 where implicit; an array with NaN where missing.
    weights : ndarray or None
        Weights of the squared errors: one a stored entry (nnz,), or (m, n) with 0 where missing.
    held_out : tuple of ndarray
        Rows, columns, values and weights of the cells that no library sees.
    """

    spec: Spec
    Y: sp.csr_matrix | np.ndarray
    weights: np.ndarray | None
    held_out: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

    def ridges(self) -> tuple[np.ndarray, np.ndarray]:
        """The ridge of each row and of each column."""
        if not self.spec.scaled:
            return tuple(np.full(size, self.spec.reg) for size in self.Y.shape)
        return tuple(self.spec.reg * self.Y.getnnz(axis) for axis in (1, 0))

    def confidence_minus_one(self) -> sp.csr_matrix:
        """The counts, scaled, as libraries of the form 1 + α·count take them (α = 1)."""
        return with_values(self.Y, self.weights - 1)


def variant(kind: str, data: datasets.Data) -> tuple:
    """Y, weights and held-out cells of an explicit, implicit or dense case."""
    if kind == "dense":
        return data.Y, data.weights, data.held_out
    mean = data.Y.data.mean(dtype=np.float64)
    Y = with_values(data.Y, (data.Y.data - mean).astype(np.float32))
    i, j, y, w = data.held_out
    y = y - mean
    if kind == "explicit":
        return Y, None, (i, j, y, w)
    Y.data = np.maximum(Y.data, 0)
    Y.eliminate_zeros()
    liked = np.flatnonzero(y > 0)
    return (
        with_values(Y, np.ones_like(Y.data)),
        1 + CONFIDENCE * Y.data,
        (i[liked], j[liked], y[liked], w[liked]),
    )


def with_values(Y: sp.csr_matrix, values: np.ndarray) -> sp.csr_matrix:
    """The same cells with other values."""
    return sp.csr_matrix((values, Y.indices, Y.indptr), shape=Y.shape)


def ratings_cases(
    source: str, plain: float, count: float, implicit: float, implicit_count: float, **limits
) -> list[Spec]:
    """The four variants of a set of ratings, each with its ridge."""
    return [
        Spec(source, source, "explicit", plain, **limits),
        Spec(f"{source}_count", source, "explicit", count, scaled=True, **limits),
        Spec(f"{source}_implicit", source, "implicit", implicit, **limits),
        Spec(f"{source}_implicit_count", source, "implicit", implicit_count, scaled=True, **limits),
    ]


# Each ridge is about the one of a coarse grid with the least held-out error at rank 50 (or the
# most that the data bear) after 20 iterations of wlrmf, so held-out errors flatter all libraries a
# little, and alike. The larger made sets have the ridges of the small ones, and the implicit cases
# of jester the end of their grids.
SPECS = {
    spec.name: spec
    for spec in [
        *ratings_cases("ml100k", 11, 0.12, 45, 1),
        *ratings_cases("ml1m", 20, 0.08, 60, 0.3),
        *ratings_cases("jester", 350, 0.3, 400, 2, most_rank=25),
        *ratings_cases("un_votes", 11, 0.015, 100, 0.3, most_rank=50),
        *ratings_cases("ratings_1m", 28, 0.09, 120, 1),
        *ratings_cases("ratings_10m", 28, 0.09, 120, 1),
        *ratings_cases("ratings_25m", 28, 0.09, 120, 1),
        *ratings_cases("ratings_100m", 28, 0.09, 120, 1),
        Spec("dense_weighted", "dense_weighted", "dense", 60, weighted=True),
        Spec("dense_tall", "dense_tall", "dense", 60, weighted=True),
        Spec("dense_free", "dense_weighted", "dense", 0.0, weighted=True),
        Spec("dense_complete", "dense_complete", "dense", 0.0, complete=True),
        Spec("epa", "epa", "dense", 1000, weighted=True, most_rank=6),
    ]
}
# Minutes, not hours: each kind of case once, small.
QUICK = [
    "ratings_1m",
    "ratings_1m_count",
    "ratings_1m_implicit",
    "dense_weighted",
    "dense_complete",
    "epa",
]
