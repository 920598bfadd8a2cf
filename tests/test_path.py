"""The path that variable projection begins with, and many starts."""

import itertools
import os
import signal
import threading

import numpy as np
import pytest
import scipy.sparse as sp
from cases import STRUCTURES, arguments, problem
from naive import objective as full_value

import wlrmf
from wlrmf import Stop
from wlrmf.leading import leading
from wlrmf.objective import Layout, Objective
from wlrmf.path import Clock, Path
from wlrmf.result import optima
from wlrmf.solvers import ALS, SOLVERS, VarPro, choose

STRICT = Stop(gtol=1e-10, ftol=1e-13, max_iter=300)


def band(m=40, n=70, rank=3, width=9, noise=0.01, seed=1, offset=0.0):
    """A plant of which each column sees a few rows in sequence."""
    rng = np.random.default_rng(seed)
    W, X = rng.standard_normal((rank, m)), rng.standard_normal((rank, n))
    Y = W.T @ X + noise * rng.standard_normal((m, n))
    Y += offset * (rng.standard_normal((m, 1)) + rng.standard_normal(n))
    away = np.arange(m)[:, None] - np.linspace(0, m - width, n).round()
    return np.where((away < 0) | (away >= width), np.nan, Y), (W, X)


def few_cells(m=70, n=80, rank=3, oversampling=1.8, condition=1e4, seed=0):
    """An exact plant of which few cells are known, and all of it."""
    rng = np.random.default_rng(seed)
    U, V = (np.linalg.qr(rng.standard_normal((size, rank)))[0] for size in (m, n))
    truth = (U * np.geomspace(condition, 1, rank)) @ V.T
    while True:
        seen = np.zeros(m * n, bool)
        count = round(oversampling * rank * (m + n - rank))
        seen[rng.choice(m * n, count, replace=False)] = True
        seen = seen.reshape(m, n)
        if min(seen.sum(axis=0).min(), seen.sum(axis=1).min()) > rank:
            row, col = np.nonzero(seen)
            return sp.coo_array((truth[row, col], (row, col)), shape=(m, n)), truth


def plain(structure, reg, rank, **options):
    data = problem(structure, **options)
    m, n = data.shape
    return Objective(data, np.full(m, reg), np.full(n, reg), Layout(0, rank, 0))


@pytest.mark.parametrize("shape", [(30, 40), (1, 5), (6, 1), (50, 9)])
def test_leading_vectors_are_those_of_the_decomposition(shape):
    rng = np.random.default_rng(0)
    k = min(shape)
    U, V = (np.linalg.qr(rng.standard_normal((size, k)))[0] for size in shape)
    B = (U * 0.5 ** np.arange(k)) @ V.T
    rank = min(3, k)
    left, s, right = leading(sp.linalg.aslinearoperator(B), rank, rng, np.dtype(float))
    np.testing.assert_allclose(s, 0.5 ** np.arange(rank), rtol=1e-6)
    for got, wanted in ((left, U), (right, V)):
        assert got.shape == (len(wanted), rank)
        angles = np.abs(np.sum(got * wanted[:, :rank], axis=0))
        np.testing.assert_allclose(angles, 1, atol=1e-5)


def test_the_default_solves_what_alternating_does_not():
    Y, plant = band()
    best = wlrmf.fit(Y, rank=3, solver="varpro", start=plant, stop=STRICT)
    model = wlrmf.fit(Y, rank=3)
    assert model.solver == "varpro"
    assert model.success
    assert model.value <= best.value * (1 + 1e-6)
    other = wlrmf.fit(Y, rank=3, solver="als", stop=Stop(max_iter=200))
    assert other.value > 1.01 * best.value


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("oversampling", [1.8, 2.5])
def test_few_cells_of_an_ill_conditioned_matrix_are_enough(oversampling, seed):
    Y, truth = few_cells(oversampling=oversampling, seed=seed)
    model = wlrmf.fit(Y, rank=3)
    assert np.linalg.norm(model.reconstruct() - truth) < 1e-9 * np.linalg.norm(truth)


def test_biases_and_pinned_rows_go_along():
    Y, _ = band(offset=2.0, noise=0.0)
    model = wlrmf.fit(Y, rank=3, bias=True)
    assert np.nanmax(np.abs(model.reconstruct() - Y)) < 1e-6
    known = np.random.default_rng(3).standard_normal((1, 70))
    slopes = np.random.default_rng(4).standard_normal((40, 1))
    model = wlrmf.fit(Y + slopes * known, rank=3, bias=True, pinned_X=known, solver="varpro")
    assert np.nanmax(np.abs(model.reconstruct() - Y - slopes * known)) < 1e-6


@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_structure_has_a_path_to_a_stationary_point(structure):
    given, _ = arguments(structure)
    for reg in (0.0, 0.3):
        if structure == "complete" and reg == 0:
            continue  # every factorization along the path is as good as the last
        model = wlrmf.fit(**given, rank=3, reg=reg, solver="varpro", stop=STRICT)
        assert model.success
        last = model.state
        size = full_value_of(structure, model, reg)
        assert model.value == pytest.approx(size, rel=1e-9)
        assert last.norm <= 1e-4 * last.value


def full_value_of(structure, model, reg):
    from naive import dense_twin

    T, C = dense_twin(problem(structure))
    ridges = (np.full(size, reg) for size in T.shape)
    return full_value(T, C, model.left, model.right, *ridges)


@pytest.mark.parametrize("reg", [0.0, 0.7])
def test_the_ridge_falls_and_never_below_the_objectives(reg, monkeypatch):
    seen = []

    def spy(objective, solver, state, stop, watch=None):
        seen.append((objective.layout.rank, float(objective.reg_W[0]), stop.max_iter))
        return minimise(objective, solver, state, stop, watch)

    minimise = wlrmf.path.minimise
    monkeypatch.setattr("wlrmf.path.minimise", spy)
    objective = plain("observed", reg, 3)
    left, right = (np.zeros((size, 3)) for size in objective.problem.shape)
    Path().climb(objective, left, right, np.random.default_rng(0), Clock(Stop()))
    ranks = [rank for rank, _, _ in seen]
    assert ranks == sorted(ranks)
    assert set(ranks) == {1, 2, 3}
    for rank in (1, 2, 3):
        ridges = [ridge for r, ridge, _ in seen if r == rank]
        assert all(a > b for a, b in itertools.pairwise(ridges))
        assert ridges[-1] >= reg
        assert reg == 0 or ridges[-1] == reg


def test_seconds_end_a_path_and_are_told():
    Y, _ = band()
    model = wlrmf.fit(Y, rank=3, stop=Stop(max_seconds=0))
    assert model.status is wlrmf.Status.MAX_SECONDS
    whole = wlrmf.fit(Y, rank=3)
    assert whole.trace.seconds[0] > 0
    assert whole.trace.iteration[0] == 0
    assert all(np.diff(whole.trace.seconds) >= 0)


@pytest.mark.parametrize("solver", ["varpro", "als"])
def test_starts_side_by_side_are_those_in_turn(solver):
    Y, _ = band(m=20, n=30)
    options = {"rank": 3, "solver": solver, "n_starts": 7, "stop": Stop(max_iter=30)}
    alone = wlrmf.fit(Y, **options, n_threads=1)
    several = wlrmf.fit(Y, **options, n_threads=3)
    watched = wlrmf.fit(Y, **options, n_threads=3, callback=lambda state: None)
    for other in (several, watched):
        assert other.start_values == alone.start_values
        assert other.counts == alone.counts
        np.testing.assert_array_equal(other.left, alone.left)
    assert len(set(alone.start_values)) > 1


def test_the_first_of_many_starts_is_the_only_one():
    Y, _ = band(m=20, n=30)
    for solver in ("varpro", "als"):
        options = {"rank": 2, "solver": solver, "seed": 3, "stop": Stop(max_iter=20)}
        one, several = (wlrmf.fit(Y, **options, n_starts=number) for number in (1, 3))
        assert several.start_values[0] == one.start_values[0]
    generator = np.random.default_rng(3)
    first = wlrmf.fit(Y, rank=2, solver="als", seed=generator, n_starts=2, stop=Stop(max_iter=3))
    again = wlrmf.fit(Y, rank=2, solver="als", seed=generator, n_starts=2, stop=Stop(max_iter=3))
    assert first.start_values[1] != again.start_values[1]


@pytest.mark.parametrize("n_threads", [1, 2])
def test_repeat_ends_when_the_least_value_recurs(n_threads):
    Y, _ = band()
    model = wlrmf.fit(Y, rank=3, n_starts="repeat", n_threads=n_threads)
    paths, others = model.start_values[:3], model.start_values[3:]
    least = min(model.start_values) * (1 + 1e-6)
    assert sum(value <= least for value in others) == 2
    assert others[-1] <= least
    assert all(value <= least for value in paths)
    by_als = wlrmf.fit(Y, rank=1, reg=1.0, solver="als", n_starts="repeat", n_threads=n_threads)
    least = min(by_als.start_values) * (1 + 1e-6)
    assert sum(value <= least for value in by_als.start_values[1:]) == 2


def test_repeat_ends_at_a_value_that_cannot_be_smaller():
    Y, _ = few_cells()
    model = wlrmf.fit(Y, rank=3, n_starts="repeat", n_threads=1)
    assert len(model.start_values) == 1


def test_repeat_ends_after_many_starts(monkeypatch):
    monkeypatch.setattr("wlrmf.runs.MOST", 4)
    Y, _ = band(m=20, n=30)
    model = wlrmf.fit(Y, rank=2, n_starts="repeat")
    assert len(model.start_values) == 4  # three paths and one other


def test_optima_are_counted_from_the_least_on():
    values = [3.0, 1.0, np.nan, 1.0 + 5e-7, np.inf, 3.0, 1.0 + 1e-5]
    assert optima(values) == [(1.0, 2), (1.0 + 1e-5, 1), (3.0, 2)]
    assert optima([0.0, 1e-20], rounding=1e-19) == [(0.0, 2)]
    assert optima([np.nan]) == []


class Failing(ALS):
    """Fails in its third iteration."""

    def step(self, objective, state):
        if state.iteration == 2:
            raise RuntimeError("no more")
        return super().step(objective, state)


def test_an_error_in_one_start_ends_all_and_leaves_no_thread():
    Y, _ = band(m=20, n=30)
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="no more"):
        wlrmf.fit(Y, rank=2, solver=Failing(), n_starts=20, n_threads=3)
    assert threading.active_count() == before


def test_ctrl_c_ends_starts_side_by_side():
    Y, _ = band(m=20, n=30)
    before = threading.active_count()
    endless = Stop(gtol=0, ftol=0, max_iter=10**9)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        wlrmf.fit(Y, rank=2, solver="gd", n_starts=6, n_threads=3, stop=endless)
    timer.join()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"reg": 0.0}, "varpro"),
        ({"reg": 1e-12}, "varpro"),
        ({"reg": 0.1}, "als"),
        ({"reg": (0.0, 0.1)}, "als"),
        ({"rank": 4, "weights": np.ones((40, 70)), "reg": 0.0}, "varpro"),
    ],
)
def test_what_auto_is(given, name):
    Y, _ = band()
    options = {"rank": 3, "stop": Stop(max_iter=1)} | given
    with pytest.warns() if given["reg"] == (0.0, 0.1) else _nothing():
        assert wlrmf.fit(Y, **options).solver == name


def _nothing():
    from contextlib import nullcontext

    return nullcontext()


def test_auto_leaves_large_problems_to_als(monkeypatch):
    objective = plain("observed", 0.0, 3)
    assert choose(objective) is SOLVERS["varpro"]
    monkeypatch.setattr("wlrmf.solvers.SMALL", objective.problem.nnz * 3 - 1)
    assert choose(objective) is SOLVERS["als"]
    assert choose(plain("complete", 0.0, 3)) is SOLVERS["svd"]


def test_steps_by_products_see_no_scale():
    """Singular values thousands apart cost no digits."""
    Y, truth = few_cells(condition=1e4, seed=2)
    model = wlrmf.fit(Y, rank=3, solver=VarPro(dense=0))
    assert model.n_iter < 25
    assert np.linalg.norm(model.reconstruct() - truth) < 1e-9 * np.linalg.norm(truth)


def test_starts_are_judged():
    Y = np.ones((4, 5))
    with pytest.raises(ValueError, match='`n_starts` must be an int from 1 on or "repeat"'):
        wlrmf.fit(Y, rank=1, n_starts="often")
    with pytest.raises(ValueError, match="`n_starts` must be 1 with a given `start`; got 'repeat'"):
        wlrmf.fit(Y, rank=1, start=(np.ones((1, 4)), np.ones((1, 5))), n_starts="repeat")
