"""Vectors and matrices that are compared cell by cell, and the names and cut-offs of metrics."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import numpy as np

from .arrays import Csr, as_matrix
from .errors import at, describe, first_where
from .options import read_int, read_integers

COUNTS = 2**31 - 1  # largest count: products of two stay exact in int64


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
