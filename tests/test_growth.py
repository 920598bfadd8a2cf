"""``rank="auto"`` and the stop by a certified gap, against other ways to the same optimum."""

import dataclasses
import warnings

import cases
import numpy as np
import pytest
from naive import convex_value

import wlrmf
from wlrmf import Status, Stop, again, fit

TIGHT = Stop(gtol=1e-10, ftol=1e-13, max_iter=3000)
structures = pytest.mark.parametrize("structure", cases.STRUCTURES)


@structures
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("bias", [False, True])
def test_the_optimum_over_all_ranks_is_certified(structure, bias, dtype):
    given, _ = cases.arguments(structure, dtype=dtype)
    model = fit(**given, rank="auto", reg=1.5, bias=bias)
    assert model.status is Status.GAP
    assert model.success
    assert model.certificate().relative_gap <= 1e-4
    full = fit(**given, rank=17, reg=1.5, bias=bias, stop=TIGHT)
    assert model.value == pytest.approx(full.value, rel=1e-6 if dtype is np.float64 else 1e-5)
    sizes = np.linalg.norm(model.W, axis=1) * np.linalg.norm(model.X, axis=1)
    assert sizes.min() > 1e-3 * sizes.max()


@structures
@pytest.mark.parametrize("scaling", ["none", "count"])
def test_ridges_of_rows_and_columns(structure, scaling):
    given, _ = cases.arguments(structure)
    reg = np.linspace(0.2, 1, 23), np.linspace(1, 0.3, 17)
    options = given | {"reg": reg, "reg_scaling": scaling}
    model = fit(**options, rank="auto", stop=Stop(gap=1e-6))
    assert model.certificate().relative_gap <= 1e-6
    full = fit(**options, rank=17, stop=TIGHT)
    assert model.value == pytest.approx(full.value, rel=1e-7)


def test_pinned_rows_stay_and_empty_ones_do_no_harm():
    rng = np.random.default_rng(2)
    Y = rng.standard_normal((20, 3)) @ rng.standard_normal((3, 15))
    Y[3], Y[:, 5] = np.nan, np.nan
    known = rng.standard_normal((2, 15))
    model = fit(Y, rank="auto", reg=0.5, pinned_X=known, reg_scaling="count")
    assert model.status is Status.GAP
    np.testing.assert_array_equal(model.right[:, :2].T, known)
    assert not model.left[3].any()


def test_a_large_ridge_leaves_no_factor():
    Y = np.random.default_rng(0).standard_normal((8, 6))
    top = np.linalg.norm(Y, 2)
    none = fit(Y, rank="auto", reg=1.01 * top)
    assert none.rank == 0
    assert none.value == pytest.approx(np.sum(Y**2))
    assert none.status is Status.GAP
    one = fit(Y, rank="auto", reg=0.99 * top, stop=Stop(gap=1e-9))
    assert one.rank == 1
    assert fit(np.zeros((4, 3)), rank="auto", reg=1.0).rank == 0


def test_the_value_is_that_of_a_closed_form():
    Y = np.random.default_rng(1).standard_normal((30, 12))
    s = np.linalg.svd(Y, compute_uv=False)
    wanted = np.sum(np.minimum(s, 2.0) ** 2) + 2 * 2.0 * np.sum(np.maximum(s - 2, 0))
    model = fit(Y, rank="auto", reg=2.0, stop=Stop(gap=1e-8))
    assert model.value == pytest.approx(wanted, rel=1e-8)
    assert model.rank == np.sum(s > 2)


def test_budgets_and_callbacks_end_it():
    given, _ = cases.arguments("observed")
    few = fit(**given, rank="auto", reg=0.1, stop=Stop(max_iter=3, gap=1e-12))
    assert few.status is Status.MAX_ITER
    assert few.n_iter == 3
    now = fit(**given, rank="auto", reg=0.1, stop=Stop(max_seconds=0))
    assert now.status is Status.MAX_SECONDS
    seen = []

    def stop_at_five(state):
        seen.append(state.value)
        if state.iteration == 5:
            raise StopIteration

    ended = fit(**given, rank="auto", reg=0.1, callback=stop_at_five)
    assert ended.status is Status.CALLBACK
    assert len(seen) == 5
    whole = fit(**given, rank="auto", reg=0.1)
    assert whole.trace.iteration == sorted(whole.trace.iteration)
    assert whole.trace.seconds == sorted(whole.trace.seconds)
    again = fit(**given, rank="auto", reg=0.1, n_threads=3)
    np.testing.assert_array_equal(again.left, whole.left)


def test_a_callback_may_choose_a_state_of_a_rank_before():
    given, _ = cases.arguments("observed")
    seen = []

    def choose(state):
        seen.append(state)
        if state.layout.rank > seen[0].layout.rank > 0:
            raise StopIteration(seen[0])
        if not seen[0].layout.rank:
            seen.clear()

    model = fit(**given, rank="auto", reg=0.1, callback=choose)
    assert model.status is Status.CALLBACK
    assert model.rank == seen[0].layout.rank < seen[-1].layout.rank
    np.testing.assert_array_equal(model.right, seen[0].X)

    def confuse(state):
        raise StopIteration(dataclasses.replace(state, W=state.W[1:]))

    with pytest.raises(ValueError, match="a State of another fit"):
        fit(**given, rank="auto", reg=0.1, callback=confuse)


def test_a_slow_fit_is_not_taken_for_the_end_of_one():
    given, _ = cases.arguments("observed", m=40, n=30)
    full = fit(**given, rank="auto", reg=1e-6, stop=Stop(max_iter=400))
    assert full.status in (Status.MAX_ITER, Status.GAP)


def test_a_gap_beyond_rounding_is_not_claimed():
    given, _ = cases.arguments("observed", dtype=np.float32)
    with pytest.warns(wlrmf.ConvergenceWarning, match="the gap is not certified"):
        model = fit(**given, rank="auto", reg=1.0, stop=Stop(gap=1e-15))
    assert model.status is Status.UNCERTIFIED
    assert not model.success


@pytest.mark.parametrize("solver", ["als", "lbfgs", "gd", "scaled-gd", "varpro"])
def test_a_fit_stops_when_its_gap_is_closed(solver):
    given, _ = cases.arguments("dense")
    stop = Stop(gap=1e-3, gtol=0, ftol=0, max_iter=5000)
    model = fit(**given, rank=8, reg=1.5, solver=solver, stop=stop)
    assert model.status is Status.GAP
    assert model.certificate().relative_gap <= 1.1e-3
    longer = fit(**given, rank=8, reg=1.5, solver=solver, stop=Stop(gtol=1e-9, ftol=0))
    assert model.n_iter < longer.n_iter
    assert longer.value >= model.value * (1 - 1e-3)


def test_a_rank_that_is_too_small_has_no_such_end():
    given, _ = cases.arguments("complete", noise=1.0)
    model = fit(**given, rank=1, reg=0.5, bias=True, solver="als", stop=Stop(gap=1e-3))
    assert model.success
    assert model.status is not Status.GAP


def test_the_looks_at_the_gap_are_few(monkeypatch):
    looks, certify = [], wlrmf.solvers.base.certify_end

    def counted(*args, **options):
        looks.append(1)
        return certify(*args, **options)

    monkeypatch.setattr("wlrmf.solvers.base.certify_end", counted)
    given, _ = cases.arguments("complete", noise=1.0)
    stop = Stop(gap=1e-3, gtol=0, ftol=0, max_iter=400)
    fit(**given, rank=1, reg=0.5, bias=True, solver="gd", stop=stop)
    assert 0 < len(looks) < 40


def test_it_is_the_optimum_of_another_method():
    given, _ = cases.arguments("dense", m=12, n=9)
    T, C = np.nan_to_num(given["Y"]), np.where(np.isnan(given["Y"]), 0, given["weights"])
    model = fit(**given, rank="auto", reg=1.2, stop=Stop(gap=1e-8))
    assert model.value == pytest.approx(
        convex_value(T, C, np.full(12, 1.2), np.full(9, 1.2)), rel=1e-7
    )


def test_what_makes_no_sense_is_refused():
    Y = np.random.default_rng(0).standard_normal((6, 5))
    refused = [
        ({"rank": "auto"}, "need a ridge on all rows and columns"),
        ({"rank": "auto", "reg": (np.r_[0, np.ones(5)], 1.0)}, "need a ridge on all"),
        ({"rank": "best", "reg": 1.0}, "`rank` must be an int or \"auto\"; got 'best'"),
        ({"rank": "auto", "reg": 1.0, "n_starts": 3}, "`n_starts` must be left out"),
        ({"rank": "auto", "reg": 1.0, "start": (Y, Y)}, "`start` must be left out"),
        ({"rank": 2, "solver": "als", "stop": Stop(gap=0.1)}, '`gap`, and rank="auto", need'),
    ]
    for options, message in refused:
        with pytest.raises(ValueError, match=message):
            fit(Y, **options)
    with pytest.raises(ValueError, match="`gap` must be a finite number, above 0"):
        Stop(gap=0)


@pytest.mark.parametrize("gap", [1e-4, 1e-6, 1e-8])
def test_what_float32_rounds_away_is_not_certified(gap):
    given, _ = cases.arguments("observed", dtype=np.float32)
    full = fit(**given | {"dtype": np.float64}, rank=17, reg=1.0, stop=TIGHT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wlrmf.ConvergenceWarning)
        model = fit(**given, rank="auto", reg=1.0, stop=Stop(gap=gap))
    assert model.left.dtype == np.float32
    own = again.problem_of(model, None, None, None, None, 1)
    value = own[0].value(*own[1:])
    if model.status is Status.GAP:
        assert value - full.value <= gap * value
    else:
        assert model.status is Status.UNCERTIFIED
    assert (model.status is Status.GAP) or gap < 1e-5
