"""``wlrmf fit --feedback`` and ``wlrmf recommend``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from ..io import write_columns
from ..io.table import COLUMNS_ENDINGS, ending_of
from ..recommender import RankedLists, Recommender
from . import text
from .files import check_out, size_of
from .fitting import default_out, ending, exit_status, given
from .models import load_recommender

COLUMNS = {"user": "rows", "item": "cols", "value": "values", "weight": "weights"}
TABLES_ONLY = {"mask": "--mask", "key": "--key", "header": "--header", "n_starts": "--n-starts"}


def fit_file(file: Path, options: dict[str, Any]) -> int:
    """Fit a recommender, write it, print the summary; the exit status."""
    for name, option in TABLES_ONLY.items():
        if options[name] is not None:
            raise click.UsageError(f"{option} is not for a recommender (--feedback)")
    if options["rows"] is None or options["cols"] is None:
        raise click.UsageError("--feedback wants FILE to be a table: --rows and --cols")
    if options["values"] is None and options["feedback"] == "explicit":
        raise click.UsageError("--values is missing: explicit feedback has ratings")
    out = options["out"] or default_out(file)
    check_out(out, file, force=options["force"])
    stop, settings = given(options)
    model = Recommender(stop=stop, duplicates=options["duplicates"] or "error", **settings)
    columns = {name: options[option] for name, option in COLUMNS.items()}
    begin = time.perf_counter()
    model.fit(file, **columns, progress=not options["quiet"])
    seconds = time.perf_counter() - begin
    model.save(out)
    if not options["quiet"]:
        text.facts(
            [
                *described(model),
                ("solver", _solver(model, seconds)),
                ("status", ending(model.model.status)),
                ("written", f"{out} ({size_of(out)})"),
            ]
        )
    return exit_status(model.model, options)


def described(model: Recommender) -> list[tuple[str, str]]:
    """What the ratings are, and what was fitted to them."""
    m, n = model.model.shape
    count = text.count(model.n_ratings, "rating")
    biases = " + biases" if model.model.has_bias else ""
    return [
        ("data", f"{m} users × {n} items, {count} ({100 * model.n_ratings / (m * n):.3g} %)"),
        (
            "model",
            f"rank {model.rank}{biases}, {model.feedback} feedback, {model.model.left.dtype}",
        ),
    ]


def _solver(model: Recommender, seconds: float) -> str:
    fitted = model.model
    return f"{fitted.solver}, {text.count(fitted.n_iter, 'iteration')}, {seconds:.2f} s"


def recommend(
    path: Path,
    *,
    user: tuple[str, ...],
    like: tuple[str, ...],
    n: int,
    keep_seen: bool,
    unknown: str | None,
    out: Path | None,
    force: bool,
) -> None:
    """Print or write lists of items."""
    if user and like:
        raise click.UsageError("--user and --like are two questions: one at a time")
    if out is None and not (user or like):
        raise click.UsageError("say for whom: --user, --like, or --out for all users")
    if out is not None:
        ending_of(out, COLUMNS_ENDINGS)
        check_out(out, path, force=force)
    model = load_recommender(path)
    if like:
        lists = model.similar_items(_ids(like, model.item_ids, "item"), n)
    else:
        users = _ids(user, model.user_ids, "user") if user else None
        lists = model.recommend(users, n, filter_seen=not keep_seen, unknown=unknown)
    if out is None:
        _print(lists)
        return
    columns = lists.to_dict()
    write_columns(out, columns)
    click.echo(f"{len(lists)} lists, {len(lists.found)} rows, written to {out} ({size_of(out)})")


def _ids(given: tuple[str, ...], known: np.ndarray, kind: str) -> np.ndarray:
    """Ids as the model has them: what is typed is text, and may be meant as a number."""
    if known.dtype.kind == "U":
        return np.array(given)
    try:
        return np.array([int(each) for each in given])
    except ValueError:
        raise click.ClickException(
            f"{kind} ids of this model are integers, such as {known[0]}; got {', '.join(given)}"
        ) from None


def _print(lists: RankedLists) -> None:
    columns = lists.to_dict()
    lines = [
        [str(who), str(place), str(what), f"{score:.4g}"]
        for who, what, place, score in zip(
            *(column.tolist() for column in columns.values()), strict=True
        )
    ]
    first, second, *_ = columns
    text.numbers([first, "place", second, "score"], lines)
