"""Rows of item numbers in CSR form, and vectors or matrices that are compared cell by cell."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from .arrays import Csr, as_matrix
from .errors import at, describe, first_where
from .options import read_int

GAINS = (1e-300, 1e300)  # sums of more would overflow, quotients of less lose their digits
COUNTS = 2**31 - 1  # largest count: products of two stay exact in int64


class Rows(NamedTuple):
    """One row of items a user; `gains` is empty where every item counts 1."""

    indptr: np.ndarray
    items: np.ndarray
    gains: np.ndarray

    @property
    def longest(self) -> int:
        """Entries of the longest row."""
        return int(np.diff(self.indptr).max())


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


def read_indptr(value: Any, name: str) -> np.ndarray:
    """Where each user's row begins and the last one ends: rises from 0."""
    indptr = read_integers(value, name).astype(np.int64)
    if indptr.size < 2:
        raise ValueError(
            f"`{name}` must have one number more than there are users, and so at least 2; "
            f"got {indptr.size}"
        )
    if indptr[0] != 0:
        raise ValueError(f"`{name}` must begin with 0; got {indptr[0]}")
    falls = np.diff(indptr) < 0
    if falls.any():
        k = int(np.argmax(falls)) + 1
        raise ValueError(
            f"`{name}` must not fall; got {indptr[k]} at {at((k,))} after {indptr[k - 1]}"
        )
    return indptr


def read_integers(value: Any, name: str) -> np.ndarray:
    """A vector of integers, int32 where it is given so, otherwise int64."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unequal lengths
        raise ValueError(f"`{name}` must be a vector; got {describe(value)}") from None
    if array.ndim != 1:
        raise ValueError(f"`{name}` must be a vector; got {describe(value)}")
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"`{name}` must hold integers; got dtype {array.dtype}")
    if array.dtype.kind == "u" and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"`{name}` must be below 2**63; got {array.max()}")
    dtype = np.int32 if array.dtype.type is np.int32 else np.int64
    return np.ascontiguousarray(array, dtype)


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
            raise ValueError(
                f"`{name}` must not repeat an item: user {u} has item {items[e]} twice"
            )
        raise ValueError(
            f"the items of `{name}` must rise within each row: user {u} has {items[e]} after "
            f"{items[e - 1]}; sort them first (for instance with .sort_indices())"
        )


def user_of(indptr: np.ndarray, entry: int) -> int:
    """The row that an entry is in."""
    return int(np.searchsorted(indptr, entry, side="right")) - 1


def read_numbers(value: Any, name: str) -> np.ndarray:
    """A vector or a matrix of real numbers; masked and null cells are NaN."""
    if np.isscalar(value) or value is None:
        raise TypeError(f"`{name}` must be a vector or a matrix of numbers; got {describe(value)}")
    if type(value).__name__ == "Series":
        return as_matrix(value.to_frame(), name)[:, 0]
    if isinstance(value, list | tuple):
        try:
            value = np.asarray(value)
        except ValueError:
            raise ValueError(
                f"`{name}` must have rows of equal length; got {describe(value)}"
            ) from None
    vector = isinstance(value, np.ndarray) and value.ndim == 1
    matrix = as_matrix(value[:, None] if vector else value, name)
    if isinstance(matrix, Csr):
        raise TypeError(
            f"`{name}` must be dense: compare the stored values, {name}.data, instead; "
            f"got {describe(value)}"
        )
    return matrix[:, 0] if vector else matrix


def read_error_weights(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Weights of errors: of the errors' shape, finite, none negative, not all 0."""
    weights = read_numbers(value, "weights")
    if weights.shape != shape:
        raise ValueError(f"`weights` must have the shape of `y`, {shape}; got {weights.shape}")
    bad = ~((weights >= 0) & (weights < np.inf))
    if bad.any():
        index = first_where(bad)
        raise ValueError(
            f"`weights` must be finite and not negative; weights{at(index)} is {weights[index]}"
        )
    if not weights.any():
        raise ValueError("`weights` must not all be 0: no error counts")
    return weights


def finite_cells(cells: np.ndarray, w: Any, name: str, start: int) -> np.ndarray:
    """Rows `start` and after of `name` in float64, the cells of weight 0 as 0."""
    counts = np.broadcast_to(np.asarray(w) > 0, cells.shape)
    bad = counts & ~np.isfinite(cells)
    if bad.any():
        index = first_where(bad)
        raise ValueError(
            f"`{name}` must be finite wherever it counts; "
            f"{name}{at((index[0] + start, *index[1:]))} is {cells[index]}; leave such cells "
            "out, or give them weight 0"
        )
    return np.where(counts, cells, 0).astype(np.float64)


def read_choices(value: Any, name: str, choices: tuple[str, ...]) -> tuple[str, ...]:
    """One of the choices, or several, none twice."""
    if not isinstance(value, Iterable):
        raise TypeError(f"`{name}` must be of {', '.join(choices)}; got {describe(value)}")
    chosen = (value,) if isinstance(value, str) else tuple(value)
    for one in chosen:
        if one not in choices:
            raise ValueError(
                f"`{name}` must be of {', '.join(choices)}; got {describe(one)}"
                f"{nearest(one, choices)}"
            )
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"`{name}` must be at least one, none twice; got {describe(value)}")
    return chosen


def read_cuts(value: Any, name: str) -> tuple[int, ...]:
    """Cut-offs of at least 1, none twice."""
    given = value if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    cuts = tuple(read_int(k, name, 1, np.iinfo(np.int64).max) for k in given)
    if not cuts or len(set(cuts)) < len(cuts):
        raise ValueError(f"`{name}` must be at least one, none twice; got {describe(value)}")
    return cuts


def read_counts(value: Any, name: str, size: int, meaning: str) -> np.ndarray:
    """A vector of `size` counts in int64."""
    counts = read_integers(value, name).astype(np.int64)
    if counts.shape != (size,):
        raise ValueError(f"`{name}` must have {meaning}, ({size},); got {counts.shape}")
    bad = (counts < 0) | (counts > COUNTS)
    if bad.any():
        k = int(np.argmax(bad))
        raise ValueError(f"`{name}` must be from 0 to {COUNTS}; got {counts[k]} at {at((k,))}")
    return counts


def nearest(name: Any, names: Iterable[str]) -> str:
    """A hint at the name that was meant, where one is close."""
    close = difflib.get_close_matches(str(name).lower(), list(names), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


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
