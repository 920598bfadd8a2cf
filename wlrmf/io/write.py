"""Results as csv, parquet or npy files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wlrmf.files import replacing
from wlrmf.io.arrow import pyarrow
from wlrmf.io.table import COLUMNS_ENDINGS, WRITTEN_ENDINGS, ending_of

Names = Sequence[Any] | NDArray[Any]


def write_matrix(
    path: str | os.PathLike[str],
    values: ArrayLike,
    row_names: Names | None = None,
    col_names: Names | None = None,
) -> None:
    """Write a dense matrix to a .csv, .parquet or .npy file, whole or not at all.

    Parameters
    ----------
    path : str or path-like
        Where to; the ending says what is written.
    values : array_like of numbers, shape (m, n)
        NaN becomes an empty cell of a .csv file.
    row_names, col_names : sequence, optional
        m and n names. A .npy file holds none. A .csv file has a header when it has names of
        either kind, columns without a name being called 0, 1, …

    Raises
    ------
    ValueError
        If `values` is not a matrix of numbers or the names are not as many as its rows or columns.
    DataFileError
        If the ending is none of the three.
    ImportError
        If pyarrow is needed and absent.
    OSError
        If writing fails; an old file at `path` is then intact.
    """
    ending = ending_of(path, WRITTEN_ENDINGS)
    matrix = _checked(values, row_names, col_names)
    if ending == ".npy":
        with replacing(path) as stream:
            np.save(stream, matrix, allow_pickle=False)
        return
    if matrix.dtype == np.bool_:
        matrix = matrix.astype(np.uint8)  # "true" would be a text to whoever reads numbers
    header = [str(name) for name in (range(matrix.shape[1]) if col_names is None else col_names)]
    columns = list(matrix.T)
    if row_names is not None:
        # An empty corner is how csv files say that the first column holds names.
        header.insert(0, "" if ending == ".csv" else "row")
        columns.insert(0, np.array([str(name) for name in row_names], dtype=np.str_))
    _write_table(path, ending, header, columns, row_names is not None or col_names is not None)


def _checked(values: ArrayLike, row_names: Names | None, col_names: Names | None) -> NDArray[Any]:
    matrix = np.asarray(values)
    if matrix.ndim != 2 or matrix.dtype.kind not in "biuf":
        raise ValueError(
            f"`values` must be a matrix of numbers; got {matrix.dtype} of shape {matrix.shape}"
        )
    for argument, names, size in zip(
        ("row_names", "col_names"), (row_names, col_names), matrix.shape, strict=True
    ):
        if names is not None and len(names) != size:
            raise ValueError(
                f"`{argument}` must hold {size} names for values of shape {matrix.shape}; "
                f"got {len(names)}"
            )
    return matrix


def write_columns(path: str | os.PathLike[str], columns: Mapping[str, ArrayLike]) -> None:
    """Write named columns, such as user, item and prediction, to a .csv or .parquet file.

    Parameters
    ----------
    path : str or path-like
        Where to; the ending says what is written.
    columns : mapping of str to array_like, shape (n,)
        Numbers or texts, all of one length.

    Raises
    ------
    ValueError
        If the columns are not vectors of one length.
    DataFileError
        If the ending is neither .csv nor .parquet.
    ImportError
        If pyarrow is needed and absent.
    OSError
        If writing fails; an old file at `path` is then intact.
    """
    ending = ending_of(path, COLUMNS_ENDINGS)
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) != 1 or len(next(iter(shapes.values()))) != 1:
        raise ValueError(f"`columns` must hold vectors of one length; got shapes {shapes}")
    _write_table(path, ending, list(arrays), list(arrays.values()), True)


def _write_table(
    path: str | os.PathLike[str],
    ending: str,
    header: list[str],
    columns: list[NDArray[Any]],
    with_header: bool,
) -> None:
    pa = pyarrow()
    table = pa.table([_arrow_column(array, ending) for array in columns], names=header)
    with replacing(path) as stream:
        if ending == ".csv":
            module = pyarrow("pyarrow.csv")
            module.write_csv(table, stream, module.WriteOptions(include_header=with_header))
        else:
            pyarrow("pyarrow.parquet").write_table(table, stream)


def _arrow_column(array: NDArray[Any], ending: str) -> Any:
    pa = pyarrow()
    if array.dtype.kind == "U":
        return pa.array(array.tolist(), pa.string())
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    # Only a csv file needs nulls for its empty cells; parquet holds NaN as it is.
    return pa.array(native, from_pandas=ending == ".csv")
