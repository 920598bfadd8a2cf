"""The passes of `ingest`: pure functions of a piece of the source, or of a block, and of files.

Each may run twice, or in two places at once, and leaves the same files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import refusing, replacing
from ..io.columns import integers_if_all_are
from ..io.table import DataFileError
from ..io.triplets import merged
from .source import Names, Piece, batches, checksum
from .store import Cells, Part, write_block

ROWS = 1 << 22  # cells that a pass holds before it writes them
FIELDS = "i", "j", "y", "c"


class Labels(NamedTuple):
    """Ids, sorted, each once, and how many cells each has."""

    ids: np.ndarray
    counts: np.ndarray


class Seen(NamedTuple):
    """A piece after the first reading."""

    users: Labels
    items: Labels
    rows: int
    crc: int


@dataclass(frozen=True)
class Books:
    """The code books, and the first user of each block and after the last."""

    users: np.ndarray
    items: np.ndarray
    edges: np.ndarray


class Spilt(NamedTuple):
    """A file of cells that are sorted by blocks."""

    path: str
    ends: np.ndarray  # cells before each block, and all


class Built(NamedTuple):
    """A block, the cells of each of its rows, and sums over its cells."""

    part: Part
    counts: np.ndarray
    sums: np.ndarray  # Σ c, Σ c y, Σ c y²
    spilt: Spilt | None


def scan(piece: Piece, names: Names) -> Seen:
    """The ids of a piece, and a checksum of what was read."""
    users, items, rows, crc = [], [], 0, 0
    for batch in batches(piece, names):
        users.append(Labels(batch.users, np.bincount(batch.i, minlength=batch.users.size)))
        items.append(Labels(batch.items, np.bincount(batch.j, minlength=batch.items.size)))
        rows, crc = rows + batch.i.size, checksum(batch, crc)
        if len(users) == 16:
            users, items = [_joined(users, names.user)], [_joined(items, names.item)]
    return Seen(_joined(users, names.user), _joined(items, names.item), rows, crc)


def merged_ids(labels: list[Labels], name: str, written: bool) -> Labels:
    """The ids of all pieces; those of a text file are integers if all of them are written so."""
    ids, counts = _joined(labels, name)
    if written:
        numbers = integers_if_all_are(ids)
        order = np.argsort(numbers, kind="stable")
        ids, counts = numbers[order], counts[order]
    return Labels(ids, counts)


def _joined(labels: list[Labels], name: str) -> Labels:
    some = [each for each in labels if each.ids.size]
    if not some:
        return Labels(np.empty(0, np.int64), np.empty(0, np.int64))
    kinds = {each.ids.dtype.kind for each in some}
    if "U" in kinds and len(kinds) > 1:
        raise DataFileError(f"column {name!r} holds integers in one place and texts in another")
    parts = [each.ids for each in some]
    if kinds == {"i", "u"}:  # which join as floats
        large = any(part.size and int(part.max()) >= 2**63 for part in parts)
        if large and any(int(part.min()) < 0 for part in parts):
            raise DataFileError(f"column {name!r}: ids below 0 and from 2**63 on fit no integer")
        parts = [part.astype(np.uint64 if large else np.int64) for part in parts]
    ids, place = np.unique(np.concatenate(parts), return_inverse=True)
    counts = np.zeros(ids.size, np.int64)
    np.add.at(counts, place, np.concatenate([each.counts for each in some]))
    return Labels(ids, counts)


def even_edges(counts: np.ndarray, blocks: int) -> np.ndarray:
    """Edges of so many blocks of about as many cells each; some are empty if rows are few."""
    work = np.concatenate(([0], np.cumsum(counts + 1)))  # a row costs something too
    cuts = np.searchsorted(work, np.arange(1, blocks) * (work[-1] / blocks))
    return np.concatenate(([0], cuts, [counts.size])).astype(np.int64)


def spill(
    piece: Piece, names: Names, rows: int, crc: int, books: Books, directory: Path
) -> list[Spilt]:
    """The cells of a piece, in files sorted by blocks of users.

    Raises
    ------
    DataFileError
        If the piece is not what `scan` read.
    """
    files: list[Spilt] = []
    held: list[tuple[np.ndarray, ...]] = []
    size = again = count = 0
    for batch in batches(piece, names):
        again, count = checksum(batch, again), count + batch.i.size
        i = _places(books.users, batch.users, piece)[batch.i]
        j = _places(books.items, batch.items, piece)[batch.j]
        held.append((i, j, batch.value, np.empty(0) if batch.weight is None else batch.weight))
        size += i.size
        if size >= ROWS:
            files.append(_write_spilt(directory / f"{piece.name}-{len(files)}", held, books.edges))
            held, size = [], 0
    if (count, again) != (rows, crc):
        raise _changed(piece)
    if held:
        files.append(_write_spilt(directory / f"{piece.name}-{len(files)}", held, books.edges))
    return files


def _places(book: np.ndarray, labels: np.ndarray, piece: Piece) -> np.ndarray:
    if book.dtype.kind != labels.dtype.kind:  # a text file's integers, or wider ones
        labels = labels.astype(book.dtype)
    places = np.searchsorted(book, labels).clip(max=book.size - 1)
    if not (book[places] == labels).all():
        raise _changed(piece)
    return places


def _changed(piece: Piece) -> DataFileError:
    return DataFileError(f"{piece.path}: changed between two readings; it must stay as it is")


def _write_spilt(stem: Path, held: list[tuple[np.ndarray, ...]], edges: np.ndarray) -> Spilt:
    i, j, y, c = (np.concatenate(column) for column in zip(*held, strict=True))
    block = np.searchsorted(edges, i, side="right") - 1
    order = np.argsort(block, kind="stable")
    counts = np.bincount(block, minlength=edges.size - 1)
    return _write_fields(stem, (i[order], j[order], y[order], c[order] if c.size else c), counts)


def _write_fields(stem: Path, fields: tuple[np.ndarray, ...], counts: np.ndarray) -> Spilt:
    for name, array in zip(FIELDS, fields, strict=True):
        with replacing(f"{stem}.{name}.npy") as stream:
            np.save(stream, array, allow_pickle=False)
    return Spilt(str(stem), np.concatenate(([0], np.cumsum(counts))))


def _read_fields(files: Sequence[Spilt], number: int) -> list[np.ndarray]:
    """Fields i, j, y, c of one block, in the order of the files."""
    parts: list[list[np.ndarray]] = [[] for _ in FIELDS]
    for file in files:
        lo, hi = file.ends[number : number + 2]
        for part, name in zip(parts, FIELDS, strict=True):
            array = np.load(f"{file.path}.{name}.npy", mmap_mode="r", allow_pickle=False)
            part.append(np.array(array[lo:hi]))
    return [np.concatenate(part) for part in parts]


def build_rows(
    part: Part, files: Sequence[Spilt], edges: np.ndarray, duplicates: str, names: Names
) -> Built:
    """A block of users, and its cells again in a file sorted by blocks of items."""
    i, j, y, c = _read_fields(files, part.number)
    with refusing(names.user + " and " + names.item, DataFileError):
        i, j, y, weight = _merged(part, i, j, y, c if part.weighted else None, duplicates)
    if weight is not None:
        kept = weight > 0
        i, j, y, weight = i[kept], j[kept], y[kept], weight[kept]
    y, c = _numbers(part, y), _numbers(part, np.empty(0) if weight is None else weight)
    order = np.lexsort((j, i))
    block = np.searchsorted(edges, j, side="right") - 1
    own = i - part.lo
    routes = [np.unique(own[block == q]) for q in range(edges.size - 1)]
    ends = np.concatenate(([0], np.cumsum([each.size for each in routes])))
    cells = _csr(own[order], j[order], y[order], c[order] if c.size else c, part.rows)
    done = write_block(part, cells._replace(route_ends=ends, routes=np.concatenate(routes)))
    order = np.lexsort((i, j))
    columns = i[order], j[order], y[order], c[order] if c.size else c
    counts = np.bincount(block, minlength=edges.size - 1)
    stem = Path(part.store) / f"{part.name}-transposed"
    wide, weights = y.astype(np.float64), c.astype(np.float64) if c.size else np.ones(y.size)
    sums = np.array([weights.sum(), weights @ wide, weights @ wide**2])
    return Built(done, np.diff(cells.indptr), sums, _write_fields(stem, columns, counts))


def build_cols(part: Part, files: Sequence[Spilt]) -> Built:
    """A block of items, from the blocks of users."""
    i, j, y, c = _read_fields(files, part.number)
    order = np.argsort(j, kind="stable")  # within each file by users, and files too
    cells = _csr(j[order] - part.lo, i[order], y[order], c[order] if c.size else c, part.rows)
    return Built(write_block(part, cells), np.diff(cells.indptr), np.zeros(3), None)


def _merged(
    part: Part,
    i: np.ndarray,
    j: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray | None,
    duplicates: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """One entry a cell."""
    if duplicates != "error":
        own, j, y, weight = merged(i - part.lo, j, y, weight, part.wide, duplicates)
        return own + part.lo, j, y, weight
    order = np.lexsort((j, i))
    again = (np.diff(i[order]) == 0) & (np.diff(j[order]) == 0)
    if again.any():
        first = order[1:][again][0]
        raise DataFileError(
            f"{int(again.sum())} rows repeat an earlier pair in one block, the first of user "
            f"number {i[first]} and item number {j[first]} in the order of ids; "
            '`duplicates` "last", "mean" or "sum" says what becomes of them'
        )
    return i, j, y, weight


def _numbers(part: Part, values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        cast = values.astype(part.dtype)
    if not np.isfinite(cast).all():
        raise DataFileError(
            f"{values[~np.isfinite(cast)][0]:.3g} is too large for {part.dtype}; "
            'give dtype="float64", or scale the data'
        )
    return cast


def _csr(own: np.ndarray, other: np.ndarray, y: np.ndarray, c: np.ndarray, rows: int) -> Cells:
    """Cells in order as a block."""
    columns, indices = np.unique(other, return_inverse=True)
    indptr = np.concatenate(([0], np.cumsum(np.bincount(own, minlength=rows))))
    none = np.empty(0, np.int64)
    return Cells(columns, indptr, indices, y, c, none, none)
