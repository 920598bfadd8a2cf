"""``wlrmf select``, end to end."""

import numpy as np
import pytest
from test_cli import COLS, ROWS, TABLE, place, refused, run  # noqa: F401

import wlrmf
from wlrmf.io import read_matrix, write_columns, write_matrix

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("rich", reason="the command line needs rich")

GRID = ("--ranks", "1,2,3", "--regs", "8,2,0.5")


@pytest.fixture
def Y():
    """Rank 2 and noise, with missing cells."""
    rng = np.random.default_rng(0)
    Y = 2 * rng.standard_normal((30, 2)) @ rng.standard_normal((2, 20))
    Y += 0.5 * rng.standard_normal(Y.shape)
    Y[rng.random(Y.shape) < 0.2] = np.nan
    return Y


@pytest.fixture
def matrix(Y):
    np.save("y.npy", Y)
    return "y.npy"


def test_the_table_and_what_was_chosen(Y, matrix, run):  # noqa: F811
    out = run("select", matrix, *GRID, "--folds", 3)
    found = wlrmf.select(Y, None, [1, 2, 3], [8, 2, 0.5], folds=3)
    lines = out.strip().splitlines()
    assert lines[0].split() == ["ridge", "rank", "1", "rank", "2", "rank", "3"]
    assert [line.split()[0] for line in lines[2:5]] == ["8", "2", "0.5"]
    assert f"* {found.chosen.error:.5g} ± {found.chosen.se:.2g}" in out
    assert f"Chosen (*): rank 2, ridge {found.reg:g}, rmse {found.chosen.error:.5g}" in out
    hopeless = [t for t in found.table if t.status == "hopeless"]
    assert hopeless
    assert all(f"({trial.error:.5g})" in out for trial in hopeless)


def test_files_are_written(Y, matrix, run, refused, place, pyarrow):  # noqa: F811
    pytest.importorskip("matplotlib")
    places = ("--out", "t.csv", "--plot", "p.png", "--model", "m.npz")
    out = run("select", matrix, *GRID, "--folds", 3, *places)
    found = wlrmf.select(Y, None, [1, 2, 3], [8, 2, 0.5], folds=3)
    with open("t.csv", encoding="utf-8") as lines:
        header, *rows = [line.strip().replace('"', "").split(",") for line in lines]
    assert header == list(found.to_dict())
    assert len(rows) == 9
    errors = [float(row[2]) if row[2] else np.nan for row in rows]
    np.testing.assert_allclose(errors, [trial.error for trial in found.table])
    assert (place / "p.png").read_bytes()[:4] == b"\x89PNG"
    np.testing.assert_array_equal(wlrmf.load("m.npz").left, found.model.left)
    assert out.count("Written: ") == 3
    refused("m.npz: exists; --force", "select", matrix, *GRID, "--model", "m.npz")
    run("select", matrix, *GRID, "--holdout", 0.2, "--model", "m.npz", "--force")


def test_options_reach_the_choice(Y, matrix, run):  # noqa: F811
    np.save("a.npy", np.isfinite(Y) * np.where(np.arange(20) % 2, 2.0, 1.0))
    options = ("--mask", "a.npy", "--holdout", 0.25, "--metric", "mae", "--rule", "best")
    out = run("select", matrix, *GRID, *options, "--bias", "--seed", 4, "--threads", 1)
    A = np.load("a.npy")
    found = wlrmf.select(
        Y, A, [1, 2, 3], [8, 2, 0.5], holdout=0.25, metric="mae", rule="best", bias=True, seed=4
    )
    assert f"mae {found.chosen.error:.5g} over one holdout: the least error" in out


def test_tables_and_defaults(Y, run, pyarrow):  # noqa: F811
    i, j = np.nonzero(np.isfinite(Y))
    columns = {"user": i.astype(str), "item": j.astype(str), "rating": Y[i, j]}
    write_columns("t.csv", columns)
    out = run("select", "t.csv", *TABLE, "--model", "m.npz")
    assert [part.split()[0] for part in out.strip().splitlines()[0].split("rank ")[1:]] == [
        "1",
        "2",
        "4",
        "8",
    ]
    model = wlrmf.load("m.npz")
    assert model.rank == 2
    assert set(model.row_names) == {str(k) for k in range(30)}


def test_names_reach_the_model(Y, run, pyarrow):  # noqa: F811
    write_matrix("named.csv", Y[:8, :6], ROWS, COLS)
    assert (
        run("select", "named.csv", "--ranks", 1, "--regs", 1, "--model", "m.npz", "--quiet") == ""
    )
    assert wlrmf.load("m.npz").row_names.tolist() == ROWS
    assert read_matrix("named.csv").col_names.tolist() == COLS


def test_a_last_fit_without_success_is_status_1(matrix, capsys, monkeypatch):
    from wlrmf.cli import main, selecting

    real = selecting.select

    def short(*args, **options):
        return real(*args, **options | {"stop": wlrmf.Stop(max_iter=1)})

    monkeypatch.setattr(selecting, "select", short)
    argv = ["select", matrix, "--ranks", "2", "--regs", "1", "--model", "m.npz", "--quiet"]
    assert main(argv) == 1
    assert capsys.readouterr().err.startswith("wlrmf: warning: stopped at max_iter")
    assert main([*argv, "--force", "--max-iter", "1"]) == 0


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (("--ranks", "1,x"), "'1,x' is not a list of whole numbers, such as 1,2,4"),
        (("--regs", ""), "'' is not a list of numbers"),
        (("--ranks", "99"), "--ranks must be an int of at least 1 and at most 20; got 99"),
        (("--regs", "1,-1"), "--regs must be a finite number, not negative; got -1.0"),
        (("--folds", 1), "--folds must be an int of at least 2; got 1"),
        (("--folds", 2, "--holdout", 0.1), "--folds and --holdout exclude each other"),
        (("--holdout", 2), "--holdout must be above 0 and below 1; got 2.0"),
        (("--solver", "svd"), "--solver must work with missing cells"),
        (("--out", "t.txt"), "t.txt"),
        (("--plot", "p.pdf"), "p.pdf: the picture is a .png file"),
        (("--model", "y.npy", "--force"), "y.npy: is read by this command"),
        (("--model", "a.png", "--plot", "a.png"), "a.png: two results cannot go to one file"),
        (("--rows", "user"), "--cols is missing"),
        (("--rows", "user", "--cols", "item"), "--values is missing"),
    ],
)
def test_bad_arguments(argv, reason, matrix, refused, pyarrow):  # noqa: F811
    pytest.importorskip("matplotlib")
    refused(reason, "select", matrix, *argv)


def test_help_has_an_example(run):  # noqa: F811
    assert "Examples:" in run("select", "--help")
