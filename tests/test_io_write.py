"""Results written to files are read back as they were."""

import errno
import os

import numpy as np
import pytest

from wlrmf.io import DataFileError, read_matrix, write_columns, write_matrix

VALUES = np.array([[1.5, np.nan, -3.0], [4.0, 5e-3, np.nan]])
ROWS, COLS = ["x", "é, y"], ["a", 'b "c"', "d\ne"]
pytestmark = pytest.mark.usefixtures("pyarrow")


@pytest.mark.parametrize("ending", ["csv", "parquet", "npy"])
@pytest.mark.parametrize("rows", [None, ROWS, np.array(ROWS), [7, 8]])
@pytest.mark.parametrize("cols", [None, COLS, np.array(COLS)])
def test_matrices_are_read_back(tmp_path, ending, rows, cols):
    path = tmp_path / f"out.{ending}"
    write_matrix(path, VALUES, rows, cols)
    table = read_matrix(path)
    np.testing.assert_array_equal(table.values, VALUES)
    if ending == "npy":
        return
    assert (table.row_names is None) == (rows is None)
    if rows is not None:
        assert table.row_names.tolist() == [str(name) for name in rows]
    if cols is not None:
        assert table.col_names.tolist() == COLS


@pytest.mark.parametrize("ending", ["csv", "parquet", "npy"])
@pytest.mark.parametrize("dtype", ["f4", "f8", ">f8", "i4", "?"])
def test_every_bit_is_kept(tmp_path, ending, dtype):
    values = np.random.default_rng(0).normal(size=(5, 4), scale=9).astype(dtype)[::-1, ::2]
    write_matrix(tmp_path / f"out.{ending}", values)
    np.testing.assert_array_equal(
        read_matrix(tmp_path / f"out.{ending}").values.astype(dtype), values
    )


def test_the_text_of_a_csv_file(tmp_path):
    path = tmp_path / "out.csv"
    write_matrix(path, VALUES)
    assert path.read_text() == "1.5,,-3\n4,0.005,\n"
    write_matrix(path, VALUES, ["x", "y"])
    assert path.read_text() == '"","0","1","2"\n"x",1.5,,-3\n"y",4,0.005,\n'
    write_columns(path, {"user": ["u", "v"], "item": [3, 4], "prediction": [0.5, np.nan]})
    assert path.read_text() == '"user","item","prediction"\n"u",3,0.5\n"v",4,\n'


@pytest.mark.parametrize(
    ("values", "names", "reason"),
    [
        (np.zeros(3), {}, r"`values` must be a matrix of numbers; got float64 of shape \(3,\)"),
        ([["a"]], {}, "got <U1"),
        (VALUES, {"row_names": ["a"]}, r"`row_names` must hold 2 names .* \(2, 3\); got 1"),
        (VALUES, {"col_names": ["a"]}, r"`col_names` must hold 3 names .* \(2, 3\); got 1"),
    ],
)
def test_what_is_no_matrix_is_not_written(tmp_path, values, names, reason):
    with pytest.raises(ValueError, match=reason):
        write_matrix(tmp_path / "out.csv", values, **names)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("columns", [{}, {"a": [1], "b": [1, 2]}, {"a": 1}, {"a": [[1]]}])
def test_columns_of_other_shapes_are_not_written(tmp_path, columns):
    with pytest.raises(ValueError, match="`columns` must hold vectors of one length"):
        write_columns(tmp_path / "out.csv", columns)


def test_other_endings_are_not_written(tmp_path):
    with pytest.raises(DataFileError, match=r"known endings: \.csv, \.npy, \.parquet"):
        write_matrix(tmp_path / "out.xlsx", VALUES)
    with pytest.raises(DataFileError, match=r"known endings: \.csv, \.parquet"):
        write_columns(tmp_path / "out.npy", {"a": [1]})


@pytest.mark.parametrize("ending", ["csv", "parquet", "npy"])
def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch, ending):
    path = tmp_path / f"out.{ending}"
    write_matrix(path, VALUES)

    def fail(*args):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        write_matrix(path, VALUES + 1)
    monkeypatch.undo()
    np.testing.assert_array_equal(read_matrix(path).values, VALUES)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
