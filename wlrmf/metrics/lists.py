"""Recommended lists held against the items that are relevant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels import chunks
from ..kernels import metrics as kernels
from ..validation.errors import describe
from ..validation.lists import Rows, check_rising, read_rows, user_of
from ..validation.options import read_int
from ..validation.scores import nearest, read_choices, read_cuts

NAMES = (*kernels.MEASURES, "coverage")
CHUNK = 1 << 14  # entries of lists and rows below which a chunk is not worth its overhead


@dataclass(frozen=True, eq=False, repr=False)
class RankingScores(Mapping[str, float]):
    """Means of ranking metrics by name, ``scores["ndcg@10"]``; ``dict(scores)`` works too.

    Attributes
    ----------
    values_by_name : dict of str to float
        In the order of the metrics, and of the cut-offs within each.
    n_users : int
        Users with at least one relevant item: those that the means are over.
    n_lists : int
        All users.
    metrics : tuple of str
    at : tuple of int
    per_user : dict of str to ndarray, shape (n_lists,), or None
        Each user's own score, NaN for those without relevant items; coverage has none. None unless
        ``ranking(..., per_user=True)`` asked for them.

    Examples
    --------
    >>> from wlrmf.metrics import ranking
    >>> scores = ranking(([0, 2], [1, 0]), ([0, 1], [0]), metrics="mrr", at=2, per_user=True)
    >>> scores["mrr@2"], scores.per_user["mrr@2"].tolist(), scores.n_users
    (0.5, [0.5], 1)
    """

    values_by_name: dict[str, float]
    n_users: int
    n_lists: int
    metrics: tuple[str, ...]
    at: tuple[int, ...]
    per_user: dict[str, np.ndarray] | None = None

    def __getitem__(self, name: str) -> float:
        if name not in self.values_by_name:
            names = list(self.values_by_name)
            raise KeyError(f"no score {name!r}{nearest(name, names)}; there are {names}")
        return self.values_by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)

    def to_dict(self) -> dict[str, float | int]:
        """The scores, then ``n_users`` and ``n_lists``: plain numbers, ready for JSON."""
        return {**self.values_by_name, "n_users": self.n_users, "n_lists": self.n_lists}

    def __repr__(self) -> str:
        wide = max(len(name) for name in self.metrics)
        heads = [f"@{k}".rjust(8) for k in self.at]
        lines = [f"RankingScores: {self.n_users} of {self.n_lists} users have relevant items"]
        lines.append(" " * wide + "".join(heads))
        for name in self.metrics:
            cells = (f"{self[f'{name}@{k}']:.4f}".rjust(8) for k in self.at)
            lines.append(name.ljust(wide) + "".join(cells))
        return "\n".join(lines)


def ranking(
    lists: Any,
    relevant: Any,
    *,
    metrics: str | Iterable[str] = ("precision", "recall", "map", "ndcg"),
    at: int | Iterable[int] = 10,
    n_items: int | None = None,
    per_user: bool = False,
    n_threads: int | None = None,
) -> RankingScores:
    """Metrics of recommended lists, all names and all cut-offs in one pass.

    The formulas, and how other packages differ, are at the top of `wlrmf.metrics`.

    Parameters
    ----------
    lists : pair (indptr, items)
        User u was recommended ``items[indptr[u]:indptr[u + 1]]``, best first, no item twice; lists
        may be of any lengths, empty too. Integers. For a matrix of k items a user:
        ``(np.arange(users + 1) * k, matrix.ravel())``.
    relevant : (indptr, items) or (indptr, items, gains)
        The items that are relevant for each user, in CSR form: rising within a row, as in
        ``(Y.indptr, Y.indices)``. Gains, above 0, count for "ndcg" alone; take 2**gains - 1 for
        the exponential variant.
    metrics : str or iterable of str
        Of "precision", "recall", "map", "ndcg", "hit", "mrr" and "coverage".
    at : int or iterable of int
        Cut-offs k ≥ 1.
    n_items : int, optional
        Items there are; "coverage" needs it, and item numbers are checked against it.
    per_user : bool
        Keep each user's scores as well (8 bytes a user, metric and cut-off).
    n_threads : int, optional
        Default: the processors this process may use. The result is the same, to the bit, for any.

    Returns
    -------
    RankingScores
        Means over the users that have at least one relevant item.

    Raises
    ------
    TypeError
        If an argument is not of the form above.
    ValueError
        If an indptr falls or does not fit its items, a list repeats an item, relevant items do
        not rise, an item number is out of range, a gain is not above 0, the numbers of users
        differ, no user has a relevant item, or a metric or cut-off is unknown or repeated.

    Examples
    --------
    Two users; the relevant items are 1 and 4 of the first, 0 of the second:

    >>> from wlrmf.metrics import ranking
    >>> scores = ranking(([0, 3, 5], [4, 2, 1, 3, 0]), ([0, 2, 3], [1, 4, 0]), at=(1, 2))
    >>> scores
    RankingScores: 2 of 2 users have relevant items
                   @1      @2
    precision  0.5000  0.5000
    recall     0.2500  0.7500
    map        0.5000  0.5000
    ndcg       0.5000  0.6220
    >>> scores["recall@2"]
    0.75
    """
    names, cuts = read_choices(metrics, "metrics", NAMES), read_cuts(at, "at")
    limit = _read_n_items(n_items, names)
    threads = (
        chunks.available_threads() if n_threads is None else read_int(n_threads, "n_threads", 1)
    )
    if not isinstance(per_user, bool | np.bool_):
        raise TypeError(f"`per_user` must be True or False; got {describe(per_user)}")
    given = read_rows(lists, "lists", limit)
    truth = read_rows(relevant, "relevant", limit, graded=True)
    _check_users(given, truth)
    check_rising(truth, "relevant")
    counted = int(np.count_nonzero(np.diff(truth.indptr)))
    if counted == 0 and names != ("coverage",):
        raise ValueError("`relevant` must have an item for at least one user; got none")

    rising = sorted(cuts)
    covering = limit if limit and "coverage" in names else 0
    means = {"coverage": _check_lists(given, rising, covering, threads)}
    sums, vectors = _score(given, truth, rising, names, per_user, threads)
    means.update((name, total / counted) for name, total in sums.items())
    column = {k: c for c, k in enumerate(rising)}
    keys = [(name, k) for name in names for k in cuts]
    return RankingScores(
        {f"{name}@{k}": float(means[name][column[k]]) for name, k in keys},
        counted,
        len(given.indptr) - 1,
        names,
        cuts,
        {f"{name}@{k}": vectors[name][column[k]] for name, k in keys if name in vectors}
        if per_user
        else None,
    )


def _score(
    lists: Rows, relevant: Rows, cuts: list[int], names: tuple[str, ...], keep: bool, threads: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Sums over users by cut-off, and each user's own where `keep`."""
    own = [name for name in names if name in kernels.MEASURES]
    if not own:
        return {}, {}
    wanted = np.array([kernels.MEASURES.index(name) for name in own])
    users, longest = len(lists.indptr) - 1, relevant.longest
    discounts = 1 / np.log2(np.arange(2, 2 + min(cuts[-1], max(lists.longest, longest))))
    out = np.empty((len(own), len(cuts), users) if keep else (0, 0, 0))
    graded = relevant.gains.size > 0 and "ndcg" in own

    def room() -> tuple[np.ndarray, np.ndarray]:
        return np.empty(longest if graded else 0), np.empty(len(kernels.MEASURES))

    def task(lo: int, hi: int, scratch: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        sums = np.zeros((len(own), len(cuts)))
        kernels.score(
            lists[:2], relevant, discounts, np.array(cuts), wanted, lo, hi, *scratch, sums, out
        )
        return sums

    edges = chunks.even_edges(lists.indptr + relevant.indptr, CHUNK)
    totals = np.zeros((len(own), len(cuts)))
    for sums in chunks.run_with(room, task, edges, threads):
        totals += sums
    return dict(zip(own, totals, strict=True)), dict(zip(own, out, strict=False))


def _check_lists(lists: Rows, cuts: list[int], n_items: int, threads: int) -> np.ndarray:
    """Refuse a list that repeats an item; share of the n_items in the lists by cut-off."""
    items = lists.items
    size = int(items.max()) + 1 if items.size else 0
    if size > 2 * items.size + CHUNK:  # numbers with wide gaps: close them, the tables stay small
        items = np.unique(items, return_inverse=True)[1]
        size = int(items.max()) + 1
    places: list[np.ndarray] = []

    def room() -> tuple[np.ndarray, np.ndarray]:
        own = np.full(size if n_items else 0, np.iinfo(np.int64).max)
        places.append(own)
        return np.zeros(size, np.int64), own

    def task(lo: int, hi: int, tables: tuple[np.ndarray, np.ndarray]) -> int:
        return int(kernels.first_places(lists.indptr, items, lo, hi, *tables))

    found = chunks.run_with(room, task, chunks.even_edges(lists.indptr, CHUNK), threads)
    repeats = [e for e in found if e >= 0]
    if repeats:
        u = user_of(lists.indptr, repeats[0])
        raise ValueError(
            f"`lists` must not repeat an item within a list: user {u} has item "
            f"{lists.items[repeats[0]]} twice"
        )
    best = np.minimum.reduce(places)
    return np.array([np.count_nonzero(best < k) / max(1, n_items) for k in cuts])


def _check_users(lists: Rows, relevant: Rows) -> None:
    if len(lists.indptr) != len(relevant.indptr):
        raise ValueError(
            f"`lists` and `relevant` must have the same users; got {len(lists.indptr) - 1} and "
            f"{len(relevant.indptr) - 1}"
        )


def _read_n_items(n_items: Any, names: tuple[str, ...]) -> int | None:
    if n_items is not None:
        return read_int(n_items, "n_items", 1)
    if "coverage" in names:
        raise ValueError('`n_items` must be given for "coverage": the number of all items')
    return None
