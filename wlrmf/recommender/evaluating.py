"""Predictions and lists held against ratings that the fit did not see."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import metrics as measures
from ..metrics.lists import NAMES as LISTS
from ..top import ranks_of, top_n
from ..validation.arrays import cell_numbers
from ..validation.errors import DataWarning
from ..validation.scores import read_choices, read_cuts
from .fitted import Fitted
from .ratings import Ratings

CELLS = ("rmse", "mae")
DEFAULT = {"explicit": CELLS, "implicit": ("precision", "recall", "map", "ndcg", "auc")}


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out ratings in places of the fit; -1: unknown to it."""

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    weights: np.ndarray | None

    def known(self) -> HeldOut:
        """Those of known users and items."""
        return self.where((self.users >= 0) & (self.items >= 0))

    def where(self, kept: np.ndarray) -> HeldOut:
        """Some of them."""
        weights = None if self.weights is None else self.weights[kept]
        return HeldOut(self.users[kept], self.items[kept], self.values[kept], weights)

    def relevant(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Users, and the CSR structure of their items."""
        users, row = np.unique(self.users, return_inverse=True)
        order = np.lexsort((self.items, row))
        indptr = np.concatenate(([0], np.cumsum(np.bincount(row, minlength=len(users)))))
        return users, indptr, self.items[order]


def held_out(
    test: Ratings, train: Ratings, policy: str, *, named: tuple[bool, bool] = (True, True)
) -> HeldOut:
    """Test ratings in the places of the training ratings' users and items.

    Rows or columns of a sparse matrix that have no ids of their own (`named` False) are those of
    the fit, as they stand.
    """
    shape, wanted = test.values.shape, train.values.shape
    for own, size, fitted, what in zip(named, shape, wanted, ("rows", "columns"), strict=True):
        if not own and size != fitted:
            hint = ". Is it transposed? Try test.T" if shape == wanted[::-1] else ""
            raise ValueError(
                f"`test` must have {fitted} {what}, as the fit has; got shape {shape}{hint}"
            )
    users, items = np.arange(shape[0]), np.arange(shape[1])
    if named[0]:
        users = train.users.places(test.users, policy, train.items)
    if named[1]:
        items = train.items.places(test.items, policy, train.users)
    rows = np.repeat(users, np.diff(test.indptr))
    return HeldOut(rows, items[test.indices], test.values.data, test.weights)


def read_metrics(metrics: Any, at: Any, feedback: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names and cut-offs."""
    names = DEFAULT[feedback] if metrics is None else metrics
    if isinstance(names, str) and "@" in names:  # as `fit` and the answer spell it
        names, _, k = names.partition("@")
        at = int(k) if k.isdigit() else k
    return read_choices(names, "metrics", (*CELLS, *LISTS, "auc")), read_cuts(at, "at")


def evaluate(
    fitted: Fitted,
    test: HeldOut,
    names: tuple[str, ...],
    at: tuple[int, ...],
    *,
    policy: str,
    relevant_from: float | None,
    filter_seen: bool,
    n_threads: int | None,
) -> dict[str, float]:
    """See `Recommender.evaluate`."""
    known = test.known()
    out: dict[str, float] = {}
    if set(names) & set(CELLS):
        out |= _cell_scores(fitted, test if policy in ("mean", "zero") else known, names, policy)
    lists = tuple(name for name in names if name not in CELLS)
    if lists:
        if len(known.users) < len(test.users):
            warnings.warn(
                f"{len(test.users) - len(known.users)} of {len(test.users)} ratings are of users "
                "or items that are not in the fit: the lists are judged without them",
                DataWarning,
                stacklevel=3,
            )
        if relevant_from is not None:
            known = known.where(known.values >= relevant_from)
        if filter_seen:
            known = _unseen(known, fitted.ratings)
        model = fitted.model
        scores = list_scores(
            model.left, model.right, fitted.ratings if filter_seen else None, known, lists, at,
            n_threads,
        )  # fmt: skip
        out |= scores
    return {name: out[name] for name in _ordered(names, at)} | {
        key: out[key] for key in ("n_pairs", "n_users") if key in out
    }


def _unseen(test: HeldOut, train: Ratings) -> HeldOut:
    """Without what the fit has already: no list can have it."""
    n_items = len(train.items)
    seen = np.isin(
        cell_numbers(test.users, test.items, n_items),
        _cells(train.indptr, train.indices, n_items),
    )
    if not seen.any():
        return test
    if seen.all():
        raise ValueError(
            "all ratings of `test` are in the fit, whose items lists leave out; "
            "filter_seen=False keeps them"
        )
    warnings.warn(
        f"{int(seen.sum())} of {len(seen)} ratings are in the fit, whose items lists leave out: "
        "the lists are judged without them; filter_seen=False keeps them",
        DataWarning,
        stacklevel=4,
    )
    return test.where(~seen)


def _ordered(names: tuple[str, ...], at: tuple[int, ...]) -> list[str]:
    return [
        key
        for name in names
        for key in ([name] if name in (*CELLS, "auc") else [f"{name}@{k}" for k in at])
    ]


def _cell_scores(
    fitted: Fitted, test: HeldOut, names: tuple[str, ...], policy: str
) -> dict[str, float]:
    if not test.values.size:
        raise ValueError("`test` has no rating of a known user and a known item")
    predicted = fitted.predict(test.users, test.items)
    if policy == "zero":
        predicted[(test.users < 0) | (test.items < 0)] = 0
    given = (test.values, predicted, test.weights)
    scores = {name: float(getattr(measures, name)(*given)) for name in names if name in CELLS}
    return scores | {"n_pairs": test.values.size}


def list_scores(
    left: np.ndarray,
    right: np.ndarray,
    seen: Ratings | None,
    test: HeldOut,
    names: tuple[str, ...],
    at: tuple[int, ...],
    n_threads: int | None,
) -> Mapping[str, float]:
    """Scores of the lists of all users that have a relevant item among the held-out ones."""
    if not test.users.size:
        raise ValueError("`test` has no relevant item of a known user")
    users, indptr, items = test.relevant()
    queries, n_items = left[users], len(right)
    skip = None if seen is None else seen.seen(users)
    out: dict[str, float] = {"n_users": len(users)}
    ranked = tuple(name for name in names if name != "auc")
    if ranked:
        lists = top_n(queries, right, max(at), skip=skip, n_threads=n_threads)
        out |= measures.ranking(
            (lists.indptr, lists.items), (indptr, items), metrics=ranked, at=at, n_items=n_items,
            n_threads=n_threads,
        )  # fmt: skip
    if "auc" in names:
        higher, tied = ranks_of(queries, right, (indptr, items), skip=skip, n_threads=n_threads)
        others = np.full(len(users), n_items) - np.diff(indptr)
        if skip is not None:
            both = np.isin(_cells(*skip, n_items), _cells(indptr, items, n_items))
            counted = np.concatenate(([0], np.cumsum(~both)))
            others -= counted[skip[0][1:]] - counted[skip[0][:-1]]
        out["auc"] = measures.auc(higher, tied, indptr, others).mean
    return out


def _cells(indptr: np.ndarray, items: np.ndarray, n_items: int) -> np.ndarray:
    """One number a cell of a CSR structure."""
    return cell_numbers(np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), items, n_items)
