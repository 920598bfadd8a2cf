"""Rows such as (user, item, rating), turned into a sparse matrix."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from wlrmf.files import refusing
from wlrmf.io.columns import IN_MEMORY, read_columns
from wlrmf.io.table import DataFileError, Pairs, Triplets
from wlrmf.validation.arrays import cell_numbers

DUPLICATES = ("error", "sum", "mean", "last")


def read_triplets(
    source: Any,
    *,
    rows: str,
    cols: str,
    values: str | None = None,
    weights: str | None = None,
    duplicates: str = "error",
) -> Triplets:
    """Read a matrix that is given by its observed cells, one a row of the source.

    Parameters
    ----------
    source : path, data frame or mapping of str to vectors
        A .csv file with a header, a .parquet file, or a .npz file of vectors; a pandas, polars or
        pyarrow table, or anything else that hands over its columns through Arrow's C stream; a
        dict of vectors.
    rows, cols : str
        Names of the columns with the ids, integers or texts. Ids become indices in sorted order:
        integers by value, texts by code point. In a .csv file ids are integers when all of them
        are written as integers are, without leading zeros or points.
    values, weights : str, optional
        Names of the columns of values (every value is 1 without) and of weights.
    duplicates : {"error", "sum", "mean", "last"}
        What several rows of one cell make: an error, the sum of their values (and of their
        weights), the mean of their values, weighted (and of their weights), or the last of them.

    Returns
    -------
    Triplets
        The sparse matrix, the weights on the same entries, and the ids.

    Raises
    ------
    DataFileError
        If a column, an id or a number is missing, a cell not a number, a pair of ids there twice
        (with ``duplicates="error"``), or the file absent, empty, damaged or of an unknown kind.
    ImportError, OSError
        If pyarrow is needed and absent; if the file cannot be read.
    """
    ids = [rows, cols]
    measures = [name for name in (values, weights) if name is not None]
    if rows == cols or {rows, cols} & set(measures):
        raise ValueError(f"`rows` and `cols` must be columns of their own; got {ids + measures}")
    if duplicates not in DUPLICATES:
        raise ValueError(f"`duplicates` must be one of {DUPLICATES}; got {duplicates!r}")
    (row_ids, i), (col_ids, j) = (columns := read_columns(source, ids, measures)).coded
    measured = list(columns.measured)
    if values is None:
        measured.insert(0, np.ones(i.size))
    value, weight = measured[0], measured[1] if weights is not None else None
    shape = (row_ids.size, col_ids.size)
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else IN_MEMORY
    with refusing(name, DataFileError):
        if duplicates == "error":
            _refuse_repeated(i, j, f"{rows!r} and {cols!r}", row_ids, col_ids)
        else:
            i, j, value, weight = merged(i, j, value, weight, shape[1], duplicates)
    return Triplets(
        sparse.coo_array((value, (i, j)), shape),
        None if weight is None else sparse.coo_array((weight, (i, j)), shape),
        row_ids,
        col_ids,
    )


def read_pairs(source: Any, *, rows: str, cols: str) -> Pairs:
    """Read a list of cells, which may repeat, such as those to predict.

    Parameters
    ----------
    source, rows, cols
        As in :func:`read_triplets`.

    Returns
    -------
    Pairs
        The ids, and the cells in the source's order.

    Raises
    ------
    DataFileError
        If a column or an id is missing, or the file absent, empty, damaged or of an unknown kind.
    ImportError, OSError
        If pyarrow is needed and absent; if the file cannot be read.
    """
    if rows == cols:
        raise ValueError(f"`rows` and `cols` must be two columns; got {rows!r} twice")
    (row_ids, i), (col_ids, j) = read_columns(source, [rows, cols], []).coded
    return Pairs(row_ids, col_ids, i, j)


def merged(
    i: NDArray[np.intp],
    j: NDArray[np.intp],
    value: NDArray[Any],
    weight: NDArray[Any] | None,
    n_cols: int,
    duplicates: str,
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any], NDArray[Any] | None]:
    """One entry a cell: the sum, mean or last of its entries, cells in order."""
    cell = cell_numbers(i, j, n_cols)
    order = np.argsort(cell, kind="stable")
    fresh = np.diff(cell[order], prepend=-1) != 0
    first = np.flatnonzero(fresh)
    if duplicates == "last":
        last = order[np.append(first[1:], cell.size) - 1]
        return i[last], j[last], value[last], None if weight is None else weight[last]
    count = np.diff(np.append(first, cell.size))
    kept = order[first]
    if duplicates == "sum":
        value = np.add.reduceat(value[order], first)
        weight = None if weight is None else np.add.reduceat(weight[order], first)
    elif weight is None:
        value = np.add.reduceat(value[order], first) / count
    else:
        total = np.add.reduceat(weight[order], first)
        product = np.add.reduceat((value * weight)[order], first)
        plain = np.add.reduceat(value[order], first) / count  # where all weights are 0
        value = np.divide(product, total, out=plain, where=total > 0)
        weight = total / count
    return i[kept], j[kept], value, weight


def _refuse_repeated(
    i: NDArray[np.intp], j: NDArray[np.intp], what: str, rows: NDArray[Any], cols: NDArray[Any]
) -> None:
    cell = cell_numbers(i, j, cols.size)
    in_order = np.sort(cell)
    count = np.count_nonzero(in_order[1:] == in_order[:-1])
    if not count:
        return
    order = np.argsort(cell, kind="stable")
    again = order[1:][cell[order[1:]] == cell[order[:-1]]]
    first = int(again.min())
    pair = f"({rows[i[first]]}, {cols[j[first]]})"
    raise DataFileError(
        f"{count} rows repeat an earlier pair of {what}; "
        f"the first is data row {first + 1}: {pair}; "
        '`duplicates` "last", "mean" or "sum" says what becomes of them'
    )
