"""Rows of item numbers in CSR form, one a user, and sets of items."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .errors import at, describe
from .options import read_integers
from .scores import read_numbers

GAINS = (1e-300, 1e300)  # sums of more would overflow, quotients of less lose their digits


class Rows(NamedTuple):
    """One row of items a user; `gains` is empty where every item counts 1."""

    indptr: np.ndarray
    items: np.ndarray
    gains: np.ndarray

    @property
    def longest(self) -> int:
        """Entries of the longest row."""
        return int(np.diff(self.indptr).max(initial=0))


def read_rows(value: Any, name: str, n_items: int | None, *, graded: bool = False) -> Rows:
    """(indptr, items), or (indptr, items, gains) where `graded`; items in int32 or int64."""
    form = "(indptr, items) or (indptr, items, gains)" if graded else "(indptr, items)"
    sizes = (2, 3) if graded else (2,)
    if not isinstance(value, tuple | list) or len(value) not in sizes:
        raise TypeError(
            f"`{name}` must be {form}, one row a user, as in (Y.indptr, Y.indices) of a CSR "
            f"matrix; got {_count(value)}"
        )
    indptr = read_indptr(value[0], f"{name}[0]")
    items = read_integers(value[1], f"{name}[1]")
    if indptr[-1] != items.size:
        raise ValueError(
            f"`{name}[0]` must end with the number of items in `{name}[1]`, {items.size}; "
            f"got {indptr[-1]}"
        )
    _check_range(items, f"{name}[1]", n_items)
    gains = _read_gains(value[2], f"{name}[2]", items.size) if len(value) == 3 else np.empty(0)
    return Rows(indptr, items, gains)


def read_lists(value: Any, name: str, rows: int, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """A pair (indptr, items) of `rows` rising rows of items below `n_items`."""
    given = read_rows(value, name, n_items)
    if len(given.indptr) != rows + 1:
        raise ValueError(
            f"`{name}` must have a row for each of {rows}; got {len(given.indptr) - 1}"
        )
    check_rising(given, name)
    return given.indptr, given.items


def read_items(value: Any, name: str, n_items: int) -> np.ndarray:
    """A set of items below `n_items` in any order, none twice; sorted, int64."""
    items = np.sort(read_integers(value, name)).astype(np.int64)
    _check_range(items, name, n_items)
    twice = np.flatnonzero(items[1:] == items[:-1])
    if twice.size:
        raise ValueError(f"`{name}` must have no item twice; got {items[twice[0]]} more than once")
    return items


def read_indptr(value: Any, name: str) -> np.ndarray:
    """Where each user's row begins and the last one ends: rises from 0."""
    indptr = read_integers(value, name).astype(np.int64)
    if indptr.size == 0:
        raise ValueError(f"`{name}` must have one number more than there are rows; got none")
    if indptr[0] != 0:
        raise ValueError(f"`{name}` must begin with 0; got {indptr[0]}")
    falls = np.diff(indptr) < 0
    if falls.any():
        k = int(np.argmax(falls)) + 1
        raise ValueError(
            f"`{name}` must not fall; got {indptr[k]} at {at((k,))} after {indptr[k - 1]}"
        )
    return indptr


def check_rising(rows: Rows, name: str) -> None:
    """Refuse rows whose items do not rise strictly."""
    items = rows.items
    inner = np.ones(max(items.size, 1), bool)
    starts = rows.indptr[:-1]
    inner[starts[starts < items.size]] = False
    bad = (items[1:] <= items[:-1]) & inner[1:]
    if bad.any():
        e = int(np.argmax(bad)) + 1
        u = user_of(rows.indptr, e)
        if items[e] == items[e - 1]:
            raise ValueError(f"`{name}` must not repeat an item: row {u} has item {items[e]} twice")
        raise ValueError(
            f"the items of `{name}` must rise within each row: row {u} has {items[e]} after "
            f"{items[e - 1]}; sort them first (for instance with .sort_indices())"
        )


def user_of(indptr: np.ndarray, entry: int) -> int:
    """The row that an entry is in."""
    return int(np.searchsorted(indptr, entry, side="right")) - 1


def _check_range(items: np.ndarray, name: str, n_items: int | None) -> None:
    limit = np.iinfo(np.int64).max if n_items is None else n_items
    bad = (items < 0) | (items >= limit)
    if bad.any():
        k = int(np.argmax(bad))
        wanted = "of at least 0" if n_items is None else f"from 0 to n_items - 1 = {n_items - 1}"
        raise ValueError(f"`{name}` must hold item numbers {wanted}; got {items[k]} at {at((k,))}")


def _read_gains(value: Any, name: str, size: int) -> np.ndarray:
    gains = read_numbers(value, name)
    if gains.shape != (size,):
        raise ValueError(f"`{name}` must have one gain an item, ({size},); got {gains.shape}")
    low, high = GAINS
    bad = ~((gains >= low) & (gains <= high))
    if bad.any():
        k = int(np.argmax(bad))
        raise ValueError(
            f"`{name}` must hold gains above 0 ({low:.0e} to {high:.0e}); got {gains[k]} at "
            f"{at((k,))}; leave items that are not relevant out"
        )
    return np.ascontiguousarray(gains, np.float64)


def _count(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"{len(value)} things"
    return describe(value)
