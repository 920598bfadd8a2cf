"""Rank and ridge by held-out error, against a slow loop, hand-worked cases and planted answers."""

import dataclasses
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

import wlrmf
from wlrmf import splits
from wlrmf.selection.choice import chosen, rows
from wlrmf.selection.errors import Metric
from wlrmf.selection.grid import default_regs
from wlrmf.selection.parts import Observations
from wlrmf.selection.search import Outcome, Record, Setting, living, loosened, run
from wlrmf.solvers import get_solver
from wlrmf.validation.cells import read_cells

RANKS, REGS = (1, 2, 3, 5), (32.0, 16.0, 8.0, 4.0, 2.0, 1.0)


@pytest.fixture(scope="module")
def planted():
    """Rank 3 and noise of standard deviation 1/A, with a quarter of the cells missing."""
    rng = np.random.default_rng(11)
    Y = 2 * rng.standard_normal((70, 3)) @ rng.standard_normal((3, 50))
    A = rng.choice([0.5, 1.0, 2.0], size=Y.shape)
    Y += rng.standard_normal(Y.shape) / A
    Y[rng.random(Y.shape) < 0.25] = np.nan
    return Y, A


@pytest.fixture(scope="module")
def found(planted):
    Y, A = planted
    return wlrmf.select(Y, A, RANKS, REGS, folds=4, seed=5)


def loop(Y, A, ranks, regs, fold, **options):
    """The slow twin: every pair on every fold, by `fit` and by the formula."""
    i, j = np.nonzero(np.isfinite(Y))
    errors = {}
    for rank in ranks:
        for reg in regs:
            own = []
            for k in range(fold.max() + 1):
                out = i[fold == k], j[fold == k]
                train = Y.copy()
                train[out] = np.nan
                model = wlrmf.fit(train, A * ~np.isnan(train), rank, reg=reg, **options)
                square = A[out] ** 2 * (Y[out] - model.reconstruct()[out]) ** 2
                own.append(np.sqrt(square.sum() / (A[out] ** 2).sum()))
            errors[rank, reg] = own
    return errors


@pytest.mark.parametrize("bias", [False, True])
def test_errors_are_those_of_a_loop_over_fit(planted, bias):
    Y, A = planted
    fold = splits.folds(*np.nonzero(np.isfinite(Y)), Y.shape, 4, 5)
    errors = loop(Y, A, RANKS, REGS, fold, bias=bias)
    found = wlrmf.select(Y, A, RANKS, REGS, folds=4, seed=5, bias=bias)
    mean = {pair: np.mean(own) for pair, own in errors.items()}
    best = min(mean, key=mean.get)
    limit = mean[best] + np.std(errors[best], ddof=1) / 2
    near = [pair for pair in mean if mean[pair] <= limit]
    assert (found.best_rank, found.best_reg) == best
    assert (found.rank, found.reg) == min(near, key=lambda pair: (pair[0], -pair[1]))
    assert found.limit == pytest.approx(limit, rel=2e-3)
    complete = [trial for trial in found.table if trial.status == "complete"]
    assert len(complete) >= 2
    for trial in complete:
        assert_allclose(trial.errors, errors[trial.rank, trial.reg], rtol=3e-3)
        assert trial.error == pytest.approx(np.mean(trial.errors))
        assert trial.se == pytest.approx(np.std(trial.errors, ddof=1) / 2)


def test_the_planted_rank_is_found(found):
    assert found.rank == found.best_rank == 3
    assert found.model.rank == 3
    assert found.chosen.error <= found.limit
    assert found.best.error == min(t.error for t in found.table if t.status == "complete")


def test_what_cannot_be_chosen_is_left_and_marked(found):
    by_status = {status: [t for t in found.table if t.status == status] for status in STATUSES}
    assert by_status["hopeless"]
    assert len(found.table) == len(RANKS) * len(REGS)
    for trial in by_status["hopeless"]:
        done = np.isfinite(trial.errors)
        assert done[0]
        assert not done.all()
        assert math.isnan(trial.se)
        gap = np.mean(np.subtract(trial.errors, found.best.errors)[done])
        assert trial.error == pytest.approx(found.best.error + gap)
        assert gap > 2 * found.best.se
    for trial in by_status["skipped"]:
        assert np.isnan([trial.error, trial.se, trial.value, *trial.errors]).all()
        assert trial.n_iter == trial.seconds == 0


STATUSES = ("complete", "hopeless", "rising", "skipped")


def test_a_path_ends_where_the_error_rises_clearly():
    rng = np.random.default_rng(3)
    Y = rng.standard_normal((60, 2)) @ rng.standard_normal((2, 50)) + rng.standard_normal((60, 50))
    Y[rng.random(Y.shape) < 0.5] = np.nan
    regs = [16, 8, 4, 2, 1, 0.5, 0.25]
    found = wlrmf.select(Y, ranks=[2, 12], regs=regs, folds=3)
    own = [t for t in found.table if t.rank == 12]
    states = [t.status for t in own]
    assert "skipped" in states
    first = states.index("skipped")
    assert set(states[first:]) == {"skipped"}
    assert own[first - 3].errors[0] < own[first - 2].errors[0] < own[first - 1].errors[0]
    assert found.rank == 2


def test_the_model_is_that_of_fit(planted, found):
    Y, A = planted
    model = wlrmf.fit(Y, A, found.rank, reg=found.reg, seed=5)
    assert_array_equal(model.left, found.model.left)
    assert_array_equal(model.right, found.model.right)
    assert wlrmf.select(Y, A, [3], [8.0], folds=2, refit=False).model is None


def test_the_same_bits_for_any_number_of_threads(planted, found):
    Y, A = planted
    for n_threads in (1, 3):
        other = wlrmf.select(Y, A, RANKS, REGS, folds=4, seed=5, n_threads=n_threads)
        for one, two in zip(found.table, other.table, strict=True):
            one, two = (dataclasses.replace(trial, seconds=0.0) for trial in (one, two))
            assert_array_equal(one.errors, two.errors)
            assert one.value == two.value or math.isnan(one.value)


def test_dense_sparse_and_weights_agree(planted, found):
    Y, A = planted
    i, j = np.nonzero(np.isfinite(Y))
    entries = sparse.csr_array((Y[i, j], (i, j)), shape=Y.shape)
    squared = sparse.csr_array((A[i, j] ** 2, (i, j)), shape=Y.shape)
    other = wlrmf.select(entries, None, RANKS, REGS, weights=squared, folds=4, seed=5)
    assert (other.rank, other.reg) == (found.rank, found.reg)
    assert_allclose(other.best.errors, found.best.errors, rtol=1e-3)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_held_out_values_do_not_reach_the_fit(planted, kind):
    Y, A = planted
    fold = splits.folds(*np.nonzero(np.isfinite(Y)), Y.shape, 4, 5)
    i, j = np.nonzero(np.isfinite(Y))
    other = Y.copy()
    other[i[fold == 1], j[fold == 1]] = 1e6
    losses = []
    for values in (Y, other):
        if kind == "sparse":
            values = sparse.csr_array((values[i, j], (i, j)), shape=Y.shape)
        data = Observations.of(read_cells(values, A))
        part = data.split(fold == 1, 1, {"pinned_W": None, "pinned_X": None, "bias": True})
        W, X = (np.ones((size, 1)) for size in Y.shape)
        losses.append(part.problem.loss(W, X))
        assert part.problem.nnz == (fold != 1).sum()
        assert part.judge.nnz == part.y.size == (fold == 1).sum()
        assert_allclose(part.rmse(W, X), part.error(W, X, Metric("rmse"))[0])
    expected = (A[i, j] ** 2 * (Y[i, j] - 1) ** 2)[fold != 1].sum()
    assert_allclose(losses, [expected, expected])


def test_a_holdout_and_own_splits(planted):
    Y, A = planted
    i, j = np.nonzero(np.isfinite(Y))
    share = wlrmf.select(Y, A, [2, 3], [8.0, 4.0], holdout=0.2, seed=1, refit=False)
    out = splits.cells(i, j, Y.shape, 0.2, 1)
    own = wlrmf.select(Y, A, [2, 3], [8.0, 4.0], holdout=out, refit=False)
    assert share.n_folds == own.n_folds == 1
    assert [t.errors for t in share.table] == [t.errors for t in own.table]
    train = np.where(np.isfinite(Y), Y, np.nan)
    train[i[out], j[out]] = np.nan
    model = wlrmf.fit(train, A, share.best_rank, reg=share.best_reg)
    e2, w = ((Y - model.reconstruct()) ** 2)[i[out], j[out]], A[i[out], j[out]] ** 2
    mse = np.average(e2, weights=w)
    se = np.sqrt(np.sum((w * (e2 - mse)) ** 2)) / w.sum()
    assert share.best.error == pytest.approx(np.sqrt(mse), rel=3e-3)
    assert share.best.se == pytest.approx(se / (2 * np.sqrt(mse)), rel=1e-2)
    fold = splits.folds(i, j, Y.shape, 3, 7)
    given = wlrmf.select(Y, A, [3], [8.0], folds=fold, refit=False)
    assert given.table[0].errors == wlrmf.select(Y, A, [3], [8.0], folds=3, seed=7).table[0].errors


def test_metrics_by_hand():
    y, predicted, weights = np.array([1.0, 2, 5]), np.array([1.0, 4, 4]), np.array([1.0, 1, 2])
    assert Metric("rmse")(y, predicted, weights)[0] == pytest.approx(np.sqrt((0 + 4 + 2) / 4))
    mae, se = Metric("mae")(y, predicted, weights)
    assert mae == pytest.approx((0 + 2 + 2) / 4)
    assert se == pytest.approx(np.sqrt((0 - 1) ** 2 + (2 - 1) ** 2 + 4 * (1 - 1) ** 2) / 4)


@pytest.mark.parametrize("name", ["rmse", "mae", "own"])
def test_the_standard_error_is_the_scatter_of_the_error(name):
    """Over many draws of the cells."""

    def own(y, predicted, weights):
        return np.average(np.abs(y - predicted), weights=weights)

    rng = np.random.default_rng(0)
    metric = Metric.read(own if name == "own" else name)
    draws = []
    for _ in range(400):
        y, weights = rng.standard_normal(500), rng.choice([1.0, 3.0], 500)
        draws.append(metric(y, np.zeros(500), weights))
    error, se = np.array(draws).T
    assert se.mean() == pytest.approx(error.std(), rel=0.12)


def test_own_metric_and_mae_reach_the_table(planted):
    Y, A = planted
    grid = {"ranks": [2, 3], "regs": [8.0], "folds": 3, "refit": False}

    def mean_absolute(y, predicted, weights):
        return float(np.sum(weights * np.abs(y - predicted)) / np.sum(weights))

    mae, own = (wlrmf.select(Y, A, metric=m, **grid) for m in ("mae", mean_absolute))
    assert own.metric == "mean_absolute"
    assert_allclose(own.chosen.errors, mae.chosen.errors, rtol=1e-6)
    with pytest.raises(ValueError, match="`metric` must return a finite number; got nan"):
        wlrmf.select(Y, A, metric=lambda *_: np.nan, **grid)


def record_of(table, regs=(8.0, 4.0), se=0.01):
    """A record with these errors: rank -> one list of errors a ridge."""
    n_folds = max(len(own) for paths in table.values() for own in paths)
    record = Record(tuple(table), regs, n_folds)
    for rank, paths in table.items():
        for reg, own in zip(regs, paths, strict=True):
            for k, error in enumerate(own):
                record.add((rank, reg), k, Outcome(error, se, 1.0, 1, 0.1, True))
    return record


def test_the_rule_by_hand():
    record = record_of({1: [[1.5, 1.7], [1.2, 1.4]], 2: [[1.2, 1.3], [1.1, 1.3]]})
    # least: rank 2, ridge 4, mean 1.2, standard error 0.1
    answer = chosen(record, "one-se")
    assert answer["best"] == (2, 4.0)
    assert answer["choice"] == (1, 4.0)  # mean 1.3
    assert answer["limit"] == pytest.approx(1.3)
    assert chosen(record, "best")["choice"] == (2, 4.0)
    record = record_of({1: [[1.5, 1.7], [1.5, 1.7]], 2: [[1.2, 1.3], [1.1, 1.3]]})
    assert chosen(record, "one-se")["choice"] == (2, 8.0)  # of one rank the largest ridge


def test_equal_errors_go_to_the_simplest():
    record = record_of({1: [[1.0, 1.0], [1.0, 1.0]], 2: [[1.0, 1.0], [1.0, 1.0]]})
    assert chosen(record, "best")["choice"] == (1, 8.0)


def test_pairs_left_out_too_early_are_reprieved():
    # folds differ by 1: far more than the cells say
    record = record_of({1: [[1.3], []], 2: [[1.0, 2.0], [1.1, 2.2]], 3: [[1.6], [1.7]]})
    record.outcomes.pop((1, 4.0), None)
    assert record.reprieved() == {(1, 8.0), (1, 4.0)}  # the gap is 0.3, the standard error 0.5
    assert record.estimate((1, 8.0)) == pytest.approx(1.8)
    statuses = {(t.rank, t.reg): t.status for t in rows(record)}
    assert statuses == {
        (1, 8.0): "hopeless",
        (1, 4.0): "skipped",
        (2, 8.0): "complete",
        (2, 4.0): "complete",
        (3, 8.0): "hopeless",
        (3, 4.0): "hopeless",
    }


def test_folds_that_differ_much_leave_the_choice_of_the_slow_loop():
    """A fold of large values: over the cells the errors look sure, over the folds they are not."""
    rng = np.random.default_rng(2)
    Y = rng.standard_normal((60, 1)) @ rng.standard_normal((1, 40))
    Y += 0.3 * rng.standard_normal((60, 2)) @ rng.standard_normal((2, 40))
    Y += 0.1 * rng.standard_normal(Y.shape)
    fold = np.arange(Y.size) % 3
    i, j = np.divmod(np.arange(Y.size), 40)
    Y[i[fold == 2], j[fold == 2]] += rng.standard_normal((fold == 2).sum())
    errors = loop(Y, np.ones(Y.shape), (1, 3), (4.0, 1.0), fold)
    found = wlrmf.select(Y, None, (1, 3), (4.0, 1.0), folds=fold, refit=False)
    mean = {pair: np.mean(own) for pair, own in errors.items()}
    best = min(mean, key=mean.get)
    near = [p for p in mean if mean[p] <= mean[best] + np.std(errors[best], ddof=1) / 3**0.5]
    assert min(errors[1, 4.0]) > 1.4 * min(errors[best])  # hopeless, as far as one fold can tell
    assert (found.rank, found.reg) == min(near, key=lambda pair: (pair[0], -pair[1]))


def fold_of(Y, mask=None, *, bias=False):
    data = Observations.of(read_cells(Y, mask))
    held_out = np.zeros(data.y.size, bool)
    held_out[0] = True
    return data.split(held_out, 1, {"pinned_W": None, "pinned_X": None, "bias": bias})


@pytest.mark.parametrize("reg_scaling", ["none", "count"])
def test_the_default_ridges_hang_on_the_largest_singular_value(planted, reg_scaling):
    Y, A = planted
    fold = fold_of(Y, A)
    seen = np.isfinite(Y)
    seen[tuple(np.argwhere(seen)[0])] = False
    Z = np.where(seen, A**2 * np.nan_to_num(Y), 0)
    if reg_scaling == "count":
        Z = Z / np.sqrt(np.outer(seen.sum(axis=1), seen.sum(axis=0)))
    top = np.linalg.norm(Z, 2)
    regs = default_regs(fold, reg_scaling)
    assert_allclose(regs, top / 2.0 ** np.arange(1, 9), rtol=0.01)
    train = np.where(seen, Y, np.nan)
    sizes = [
        np.abs(wlrmf.fit(train, A, 2, reg=share * top, reg_scaling=reg_scaling).W).max()
        for share in (1.02, 0.9)
    ]
    assert sizes[0] < 0.01 * sizes[1]  # not yet 0: the fit ends when F is settled


def test_the_default_grid_with_biases_finds_what_is_planted(planted):
    Y, A = planted
    Y = Y + 20 + 3 * np.arange(Y.shape[0])[:, None] % 7
    found = wlrmf.select(Y, A, bias=True, folds=3)
    assert found.ranks == [1, 2, 4, 8, 16]
    assert found.rank == 4  # 3 is not among them
    assert "reg" not in found.at_edge


@pytest.mark.parametrize("reg_scaling", ["none", "count"])
def test_collapsed_factors_do_not_hold_back_the_next_ridge(planted, reg_scaling):
    """From a ridge at which all factors, or some, are 0 down to one at which they are not."""
    Y, A = planted
    fold = fold_of(Y, A)
    top = 2 * default_regs(fold, reg_scaling)[0]
    setting = Setting(Metric("rmse"), reg_scaling, get_solver("als"), loosened(wlrmf.Stop()), None)
    factors = None
    for share in (1.1, 0.95, 0.3):
        outcome, factors = run(fold, 4, share * top, factors, math.inf, setting)
        train = np.where(np.isfinite(Y), Y, np.nan)
        train[tuple(np.argwhere(np.isfinite(Y))[0])] = np.nan
        model = wlrmf.fit(train, A, 4, reg=share * top, reg_scaling=reg_scaling)
        assert outcome.value == pytest.approx(model.value, rel=2e-4)


def test_living_factors():
    rng = np.random.default_rng(0)
    W, X = rng.standard_normal((9, 3)), rng.standard_normal((7, 3))
    assert living(W, X)
    assert not living(W * [1, 1, 1e-3], X * [1, 1, 1e-3])
    assert not living(W[:, [0, 1, 1]], X)  # two factors that are one
    assert living(W[:, :0], X[:, :0])


def test_rank_0_of_biases_and_pinned_rows(planted):
    Y, A = planted
    side = np.linspace(-1, 1, Y.shape[0])
    Y = 5 * np.ones_like(Y) + side[:, None] * np.arange(Y.shape[1]) * np.where(np.isnan(Y), Y, 1)
    Y += 0.1 * np.random.default_rng(0).standard_normal(Y.shape)
    options = {"bias": True, "pinned_W": side[None]}
    found = wlrmf.select(Y, A, [0, 1, 2], [0.01, 0.001], folds=3, **options)
    assert found.rank == 0
    assert_array_equal(found.model.right, wlrmf.fit(Y, A, 0, reg=found.reg, **options).right)


def test_single_precision_only_where_it_does_no_harm(planted):
    Y, A = planted
    data = Observations.of(read_cells(Y, A))
    assert data.in_float32().y.dtype == np.float32
    assert Observations.of(read_cells(Y + 1e6, A)).in_float32().y.dtype == np.float64
    assert Observations.of(read_cells(Y * 1e40)).in_float32().y.dtype == np.float64
    uneven = A * np.where(np.arange(50) % 2, 1, 1e-4)
    assert Observations.of(read_cells(Y, uneven)).in_float32().y.dtype == np.float64
    shifted = wlrmf.select(Y + 1e6, A, [2, 3], [8.0], folds=3, bias=True, refit=False)
    plain = wlrmf.select(Y, A, [2, 3], [8.0], folds=3, bias=True, refit=False)
    assert_allclose(shifted.best.errors, plain.best.errors, rtol=1e-3)


def test_the_page_and_the_line(found):
    text = repr(found)
    assert text.startswith(f"Selection(rank 3, reg {found.reg:g}: rmse {found.chosen.error:.5g} ±")
    assert "over 4 folds" in text
    page = found._repr_html_()
    assert page.count("<tr>") == 1 + len(REGS)
    assert "<b>" in page
    assert "–" in page or all(t.status != "skipped" for t in found.table)


def test_columns_for_a_data_frame(found):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(found.to_dict())
    assert len(frame) == len(found.table)
    assert frame[frame.chosen][["rank", "reg"]].values.tolist() == [[found.rank, found.reg]]
    assert list(frame.columns[:4]) == ["rank", "reg", "error", "se"]
    assert {f"fold {k}" for k in range(4)} <= set(frame.columns)


def test_the_edge_of_the_grid_is_told(planted):
    Y, A = planted
    found = wlrmf.select(Y, A, [1, 2], [64.0, 32.0], folds=2, refit=False)
    assert found.at_edge == ("rank", "reg")
    assert "the best rank is at the edge of those tried" in repr(found)
    assert not wlrmf.select(Y, A, [3], [8.0], folds=2, refit=False).at_edge


Y4 = np.arange(12.0).reshape(4, 3) % 5


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ranks": []}, "`ranks` must have at least one number; got none"),
        ({"ranks": 2}, "`ranks` must be a sequence of numbers; got 2"),
        ({"ranks": [4]}, "`ranks` must be an int of at least 1 and at most 3; got 4"),
        ({"ranks": [0]}, "`ranks` must be an int of at least 1"),
        ({"ranks": [1.5]}, "`ranks` must be an int"),
        ({"regs": []}, "`regs` must have at least one number"),
        ({"regs": [1.0, -1.0]}, "`regs` must be a finite number, not negative; got -1.0"),
        ({"regs": [np.nan]}, "`regs` must be a finite number"),
        ({"regs": "12"}, "`regs` must be a sequence of numbers; got '12'"),
        ({"folds": 2, "holdout": 0.1}, "`folds` and `holdout` exclude each other"),
        ({"folds": 1}, "`folds` must be an int of at least 2; got 1"),
        ({"folds": 2.0}, "`folds` must be an int"),
        ({"folds": np.zeros(12, int)}, "`folds` must have at least 2 folds; its largest is 0"),
        ({"folds": np.zeros(3, int)}, "`folds` must have one int for each of the 12 observed"),
        ({"folds": np.repeat([0, 2], 6)}, "`folds` must leave .* fold 1 holds out no cell"),
        ({"holdout": 1.5}, "`holdout` must be above 0 and below 1; got 1.5"),
        ({"holdout": 0.01}, "`holdout` must leave .* it holds out no cell of 12"),
        ({"holdout": np.ones(12, bool)}, "`holdout` must leave .* every cell of 12"),
        ({"baseline": 1.0}, r"`baseline` is not supported.*Recommender\.evaluate"),
        ({"metric": "r2"}, "`metric` must be 'rmse', 'mae' or a function .* got 'r2'"),
        ({"rule": "1se"}, "`rule` must be .* got '1se'"),
        ({"bias": 1}, "`bias` must be True or False; got 1"),
        ({"refit": None}, "`refit` must be True or False; got None"),
        ({"stop": 5}, "`stop` must be a wlrmf.Stop; got 5"),
        ({"solver": "svd"}, "`solver` must work with missing cells"),
        ({"solver": "sgd"}, "`solver` must be one of"),
        ({"reg_scaling": "n"}, "`reg_scaling` must be"),
        ({"n_threads": 0}, "`n_threads` must be an int of at least 1; got 0"),
    ],
)
def test_bad_arguments(options, reason):
    options = {"ranks": [1], "regs": [1.0]} | options
    with pytest.raises((ValueError, TypeError), match=reason):
        wlrmf.select(Y4, **options)


def test_data_without_anything_to_explain_need_ridges():
    with pytest.raises(ValueError, match="`regs` must be given: the data leave nothing"):
        wlrmf.select(np.zeros((5, 4)), ranks=[1], folds=2)
    found = wlrmf.select(np.zeros((5, 4)), ranks=[1, 2], regs=[1.0, 0.0], folds=2)
    assert found.best.error == 0
    assert found.rank == 1
