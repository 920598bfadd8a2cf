"""The commands and their options: what the arguments are called and what the help says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import __version__
from . import blocks, evaluating, fitting, predicting, recommending, selecting, showing
from .options import (
    FILE,
    IntOr,
    Numbers,
    Ridge,
    cluster_options,
    data_options,
    duplicates_option,
    fit_options,
    recommender_options,
)

HELP = {"help_option_names": ["-h", "--help"]}


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
  wlrmf fit STORE --rank 32 --reg 5 --local-cluster 4
""",
)
@click.argument("file", type=FILE)
@click.option(
    "--rank",
    type=IntOr("auto"),
    required=True,
    metavar="K|auto",
    help="Number of factors; auto, with --reg: as many as the optimum over all ranks has.",
)
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
@recommender_options
@cluster_options
@click.option(
    "--checkpoint", type=FILE, metavar="FILE", help="STORE: keep the state here, once a minute."
)
@click.option("--resume", is_flag=True, help="STORE: go on from --checkpoint, if it is there.")
@click.option(
    "--factors",
    type=FILE,
    metavar="DIRECTORY",
    help="STORE: write all factors as parquet files, by blocks, instead of MODEL.",
)
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
    observed cell a line. FILE.npz:NAME, for --mask and --weights, is one array of several. A
    directory is a block store, which wlrmf ingest makes of more cells than fit the memory.
    """
    if blocks.is_store(file):
        return blocks.fit_store(file, options)
    for name in blocks.STORES:
        if options.pop(name) not in (None, False):
            raise click.UsageError(
                f"--{name.replace('_', '-')} needs a block store: see wlrmf ingest"
            )
    if options["feedback"] is not None:
        return recommending.fit_file(file, options)
    return fitting.fit_file(file, options)


@app.command(
    context_settings=HELP,
    short_help="Make a block store of more cells than fit the memory.",
    epilog="""\b
Example:
  wlrmf ingest "ratings/*.parquet" --rows user --cols item --values rating \\
      --out STORE
""",
)
@click.argument("source", nargs=-1, required=True)
@click.option("--rows", required=True, metavar="COLUMN", help="Column with the rows (users).")
@click.option("--cols", required=True, metavar="COLUMN", help="Column with the columns (items).")
@click.option("--values", metavar="COLUMN", help="Column with the values. Default: all are 1.")
@click.option("--weights", metavar="COLUMN", help="Column with weights of the squared residuals.")
@duplicates_option
@click.option(
    "--dtype", type=click.Choice(["float32", "float64"]), help="Of the values. Default: float32."
)
@click.option("--row-blocks", type=int, metavar="N", help="Default: four million cells in each.")
@click.option("--col-blocks", type=int, metavar="N", help="The same of blocks of columns.")
@click.option(
    "--out", type=FILE, required=True, metavar="STORE", help="A directory that is not there yet."
)
@cluster_options
@click.option("--quiet", is_flag=True, help="Print no summary.")
def ingest(source: tuple[str, ...], **options: Any) -> int:
    """Make a block store of csv or parquet files with one observed cell a line.

    SOURCE is a file, several, a directory or a pattern. They are read piece by piece; wlrmf fit
    takes the STORE, memory-mapped or on a Dask cluster.
    """
    return blocks.ingest(source, options)


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
    short_help="List the best items for users.",
    epilog="""\b
Examples:
  wlrmf recommend ratings.wlrmf.npz --user alice -n 5
  wlrmf recommend ratings.wlrmf.npz --like "The Sting"
  wlrmf recommend ratings.wlrmf.npz --out lists.csv
""",
)
@click.argument("model", type=FILE)
@click.option("--user", multiple=True, metavar="ID", help="For whom; may be repeated.")
@click.option("--like", multiple=True, metavar="ID", help="Items most similar to this one instead.")
@click.option("-n", type=int, default=10, show_default=True, metavar="N", help="Length of a list.")
@click.option("--keep-seen", is_flag=True, help="Items that the user has a rating of, too.")
@click.option(
    "--unknown",
    type=click.Choice(["error", "mean", "nan"]),
    help="Users that MODEL does not know: an error, the average user's list, or none.",
)
@click.option(
    "--out", type=FILE, metavar="FILE", help="csv or parquet. Without --user: lists for all users."
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def recommend(model: Path, **options: Any) -> None:
    """List the best items for users of a recommender, MODEL (wlrmf fit --feedback …)."""
    recommending.recommend(model, **options)


@app.command(
    context_settings=HELP,
    short_help="Hold predictions or lists against ratings.",
    epilog="""\b
Examples:
  wlrmf evaluate ratings.wlrmf.npz test.csv --rows user --cols item --values rating
  wlrmf evaluate clicks.wlrmf.npz test.csv --rows user --cols item \\
      --metrics ndcg,recall --at 10,20
""",
)
@click.argument("model", type=FILE)
@click.argument("file", type=FILE)
@click.option("--rows", required=True, metavar="COLUMN", help="Column of FILE with rows (users).")
@click.option("--cols", required=True, metavar="COLUMN", help="Column with columns (items).")
@click.option("--values", metavar="COLUMN", help="Column with values (ratings).")
@click.option("--weights", metavar="COLUMN", help="Column with weights of the squared errors.")
@click.option(
    "--metrics",
    metavar="NAMES",
    help="rmse,mae; of a recommender also precision,recall,map,ndcg,hit,mrr,auc,coverage.",
)
@click.option("--at", default="10", show_default=True, metavar="N,N", help="Lengths of lists.")
@click.option(
    "--relevant-from", type=float, metavar="X", help="Lists: the least rating of a relevant item."
)
@click.option(
    "--unknown",
    type=click.Choice(["error", "mean", "zero", "nan"]),
    help="Ids that MODEL does not know: an error, the mean, 0, or left out.",
)
@click.option("--keep-seen", is_flag=True, help="Lists with items that the user has already.")
def evaluate(model: Path, file: Path, **options: Any) -> None:
    """Hold the predictions or lists of MODEL against the ratings in FILE."""
    evaluating.evaluate(model, file, **options)


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
