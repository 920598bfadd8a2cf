"""`ingest`: files of cells become a block store, a piece at a time.

Four passes, each a map of a pure function: the ids of each piece; each piece's cells sorted by
blocks of users; each block of users; each block of items. Everything is written to a directory
beside the store, which takes the store's name once it is whole.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..files import locked, remove_abandoned, replacing
from ..io.table import DataFileError
from ..io.triplets import DUPLICATES
from ..validation.errors import describe
from ..validation.options import read_int
from . import build
from .engine import Engine, persistently
from .model import engine_of
from .plan import default_blocks
from .source import Names, Piece, find_files, pieces_of
from .store import SIDES, Blocks, Part, open_blocks, write_ids, write_manifest

DTYPES = "float32", "float64"
HALF_DONE, LOCK = ".{}.ingest-{}", "lock"
RESTARTS = 3


def ingest(
    source: Any,
    store: str | os.PathLike[str],
    *,
    user: str,
    item: str,
    value: str | None = None,
    weight: str | None = None,
    duplicates: str = "error",
    dtype: Any = "float32",
    n_user_blocks: int | None = None,
    n_item_blocks: int | None = None,
    client: Any = None,
) -> Blocks:
    """Write files of cells, such as (user, item, rating), as a block store.

    Nothing is ever whole in memory but the ids. A float32 store takes 8 bytes a cell and side, 12
    with weights; while it is written, as much again twice.

    Parameters
    ----------
    source : path, directory, pattern or list of paths
        Csv files with a header, or parquet files.
    store : path
        A directory that does not exist yet.
    user, item : str
        Columns of ids, integers or texts; users and items are numbered in their order. Ids in csv
        files are integers if all of them are written as integers are.
    value, weight : str, optional
        Columns of values (every value is 1 without) and of weights of the squared residuals; cells
        of weight 0 are left out.
    duplicates : {"error", "sum", "mean", "last"}
        What several rows of one cell make, as in `wlrmf.io.read_triplets`.
    dtype : "float32" or "float64"
        Of the values and weights, and of the factors of a fit.
    n_user_blocks, n_item_blocks : int, optional
        Blocks of about as many cells each; default: one for four million cells, at least 4. The
        result of a fit depends on them by rounding, and on nothing else of where it is computed.
    client : dask.distributed.Client, optional
        Whose workers read and write; they must see source and store at the same paths. Default:
        this process.

    Returns
    -------
    Blocks

    Raises
    ------
    DataFileError
        If a column, an id or a number is missing, a cell is there twice (with
        ``duplicates="error"``), or a file is damaged or changes between two readings.
    FileExistsError
        If there is something at `store`.

    Examples
    --------
    >>> import tempfile, pyarrow as pa, pyarrow.parquet as pq, wlrmf.distributed as wd
    >>> ratings = pa.table({"who": [7, 7, 9], "what": ["a", "b", "b"], "stars": [4.0, 2.0, 5.0]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pq.write_table(ratings, f"{folder}/ratings.parquet")
    ...     columns = {"user": "who", "item": "what", "value": "stars"}
    ...     blocks = wd.ingest(f"{folder}/ratings.parquet", f"{folder}/store", **columns)
    ...     print(blocks.shape, blocks.nnz)
    (2, 2) 3
    """
    names = _read_names(user, item, value, weight)
    if duplicates not in DUPLICATES:
        raise ValueError(f"`duplicates` must be one of {DUPLICATES}; got {describe(duplicates)}")
    kind = np.dtype(dtype).name
    if kind not in DTYPES:
        raise ValueError(f"`dtype` must be one of {DTYPES}; got {describe(dtype)}")
    wanted = [
        None if number is None else read_int(number, name, 1)
        for number, name in ((n_user_blocks, "n_user_blocks"), (n_item_blocks, "n_item_blocks"))
    ]
    pieces = pieces_of(find_files(source), names)
    if not pieces:
        raise DataFileError(f"{source}: has no rows")
    with _becoming(store) as directory, engine_of(client) as engine:
        _write(directory, pieces, names, duplicates, kind, wanted, engine)
    return open_blocks(store)


def _read_names(user: Any, item: Any, value: Any, weight: Any) -> Names:
    for name, column in (("user", user), ("item", item), ("value", value), ("weight", weight)):
        if not (isinstance(column, str) or (column is None and name in ("value", "weight"))):
            raise TypeError(f"`{name}` must be the name of a column; got {describe(column)}")
    given = [name for name in (user, item, value, weight) if name is not None]
    if len(set(given)) < len(given):
        raise ValueError(
            f"`user`, `item`, `value` and `weight` must be columns of their own; got {given}"
        )
    return Names(user, item, value, weight)


def _write(
    directory: Path,
    pieces: list[Piece],
    names: Names,
    duplicates: str,
    dtype: str,
    wanted: list[int | None],
    engine: Engine,
) -> None:
    """The four passes, and what says that they are done."""
    seen = _each(engine, build.scan, pieces, [(names,)] * len(pieces))
    total = sum(each.rows for each in seen)
    if total == 0:
        raise DataFileError(f"{pieces[0].path}: has no rows")
    written = pieces[0].group is None
    users = build.merged_ids([each.users for each in seen], names.user, written)
    items = build.merged_ids([each.items for each in seen], names.item, written)
    edges = [
        build.even_edges(labels.counts, number or default_blocks(total))
        for labels, number in zip((users, items), wanted, strict=True)
    ]
    checks = [(names, each.rows, each.crc) for each in seen]
    books = build.Books(users.ids, items.ids, edges[0])
    by_piece = _each(engine, build.spill, pieces, checks, books, directory)
    spilt = [file for files in by_piece for file in files]
    shape, weighted = (users.ids.size, items.ids.size), names.weight is not None
    parts = [
        _parts(directory, side, edges[k], shape[1 - k], dtype, weighted)
        for k, side in enumerate(SIDES)
    ]
    rows = _each(
        engine, build.build_rows, parts[0], [(spilt, edges[1], duplicates, names)] * len(parts[0])
    )
    across = [each.spilt for each in rows]
    cols = _each(engine, build.build_cols, parts[1], [(across,)] * len(parts[1]))
    for file in (*spilt, *across):
        for field in build.FIELDS:
            os.unlink(f"{file.path}.{field}.npy")
    for side, built, labels in zip(SIDES, (rows, cols), (users, items), strict=True):
        with replacing(directory / f"{side}.npy") as stream:
            counts = np.concatenate([each.counts for each in built])
            np.save(stream, counts.astype(np.int64), allow_pickle=False)
        write_ids(directory / f"{side}.parquet", labels.ids)
    sums = np.sum([each.sums for each in rows], axis=0)
    done = [tuple(each.part for each in built) for built in (rows, cols)]
    named = dict(zip(("weight", "values", "squares"), map(float, sums), strict=True))
    store = Blocks(str(directory), shape, dtype, done[0], done[1], named, vars(names))
    write_manifest(directory, store)


def _parts(
    directory: Path, side: str, edges: np.ndarray, other: int, dtype: str, weighted: bool
) -> list[Part]:
    """Blocks that are to be written: only their edges are known."""
    return [
        Part(
            store=str(directory),
            side=side,
            number=number,
            lo=int(lo),
            hi=int(hi),
            nnz=0,
            columns=0,
            routes=(0, 0),
            crc=0,
            dtype=dtype,
            weighted=weighted,
            wide=other,
        )
        for number, (lo, hi) in enumerate(pairwise(edges))
    ]


def _each(
    engine: Engine, function: Any, parts: list[Any], own: list[tuple[Any, ...]], *shared: Any
) -> list[Any]:
    """One task a part, with arguments of its own, and then those that all share."""

    def ask() -> list[Any]:
        engine.begin()
        handles = [engine.share(value) for value in shared]
        tasks = [
            engine.submit(function, part, *arguments, *handles)
            for part, arguments in zip(parts, own, strict=True)
        ]
        return engine.gather(tasks)

    return persistently(ask, RESTARTS)


@contextmanager
def _becoming(store: str | os.PathLike[str]) -> Iterator[Path]:
    """A directory that takes the name of the store once the block has ended well.

    What an `ingest` that was killed left beside the store is removed by the next one.
    """
    target = Path(store).resolve()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise FileExistsError(errno.EEXIST, "there is something already", str(store))
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(HALF_DONE.format(target.name, "*")):
        remove_abandoned(left / LOCK, partial(shutil.rmtree, left, ignore_errors=True))
    directory = target.parent / HALF_DONE.format(target.name, secrets.token_hex(8))
    directory.mkdir()
    try:
        with locked(directory / LOCK):
            yield directory
            (directory / LOCK).unlink()
            os.replace(directory, target)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
