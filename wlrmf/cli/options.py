"""Options that several commands share, and the types of their values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..solvers import SOLVERS

FILE = click.Path(path_type=Path)


class Numbers(click.ParamType):
    """Numbers with commas between them."""

    name = "numbers"

    def __init__(self, kind: type):
        self.kind = kind

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """A list."""
        try:
            return [self.kind(number) for number in value.split(",")]
        except ValueError:
            what = "whole numbers" if self.kind is int else "numbers"
            return self.fail(f"{value!r} is not a list of {what}, such as 1,2,4", param, ctx)


class Ridge(click.ParamType):
    """A number, or two of them."""

    name = "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """One float or a pair."""
        if not isinstance(value, str):
            return value
        try:
            numbers = tuple(map(float, value.split(",")))
        except ValueError:
            numbers = ()
        if len(numbers) not in (1, 2):
            self.fail(f"{value!r} is neither a number nor two, ROWS,COLS", param, ctx)
        return numbers if len(numbers) == 2 else numbers[0]


class IntOr(click.ParamType):
    """A whole number, or one word."""

    name = "number"

    def __init__(self, word: str):
        self.word = word

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """An int or the word; the library judges the number."""
        if value == self.word or isinstance(value, int):
            return value
        try:
            return int(value)
        except ValueError:
            return self.fail(f"{value!r} is neither a whole number nor {self.word}", param, ctx)


duplicates_option = click.option(
    "--duplicates",
    type=click.Choice(["error", "sum", "mean", "last"]),
    help="What several lines of one cell make. Default: an error.",
)


def data_options(command: Any) -> Any:
    """What says how FILE is to be read, for every command that reads one."""
    return _with(
        command,
        click.option(
            "--mask", type=FILE, metavar="FILE", help="The matrix A: 0 and 1, or 1/σ per cell."
        ),
        click.option(
            "--weights",
            metavar="FILE|COLUMN",
            help="Weights of the squared residuals: a matrix in a file; with --rows, a column of "
            "FILE.",
        ),
        click.option(
            "--rows", metavar="COLUMN", help="FILE has a cell a line: where its row is named."
        ),
        click.option("--cols", metavar="COLUMN", help="Where its column is named."),
        click.option(
            "--values", metavar="COLUMN", help="Where its value is; with --baseline default 1."
        ),
        duplicates_option,
        click.option("--key", metavar="NAME", help="Which array of an npz FILE."),
        click.option(
            "--header/--no-header",
            default=None,
            help="Whether the first line of a csv FILE has names.",
        ),
    )


def fit_options(command: Any) -> Any:
    """What a fit is told beside rank and ridge."""
    return _with(
        command,
        click.option(
            "--reg-scaling",
            type=click.Choice(["none", "count"]),
            help="count: times the number of observed cells of the row or column.",
        ),
        click.option(
            "--bias/--no-bias",
            default=None,
            help="Mean, row and column effects beside the factors.",
        ),
        click.option("--solver", type=click.Choice(["auto", *SOLVERS]), help="Default: auto."),
        click.option("--max-iter", type=int, metavar="N", help="Stop after so many iterations."),
        click.option("--max-seconds", type=float, metavar="S", help="Stop after so many seconds."),
        click.option(
            "--gtol", type=float, metavar="X", help="Stop when the gradient is this small."
        ),
        click.option(
            "--ftol", type=float, metavar="X", help="Stop when the value changes this little."
        ),
        click.option(
            "--gap",
            type=float,
            metavar="X",
            help="Stop when no factors of any rank can be better by this share; needs --reg.",
        ),
        click.option("--seed", type=int, metavar="N", help="Of all random numbers. Default: 0."),
        click.option(
            "--n-starts",
            type=IntOr("repeat"),
            metavar="N|repeat",
            help="Keep the best of so many starts; repeat: until it has come twice.",
        ),
        click.option(
            "--threads", "n_threads", type=int, metavar="N", help="Default: all processors."
        ),
        click.option(
            "--dtype", type=click.Choice(["float32", "float64"]), help="Default: as in FILE."
        ),
    )


def recommender_options(command: Any) -> Any:
    """What makes a fit one of a recommender."""
    return _with(
        command,
        click.option(
            "--feedback",
            type=click.Choice(["explicit", "implicit"]),
            help="Fit a recommender, whose model keeps ids and ratings: values are ratings, or "
            "confidence.",
        ),
        click.option(
            "--alpha", type=float, metavar="X", help="implicit: the weight is 1 + alpha · value."
        ),
        click.option(
            "--popularity",
            type=float,
            metavar="X",
            help="implicit: baseline times item counts to this power.",
        ),
    )


def cluster_options(command: Any) -> Any:
    """Where block stores are made and fitted, if not in this process."""
    return _with(
        command,
        click.option(
            "--distributed",
            metavar="ADDRESS",
            help="STORE: on the Dask cluster of this scheduler, such as tcp://host:8786.",
        ),
        click.option(
            "--local-cluster",
            type=click.IntRange(min=1),
            metavar="N",
            help="STORE: on a Dask cluster of N processes of this machine.",
        ),
    )


def _with(command: Any, *options: Any) -> Any:
    for option in reversed(options):  # as decorators are
        command = option(command)
    return command
