"""Triplets from users' files become a sparse matrix and the ids behind its indices."""

import datetime
import uuid

import numpy as np
import pytest

from wlrmf.io import DataFileError, read_pairs, read_triplets

TEXT = "user,when,item,rating,w\nbob,x,30,4.5,1\nann,y,4,2,0.5\nbob,z,4,-1,2\n"
NAMES = {"rows": "user", "cols": "item"}
ALL = NAMES | {"values": "rating", "weights": "w"}


def columns_of_text():
    return {"user": ["bob", "ann", "bob"], "item": [30, 4, 4], "rating": [4.5, 2.0, -1.0],
            "w": [1.0, 0.5, 2.0]}  # fmt: skip


def check(triplets):
    """What TEXT says: ann = 0, bob = 1; item 4 = 0, item 30 = 1."""
    assert triplets.row_ids.tolist() == ["ann", "bob"]
    assert triplets.row_ids.dtype.kind == "U"
    assert triplets.col_ids.tolist() == [4, 30]
    assert triplets.col_ids.dtype == np.int64
    assert triplets.matrix.format == "coo"
    assert triplets.matrix.shape == (2, 2)
    assert triplets.matrix.row.tolist() == [1, 0, 1]
    assert triplets.matrix.col.tolist() == [1, 0, 0]
    assert triplets.matrix.data.tolist() == [4.5, 2, -1]
    assert triplets.weights.data.tolist() == [1, 0.5, 2]
    for name in ("row", "col"):
        np.testing.assert_array_equal(
            getattr(triplets.matrix, name), getattr(triplets.weights, name)
        )


def refused(path, reason, **names):
    with pytest.raises(DataFileError, match=reason) as caught:
        read_triplets(path, **(NAMES | names))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_csv(csv):
    check(read_triplets(csv(TEXT), **ALL))
    check(read_triplets(csv("\ufeff" + TEXT.replace("\n", "\r\n\r\n")), **ALL))


def test_parquet(parquet, pyarrow):
    columns = columns_of_text()
    check(read_triplets(parquet(columns), **ALL))
    columns["user"] = pyarrow.array(columns["user"]).dictionary_encode()
    columns["item"] = np.array([30.0, 4.0, 4.0])
    check(read_triplets(parquet(columns), **ALL))


def test_npz(tmp_path):
    np.savez(tmp_path / "a.npz", **columns_of_text())
    check(read_triplets(tmp_path / "a.npz", **ALL))


def test_values_and_weights_may_be_absent(csv):
    triplets = read_triplets(csv(TEXT), **NAMES)
    assert triplets.matrix.data.tolist() == [1, 1, 1]
    assert triplets.weights is None
    triplets = read_triplets(csv(TEXT), **NAMES, weights="w")
    assert triplets.matrix.data.tolist() == [1, 1, 1]
    assert triplets.weights.data.tolist() == [1, 0.5, 2]


def test_one_column_may_be_both_values_and_weights(csv, parquet):
    for path in (csv(TEXT), parquet(columns_of_text())):
        triplets = read_triplets(path, **NAMES, values="w", weights="w")
        assert triplets.matrix.data.tolist() == triplets.weights.data.tolist() == [1, 0.5, 2]


def test_a_stored_zero_is_observed(csv):
    triplets = read_triplets(csv("user,item,rating\n1,1,0\n"), **NAMES, values="rating")
    assert triplets.matrix.nnz == 1


@pytest.mark.parametrize(
    ("ids", "wanted"),
    [
        (["10", "9", "-3"], [-3, 9, 10]),
        (["1000000000000000000", "2", "1"], [1, 2, 10**18]),
        (["100000000000000000000", "2", "1"], ["1", "100000000000000000000", "2"]),
        (["007", "7", "8"], ["007", "7", "8"]),
        (["1.0", "2", "3"], ["1.0", "2", "3"]),
        (["b", "2", "a"], ["2", "a", "b"]),
        (['"NA"', "É", "e"], ["NA", "e", "É"]),
        (["2013-02-01", "2013-01-01", "true"], ["2013-01-01", "2013-02-01", "true"]),
        (['"a,\nb"', '"a b"', "c"], ["a b", "a,\nb", "c"]),
    ],
)
def test_ids_in_csv(csv, ids, wanted):
    """R43: integers by value, everything else as text by code point."""
    text = "user,item\n" + "".join(f"{name},1\n" for name in ids)
    triplets = read_triplets(csv(text), **NAMES)
    assert triplets.row_ids.tolist() == wanted
    read = [name.strip('"') for name in ids]
    assert [str(triplets.row_ids[i]) for i in triplets.matrix.row] == read


def test_ids_of_other_types_in_parquet(parquet, pyarrow):
    day = datetime.date
    columns = {
        "big": np.array([2**64 - 1, 3], dtype=np.uint64),
        "date": [day(2013, 2, 1), day(2013, 1, 1)],
        "flag": [True, False],
        "digits": ["10", "9"],
    }
    path = parquet(columns)
    triplets = read_triplets(path, rows="big", cols="date")
    assert triplets.row_ids.tolist() == [3, 2**64 - 1]
    assert triplets.col_ids.tolist() == ["2013-01-01", "2013-02-01"]
    triplets = read_triplets(path, rows="flag", cols="digits")
    assert triplets.row_ids.tolist() == ["false", "true"]
    assert triplets.col_ids.tolist() == ["10", "9"]


def test_labels_that_no_row_has_are_dropped(parquet, pyarrow):
    """A pandas category keeps its unused values."""
    user = pyarrow.DictionaryArray.from_arrays(np.array([2, 0]), ["c", "b", "a"])
    triplets = read_triplets(parquet({"user": user, "item": [1, 1]}), **NAMES)
    assert triplets.row_ids.tolist() == ["a", "c"]
    assert triplets.matrix.row.tolist() == [0, 1]


def test_many_blocks(csv):
    """Ids are coded block by block and agree in the end, whatever the first block holds."""
    n = 200_000
    user = [f"{(7 * k) % 4999}" for k in range(n - 1)] + ["text"]
    lines = (f"{u},{k},{k % 5}.5" for k, u in enumerate(user))
    triplets = read_triplets(csv("user,item,r\n" + "\n".join(lines)), **NAMES, values="r")
    assert triplets.matrix.nnz == n
    assert triplets.row_ids[triplets.matrix.row].tolist() == user
    assert triplets.row_ids.size == 5000
    np.testing.assert_array_equal(triplets.col_ids[triplets.matrix.col], np.arange(n))
    np.testing.assert_array_equal(triplets.matrix.data, np.arange(n) % 5 + 0.5)


@pytest.mark.parametrize(
    ("text", "reason", "names"),
    [
        (TEXT, "no column 'q'; its columns: 'user', 'when', 'item', 'rating', 'w'", {"cols": "q"}),
        ("user,user,item\n1,2,3\n", "twice a column 'user'", {}),
        ("user,item\n", "has a header and no rows", {}),
        ("user,item\na,1\n,2\nb,3\nNA,4\n",
         r"column 'user' is missing .* in 2 rows; the first is data row 2", {}),
        ("user,item,r\na,1,1\nb,2,\nb,3,nan\n",
         r"column 'r' is missing .* in 2 rows; the first is data row 2", {"values": "r"}),
        ("user,item,r\na,1,1\nb,2,x\n", "row 3, column 'r': 'x' is not a number", {"weights": "r"}),
        ("user,item\na,1\na,2,3\n", "row 3 has 3 columns, the first has 2", {}),
        ("user,item\na,2\nb,1\na,2\na,1\nb,1\na,2\n",
         r"3 rows repeat an earlier pair of 'user' and 'item'; the first is data row 3: \(a, 2\)",
         {}),
        (b"user,item\n\xff,1\n", "not a text in UTF-8", {}),
        (b"user,item\n" + b"a,1\n" * 90_000 + b"\xff,1\n", "not a text in UTF-8", {}),
        (",".join(f"c{k}" for k in range(30)), r"'c19', … \(30 in all\)", {}),
    ],
)  # fmt: skip
def test_csv_that_is_refused(csv, text, reason, names):
    refused(csv(text), reason, **names)


def test_parquet_that_is_refused(parquet, pyarrow):
    float_ids = {"user": [1.5, 2.0], "item": [1, 2]}
    refused(parquet(float_ids), "column 'user' holds float64; ids are integers or texts")
    refused(parquet({"user": [[1], [2]], "item": [1, 2]}), "holds list.*; ids are integers")
    refused(parquet({"user": [1, None], "item": [1, 2]}), "missing .* in 1 rows; .* data row 2")
    refused(parquet({"user": [1, np.nan], "item": [1, 2]}), "missing .* in 1 rows; .* data row 2")
    refused(parquet({"user": [1], "item": [1]}), "no column 'r'; its", values="r")
    refused(parquet({"user": [1], "item": [1], "r": ["a"]}), "'r' holds string", values="r")
    refused(parquet({"user": [1], "item": [1], "r": [None]}), "'r' is missing", values="r")
    refused(parquet({"user": [1, 1], "item": [1, 1]}), r"1 rows repeat .* data row 2: \(1, 1\)")
    empty = pyarrow.array([], pyarrow.int64())
    refused(parquet({"user": empty, "item": empty}), "has no rows")


def test_npz_that_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    for columns, reason in [
        ({"user": [1]}, "has no array 'item'; it has 'user'"),
        ({"user": [1], "item": [[1]]}, r"array 'item' has shape \(1, 1\), not \(n,\)"),
        ({"user": [1], "item": [1, 2]}, "one length, at least 1; got user 1, item 2"),
        ({"user": [], "item": []}, "at least 1; got user 0, item 0"),
        ({"user": [1.5], "item": [1]}, "'user' holds float64; ids are"),
        ({"user": [np.nan], "item": [1]}, "'user' is missing"),
        ({"user": [True], "item": [1]}, "'user' holds bool; ids are"),
    ]:
        np.savez(path, **columns)
        refused(path, reason)


def test_files_and_names_that_are_none(tmp_path):
    refused(tmp_path / "a.csv", "no such file")
    refused(tmp_path / "a.mtx", r"known endings: \.csv, \.npz, \.parquet")
    for names in ({"cols": "user"}, {"values": "item"}, {"weights": "user"}):
        with pytest.raises(ValueError, match="`rows` and `cols` must be columns of their own"):
            read_triplets(tmp_path / "a.csv", **(NAMES | names))


def test_pairs_keep_the_order_of_the_file_and_may_repeat(csv, tmp_path):
    pairs = read_pairs(csv(TEXT + "bob,w,30,,\n"), **NAMES)
    assert pairs.row_ids[pairs.i].tolist() == ["bob", "ann", "bob", "bob"]
    assert pairs.col_ids[pairs.j].tolist() == [30, 4, 4, 30]
    np.savez(tmp_path / "a.npz", user=["b", "a", "b"], item=[2, 1, 2])
    pairs = read_pairs(tmp_path / "a.npz", **NAMES)
    assert pairs.row_ids[pairs.i].tolist() == ["b", "a", "b"]
    assert pairs.col_ids[pairs.j].tolist() == [2, 1, 2]


def test_pairs_that_are_refused(csv, tmp_path):
    for text, reason in [
        ("user,item\n", "a header and no rows"),
        ("user,item\na,\n", "'item' is missing .* in 1 rows"),
        ("user,thing\na,b\n", "has no column 'item'"),
    ]:
        with pytest.raises(DataFileError, match=reason):
            read_pairs(csv(text), **NAMES)
    with pytest.raises(DataFileError, match="no such file"):
        read_pairs(tmp_path / "none.csv", **NAMES)
    with pytest.raises(ValueError, match="must be two columns; got 'user' twice"):
        read_pairs(csv(TEXT), rows="user", cols="user")


def in_memory(kind):
    """The columns of TEXT in each form that a program holds them in."""
    columns = columns_of_text()
    if kind == "dict":
        return columns
    if kind == "objects":
        return {name: np.array(values, object) for name, values in columns.items()}
    if kind == "pyarrow":
        return pytest.importorskip("pyarrow", reason="pyarrow is absent").table(columns)
    frames = pytest.importorskip(kind.split()[0], reason=f"{kind} is absent")
    pytest.importorskip("pyarrow", reason="data frames are read through pyarrow")
    frame = frames.DataFrame(columns)
    if kind == "pandas categories":
        frame = frame.astype({"user": frames.CategoricalDtype(["zoe", "bob", "ann"])})
    if kind == "polars categories":
        frame = frame.cast({"user": frames.Categorical})
    return frame


KINDS = ["dict", "objects", "pandas", "pandas categories", "polars", "polars categories", "pyarrow"]


@pytest.mark.parametrize("kind", KINDS)
def test_sources_in_memory(kind):
    check(read_triplets(in_memory(kind), **ALL))


@pytest.mark.parametrize("kind", ["dict", "pandas", "polars", "pyarrow"])
def test_sources_in_memory_are_judged_as_files_are(kind):
    with pytest.raises(DataFileError, match=r"^data: has no (vector|column) 'usr'"):
        read_triplets(in_memory(kind), rows="usr", cols="item")


def test_ids_and_values_that_are_none():
    pandas = pytest.importorskip("pandas", reason="pandas is absent")
    pytest.importorskip("pyarrow", reason="data frames are read through pyarrow")
    good = {"user": ["a", "b"], "item": [1, 2], "rating": [1.0, 2.0]}
    for column, values, reason in (
        ("user", ["a", None], r"'user' is missing .* in 1 rows; the first is data row 2"),
        ("item", [np.nan, 2], r"'item' is missing .* the first is data row 1"),
        ("item", [1.5, 2], r"'item' holds .*; ids are integers or texts"),
        ("user", ["a", 7], "(mixes int, str|tried to convert to|Could not convert|Expected bytes)"),
        ("rating", [1.0, np.nan], r"'rating' is missing"),
        ("rating", ["x", "y"], "not numbers"),
    ):
        data = good | {column: values}
        vectors = {name: np.array(each, object) for name, each in data.items()}
        if column != "rating":
            vectors["rating"] = np.array(data["rating"])
        for source in (pandas.DataFrame(data), vectors):
            with pytest.raises(DataFileError, match=reason):
                read_triplets(source, **NAMES, values="rating")
    with pytest.raises(DataFileError, match="wanted a path, a data frame"):
        read_triplets(object(), **NAMES)


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        ([True, False], "'user' holds bool; ids are integers or texts"),
        (np.array([True, False], object), "'user' holds bool; wanted integers"),
        ([datetime.date(2020, 1, 2), datetime.date(2020, 1, 1)], "'user' holds date; wanted"),
        (np.array(["2020-01-02", "2020-01-01"], "M8[D]"), "'user' holds datetime64.D.; ids are"),
        ([uuid.UUID(int=1), uuid.UUID(int=2)], "'user' holds UUID; wanted"),
        ([2**64, 1], "'user' holds float64; ids are integers"),
        ([-1, 2**63], "'user' holds float64; ids are integers"),
        ([1 + 2j, 1], "'user' holds complex128; ids are"),
        ([b"a", b"b"], "'user' holds .S1; ids are"),
        (np.array(["a", 7], object), "'user' mixes int, str; wanted"),
    ],
)
def test_ids_of_other_kinds(ids, reason):  # R43
    data = {"user": ids, "item": [1, 2]}
    with pytest.raises(DataFileError, match=reason):
        read_triplets(data, **NAMES)


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_dates_and_truth_values_of_frames_become_texts(kind):  # R43
    module = pytest.importorskip(kind, reason=f"{kind} is absent")
    pytest.importorskip("pyarrow", reason="data frames are read through pyarrow")
    columns = {
        "user": [datetime.date(2020, 1, 2), datetime.date(2020, 1, 1)],
        "item": [True, False],
    }
    found = read_triplets(
        (module.table if kind == "pyarrow" else module.DataFrame)(columns), **NAMES
    )
    assert found.row_ids.tolist() == ["2020-01-01", "2020-01-02"]
    assert found.col_ids.tolist() == ["false", "true"]


@pytest.mark.parametrize("size", [10**18, -3, 2**63 + 5])
def test_integer_ids_of_any_size(size):  # R43
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is absent")
    kind = pyarrow.uint64() if size > 2**62 else pyarrow.int64()
    table = pyarrow.table({"user": pyarrow.array([size, 7], kind), "item": [1, 1]})
    found = read_triplets(table, **NAMES)
    assert found.row_ids.tolist() == sorted([size, 7])


def test_duplicates_policies():  # R33
    data = {"user": [1, 2, 1, 1], "item": [5, 5, 5, 6], "rating": [1.0, 9, 4, 2], "w": [1, 1, 3, 2]}
    wanted = {  # of cells (1, 5), (1, 6), (2, 5): values, weights
        "sum": ([5, 2, 9], [4, 2, 1]),
        "mean": ([13 / 4, 2, 9], [2, 2, 1]),
        "last": ([4, 2, 9], [3, 2, 1]),
    }
    for policy, (values, weights) in wanted.items():
        found = read_triplets(data, **ALL, duplicates=policy)
        np.testing.assert_array_equal(found.matrix.toarray(), [values[:2], [values[2], 0]])
        np.testing.assert_array_equal(found.weights.toarray(), [weights[:2], [weights[2], 0]])
    plain = read_triplets(data, **NAMES, values="rating", duplicates="mean")
    np.testing.assert_array_equal(plain.matrix.toarray(), [[2.5, 2], [9, 0]])
    none = data | {"w": [0, 0, 0, 0]}
    np.testing.assert_array_equal(
        read_triplets(none, **ALL, duplicates="mean").matrix.toarray(), [[2.5, 2], [9, 0]]
    )
    with pytest.raises(DataFileError, match=r"^data: 1 rows repeat an earlier pair"):
        read_triplets(data, **ALL)
    with pytest.raises(ValueError, match="`duplicates` must be one of"):
        read_triplets(data, **ALL, duplicates="first")


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64])
@pytest.mark.parametrize("spread", [1, 10**6])
def test_integer_vectors_dense_and_sparse(dtype, spread):
    info = np.iinfo(dtype)
    many = np.random.default_rng(0).permutation(200)
    if spread > 1 and info.bits > 8:
        ids = (many * dtype(spread)).astype(dtype)
    else:
        ids = np.concatenate([np.array([info.min, info.max], dtype), many.astype(dtype)])
        ids = np.unique(ids)[::-1]
    found = read_triplets({"user": ids, "item": np.zeros(ids.size, dtype)}, **NAMES)
    np.testing.assert_array_equal(found.row_ids, np.unique(ids))
    np.testing.assert_array_equal(found.row_ids[found.matrix.row], ids)
