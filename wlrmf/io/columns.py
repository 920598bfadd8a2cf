"""Columns of ids and columns of numbers, from files, data frames and vectors."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wlrmf.files import refusing
from wlrmf.io.arrays import read_npz_columns
from wlrmf.io.arrow import arrow_refusals, first_row, numbers, pyarrow, read_csv
from wlrmf.io.table import DataFileError, as_float, check_readable, ending_of, listing

IN_MEMORY = "data"  # what messages call a source that is no file


class Coded(NamedTuple):
    """A column of ids."""

    ids: NDArray[Any]  # int or str, each once, sorted
    codes: NDArray[np.intp]  # for each row of the source, the place of its id


class Columns(NamedTuple):
    """What was asked for, in that order."""

    coded: list[Coded]
    measured: list[NDArray[np.floating[Any]]]


def read_columns(source: Any, ids: Sequence[str], measures: Sequence[str]) -> Columns:
    """Read columns by name.

    Parameters
    ----------
    source : path, data frame or mapping of str to vectors
        A .csv, .parquet or .npz file; a pandas frame, or whatever hands over its columns through
        Arrow's C stream (polars, pyarrow, …).
    ids, measures : sequence of str
        Names of the columns of ids (integers or texts) and of the columns of numbers.

    Returns
    -------
    Columns

    Raises
    ------
    DataFileError
        If a column is not there, is of another kind, or misses some of its values.
    ImportError, OSError
        If pyarrow is needed and absent; if a file cannot be read.
    """
    ids, measures = list(ids), list(measures)
    read: Callable[[Any, list[str], list[str]], Columns]
    if isinstance(source, str | os.PathLike):
        read = _READERS[ending_of(source, tuple(_READERS))]
        check_readable(source)
        name = os.fspath(source)
    else:
        read, name = _from_vectors if isinstance(source, Mapping) else _from_frame, IN_MEMORY
    with refusing(name, DataFileError):
        coded, measured = read(source, ids, measures)
        for column, array in zip(measures, measured, strict=True):
            check_numbers(column, array)
        return Columns([_in_order(*each) for each in coded], measured)


def check_numbers(name: str, array: NDArray[np.floating[Any]]) -> None:
    """Refuse a column of numbers in which one is missing or infinite."""
    _refuse_missing(name, np.isnan(array))
    if np.isinf(array).any():
        row = int(np.argmax(np.isinf(array))) + 1
        raise DataFileError(f"column {name!r}: data row {row} is {array[row - 1]}")


def _from_csv(path: str | os.PathLike[str], ids: list[str], measures: list[str]) -> Columns:
    pa = pyarrow()
    header = first_row(path)
    place = {name: place_of(name, header) for name in ids + measures}
    text = pa.dictionary(pa.int32(), pa.string())
    types = {place[name]: text if name in ids else pa.float64() for name in place}
    table = read_csv(path, header, types, header=True, text_may_be_missing=True)
    column = {name: table.column(f"f{place[name]}") for name in place}
    coded = [encode_ids(column[name], name) for name in ids]
    whole = [Coded(integers_if_all_are(labels), codes) for labels, codes in coded]
    return Columns(whole, [column[name].to_numpy() for name in measures])


def _from_parquet(path: str | os.PathLike[str], ids: list[str], measures: list[str]) -> Columns:
    with arrow_refusals(), pyarrow("pyarrow.parquet").ParquetFile(os.fspath(path)) as file:
        header = file.schema_arrow.names
        for name in ids + measures:
            place_of(name, header)
        return _from_table(file.read(columns=list(dict.fromkeys(ids + measures))), ids, measures)


def _from_frame(frame: Any, ids: list[str], measures: list[str]) -> Columns:
    names = list(dict.fromkeys(ids + measures))
    with arrow_refusals():
        if type(frame).__module__.partition(".")[0] == "pandas":
            for name in names:
                place_of(name, list(frame.columns))
            table = pyarrow().Table.from_pandas(frame[names], preserve_index=False)
        elif hasattr(frame, "__arrow_c_stream__"):
            table = pyarrow().table(frame)
            for name in names:
                place_of(name, table.column_names)
        else:
            hint = "; call its .collect() first" if hasattr(frame, "collect") else ""
            raise DataFileError(
                f"is a {type(frame).__name__}{hint}; wanted a path, a data frame (pandas, polars, "
                "pyarrow, …) or a mapping of names to vectors"
            )
        return _from_table(table, ids, measures)


def _from_table(table: Any, ids: list[str], measures: list[str]) -> Columns:
    if not table.num_rows:
        raise DataFileError("has no rows")
    coded = [encode_ids(table.column(name), name) for name in ids]
    return Columns(coded, [numbers(table.column(name), name) for name in measures])


def _from_npz(path: str | os.PathLike[str], ids: list[str], measures: list[str]) -> Columns:
    return _from_vectors(read_npz_columns(path, ids + measures), ids, measures)


def _from_vectors(
    vectors: Mapping[str, Any], ids: Sequence[str], measures: Sequence[str]
) -> Columns:
    arrays = {}
    for name in (*ids, *measures):
        if name not in vectors:
            raise DataFileError(f"has no vector {name!r}; it has {listing(list(vectors))}")
        arrays[name] = _vector(vectors[name], name)
    sizes = {array.size for array in arrays.values()}
    if len(sizes) > 1 or 0 in sizes:
        lengths = ", ".join(f"{name} {array.size}" for name, array in arrays.items())
        raise DataFileError(f"wants vectors of one length, at least 1; got {lengths}")
    coded = []
    for name in ids:
        labels, codes = _encoded(arrays[name])
        if labels.dtype.kind == "f":
            _refuse_missing(name, np.isnan(arrays[name]))
        coded.append(Coded(_ids(labels, name), codes))
    return Columns(coded, [as_float(arrays[name]) for name in measures])


_READERS = {".csv": _from_csv, ".npz": _from_npz, ".parquet": _from_parquet}


def _encoded(array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the distinct entries, sorted, and each entry's place among them."""
    low, high = (int(array.min()), int(array.max())) if array.dtype.kind in "iu" else (0, 0)
    if array.dtype.kind not in "iu" or high - low > 4 * array.size:
        labels, codes = np.unique(array, return_inverse=True)
        return labels, codes
    there = np.zeros(high - low + 1, bool)  # counting is ten times faster than sorting
    wide = array if array.dtype.kind == "u" else array.astype(np.int64)  # whose range int8 lacks
    offset = (wide - wide.dtype.type(low)).astype(np.intp)
    there[offset] = True
    labels = np.flatnonzero(there).astype(wide.dtype) + wide.dtype.type(low)
    return labels, (np.cumsum(there) - 1)[offset]


def _vector(value: Any, name: str) -> NDArray[Any]:
    """A vector of numbers or texts; an object array is one if all its entries are of one kind."""
    array = np.asarray(value)
    if array.ndim != 1:
        raise DataFileError(f"{name!r} has shape {array.shape}, not (n,)")
    if isinstance(value, np.ma.MaskedArray):
        _refuse_missing(name, np.ma.getmaskarray(value))
    if array.dtype.kind != "O":
        return array
    entries = [each.item() if isinstance(each, np.generic) else each for each in array.tolist()]
    _refuse_missing(name, np.array([_is_missing(entry) for entry in entries]))
    kinds = {type(entry) for entry in entries}
    if kinds <= {str}:
        return np.array(entries, np.str_)
    low, high = (min(entries), max(entries)) if kinds <= {int} else (-math.inf, math.inf)
    if low >= -(2**63) and high < (2**64 if low >= 0 else 2**63):
        return np.array(entries, np.uint64 if high >= 2**63 else np.int64)
    if kinds <= {int, float}:
        return np.array(entries, np.float64)
    words = ", ".join(sorted(kind.__name__ for kind in kinds))
    verb = "mixes" if len(kinds) > 1 else "holds"
    raise DataFileError(f"{name!r} {verb} {words}; wanted integers of 64 bits, numbers or texts")


def _is_missing(entry: Any) -> bool:
    """None, NaN or pandas' NA, which is not even a truth value when compared."""
    return entry is None or type(entry).__name__ == "NAType" or bool(entry != entry)


def place_of(name: str, header: list[str]) -> int:
    """The place of a column; an error that lists the columns if it is not there, or twice."""
    if header.count(name) == 1:
        return header.index(name)
    found = "twice a column" if name in header else "no column"
    hint = " (are they separated by ';'?)" if len(header) == 1 and ";" in header[0] else ""
    raise DataFileError(f"has {found} {name!r}; its columns: {listing(header)}{hint}")


def encode_ids(column: Any, name: str) -> Coded:
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
        return Coded(_ids(labels.to_numpy(), name), array.indices.to_numpy())
    return Coded(
        np.array(labels.cast(pa.string()).to_pylist(), dtype=np.str_), array.indices.to_numpy()
    )


def _ids(labels: NDArray[Any], name: str) -> NDArray[Any]:
    """Return labels that are integers or texts; whole floats are integers."""
    if labels.dtype.kind in "iuU":
        return labels
    if labels.dtype.kind == "f" and np.all(np.abs(labels) < 2**53) and np.all(labels % 1 == 0):
        return labels.astype(np.int64)
    raise DataFileError(f"column {name!r} holds {labels.dtype}; ids are integers or texts")


def integers_if_all_are(labels: NDArray[np.str_]) -> NDArray[Any]:
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
    return Coded(ids, number[codes])


def _refuse_missing(name: str, missing: NDArray[np.bool_]) -> None:
    count = np.count_nonzero(missing)
    if count:
        raise DataFileError(
            f"column {name!r} is missing (empty, NA, NaN, null …) in {count} rows; "
            f"the first is data row {int(np.argmax(missing)) + 1}"
        )
