"""A block store: the cells of a matrix on disk, by rows and by columns, in blocks.

A store is a directory with

    manifest.json         what is here, and a checksum of each block
    rows-00000.block ...  some rows each: all their cells, in CSR
    cols-00000.block ...  the same cells by columns
    rows.npy, cols.npy    cells of each row, of each column (int64)
    rows.parquet, cols.parquet   their ids, in order

A block lists the columns that it has cells in, `columns`, and its `indices` count within this list.
So whoever solves a block's rows needs these rows of the other factor and no others. A block of rows
also says which of its rows each block of columns needs: `routes`. Blocks are memory-mapped, one
file each, arrays one after the other; they depend on the data alone, never on who works on them.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..files import read_npy, replacing
from ..io.arrow import pyarrow
from ..io.table import DataFileError
from ..validation.errors import ClusterError
from ..version import version

SCHEMA, VERSION = "wlrmf-blocks", 1
MANIFEST = "manifest.json"
RELEASE = version()  # of wlrmf, here
SIDES = "rows", "cols"
ALIGN = 64  # bytes; where arrays begin in a file
MAX_MANIFEST = 1 << 26
_checked: set[tuple[Any, ...]] = set()  # files whose bytes this process has seen whole


class Cells(NamedTuple):
    """The cells of one block, memory-mapped; writing to them changes no file."""

    columns: np.ndarray  # sorted: the columns that have cells here
    indptr: np.ndarray  # int64, (rows + 1,)
    indices: np.ndarray  # int32, places in `columns`, ascending within a row
    y: np.ndarray
    c: np.ndarray  # weights of the squared residuals; empty: all 1
    route_ends: np.ndarray  # int64; rows that block k of columns needs are routes[.. : ..]
    routes: np.ndarray  # int32, places among the rows of this block


@dataclass(frozen=True)
class Part:
    """One block: where it is and what its file must hold. Small, and sent with each task."""

    store: str
    side: str
    number: int
    lo: int  # rows (of a block of columns: columns) lo..hi
    hi: int
    nnz: int
    columns: int
    routes: tuple[int, int]  # blocks of the other side that it has routes to, rows routed in all
    crc: int
    dtype: str
    weighted: bool
    wide: int  # columns of the whole matrix
    release: str = RELEASE

    @property
    def name(self) -> str:
        """The file's name without its ending, also the block's name in messages."""
        return f"{self.side}-{self.number:05}"

    @property
    def path(self) -> Path:
        """Its file."""
        return Path(self.store) / f"{self.name}.block"

    @property
    def rows(self) -> int:
        """How many."""
        return self.hi - self.lo

    @property
    def forms(self) -> list[tuple[np.dtype, int]]:
        """Type and length of each array of `Cells`, in the file's order."""
        number, weights = np.dtype(self.dtype), self.nnz if self.weighted else 0
        ends = self.routes[0] + 1 if self.routes[0] else 0
        kinds: tuple[Any, ...] = "i8", "i8", "i4", number, number, "i8", "i4"
        sizes = self.columns, self.rows + 1, self.nnz, self.nnz, weights, ends, self.routes[1]
        return [(np.dtype(kind), size) for kind, size in zip(kinds, sizes, strict=True)]

    @property
    def nbytes(self) -> int:
        """Size of the file."""
        return sum(_padded(kind.itemsize * size) for kind, size in self.forms)

    def open(self) -> Cells:
        """Map the file.

        Raises
        ------
        DataFileError
            If it is not the file that the manifest speaks of; the first time in a process that
            its bytes are asked for, or when it was changed since, all of them are read and judged.
        """
        if self.release != RELEASE:
            raise ClusterError(
                f"wlrmf {RELEASE} here was asked to work on a fit of wlrmf {self.release}: "
                "install one version on the client and on all workers"
            )
        size = self.nbytes
        try:
            with open(self.path, "rb") as stream:
                about = os.fstat(stream.fileno())
                if about.st_size != size:
                    self._refuse(f"has {about.st_size} bytes, not {size}")
                if size == 0:
                    raise self._refuse("is empty")
                # private and writable: kernels are compiled for arrays that may be written to
                held = mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_COPY)
        except FileNotFoundError as error:
            raise DataFileError(
                f"{self.path}: no such file; all workers must see the block store at this path"
            ) from error
        arrays, at = [], 0
        for kind, length in self.forms:
            arrays.append(np.frombuffer(held, kind, length, at))
            at += _padded(kind.itemsize * length)
        cells = Cells(*arrays)
        key = (str(self.path), self.crc, about.st_ino, about.st_mtime_ns)
        if key not in _checked:
            if zlib.crc32(held) != self.crc:
                self._refuse("is not what was ingested: its checksum differs")
            self._judge(cells)
            _checked.add(key)
        return cells

    def _judge(self, cells: Cells) -> None:
        """Nothing in a file may send a kernel out of its arrays."""
        sound = (
            cells.indptr[0] == 0
            and cells.indptr[-1] == self.nnz
            and (np.diff(cells.indptr) >= 0).all()
            and _within(cells.indices, self.columns)
            and _within(cells.columns, self.wide)
            and _within(cells.routes, self.rows)
            and (np.diff(cells.columns) > 0).all()
            and (np.diff(cells.route_ends) >= 0).all()
            and (cells.route_ends.size == 0 or cells.route_ends[-1] == self.routes[1])
        )
        if not sound:
            self._refuse("holds indices that are out of range")

    def _refuse(self, reason: str) -> Any:
        raise DataFileError(f"{self.path}: {reason}")


def write_block(part: Part, cells: Cells) -> Part:
    """Write a block's file; the part with what is now known of it."""
    part = replace(
        part,
        nnz=cells.y.size,
        columns=cells.columns.size,
        routes=(max(0, cells.route_ends.size - 1), cells.routes.size),
    )
    crc = 0
    with replacing(part.path) as stream:
        for array, (kind, _) in zip(cells, part.forms, strict=True):
            data = np.ascontiguousarray(array, kind).tobytes()
            data += bytes(_padded(len(data)) - len(data))
            crc = zlib.crc32(data, crc)
            stream.write(data)
    return replace(part, crc=crc)


@dataclass(frozen=True, eq=False)
class Blocks:
    """A block store, opened: what `ingest` returns and `open_blocks` finds again.

    Attributes
    ----------
    path : str
    shape : (int, int)
        Rows (users) and columns (items).
    dtype : str
        Of the values, and of the factors of a fit: "float32" or "float64".
    rows, cols : tuple of Part
        The blocks of each side.
    sums : dict of float
        "weight" Σ c, "values" Σ c y and "squares" Σ c y² over all cells.
    names : dict of str
        The columns of the source: "user", "item", "value", "weight".
    """

    path: str
    shape: tuple[int, int]
    dtype: str
    rows: tuple[Part, ...]
    cols: tuple[Part, ...]
    sums: dict[str, float]
    names: dict[str, str | None]

    @property
    def nnz(self) -> int:
        """Cells."""
        return sum(part.nnz for part in self.rows)

    @property
    def nbytes(self) -> int:
        """Size of all blocks."""
        return sum(part.nbytes for part in (*self.rows, *self.cols))

    @cached_property
    def row_counts(self) -> np.ndarray:
        """Cells of each row, int64, (m,)."""
        return self._counts("rows")

    @cached_property
    def col_counts(self) -> np.ndarray:
        """Cells of each column, int64, (n,)."""
        return self._counts("cols")

    @cached_property
    def user_ids(self) -> np.ndarray:
        """Ids of the rows, integers or texts, sorted."""
        return read_ids(Path(self.path) / "rows.parquet", self.shape[0])

    @cached_property
    def item_ids(self) -> np.ndarray:
        """Ids of the columns, integers or texts, sorted."""
        return read_ids(Path(self.path) / "cols.parquet", self.shape[1])

    def _counts(self, side: str) -> np.ndarray:
        path, size = Path(self.path) / f"{side}.npy", self.shape[SIDES.index(side)]
        with open(path, "rb") as stream:
            counts = read_npy(stream, path.stat().st_size)
        if counts.shape != (size,) or counts.dtype != np.int64 or counts.sum() != self.nnz:
            raise DataFileError(f"{path}: does not fit the manifest")
        return counts

    def __repr__(self) -> str:
        m, n = self.shape
        return (
            f"<Blocks {self.path}: {m} × {n}, {self.nnz} cells of {self.dtype}, "
            f"{len(self.rows)} + {len(self.cols)} blocks, {self.nbytes / 1e6:.1f} MB>"
        )


def write_manifest(directory: Path, blocks: Blocks) -> None:
    """The last file of a store that is written."""
    about = {
        "schema": SCHEMA,
        "version": VERSION,
        "shape": blocks.shape,
        "dtype": blocks.dtype,
        "weighted": blocks.rows[0].weighted,
        "sums": blocks.sums,
        "names": blocks.names,
    } | {
        side: [
            [part.lo, part.hi, part.nnz, part.columns, *part.routes, part.crc]
            for part in getattr(blocks, side)
        ]
        for side in SIDES
    }
    with replacing(directory / MANIFEST) as stream:
        stream.write(json.dumps(about).encode())


def open_blocks(store: str | os.PathLike[str]) -> Blocks:
    """A block store that `ingest` made.

    Raises
    ------
    FileNotFoundError
        If there is no such directory, or no manifest in it.
    DataFileError
        If the manifest is damaged, or of a newer version.
    """
    path = Path(store).resolve() / MANIFEST
    if path.stat().st_size > MAX_MANIFEST:
        raise DataFileError(f"{path}: larger than any manifest")
    try:
        about = json.loads(path.read_text())
        if about["schema"] != SCHEMA:
            raise ValueError(f"its schema is {about['schema']!r}")
        if about["version"] != VERSION:
            raise ValueError(f"version {about['version']!r}; this wlrmf reads {VERSION}")
        return _unpacked(str(path.parent), about)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise DataFileError(f"{path}: no manifest of a block store ({error})") from error


def _unpacked(store: str, about: dict[str, Any]) -> Blocks:
    m, n = (_count(size) for size in about["shape"])
    if about["dtype"] not in ("float32", "float64"):
        raise ValueError(f"dtype is {about['dtype']!r}")
    parts = {}
    for side, size, other in (("rows", m, n), ("cols", n, m)):
        parts[side] = tuple(
            _part(about, store, side, other, number, each)
            for number, each in enumerate(about[side])
        )
        ends = [0, *(part.hi for part in parts[side])]
        if [part.lo for part in parts[side]] != ends[:-1] or ends[-1] != size:
            raise ValueError(f"the blocks of {side} do not follow each other")
    if sum(part.nnz for part in parts["rows"]) != sum(part.nnz for part in parts["cols"]):
        raise ValueError("rows and columns have different numbers of cells")
    sums = {name: float(about["sums"][name]) for name in ("weight", "values", "squares")}
    if not all(map(math.isfinite, sums.values())):
        raise ValueError("sums are not finite")
    return Blocks(
        store, (m, n), about["dtype"], parts["rows"], parts["cols"], sums, dict(about["names"])
    )


def _part(
    about: dict[str, Any], store: str, side: str, wide: int, number: int, given: list[Any]
) -> Part:
    lo, hi, nnz, columns, blocks, routed, crc = map(_count, given)
    return Part(
        store=store,
        side=side,
        number=number,
        lo=lo,
        hi=hi,
        nnz=nnz,
        columns=columns,
        routes=(blocks, routed),
        crc=crc,
        dtype=about["dtype"],
        weighted=bool(about["weighted"]),
        wide=wide,
    )


def write_ids(path: Path, ids: np.ndarray) -> None:
    """Ids in order, as one column."""
    table = pyarrow().table({"id": ids})
    with replacing(path) as stream:
        pyarrow("pyarrow.parquet").write_table(table, stream)


def read_ids(path: Path, size: int) -> np.ndarray:
    """Ids in order: integers or texts."""
    with pyarrow("pyarrow.parquet").ParquetFile(path) as file:
        column = file.read().column(0)
    if len(column) != size:
        raise DataFileError(f"{path}: has {len(column)} ids, the manifest {size}")
    if pyarrow("pyarrow.types").is_integer(column.type):
        return np.asarray(column.to_numpy())
    return np.array(column.to_pylist(), np.str_)


def _padded(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


def _within(numbers: np.ndarray, size: int) -> bool:
    return numbers.size == 0 or bool(numbers.min() >= 0 and numbers.max() < size)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError(f"{value!r} is no count")
    return value
