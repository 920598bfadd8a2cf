"""The one way to read a matrix, whatever its file."""

from __future__ import annotations

import os

from wlrmf.files import refusing
from wlrmf.io.arrays import read_npy_matrix, read_npz_matrix
from wlrmf.io.arrow import read_csv_matrix, read_parquet_matrix
from wlrmf.io.market import read_mtx_matrix
from wlrmf.io.table import MATRIX_ENDINGS, DataFileError, Table, check_readable, ending_of


def read_matrix(
    path: str | os.PathLike[str], *, key: str | None = None, header: bool | None = None
) -> Table:
    """Read a matrix from a csv, parquet, npy, npz or Matrix Market file.

    Parameters
    ----------
    path : str or path-like
        The file; its ending (.csv, .parquet, .npy, .npz, .mtx, .mtx.gz) says what it is.
    key : str, optional
        Which array of a .npz file, needed when several are matrices.
    header : bool, optional
        Whether the first row of a .csv file holds column names. By default it does when one of
        its cells is neither a number nor missing, so names that are all numbers need `header=True`
        and rows that begin with a name, without a header above them, `header=False`.

    Returns
    -------
    Table
        Values and names. The first column of a .csv or .parquet file holds row names when it has
        more text than numbers, when its header cell is empty, or when pandas wrote it as an index.
        Empty cells, NA, NaN, null and the like are missing. A matrix that scipy saved as .npz or
        .mtx stays sparse. float32 stays float32; everything else becomes float64.

    Raises
    ------
    DataFileError
        If the file is absent, empty, of an unknown kind, damaged, or holds no matrix of numbers.
    ImportError
        If pyarrow is needed and absent.
    OSError
        If the file cannot be read.
    """
    ending = ending_of(path, MATRIX_ENDINGS)
    if key is not None and ending != ".npz":
        raise ValueError(
            f"`key` chooses an array of a .npz file; got {key!r} for {os.fspath(path)}"
        )
    if header is not None and ending != ".csv":
        raise ValueError(f"`header` is for .csv files; got {header!r} for {os.fspath(path)}")
    check_readable(path)
    with refusing(path, DataFileError):
        if ending == ".npz":
            return read_npz_matrix(path, key)
        if ending == ".csv":
            return read_csv_matrix(path, header)
        read = {".npy": read_npy_matrix, ".parquet": read_parquet_matrix}
        return read.get(ending, read_mtx_matrix)(path)
