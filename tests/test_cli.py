"""The command line, end to end: what it writes, what it says, how it ends."""

import dataclasses
import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import io as scipy_io
from scipy import sparse

import wlrmf
from wlrmf.cli import main
from wlrmf.io import read_matrix, write_columns, write_matrix

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("rich", reason="the command line needs rich")

ROWS = [f"user {i}" for i in range(8)]
COLS = [f"item {j}" for j in range(6)]
TABLE = ("--rows", "user", "--cols", "item", "--values", "rating")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A directory of its own for every test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def truth():
    rng = np.random.default_rng(0)
    return rng.standard_normal((8, 2)) @ rng.standard_normal((2, 6))


@pytest.fixture
def Y(truth):
    """Exactly of rank 2, with missing cells."""
    Y = truth.copy()
    Y[[0, 1, 5, 7], [3, 0, 5, 2]] = np.nan
    return Y


@pytest.fixture
def matrix(Y):
    np.save("y.npy", Y)
    return "y.npy"


@pytest.fixture
def named(Y, pyarrow):
    write_matrix("named.csv", Y, ROWS, COLS)
    return "named.csv"


@pytest.fixture
def table(Y, pyarrow):
    """The observed cells, one a line, with ids in no order."""
    i, j = np.nonzero(np.isfinite(Y))
    order = np.random.default_rng(1).permutation(len(i))
    i, j = i[order], j[order]
    ids = {"user": np.array(ROWS)[i], "item": np.array(COLS)[j]}
    write_columns("table.csv", ids | {"rating": Y[i, j], "w": np.full(len(i), 2.0)})
    return "table.csv"


@pytest.fixture
def model(Y):
    """The file of a model with names of rows only."""
    fitted = wlrmf.fit(Y, rank=2, stop=wlrmf.Stop(gtol=1e-10, ftol=0))
    dataclasses.replace(fitted, row_names=np.array(ROWS)).save("model.npz")
    return "model.npz"


@pytest.fixture
def run(capsys):
    """Call the command line and return its output; nothing may be on stderr."""

    def call(*argv, status=0, warning=None):
        assert main([str(each) for each in argv]) == status
        out, err = capsys.readouterr()
        if warning is None:
            assert err == ""
        else:
            assert err.startswith("wlrmf: warning: ")
            assert warning in err
            assert err.count("\n") == 1
        return out

    return call


@pytest.fixture
def refused(capsys, place):
    """Call the command line with bad input: one line on stderr, and no file more than before."""

    def call(reason, *argv):
        before = {path: path.read_bytes() for path in place.iterdir() if path.is_file()}
        assert main([str(each) for each in argv]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("wlrmf: error: ")
        assert reason in err
        assert err.count("\n") == 1
        assert err.endswith("\n")
        after = {path: path.read_bytes() for path in place.iterdir() if path.is_file()}
        assert after == before

    return call


def shell(*argv):
    command = [sys.executable, "-m", "wlrmf", *argv]
    env = os.environ | {"PYTHONPATH": str(Path(wlrmf.__file__).parent.parent)}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)


# fit: kinds of files


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "parquet", "sparse npz", "mtx", "mtx.gz"])
def test_every_kind_of_file_gives_the_same_fit(kind, Y, truth, run, request):
    name = f"y.{kind.split()[-1]}"
    if kind in ("csv", "parquet"):
        request.getfixturevalue("pyarrow")
    i, j = np.nonzero(np.isfinite(Y))
    stored = sparse.coo_array((Y[i, j], (i, j)), shape=Y.shape)
    if kind == "npz":
        np.savez(name, first=Y, other=np.ones(3))
    elif kind == "sparse npz":
        sparse.save_npz(name, stored.tocsr())
    elif kind.startswith("mtx"):
        scipy_io.mmwrite("y.mtx", stored)
        if kind.endswith("gz"):
            import gzip

            Path(name).write_bytes(gzip.compress(Path("y.mtx").read_bytes()))
    else:
        np.save(name, Y) if kind == "npy" else write_matrix(name, Y)
    said = run("fit", name, "--rank", 2, "--gtol", 1e-10, "--ftol", 0)
    assert f"{name}: 8 × 6, 44 observed cells (91.7 %)" in said
    assert "y.wlrmf.npz" in said
    np.testing.assert_allclose(wlrmf.load("y.wlrmf.npz").reconstruct(), truth, atol=1e-6)


def test_the_summary_says_what_was_fitted_and_how_it_ended(Y, matrix, run):
    np.save("w.npy", np.full(Y.shape, 4.0))
    options = ("--bias", "--reg", "0.5", "--n-starts", 2, "--weights", "w.npy", "--seed", 3)
    said = run("fit", matrix, "--rank", 1, *options)
    lines = {line.split()[0]: line.split(None, 1)[1] for line in said.splitlines()}
    assert list(lines) == ["data", "model", "solver", "value", "error", "status", "written"]
    model = wlrmf.load("y.wlrmf.npz")
    assert lines["model"] == "rank 1 + biases, float64"
    assert lines["solver"].startswith(f"als, {model.n_iter} iterations, ")
    assert lines["solver"].endswith(" s, best of 2 starts")
    assert lines["value"] == f"{model.value:.6g}, of which loss {model.loss:.6g}"
    error = np.sqrt(np.nanmean((Y - model.reconstruct()) ** 2))
    assert lines["error"] == f"weighted RMSE {error:.6g} over the observed cells"
    assert lines["status"].startswith("converged")
    assert lines["written"].startswith("y.wlrmf.npz (")
    assert "\x1b" not in said
    same = wlrmf.fit(Y, None, 1, weights=np.full(Y.shape, 4.0), bias=True, reg=0.5, n_starts=2,
                     seed=3)  # fmt: skip
    assert model.value == same.value


def test_the_error_of_a_baseline_fit_is_over_the_stored_cells(Y, truth, table, run):
    said = run("fit", table, *TABLE, "--rank", 1, "--baseline", 0.1)
    residual = Y - wlrmf.load("table.wlrmf.npz").reconstruct()
    assert f"RMSE {np.sqrt(np.nanmean(residual**2)):.6g} over" in said
    run("fit", table, *TABLE[:4], "--rank", 1, "--baseline", 0.1, "--out", "implicit.npz")
    assert wlrmf.load("implicit.npz").base_u == 0.1


def test_options_reach_the_fit(matrix, run):
    run("fit", matrix, "--rank", 2, "--reg", "1,2", "--reg-scaling", "count", "--dtype", "float32",
        "--solver", "lbfgs", "--threads", 1, "--max-seconds", 60, "--out", "m.npz")  # fmt: skip
    model = wlrmf.load("m.npz")
    assert (model.solver, model.row_reg, model.reg_scaling) == ("lbfgs", 1.0, "count")
    assert model.left.dtype == np.float32


def test_masks_and_arrays_by_name(Y, run):
    mask = np.isfinite(Y)
    mask[0] = False
    np.savez("all.npz", Y=Y, mask=mask, other=Y)
    out = ("--out", "m.npz")
    said = run("fit", "all.npz", "--key", "Y", "--mask", "all.npz:mask", "--rank", 1, *out)
    assert "39 observed cells" in said
    assert "note" in said
    assert "1 row without an observed cell" in said
    assert wlrmf.load("m.npz").empty_rows.tolist() == [0]


def test_headers_of_csv_files(run, pyarrow):
    Path("years.csv").write_text("2013,2014\n1,2\n2,4\n3,6\n")
    assert "3 × 2" in run("fit", "years.csv", "--header", "--rank", 1)
    assert "4 × 2" in run("fit", "years.csv", "--rank", 1, "--force")


def test_quiet_is_silent(matrix, run):
    assert run("fit", matrix, "--rank", 2, "--quiet") == ""


def test_an_existing_model_stays_unless_forced(matrix, run, refused):
    run("fit", matrix, "--rank", 2)
    refused("y.wlrmf.npz: exists; --force replaces it", "fit", matrix, "--rank", 1)
    run("fit", matrix, "--rank", 1, "--force")
    assert wlrmf.load("y.wlrmf.npz").rank == 1


# fit: how it ends


def test_a_budget_of_the_user_is_no_failure(matrix, run):
    for budget in (("--max-iter", 1), ("--max-iter", 0), ("--max-seconds", 0)):
        run("fit", matrix, "--rank", 2, *budget, "--force")
    said = run("fit", matrix, "--rank", 2, "--max-iter", 1, "--force")
    assert "stopped at max_iter before converging; give --max-iter more" in said


@pytest.mark.parametrize(
    ("status", "words"),
    [(wlrmf.Status.MAX_ITER, "--max-iter more"), (wlrmf.Status.NOT_FINITE, "larger --reg")],
)
def test_an_end_without_success_is_status_1_and_the_model_is_there(
    status, words, matrix, run, monkeypatch
):
    from wlrmf.cli import fitting

    def fit(*args, **options):
        return dataclasses.replace(wlrmf.fit(*args, **options), status=status)

    monkeypatch.setattr(fitting, "fit", fit)
    assert "written" in run("fit", matrix, "--rank", 2, status=1, warning=words)
    assert wlrmf.load("y.wlrmf.npz").status is status


def test_warnings_are_lines(matrix, run):
    run("fit", matrix, "--rank", 40, warning="rank 40 is above min(m, n) = 6")


# fit: bad input


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["--bogus"], "No such option"),
        (["fitt"], "No such command 'fitt'"),
        (["fit"], "Missing argument 'FILE' (see wlrmf fit --help)"),
        (["fit", "y.npy"], "Missing option '--rank'"),
        (["fit", "y.npy", "--rank"], "Option '--rank' requires an argument"),
        (["fit", "y.npy", "--rnk", "2"], "No such option"),
        (["fit", "y.npy", "extra", "--rank", "2"], "unexpected extra argument"),
        (["fit", "y.npy", "--rank", "2.5"], "'2.5' is neither a whole number nor auto"),
        (["fit", "y.npy", "--rank", "auto"], "need a ridge on all rows and columns"),
        (["fit", "y.npy", "--rank", "0"], "--rank must be an int of at least 1"),
        (["fit", "y.npy", "--rank", "2000000"], "at most 1000000; got 2000000"),
        (["fit", "none.npy", "--rank", "2"], "none.npy: no such file"),
        (["fit", ".", "--rank", "2"], ". is a directory and no block store"),
        (["fit", "y.txt", "--rank", "2"], "y.txt: unknown kind of file; known endings: .csv"),
        (["fit", "y.npy", "--rank", "2", "--reg", "1,2,3"], "'1,2,3' is neither a number"),
        (["fit", "y.npy", "--rank", "2", "--reg", "x"], "'x' is neither a number nor two"),
        (["fit", "y.npy", "--rank", "2", "--reg", "-1"], "--reg must be a finite number"),
        (["fit", "y.npy", "--rank", "2", "--reg", "nan"], "--reg must be a finite number"),
        (["fit", "y.npy", "--rank", "2", "--solver", "x"], "'x' is not one of 'auto', 'svd'"),
        (["fit", "y.npy", "--rank", "2", "--solver", "svd"], "solver 'svd' needs"),
        (["fit", "y.npy", "--rank", "2", "--dtype", "int8"], "'int8' is not one of"),
        (["fit", "y.npy", "--rank", "2", "--seed", "-1"], "--seed must be an int of at least 0"),
        (["fit", "y.npy", "--rank", "2", "--threads", "0"], "--threads must be an int"),
        (["fit", "y.npy", "--rank", "2", "--n-starts", "0"], "--n-starts must be an int"),
        (["fit", "y.npy", "--rank", "2", "--n-starts", "x"], "'x' is neither a whole number nor"),
        (["fit", "y.npy", "--rank", "2", "--gap", "0"], "--gap must be a finite number, above 0"),
        (["fit", "y.npy", "--rank", "2", "--max-iter", "-1"], "--max-iter must be an int"),
        (["fit", "y.npy", "--rank", "2", "--gtol", "nan"], "--gtol must be a finite number"),
        (["fit", "y.npy", "--rank", "2", "--baseline", "1"], "--baseline wants a sparse FILE"),
        (["fit", "y.npy", "--rank", "2", "--key", "a"], "--key chooses an array of a .npz file"),
        (["fit", "y.npy", "--rank", "2", "--header"], "--header is for .csv files"),
        (["fit", "y.npy", "--rank", "2", "--mask", "t.npy"], "(6, 8). Is it transposed?\n"),
        (["fit", "y.npy", "--rank", "2", "--weights", "y.npy"], "--weights must be finite and"),
        (["fit", "y.npy", "--rank", "2", "--mask", "none.npy"], "--mask none.npy: no such file"),
        (["fit", "y.npy", "--rank", "2", "--out", "."], ".: Is a directory"),
        (["fit", "y.npy", "--rank", "2", "--out", "none/m.npz"], "none: no such directory"),
        (["fit", "y.npy", "--rank", "2", "--out", os.devnull], "not a regular file"),
        (["fit", "y.npy", "--rank", "2", "--force", "--out", "y.npy"], "cannot be --out"),
        (["fit", "two.npz", "--rank", "2"], "holds 2 matrices; choose one by --key of: 'a (8, 6)"),
        (["fit", "two.npz", "--rank", "2", "--key", "c"], "has no array 'c'; it has 'a', 'b'"),
        (["fit", "y.npy", "--rank", "2", "--mask", "two.npz"], "name one as two.npz:NAME of: 'a"),
        (["fit", "y.npy", "--rank", "2", "--mask", "two.npz:c"], "has no array 'c'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments_of_fit(argv, reason, Y, matrix, refused):
    np.save("t.npy", np.ones((6, 8)))
    np.savez("two.npz", a=Y, b=Y)
    refused(reason, *argv)


def test_bad_tables(table, refused):
    fit = ("fit", table, "--rank", "1")
    refused("give --rows, --cols and --values", *fit)
    refused("--cols is missing", *fit, "--rows", "user")
    refused("--rows is missing", *fit, "--values", "rating")
    refused("--values is missing", *fit, *TABLE[:4])
    refused("has no column 'usr'; its columns: 'user', 'item'", *fit, "--rows", "usr", *TABLE[2:])
    refused("--mask is for matrices", *fit, *TABLE, "--mask", "y.npy")
    refused("--header is for matrices", *fit, *TABLE, "--no-header")
    refused("has no column 'y.npy'", *fit, *TABLE, "--weights", "y.npy")
    refused("--rows and --cols must be columns", *fit, "--rows", "item", *TABLE[2:])


def test_companions_must_have_the_names_of_the_data(Y, named, refused):
    write_matrix("w.csv", np.ones_like(Y), ROWS, COLS[::-1])
    reason = "--weights w.csv: column 1 is called 'item 5', in named.csv 'item 0'"
    refused(reason, "fit", named, "--rank", 2, "--weights", "w.csv")


def test_names_of_files_cannot_break_the_line(refused):
    refused("two lines.npy", "fit", "two\nlines.npy", "--rank", 2)
    refused("?[31m", "fit", "\x1b[31m.npy", "--rank", 2)


def test_missing_extras(matrix, model, named, refused, monkeypatch, capsys):
    for module in ("pyarrow", "pyarrow.csv", "matplotlib"):
        monkeypatch.setitem(sys.modules, module, None)
    refused("need pyarrow: pip install 'wlrmf[io]'", "fit", named, "--rank", 2)
    refused("need pyarrow: pip install 'wlrmf[io]'", "predict", model, "--out", "x.csv")
    refused("pip install 'wlrmf[plot]'", "demo")
    for module in ("click", "rich"):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, module, None)
            assert main(["--help"]) == 2
            said = "the command line needs click and rich: pip install 'wlrmf[cli]'\n"
            assert capsys.readouterr() == ("", said)


# predict


def test_cells_of_a_table_by_name(truth, table, run):
    run("fit", table, *TABLE, "--weights", "w", "--rank", 2, "--gtol", 1e-10, "--ftol", 0)
    said = run("predict", "table.wlrmf.npz", "--row", "user 1", "--col", "item 0")
    assert float(said) == pytest.approx(truth[1, 0], abs=1e-6)
    # Cells that the fit did not see, one of them twice, under other names of columns.
    wanted = {"u": ["user 7", "user 0", "user 7"], "prediction": ["item 2", "item 3", "item 2"]}
    write_columns("cells.csv", wanted)
    names = ("--rows", "u", "--cols", "prediction")
    run("predict", "table.wlrmf.npz", "--cells", "cells.csv", *names, "--out", "p.parquet")
    from pyarrow import parquet

    columns = parquet.read_table("p.parquet").to_pydict()
    found = columns.pop("prediction_")
    assert columns == wanted
    np.testing.assert_allclose(found, truth[[7, 0, 7], [2, 3, 2]], atol=1e-6)


def test_integer_ids_are_names_too(run, pyarrow):
    i, j = np.indices((3, 4)).reshape(2, -1)
    write_columns("t.parquet", {"user": 10 * i + 7, "item": j - 2, "rating": (i + 1.0) * (j + 1)})
    run("fit", "t.parquet", *TABLE, "--rank", 1, "--quiet")
    assert float(run("predict", "t.wlrmf.npz", "--row", "27", "--col", "-2")) == pytest.approx(3)
    cells = ("--cells", "t.parquet", *TABLE[:4], "--out", "p.csv")
    assert "12 predictions written to p.csv" in run("predict", "t.wlrmf.npz", *cells)
    head, first, *_ = Path("p.csv").read_text().splitlines()
    assert head == '"user","item","prediction"'
    assert first.startswith("7,-2,")


@pytest.mark.parametrize("kind", ["csv", "parquet", "npy"])
def test_the_whole_matrix(kind, truth, named, run):
    run("fit", named, "--rank", 2, "--gtol", 1e-10, "--ftol", 0)
    said = run("predict", "named.wlrmf.npz", "--out", f"all.{kind}")
    assert said.startswith(f"8 × 6 predictions written to all.{kind} (")
    back = read_matrix(f"all.{kind}")
    np.testing.assert_allclose(back.values, truth, atol=1e-6)
    if kind != "npy":
        assert back.row_names.tolist() == ROWS
        assert back.col_names.tolist() == COLS


def test_indices_where_there_are_no_names(model, run):
    said = run("predict", model, "--row", "user 3", "--col", 4)
    assert float(said) == wlrmf.load(model).predict(3, 4)


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ([], "say what to predict"),
        (["--row", "user 1"], "--row and --col go together"),
        (["--row", "user 1", "--col", "1", "--out", "x.csv"], "no --cells and no --out"),
        (["--row", "user 11", "--col", "1"], "did you mean 'user 1'?"),
        (["--row", "user 1", "--col", "6"], "no column '6': the model has no column names, its"),
        (["--row", "user 1", "--col", "-1"], "its columns are 0 to 5"),
        (["--row", "user 1", "--col", "x"], "no column 'x'"),
        (["--out", "x.txt"], "x.txt: unknown kind of file"),
        (["--out", "model.npz"], "unknown kind of file"),
        (["--out", "c.csv"], "c.csv: exists; --force replaces it"),
        (["--out", "none/x.csv"], "none: no such directory"),
        (["--cells", "c.csv", "--out", "x.csv"], "--cells, --rows and --cols go together"),
        (["--cells", "c.csv", "--rows", "u", "--cols", "c"], "say what to predict"),
        (["--cells", "c.csv", "--rows", "u", "--cols", "u", "--out", "x.csv"], "two columns"),
        (["--cells", "c.csv", "--rows", "u", "--cols", "c", "--out", "x.npy"], "unknown kind"),
        (["--cells", "c.csv", "--rows", "u", "--cols", "z", "--out", "x.csv"], "no column 'z'"),
        (["--cells", "c.csv", "--rows", "u", "--cols", "c", "--out", "x.csv"],
         "data row 2, column 'u': no row 'nobody' among the 8 of the model (2 such rows)"),
    ],
)  # fmt: skip
def test_bad_arguments_of_predict(argv, reason, model, refused, pyarrow):
    write_columns("c.csv", {"u": ["user 1", "nobody", "nobody"], "c": [1, 2, 3]})
    refused(reason, "predict", model, *argv)


def test_names_that_two_rows_share(Y, refused):
    fitted = dataclasses.replace(wlrmf.fit(Y, rank=1), col_names=np.array([*"abcda", "e"]))
    fitted.save("m.npz")
    refused("several columns of the model are called 'a'", "predict", "m.npz",
            "--row", 0, "--col", "a")  # fmt: skip


def test_a_matrix_larger_than_the_memory_is_refused(model, refused, monkeypatch):
    from wlrmf.cli import predicting

    monkeypatch.setattr(predicting, "available_bytes", lambda: 100)
    refused("list the wanted ones in --cells", "predict", model, "--out", "x.npy")


def test_files_that_are_no_models(matrix, place, refused):
    Path("cut.npz").write_bytes(b"PK\x03\x04")
    Path("empty.npz").touch()
    for command in (["info"], ["predict", "--row", "0", "--col", "0"]):
        refused("none.npz: No such file or directory", *command, "none.npz")
        refused("y.npy: not a model file", *command, matrix)
        refused("cut.npz: ", *command, "cut.npz")
        refused("empty.npz: the file is empty", *command, "empty.npz")
        refused("Is a directory", *command, place)


def test_a_failure_while_writing_leaves_nothing(model, refused, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    refused(os.strerror(errno.ENOSPC), "predict", model, "--out", "x.npy")


# info, demo, help


def test_a_rank_that_is_found_and_starts_that_repeat(run):
    rng = np.random.default_rng(1)
    np.save("y.npy", rng.standard_normal((12, 2)) @ rng.standard_normal((2, 9)))
    said = run("fit", "y.npy", "--rank", "auto", "--reg", 0.5, "--gap", 1e-6)
    assert "rank 2" in said
    assert "certified" in said
    said = run("fit", "y.npy", "--rank", 1, "--bias", "--n-starts", "repeat", "--force")
    assert "best of" in said


def test_info(table, run):
    run("fit", table, *TABLE, "--rank", 2, "--bias", "--reg", 0.1, "--n-starts", 2)
    model = wlrmf.load("table.wlrmf.npz")
    said = run("info", "table.wlrmf.npz")
    for words in (
        "8 × 6",
        "'user 0', 'user 1', 'user 2', …",
        f"rank 2, biases, mean {model.mean:.6g}, float64",
        "ridge       0.1",
        f"{model.value:.6g}, of which loss {model.loss:.6g}",
        f"{model.optimality:.3g} (gradient",
        f"als, {model.n_iter} iterations",
        f"row solves {model.counts.row_solves}",
        "best of 2",
        "converged",
        wlrmf.__version__,
    ):
        assert words in said


def test_demo(run, monkeypatch, refused):
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib")
    from wlrmf import demo

    seeds = []
    result = demo.run(ranks=(1,))
    monkeypatch.setattr(demo, "run", lambda *seed: seeds.append(seed) or result)
    said = run("demo")
    header, lines = result.table()
    assert all(cell in said for cell in (*header, *lines[1]))
    assert result.summary() in said
    assert "wlrmf-demo.png" in said
    assert "\x1b" not in said
    assert Path("wlrmf-demo.png").read_bytes().startswith(b"\x89PNG")
    run("demo", "--out", "other.png", "--seed", 4)  # an older picture is replaced
    assert seeds == [(), (4,)]
    refused("the picture is a .png file", "demo", "--out", "x.svg")
    refused("none: no such directory", "demo", "--out", "none/x.png")
    refused("-1 is not in the range", "demo", "--seed", "-1")


@pytest.mark.parametrize("command", ["", "demo", "fit", "predict", "info"])
def test_help_has_an_example(command, run):
    words = run(*command.split(), "-h")
    assert words == run(*command.split(), "--help")
    assert f"  wlrmf {command}" in words.partition("Example")[2]
    assert max(map(len, words.splitlines())) <= 80


def test_no_arguments_at_all_show_the_help(run):
    assert run() == run("--help")


def test_version(run):
    assert run("--version") == f"wlrmf {wlrmf.__version__}\n"


# ends that are nobody's error


def test_ctrl_c(matrix, place, monkeypatch, capsys):
    from wlrmf.cli import fitting

    def fit(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "fit", fit)
    assert main(["fit", matrix, "--rank", "1"]) == 130
    assert capsys.readouterr() == ("", "wlrmf: interrupted\n")
    assert os.listdir(place) == [matrix]


def test_errors_that_nobody_foresaw(matrix, refused, monkeypatch):
    from wlrmf.cli import fitting

    def fit(*args, **options):
        raise KeyError("x")

    monkeypatch.setattr(fitting, "fit", fit)
    refused("internal error, KeyError: 'x' (WLRMF_TRACEBACK=1", "fit", matrix, "--rank", 1)
    monkeypatch.setenv("WLRMF_TRACEBACK", "1")
    with pytest.raises(KeyError):
        main(["fit", matrix, "--rank", "1"])


def test_as_a_process(matrix, model):
    good = shell("fit", matrix, "--rank", "2")
    assert (good.returncode, good.stderr) == (0, "")
    assert "written  y.wlrmf.npz" in good.stdout
    bad = shell("fit", "none.npy", "--rank", "2")
    said = "wlrmf: error: none.npy: no such file\n"
    assert (bad.returncode, bad.stdout, bad.stderr) == (2, "", said)


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices of POSIX")
def test_a_closed_pipe_is_silent():
    reader, writer = os.pipe()
    os.close(reader)
    env = os.environ | {"PYTHONPATH": str(Path(wlrmf.__file__).parent.parent)}
    command = [sys.executable, "-m", "wlrmf", "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=env, timeout=120)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_the_installed_command_is_this_one():
    from importlib import metadata

    commands = [c for c in metadata.entry_points(group="console_scripts") if c.name == "wlrmf"]
    if not commands:
        pytest.skip("wlrmf is not installed here")
    assert {command.value for command in commands} == {"wlrmf.cli:main"}
