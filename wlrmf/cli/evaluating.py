"""``wlrmf evaluate``: predictions and lists held against a table of ratings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import metrics as measures
from ..io import read_triplets
from ..model import Factorization, load
from ..recommender import Recommender
from . import text
from .models import is_recommender
from .names import Names

CELLS = ("rmse", "mae")


def evaluate(
    path: Path,
    file: Path,
    *,
    rows: str,
    cols: str,
    values: str | None,
    weights: str | None,
    metrics: str | None,
    at: str,
    relevant_from: float | None,
    unknown: str | None,
    keep_seen: bool,
) -> None:
    """Print each metric."""
    names = None if metrics is None else [name.strip() for name in metrics.split(",")]
    if not is_recommender(path):
        if relevant_from is not None or unknown is not None or keep_seen:
            raise click.UsageError(
                "--relevant-from, --unknown and --keep-seen are for recommenders (--feedback)"
            )
        scores = _cells(load(path), file, rows, cols, values, weights, names or list(CELLS))
    else:
        model = Recommender.load(path)
        scores = model.evaluate(
            file, rows, cols, values, weights, metrics=names, at=_cuts(at),
            relevant_from=relevant_from, filter_seen=not keep_seen, unknown=unknown,
        )  # fmt: skip
    text.facts([(name, _number(value)) for name, value in scores.items()])


def _cuts(at: str) -> list[int]:
    try:
        return [int(each) for each in at.split(",")]
    except ValueError:
        raise click.UsageError(f"--at {at!r}: lengths of lists, such as 5,10") from None


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _cells(
    model: Factorization,
    file: Path,
    rows: str,
    cols: str,
    values: str | None,
    weights: str | None,
    metrics: list[str],
) -> dict[str, Any]:
    """Errors of a plain model's predictions, whose rows and columns go by name."""
    if values is None:
        raise click.UsageError("--values is missing: what is to be predicted")
    for name in metrics:
        if name not in CELLS:
            raise click.UsageError(
                f"--metrics {name}: a model without --feedback has rmse and mae alone"
            )
    table = read_triplets(file, rows=rows, cols=cols, values=values, weights=weights)
    i = Names.rows(model).places(table.row_ids, table.matrix.row, file, rows)
    j = Names.columns(model).places(table.col_ids, table.matrix.col, file, cols)
    y = table.matrix.data
    weight = None if table.weights is None else table.weights.data
    predicted = model.predict(i, j)
    scores = {name: float(getattr(measures, name)(y, predicted, weight)) for name in metrics}
    return scores | {"n_pairs": int(y.size)}
