"""``wlrmf fit``: files in, a model file and a summary out."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from scipy import sparse

from ..fit import fit
from ..io import DataFileError, Table, read_matrix, read_triplets
from ..io.table import MATRIX_ENDINGS
from ..model import Factorization
from ..problem import build
from ..result import Status
from ..solvers.base import Stop
from ..validation.cells import read_cells
from . import text
from .files import check_out, size_of

DATA = ("mask", "weights", "rows", "cols", "values", "duplicates", "key", "header")
STOP = ("max_iter", "max_seconds", "gtol", "ftol", "gap")
PLACE = ("out", "plot", "model", "force", "quiet")
RECOMMENDER = ("alpha", "popularity")
# A budget that the user set is no failure.
BUDGETS = {
    Status.MAX_ITER: "max_iter",
    Status.MAX_SECONDS: "max_seconds",
    Status.NOT_STARTED: "max_iter",
}


@dataclass(frozen=True, eq=False)
class Data:
    """What the files hold."""

    Y: Any
    mask: Any
    weights: Any
    row_names: np.ndarray | None
    col_names: np.ndarray | None


def fit_file(file: Path, options: dict[str, Any]) -> int:
    """Fit, write the model, print the summary; the exit status."""
    for name in RECOMMENDER:
        if options[name] is not None:
            raise click.UsageError(f"--{name} is for a recommender: it needs --feedback")
    options = checked(options)
    out = options["out"] or default_out(file)
    check_out(out, *inputs(file, options), force=options["force"])
    data = read_data(file, **{name: options[name] for name in DATA})
    if options["baseline"] is not None and not sparse.issparse(data.Y):
        raise click.UsageError(
            "--baseline wants a sparse FILE: .mtx, scipy's .npz, or a table with --rows and --cols"
        )
    stop, rest = given(options)
    begin = time.perf_counter()
    model = fit(
        data.Y,
        data.mask,
        weights=data.weights,
        stop=stop,
        progress=not options["quiet"],
        **rest,
    )
    seconds = time.perf_counter() - begin
    model = replace(model, row_names=data.row_names, col_names=data.col_names)
    model.save(out)
    if not options["quiet"]:
        lines = described(model, data, file, seconds)
        text.facts([*lines, ("written", f"{out} ({size_of(out)})")])
    return exit_status(model, options)


def checked(options: dict[str, Any]) -> dict[str, Any]:
    """Weights of a matrix are in a file, those of a table in a column of it."""
    if options["rows"] is None:
        weights = options["weights"]
        return options | {"weights": None if weights is None else Path(weights)}
    if options["cols"] and options["values"] is None and options.get("baseline") is None:
        raise click.UsageError("--values is missing: without it, or --baseline, all cells are 1")
    return options


def inputs(file: Path, options: dict[str, Any]) -> list[Path]:
    """All files that are read."""
    companions = (options["mask"], options["weights"])
    return [file, *(split_key(path)[0] for path in companions if isinstance(path, Path))]


def given(options: dict[str, Any]) -> tuple[Stop, dict[str, Any]]:
    """What the library is told. What was not given is left out: the defaults are the library's."""
    some = {name: value for name, value in options.items() if value is not None}
    stop = Stop(**{name: some[name] for name in STOP if name in some})
    return stop, {k: v for k, v in some.items() if k not in (*DATA, *STOP, *PLACE)}


def exit_status(model: Any, options: dict[str, Any]) -> int:
    """0, or 1 and a warning if the fit ended without success."""
    if model.success or options.get(BUDGETS.get(model.status, "")) is not None:
        return 0
    click.echo(f"wlrmf: warning: {ending(model.status)}", err=True)
    return 1


def default_out(file: Path) -> Path:
    """The file's name with another ending, in the current directory."""
    stem = file.name
    for kind in sorted(MATRIX_ENDINGS, key=len, reverse=True):
        if stem.lower().endswith(kind):
            stem = stem[: -len(kind)]
            break
    return Path(f"{stem}.wlrmf.npz")


def read_data(
    file: Path,
    *,
    mask: Path | None,
    weights: Any,
    rows: str | None,
    cols: str | None,
    values: str | None,
    duplicates: str | None,
    key: str | None,
    header: bool | None,
) -> Data:
    """Read FILE as triplets if its columns are named, otherwise as a matrix with companions."""
    if rows is None and cols is None and values is None:
        if duplicates is not None:
            raise click.UsageError("--duplicates is for a table: it needs --rows and --cols")
        return _read_matrices(file, mask, weights, key, header)
    if rows is None or cols is None:
        missing = "--rows" if rows is None else "--cols"
        raise click.UsageError(f"{missing} is missing: a table has both --rows and --cols")
    for name, value in (("--mask", mask), ("--key", key), ("--header", header)):
        if value is not None:
            raise click.UsageError(f"{name} is for matrices, and --rows makes FILE a table")
    table = read_triplets(
        file,
        rows=rows,
        cols=cols,
        values=values,
        weights=weights,
        duplicates=duplicates or "error",
    )
    row_names, col_names = (ids.astype(np.str_) for ids in (table.row_ids, table.col_ids))
    return Data(table.matrix, None, table.weights, row_names, col_names)


def _read_matrices(
    file: Path, mask: Path | None, weights: Path | None, key: str | None, header: bool | None
) -> Data:
    try:
        table = read_matrix(file, key=key, header=header)
    except DataFileError as error:
        if not str(error).endswith("is not a number"):
            raise
        raise DataFileError(
            f"{error}; if each line is one cell, give --rows, --cols and --values"
        ) from error
    A, squared = (
        None if path is None else _read_companion(path, option, table, file)
        for path, option in ((mask, "--mask"), (weights, "--weights"))
    )
    return Data(table.values, A, squared, table.row_names, table.col_names)


def _read_companion(path: Path, option: str, table: Table, file: Path) -> Any:
    """The matrix of a mask or of weights, whose names must be those of the data."""
    place, key = split_key(path)
    try:
        other = read_matrix(place, key=key)
    except DataFileError as error:
        words = str(error).replace("choose one by `key` of", f"name one as {path}:NAME of")
        raise DataFileError(f"{option} {words}") from error
    for axis in ("row", "col"):
        names, wanted = (getattr(one, f"{axis}_names") for one in (other, table))
        if names is None or wanted is None or len(names) != len(wanted):
            continue
        differ = np.flatnonzero(names != wanted)
        if differ.size:
            k = differ[0]
            what = {"row": "row", "col": "column"}[axis]
            raise DataFileError(
                f"{option} {path}: {what} {k + 1} is called {str(names[k])!r}, "
                f"in {file} {str(wanted[k])!r}"
            )
    return other.values


def split_key(path: Path) -> tuple[Path, str | None]:
    """The file and the array's name of FILE.npz:NAME; other paths have no name."""
    named = re.fullmatch(r"(.+\.npz):(.+)", str(path), re.IGNORECASE)
    if named is None or path.exists():
        return path, None
    return Path(named[1]), named[2]


def described(
    model: Factorization, data: Data, file: Path, seconds: float
) -> list[tuple[str, str]]:
    """The lines of the summary."""
    # Without the baseline: the error is that of the cells which were observed.
    cells = read_cells(data.Y, data.mask, data.weights, None, model.left.dtype, allow_empty=True)
    problem = build(cells, 1)
    (m, n), observed = model.shape, problem.nnz
    share = 100 * observed / (m * n)
    n_starts = len(model.start_values)
    starts = f", best of {n_starts} starts" if n_starts > 1 else ""
    lines = [
        ("data", f"{file}: {m} × {n}, {text.count(observed, 'observed cell')} ({share:.3g} %)"),
        ("model", f"rank {model.rank}{' + biases' if model.has_bias else ''}, {model.left.dtype}"),
        (
            "solver",
            f"{model.solver}, {text.count(model.n_iter, 'iteration')}, {seconds:.2f} s{starts}",
        ),
        ("value", f"{model.value:.6g}, of which loss {model.loss:.6g}"),
    ]
    if observed:
        error = (problem.loss(model.left, model.right) / problem.total_weight()) ** 0.5
        kind = "weighted RMSE" if data.mask is not None or data.weights is not None else "RMSE"
        lines.append(("error", f"{kind} {error:.6g} over the observed cells"))
    lines.append(("status", ending(model.status)))
    empty = [
        text.count(len(places), what)
        for places, what in ((model.empty_rows, "row"), (model.empty_cols, "column"))
        if len(places)
    ]
    if empty:
        lines.append(("note", f"{' and '.join(empty)} without an observed cell: factors 0"))
    return lines


def ending(status: Status) -> str:
    """How a fit ended, with this command's options in the advice."""
    words = re.sub(r"stop=Stop\((\w+)=\.\.\.\)", r"--\1", status.value)
    words = words.replace("--max_", "--max-").replace("or data scaled", "or scale the data")
    return words.replace("try a larger reg, float64", "try a larger --reg, --dtype float64")
