"""Rows such as (user, item, rating), turned into a sparse matrix."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from wlrmf.files import refusing
from wlrmf.io.arrays import read_npz_columns
from wlrmf.io.arrow import arrow_refusals, first_row, numbers, pyarrow, read_csv
from wlrmf.io.table import (
    DataFileError,
    Pairs,
    Triplets,
    as_float,
    check_readable,
    ending_of,
    listing,
)

# The ids of a column without repetition, and for each of the file's rows an index into them.
Coded = tuple[NDArray[Any], NDArray[np.intp]]
Columns = tuple[list[Coded], list[NDArray[np.floating[Any]]]]


def read_triplets(
    path: str | os.PathLike[str],
    *,
    rows: str,
    cols: str,
    values: str | None = None,
    weights: str | None = None,
) -> Triplets:
    """Read a matrix that is given by its observed cells, one a row of the file.

    Parameters
    ----------
    path : str or path-like
        A .csv file with a header, a .parquet file, or a .npz file of vectors.
    rows, cols : str
        Names of the columns with the ids, integers or texts. Ids become indices in sorted order:
        integers by value, texts by code point. In a .csv file ids are integers when all of them
        are written as integers are, without leading zeros or points.
    values, weights : str, optional
        Names of the columns of values (every value is 1 without) and of weights.

    Returns
    -------
    Triplets
        The sparse matrix, the weights on the same entries, and the ids.

    Raises
    ------
    DataFileError
        If a column, an id or a number is missing, a cell not a number, a pair of ids there twice,
        or the file absent, empty, damaged or of an unknown kind.
    ImportError, OSError
        If pyarrow is needed and absent; if the file cannot be read.
    """
    ids = [rows, cols]
    measures = [name for name in (values, weights) if name is not None]
    if rows == cols or {rows, cols} & set(measures):
        raise ValueError(f"`rows` and `cols` must be columns of their own; got {ids + measures}")
    read = _READERS[ending_of(path, tuple(_READERS))]
    check_readable(path)
    with refusing(path, DataFileError):
        coded, measured = read(path, ids, measures)
        (row_ids, i), (col_ids, j) = (_in_order(*each) for each in coded)
        for name, array in zip(measures, measured, strict=True):
            _refuse_missing(name, np.isnan(array))
        _refuse_repeated(i, j, f"`{rows}` and `{cols}`", row_ids, col_ids)
    if values is None:
        measured.insert(0, np.ones(i.size))
    matrices = [sparse.coo_array((a, (i, j)), (row_ids.size, col_ids.size)) for a in measured]
    return Triplets(matrices[0], matrices[1] if weights is not None else None, row_ids, col_ids)


def read_pairs(path: str | os.PathLike[str], *, rows: str, cols: str) -> Pairs:
    """Read a list of cells, which may repeat, such as those to predict.

    Parameters
    ----------
    path, rows, cols : str
        As in :func:`read_triplets`.

    Returns
    -------
    Pairs
        The ids, and the cells in the file's order.

    Raises
    ------
    DataFileError
        If a column or an id is missing, or the file absent, empty, damaged or of an unknown kind.
    ImportError, OSError
        If pyarrow is needed and absent; if the file cannot be read.
    """
    if rows == cols:
        raise ValueError(f"`rows` and `cols` must be two columns; got {rows!r} twice")
    read = _READERS[ending_of(path, tuple(_READERS))]
    check_readable(path)
    with refusing(path, DataFileError):
        coded, _ = read(path, [rows, cols], [])
        (row_ids, i), (col_ids, j) = (_in_order(*each) for each in coded)
    return Pairs(row_ids, col_ids, i, j)


def _from_csv(path: str | os.PathLike[str], ids: list[str], measures: list[str]) -> Columns:
    pa = pyarrow()
    header = first_row(path)
    place = {name: _place(name, header) for name in ids + measures}
    text = pa.dictionary(pa.int32(), pa.string())
    types = {place[name]: text if name in ids else pa.float64() for name in place}
    table = read_csv(path, header, types, header=True, text_may_be_missing=True)
    column = {name: table.column(f"f{place[name]}") for name in place}
    coded = [_coded(column[name], name) for name in ids]
    whole = [(_integers_if_all_are(labels), codes) for labels, codes in coded]
    return whole, [column[name].to_numpy() for name in measures]


def _from_parquet(path: str | os.PathLike[str], ids: list[str], measures: list[str]) -> Columns:
    with arrow_refusals(), pyarrow("pyarrow.parquet").ParquetFile(os.fspath(path)) as file:
        header = file.schema_arrow.names
        for name in ids + measures:
            _place(name, header)
        table = file.read(columns=list(dict.fromkeys(ids + measures)))
        if not table.num_rows:
            raise DataFileError("has no rows")
        coded = [_coded(table.column(name), name) for name in ids]
        return coded, [numbers(table.column(name), name) for name in measures]


def _from_npz(path: str | os.PathLike[str], ids: list[str], measures: list[str]) -> Columns:
    arrays = read_npz_columns(path, ids + measures)
    sizes = {array.size for array in arrays.values()}
    if len(sizes) > 1 or 0 in sizes:
        lengths = ", ".join(f"{name} {array.size}" for name, array in arrays.items())
        raise DataFileError(f"wants vectors of one length, at least 1; got {lengths}")
    coded = []
    for name in ids:
        labels, codes = np.unique(arrays[name], return_inverse=True)
        if labels.dtype.kind == "f":
            _refuse_missing(name, np.isnan(arrays[name]))
        coded.append((_ids(labels, name), codes))
    return coded, [as_float(arrays[name]) for name in measures]


_READERS = {".csv": _from_csv, ".npz": _from_npz, ".parquet": _from_parquet}


def _place(name: str, header: list[str]) -> int:
    if header.count(name) == 1:
        return header.index(name)
    found = "twice a column" if name in header else "no column"
    raise DataFileError(f"has {found} {name!r}; its columns: {listing(header)}")


def _coded(column: Any, name: str) -> Coded:
    """Return the labels of a pyarrow column of ids, and each row's index into them."""
    pa, types = pyarrow(), pyarrow("pyarrow.types")
    _refuse_missing(name, column.is_null().to_numpy())
    if types.is_nested(column.type):
        raise DataFileError(f"column {name!r} holds {column.type}; ids are integers or texts")
    if not types.is_dictionary(column.type):
        if types.is_floating(column.type):
            _refuse_missing(name, np.isnan(column.to_numpy()))
        elif not types.is_integer(column.type):
            column = column.cast(pa.string())  # dates too: their ISO form sorts as they do
        column = column.dictionary_encode()
    array = column.unify_dictionaries().combine_chunks()
    labels = array.dictionary
    if types.is_integer(labels.type) or types.is_floating(labels.type):
        return _ids(labels.to_numpy(), name), array.indices.to_numpy()
    return np.array(labels.cast(pa.string()).to_pylist(), dtype=np.str_), array.indices.to_numpy()


def _ids(labels: NDArray[Any], name: str) -> NDArray[Any]:
    """Return labels that are integers or texts; whole floats are integers."""
    if labels.dtype.kind in "iuU":
        return labels
    if labels.dtype.kind == "f" and np.all(np.abs(labels) < 2**53) and np.all(labels % 1 == 0):
        return labels.astype(np.int64)
    raise DataFileError(f"column {name!r} holds {labels.dtype}; ids are integers or texts")


def _integers_if_all_are(labels: NDArray[np.str_]) -> NDArray[Any]:
    """Return integers if every label is written as one, so that 007 stays a text."""
    try:
        whole = np.array([int(label) for label in labels], dtype=np.int64)
    except (ValueError, OverflowError):
        return labels
    return whole if np.array_equal(whole.astype(np.str_), labels) else labels


def _in_order(labels: NDArray[Any], codes: NDArray[Any]) -> Coded:
    """Sort the labels, drop those that no row has, and renumber the rows."""
    used = np.flatnonzero(np.bincount(codes, minlength=labels.size))
    ids, rank = np.unique(labels[used], return_inverse=True)
    number = np.zeros(labels.size, dtype=np.intp)
    number[used] = rank
    return ids, number[codes]


def _refuse_missing(name: str, missing: NDArray[np.bool_]) -> None:
    count = np.count_nonzero(missing)
    if count:
        raise DataFileError(
            f"column {name!r} is missing (empty, NA, NaN, null …) in {count} rows; "
            f"the first is data row {int(np.argmax(missing)) + 1}"
        )


def _refuse_repeated(
    i: NDArray[np.intp], j: NDArray[np.intp], what: str, rows: NDArray[Any], cols: NDArray[Any]
) -> None:
    cell = i * cols.size + j
    in_order = np.sort(cell)
    count = np.count_nonzero(in_order[1:] == in_order[:-1])
    if not count:
        return
    order = np.argsort(cell, kind="stable")
    again = order[1:][cell[order[1:]] == cell[order[:-1]]]
    first = int(again.min())
    pair = f"({rows[i[first]]}, {cols[j[first]]})"
    raise DataFileError(
        f"{count} rows repeat an earlier pair of {what}; the first is data row {first + 1}: {pair}"
    )
