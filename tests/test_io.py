"""Matrices from users' files, and results written to files."""

import contextlib
import io
import os
import sys
import zipfile

import numpy as np
import pytest
from scipy import sparse

from wlrmf.io import DataFileError, read_matrix, write_matrix

nan = np.nan
YEARS = ["2013", "2014", "2015"]
VALUES = np.array([[1.5, nan, -3.0], [4.0, 5e-3, nan]])


def check(table, values, rows=None, cols=None):
    np.testing.assert_array_equal(table.values, values)
    for names, wanted in ((table.row_names, rows), (table.col_names, cols)):
        assert (None if names is None else names.tolist()) == wanted
        assert names is None or names.dtype.kind == "U"


def refused(path, reason=".", **options):
    with pytest.raises(DataFileError, match=reason) as caught:
        read_matrix(path, **options)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


# csv


@pytest.mark.parametrize(
    ("text", "rows", "cols"),
    [
        ("1.5,,-3\n4,5e-3,NA\n", None, None),
        ("1.5,nan,-3\r\n4,5e-3,null", None, None),
        (" 1.5, NA, -3\n\n4, 0.005, \n", None, None),
        ("a,b,c\n1.5,,-3\n4,5e-3,NaN\n", None, ["a", "b", "c"]),
        ("\ufeffa,b,c\n1.5,,-3\n4,5e-3,\n", None, ["a", "b", "c"]),
        ('"a, 1","b\n2","é"\n1.5,"",-3\n"4",5e-3,\n', None, ["a, 1", "b\n2", "é"]),
        ("a,a,\n1.5,,-3\n4,5e-3,\n", None, ["a", "a", ""]),
        ("id,a,b,c\nx,1.5,,-3\nNA,4,5e-3,\n", ["x", "NA"], ["a", "b", "c"]),
        (",a,b,c\n7,1.5,,-3\n8,4,5e-3,\n", ["7", "8"], ["a", "b", "c"]),
        (",0,1,2\n0,1.5,,-3\n1,4,5e-3,\n", ["0", "1"], ["0", "1", "2"]),
        ("day,2013,2014,2015\n01-01,1.5,,-3\n01-02,4,5e-3,\n", ["01-01", "01-02"], YEARS),
    ],
)
def test_csv(csv, text, rows, cols):
    check(read_matrix(csv(text)), VALUES, rows, cols)


def test_csv_header_can_be_told(csv):
    check(read_matrix(csv("x,1,2\ny,3,4\n"), header=False), [[1, 2], [3, 4]], ["x", "y"])
    check(read_matrix(csv("2013,2014\n1,2\n"), header=True), [[1, 2]], None, ["2013", "2014"])
    check(read_matrix(csv("2013,2014\n1,2\n")), [[2013, 2014], [1, 2]])


def test_csv_of_one_column_keeps_its_empty_lines(csv):
    check(read_matrix(csv("a\n1\n\n3\n")), [[1], [nan], [3]], None, ["a"])


def test_csv_of_many_blocks(csv):
    """Types must not be guessed from the first block: the only decimals come last."""
    values = np.zeros((30_000, 20))
    values[-1] = 0.5
    text = "\n".join(",".join(f"{v:g}" for v in row) for row in values)
    check(read_matrix(csv(text)), values)


def test_csv_of_rows_longer_than_a_block(csv):
    values = np.random.default_rng(0).random((2, 70_000))
    values[0, 1:] = nan  # the first row is short, the second is not
    rows = ("," * 69_999, ",".join(map(repr, values[1].tolist())))
    check(read_matrix(csv(f"{values[0, 0]}{rows[0]}\n{rows[1]}\n")), values)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('a"b,c\n1,2\n"3,4"\n', "row 3 has 1 columns, the first has 2"),
        ("a,b\n1,2\n3,x\n", "row 3, column 'b': 'x' is not a number"),
        ("1,2\n3,x\n4,5\n", "row 2, column 2: 'x' is not a number"),
        ("a,b\n1,2\nx,3\n4,5\n", "row 3, column 'a': 'x' is not a number"),
        ("a,b\n1,1_000\n", "column 'b': '1_000' is not a number"),
        ("a,b\n1,2\n3\n", "row 3 has 1 columns, the first has 2"),
        ("a,b\n1,2,3\n", "row 2 has 3 columns, the first has 2"),
        ("a;b\n1;2\n", "column 'a;b' holds text, and there is no other"),
        ("a,b\n", "has a header and no rows"),
        ("\n\n", "the file is empty"),
        (b"", "the file is empty"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff", "not a text in UTF-8"),
        (b"a,b\n1,2\n" * 40_000 + b"\xff,3\n", "not a text in UTF-8|not a number"),
        (b"\x00" * 300_000, "not a csv file|not a number|holds text"),
    ],
)
def test_csv_that_is_refused(csv, text, reason):
    refused(csv(text), reason)


# parquet


def test_parquet(parquet, pyarrow):
    columns = {"a": pyarrow.array([1.5, 4.0]), "b": [None, 5e-3], "c": [-3, None]}
    check(read_matrix(parquet(columns)), VALUES, None, ["a", "b", "c"])
    names = {"id": ["x", None]}
    check(read_matrix(parquet(names | columns)), VALUES, ["x", ""], ["a", "b", "c"])


def test_parquet_types(parquet, pyarrow):
    columns = {
        "flag": pyarrow.array([True, None]),
        "int": pyarrow.array([2**53 + 1, None]),
        "half": pyarrow.array(np.array([0.5, 1], dtype=np.float16)),
        "decimal": pyarrow.array([1.25, 2.5]).cast(pyarrow.decimal128(5, 2)),
        "none": pyarrow.nulls(2),
    }
    check(read_matrix(parquet(columns)), [[1, 2**53, 0.5, 1.25, nan], [nan, nan, 1, 2.5, nan]],
          None, list(columns))  # fmt: skip
    single = {"a": pyarrow.array([1.5, None], pyarrow.float32())}
    assert read_matrix(parquet(single)).values.dtype == np.float32


def test_parquet_from_pandas(tmp_path, pyarrow):
    pandas = pytest.importorskip("pandas", reason="the index is a matter of pandas")
    path = tmp_path / "frame.parquet"
    frame = pandas.DataFrame(VALUES, columns=["a", "b", "c"])
    frame.to_parquet(path)
    check(read_matrix(path), VALUES, None, ["a", "b", "c"])
    frame.index = [7, 8]
    frame.to_parquet(path)
    check(read_matrix(path), VALUES, ["7", "8"], ["a", "b", "c"])


def test_parquet_that_is_refused(parquet, pyarrow, tmp_path):
    refused(parquet({"a": [1.0], "b": ["x"]}), "column 'b' holds string, not numbers")
    refused(parquet({"a": pyarrow.array([], pyarrow.float64())}), "has no cells")
    refused(parquet({"a": ["x"]}), "has no cells")
    good = parquet({"a": [1.0], "b": [2.0]}).read_bytes()
    bad = tmp_path / "bad.parquet"
    for data in (b"garbage", good[:-20], good[:20] + bytes(30) + good[50:]):
        bad.write_bytes(data)
        refused(bad)


# npy and npz


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f8", "f2", "i2", "u8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path, dtype, order):
    values = np.array([[0, 1, 1], [1, 0, 1]], dtype=dtype, order=order)
    np.save(tmp_path / "a.npy", values)
    table = read_matrix(tmp_path / "a.npy")
    check(table, values)
    assert table.values.dtype == (np.float32 if dtype in ("f2", "f4") else np.float64)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros(3), r"shape \(3,\); a matrix"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.zeros((2, 2), dtype=complex), "complex128"),
        (np.array([["a"]]), "not numbers"),
        (np.zeros((2, 2), dtype="i4,f4"), "are not read"),
        (np.array([[print]], dtype=object), "never unpickled"),
    ],
)
def test_npy_that_is_refused(tmp_path, array, reason):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    refused(tmp_path / "a.npy", reason)


def test_npy_whose_header_lies(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((2, 3)))
    data = path.read_bytes()
    for bad in (data[:-1], data[:90], b"garbage", data.replace(b"(2, 3), }   ", b"(2000, 3), }")):
        path.write_bytes(bad)
        refused(path, "needs .* bytes|unreadable npy header")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, Y=VALUES, names=np.array([["a"]]), date=np.zeros((2, 2), "M8[D]"), v=np.ones(3))
    check(read_matrix(path), VALUES)
    save(path, Y=VALUES, n=np.ones((2, 3), dtype=np.int8))
    check(read_matrix(path, key="n"), np.ones((2, 3)))
    refused(path, r"holds 2 matrices; choose one by `key` of: 'Y \(2, 3\) float64', 'n \(2, 3\) i")
    refused(path, "has no array 'q'; it has 'Y', 'n'", key="q")
    save(path, v=np.ones(3))
    refused(path, "holds no matrix")
    refused(path, r"shape \(3,\)", key="v")


def test_npz_that_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, Y=VALUES)
    data = path.read_bytes()
    for bad in (b"garbage", data[:-5], data[:100] + b"\x00" + data[101:]):
        path.write_bytes(bad)
        refused(path)
    np.savez(path, allow_pickle=True, Y=np.array([[print]], dtype=object))
    refused(path, "holds no matrix")
    refused(path, "never unpickled", key="Y")
    stream = io.BytesIO()
    np.save(stream, VALUES)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("Y.npy", stream.getvalue())
    refused(path, "numpy does not use")


def test_npz_with_a_flipped_byte_is_refused_or_reads_the_same(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, Y=VALUES)
    data = bytearray(path.read_bytes())
    for at in range(len(data)):
        data[at] ^= 0x41
        path.write_bytes(data)
        data[at] ^= 0x41
        with contextlib.suppress(DataFileError):
            check(read_matrix(path), VALUES)


# sparse matrices


def some_sparse(kind=sparse.csr_array, dtype=np.float64):
    stored = ([0, 0, 1], [2, 0, 1])  # a stored 0 is an observed cell
    return kind(sparse.coo_array((np.array([1, 0, 3], dtype=dtype), stored), shape=(2, 4)))


@pytest.mark.parametrize("kind", ["csc", "dia"])
def test_r68_a_shape_is_a_claim(tmp_path, kind):
    """No row pointers are made for rows that a file only speaks of."""
    path = tmp_path / "a.npz"
    sparse.save_npz(path, sparse.eye_array(3, 4, k=1, format=kind))
    with np.load(path) as file:
        parts = dict(file)
    assert read_matrix(path).values.toarray()[0].tolist() == [0, 1, 0, 0]
    np.savez(path, **parts | {"shape": np.array([2**46, 4])})
    assert read_matrix(path).values.nnz == 3
    np.savez(path, **parts | {"shape": parts["shape"].astype("m8[s]")})
    refused(path, "not a whole sparse matrix")


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "dia"])
@pytest.mark.parametrize("flavour", ["array", "matrix"])
def test_sparse_npz(tmp_path, kind, flavour):
    path = tmp_path / "a.npz"
    sparse.save_npz(path, some_sparse(getattr(sparse, f"{kind}_{flavour}"), np.int64))
    values = read_matrix(path).values
    assert isinstance(values, sparse.csr_array if kind == "csr" else sparse.coo_array)
    assert values.dtype == np.float64
    assert kind in ("bsr", "dia") or values.nnz == 3  # which store blocks and diagonals
    np.testing.assert_array_equal(values.toarray(), some_sparse().toarray())
    refused(path, "is one sparse matrix; it has no key 'data'", key="data")


def test_sparse_npz_keeps_repeated_entries(tmp_path):
    twice = sparse.coo_array((np.ones(2), ([0, 0], [1, 1])), shape=(2, 2))
    sparse.save_npz(tmp_path / "a.npz", twice)
    assert read_matrix(tmp_path / "a.npz").values.nnz == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [("indices", [0, 1, 9]), ("indices", [0, -1, 2]), ("indptr", [0, 9, 3]), ("indptr", [0, 3]),
     ("format", b"xyz"), ("format", np.array([print], dtype=object)), ("shape", [2])],
)  # fmt: skip
def test_sparse_npz_that_would_read_outside(tmp_path, field, value):
    path = tmp_path / "a.npz"
    matrix = some_sparse()
    parts = {name: getattr(matrix, name) for name in ("data", "indices", "indptr", "shape")}
    np.savez(path, allow_pickle=True, **({"format": b"csr"} | parts | {field: value}))
    refused(path)


# all kinds


def test_files_that_are_none(tmp_path):
    refused(tmp_path / "a.npy", "no such file")
    refused(tmp_path / "a.xlsx", r"known endings: \.csv, \.mtx, \.mtx\.gz, \.npy, \.npz, \.parquet")
    (tmp_path / "d.csv").mkdir()
    refused(tmp_path / "d.csv", "is a directory")
    for ending in ("csv", "npy", "npz", "parquet", "mtx", "mtx.gz"):
        path = tmp_path / f"empty.{ending}"
        path.touch()
        refused(path, "the file is empty")
    with pytest.raises(ValueError, match=r"`key` chooses an array of a \.npz file; got 'a'"):
        read_matrix(tmp_path / "a.csv", key="a")
    with pytest.raises(ValueError, match=r"`header` is for \.csv files; got True"):
        read_matrix(tmp_path / "a.npy", header=True)


def test_endings_in_capitals_and_str_paths(tmp_path):
    path = os.fspath(tmp_path / "A.NPY")
    with open(path, "wb") as stream:
        np.save(stream, VALUES)
    check(read_matrix(path), VALUES)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.csv").write_text("1,2\n")
    with pytest.raises(ImportError, match=r"need pyarrow: pip install 'wlrmf\[io\]'"):
        read_matrix(tmp_path / "a.csv")
    with pytest.raises(ImportError, match=r"wlrmf\[io\]"):
        write_matrix(tmp_path / "b.csv", VALUES)
    write_matrix(tmp_path / "b.npy", VALUES)
    check(read_matrix(tmp_path / "b.npy"), VALUES)
