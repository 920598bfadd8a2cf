"""Csv and parquet files through pyarrow."""

from __future__ import annotations

import csv
import importlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wlrmf.io.table import DataFileError, Table

_MARKERS = ("NA", "N/A", "#N/A", "n/a", "NaN", "nan", "-nan", "NULL", "Null", "null", "None")
MISSING = ["", " ", *_MARKERS, *(f" {marker}" for marker in _MARKERS)]


def pyarrow(module: str = "pyarrow") -> Any:
    """Import pyarrow or one of its modules, or say how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            "csv and parquet files need pyarrow: pip install 'wlrmf[io]'", name=error.name
        ) from error


def read_csv_matrix(path: str | os.PathLike[str], header: bool | None) -> Table:
    """Read a csv file of numbers, with or without names; see :func:`wlrmf.io.read_matrix`."""
    pa = pyarrow()
    first = first_row(path)
    if header is None:
        header = _is_header(first)
    # The first column may hold names, and is known only when it is read as text.
    types = {0: pa.string()} | {j: pa.float64() for j in range(1, len(first))}
    table = read_csv(path, first, types, header=header)
    names = first if header else None
    corner = table.column(0)
    numbers = None if names and not names[0].strip() else _column_of_numbers(corner, names)
    columns = [column.to_numpy() for column in table.columns[1:]]
    if numbers is not None:
        return Table(_stack([numbers, *columns]), None, _names(names))
    if not columns:
        raise DataFileError(f"column {_label(names, 0)} holds text, and there is no other")
    row_names = np.array(corner.to_pylist(), dtype=np.str_)
    return Table(_stack(columns), row_names, _names(names and names[1:]))


def first_row(path: str | os.PathLike[str]) -> list[str]:
    """Return the cells of a csv file's first row that is not blank."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            first = next((row for row in csv.reader(stream) if any(map(str.strip, row))), None)
    except UnicodeDecodeError as error:
        raise DataFileError("not a text in UTF-8") from error
    except csv.Error as error:
        raise DataFileError(f"not a csv file ({error})") from error
    if first is None:
        raise DataFileError("the file is empty")
    return first


def read_csv(
    path: str | os.PathLike[str],
    first: Sequence[str],
    types: dict[int, Any],
    *,
    header: bool,
    text_may_be_missing: bool = False,
) -> Any:
    """Read columns of a csv file by position.

    Parameters
    ----------
    path, first : str or path-like, sequence of str
        The file and its first row.
    types : dict of int to pyarrow type
        The columns to read by position, which the result calls f0, f1, …
    header : bool
        Whether the first row holds names.
    text_may_be_missing : bool
        Whether unquoted empty cells and markers such as NA are missing in columns of text too.

    Returns
    -------
    pyarrow.Table
        With at least one row.
    """
    pa, module = pyarrow(), pyarrow("pyarrow.csv")
    some = len(types) < len(first)
    convert = module.ConvertOptions(
        column_types={f"f{j}": kind for j, kind in types.items()},
        # pyarrow takes its time to choose columns: where all are wanted, none are chosen.
        include_columns=[f"f{j}" for j in types] if some else [],
        null_values=MISSING,
        strings_can_be_null=text_may_be_missing,
        quoted_strings_can_be_null=not text_may_be_missing,
    )
    threaded, serial, parse = _csv_options(first, header)
    try:
        table = module.read_csv(path, threaded, parse, convert)
    except pa.ArrowException:
        try:
            table = module.read_csv(path, serial, parse, convert)  # knows the row's number
        except pa.ArrowException as error:
            raise DataFileError(_reason(str(error), first if header else None)) from error
    if (_width(path, first, header) if some else table.num_columns) != len(first):
        raise DataFileError("its quotes or line ends can be read in more than one way")
    if not table.num_rows:
        raise DataFileError("has a header and no rows")
    return table


def _width(path: str | os.PathLike[str], first: Sequence[str], header: bool) -> int:
    """Return the number of columns that pyarrow sees."""
    _, serial, parse = _csv_options(first, header)
    with arrow_refusals(), pyarrow("pyarrow.csv").open_csv(path, serial, parse) as reader:
        return len(reader.schema)


def _csv_options(first: Sequence[str], header: bool) -> tuple[Any, Any, Any]:
    """Return pyarrow's options of reading with threads, reading without, and parsing."""
    module = pyarrow("pyarrow.csv")
    # pyarrow wants whole rows within a block: room for the first, and for one of long numbers.
    block = max(1 << 20, 4 * sum(map(len, first)) + 32 * len(first))
    threaded, serial = (
        module.ReadOptions(
            autogenerate_column_names=True,
            skip_rows_after_names=int(header),
            use_threads=use_threads,
            block_size=min(block, 2**31 - 1),
        )
        for use_threads in (True, False)
    )
    # In a file of one column an empty line is a missing cell, elsewhere it is nothing.
    parse = module.ParseOptions(newlines_in_values=True, ignore_empty_lines=len(first) > 1)
    return threaded, serial, parse


def read_parquet_matrix(path: str | os.PathLike[str]) -> Table:
    """Read the columns of numbers of a parquet file; see :func:`wlrmf.io.read_matrix`."""
    with arrow_refusals(), pyarrow("pyarrow.parquet").ParquetFile(os.fspath(path)) as file:
        table = file.read()
        index = [name for name in _pandas_index(table) if name in table.column_names]
        if len(index) > 1:
            raise DataFileError(f"has an index of {len(index)} columns; at most one is read")
        row_names = None
        place = table.column_names.index(index[0]) if index else 0
        if table.num_columns and (index or not is_number(table.column(place).type)):
            row_names = np.array(texts(table.column(place)), dtype=np.str_)
            table = table.remove_column(place)
        if not table.num_columns or not table.num_rows:
            raise DataFileError("has no cells")
        columns = [numbers(column, name) for name, column in named_columns(table)]
        return Table(_stack(columns), row_names, _names(table.column_names))


@contextmanager
def arrow_refusals() -> Iterator[None]:
    """Turn pyarrow's errors about a file's content into ours."""
    try:
        yield
    except pyarrow().ArrowException as error:
        raise DataFileError(str(error)) from error


def named_columns(table: Any) -> Iterator[tuple[str, Any]]:
    """Yield names and columns; names may repeat."""
    yield from zip(table.column_names, table.columns, strict=True)


def is_number(kind: Any) -> bool:
    """Whether a column of this type can be a column of a matrix."""
    types = pyarrow("pyarrow.types")
    return bool(
        types.is_floating(kind)
        or types.is_integer(kind)
        or types.is_boolean(kind)
        or types.is_decimal(kind)
        or types.is_null(kind)
    )


def numbers(column: Any, name: str) -> NDArray[np.floating[Any]]:
    """Return a column of numbers, NaN where it is null."""
    pa = pyarrow()
    if not is_number(column.type):
        raise DataFileError(f"column {name!r} holds {column.type}, not numbers")
    if not pyarrow("pyarrow.types").is_floating(column.type):
        column = column.cast(pa.float64(), safe=False)
    array: NDArray[Any] = column.to_numpy()
    return array.astype(np.float32) if array.dtype == np.float16 else array


def texts(column: Any) -> list[str]:
    """Return a column as texts, empty where it is null."""
    return ["" if value is None else str(value) for value in column.to_pylist()]


def _pandas_index(table: Any) -> list[str]:
    """Return the columns that pandas wrote as an index; a plain 0, 1, … is no column."""
    metadata = table.schema.pandas_metadata or {}
    return [name for name in metadata.get("index_columns", []) if isinstance(name, str)]


def _is_header(first: Sequence[str]) -> bool:
    """Whether a first row holds names: a text among them, or the header 0, 1, … of pandas."""
    if any(cell.strip() not in MISSING and not _is_number_text(cell) for cell in first):
        return True
    return len(first) > 1 and list(first) == ["", *map(str, range(len(first) - 1))]


def _is_number_text(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # which Python allows within numbers


def _column_of_numbers(column: Any, names: Sequence[str] | None) -> NDArray[np.float64] | None:
    """Return a column of text as numbers, or None when it holds more text than numbers."""
    cells = [None if text in MISSING else text for text in column.to_pylist()]
    bad = [i for i, text in enumerate(cells) if text is not None and not _is_number_text(text)]
    if 2 * len(bad) > len(cells) - cells.count(None):
        return None
    if bad:
        row = bad[0] + 1 + (names is not None)
        raise DataFileError(_not_a_number(_label(names, 0), cells[bad[0]], row))
    return np.array([np.nan if text is None else float(text) for text in cells])


def _stack(columns: Sequence[NDArray[Any]]) -> NDArray[np.floating[Any]]:
    values = np.empty((len(columns[0]), len(columns)), np.result_type(*columns))
    for j, column in enumerate(columns):
        values[:, j] = column
    return values


def _names(names: Sequence[str] | None) -> NDArray[np.str_] | None:
    return None if names is None else np.array(names, dtype=np.str_)


def _label(names: Sequence[str] | None, j: int) -> str:
    return repr(names[j]) if names is not None and j < len(names) else str(j + 1)


def _not_a_number(column: str, value: str | None, row: object) -> str:
    where = f"row {row}, " if row else ""
    return f"{where}column {column}: {value!r} is not a number"


def _reason(message: str, names: Sequence[str] | None) -> str:
    """Say pyarrow's message with the names of the file."""
    cell = re.search(r"column #(\d+): (?:Row #(\d+): )?.* invalid value '(.*)'", message, re.S)
    if cell:
        return _not_a_number(_label(names, int(cell[1])), cell[3], cell[2])
    ragged = re.search(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)", message)
    if ragged:
        return f"row {ragged[1] or '?'} has {ragged[3]} columns, the first has {ragged[2]}"
    if "UTF8" in message:
        return "not a text in UTF-8"
    return message
