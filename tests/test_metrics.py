"""Metrics against scikit-learn, a slow twin, other packages' published figures, and by hand."""

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import ranking_scores

from wlrmf.metrics import auc, lists, mae, pointwise, ranking, rmse

NAMES = ("precision", "recall", "map", "ndcg", "hit", "mrr")
metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the judge")


def rows(*users):
    """CSR form of one list of items a user."""
    return np.cumsum([0, *map(len, users)]), [item for user in users for item in user]


def graded(*users):
    """CSR form of one dict of gain by item a user."""
    indptr, items = rows(*map(sorted, users))
    return indptr, items, [user[item] for user in users for item in sorted(user)]


def random_lists(rng, users, n_items, longest=None):
    longest = n_items if longest is None else longest
    return [rng.permutation(n_items)[: rng.integers(0, longest + 1)].tolist() for _ in range(users)]


def random_gains(rng, users, n_items, most):
    return [
        {int(j): float(g) for j, g in zip(row, rng.integers(1, 6, len(row)), strict=True)}
        for row in random_lists(rng, users, n_items, most)
    ]


# Predictions


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("shape", [(57,), (57, 3)])
@pytest.mark.parametrize("block", [4, 1 << 18])  # several blocks, and one
def test_errors_are_scikit_learns(dtype, shape, block, monkeypatch):
    monkeypatch.setattr(pointwise, "BLOCK", block)
    rng = np.random.default_rng(1)
    y, predicted = (rng.uniform(-9, 9, shape).astype(dtype) for _ in range(2))
    weights = rng.uniform(0, 2, shape) * rng.integers(0, 2, shape)
    for w, flat in ((None, None), (weights, weights.ravel())):
        a, b = y.ravel().astype(float), predicted.ravel().astype(float)
        wanted = metrics.root_mean_squared_error(a, b, sample_weight=flat)
        assert rmse(y, predicted, w) == pytest.approx(wanted, rel=1e-13)
        wanted = metrics.mean_absolute_error(a, b, sample_weight=flat)
        assert mae(y, predicted, w) == pytest.approx(wanted, rel=1e-13)


def test_errors_by_hand():
    # errors 3 and 4: (9 + 16) / 2 and (3 + 4) / 2; with weights 3, 1: (27 + 16) / 4 and (9 + 4) / 4
    assert rmse([0, 0], [3, -4]) == np.sqrt(12.5)
    assert mae([0, 0], [3, -4]) == 3.5
    assert rmse([0, 0], [3, -4], [3, 1]) == np.sqrt(43 / 4)
    assert mae([0, 0], [3, -4], [3, 1]) == 13 / 4
    # a weight of 2 is the cell twice
    assert rmse([1, 2], [4, 3], [2, 1]) == rmse([1, 1, 2], [4, 4, 3])


def test_float32_is_summed_in_float64():
    y = np.full(1 << 20, 1.1, np.float32)  # float32 sums of a million such squares drift
    assert rmse(y, np.zeros_like(y)) == pytest.approx(float(np.float32(1.1)), rel=1e-14)


def test_whatever_holds_numbers():
    for y in (
        (1, 2, 4),
        pd.Series([1.0, 2.0, 4.0]),
        pl.Series([1, 2, 4]),
        np.ma.masked_array([1, 2, 4], mask=False),
        np.array([1, 9, 2, 9, 4])[::2],
    ):
        assert mae(y, [2, 2, 2]) == 1
        assert mae([2, 2, 2], y) == 1
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 5.0]})
    assert mae(frame, np.zeros((2, 2))) == 11 / 4
    assert mae(frame, np.zeros((2, 2)), weights=frame > 2) == 4


def test_a_cell_of_weight_0_does_not_count_whatever_it_holds():
    y = np.array([[1.0, np.nan], [np.inf, 3.0]])
    assert rmse(y, np.ones((2, 2)), np.isfinite(y)) == np.sqrt(2)
    masked = np.ma.masked_array([1, 7, 3], mask=[False, True, False])
    assert mae(masked, [0, 0, 0], ~masked.mask) == 2


@pytest.mark.parametrize("metric", [rmse, mae])
@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (([1, np.nan], [1, 1]), ValueError, r"`y` must be finite.*y\[1\] is nan; leave such cells"),
        (([1, 1], [np.inf, 1]), ValueError, r"predicted\[0\] is inf"),
        (([[1, 2]] * 3, [[1, 2]] * 2 + [[1, np.nan]]), ValueError, r"predicted\[2, 1\] is nan"),
        ((pd.Series([1, None]), [1, 1]), ValueError, r"y\[1\] is nan"),
        ((np.ma.masked_array([1, 2], [0, 1]), [1, 1]), ValueError, r"y\[1\] is nan"),
        (([1, 2], [1, 2, 3]), ValueError, r"shape of `y`, \(2,\); got \(3,\)$"),
        (([1, 2], [[1], [2]]), ValueError, r"shape of `y`, \(2,\); got \(2, 1\)$"),
        (([[1, 2]], [[1], [2]]), ValueError, r"\(1, 2\); got \(2, 1\). Is it transposed\?"),
        (([], []), ValueError, "at least one value"),
        ((3.0, [1]), TypeError, "`y` must be a vector or a matrix of numbers; got 3.0"),
        (([1], None), TypeError, "`predicted` must be a vector or a matrix"),
        (([[1, 2], [3]], [1]), ValueError, "`y` must have rows of equal length"),
        (([[[1]]], [[[1]]]), ValueError, "`y` must be 2-d"),
        ((sp.eye_array(2), np.eye(2)), TypeError, "`y` must be dense.*y.data"),
        ((["1"], [1]), TypeError, "`y` must hold real numbers"),
        (([1j], [1]), TypeError, "`y` must hold real numbers"),
        (([1, 2], [1, 2], [1]), ValueError, r"`weights` must have the shape of `y`, \(2,\)"),
        (([1, 2], [1, 2], [1, -1]), ValueError, r"weights\[1\] is -1"),
        (([1, 2], [1, 2], [1, np.nan]), ValueError, r"weights\[1\] is nan"),
        (([1, 2], [1, 2], [0, 0]), ValueError, "must not all be 0"),
        (([-1e308], [1e308]), ValueError, "overflows float64"),
    ],
)
def test_errors_refuse(metric, arguments, kind, message):
    with pytest.raises(kind, match=message):
        metric(*arguments)


def test_rows_of_blocks_are_named_rightly(monkeypatch):
    monkeypatch.setattr(pointwise, "BLOCK", 4)
    y = np.zeros((7, 2))
    y[5, 1] = np.nan
    with pytest.raises(ValueError, match=r"y\[5, 1\] is nan"):
        rmse(y, np.zeros((7, 2)))


# Lists


def test_by_hand():
    # list 7 3 5 1 9, relevant 3 1 8: hits at places 2 and 4, R = 3
    found = ranking(rows([7, 3, 5, 1, 9]), rows([1, 3, 8]), metrics=NAMES, at=(1, 2, 4, 10))
    log3, log4, log5 = np.log2(3), np.log2(4), np.log2(5)
    wanted = {
        "precision": (0, 1 / 2, 2 / 4, 2 / 10),
        "recall": (0, 1 / 3, 2 / 3, 2 / 3),
        "map": (0, (1 / 2) / 2, (1 / 2 + 2 / 4) / 3, (1 / 2 + 2 / 4) / 3),
        "ndcg": (
            0,
            (1 / log3) / (1 + 1 / log3),
            (1 / log3 + 1 / log5) / (1 + 1 / log3 + 1 / log4),
            (1 / log3 + 1 / log5) / (1 + 1 / log3 + 1 / log4),
        ),
        "hit": (0, 1, 1, 1),
        "mrr": (0, 1 / 2, 1 / 2, 1 / 2),
    }
    for name, values in wanted.items():
        for k, value in zip((1, 2, 4, 10), values, strict=True):
            assert found[f"{name}@{k}"] == pytest.approx(value, abs=1e-15), (name, k)


def test_gains_by_hand():
    # list 2 0 1 with gains 1 of item 0 and 3 of item 1; ideal order 1 0
    found = ranking(rows([2, 0, 1]), graded({0: 1, 1: 3}), metrics=["ndcg", "recall"], at=(2, 3))
    ideal = 3 + 1 / np.log2(3)
    assert found["ndcg@2"] == pytest.approx((1 / np.log2(3)) / ideal)
    assert found["ndcg@3"] == pytest.approx((1 / np.log2(3) + 3 / 2) / ideal)
    assert found["recall@3"] == 1


def test_coverage_by_hand():
    # of 8 items: 0 and 3 lead a list; 5 is second; 1 is third, for a user without relevant items
    given = rows([0, 5], [], [3, 0, 1])
    found = ranking(given, rows([0], [2], []), metrics="coverage", at=(3, 1, 2), n_items=8)
    assert dict(found) == {"coverage@3": 4 / 8, "coverage@1": 2 / 8, "coverage@2": 3 / 8}
    assert found.n_users == 2
    # no user needs a relevant item for it
    assert ranking(given, rows([], [], []), metrics="coverage", n_items=8)["coverage@10"] == 0.5


def test_means_are_over_users_with_relevant_items():
    given, relevant = rows([1, 2], [1], [], [2, 3]), rows([1], [], [5], [3, 4])
    found = ranking(given, relevant, metrics=("recall", "precision"), at=2, per_user=True)
    assert (found.n_users, found.n_lists) == (3, 4)
    assert found["recall@2"] == (1 + 0 + 1 / 2) / 3
    np.testing.assert_array_equal(found.per_user["recall@2"], [1, np.nan, 0, 0.5])
    np.testing.assert_array_equal(found.per_user["precision@2"], [0.5, np.nan, 0, 0.5])


item = st.integers(0, 12)
user = st.tuples(
    st.lists(item, unique=True),
    st.dictionaries(item, st.sampled_from([0.25, 1.0, 2.0, 5.0, 1e6]), max_size=9),
)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(
    st.lists(user, min_size=1, max_size=6).filter(lambda users: any(u[1] for u in users)),
    st.lists(st.integers(1, 16), min_size=1, max_size=4, unique=True),
    st.booleans(),
)
def test_the_slow_twin(users, cuts, with_gains):
    given, gains = [u[0] for u in users], [u[1] for u in users]
    if not with_gains:
        gains = [dict.fromkeys(g, 1.0) for g in gains]
    relevant = graded(*gains) if with_gains else rows(*map(sorted, gains))
    found = ranking(
        rows(*given), relevant, metrics=(*NAMES, "coverage"), at=cuts, n_items=13, per_user=True
    )
    for k in cuts:
        own = [ranking_scores(a, b, k) if b else None for a, b in zip(given, gains, strict=True)]
        for name in NAMES:
            vector = [np.nan if scores is None else scores[name] for scores in own]
            np.testing.assert_allclose(found.per_user[f"{name}@{k}"], vector, rtol=1e-13)
            assert found[f"{name}@{k}"] == pytest.approx(np.nanmean(vector), rel=1e-13)
        covered = {item for items in given for item in items[:k]}
        assert found[f"coverage@{k}"] == len(covered) / 13


def test_an_ideal_list_scores_1():
    rng = np.random.default_rng(4)
    gains = [{j: float(g) for j, g in enumerate(rng.uniform(0.1, 9, n))} for n in range(1, 60)]
    best = [sorted(row, key=row.get, reverse=True) for row in gains]
    found = ranking(rows(*best), graded(*gains), metrics=NAMES, at=(1, 5, 1000), per_user=True)
    for k in (1, 5, 1000):
        for name in ("map", "ndcg", "hit", "mrr"):
            np.testing.assert_allclose(found.per_user[f"{name}@{k}"], 1, rtol=1e-15)
            assert found.per_user[f"{name}@{k}"].max() == 1
    assert found["recall@1000"] == found["precision@1"] == 1


def test_no_score_is_above_1_by_rounding():
    # gains a rounding apart in all orders: hundreds of the plain quotients are 1 + 2.2e-16
    rng = np.random.default_rng(0)
    gains = 1 - rng.integers(0, 3, (20000, 6)) * 2.0**-53
    given = rng.permuted(np.tile(np.arange(6), (20000, 1)), axis=1).ravel()
    indptr, items = np.arange(20001) * 6, np.tile(np.arange(6), 20000)
    found = ranking((indptr, given), (indptr, items, gains.ravel()), metrics="ndcg", per_user=True)
    assert found.per_user["ndcg@10"].max() == 1


def test_ndcg_is_scikit_learns():
    rng = np.random.default_rng(2)
    gains = rng.integers(0, 4, (20, 15)).astype(float)
    gains[:, 0] = 1
    scores = rng.permuted(np.tile(np.arange(15.0), (20, 1)), axis=1)
    truth = sp.csr_array(gains)
    given = rows(*np.argsort(-scores, axis=1))
    relevant = (truth.indptr, truth.indices, truth.data)
    found = ranking(given, relevant, metrics="ndcg", at=(1, 4, 15, 40))
    binary = ranking(given, relevant[:2], metrics="ndcg", at=(1, 4, 15, 40))
    for k in (1, 4, 15, 40):
        assert found[f"ndcg@{k}"] == pytest.approx(metrics.ndcg_score(gains, scores, k=k))
        assert binary[f"ndcg@{k}"] == pytest.approx(metrics.ndcg_score(gains > 0, scores, k=k))


def test_average_precision_of_whole_lists_is_scikit_learns():
    rng = np.random.default_rng(3)
    truth = rng.random((20, 15)) < 0.3
    truth[:, 0] = True
    scores = rng.permuted(np.tile(np.arange(15.0), (20, 1)), axis=1)
    relevant = sp.csr_array(truth)
    found = ranking(
        rows(*np.argsort(-scores, axis=1)),
        (relevant.indptr, relevant.indices),
        metrics="map",
        at=15,
        per_user=True,
    )
    wanted = [metrics.average_precision_score(t, s) for t, s in zip(truth, scores, strict=True)]
    np.testing.assert_allclose(found.per_user["map@15"], wanted)
    wanted = metrics.label_ranking_average_precision_score(truth, scores)
    assert found["map@15"] == pytest.approx(wanted)


def test_spark_prints_the_same():
    """Figures of the test suite of Spark's RankingMetrics, which counts the third user as 0."""
    given = rows([1, 6, 2, 7, 8, 3, 9, 10, 4, 5], [4, 1, 5, 6, 2, 7, 3, 8, 9, 10], [1, 2, 3, 4, 5])
    cuts = (1, 2, 3, 4, 5, 10, 15)
    found = ranking(given, rows([1, 2, 3, 4, 5], [1, 2, 3], []), at=cuts)
    wanted = {
        "precision": (1 / 3, 1 / 3, 1 / 3, 0.75 / 3, 0.8 / 3, 0.8 / 3, 8 / 45),
        "recall": (1 / 15, 8 / 45, 11 / 45, 11 / 45, 16 / 45, 2 / 3, 2 / 3),
        "map": (0.333334, 0.25, 0.24074, None, None, 0.355026, 0.355026),
        "ndcg": (None, None, 1 / 3, None, 0.328788, 0.487913, 0.487913),
    }
    for name, values in wanted.items():
        for k, value in zip(cuts, values, strict=True):
            if value is not None:
                assert found[f"{name}@{k}"] * 2 / 3 == pytest.approx(value, abs=1e-5), (name, k)
    gains = graded({1: 3, 2: 2, 3: 1, 4: 1, 5: 1}, {1: 2}, {})
    exponential = (*gains[:2], 2.0 ** np.array(gains[2]) - 1)
    found = ranking(given, exponential, metrics="ndcg", at=cuts)
    for k, value in {3: 0.511959, 5: 0.487806, 10: 0.5187, 15: 0.5187}.items():
        assert found[f"ndcg@{k}"] * 2 / 3 == pytest.approx(value, abs=1e-5)


def implicit_scores(given, relevant, k):
    """What the evaluation of implicit returns, by its definitions, for lists of at least k."""
    hits = possible = precisions = ndcg = 0.0
    users = [(items[:k], set(good)) for items, good in zip(given, relevant, strict=True) if good]
    for items, good in users:
        places = [p for p, item in enumerate(items, 1) if item in good]
        hits += len(places)
        possible += min(k, len(good))
        precisions += sum(n / p for n, p in enumerate(places, 1)) / min(k, len(good))
        best = sum(1 / np.log2(p + 1) for p in range(1, min(k, len(good)) + 1))
        ndcg += sum(1 / np.log2(p + 1) for p in places) / best
    return {
        "precision": hits / possible,
        "map": precisions / len(users),
        "ndcg": ndcg / len(users),
    }


@pytest.mark.parametrize("k", [1, 3, 10])
def test_implicit_differs_in_precision_alone(k):
    rng = np.random.default_rng(5)
    given = [rng.permutation(30)[:10].tolist() for _ in range(40)]
    relevant = [sorted(row) for row in random_lists(rng, 40, 30, 8)]
    other = implicit_scores(given, relevant, k)
    found = ranking(rows(*given), rows(*relevant), at=k, per_user=True)
    assert found[f"map@{k}"] == pytest.approx(other["map"])
    assert found[f"ndcg@{k}"] == pytest.approx(other["ndcg"])
    counts = np.array([len(row) for row in relevant])
    hits = np.nansum(found.per_user[f"precision@{k}"] * k)
    assert hits / np.minimum(k, counts).sum() == pytest.approx(other["precision"])


@pytest.mark.parametrize("with_gains", [False, True])
def test_any_number_of_threads_gives_the_same_bits(with_gains, monkeypatch):
    monkeypatch.setattr(lists, "CHUNK", 100)  # many chunks of few users
    rng = np.random.default_rng(6)
    given = rows(*random_lists(rng, 300, 40))
    gains = random_gains(rng, 300, 40, 12)
    relevant = graded(*gains) if with_gains else rows(*map(sorted, gains))
    options = {"metrics": (*NAMES, "coverage"), "at": (3, 1, 20), "n_items": 40}
    one = ranking(given, relevant, n_threads=1, per_user=True, **options)
    for name, vector in one.per_user.items():
        assert one[name] == pytest.approx(np.nanmean(vector), rel=1e-13)
    for n_threads in (2, 3, 7):
        other = ranking(given, relevant, n_threads=n_threads, per_user=True, **options)
        assert dict(one) == dict(other)
        for name, vector in one.per_user.items():
            np.testing.assert_array_equal(other.per_user[name], vector)
    assert dict(one) == dict(ranking(given, relevant, n_threads=2, **options))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.uint32, ">i8"])
def test_integers_of_any_kind(dtype):
    given, relevant = rows([4, 2, 1], [3, 0]), rows([1, 4], [0])
    wanted = dict(ranking(given, relevant, at=2))
    cast = [tuple(np.array(a, dtype) for a in pair) for pair in (given, relevant)]
    assert dict(ranking(*cast, at=2)) == wanted
    assert dict(ranking(given, cast[1], at=np.int32(2))) == wanted


def test_item_numbers_with_wide_gaps():
    far = 2**62
    found = ranking(rows([far, 5], [5, far]), rows([far], [far]), metrics="mrr", per_user=True)
    assert found.per_user["mrr@10"].tolist() == [1, 0.5]
    with pytest.raises(ValueError, match=f"user 1 has item {far} twice"):
        ranking(rows([far, 5], [far, 5, far]), rows([1], [2]))


def test_gains_of_any_size():
    for scale in (1e-299, 1e299):
        found = ranking(rows([1, 0]), graded({0: 3 * scale, 1: scale}), metrics="ndcg", at=2)
        wanted = (1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3))
        assert found["ndcg@2"] == pytest.approx(wanted)


def test_the_answer_reads_well():
    found = ranking(rows([1, 2], []), rows([1], []), metrics=("map", "mrr"), at=(5, 1))
    assert repr(found) == (
        "RankingScores: 1 of 2 users have relevant items\n"
        "         @5      @1\n"
        "map  1.0000  1.0000\n"
        "mrr  1.0000  1.0000"
    )
    assert list(found) == ["map@5", "map@1", "mrr@5", "mrr@1"]
    assert found.to_dict() == {**found, "n_users": 1, "n_lists": 2}
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()
    assert found.per_user is None
    assert len(found) == 4
    assert "map@2" not in found
    with pytest.raises(KeyError, match=re.escape("no score 'map@10'; did you mean 'map@1'?")):
        found["map@10"]
    assert pickle.loads(pickle.dumps(found)) == found


GOOD, TRUE = rows([0, 1], [2]), rows([0], [1, 2])


@pytest.mark.parametrize(
    ("given", "relevant", "kind", "message"),
    [
        (GOOD[1], TRUE, TypeError, r"`lists` must be \(indptr, items\).*got 3 things"),
        (np.zeros((2, 3)), TRUE, TypeError, r"`lists` must be .*got ndarray of shape \(2, 3\)"),
        ((*GOOD, [1, 1, 1]), TRUE, TypeError, r"`lists` must be .*got 3 things"),
        (GOOD, sp.eye_array(2).tocsr(), TypeError, r"`relevant` must be .*gains.*got csr_array"),
        (([0, 2, 1], [0]), TRUE, ValueError, r"`lists\[0\]` must not fall; got 1 at \[2\] after 2"),
        (([1, 2, 3], [0]), TRUE, ValueError, r"`lists\[0\]` must begin with 0; got 1"),
        (([0, 2, 4], [0, 1, 2]), TRUE, ValueError, r"must end with .*`lists\[1\]`, 3; got 4"),
        (([], []), TRUE, ValueError, r"`lists\[0\]` must have one number more.*got none"),
        (([0], []), TRUE, ValueError, "the same users; got 0 and 2"),
        (([0.0, 2, 3], GOOD[1]), TRUE, TypeError, r"`lists\[0\]` must hold integers; got dtype f"),
        ((GOOD[0], [True] * 3), TRUE, TypeError, r"`lists\[1\]` must hold integers; got dtype b"),
        ((GOOD[0], ["a"] * 3), TRUE, TypeError, r"`lists\[1\]` must hold integers"),
        ((GOOD[0], [[0], [1, 2]]), TRUE, ValueError, r"`lists\[1\]` must be a vector"),
        ((GOOD[0], np.eye(2, dtype=int)), TRUE, ValueError, r"`lists\[1\]` must be a vector"),
        ((GOOD[0], [0, 1, -1]), TRUE, ValueError, r"`lists\[1\]` .*at least 0; got -1 at \[2\]"),
        (
            (GOOD[0], np.array([0, 1, 2**63], np.uint64)),
            TRUE,
            ValueError,
            r"`lists\[1\]` must be below 2\*\*63; got 9223372036854775808",
        ),
        (rows([0, 1], [2, 0, 2]), TRUE, ValueError, "`lists` must not repeat.*user 1 has item 2"),
        (GOOD, rows([0], [2, 1]), ValueError, "`relevant` must rise.*row 1 has 1 after 2; sort"),
        (GOOD, rows([0], [1, 1]), ValueError, "`relevant` must not repeat.*row 1 has item 1"),
        (GOOD, rows([0]), ValueError, "the same users; got 2 and 1"),
        (GOOD, rows([], []), ValueError, "`relevant` must have an item for at least one user"),
        (GOOD, (*TRUE, [1, 2]), ValueError, r"`relevant\[2\]` must have one gain an item, \(3,\)"),
        (GOOD, (*TRUE, [1, 0, 2]), ValueError, r"`relevant\[2\]` .*above 0.*got 0 at \[1\]; leave"),
        (GOOD, (*TRUE, [1, 2, np.nan]), ValueError, r"`relevant\[2\]`.*got nan at \[2\]"),
        (GOOD, (*TRUE, [1, 2, np.inf]), ValueError, r"`relevant\[2\]`.*got inf"),
    ],
)
def test_malformed_lists(given, relevant, kind, message):
    with pytest.raises(kind, match=message):
        ranking(given, relevant)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"metrics": "ncdg"}, ValueError, "must be of precision, .*'ncdg'; did you mean 'ndcg'?"),
        ({"metrics": ["map", "Recall"]}, ValueError, "got 'Recall'; did you mean 'recall'?"),
        ({"metrics": ["map", 3]}, ValueError, "got 3$"),
        ({"metrics": 3}, TypeError, "`metrics` must be of .*; got 3"),
        ({"metrics": ()}, ValueError, r"`metrics` must be at least one, none twice; got \(\)"),
        ({"metrics": ("map", "map")}, ValueError, "`metrics` .*none twice"),
        ({"at": 0}, ValueError, "`at` must be an int of at least 1.*got 0"),
        ({"at": (5, -1)}, ValueError, "`at`.*got -1"),
        ({"at": 2.5}, TypeError, "`at`.*got 2.5"),
        ({"at": "10"}, TypeError, "`at`.*got '10'"),
        ({"at": (5, 10, 5)}, ValueError, r"`at` .*none twice; got \(5, 10, 5\)"),
        ({"at": []}, ValueError, "`at` must be at least one"),
        ({"n_items": 2}, ValueError, r"`lists\[1\]`.* 0 to n_items - 1 = 1; got 2 at \[2\]"),
        ({"n_items": 0}, ValueError, "`n_items`"),
        ({"metrics": "coverage"}, ValueError, '`n_items` must be given for "coverage"'),
        ({"per_user": 1}, TypeError, "`per_user` must be True or False; got 1"),
        ({"n_threads": 0}, ValueError, "`n_threads`"),
    ],
)
def test_malformed_options(options, kind, message):
    with pytest.raises(kind, match=message):
        ranking(GOOD, TRUE, **options)


def test_the_first_repeat_is_named_whatever_the_chunks(monkeypatch):
    monkeypatch.setattr(lists, "CHUNK", 2)
    users = [[1, 2, 3]] * 20
    users[7], users[15] = [1, 2, 1], [3, 3, 1]
    for n_threads in (1, 3):
        with pytest.raises(ValueError, match="user 7 has item 1 twice"):
            ranking(rows(*users), rows(*[[1]] * 20), n_threads=n_threads)


# AUC


def counts_of(scores, truth):
    """Other items above each relevant one, and level with it, user by user."""
    pairs = [
        (np.sum(row[~good] > s), np.sum(row[~good] == s))
        for row, good in zip(scores, truth, strict=True)
        for s in row[good]
    ]
    return np.array(pairs, int).reshape(-1, 2).T


@pytest.mark.parametrize("levels", [3, 1000])  # many ties, and none or few
def test_auc_is_scikit_learns(levels):
    rng = np.random.default_rng(7)
    scores = rng.integers(0, levels, (30, 25))
    truth = rng.random((30, 25)) < rng.uniform(0.1, 0.9, (30, 1))
    truth[3], truth[4] = False, True
    indptr = np.cumsum([0, *truth.sum(axis=1)])
    found = auc(*counts_of(scores, truth), indptr, (~truth).sum(axis=1))
    both = truth.any(axis=1) & ~truth.all(axis=1)
    assert found.n_users == both.sum()
    wanted = [metrics.roc_auc_score(truth[u], scores[u]) for u in np.flatnonzero(both)]
    np.testing.assert_allclose(found.per_user[both], wanted)
    assert np.isnan(found.per_user[~both]).all()
    assert found.mean == pytest.approx(np.mean(wanted))


def test_auc_by_hand():
    # first user: above 0 and 2 of 4 others, one of them level with the first item:
    # pairs lost 0 + 1/2 + 2 of 8; second user: all lost; third: none relevant
    found = auc([0, 2, 3], [1, 0, 0], [0, 2, 3, 3], [4, 3, 5])
    np.testing.assert_array_equal(found.per_user, [1 - 2.5 / 8, 0, np.nan])
    assert found.mean == (1 - 2.5 / 8) / 2
    assert auc([0, 0], [4, 4], [0, 1, 2], 4).mean == 0.5  # a constant score


def test_auc_of_large_counts_is_exact():
    most = 2**31 - 1
    found = auc([most, 0], [0, most], [0, 1, 2], most)
    assert found.per_user.tolist() == [0, 0.5]


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (([0], [0, 0], [0, 2], 3), ValueError, r"`higher` must have one number a relevant item"),
        (([0, 0], [0], [0, 2], 3), ValueError, r"`tied` must have one .*, \(2,\); got \(1,\)"),
        (([0, 0], [0, 0], [0, 2], [3, 3]), ValueError, r"`n_others` must have one number a user"),
        (([0, 0], [0, 0], [0, 2, 1], 3), ValueError, "`relevant_indptr` must not fall"),
        (([0, -1], [0, 0], [0, 2], 3), ValueError, r"`higher` must be from 0 .*got -1 at \[1\]"),
        (([0, 2], [0, 2], [0, 1, 2], [9, 3]), ValueError, r"2 \+ 2 at \[1\], and 3 for user 1"),
        (([0.5], [0], [0, 1], 3), TypeError, "`higher` must hold integers"),
        (([0], [0], [0, 1], -1), ValueError, "`n_others`"),
        (([0], [0], [0, 1], 2.5), TypeError, "`n_others`"),
        (([0], [0], [0, 1], 2**40), ValueError, "`n_others`.*at most 2147483647"),
        (([0], [0], [0, 1], 0), ValueError, "no user with items of both kinds"),
        (([], [], [0, 0], 3), ValueError, "no user with items of both kinds"),
    ],
)
def test_auc_refuses(arguments, kind, message):
    with pytest.raises(kind, match=message):
        auc(*arguments)


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="this is the run with the JIT off")
def test_the_same_with_the_jit_off():
    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", __file__, "-k", "not refuse and not float32"],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout[-3000:]
