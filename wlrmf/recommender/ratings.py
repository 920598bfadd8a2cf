"""Ratings of some items by some users, whatever they come in."""

from __future__ import annotations

import warnings
import zipfile
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
from scipy import sparse

from ..io.matrix import read_matrix
from ..io.table import as_float
from ..io.triplets import DUPLICATES, merged, read_triplets
from ..validation.arrays import as_matrix, cell_numbers, check_sparse
from ..validation.errors import DataWarning, describe
from .ids import Ids

NAMES = ("user", "item", "value", "weight")


@dataclass(frozen=True, eq=False)
class Ratings:
    """A sparse matrix of ratings, users × items, and the ids of both.

    Attributes
    ----------
    values : scipy.sparse.csr_array, shape (users, items)
        Indices sorted within rows; a stored 0 is a rating.
    weights : ndarray or None
        Weights of the squared residuals, one an entry of `values`.
    users, items : Ids
    """

    values: sparse.csr_array
    weights: np.ndarray | None
    users: Ids
    items: Ids

    @property
    def indptr(self) -> np.ndarray:
        """Where each user's entries begin, int64."""
        return np.asarray(self.values.indptr, np.int64)

    @property
    def indices(self) -> np.ndarray:
        """Items of the entries."""
        return np.asarray(self.values.indices)

    def rows(self) -> np.ndarray:
        """The user of each entry."""
        return np.repeat(np.arange(len(self.users)), np.diff(self.indptr))

    def where(self, kept: np.ndarray) -> Ratings:
        """Some of the entries, of all users and items."""
        weights = None if self.weights is None else self.weights[kept]
        i, j, values = self.rows()[kept], self.indices[kept], self.values.data[kept]
        return ordered(i, j, values, weights, self.users, self.items)

    def of_user(self, i: int) -> Ratings:
        """One user's."""
        part = slice(*self.indptr[i : i + 2])
        weights = None if self.weights is None else self.weights[part]
        return Ratings(
            self.values[i : i + 1], weights, Ids(self.users.labels[i : i + 1], "user"), self.items
        )

    def like(self, data: np.ndarray) -> sparse.csr_array:
        """A matrix of other numbers on the same entries."""
        return sparse.csr_array((data, self.indices, self.indptr), shape=self.values.shape)

    def seen(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """CSR structure of the items of these users; none for a place of -1."""
        counts = np.where(places < 0, 0, np.diff(self.indptr)[places])
        indptr = np.concatenate(([0], np.cumsum(counts)))
        begin = np.repeat(self.indptr[places] - indptr[:-1], counts)
        return indptr, self.indices[begin + np.arange(indptr[-1])]


def read_ratings(
    data: Any,
    user: Any,
    item: Any,
    value: Any,
    weight: Any,
    *,
    duplicates: str,
    needs_value: str = "",
) -> Ratings:
    """Judge the data.

    Parameters
    ----------
    data : path, data frame, mapping, tuple of vectors or sparse matrix
        See `Recommender.fit`.
    user, item, value, weight
        Names of the columns; of a sparse matrix, `user` and `item` may be the ids of its rows and
        columns.
    duplicates : {"error", "sum", "mean", "last"}
    needs_value : str
        Why triplets without values are an error, if they are.
    """
    if duplicates not in DUPLICATES:
        raise ValueError(f"`duplicates` must be one of {DUPLICATES}; got {describe(duplicates)}")
    if sparse.issparse(data):
        return _from_sparse(data, user, item, value, weight, duplicates)
    if isinstance(data, np.ndarray):
        raise TypeError(
            "`data` must be triplets, a data frame, a path or a sparse matrix; got a dense array "
            f"of shape {data.shape}: wlrmf.fit factorizes dense matrices"
        )
    if is_sparse_file(data):
        data = read_matrix(data).values
        return _from_sparse(data, user, item, value, weight, duplicates)
    if isinstance(data, tuple | list):
        if not 2 <= len(data) <= 4:
            raise ValueError(
                "`data` as vectors must be (users, items), (users, items, values) or (users, "
                f"items, values, weights); got {len(data)} parts"
            )
        data = dict(zip(NAMES, data, strict=False))
        user, item = "user", "item"
        value, weight = (name if name in data else None for name in ("value", "weight"))
    if value is None and needs_value:
        raise ValueError(f"`value` must name the column of ratings; {needs_value}")
    for name, column in (("user", user), ("item", item)):
        if not isinstance(column, str):
            raise TypeError(f"`{name}` must be the name of a column; got {describe(column)}")
    names = [name for name in (user, item, value, weight) if name is not None]
    if len(set(names)) < len(names):
        raise ValueError(
            f"`user`, `item`, `value` and `weight` must be columns of their own; got {names}"
        )
    table = read_triplets(
        data, rows=user, cols=item, values=value, weights=weight, duplicates=duplicates
    )
    weights = None if table.weights is None else table.weights.data
    written = isinstance(data, str | PathLike) and str(data).lower().endswith(".csv")
    users, items = Ids(table.row_ids, "user", written), Ids(table.col_ids, "item", written)
    i, j, values = table.matrix.row, table.matrix.col, table.matrix.data
    return _counted(ordered(i, j, values, weights, users, items))


def ordered(
    i: np.ndarray,
    j: np.ndarray,
    value: np.ndarray,
    weight: np.ndarray | None,
    users: Ids,
    items: Ids,
) -> Ratings:
    """Entries, no cell twice, in the order of users and of items within."""
    places = sparse.coo_array((np.arange(i.size), (i, j)), (len(users), len(items))).tocsr()
    places.sort_indices()
    order = places.data
    values = sparse.csr_array((value[order], places.indices, places.indptr), shape=places.shape)
    return Ratings(values, None if weight is None else weight[order], users, items)


def added(old: Ratings, new: Ratings, duplicates: str) -> Ratings:
    """Old ratings and new ones of the same items, by users of both."""
    here = old.users.find(new.users)
    fresh = here < 0
    users = old.users.joined(replace(new.users, labels=new.users.labels[fresh]))
    here[fresh] = len(old.users) + np.arange(np.count_nonzero(fresh))
    i = np.concatenate([old.rows(), here[new.rows()]])
    j = np.concatenate([old.indices, new.indices])
    value = np.concatenate([old.values.data, new.values.data])
    weight = None
    if old.weights is not None or new.weights is not None:
        weight = np.concatenate([_weights(old), _weights(new)])
    cell = cell_numbers(i, j, len(old.items))
    known = np.intersect1d(cell[: old.values.nnz], cell[old.values.nnz :], assume_unique=True)
    if known.size:
        if duplicates == "error":
            u, v = divmod(int(known[0]), len(old.items))
            raise ValueError(
                f"{known.size} of the ratings are known already, the first of user "
                f"{users.labels[u].item()!r} and item {old.items.labels[v].item()!r}; "
                '`duplicates` "last", "mean" or "sum" says what becomes of them'
            )
        i, j, value, weight = merged(i, j, value, weight, len(old.items), duplicates)
    return ordered(i, j, value, weight, users, old.items)


def of_known_items(new: Ratings, items: Ids, users: Ids, policy: str, *, named: bool) -> Ratings:
    """New ratings in the columns of the items that a model knows.

    Ratings of other items are an error or, by the policy, left out with a warning. A sparse matrix
    whose columns have no ids of their own (`named` False) must have the model's columns.
    """
    if not named:
        if len(new.items) != len(items):
            hint = ". Is it transposed? Try data.T" if len(new.users) == len(items) else ""
            raise ValueError(
                f"`data` must have {len(items)} columns, the items of the fit; got shape "
                f"{new.values.shape}{hint}"
            )
        return Ratings(new.values, new.weights, new.users, items)
    place = items.places(new.items, policy, users)
    known = place[new.indices] >= 0
    if not known.all():
        warnings.warn(
            f"{int((~known).sum())} ratings are left out: {int((place < 0).sum())} of their "
            "items are not in the fit",
            DataWarning,
            stacklevel=3,
        )
    i, j = new.rows()[known], place[new.indices[known]]
    weight = None if new.weights is None else new.weights[known]
    return ordered(i, j, new.values.data[known], weight, new.users, items)


def _weights(ratings: Ratings) -> np.ndarray:
    return np.ones(ratings.values.nnz) if ratings.weights is None else ratings.weights


def _from_sparse(
    data: Any, user: Any, item: Any, value: Any, weight: Any, duplicates: str
) -> Ratings:
    if value is not None:
        raise TypeError(f"`value` names a column, and a sparse matrix has none; got {value!r}")
    if duplicates != "error":
        check_sparse(data, "data")
        coo = data.tocoo()
        i, j, entries, _ = merged(coo.row, coo.col, coo.data, None, coo.shape[1], duplicates)
        data = sparse.coo_array((entries, (i, j)), coo.shape)
    csr = as_matrix(data, "data")
    numbers = as_float(np.array(csr.data))
    values = sparse.csr_array((numbers, csr.indices, csr.indptr), shape=csr.shape)
    weights = None
    if weight is not None:
        other = as_matrix(weight, "weight")
        same = not isinstance(other, np.ndarray) and (
            other.shape == csr.shape
            and np.array_equal(other.indptr, csr.indptr)
            and np.array_equal(other.indices, csr.indices)
        )
        if not same:
            raise ValueError("`weight` must be a sparse matrix that stores the cells of `data`")
        weights = other.data
    users, items = (
        Ids(_labels(given, size, kind), kind)
        for given, size, kind in zip((user, item), csr.shape, ("user", "item"), strict=True)
    )
    return _counted(Ratings(values, weights, users, items))


def _counted(ratings: Ratings) -> Ratings:
    """Without the ratings of weight 0, which are as good as none; their users and items stay."""
    weights = ratings.weights
    if weights is None or (weights != 0).all():
        return ratings
    return ratings.where(weights != 0)


def _labels(given: Any, size: int, kind: str) -> np.ndarray:
    """Ids of a sparse matrix's rows or columns: those given, or their numbers."""
    if given is None or isinstance(given, str):
        return np.arange(size)
    labels = np.asarray(given)
    if labels.dtype.kind == "O":
        labels = np.asarray(labels.tolist())
    if labels.dtype.kind not in "iuU" or labels.shape != (size,):
        raise ValueError(
            f"`{kind}` must be the {size} ids, integers or texts, of the matrix's "
            f"{'rows' if kind == 'user' else 'columns'}; got {describe(given)}"
        )
    if np.unique(labels).size != size:
        raise ValueError(f"`{kind}` must not hold an id twice")
    return labels


def has_labels(data: Any, item: Any) -> bool:
    """Whether the items of these data have ids of their own."""
    unnamed = sparse.issparse(data) or is_sparse_file(data)
    return not unnamed or not (item is None or isinstance(item, str))


def is_sparse_file(data: Any) -> bool:
    """Whether this is a file with a sparse matrix, of scipy's or in Matrix Market form."""
    if not isinstance(data, str | PathLike):
        return False
    name = str(data).lower()
    if name.endswith(".npz") and zipfile.is_zipfile(data):
        with zipfile.ZipFile(data) as archive:
            return {"format.npy", "shape.npy", "data.npy"} <= set(archive.namelist())
    return name.endswith((".mtx", ".mtx.gz"))
