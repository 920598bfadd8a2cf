"""Lists of items, one a query: CSR structures without values, and sets of items."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .errors import describe


class Lists(NamedTuple):
    """Row i has the entries indptr[i]..indptr[i + 1] of `indices`, ascending, none twice.

    `indptr` is int64, `indices` int32 or int64.
    """

    indptr: np.ndarray
    indices: np.ndarray


def read_lists(value: Any, name: str, rows: int, n_items: int) -> Lists:
    """A pair (indptr, indices) of `rows` ascending lists of items below `n_items`."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"`{name}` must be a pair (indptr, indices); got {describe(value)}")
    indptr = read_integers(value[0], f"indptr of `{name}`", np.iinfo(np.int64).max)
    indices = read_integers(value[1], f"indices of `{name}`", n_items)
    if indptr.shape != (rows + 1,) or indptr[0] != 0 or np.any(indptr[1:] < indptr[:-1]):
        raise ValueError(
            f"indptr of `{name}` must rise from 0 in {rows} steps, one a query; "
            f"got {describe(value[0])}"
        )
    if indptr[-1] != indices.size:
        raise ValueError(
            f"indptr of `{name}` must end at the number of its indices, {indices.size}; "
            f"got {indptr[-1]}"
        )
    falls = np.flatnonzero(indices[1:] <= indices[:-1]) + 1
    starts = indptr[np.searchsorted(indptr, falls)] == falls  # the first of a row may be smaller
    if not starts.all():
        e = int(falls[np.argmin(starts)])
        row = int(np.searchsorted(indptr, e, side="right")) - 1
        raise ValueError(
            f"indices of `{name}` must ascend within each row; "
            f"row {row} has {indices[e - 1]} before {indices[e]}"
        )
    return Lists(indptr.astype(np.int64, copy=False), indices)


def read_items(value: Any, name: str, n_items: int) -> np.ndarray:
    """A set of items below `n_items` in any order, none twice; sorted, int64."""
    items = np.sort(read_integers(value, f"`{name}`", n_items)).astype(np.int64)
    twice = np.flatnonzero(items[1:] == items[:-1])
    if twice.size:
        raise ValueError(f"`{name}` must have no item twice; got {items[twice[0]]} more than once")
    return items


def read_integers(value: Any, words: str, end: int) -> np.ndarray:
    """A contiguous vector of integers in [0, end), int32 where it is one, otherwise int64."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(
            f"{words} must be a vector of integers; got {describe(value)}: {error}"
        ) from None
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(
            f"{words} must be a vector of integers; got {describe(value)}, dtype {array.dtype}"
        )
    if array.size and (array.min() < 0 or array.max() >= end):
        raise ValueError(f"{words} must be in [0, {end}); got {array.min()} to {array.max()}")
    kind = np.int32 if array.dtype.newbyteorder("=") == np.int32 else np.int64
    return np.ascontiguousarray(array, kind)
