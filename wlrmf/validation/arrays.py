"""Whatever holds numbers, made a plain matrix: one gate for arrays, frames and sparse formats."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from .errors import DataWarning, at, describe
from .memory import check_size


class Csr(NamedTuple):
    """Canonical compressed rows: sorted, no duplicates, stored zeros kept.

    Not scipy's, which makes both index arrays of one type: `indptr` is always int64, `indices`
    int32 wherever the number of columns allows.
    """

    shape: tuple[int, int]
    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray

    @property
    def dtype(self) -> np.dtype:
        """Of the values."""
        return self.data.dtype

    @property
    def rows(self) -> np.ndarray:
        """Row index of each entry."""
        return np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))

    def toarray(self) -> np.ndarray:
        """Dense, 0 where nothing is stored."""
        dense = np.zeros(self.shape, self.dtype)
        dense[self.rows, self.indices] = self.data
        return dense


EXACT_INTEGER = 2**53
HINT = "a 2-d array, a scipy sparse matrix or a data frame of numbers"


def as_matrix(value: Any, name: str) -> Any:
    """A dense matrix (masked and null cells are NaN) or a `Csr`.

    It may be the caller's own memory and must not be written to.
    """
    if isinstance(value, Csr):
        return value
    if sp.issparse(value):
        return _as_csr(value, name)
    return _as_dense(value, name)


def _as_dense(value: Any, name: str) -> np.ndarray:
    if value is None or np.isscalar(value):
        hint = f" Did you mean rank={value!r}?" if name == "mask" else ""
        raise ValueError(f"`{name}` must be {HINT}; got {describe(value)}.{hint}")
    if hasattr(value, "__next__"):
        raise TypeError(f"`{name}` must be {HINT}; got a {type(value).__name__}; call list() first")
    if isinstance(value, np.ma.MaskedArray):
        array = _real(value.data, name)
        if np.ma.getmask(value) is not np.ma.nomask:
            array = np.where(np.ma.getmaskarray(value), np.nan, array)
    else:
        array = _real(_plain(value, name), name)
    if array.ndim != 2:
        raise ValueError(
            f"`{name}` must be 2-d, rows x columns; got {array.ndim}-d, shape {array.shape}"
        )
    return array


def _plain(value: Any, name: str) -> np.ndarray:
    """An ndarray of any numeric dtype; nulls of data frames become NaN."""
    module = type(value).__module__.partition(".")[0]
    try:
        if _is_frame(value):
            return _from_frame(value, module)
        array = np.asarray(value)
        return _numbers(array) if array.dtype.kind == "O" else array
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"`{name}` must be {HINT}; got {describe(value)}: {error}") from None


def _is_frame(value: Any) -> bool:
    """A pandas or polars frame, told by name: neither need be installed."""
    kind = type(value)
    if kind.__name__ == "LazyFrame":
        raise TypeError("a LazyFrame has no values yet: call .collect() first")
    return kind.__name__ == "DataFrame" and kind.__module__.split(".")[0] in ("pandas", "polars")


def _numbers(array: np.ndarray) -> np.ndarray:
    """An object array as floats; text stays text, even where it looks like a number."""
    for entry in array.flat:
        if isinstance(entry, str | bytes):
            raise ValueError(f"{entry!r} is text")
    return array.astype(np.float64)


def _from_frame(frame: Any, module: str) -> np.ndarray:
    dtypes = list(frame.dtypes)
    names = {str(dtype) for dtype in dtypes}
    if module == "polars":
        good = all(dtype.is_numeric() or str(dtype) in ("Boolean", "Null") for dtype in dtypes)
    else:
        good = not {getattr(dtype, "kind", "O") for dtype in dtypes} & set("MmcUS")
    if not good or any(name.lower() in ("str", "string") for name in names):
        raise TypeError(f"its columns have the types {sorted(names)}")
    if module == "polars":
        return np.asarray(frame.to_numpy())
    if "object" in names:
        return _numbers(frame.to_numpy(dtype=object, na_value=np.nan))
    single = {name.lower() for name in names} == {"float32"}
    return np.asarray(frame.to_numpy(dtype=np.float32 if single else np.float64, na_value=np.nan))


def read_names(value: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Names of a data frame's rows and columns as text; None where it has no names of its own."""
    if not _is_frame(value):
        return None, None
    index = getattr(value, "index", None)
    axes = (index, value.columns)
    named = (axis is not None and type(axis).__name__ != "RangeIndex" for axis in axes)
    rows, cols = (
        np.asarray([str(name) for name in axis], dtype=np.str_) if has else None
        for axis, has in zip(axes, named, strict=True)
    )
    return rows, cols


def check_names(
    name: str, axis: str, names: np.ndarray | None, wanted: np.ndarray | None, whose: str
) -> None:
    """Frames are taken cell by cell as they stand: other names would mean other cells."""
    if names is None or wanted is None or len(names) != len(wanted):
        return  # no names to compare; a wrong shape gets its own message
    differ = names != wanted
    if differ.any():
        k = int(np.argmax(differ))
        hint = "; the same ones in another order" if set(names) == set(wanted) else ""
        raise ValueError(
            f"`{name}` must have the {axis} of {whose}: number {k} is {str(names[k])!r}, "
            f"not {str(wanted[k])!r}{hint}"
        )


def _real(array: np.ndarray, name: str) -> np.ndarray:
    wide = array.dtype.kind in "iu" and array.dtype.itemsize == 8 and array.size > 0
    if wide and max(int(array.max()), -int(array.min())) > EXACT_INTEGER:
        warnings.warn(
            f"`{name}` has integers beyond 2**53, which floats cannot hold exactly",
            DataWarning,
            stacklevel=2,
        )
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"`{name}` must hold real numbers or booleans; got dtype {array.dtype}"
            + ("" if array.dtype.names is None else ": take one field of it first")
        )
    return array


def _as_csr(value: Any, name: str) -> Csr:
    if value.ndim != 2:
        raise ValueError(f"`{name}` must be 2-d; got {value.ndim}-d, shape {value.shape}")
    check_sparse(value, name)
    _real(np.empty(0, value.dtype), name)
    check_size(value.shape, name)
    csr = value.tocsr()
    _real(csr.data, name)
    # tocsr sums the duplicates of these formats, and keeps those of the others
    summed = value.nnz > csr.nnz and value.format in ("coo", "bsr")
    rising = _within_rows(csr, np.greater)
    if not summed and not rising.all():
        csr = csr.copy()
        csr.sort_indices()
    if summed or _within_rows(csr, np.equal).any():
        _refuse_duplicates(value.tocoo(), name)
    m, n = value.shape
    wide = np.int32 if n <= np.iinfo(np.int32).max else np.int64
    return Csr(
        (m, n),
        csr.indptr.astype(np.int64, copy=False),
        csr.indices[: csr.indptr[-1]].astype(wide, copy=False),
        csr.data[: csr.indptr[-1]],
    )


def _within_rows(csr: Any, compare: Any) -> np.ndarray:
    """Compare each column index with the one before it in its row; rows' first entries left out."""
    indices = csr.indices[: csr.indptr[-1]]
    inner = np.ones(max(indices.size, 1), bool)
    starts = csr.indptr[:-1]
    inner[starts[starts < indices.size]] = False
    return compare(indices[1:], indices[:-1])[inner[1:]]


def _refuse_duplicates(coo: Any, name: str) -> None:
    order = np.lexsort((coo.col, coo.row))
    row, col = coo.row[order], coo.col[order]
    twice = np.flatnonzero((row[1:] == row[:-1]) & (col[1:] == col[:-1]))
    raise ValueError(
        f"`{name}` has {twice.size} duplicate entries, the first at "
        f"{at((int(row[twice[0]]), int(col[twice[0]])))}; "
        "sum or drop them first (for instance with .sum_duplicates())"
    )


def check_sparse(value: Any, name: str) -> None:
    """Refuse a scipy sparse matrix whose arrays lie, before scipy itself follows them."""
    stored: Any = getattr(value, "data", None)
    wanted = {"bsr": 3, "dia": 2, "lil": 1, "csr": 1, "csc": 1, "coo": 1}.get(value.format)
    if wanted and not (isinstance(stored, np.ndarray) and stored.ndim == wanted):
        raise ValueError(
            f"`{name}` must hold its values in a {wanted}-d array; got {describe(stored)}"
        )
    if value.format in ("csr", "csc", "bsr"):
        _check_compressed(value, name)
    elif value.format == "coo":
        _check_coordinates(value.coords, len(stored), value.shape, name)
    elif value.format == "dok":
        keys = np.array([*value.keys()], ndmin=2).reshape(-1, 2).T
        _check_coordinates(keys, value.nnz, value.shape, name)
    elif value.format == "lil":
        _check_lists(value, name)
    elif value.format == "dia":
        offsets = np.asarray(value.offsets)
        _whole(offsets, "offsets", name)
        if len(offsets) != len(stored) or len(np.unique(offsets)) < len(offsets):
            raise ValueError(
                f"`{name}` must have one offset a diagonal, none twice; got {len(stored)} "
                f"diagonals and the offsets {describe(offsets.tolist())}"
            )


def _whole(index: np.ndarray, what: str, name: str) -> None:
    if index.ndim != 1 or (index.size and index.dtype.kind not in "iu"):
        raise ValueError(
            f"`{name}` must have a vector of integers as its {what}; "
            f"got {describe(index)} of {index.dtype}"
        )


def _check_lists(lil: Any, name: str) -> None:
    """A list of columns and one of values a row, of one length."""
    m = lil.shape[0]
    columns, values = list(lil.rows), list(lil.data)
    lengths = [len(row) for row in columns]
    if len(lengths) != m or lengths != [len(row) for row in values]:
        raise ValueError(f"`{name}` must have as many column indices as values in each row")
    rows = np.repeat(np.arange(m), lengths)
    cols = np.asarray([col for row in columns for col in row])
    _check_coordinates((rows, cols), rows.size, lil.shape, name)


def cell_numbers(rows: np.ndarray, cols: np.ndarray, n: int) -> np.ndarray:
    """One number a cell of a matrix of n columns, row by row: int64, as int32 would wrap."""
    return rows.astype(np.int64) * n + cols


def _check_coordinates(coords: Any, size: int, shape: tuple[int, int], name: str) -> None:
    for index, bound, axis in zip(coords, shape, ("row", "column"), strict=True):
        _whole(index, f"{axis} indices", name)
        if len(index) != size:
            raise ValueError(f"`{name}` has {size} values and {len(index)} {axis} indices")
        if index.size and (index.min() < 0 or index.max() >= bound):
            raise ValueError(
                f"`{name}` has {axis} indices from {index.min()} to {index.max()}; "
                f"its shape {shape} allows 0 to {bound - 1}"
            )


def _check_compressed(value: Any, name: str) -> None:
    """Index arrays that lie would send scipy's own conversions out of bounds."""
    indptr, indices = np.asarray(value.indptr), np.asarray(value.indices)
    _whole(indptr, "indptr", name)
    _whole(indices, "indices", name)
    block = value.blocksize if value.format == "bsr" else (1, 1)
    major = value.shape[1] if value.format == "csc" else value.shape[0] // block[0]
    minor = value.shape[0] if value.format == "csc" else value.shape[1] // block[1]
    if len(indptr) != major + 1 or indptr[0] != 0 or np.any(np.diff(indptr) < 0):
        raise ValueError(f"`{name}` has a malformed indptr: it must rise from 0 in {major} steps")
    if indptr[-1] > len(indices) or len(indices) != len(value.data):
        raise ValueError(
            f"`{name}` has {len(value.data)} values and {len(indices)} indices; "
            f"its indptr ends at {indptr[-1]}"
        )
    used = indices[: indptr[-1]]
    if used.size and (used.min() < 0 or used.max() >= minor):
        raise ValueError(
            f"`{name}` has indices from {used.min()} to {used.max()}; "
            f"its shape {value.shape} allows 0 to {minor - 1}"
        )
