"""Scalars, ridges, pinned rows, starts and seeds: one reader each."""

from __future__ import annotations

import numbers
import warnings
from typing import Any

import numpy as np

from .arrays import as_matrix
from .errors import DataWarning, describe
from .ranges import check_range

SALT = int.from_bytes(b"wlrmf")


def read_int(value: Any, name: str, low: int, high: float = np.inf) -> int:
    """An integer in [low, high]; booleans and floats are not."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool | np.bool_)
    if whole and low <= int(value) <= high:
        return int(value)
    upper = "" if high == np.inf else f" and at most {int(high)}"
    kind = ValueError if whole else TypeError
    raise kind(f"`{name}` must be an int of at least {low}{upper}; got {describe(value)}")


def read_grows(rank: Any, start: Any, n_starts: int | None) -> bool:
    """Whether the rank is to be found; then there is but one way to start."""
    if not isinstance(rank, str):
        return False
    if rank != "auto":
        raise ValueError(f'`rank` must be an int or "auto"; got {rank!r}')
    for name, value, default in (("start", start, None), ("n_starts", n_starts, 1)):
        if value is not default and value != default:
            raise ValueError(f'`{name}` must be left out with rank="auto": factors join from none')
    return True


def read_rank(rank: Any, shape: tuple[int, int], pinned: bool) -> int:
    """Rank ≥ 1, or ≥ 0 where pinned rows or biases leave something to fit."""
    if rank is None:
        raise TypeError("`rank` is required: the number of factors, an int of at least 1")
    rank = read_int(rank, "rank", 0 if pinned else 1, 1_000_000)
    if rank > min(shape):
        warnings.warn(
            f"rank {rank} is above min(m, n) = {min(shape)}: the extra factors add nothing",
            DataWarning,
            stacklevel=3,
        )
    return rank


def read_real(value: Any, name: str, *, positive: bool = False) -> float:
    """A finite number, not negative (or above 0)."""
    good = isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)
    if not good or not np.isfinite(value) or value < 0 or (positive and value == 0):
        kind = ValueError if good else TypeError
        wanted = "above 0" if positive else "not negative"
        raise kind(f"`{name}` must be a finite number, {wanted}; got {describe(value)}")
    return float(value)


def read_vector(value: Any, name: str) -> np.ndarray:
    """A vector of numbers in float64."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"`{name}` must hold numbers; got {describe(value)}") from None


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


def read_index(value: Any, name: str, size: int) -> np.ndarray:
    """Indices in [0, size), of any shape, int64."""
    index = np.asarray(value)
    if index.dtype.kind not in "iu" and index.size:
        raise TypeError(f"`{name}` must be an int or an array of ints; got {index.dtype}")
    if index.size and (index.min() < 0 or index.max() >= size):
        bad = index.min() if index.min() < 0 else index.max()
        raise IndexError(f"`{name}` must be in [0, {size - 1}]; got {bad}")
    return index.astype(np.int64)


def read_reg(reg: Any, shape: tuple[int, int]) -> tuple[float | np.ndarray, float | np.ndarray]:
    """Ridge of rows and of columns, each a number or a vector of one number a row (column)."""
    if isinstance(reg, tuple | list):
        if len(reg) != 2:
            raise ValueError(
                "`reg` must be a number or a pair (rows, columns) of numbers or vectors; "
                f"got {len(reg)} values"
            )
        rows = _ridge(reg[0], shape[0], "reg[0]", "row")
        cols = _ridge(reg[1], shape[1], "reg[1]", "column")
        if np.any(rows) != np.any(cols):
            warnings.warn(
                "a ridge on one factor alone has no effect: the other factor grows without bound "
                "to make it vanish; give both a ridge, or neither",
                DataWarning,
                stacklevel=3,
            )
        return rows, cols
    if isinstance(reg, np.ndarray) and reg.ndim:
        raise ValueError(
            f"`reg` as vectors must be a pair (one per row, one per column); got {describe(reg)}"
        )
    number = read_real(reg, "reg")
    return number, number


def _ridge(value: Any, size: int, name: str, axis: str) -> float | np.ndarray:
    if np.ndim(value) == 0:
        return read_real(value, name)
    vector = read_vector(value, name)
    if vector.shape != (size,):
        raise ValueError(f"`{name}` must have one number a {axis}, ({size},); got {vector.shape}")
    if not (np.isfinite(vector).all() and (vector >= 0).all()):
        raise ValueError(f"`{name}` must be finite and not negative")
    return vector


def check_scaling(scaling: Any) -> None:
    """Judge `reg_scaling`."""
    if scaling not in ("none", "count"):
        raise ValueError(f'`reg_scaling` must be "none" or "count"; got {describe(scaling)}')


def spread_reg(
    reg: float | np.ndarray, scaling: str, counts: np.ndarray, dtype: np.dtype
) -> np.ndarray:
    """One ridge a row: itself, or times the row's number of observed cells ("count")."""
    check_scaling(scaling)
    scale = counts if scaling == "count" else np.ones(len(counts))
    spread = np.asarray(reg * scale)
    limit = 1e30 if dtype == np.float32 else 1e150
    if spread.size and spread.max() > limit:
        raise ValueError(f"`reg` must be at most {limit:.0e} for {dtype}; got {spread.max():.3g}")
    return spread.astype(dtype)


def read_pinned(value: Any, name: str, size: int, dtype: np.dtype) -> np.ndarray:
    """Given rows of a factor, (p, size), in storage form (size, p); none: (size, 0)."""
    if value is None:
        return np.empty((size, 0), dtype)
    matrix = as_matrix(np.atleast_2d(value) if np.ndim(value) == 1 else value, name)
    rows = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
    if rows.shape[1] != size:
        hint = f". Is it transposed? Try {name}.T" if rows.shape[0] == size else ""
        raise ValueError(f"`{name}` must have shape (p, {size}); got {rows.shape}{hint}")
    if not np.isfinite(rows).all():
        raise ValueError(f"`{name}` must be finite everywhere")
    return _cast(rows.T, name, dtype)


def read_dense(value: Any, name: str) -> np.ndarray:
    """A dense matrix, finite everywhere."""
    array = as_matrix(value, name)
    if not isinstance(array, np.ndarray):
        raise TypeError(f"`{name}` must be dense here; got {type(array).__name__}")
    if not np.isfinite(array).all():
        raise ValueError(f"`{name}` must be finite everywhere")
    return array


def read_factor(value: Any, name: str, rank: int, size: int, dtype: np.dtype) -> np.ndarray:
    """A start for W (rank, m) or X (rank, n), in storage form, always a copy."""
    factor = read_dense(value, name)
    if factor.shape != (rank, size):
        hint = f". Is it transposed? Try {name}.T" if factor.shape == (size, rank) else ""
        raise ValueError(f"`{name}` must have shape ({rank}, {size}); got {factor.shape}{hint}")
    return _cast(factor.T, name, dtype)


def _cast(factor: np.ndarray, name: str, dtype: np.dtype) -> np.ndarray:
    """A contiguous copy in the working type, in whose range it must be."""
    with np.errstate(over="ignore"):
        cast = np.array(factor, dtype=dtype, order="C", subok=False)
    check_range(cast, f"`{name}`")
    return cast


def read_starts(n_starts: Any) -> int | None:
    """A number of starts; None for "repeat"."""
    if isinstance(n_starts, str):
        if n_starts != "repeat":
            raise ValueError(f'`n_starts` must be an int from 1 on or "repeat"; got {n_starts!r}')
        return None
    return read_int(n_starts, "n_starts", 1)


def read_seed(seed: Any) -> np.random.Generator:
    """None is the same as 0: a fit without a seed is repeatable too."""
    if isinstance(seed, np.random.Generator):
        return seed
    if isinstance(seed, np.random.RandomState):
        return np.random.default_rng(seed.randint(2**31, size=4))
    if isinstance(seed, np.random.SeedSequence):
        return np.random.default_rng(seed)
    # salted: a caller who made the data with default_rng(0) must not get the data's own numbers
    return np.random.default_rng([SALT, 0 if seed is None else read_int(seed, "seed", 0)])
