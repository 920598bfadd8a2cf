"""Files of cells, read piece by piece: row groups of parquet files, whole csv files in batches."""

from __future__ import annotations

import glob
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..files import refusing
from ..io.arrow import MISSING, arrow_refusals, first_row, numbers, pyarrow
from ..io.columns import check_numbers, encode_ids, place_of
from ..io.table import COLUMNS_ENDINGS, DataFileError, check_readable, ending_of

BATCH = 1 << 18  # rows that are read at a time


@dataclass(frozen=True)
class Names:
    """The columns that are read."""

    user: str
    item: str
    value: str | None
    weight: str | None

    @property
    def measures(self) -> list[str]:
        """Those of numbers."""
        return [name for name in (self.value, self.weight) if name is not None]


@dataclass(frozen=True)
class Piece:
    """What one task reads: a file, or a row group of one."""

    number: int
    path: str
    group: int | None

    @property
    def name(self) -> str:
        """For messages and keys."""
        return f"piece-{self.number:05}"


class Batch(NamedTuple):
    """Some rows of a piece, in its order."""

    users: np.ndarray  # labels, sorted, each once
    i: np.ndarray  # the label of each row
    items: np.ndarray
    j: np.ndarray
    value: np.ndarray  # float64; 1 without a column
    weight: np.ndarray | None


def find_files(source: Any) -> list[str]:
    """The files that a path, a directory, a pattern or a list of paths names, sorted.

    Raises
    ------
    DataFileError
        If there are none, or they are not all csv or all parquet.
    """
    if isinstance(source, list | tuple):
        files = [os.fspath(each) for each in source]
    else:
        path = os.fspath(source)
        if os.path.isdir(path):
            found = (p for p in Path(path).rglob("*") if p.name[0] not in "._")
            files = [str(p) for p in found if str(p).lower().endswith(COLUMNS_ENDINGS)]
        else:
            files = [path] if os.path.exists(path) else glob.glob(path, recursive=True) or [path]
    if not files:
        raise DataFileError(f"{source}: no {' or '.join(COLUMNS_ENDINGS)} file there")
    kinds = set()
    for file in files:
        kinds.add(ending_of(file, COLUMNS_ENDINGS))
        check_readable(file)
    if len(kinds) > 1:
        raise DataFileError(f"{source}: both csv and parquet files; give files of one kind")
    return sorted(str(Path(file).resolve()) for file in files)


def pieces_of(files: Sequence[str], names: Names) -> list[Piece]:
    """The pieces of files, in order; every file must have the columns."""
    found: list[tuple[str, int | None]] = []
    for path in files:
        with refusing(path, DataFileError), arrow_refusals():
            if ending_of(path, COLUMNS_ENDINGS) == ".csv":
                header, groups = first_row(path), [None]
            else:
                with pyarrow("pyarrow.parquet").ParquetFile(path) as file:
                    header, groups = file.schema_arrow.names, [*range(file.num_row_groups)]
            for name in (names.user, names.item, *names.measures):
                place_of(name, header)
        found += [(path, group) for group in groups]
    return [Piece(number, *each) for number, each in enumerate(found)]


def batches(piece: Piece, names: Names) -> Iterator[Batch]:
    """Read a piece, some rows at a time.

    Raises
    ------
    DataFileError
        If an id or a number is missing, a number not finite, a weight negative, or the file
        damaged.
    """
    row = 0
    with refusing(piece.path, DataFileError), arrow_refusals():
        for table in _tables(piece, names):
            if table.num_rows == 0:
                continue
            try:
                yield _batch(table, names)
            except DataFileError as error:
                where = f" of row group {piece.group}" if piece.group is not None else ""
                raise DataFileError(f"{error}, counted from row {row + 1}{where}") from error
            row += table.num_rows


def _batch(table: Any, names: Names) -> Batch:
    users, i = encode_ids(table.column(names.user), names.user)
    items, j = encode_ids(table.column(names.item), names.item)
    measured = []
    for name in names.measures:
        column = numbers(table.column(name), name).astype(np.float64)
        check_numbers(name, column)
        measured.append(column)
    value = measured[0] if names.value else np.ones(table.num_rows)
    weight = measured[-1] if names.weight else None
    if weight is not None and (weight < 0).any():
        row = int(np.argmax(weight < 0))
        raise DataFileError(
            f"column {names.weight!r}: data row {row + 1} is {weight[row]}; weights are at least 0"
        )
    return Batch(users, i, items, j, value, weight)


def _tables(piece: Piece, names: Names) -> Iterator[Any]:
    pa, ds = pyarrow(), pyarrow("pyarrow.dataset")
    here = pyarrow("pyarrow.fs").LocalFileSystem()
    columns = [names.user, names.item, *names.measures]
    if piece.group is None:
        csv = pyarrow("pyarrow.csv")
        types = {name: pa.string() for name in (names.user, names.item)}
        types |= {name: pa.float64() for name in names.measures}
        form = ds.CsvFileFormat(
            convert_options=csv.ConvertOptions(
                column_types=types,
                null_values=MISSING,
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
            read_options=csv.ReadOptions(use_threads=False),
        )
        fragment = form.make_fragment(piece.path, here)
    else:
        form = ds.ParquetFileFormat()
        fragment = form.make_fragment(piece.path, here, row_groups=[piece.group])
    for batch in fragment.to_batches(columns=columns, batch_size=BATCH, use_threads=False):
        yield pa.Table.from_batches([batch])


def checksum(batch: Batch, before: int) -> int:
    """Of what was read, this batch after those before."""
    for array in batch:
        if array is not None:
            before = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data, before)
    return before
