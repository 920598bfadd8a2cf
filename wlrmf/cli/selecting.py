"""``wlrmf select``: files in, a table of held-out errors out."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import click

from .. import plot
from ..files import replacing
from ..io import write_columns
from ..io.arrow import pyarrow
from ..io.table import COLUMNS_ENDINGS, ending_of
from ..selection import Selection, Trial, select
from . import text
from .files import check_out, size_of
from .fitting import DATA, checked, exit_status, given, inputs, read_data

OUTPUTS = ("out", "plot", "model")


def select_file(file: Path, options: dict[str, Any]) -> int:
    """Choose, print the table, write what is wanted; the exit status."""
    options = checked(options)
    _check_outputs(file, options)
    data = read_data(file, **{name: options[name] for name in DATA})
    stop, rest = given(options)
    found = select(
        data.Y,
        data.mask,
        weights=data.weights,
        stop=stop,
        refit=options["model"] is not None,
        progress=not options["quiet"],
        **rest,
    )
    if not options["quiet"]:
        text.numbers(*table(found))
        text.paragraph(summary(found))
    if options["out"] is not None:
        write_columns(options["out"], found.to_dict())
    if options["plot"] is not None:
        _draw(found, options["plot"])
    if found.model is not None:
        model = replace(found.model, row_names=data.row_names, col_names=data.col_names)
        model.save(options["model"])
    if not options["quiet"]:
        for path in _outputs(options):
            click.echo(f"Written: {path} ({size_of(path)})")
    return 0 if found.model is None else exit_status(found.model, options)


def _outputs(options: dict[str, Any]) -> list[Path]:
    return [options[name] for name in OUTPUTS if options[name] is not None]


def _check_outputs(file: Path, options: dict[str, Any]) -> None:
    """All that can be wrong with the places where results go, before any work is done."""
    if options["out"] is not None:
        ending_of(options["out"], COLUMNS_ENDINGS)
        pyarrow()
    if options["plot"] is not None:
        if options["plot"].suffix.lower() != ".png":
            raise click.ClickException(f"{options['plot']}: the picture is a .png file")
        plot.require_matplotlib()
    for path in _outputs(options):
        check_out(path, *inputs(file, options), force=options["force"])
    for one, two in combinations(_outputs(options), 2):
        if one.resolve() == two.resolve():
            raise click.ClickException(f"{one}: two results cannot go to one file")


def table(found: Selection) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a row a ridge, a column a rank."""
    by_pair = {(trial.rank, trial.reg): trial for trial in found.table}
    header = ["ridge", *(f"rank {rank}" for rank in found.ranks)]
    lines = [
        [f"{reg:g}", *(_cell(by_pair[rank, reg], found) for rank in found.ranks)]
        for reg in found.regs
    ]
    return header, lines


def _cell(trial: Trial, found: Selection) -> str:
    if trial.status == "skipped":
        return "–"
    if trial.status != "complete":
        return f"({trial.error:.5g})"
    chosen = "* " if trial is found.chosen else ""
    return f"{chosen}{trial.error:.5g} ± {trial.se:.2g}"


def summary(found: Selection) -> str:
    """What was chosen and why, in sentences."""
    over = f"{found.n_folds} folds" if found.n_folds > 1 else "one holdout"
    chosen, best = found.chosen, found.best
    why = (
        "the simplest within one standard error of the least"
        if found.rule == "one-se"
        else ("the least")
    )
    parts = [
        f"Chosen (*): rank {found.rank}, ridge {found.reg:g}, {found.metric} {chosen.error:.5g} "
        f"over {over}: {why} error.",
    ]
    if chosen is not best:
        parts.append(f"Least: {best.error:.5g} at rank {best.rank}, ridge {best.reg:g}.")
    if any(trial.status != "complete" for trial in found.table):
        parts.append(
            "In brackets: not run on all folds, because it could not be chosen; –: not run."
        )
    names = {"rank": "--ranks", "reg": "--regs"}
    parts += [
        f"The least error is at the edge of {names[edge]}: try more." for edge in found.at_edge
    ]
    return " ".join(parts)


def _draw(found: Selection, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.8), layout="constrained")
    found.plot(figure.subplots())
    with replacing(path) as stream:
        figure.savefig(stream, format="png", dpi=120)
