"""Solvers × weight structures. A new solver or structure joins by its line in the table."""

import pickle
import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from cases import STRUCTURES, arguments, factors
from naive import dense_twin, gradient, objective

import wlrmf
from wlrmf import Status, Stop
from wlrmf.problem import build
from wlrmf.solvers import ALS, LBFGS, SOLVERS, GradientDescent
from wlrmf.validation import read_cells

ITERATIVE = {name: solver for name, solver in SOLVERS.items() if name != "svd"}
ITERATIVE["als-plain"] = ALS(acceleration=None)
MONOTONE = set(ITERATIVE)
RESUMABLE = set(ITERATIVE) - {"lbfgs"}  # SciPy's loop begins anew

solvers = pytest.mark.parametrize("name", ITERATIVE)
structures = pytest.mark.parametrize("structure", STRUCTURES)
LONG = Stop(gtol=1e-8, ftol=0, max_iter=5000)


def fit(structure, name, rank=3, reg=0.5, **options):
    """From a poor start: the default one can be so good that there is nothing left to see."""
    given, _ = arguments(structure)
    start = tuple(factor.T for factor in factors((23, 17), rank))
    options = {"reg": reg, "rank": rank, "solver": ITERATIVE[name], "start": start} | options
    return wlrmf.fit(**given | options)


def twin(structure):
    given, _ = arguments(structure)
    return dense_twin(build(read_cells(**given)))


@pytest.mark.large
@solvers
@structures
def test_descends_to_a_stationary_point(name, structure):
    model = fit(structure, name, reg=1.0, stop=LONG)
    assert model.success, model
    values = np.array(model.trace.value)
    if name in MONOTONE:
        assert (np.diff(values) <= 1e-12 * values[:-1]).all()
    assert values[-1] < 0.7 * values[0]
    T, C = twin(structure)
    dW, dX = gradient(T, C, model.left, model.right)
    dW, dX = dW + 2 * model.left, dX + 2 * model.right
    start = np.sqrt(np.sum(gradient(T, C, np.ones((23, 3)), np.ones((17, 3)))[0] ** 2))
    assert np.sqrt(np.sum(dW**2) + np.sum(dX**2)) < 1e-6 * start
    wanted = objective(T, C, model.left, model.right, np.ones(23), np.ones(17))
    assert model.value == pytest.approx(wanted, rel=1e-12)


@pytest.mark.large
@solvers
@pytest.mark.parametrize("structure", ["complete", "dense", "observed", "weighted"])
@pytest.mark.parametrize("noise", [0.0, 1e-8])
def test_finds_a_planted_matrix(name, structure, noise):
    given, truth = arguments(structure, m=40, n=30, rank=2, noise=noise, share=0.7)
    stop = Stop(gtol=1e-13, ftol=0, max_iter=4000)
    model = wlrmf.fit(**given, rank=2, solver=ITERATIVE[name], stop=stop)
    assert np.abs(model.reconstruct() - truth).max() < 1e-6 * np.abs(truth).max() + 10 * noise


@pytest.mark.parametrize("name", sorted(RESUMABLE))
@structures
def test_resumes_as_if_it_had_not_stopped(name, structure):
    whole = fit(structure, name, stop=Stop(max_iter=8, ftol=0, gtol=0))
    half = fit(structure, name, stop=Stop(max_iter=5, ftol=0, gtol=0))
    before = list(half.trace.value)
    state = pickle.loads(pickle.dumps(half.state))
    rest = fit(structure, name, start=state, stop=Stop(max_iter=3, ftol=0, gtol=0))
    np.testing.assert_array_equal(rest.left, whole.left)
    np.testing.assert_array_equal(rest.right, whole.right)
    assert rest.trace.value == whole.trace.value
    assert rest.trace.iteration == list(range(len(whole.trace)))  # 8, or converged before
    assert np.all(np.diff(rest.trace.seconds) >= 0)
    assert half.trace.value == before  # the older run's record is its own


@solvers
def test_resumes_from_another_solvers_state(name):
    first = fit("observed", "als", stop=Stop(max_iter=3))
    model = fit("observed", name, start=first.state, stop=Stop(max_iter=5, ftol=0, gtol=0))
    assert model.value < first.value
    assert model.n_iter == 8


@pytest.mark.large
@solvers
def test_any_number_of_threads_gives_the_same_bits(name):  # R55
    given, _ = arguments("observed", m=700, n=300, rank=3, share=0.3)
    models = [
        wlrmf.fit(
            **given, rank=3, reg=1.0, solver=ITERATIVE[name], n_threads=k, stop=Stop(max_iter=4)
        )
        for k in (1, 2, 3, 8)
    ]
    for model in models[1:]:
        np.testing.assert_array_equal(model.left, models[0].left)
        np.testing.assert_array_equal(model.right, models[0].right)


@solvers
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_keeps_the_dtype(name, dtype):  # R06
    given, _ = arguments("dense", dtype=dtype)
    model = wlrmf.fit(
        **given, rank=2, reg=0.1, bias=True, solver=ITERATIVE[name], stop=Stop(max_iter=5)
    )
    assert model.W.dtype == model.X.dtype == dtype
    assert model.row_bias.dtype == dtype
    assert isinstance(model.value, float)


@pytest.mark.large
@pytest.mark.parametrize("name", ["als", "gd", "lbfgs"])
def test_float32_ends_near_float64(name):
    values = []
    for dtype in (np.float32, np.float64):
        given, _ = arguments("observed", dtype=dtype)
        model = wlrmf.fit(
            **given, rank=3, reg=1.0, solver=name, stop=Stop(gtol=1e-12, ftol=0, max_iter=3000)
        )
        assert model.success, model
        values.append(model.value)
    assert values[0] == pytest.approx(values[1], rel=1e-5)


class TestSVD:
    """The closed form against numpy's."""

    @pytest.mark.parametrize("shape", [(12, 9), (9, 12), (1, 5), (5, 1), (600, 510)])
    def test_is_the_truncated_svd(self, shape):
        Y = np.random.default_rng(0).standard_normal(shape)
        rank = min(3, *shape)
        U, s, Vt = np.linalg.svd(Y, full_matrices=False)
        model = wlrmf.fit(Y, rank=rank)
        assert model.status is Status.EXACT
        np.testing.assert_allclose(
            model.reconstruct(), (U[:, :rank] * s[:rank]) @ Vt[:rank], atol=1e-8
        )
        assert model.value == pytest.approx(np.sum(s[rank:] ** 2), abs=1e-9)

    @pytest.mark.parametrize("reg", [2.0, (0.5, 8.0)])
    def test_soft_thresholds(self, reg):
        Y = np.random.default_rng(0).standard_normal((12, 9))
        U, s, Vt = np.linalg.svd(Y, full_matrices=False)
        shrunk = np.maximum(s[:4] - 2, 0)
        model = wlrmf.fit(Y, rank=4, reg=reg)
        np.testing.assert_allclose(model.reconstruct(), (U[:, :4] * shrunk) @ Vt[:4], atol=1e-10)
        assert model.optimality < 1e-10
        assert np.linalg.matrix_rank(model.W) == (shrunk > 0).sum()

    def test_als_agrees(self):
        Y = np.random.default_rng(0).standard_normal((12, 9))
        exact = wlrmf.fit(Y, rank=3, reg=0.5)
        other = wlrmf.fit(Y, rank=3, reg=0.5, solver="als", stop=Stop(gtol=1e-9, ftol=0))
        assert other.value == pytest.approx(exact.value, rel=1e-9)

    def test_needs_complete_data(self):
        given, _ = arguments("dense")
        with pytest.raises(ValueError, match=r"'svd' needs complete data.*is dense"):
            wlrmf.fit(**given, rank=2, solver="svd")


@dataclass(frozen=True)
class Diverging:
    """Goes down twice, then to NaN."""

    name: ClassVar[str] = "diverging"
    needs: ClassVar[frozenset] = frozenset({"value_and_grad"})

    def step(self, objective, state):
        scale = 0.5 if state.iteration < 2 else np.nan
        return state.moved(objective, state.W - scale * 1e-4 * state.dW, state.X)


def test_a_value_that_is_not_finite_ends_the_run_at_the_best_point():  # R54
    given, _ = arguments("observed")
    with pytest.warns(wlrmf.ConvergenceWarning, match="not finite"):
        model = wlrmf.fit(**given, rank=2, solver=Diverging())
    assert model.status is Status.NOT_FINITE
    assert not model.success
    assert model.n_iter == 2
    assert np.isfinite(model.left).all()
    with pytest.raises(wlrmf.NotConvergedError) as caught:
        wlrmf.fit(**given, rank=2, solver=Diverging(), throw=True)
    assert caught.value.result.n_iter == 2


def test_gtol_means_the_gradient_and_ftol_the_value():
    by_gradient = fit("observed", "als", reg=1.0, stop=Stop(gtol=1e-3, ftol=0))
    assert by_gradient.status is Status.GRADIENT
    assert by_gradient.trace.optimality[-1] <= 1e-3 < by_gradient.trace.optimality[-2]
    by_value = fit("observed", "als", reg=1.0, stop=Stop(gtol=0, ftol=1e-3))
    assert by_value.status is Status.VALUE
    last, end = by_value.trace.value[-2:]
    assert last - end <= 1e-3 * last


@solvers
def test_budgets(name):  # R46
    model = fit("observed", name, stop=Stop(max_iter=3, gtol=0, ftol=0))
    assert (model.status, model.n_iter, len(model.trace)) == (Status.MAX_ITER, 3, 4)
    model = fit("observed", name, stop=Stop(max_seconds=0, gtol=0, ftol=0))
    assert (model.status, model.n_iter) == (Status.MAX_SECONDS, 1)
    model = fit("observed", name, stop=Stop(max_iter=0))
    assert (model.status, model.n_iter, model.success) == (Status.NOT_STARTED, 0, False)
    assert model.value == model.trace.value[0]
    for got, wanted in zip((model.left, model.right), factors((23, 17), 3), strict=True):
        np.testing.assert_array_equal(got, wanted)
    T, C = twin("observed")
    ridge = np.full(23, 0.5), np.full(17, 0.5)
    assert model.value == pytest.approx(objective(T, C, model.left, model.right, *ridge))


@pytest.mark.large
def test_a_fit_that_hits_the_default_budget_says_so():
    given, _ = arguments("observed")
    short = GradientDescent()
    with pytest.warns(wlrmf.ConvergenceWarning, match="max_iter"):
        wlrmf.fit(**given, rank=7, reg=1e-6, solver=short)


@solvers
def test_callback_stops_cleanly_and_its_errors_pass(name):
    seen = []

    def stop_at_three(state):
        seen.append(state.value)
        if state.iteration == 3:
            raise StopIteration

    model = fit("observed", name, callback=stop_at_three)
    assert (model.status, model.n_iter, len(seen)) == (Status.CALLBACK, 3, 3)
    assert model.value <= min(seen)

    def broken(state):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fit("observed", name, callback=broken)


@solvers
def test_callback_may_choose_an_earlier_state(name):
    seen = []

    def second_of_four(state):
        seen.append(state)
        if state.iteration == 4:
            raise StopIteration(seen[1])

    model = fit("observed", name, callback=second_of_four)
    assert (model.status, model.n_iter) == (Status.CALLBACK, 4)
    np.testing.assert_array_equal(model.right, seen[1].X)  # and W is solved for it

    def wrong(state):
        raise StopIteration("the second")

    with pytest.raises(TypeError, match="StopIteration of 'the second', not of a State"):
        fit("observed", name, callback=wrong)

    other = []
    wlrmf.fit(np.ones((3, 4)) + np.eye(3, 4), rank=1, solver="gd", callback=other.append)

    def foreign(state):
        raise StopIteration(other[0])

    with pytest.raises(ValueError, match="of a State of another fit"):
        fit("observed", name, callback=foreign)


def test_the_callbacks_choice_stands_among_several_starts():
    seen = []

    def second_start(state):
        seen.append(state)
        if state.iteration == 1 and sum(s.iteration == 1 for s in seen) == 2:
            raise StopIteration(state)

    model = fit("dense", "als", start=None, n_starts=3, callback=second_start)
    assert model.status is Status.CALLBACK
    np.testing.assert_array_equal(model.right, seen[-1].X)


@pytest.mark.large
@pytest.mark.parametrize("reg", [1.0, 5.0])
@pytest.mark.parametrize("structure", ["observed", "baseline"])
def test_inexact_sweeps_end_where_exact_ones_do(structure, reg):
    """Of many columns the accelerated sweeps are inexact. With such a ridge the rank does not bind.

    Then there is one optimum.
    """
    given, _ = arguments(structure, m=150, n=120, rank=10, share=0.6)
    options = given | {"rank": 40, "reg": reg, "stop": Stop(gtol=1e-7, ftol=0)}
    inexact = wlrmf.fit(**options)
    assert inexact.counts.row_steps == 2 * inexact.n_iter
    exact = wlrmf.fit(**options | {"solver": ALS(inexact=False)})
    assert exact.counts.row_steps == 0
    assert inexact.success
    assert exact.success
    assert (np.diff(inexact.trace.value) <= 1e-12 * inexact.trace.value[0]).all()
    assert inexact.value == pytest.approx(exact.value, rel=1e-6)
    assert inexact.n_iter < 1.5 * exact.n_iter + 5
    again = inexact.transform(given["Y"], weights=given.get("weights"))
    np.testing.assert_array_equal(again, inexact.W)


@pytest.mark.parametrize(
    ("name", "rank", "per_iteration"),
    [
        ("als", 3, {"gradient": 1, "row_solves": 2, "row_steps": 0, "line": 1}),
        ("als", 40, {"gradient": 1, "row_solves": 0, "row_steps": 2, "line": 1}),
        ("als-plain", 3, {"gradient": 1, "row_solves": 2, "row_steps": 0, "line": 0}),
        ("gd", 3, {"gradient": 1, "row_solves": 0, "row_steps": 0, "line": 1}),
    ],
)
def test_reported_counts_are_true(name, rank, per_iteration, monkeypatch):
    from wlrmf.problem import Observed

    monkeypatch.setattr(Observed, "steps_are_cheaper", lambda _, columns: columns > 30)
    calls = dict.fromkeys(("loss", "loss_grad", "best_rows", "near_rows", "line"), 0)
    for method in calls:
        original = getattr(Observed, method)

        def counted(*args, _method=method, _original=original):
            calls[_method] += 1
            return _original(*args)

        monkeypatch.setattr(Observed, method, counted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wlrmf.DataWarning)  # a rank above the number of columns
        stop = Stop(max_iter=6, ftol=0, gtol=0)
        model = fit("observed", name, rank=rank, start=None, stop=stop)
    # the start and the closing row solve; above min(m, n) columns the start is not spectral
    ends = {"gradient": 2, "row_solves": 1, "row_steps": 0, "line": int(rank < 17)}
    for kind, each in per_iteration.items():
        assert getattr(model.counts, kind) == 6 * each + ends[kind]
    assert calls["loss_grad"] == model.counts.gradient
    assert calls["best_rows"] == model.counts.row_solves
    assert calls["near_rows"] == model.counts.row_steps
    assert calls["line"] == model.counts.line


def test_bad_solvers_and_options():  # R47
    given, _ = arguments("observed")
    with pytest.raises(ValueError, match=r"one of 'auto', 'svd', 'als'.*got 'asl'"):
        wlrmf.fit(**given, rank=2, solver="asl")
    with pytest.raises(TypeError, match="a class: call it first"):
        wlrmf.fit(**given, rank=2, solver=ALS)
    with pytest.raises(TypeError, match="without name, needs, step"):
        wlrmf.fit(**given, rank=2, solver=object())
    with pytest.raises(ValueError, match=r'must be "ncg" or None'):
        ALS(acceleration="anderson")
    with pytest.raises(ValueError, match="`memory` must be an int of at least 1"):
        LBFGS(memory=0)
    for bad in ({"gtol": -1}, {"ftol": np.nan}, {"max_iter": -1}, {"max_seconds": np.inf}):
        with pytest.raises(ValueError, match=f"`{next(iter(bad))}`"):
            Stop(**bad)


def test_goes_on_from_an_exact_optimum_without_a_division_by_zero():
    Y = np.outer([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 4.0])
    Y[0, 0] = np.nan
    model = wlrmf.fit(Y, rank=1, stop=Stop(gtol=0, ftol=0, max_iter=20))
    assert model.success
    assert model.predict(0, 0) == pytest.approx(1.0)


class TestHonestEnds:
    """Success means the end: found by trying data that made it mean less."""

    @pytest.mark.parametrize("offset", [1e3, 1e6])
    def test_a_large_mean_does_not_hide_what_is_left_to_do(self, offset):
        rng = np.random.default_rng(3)
        signal = rng.standard_normal((100, 2)) @ rng.standard_normal((2, 80))
        noisy = offset + signal + 0.1 * rng.standard_normal((100, 80))
        Y = np.where(rng.random((100, 80)) < 0.3, np.nan, noisy)
        model = wlrmf.fit(Y, rank=3)
        assert model.success
        assert np.sqrt(model.loss / np.isfinite(Y).sum()) < 0.1

    @pytest.mark.parametrize("name", ["als", "gd", "lbfgs"])
    @pytest.mark.parametrize("scale", [1e-80, 1e-20, 1e20, 1e80])
    def test_the_scale_of_the_data_changes_nothing(self, name, scale):
        given, _ = arguments("dense")
        options = {"rank": 2, "solver": name, "stop": Stop(max_iter=10, gtol=0, ftol=0)}
        wanted = wlrmf.fit(given["Y"], **options).value
        assert wlrmf.fit(given["Y"] * scale, **options).value / scale**2 == pytest.approx(
            wanted, rel=1e-3
        )

    @pytest.mark.large
    def test_ill_conditioned_rows_do_not_raise_the_value(self):
        for seed in (17, 20, 33):
            rng = np.random.default_rng(seed)
            Y = rng.standard_normal((25, 18))
            Y[rng.random(Y.shape) < 0.5] = np.nan
            model = wlrmf.fit(Y, rank=5, stop=Stop(max_iter=400))
            values = np.array(model.trace.value)
            assert (np.diff(values) <= 1e-9 * values[:-1]).all()
            assert model.value <= values.min() * (1 + 1e-9)

    def test_an_exact_fit_ends_at_once(self):
        Y = np.random.default_rng(1).standard_normal((20, 15))
        Y[::3, ::4] = np.nan
        model = wlrmf.fit(Y, rank=15)
        assert model.success
        assert model.n_iter < 20
        assert model.loss < 1e-24

    def test_a_solver_that_finds_no_way_down_is_no_success(self):
        class Idle:
            name, needs = "idle", frozenset()

            def step(self, objective, state):
                return state.moved(objective, state.W, state.X)

        with pytest.warns(wlrmf.ConvergenceWarning, match="found no step"):
            model = fit("dense", "als", solver=Idle())
        assert not model.success

    @pytest.mark.large
    def test_the_acceleration_accelerates(self):
        given, _ = arguments("observed", m=60, n=50, rank=4, share=0.3, noise=0.5)
        stop = Stop(gtol=1e-6, ftol=0, max_iter=3000)
        plain, fast = (
            wlrmf.fit(**given, rank=4, reg=0.3, stop=stop, solver=ALS(acceleration=kind))
            for kind in (None, "ncg")
        )
        assert plain.success
        assert fast.success
        assert 2 * fast.n_iter < plain.n_iter

    def test_the_best_point_is_returned_and_the_last_one_resumed(self):
        class Wandering:
            name, needs = "wandering", frozenset()

            def step(self, objective, state):
                scale = (0.5, 2.0, 1.5)[state.iteration % 3]
                return state.moved(objective, scale * state.W, state.X)

        model = fit("dense", "als", solver=Wandering(), stop=Stop(max_iter=6, gtol=0, ftol=0))
        values = model.trace.value
        assert values[-1] > min(values)  # so it must not stop at, nor return, the last
        assert model.value <= min(values)
        assert model.n_iter == model.state.iteration == 6
        assert model.state.value == values[-1]


def test_budget_and_callback_end_all_starts():
    seen = []

    def stop_at_once(state):
        seen.append(state)
        raise StopIteration

    model = fit("dense", "als", start=None, n_starts=5, callback=stop_at_once)
    assert len(seen) == len(model.start_values) == 1
    forever = Stop(max_seconds=0, gtol=0, ftol=0)
    assert len(fit("dense", "als", start=None, n_starts=5, stop=forever).start_values) == 1
