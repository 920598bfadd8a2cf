"""``wlrmf predict``: a cell, the cells of a table, or the whole matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from ..io import read_pairs, write_columns, write_matrix
from ..io.table import COLUMNS_ENDINGS, WRITTEN_ENDINGS, ending_of
from ..model import Factorization
from ..validation.memory import available_bytes
from .files import check_out, size_of
from .models import load_model
from .names import Names

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
        model = load_model(path)
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
        said = _predict_cells(load_model(path), cells, rows, cols, out)
    else:
        said = _predict_all(load_model(path), out)
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
    i = Names.rows(model).places(pairs.row_ids, pairs.i, cells, rows)
    j = Names.columns(model).places(pairs.col_ids, pairs.j, cells, cols)
    chunks = (slice(start, start + CHUNK) for start in range(0, i.size, CHUNK))
    values = np.concatenate([model.predict(i[chunk], j[chunk]) for chunk in chunks])
    columns: dict[str, Any] = {rows: pairs.row_ids[pairs.i], cols: pairs.col_ids[pairs.j]}
    name = "prediction"
    while name in columns:
        name += "_"
    write_columns(out, columns | {name: values})
    return f"{i.size} predictions"
