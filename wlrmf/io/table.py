"""What reading a data file gives, and what is asked of every file before it is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

MATRIX_ENDINGS = (".csv", ".mtx", ".mtx.gz", ".npy", ".npz", ".parquet")
WRITTEN_ENDINGS = (".csv", ".npy", ".parquet")
COLUMNS_ENDINGS = (".csv", ".parquet")


class DataFileError(ValueError):
    """A data file cannot be used; the message names the file and the reason."""


@dataclass(frozen=True, eq=False)
class Table:
    """A matrix and the names that its file had for rows and columns.

    Attributes
    ----------
    values : ndarray of float, shape (m, n), or scipy sparse array
        Dense: NaN = missing. Sparse (``csr_array`` or ``coo_array``): as stored, so that entries
        which a file gives twice are still there twice.
    row_names, col_names : ndarray of str, or None
        None where the file names none.
    """

    values: NDArray[np.floating[Any]] | sparse.csr_array | sparse.coo_array
    row_names: NDArray[np.str_] | None = None
    col_names: NDArray[np.str_] | None = None


@dataclass(frozen=True, eq=False)
class Triplets:
    """A matrix from rows such as (user, item, rating), with the ids behind its indices.

    Attributes
    ----------
    matrix : scipy.sparse.coo_array, shape (m, n)
        An entry a row of the file, in the file's order, none twice.
    weights : scipy.sparse.coo_array or None
        On the same entries in the same order.
    row_ids, col_ids : ndarray of int or str, shapes (m,) and (n,)
        Sorted; ``row_ids[i]`` is the id of row i.
    """

    matrix: sparse.coo_array
    weights: sparse.coo_array | None
    row_ids: NDArray[Any]
    col_ids: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Cells from rows such as (user, item).

    Attributes
    ----------
    row_ids, col_ids : ndarray of int or str
        The ids, each once, sorted.
    i, j : ndarray of int, shape (pairs,)
        For each row of the file, in its order, the places of its ids among them.
    """

    row_ids: NDArray[Any]
    col_ids: NDArray[Any]
    i: NDArray[np.intp]
    j: NDArray[np.intp]


def ending_of(path: str | os.PathLike[str], known: Sequence[str]) -> str:
    """Return the known ending of a file's name, or refuse the file."""
    name = os.fspath(path)
    for ending in sorted(known, key=len, reverse=True):
        if name.lower().endswith(ending):
            return ending
    raise DataFileError(f"{name}: unknown kind of file; known endings: {', '.join(known)}")


def check_readable(path: str | os.PathLike[str]) -> None:
    """Refuse what is no file, or an empty one."""
    file = Path(path)
    if not file.exists():
        raise DataFileError(f"{file}: no such file")
    if not file.is_file():
        raise DataFileError(
            f"{file}: is a {'directory' if file.is_dir() else 'device'}, not a file"
        )
    if file.stat().st_size == 0:
        raise DataFileError(f"{file}: the file is empty")


def as_float(array: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """Return numbers as float32 or float64: float32 stays, float16 fits it, the rest is float64."""
    if array.dtype.kind not in "biuf":
        raise DataFileError(f"holds {array.dtype}, not numbers")
    small = array.dtype in (np.float16, np.float32)
    return array.astype(np.float32 if small else np.float64, copy=False)


def listing(names: Sequence[str], limit: int = 20) -> str:
    """Return names for an error message, the first `limit` of many."""
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown}, … ({len(names)} in all)"
