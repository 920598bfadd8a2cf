"""Matrix Market files, held against scipy's writer."""

import gzip
import tracemalloc

import numpy as np
import pytest
from scipy import io as scipy_io
from scipy import sparse

from wlrmf.io import DataFileError, read_matrix

GENERAL = np.array([[0.1, -2.5, 0.0], [1e-300, 0.0, 7.0]])
SYMMETRIC = np.array([[1.0, -2.0, 0.0], [-2.0, 0.0, 3.5], [0.0, 3.5, 4.0]])
SKEW = np.array([[0.0, -2.0, 1.0], [2.0, 0.0, 3.5], [-1.0, -3.5, 0.0]])
REAL = "%%MatrixMarket matrix coordinate real general\n"


def read(tmp_path, data, ending=".mtx"):
    path = tmp_path / f"A{ending}"
    data = data if isinstance(data, bytes) else data.encode()
    path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    return read_matrix(path).values


def refused(tmp_path, data, reason="."):
    for ending in (".mtx", ".mtx.gz"):
        with pytest.raises(DataFileError, match=reason) as caught:
            read(tmp_path, data, ending)
        assert str(caught.value).startswith(f"{tmp_path}/A{ending}: ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [".mtx", ".mtx.gz"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.coo_array, sparse.csr_array])
@pytest.mark.parametrize("field", [None, "integer"])
@pytest.mark.parametrize(
    ("matrix", "symmetry"),
    [(GENERAL, "general"), (SYMMETRIC, "symmetric"), (SYMMETRIC, "general"),
     (SKEW, "skew-symmetric"), (np.array([[3.0]]), "general")],
)  # fmt: skip
def test_what_scipy_writes(tmp_path, matrix, symmetry, kind, field, ending):
    if field == "integer":
        matrix = np.round(matrix).astype(np.int64)
    scipy_io.mmwrite(tmp_path / "scipy.mtx", kind(matrix), "made by a test", field, None, symmetry)
    values = read(tmp_path, (tmp_path / "scipy.mtx").read_bytes(), ending)
    assert values.dtype == np.float64
    assert sparse.issparse(values) == (kind is not np.asarray)
    dense = values.toarray() if sparse.issparse(values) else values
    np.testing.assert_array_equal(dense, matrix)


def test_pattern_comments_blank_lines_and_case(tmp_path):
    text = (
        "%%MatrixMarket MATRIX Coordinate Pattern General\n%\n% \xe9\n\n 2\t3 2 \n\n%x\n1 3\n\n2 1"
    )
    values = read(tmp_path, text)
    np.testing.assert_array_equal(values.toarray(), [[0, 0, 1], [1, 0, 0]])


def test_entries_are_kept_as_they_are(tmp_path):
    """A stored 0 is an observed cell, and what stands there twice is for others to judge."""
    values = read(tmp_path, REAL + "2 2 3\n1 1 0\n2 2 1\n2 2 5\n")
    assert values.data.tolist() == [0, 1, 5]
    assert read(tmp_path, REAL + "2 3 0\n").shape == (2, 3)


@pytest.mark.parametrize("number", ["0." + "1" * 30, "1" * 400, "5E-3"])
@pytest.mark.parametrize("end", ["", " ", "\n"])
def test_long_numbers_and_a_last_line_without_an_end(tmp_path, number, end):
    """scipy's reader ends the process on some of these."""
    assert read(tmp_path, f"{REAL}1 1 1\n1 1 {number}{end}").data[0] == float(number)
    refused(tmp_path, f"{REAL}1 1 1\n1 1 {number}s{end}", "could not convert string")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("garbage\n", "banner"),
        ("%%MatrixMarket matrix coordinate", "header"),
        (REAL, "."),
        (REAL + "2 2 1\n", "ends before its first number"),
        (REAL + "2 2 2\n1 1 1.0\n", "promises 2 entries and holds 1"),
        (REAL + "2 2 1\n1 1 1.0\n1 2 1.0\n", "promises 1 entries and holds more"),
        (REAL + "2 2 99999999999999\n1 1 1.0\n", "promises 99999999999999 entries"),
        (REAL + "2 2 2\n1 1 1\n3 1 1.0\n", r"entry 2 is at \(3, 1\) of a 2 × 2 matrix"),
        (REAL + "2 2 1\n1 0 1.0\n", r"entry 1 is at \(1, 0\)"),
        (REAL + "2 2 1\n1 -1 1.0\n", r"entry 1 is at \(1, -1\)"),
        (REAL + "2 2 1\n1.5 1 1.0\n", r"entry 1 is at \(1.5, 1\)"),
        (REAL + "2 2 1\n1 nan 1.0\n", r"entry 1 is at \(1, nan\)"),
        (REAL + "2 2 1\n1 1e300 1.0\n", r"entry 1 is at \(1, 1e\+300\)"),
        (REAL + "2 2 1\n1 1 x\n", "could not convert string 'x'"),
        (REAL + "2 2 1\n1 1\n", "has 2 numbers a line; 3 are wanted"),
        (REAL + "2 2 2\n1 1 1\n1 2\n", "number of columns changed"),
        (REAL.replace("coordinate", "array") + "9999999 9999999\n1.0\n", "promises 9999998000000"),
        (REAL.replace("coordinate", "array") + "1 1\n1.0 2.0\n", "has 2 numbers a line"),
        (REAL.replace("real", "complex") + "1 1 1\n1 1 1.0 1.0\n", "holds complex numbers"),
    ],
)
def test_files_that_are_refused(tmp_path, text, reason):
    refused(tmp_path, text, reason)


def test_compressed_files_that_are_damaged(tmp_path):
    good = gzip.compress(f"{REAL}1 1 1\n1 1 2.0\n".encode())
    path = tmp_path / "a.mtx.gz"
    for data in (good[:-9], good[:15] + b"\xff\xff" + good[17:], b"garbage"):
        path.write_bytes(data)
        with pytest.raises(DataFileError, match=r"a\.mtx\.gz: "):
            read_matrix(path)


def test_no_more_is_read_than_the_file_promises(tmp_path):  # R68
    path = tmp_path / "A.mtx.gz"
    with gzip.open(path, "wt") as stream:
        stream.write(REAL + "1 1 1\n" + "1 1 1.0\n" * 300_000)
    tracemalloc.start()
    with pytest.raises(DataFileError, match="holds more"):
        read_matrix(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
