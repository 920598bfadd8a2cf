"""The best items for users, and what is most similar to items or users."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..top import top_n
from .fitted import Fitted
from .ids import Ids
from .lists import RankedLists


def recommend(
    fitted: Fitted,
    users: Any,
    n: int,
    *,
    filter_seen: bool,
    exclude: Any,
    include: Any,
    unknown: str,
    n_threads: int | None,
) -> RankedLists:
    """See `Recommender.recommend`."""
    places = np.arange(len(fitted.users)) if users is None else _places(fitted, users, unknown)
    among = candidates(fitted.items, include, exclude, unknown)
    if unknown in ("zero", "nan"):  # nothing ranks their items
        asked, places = places, places[places >= 0]
    queries = fitted.model.left if users is None else fitted.user_rows(places)
    skip = None
    if filter_seen:
        whole = (fitted.ratings.indptr, fitted.ratings.indices)
        skip = whole if users is None else fitted.ratings.seen(places)
    lists = top_n(queries, fitted.model.right, n, skip=skip, among=among, n_threads=n_threads)
    indptr = lists.indptr
    if unknown in ("zero", "nan"):
        lengths = np.zeros(len(asked), np.int64)
        lengths[asked >= 0] = np.diff(indptr)
        indptr = np.concatenate(([0], np.cumsum(lengths)))
    labels = fitted.users.labels if users is None else np.atleast_1d(np.asarray(users))
    return RankedLists(labels, indptr, fitted.items.labels[lists.items], lists.scores)


def _places(fitted: Fitted, users: Any, unknown: str) -> np.ndarray:
    places = np.atleast_1d(fitted.users.places(users, unknown, fitted.items))
    if places.ndim > 1:
        raise ValueError(f"`users` must be one id or a vector of ids; got shape {places.shape}")
    return places


def candidates(items: Ids, include: Any, exclude: Any, unknown: str) -> np.ndarray | None:
    """Places of the items that may be recommended; None: all."""
    if include is None and exclude is None:
        return None
    allowed = np.full(len(items), include is None)
    for given, verdict in ((include, True), (exclude, False)):
        if given is not None:
            given = list(given) if isinstance(given, set | frozenset) else given
            places = np.atleast_1d(items.places(given, unknown))
            allowed[places[places >= 0]] = verdict
    return np.flatnonzero(allowed)


def similar(fitted: Fitted, kind: str, asked: Any, n: int, n_threads: int | None) -> RankedLists:
    """Rows of a factor by the cosine of their angle with given rows; a zero row is like none."""
    ids, other, factor = fitted.users, fitted.items, fitted.model.W.T
    if kind == "item":
        ids, other, factor = fitted.items, fitted.users, fitted.model.X.T
    places = np.atleast_1d(ids.places(asked, other=other))
    if places.ndim > 1:
        raise ValueError(f"one id or a vector of ids is wanted; got shape {places.shape}")
    norm = np.sqrt(np.einsum("ik,ik->i", factor, factor, dtype=np.float64))[:, None]
    unit = np.divide(factor, norm, out=np.zeros(factor.shape), where=norm > 0).astype(factor.dtype)
    own = np.arange(len(places) + 1), places
    lists = top_n(unit[places], unit, n, skip=own, n_threads=n_threads)
    found, labels = ids.labels[lists.items], np.atleast_1d(np.asarray(asked))
    return RankedLists(labels, lists.indptr, found, lists.scores, (ids.kind, ids.kind))
