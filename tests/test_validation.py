"""Bad input gets an error that names the argument, what it got and what it wanted."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

import wlrmf
from wlrmf import Stop

Y = np.arange(12.0).reshape(4, 3)
S = sp.csr_array(np.triu(np.ones((4, 3))))
FEW = Stop(max_iter=2)


def refused(kind, message, *args, **options):
    with pytest.raises(kind, match=message):
        wlrmf.fit(*args, **({"rank": 1, "stop": FEW} | options))


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        (np.ones((0, 5)), ValueError, r"shape \(0, 5\); at least 1 row and 1 column"),
        (np.ones((5, 0)), ValueError, r"shape \(5, 0\)"),
        (np.ones(5), ValueError, r"`Y` must be 2-d, rows x columns; got 1-d, shape \(5,\)"),
        (np.ones((2, 2, 2)), ValueError, "got 3-d"),
        (3.0, ValueError, "`Y` must be a 2-d array.*got 3.0"),
        (None, ValueError, "`Y` must be a 2-d array.*got None"),
        ([[1, 2], [3]], ValueError, "`Y` must be a 2-d array.*got"),
        ((row for row in Y), TypeError, r"got a generator; call list\(\)"),
        (Y * 1j, TypeError, "real numbers or booleans; got dtype complex128"),
        (Y.astype(str), TypeError, "`Y` must hold real numbers.*<U"),
        (Y.astype("M8[s]"), TypeError, "datetime64"),
        ([["a", "b"]], TypeError, "`Y` must hold real numbers"),
        (np.array([["a", 1]], object), ValueError, "'a' is text"),
        (np.zeros((2, 2), [("a", "f8")]), TypeError, "take one field"),
        (pd.DataFrame({"a": ["x", "y"]}), ValueError, "`Y` must be.*DataFrame of shape"),
        (pd.DataFrame({"a": pd.to_datetime(["2020-01-01"])}), ValueError, "datetime64"),
        (sp.coo_array(np.ones(4)), ValueError, "`Y` must be 2-d; got 1-d"),
        (np.array([["1.5", 1]], object), ValueError, "'1.5' is text"),
        (np.array([[10**400, 1]], object), ValueError, "too large"),
        (pd.Series([1.0, 2.0]), ValueError, "2-d"),
        ([], ValueError, r"got 1-d, shape \(0,\)"),
        ([[]], ValueError, r"shape \(1, 0\); at least 1 row"),
        ({"a": [1, 2]}, ValueError, "`Y` must be.*dict"),
        (zip([1, 2], [3, 4], strict=True), TypeError, "got a zip; call list"),
        (np.array([[1j, 2]], object), ValueError, "`Y` must be.*complex"),
        ([[datetime.date(2020, 1, 1), 2]], ValueError, "`Y` must be.*date"),
        (pd.DataFrame({"a": pd.to_timedelta([1, 2])}), ValueError, "timedelta64"),
        (pd.DataFrame({"a": [[1], [2]]}), ValueError, "`Y` must be.*DataFrame"),
        (sp.csr_array(np.eye(3) * 1j), TypeError, "`Y` must hold real numbers.*complex128"),
        (pl.DataFrame({"a": [1]}).lazy(), TypeError, r"call \.collect"),
        (pl.DataFrame({"a": ["1"]}), ValueError, "types .'String'"),
        (pl.DataFrame({"a": [1]}).select(pl.duration(days="a")), ValueError, "Duration"),
    ],
)
def test_what_is_no_matrix(bad, kind, message):  # R01, R03, R04, R12
    refused(kind, message, bad)


def test_values_that_are_not_finite():  # R13, R14, R15
    bad = Y.copy()
    bad[2, 1] = np.inf
    refused(ValueError, r"Y\[2, 1\] is inf but observed \(1 such entries\)", bad)
    bad[3, 0] = np.nan
    refused(
        ValueError, r"Y\[3, 0\] is nan but marked observed", bad, np.isfinite(bad) | np.isnan(bad)
    )
    refused(ValueError, r"Y\[3, 0\] is nan but marked", bad, np.isfinite(bad) | np.isnan(bad) + 0)
    wlrmf.fit(bad, np.isfinite(bad), 1)
    a = wlrmf.fit(bad, np.where(np.isinf(bad), 0, 2.0), 1)  # 1/sigma, known for missing cells too
    b = wlrmf.fit(bad, np.isfinite(bad) * 2.0, 1)
    np.testing.assert_array_equal(a.left, b.left)
    refused(ValueError, r"overflows float32; use float64", Y * 1e300, dtype=np.float32)
    stored = S.copy()
    stored.data[3] = np.nan
    refused(ValueError, r"Y\[1, 1\] is nan but stored, so observed", stored)


def test_nothing_observed():  # R16, R27, R41
    for options in (
        {"Y": np.full((3, 2), np.nan)},
        {"Y": np.ones((3, 2)), "mask": np.zeros((3, 2), bool)},
        {"Y": np.ones((3, 2)), "weights": np.zeros((3, 2))},
        {"Y": sp.csr_array((3, 2))},
        {"Y": sp.csr_array(np.eye(1)), "weights": np.zeros((1, 1)), "baseline": 1.0},
        {"Y": S[:1], "weights": np.zeros((1, 3)), "baseline": (np.ones(1), np.array([1, 0, 2.0]))},
    ):
        refused(ValueError, "no observed entries", **options)
    some = {"weights": np.zeros((4, 3)), "baseline": 1.0}
    assert wlrmf.fit(S, rank=1, **some, stop=FEW).value == 0  # S leaves cells to the baseline


@pytest.mark.parametrize("name", ["mask", "weights"])
def test_companions(name):  # R23, R25
    refused(
        ValueError,
        rf"`{name}` must have the shape of Y, \(4, 3\); got \(3, 4\). Is it transposed",
        Y,
        **{name: np.ones((3, 4))},
    )
    for value in (-1, np.nan, np.inf):
        bad = np.ones((4, 3))
        bad[1, 2] = value
        refused(
            ValueError, rf"{name}\[1, 2\] is {float(value)} \(1 such entries\)", Y, **{name: bad}
        )
    negative = sp.csr_array(S * -1)
    refused(ValueError, rf"{name}\[0, 0\] is -1.0 \(6 such entries\)", S, **{name: negative})
    refused(ValueError, "out of the range of float32", Y, dtype="f4", **{name: Y + 1e-60})


def test_weights_are_matched_by_cell():  # R32
    other = sp.csr_array(np.eye(4)[:, :3] + np.eye(4, 3, k=-1))
    refused(ValueError, "3 of its cells are not in Y, 3 of Y's are not in it", S, weights=other)
    refused(ValueError, "of its cells are not in Y", S, mask=other)
    part = wlrmf.fit(S, sp.csr_array(np.eye(4, 3, k=1)), 1)
    assert part.empty_rows.tolist() == [2, 3]
    shuffled = sp.coo_array(S)
    order = np.random.default_rng(0).permutation(S.nnz)
    weights = sp.coo_array(
        (np.arange(1.0, 7)[order], tuple(c[order] for c in shuffled.coords)), shape=S.shape
    )
    straight = sp.coo_array((np.arange(1.0, 7), shuffled.coords), shape=S.shape)
    a, b = (wlrmf.fit(S, rank=1, weights=w, stop=FEW) for w in (weights, straight))
    np.testing.assert_array_equal(a.left, b.left)


def test_the_rank_given_as_mask():
    refused(ValueError, r"`mask` must be.*got 2\. Did you mean rank=2\?", Y, 2)


@pytest.mark.parametrize(
    ("rank", "kind"),
    [
        (0, ValueError),
        (-1, ValueError),
        (2.5, TypeError),
        (True, TypeError),
        ("3", ValueError),
        (None, TypeError),
    ],
)
def test_rank(rank, kind):  # R44
    refused(kind, "`rank`", Y, rank=rank)


def test_a_rank_that_cannot_fit_is_refused_before_allocation():  # R44
    refused(ValueError, "`rank` must be an int of at least 1 and at most", Y, rank=10**9)
    wide = sp.coo_array(([1.0], ([0], [0])), shape=(10**6, 10**6))
    refused(MemoryError, r"needs .* GiB for the factors; .* GiB are available", wide, rank=10**6)


def test_rank_above_the_smaller_side():  # R20
    with pytest.warns(wlrmf.DataWarning, match=r"rank 5 is above min\(m, n\) = 3"):
        model = wlrmf.fit(Y, rank=5, reg=0.1)
    assert np.isfinite(model.left).all()
    with pytest.warns(wlrmf.DataWarning):
        model = wlrmf.fit(S, rank=5, bias=True)
    assert np.isfinite(model.left).all()
    assert model.loss < 1e-12


@pytest.mark.parametrize(
    ("reg", "kind", "message"),
    [
        (-1, ValueError, "`reg` must be a finite number, not negative; got -1"),
        (np.nan, ValueError, "`reg`.*got nan"),
        (np.inf, ValueError, "`reg`"),
        ("1", TypeError, "`reg`.*got '1'"),
        (True, TypeError, "`reg`"),
        (np.ones(4), ValueError, "a pair"),
        ((1, 2, 3), ValueError, "got 3 values"),
        ((np.ones(3), 1), ValueError, r"`reg\[0\]` must have one number a row, \(4,\); got \(3,\)"),
        ((1, -np.ones(3)), ValueError, r"`reg\[1\]` must be finite and not negative"),
    ],
)
def test_reg(reg, kind, message):  # R45
    refused(kind, message, Y, reg=reg)


def test_other_options():
    refused(ValueError, '`reg_scaling` must be "none" or "count"; got 1', Y, reg_scaling=1)
    refused(TypeError, "`bias` must be True or False; got 'yes'", Y, bias="yes")
    refused(TypeError, "`stop` must be a wlrmf.Stop; got 10", Y, stop=10)
    refused(ValueError, "`dtype` must be float32 or float64; got 'f2'", Y, dtype="f2")
    refused(ValueError, "`dtype`.*'apple'", Y, dtype="apple")
    refused(ValueError, "`n_threads` must be an int of at least 1; got 0", Y, n_threads=0)
    refused(ValueError, "`n_starts`", Y, n_starts=0)
    refused(ValueError, "`seed`", Y, seed=-1)


def test_numbers_out_of_the_working_range():  # R05, R19
    for scale in (1e160, 1e-160):
        refused(
            ValueError, r"the largest of Y is .* float64 can work with 1e-90 to 1e\+90", Y * scale
        )
    refused(ValueError, "or use float64", Y * 1e30, dtype="f4")
    refused(ValueError, "the largest of the squared weight", Y, weights=Y * 1e100)
    refused(
        ValueError, r"`reg` must be at most 1e\+30 for float32; got 1e\+35", Y, reg=1e35, dtype="f4"
    )
    with pytest.warns(wlrmf.DataWarning, match="beyond 2\\*\\*53"):
        wlrmf.fit(np.array([[2**60, 1], [2, 3]]), rank=1)


def test_frames_must_name_the_same_cells():
    frame = pd.DataFrame(Y, columns=list("abc"))
    refused(
        ValueError,
        "must have the columns of Y.*another order",
        frame,
        weights=frame[["b", "a", "c"]],
    )
    refused(
        ValueError,
        "must have the rows of Y",
        frame.set_axis(list("wxyz")),
        weights=frame.set_axis(list("wxyq")),
    )
    model = wlrmf.fit(frame, rank=1)
    with pytest.raises(ValueError, match="must have the columns of the fit"):
        model.transform(frame[["c", "b", "a"]])
    wlrmf.fit(frame, rank=1, weights=Y + 1)


def test_a_callback_that_cannot_be_called():
    refused(TypeError, "`callback` must be callable; got 3", Y, callback=3)


def test_baseline():
    refused(ValueError, "`baseline`.*got a dense Y", Y, baseline=1.0)
    for bad in (-1, np.nan, "x", True):
        refused((ValueError, TypeError), "`baseline`", S, baseline=bad)
    refused(
        ValueError, r"u must have shape \(4,\).*got \(3,\)", S, baseline=(np.ones(3), np.ones(4))
    )
    refused(ValueError, "v must be finite", S, baseline=(np.ones(4), -np.ones(3)))
    refused(ValueError, "got 3 values", S, baseline=(1, 2, 3))
    a, b = (wlrmf.fit(S, rank=1, baseline=w, stop=FEW) for w in (0, None))
    np.testing.assert_array_equal(a.left, b.left)


def test_pinned():
    refused(
        ValueError, r"`pinned_W` must have shape \(p, 4\); got \(1, 3\)", Y, pinned_W=np.ones(3)
    )
    refused(ValueError, r"got \(4, 2\). Is it transposed\?", Y, pinned_W=np.ones((4, 2)))
    refused(ValueError, "`pinned_X` must be finite", Y, pinned_X=np.full((1, 3), np.nan))


class TestSparseStructure:
    """Nothing malformed reaches a kernel."""

    def test_duplicates_are_counted(self):  # R33
        twice = sp.coo_array(([1.0, 2, 3, 4], ([0, 0, 1, 1], [1, 1, 2, 2])), shape=(3, 3))
        refused(ValueError, r"`Y` has 2 duplicate entries, the first at \[0, 1\]", twice)
        csr = sp.csr_array((np.ones(3), np.array([1, 1, 0]), np.array([0, 2, 3, 3])), shape=(3, 3))
        refused(ValueError, "1 duplicate entries", csr)

    def test_a_matrix_that_lies(self):  # R35
        def broken(**changes):
            matrix = sp.csr_array(np.eye(4, 3))
            for name, value in changes.items():
                setattr(matrix, name, np.asarray(value))
            return matrix

        refused(ValueError, "indices from 0 to 9", broken(indices=[0, 9, 2]))
        refused(ValueError, "indices from -1", broken(indices=[0, -1, 2]))
        refused(ValueError, "malformed indptr", broken(indptr=[0, 2, 1, 3, 3]))
        refused(ValueError, "malformed indptr", broken(indptr=[0, 1, 2]))
        refused(ValueError, "its indptr ends at 5", broken(indptr=[0, 1, 2, 3, 5]))
        refused(ValueError, "2 values and 3 indices", broken(data=[1.0, 1.0]))
        coo = sp.coo_array(np.eye(4, 3))
        coo.coords = (np.array([0, 1, 7]), coo.coords[1])
        refused(ValueError, "row indices from 0 to 7", coo)

    def test_wide_indices(self):  # R38
        wide = sp.coo_array(
            ([1.0, 2.0], (np.array([0, 1]), np.array([0, 2**40]))), shape=(2, 2**41)
        )
        refused(MemoryError, "GiB", wide)
