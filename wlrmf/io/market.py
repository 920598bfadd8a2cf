"""Matrix Market files, plain or compressed by gzip."""

from __future__ import annotations

import gzip
import itertools
import os
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray
from scipy import io as scipy_io
from scipy import sparse

from wlrmf.io.table import DataFileError, Table


def read_mtx_matrix(path: str | os.PathLike[str]) -> Table:
    """Read a Matrix Market file of real numbers.

    scipy reads the header and numpy the body: scipy's own reader of bodies can end the process on
    a number of many digits or on a last line without an end.
    """
    rows, cols, entries, layout, field, symmetry = scipy_io.mminfo(os.fspath(path))
    if field == "complex":
        raise DataFileError("holds complex numbers")
    width = 1 if layout == "array" else 2 if field == "pattern" else 3
    body = _read_body(path, width, entries) if entries else np.empty((0, width))
    if layout == "array":
        return Table(_dense(body[:, 0], rows, cols, symmetry))
    if len(body) != entries:
        held = len(body) if len(body) < entries else "more"
        raise DataFileError(f"promises {entries} entries and holds {held}")
    place = body[:, :2]
    within = (place >= 1) & (place <= (rows, cols)) & (place == np.floor(place))
    if not within.all():
        first = int(np.argmin(within.all(axis=1)))
        raise DataFileError(
            f"entry {first + 1} is at ({place[first, 0]:g}, {place[first, 1]:g}) "
            f"of a {rows} × {cols} matrix"
        )
    values = body[:, 2] if width == 3 else np.ones(len(body))
    i, j = place.T.astype(np.int64) - 1
    if symmetry != "general":
        mirrored = i != j
        sign = -1 if symmetry == "skew-symmetric" else 1
        values = np.concatenate([values, sign * values[mirrored]])
        i, j = np.concatenate([i, j[mirrored]]), np.concatenate([j, i[mirrored]])
    return Table(sparse.coo_array((values, (i, j)), shape=(rows, cols)))


def _read_body(path: str | os.PathLike[str], width: int, entries: int) -> NDArray[np.float64]:
    """Read the lines of numbers that follow the line of sizes, one more than promised at most."""
    opened: Any = gzip.open if os.fspath(path).lower().endswith(".gz") else open
    stream: TextIO
    # Any byte is a letter of latin-1: what a comment is written in does not matter.
    with opened(path, "rt", encoding="latin-1") as stream:
        telling = (line for line in stream if line.lstrip()[:1] not in ("", "%"))
        next(telling, None)  # the line of sizes
        first = next(telling, None)
        if first is None:
            raise DataFileError("ends before its first number")
        lines = itertools.chain([first], itertools.islice(telling, entries))
        body = np.loadtxt(lines, comments="%", ndmin=2)
    if body.shape[1] != width:
        raise DataFileError(f"has {body.shape[1]} numbers a line; {width} are wanted")
    return body


def _dense(
    numbers: NDArray[np.float64], rows: int, cols: int, symmetry: str
) -> NDArray[np.float64]:
    """Put the numbers, which come column by column, in their places."""
    if symmetry == "general":
        _check_count(numbers.size, rows * cols)
        return np.ascontiguousarray(numbers.reshape(cols, rows).T)
    below = 1 if symmetry == "skew-symmetric" else 0
    _check_count(numbers.size, (rows - below) * (rows - below + 1) // 2)
    matrix = np.zeros((rows, rows))
    # The lower triangle by columns is the upper one by rows.
    upper = np.triu_indices(rows, below)
    matrix[upper] = -numbers if below else numbers
    matrix.T[upper] = numbers
    return matrix


def _check_count(held: int, promised: int) -> None:
    if held != promised:
        found = held if held < promised else "more"
        raise DataFileError(f"promises {promised} numbers and holds {found}")
