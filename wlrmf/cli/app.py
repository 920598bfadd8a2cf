"""The commands and their options: what the arguments are called and what the help says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..solvers import SOLVERS
from . import fitting, predicting, selecting, showing

HELP = {"help_option_names": ["-h", "--help"]}
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
            default=False,
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
        click.option("--seed", type=int, metavar="N", help="Of all random numbers. Default: 0."),
        click.option("--n-starts", type=int, metavar="N", help="Keep the best of so many starts."),
        click.option(
            "--threads", "n_threads", type=int, metavar="N", help="Default: all processors."
        ),
        click.option(
            "--dtype", type=click.Choice(["float32", "float64"]), help="Default: as in FILE."
        ),
    )


def _with(command: Any, *options: Any) -> Any:
    for option in reversed(options):  # as decorators are
        command = option(command)
    return command


@click.group(
    invoke_without_command=True,
    context_settings=HELP,
    epilog="""\b
Examples:
  wlrmf demo
  wlrmf fit delays.csv --rank 4 --weights flights.csv --reg 40
  wlrmf predict delays.wlrmf.npz --out filled.csv

Exit status: 0 success; 1 the fit ended without success, its model is written; 2 bad input or
another error, one line on stderr; 130 stopped by Ctrl-C.
""",
)
@click.version_option(__version__, prog_name="wlrmf", message="%(prog)s %(version)s")
@click.pass_context
def app(context: click.Context) -> None:
    """Weighted low-rank matrix factorization: Y ≈ WᵀX, every cell with a weight of its own."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@app.command(
    context_settings=HELP,
    short_help="Fit a year of flight delays: a table and a picture.",
    epilog="""\b
Example:
  wlrmf demo --out delays.png
""",
)
@click.option(
    "--out",
    type=FILE,
    default="wlrmf-demo.png",
    metavar="PICTURE",
    show_default=True,
    help="The picture, a .png file; one that is there is replaced.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), metavar="N", help="Of the cells that are held out."
)
def demo(out: Path, seed: int | None) -> None:
    """Fit a year of flight delays, with and without weights: a table and a picture."""
    showing.demo(out, seed)


@app.command(
    context_settings=HELP,
    short_help="Factorize a matrix, write the model.",
    epilog="""\b
Examples:
  wlrmf fit delays.csv --rank 4 --weights flights.csv --reg 40
  wlrmf fit ratings.csv --rows user --cols item --values rating \\
      --rank 10 --reg 5 --bias
""",
)
@click.argument("file", type=FILE)
@click.option("--rank", type=int, required=True, metavar="K", help="Number of factors.")
@data_options
@click.option(
    "--reg", type=Ridge(), metavar="NUMBER", help="Ridge, or two as ROWS,COLS. Default: 0."
)
@click.option(
    "--baseline",
    type=float,
    metavar="NUMBER",
    help="Weight of the cells that a sparse FILE does not store; their target is 0.",
)
@fit_options
@click.option(
    "--out",
    type=FILE,
    metavar="MODEL",
    help="Where the model goes. Default: FILE's name with .wlrmf.npz, in this directory.",
)
@click.option("--force", is_flag=True, help="Replace a model that is there.")
@click.option("--quiet", is_flag=True, help="Print no summary and no progress.")
def fit(file: Path, **options: Any) -> int:
    """Factorize the matrix in FILE and write the model to a file.

    FILE is npz, npy, csv, parquet or mtx. In a dense matrix NaN, or an empty cell, is missing; of
    a sparse one the stored cells are observed. With --rows and --cols, FILE is a table with one
    observed cell a line. FILE.npz:NAME, for --mask and --weights, is one array of several.
    """
    return fitting.fit_file(file, options)


@app.command(
    context_settings=HELP,
    short_help="Choose rank and ridge by the error on held-out cells.",
    epilog="""\b
Examples:
  wlrmf select delays.csv --weights flights.csv --bias \\
      --ranks 1,2,4,8 --plot errors.png
  wlrmf select ratings.csv --rows user --cols item --values rating --bias \\
      --ranks 5,10,20 --regs 4,8,16 --holdout 0.1 --model ratings.wlrmf.npz
""",
)
@click.argument("file", type=FILE)
@click.option(
    "--ranks", type=Numbers(int), metavar="K,K,...", help="Default: 1,2,4,8,16, as far as they fit."
)
@click.option(
    "--regs",
    type=Numbers(float),
    metavar="NUMBER,...",
    help="Ridges. Default: eight, as the data call for.",
)
@click.option("--folds", type=int, metavar="N", help="Hold out each cell once. Default: 5.")
@click.option("--holdout", type=float, metavar="SHARE", help="Hold out one share instead.")
@click.option("--metric", type=click.Choice(["rmse", "mae"]), help="The error. Default: rmse.")
@click.option(
    "--rule",
    type=click.Choice(["one-se", "best"]),
    help="one-se, the default: the simplest within one standard error of the least error.",
)
@data_options
@fit_options
@click.option("--out", type=FILE, metavar="TABLE", help="All errors, as csv or parquet.")
@click.option("--plot", type=FILE, metavar="PICTURE", help="All errors, as a .png file.")
@click.option(
    "--model", type=FILE, metavar="MODEL", help="Fit all cells with the choice, and write it here."
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.option("--quiet", is_flag=True, help="Print no table and no progress.")
def select(file: Path, **options: Any) -> int:
    """Choose rank and ridge for the matrix in FILE by the error on held-out cells.

    FILE and its companions are as in wlrmf fit. Pairs that cannot be chosen are not run on all
    folds, and the table says so.
    """
    return selecting.select_file(file, options)


@app.command(
    context_settings=HELP,
    short_help="Predict one cell, some, or all.",
    epilog="""\b
Examples:
  wlrmf predict ratings.wlrmf.npz --row alice --col "The Sting"
  wlrmf predict ratings.wlrmf.npz --cells new.csv --rows user --cols item \\
      --out predicted.csv
  wlrmf predict delays.wlrmf.npz --out filled.csv
""",
)
@click.argument("model", type=FILE)
@click.option("--row", metavar="ROW", help="Print one cell: its row, a name or an index from 0.")
@click.option("--col", metavar="COL", help="Its column.")
@click.option("--cells", type=FILE, metavar="FILE", help="Predict the cells that a table lists.")
@click.option("--rows", metavar="COLUMN", help="The column of --cells with the rows' names.")
@click.option("--cols", metavar="COLUMN", help="The column of --cells with the columns' names.")
@click.option(
    "--out",
    type=FILE,
    metavar="FILE",
    help="csv, npy or parquet. Without --cells it is the whole matrix.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def predict(model: Path, **options: Any) -> None:
    """Predict one cell, the cells of a table, or the whole matrix from MODEL.

    Rows and columns go by their names where FILE had some, otherwise by index from 0.
    """
    predicting.predict(model, **options)


@app.command(
    context_settings=HELP,
    short_help="Say what a model is a fit of, and how it ended.",
    epilog="""\b
Example:
  wlrmf info ratings.wlrmf.npz
""",
)
@click.argument("model", type=FILE)
def info(model: Path) -> None:
    """Say what MODEL is a fit of, and how it ended."""
    showing.info(model)
