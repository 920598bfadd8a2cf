"""``wlrmf info`` and ``wlrmf demo``."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from .. import __version__, plot
from .. import demo as demonstration
from ..model import Factorization
from ..recommender import Recommender
from . import text
from .files import check_out, size_of
from .fitting import ending
from .models import is_recommender, load_model, named

PREVIEW = 3


def demo(out: Path, seed: int | None) -> None:
    """Run the demonstration; print its table, write its picture."""
    if out.suffix.lower() != ".png":
        raise click.ClickException(f"{out}: the picture is a .png file")
    check_out(out)
    plot.require_matplotlib()
    text.paragraph(
        "Arrival delays of 223 routes from New York on 365 days of 2013, a tenth of them held out: "
        "error in minutes, by rank"
    )
    result = demonstration.run() if seed is None else demonstration.run(seed)
    text.numbers(*result.table())
    text.paragraph(result.summary())
    demonstration.picture(result, out)
    click.echo(f"Picture: {out} ({result.seconds:.1f} s of fitting)")


def info(path: Path) -> None:
    """Print what a model file holds."""
    recommender = Recommender.load(path) if is_recommender(path) else None
    model = load_model(path) if recommender is None else named(recommender)
    text.facts(
        [
            ("file", f"{path} ({size_of(path)})"),
            *(
                []
                if recommender is None
                else [("recommender", repr(recommender)[1:-1].removeprefix("Recommender: "))]
            ),
            ("shape", f"{model.shape[0]} × {model.shape[1]}"),
            ("rows", _names(model.row_names)),
            ("columns", _names(model.col_names)),
            *_fitted(model),
            ("status", ending(model.status)),
            ("value", f"{model.value:.6g}, of which loss {model.loss:.6g}"),
            ("optimality", f"{model.optimality:.3g} (gradient relative to the start)"),
            *_work(model),
            ("read by", f"wlrmf {__version__}"),
        ]
    )


def _names(names: np.ndarray | None) -> str:
    if names is None:
        return "without names"
    shown = ", ".join(repr(name) for name in names[:PREVIEW].tolist())
    return f"{shown}, …" if len(names) > PREVIEW else shown


def _fitted(model: Factorization) -> list[tuple[str, str]]:
    """What was fitted."""
    parts = [f"rank {model.rank}"]
    if model.has_bias:
        parts.append(f"biases, mean {model.mean:.6g}")
    pinned = len(model.W_coef), len(model.X_coef)
    if any(pinned):
        parts.append(f"pinned rows ({pinned[1]} in W, {pinned[0]} in X)")
    if model.base_u is not None:
        each = "a number a row" if np.ndim(model.base_u) else f"{model.base_u:.6g}"
        parts.append(f"baseline {each}")
    scaled = ", times the observed cells" if model.reg_scaling == "count" else ""
    return [
        ("model", f"{', '.join(parts)}, {model.left.dtype}"),
        ("ridge", f"{_ridge(model)}{scaled}"),
    ]


def _ridge(model: Factorization) -> str:
    """Of rows and of columns, where they differ or an old file does not tell."""
    rows, columns = (
        "a number each" if np.ndim(reg) else f"{reg:.6g}"
        for reg in (model.row_reg, np.nan if model.col_reg is None else model.col_reg)
    )
    if model.col_reg is None:
        return f"{rows} on rows"
    if rows == columns and not np.ndim(model.row_reg):
        return rows
    return f"{rows} on rows, {columns} on columns"


def _work(model: Factorization) -> list[tuple[str, str]]:
    """What it took, and what deserves a look."""
    seconds = model.trace.seconds[-1] if len(model.trace) else 0.0
    starts = len(model.start_values)
    passes = ", ".join(f"{name.replace('_', ' ')} {k}" for name, k in vars(model.counts).items())
    lines = [
        ("solver", f"{model.solver}, {text.count(model.n_iter, 'iteration')}, {seconds:.2f} s"),
        ("passes", passes),
    ]
    if starts > 1:
        worst, times = max(model.start_values), sum(k for _, k in model.optima[:1])
        lines.append(("starts", f"best of {starts}, met {times}×; values up to {worst:.6g}"))
    for name, places in (("rows", model.empty_rows), ("columns", model.empty_cols)):
        if len(places):
            lines.append((f"empty {name}", f"{len(places)} without an observed cell"))
    if model.n_regularized:
        lines.append(("singular", f"{text.count(model.n_regularized, 'row')} of the last solve"))
    return lines
