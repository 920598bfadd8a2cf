"""``wlrmf predict``: a cell, the cells of a table, or the whole matrix."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import click
import numpy as np

from ..io import DataFileError, read_pairs, write_columns, write_matrix
from ..io.table import COLUMNS_ENDINGS, WRITTEN_ENDINGS, ending_of
from ..model import Factorization, load
from ..validation.memory import available_bytes
from .files import check_out, size_of

CHUNK = 1 << 18  # cells predicted at a time


def predict(
    path: Path,
    *,
    row: str | None,
    col: str | None,
    cells: Path | None,
    rows: str | None,
    cols: str | None,
    out: Path | None,
    force: bool,
) -> None:
    """Judge which of the three is wanted, and do it."""
    one, listed = (row, col), (cells, rows, cols)
    if any(part is not None for part in one):
        if any(part is not None for part in (*listed, out)):
            raise click.UsageError("--row and --col print one cell: no --cells and no --out")
        if row is None or col is None:
            raise click.UsageError("--row and --col go together")
        model = load(path)
        i, j = Names.rows(model).find(row), Names.columns(model).find(col)
        click.echo(str(model.predict(i, j)))
        return
    if any(part is not None for part in listed) and any(part is None for part in listed):
        raise click.UsageError("--cells, --rows and --cols go together")
    if out is None:
        raise click.UsageError(
            "say what to predict: --row and --col, or --out with or without --cells"
        )
    ending_of(out, WRITTEN_ENDINGS if cells is None else COLUMNS_ENDINGS)
    check_out(out, path, cells, force=force)
    if cells is not None and rows is not None and cols is not None:
        said = _predict_cells(load(path), cells, rows, cols, out)
    else:
        said = _predict_all(load(path), out)
    click.echo(f"{said} written to {out} ({size_of(out)})")


def _predict_all(model: Factorization, out: Path) -> str:
    m, n = model.shape
    # A table is built column by column beside the matrix.
    need = m * n * model.left.itemsize * (1 if out.suffix.lower() == ".npy" else 2)
    free = available_bytes()
    if free is not None and need > free:
        raise MemoryError(
            f"all {m} × {n} predictions need {need / 2**30:.3g} GiB; {free / 2**30:.3g} GiB are "
            "available; list the wanted ones in --cells"
        )
    write_matrix(out, model.reconstruct(), model.row_names, model.col_names)
    return f"{m} × {n} predictions"


def _predict_cells(model: Factorization, cells: Path, rows: str, cols: str, out: Path) -> str:
    pairs = read_pairs(cells, rows=rows, cols=cols)
    places = []
    for names, column, ids, codes in (
        (Names.rows(model), rows, pairs.row_ids, pairs.i),
        (Names.columns(model), cols, pairs.col_ids, pairs.j),
    ):
        found = [names.place(str(label)) for label in ids.tolist()]
        index = np.array([-1 if place is None else place for place in found])[codes]
        if (index < 0).any():
            first = int(np.argmin(index))
            raise DataFileError(
                f"{cells}: data row {first + 1}, column {column!r}: "
                f"{names.refusal(str(ids[codes[first]]))} "
                f"({np.count_nonzero(index < 0)} such rows)"
            )
        places.append(index)
    i, j = places
    chunks = (slice(start, start + CHUNK) for start in range(0, i.size, CHUNK))
    values = np.concatenate([model.predict(i[chunk], j[chunk]) for chunk in chunks])
    columns: dict[str, Any] = {rows: pairs.row_ids[pairs.i], cols: pairs.col_ids[pairs.j]}
    name = "prediction"
    while name in columns:
        name += "_"
    write_columns(out, columns | {name: values})
    return f"{i.size} predictions"


class Names:
    """The names of a model's rows, or columns, and their indices."""

    def __init__(self, what: str, names: np.ndarray | None, size: int):
        self.what, self.size = what, size
        self.index: dict[str, int] | None = None
        self.twice: set[str] = set()
        if names is not None:
            self.index = {}
            for place, name in enumerate(names.tolist()):
                if name in self.index:
                    self.twice.add(name)
                self.index[name] = place

    @classmethod
    def rows(cls, model: Factorization) -> Names:
        """Of the rows."""
        return cls("row", model.row_names, model.shape[0])

    @classmethod
    def columns(cls, model: Factorization) -> Names:
        """Of the columns."""
        return cls("column", model.col_names, model.shape[1])

    def place(self, name: str) -> int | None:
        """The index of a name, None if there is none."""
        if self.index is not None:
            return None if name in self.twice else self.index.get(name)
        try:
            place = int(name)
        except ValueError:
            return None
        return place if 0 <= place < self.size else None

    def find(self, name: str) -> int:
        """The index of a name, or an error."""
        place = self.place(name)
        if place is None:
            raise click.ClickException(self.refusal(name))
        return place

    def refusal(self, name: str) -> str:
        """Why a name has no index."""
        if self.index is None:
            return (
                f"no {self.what} {name!r}: the model has no {self.what} names, "
                f"its {self.what}s are 0 to {self.size - 1}"
            )
        if name in self.twice:
            return f"several {self.what}s of the model are called {name!r}"
        close = difflib.get_close_matches(name, list(self.index)[:10_000], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"no {self.what} {name!r} among the {self.size} of the model{hint}"
