"""Matrices in numpy's and scipy's own files."""

from __future__ import annotations

import os
import zipfile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from wlrmf.files import NpyHeader, plain_dtype, read_npy, read_npy_header
from wlrmf.io.table import DataFileError, Table, as_float, listing

_SPARSE_KEYS = {"format", "shape", "data"}


def read_npy_matrix(path: str | os.PathLike[str]) -> Table:
    """Read the matrix of a ``.npy`` file."""
    with open(path, "rb") as stream:
        array = read_npy(stream, os.fstat(stream.fileno()).st_size)
    return Table(_dense(array))


def read_npz_matrix(path: str | os.PathLike[str], key: str | None) -> Table:
    """Read the one matrix of a ``.npz`` file, the one called `key`, or a saved sparse matrix."""
    with zipfile.ZipFile(path) as archive:
        headers = _headers(archive)
        if not headers.keys() >= _SPARSE_KEYS:
            name = _choose(headers, key)
            return Table(_dense(read_member(archive, name)))
    if key is not None:
        raise DataFileError(f"is one sparse matrix; it has no key {key!r}")
    try:
        return Table(_sparse(sparse.load_npz(path)))
    except (KeyError, TypeError) as error:
        raise DataFileError(f"is not a whole sparse matrix: {error}") from error


def read_npz_columns(path: str | os.PathLike[str], names: list[str]) -> dict[str, NDArray[Any]]:
    """Read vectors of a ``.npz`` file by name."""
    with zipfile.ZipFile(path) as archive:
        headers = _headers(archive)
        for name in names:
            if name not in headers:
                raise DataFileError(f"has no array {name!r}; it has {listing(list(headers))}")
            if len(headers[name].shape) != 1:
                raise DataFileError(f"array {name!r} has shape {headers[name].shape}, not (n,)")
        return {name: read_member(archive, name) for name in names}


def read_member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Read one array of an opened ``.npz`` file."""
    info = archive.getinfo(f"{name}.npy")
    member: IO[bytes]
    with archive.open(info) as member:
        try:
            return read_npy(member, info.file_size)
        except ValueError as error:
            raise DataFileError(f"array {name!r}: {error}") from error


def _headers(archive: zipfile.ZipFile) -> dict[str, NpyHeader]:
    """Return what each array says of itself, held against its size."""
    headers: dict[str, NpyHeader] = {}
    member: IO[bytes]
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name == info.filename:
            continue
        if name in headers:
            raise DataFileError(f"array {name!r} is there twice")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataFileError(f"array {name!r} is compressed in a way that numpy does not use")
        with archive.open(info) as member:
            try:
                headers[name] = read_npy_header(member, info.file_size)
            except ValueError as error:
                raise DataFileError(f"array {name!r}: {error}") from error
    return headers


def _choose(headers: dict[str, NpyHeader], key: str | None) -> str:
    if key is not None:
        if key not in headers:
            raise DataFileError(f"has no array {key!r}; it has {listing(list(headers))}")
        return key
    matrices = [
        name
        for name, header in headers.items()
        if len(header.shape) == 2 and header.dtype.kind != "U" and plain_dtype(header.dtype)
    ]
    if len(matrices) != 1:
        arrays = listing([f"{name} {h.shape} {h.dtype}" for name, h in headers.items()])
        if not matrices:
            raise DataFileError(f"holds no matrix of numbers; it has {arrays}")
        raise DataFileError(f"holds {len(matrices)} matrices; choose one by `key` of: {arrays}")
    return matrices[0]


def _dense(array: NDArray[Any]) -> NDArray[np.floating[Any]]:
    if array.ndim != 2:
        raise DataFileError(f"holds an array of shape {array.shape}; a matrix is wanted")
    return as_float(array)


def _sparse(matrix: Any) -> sparse.csr_array | sparse.coo_array:
    """Return a sound sparse matrix by rows if it is stored so, otherwise entry by entry.

    Row pointers for a file that has none could take any amount of memory: its shape is a claim.
    """
    if hasattr(matrix, "check_format"):
        matrix.check_format(full_check=True)
    if matrix.format == "dia":
        matrix = _entries_of_diagonals(matrix)
    kind = sparse.csr_array if matrix.format == "csr" else sparse.coo_array
    result = kind(matrix)
    result.data = as_float(result.data)
    return result


def _entries_of_diagonals(matrix: Any) -> sparse.coo_array:
    """The entries other than 0 that lie within the shape; scipy's own way is over row pointers."""
    cols = np.broadcast_to(np.arange(matrix.data.shape[1]), matrix.data.shape)
    rows = cols - matrix.offsets.astype(np.int64)[:, None]
    (m, n), there = matrix.shape, matrix.data != 0
    there &= (rows >= 0) & (rows < m) & (cols < n)
    return sparse.coo_array((matrix.data[there], (rows[there], cols[there])), shape=(m, n))
