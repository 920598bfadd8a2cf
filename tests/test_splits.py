"""What is held out, and what must stay."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from wlrmf import demo, splits


@st.composite
def patterns(draw):
    """Observed cells of a small matrix, in any order, with rows and columns of few cells."""
    m, n = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    seen = draw(st.sets(st.tuples(st.integers(0, m - 1), st.integers(0, n - 1)), max_size=m * n))
    seen = draw(st.permutations(sorted(seen)))
    rows, cols = np.array(seen, dtype=np.int64).reshape(-1, 2).T
    return rows, cols, (m, n)


def emptied(rows, cols, kept):
    """Rows and columns that have cells but none among those kept."""
    return (set(rows) - set(rows[kept])) | {-1 - j for j in set(cols) - set(cols[kept])}


@settings(deadline=None)
@given(patterns(), st.floats(0.01, 1), st.integers(0, 5))
def test_cells_empty_no_row_and_no_column(pattern, share, seed):
    rows, cols, shape = pattern
    held_out = splits.cells(rows, cols, shape, share=share, seed=seed)
    assert held_out.dtype == bool
    assert held_out.shape == rows.shape
    assert not emptied(rows, cols, ~held_out)
    assert held_out.sum() <= round(share * rows.size)
    assert_array_equal(held_out, splits.cells(rows, cols, shape, share=share, seed=seed))


@settings(deadline=None)
@given(patterns(), st.integers(2, 5), st.integers(0, 5))
def test_folds_empty_no_row_and_no_column_in_any_fold(pattern, n, seed):
    rows, cols, shape = pattern
    fold = splits.folds(rows, cols, shape, n, seed=seed)
    assert fold.shape == rows.shape
    assert set(fold) <= set(range(-1, n))
    for k in range(n):
        assert not emptied(rows, cols, fold != k)
    in_row, in_col = np.bincount(rows, minlength=9), np.bincount(cols, minlength=9)
    assert (fold[(in_row[rows] == 1) | (in_col[cols] == 1)] == -1).all()
    for j in set(cols):  # no more cells stay than must
        assert (fold[(cols == j) & (in_row[rows] > 1)] == -1).sum() <= 1
    for i in set(rows):
        dealt = np.bincount(fold[(rows == i) & (fold >= 0)], minlength=n)
        assert dealt.max() <= -(-in_row[i] // n)
    assert_array_equal(fold, splits.folds(rows, cols, shape, n, seed=seed))


def test_folds_of_a_full_matrix_hold_out_every_cell_once():
    rows, cols = np.nonzero(np.ones((30, 20)))
    fold = splits.folds(rows, cols, (30, 20), 4, seed=3)
    assert_array_equal(np.bincount(fold), [150] * 4)
    assert (fold != splits.folds(rows, cols, (30, 20), 4, seed=4)).any()
    for i in range(30):
        assert_array_equal(np.bincount(fold[rows == i]), [5] * 4)


def test_cells_are_the_wanted_share_where_nothing_hinders():
    rows, cols = np.nonzero(np.ones((30, 20)))
    for share in (0.1, 0.5, 0.9):
        assert splits.cells(rows, cols, (30, 20), share=share).sum() == round(share * 600)


def test_cells_of_a_generator_are_those_of_the_demonstration():
    observed = np.random.default_rng(0).random((12, 9)) < 0.6
    rows, cols = np.nonzero(observed)
    held_out = splits.cells(rows, cols, observed.shape, 0.3, np.random.default_rng(5))
    # written out: cells in random order, the first of each row and column stay
    order = np.random.default_rng(5).permutation(rows.size)
    seen, expected = set(), []
    for e in order:
        first = {("row", rows[e]), ("col", cols[e])} - seen
        seen |= first
        if not first and len(expected) < round(0.3 * rows.size):
            expected.append(e)
    assert sorted(expected) == np.flatnonzero(held_out).tolist()
    drawn = demo.hold_out(observed, 0.3, np.random.default_rng(5))
    assert_array_equal(drawn[rows, cols], held_out)


def test_random_holds_out_exactly_its_share():
    for n, share in ((0, 0.5), (1, 0.4), (10, 0.3), (1001, 0.25)):
        held_out = splits.random(n, share, seed=1)
        assert held_out.shape == (n,)
        assert held_out.sum() == round(share * n)
    assert (splits.random(1000, 0.5, seed=1) != splits.random(1000, 0.5, seed=2)).any()


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), max_size=60), st.integers(1, 3), st.integers(0, 3))
def test_leave_k_out_takes_k_of_each_row_that_can_spare_them(rows, k, keep):
    rows = np.array(rows, dtype=np.int64)
    held_out = splits.leave_k_out(rows, k, seed=2, keep=keep)
    for i in set(rows):
        own = held_out[rows == i]
        assert own.sum() == (k if own.size >= k + keep else 0)


def test_leave_k_out_takes_each_entry_of_a_row_about_equally_often():
    rows = np.repeat(np.arange(4000), 4)
    held_out = splits.leave_k_out(rows, seed=7).reshape(-1, 4)
    assert_array_equal(held_out.sum(axis=1), 1)
    assert np.abs(held_out.mean(axis=0) - 0.25).max() < 0.03  # standard deviation 0.007


@pytest.mark.parametrize("kind", [np.int64, np.float64, "datetime64[s]"])
def test_by_time_takes_the_last_and_keeps_the_order_of_ties(kind):
    time = np.array([3, 1, 3, 2, 3, 0]).astype(kind)
    assert_array_equal(splits.by_time(time, share=1 / 3), [0, 0, 1, 0, 1, 0])
    assert_array_equal(splits.by_time(time, share=0.5), [1, 0, 1, 0, 1, 0])
    assert_array_equal(splits.by_time(time, after=time[3]), [1, 0, 1, 0, 1, 0])
    assert_array_equal(splits.by_time(time, after=time[0]), [0] * 6)


def test_cold_rows_are_held_out_whole():
    rows = np.random.default_rng(0).integers(0, 50, 600) * 3  # two of three rows have no entry
    held_out = splits.cold_rows(rows, 0.2, seed=1)
    cold = set(rows[held_out])
    assert len(cold) == round(0.2 * len(set(rows)))
    assert not cold & set(rows[~held_out])


ROWS = np.array([0, 1, 1])


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: splits.random(-1, 0.5), "`n` must be an int of at least 0; got -1"),
        (lambda: splits.random(5, 1.0), "`share` must be above 0 and below 1; got 1.0"),
        (lambda: splits.random(5, 0), "`share` must be a finite number, above 0; got 0"),
        (lambda: splits.random(5, 0.5, seed=-1), "`seed` must be an int of at least 0; got -1"),
        (lambda: splits.leave_k_out(ROWS, 0), "`k` must be an int of at least 1; got 0"),
        (lambda: splits.leave_k_out(ROWS * 0.5), "`rows` must be a vector of ints"),
        (lambda: splits.leave_k_out(-ROWS), "`rows` must not be negative; got -1"),
        (lambda: splits.by_time(ROWS), "exactly one of `share` and `after`"),
        (lambda: splits.by_time(ROWS, 0.5, 3), "exactly one of `share` and `after`"),
        (lambda: splits.by_time([1, np.nan], 0.5), r"`time` must be finite; time\[1\] is not"),
        (lambda: splits.by_time(["a"], 0.5), "`time` must be a vector of numbers"),
        (lambda: splits.cold_rows(ROWS, 2), "`share` must be above 0 and below 1; got 2"),
        (lambda: splits.cells(ROWS, ROWS[:2], (2, 2)), "of one length; got 3 and 2"),
        (lambda: splits.cells(ROWS, ROWS, (1, 2)), r"`rows` must be at most 0 .* got 1"),
        (lambda: splits.folds(ROWS, ROWS, (2, 1), 2), r"`cols` must be at most 0 .* got 1"),
        (lambda: splits.folds(ROWS, ROWS, (2, 2), 1), "`n` must be an int of at least 2; got 1"),
    ],
)
def test_bad_arguments(call, reason):
    with pytest.raises((ValueError, TypeError), match=reason):
        call()
