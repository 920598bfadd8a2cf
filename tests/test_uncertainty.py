"""Error bars against dense algebra, closed forms and planted problems."""

import dataclasses

import cases
import naive
import numpy as np
import pytest

from wlrmf import Stop, fit, load
from wlrmf.objective import Layout, Objective
from wlrmf.problem import build
from wlrmf.uncertainty import freedom
from wlrmf.uncertainty.conditional import Conditional
from wlrmf.uncertainty.gauge import gauge
from wlrmf.uncertainty.joint import Joint
from wlrmf.validation import read_cells
from wlrmf.validation.errors import DataWarning

structures = pytest.mark.parametrize("structure", cases.STRUCTURES)
LAYOUTS = {
    "plain": Layout(0, 2, 0),
    "bias": Layout(1, 2, 1, 1),
    "pinned": Layout(2, 1, 0),
    "levels": Layout(1, 0, 1, 1),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def point(structure, layout, shape, reg, seed=0, share=0.75):
    """An objective, random factors, and the ridges as vectors."""
    rng = np.random.default_rng(seed)
    problem = cases.problem(structure, m=shape[0], n=shape[1], share=share, seed=seed)
    regs = [reg * rng.uniform(0.5, 2, size) for size in shape]
    factors = [rng.standard_normal((size, layout.columns)) for size in shape]
    return Objective(problem, *regs, layout), *factors


def all_cells(shape):
    return tuple(index.ravel() for index in np.indices(shape))


def dense(objective, left, right):
    """J, H, its pseudo-inverse and the variances of all predictions, by dense algebra."""
    _, C = naive.dense_twin(objective.problem)
    given = objective.layout, left, right, objective.reg_W, objective.reg_X
    J, H, P = naive.covariance(C, *given)
    variance = np.einsum("ck,kl,cl->c", J, P, J)
    variance[np.abs(J - J @ P @ H).max(axis=1) > 1e-6] = np.inf  # not in the range of H
    return J, H, P, variance, C


# Against dense algebra.


@pytest.mark.parametrize("reg", [0.0, 0.4])
@layouts
@structures
def test_joint_variances_and_parameters(structure, layout, reg):
    shape = (13, 9) if reg else (8, 12)  # W is eliminated, or X
    objective, left, right = point(structure, layout, shape, reg)
    J, _, P, wanted, C = dense(objective, left, right)
    joint = Joint.of(objective, left, right)
    np.testing.assert_allclose(joint.variances(*all_cells(shape)), wanted, rtol=1e-7, atol=1e-12)
    hat = np.einsum("ck,kl,cl->c", J, P, J) * C.ravel()
    assert joint.parameters == pytest.approx(hat.sum(), abs=1e-7)


@layouts
@structures
def test_conditional_variances(structure, layout):
    shape = 9, 7
    objective, left, right = point(structure, layout, shape, 0.3)
    J, H, _, _, _ = dense(objective, left, right)
    cut = shape[0] * (layout.free_W.stop - layout.free_W.start)
    wanted = np.zeros(len(J))
    for part in slice(0, cut), slice(cut, None):
        wanted += np.einsum("ck,kl,cl->c", J[:, part], np.linalg.inv(H[part, part]), J[:, part])
    found = Conditional(objective, left, right)
    np.testing.assert_allclose(found.variances(*all_cells(shape)), wanted, rtol=1e-10)
    inverses = [np.diag(np.linalg.inv(H[part, part])) for part in (slice(0, cut), slice(cut, None))]
    for variance, free, inverse in zip(
        found.factors, (layout.free_W, layout.free_X), inverses, strict=True
    ):
        np.testing.assert_allclose(variance[:, free].ravel(), inverse, rtol=1e-10)


@pytest.mark.parametrize("reg", [0.0, 0.4])
@layouts
@pytest.mark.parametrize("structure", ["weighted", "baseline"])
def test_factors_are_free_of_the_gauge(structure, layout, reg):
    shape = (8, 12) if reg else (13, 9)
    objective, left, right = point(structure, layout, shape, reg, share=0.9)
    _, _, P, _, _ = dense(objective, left, right)
    N = naive.gauge(layout, left, right)
    free = np.eye(len(N)) - N @ N.T
    wanted = np.diag(free @ P @ free)
    variances = Joint.of(objective, left, right).factors
    frees = layout.free_W, layout.free_X
    found = [v[:, free].ravel() for v, free in zip(variances, frees, strict=True)]
    np.testing.assert_allclose(np.concatenate(found), wanted, rtol=1e-7, atol=1e-12)
    for variance, free in zip(variances, frees, strict=True):
        assert np.sum(variance[:, free]) == pytest.approx(np.sum(variance))


@layouts
def test_the_gauge_changes_no_prediction(layout):
    _, left, right = point("complete", layout, (9, 7), 0)
    parts = gauge(left[:, layout.free_X], right[:, layout.free_W])
    N = np.hstack([part.reshape(len(part), -1) for part in parts]).T
    wanted = naive.gauge(layout, left, right)
    assert N.shape == wanted.shape
    np.testing.assert_allclose(N @ N.T, wanted @ wanted.T, atol=1e-12)


# What the cells do not determine.


def test_counting_gives_the_rank_of_the_jacobian():
    """Random masks, sparse ones too, with rows that no cell or too few cells are in."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        layout = list(LAYOUTS.values())[seed % 4]
        shape = tuple(rng.integers(6, 16, 2))
        share = rng.uniform(0.15, 0.9)
        Y = np.where(rng.random(shape) < share, rng.standard_normal(shape), np.nan)
        Y[0, 0], Y[-1] = 1.0, np.nan
        problem = build(read_cells(Y), 1)
        objective = Objective(problem, np.zeros(shape[0]), np.zeros(shape[1]), layout)
        left, right = (rng.standard_normal((size, layout.columns)) for size in shape)
        J = naive.jacobian(layout, left, right)[np.isfinite(Y).ravel()]
        s = np.linalg.svd(J, compute_uv=False)
        widths = freedom.Widths.of(objective, left, right)
        found = freedom.counted(objective, freedom.marks_of(objective), widths)
        assert found == np.sum(s > 1e-10 * s[0])


def few_cells():
    """Factors of rank 2 with a full core, an empty row, one of a single cell and one of two."""
    rng = np.random.default_rng(3)
    Y = rng.standard_normal((14, 2)) @ rng.standard_normal((2, 10)) + 0.1
    Y += 0.1 * rng.standard_normal(Y.shape)
    Y[11], Y[12, 1:], Y[13, 2:] = np.nan, np.nan, np.nan
    return Y, 1 / rng.uniform(0.5, 2, Y.shape)


def test_predictions_that_the_cells_do_not_determine():
    Y, A = few_cells()
    model = fit(Y, A, rank=2)
    found = model.error_bars(noise="known")
    std = found.std(*np.indices(Y.shape))
    assert np.isinf(std[11]).all()
    assert np.isinf(std[12, 1:]).all()
    for i, j in (12, 0), (13, 0), (13, 1):  # fitted exactly: as uncertain as the cell
        assert std[i, j] == pytest.approx(1 / A[i, j])
    assert np.isfinite(std[:11]).all()
    assert np.isfinite(std[13]).all()
    assert found.n_parameters == 2 * (11 + 10 - 2) + 3
    assert found.interval(11, 0) == (-np.inf, np.inf)
    conditional = model.error_bars(kind="conditional")
    assert conditional.n_parameters == found.n_parameters
    assert np.isinf(conditional.std(11, 0))


def test_rows_that_are_not_determined_leave_the_others_their_bars():
    Y, A = few_cells()
    model = fit(Y, A, rank=2)
    found = model.error_bars(noise="known").factor_std()
    assert np.isinf(found.W[:, 11:13]).all()
    kept = [*range(11), 13]
    alone = fit(Y[kept], A[kept], rank=2, start=(model.W[:, kept], model.X))
    wanted = alone.error_bars(noise="known").factor_std()
    np.testing.assert_allclose(found.W[:, kept], wanted.W, rtol=1e-3)
    np.testing.assert_allclose(found.X, wanted.X, rtol=1e-3)


def test_two_blocks_do_not_know_of_each_other():
    rng = np.random.default_rng(4)
    Y = np.full((12, 14), np.nan)
    Y[:6, :8], Y[6:, 8:] = rng.standard_normal((6, 8)), rng.standard_normal((6, 6))
    model = fit(Y, rank=1)
    found, counted = (model.error_bars(kind=kind) for kind in ("joint", "conditional"))
    assert found.n_parameters == counted.n_parameters == (6 + 8 - 1) + (6 + 6 - 1)
    std = found.std(*np.indices(Y.shape))
    np.testing.assert_array_equal(np.isfinite(std), np.isfinite(Y))
    assert np.isfinite(found.factor_std().W[0, :6]).all()  # of the larger block
    assert np.isinf(found.factor_std().W[0, 6:]).all()


def test_with_a_ridge_everything_is_determined():
    Y, A = few_cells()
    model = fit(Y, A, rank=2, reg=0.5)
    found = model.error_bars(noise="known")
    prior = np.linalg.norm(model.X, axis=0) / np.sqrt(0.5)
    np.testing.assert_allclose(found.std(11, np.arange(10)), prior, rtol=1e-10)
    for part in found.factor_std():
        assert np.isfinite(part).all()


# Closed forms.


def test_a_complete_matrix_in_closed_form():
    """With P and Q the projectors on W and X: 1 − (1 − p_ii)(1 − q_jj) of the noise's square."""
    rng = np.random.default_rng(5)
    Y = rng.standard_normal((15, 3)) @ rng.standard_normal((3, 11))
    Y += 0.2 * rng.standard_normal(Y.shape)
    model = fit(Y, rank=3)
    p, q = ((np.linalg.qr(f.T)[0] ** 2).sum(axis=1) for f in (model.W, model.X))
    wanted = p[:, None] + q - np.outer(p, q)
    found = model.error_bars()
    noise = np.sqrt(model.loss / (15 * 11 - 3 * (15 + 11 - 3)))
    assert found.noise == pytest.approx(noise)
    np.testing.assert_allclose(found.std(*np.indices(Y.shape)), noise * wanted**0.5, rtol=1e-9)
    conditional = model.error_bars(kind="conditional", noise="known")
    np.testing.assert_allclose(conditional.std(*np.indices(Y.shape)) ** 2, p[:, None] + q)


def test_levels_alone_are_a_two_way_table():
    """Rank 0 with biases, nothing missing: (1/n + 1/m − 1/mn) of the noise's square, mean fixed."""
    Y = np.random.default_rng(6).standard_normal((6, 5))
    model = fit(Y, rank=0, bias=True)
    found = model.error_bars(noise=2.0)
    np.testing.assert_allclose(found.std(*np.indices(Y.shape)), 2 * (1 / 5 + 1 / 6 - 1 / 30) ** 0.5)
    assert found.n_parameters == 6 + 5 - 1
    deviations = found.factor_std()
    assert deviations.W.shape == (0, 6)
    assert np.ptp(deviations.row_bias) == pytest.approx(0)
    assert deviations.col_bias.shape == (5,)


def test_degrees_of_freedom_of_a_full_matrix():
    m, n, rank = 12, 9, 2
    Y = np.random.default_rng(0).standard_normal((m, n))
    rank_of_J = {False: rank * (m + n - rank), True: (rank + 1) * (m + n - rank - 1)}
    for bias, parameters in rank_of_J.items():
        model = fit(Y, rank=rank, bias=bias)
        found = model.error_bars()
        assert found.n_observed == m * n
        assert found.n_parameters == parameters
        assert found.reduced_chi2 == pytest.approx(model.loss / (m * n - parameters))


# The noise, and what is asked of the answer.


def test_units_of_data_and_weights():
    """Y → cY and A → aA: the bars scale with Y, and with 1 / A where the noise is known."""
    Y, A = few_cells()
    given = [fit(c * Y, a * A, rank=2).error_bars() for c, a in ((1, 1), (8, 0.25))]
    known = [fit(Y, a * A, rank=2).error_bars(noise="known") for a in (1, 0.25)]
    np.testing.assert_allclose(given[1].std(0, 1), 8 * given[0].std(0, 1), rtol=1e-4)
    np.testing.assert_allclose(known[1].std(0, 1), 4 * known[0].std(0, 1), rtol=1e-4)
    assert given[1].dof == given[0].dof


def test_a_new_measurement_adds_its_own_noise():
    Y, A = few_cells()
    found = fit(Y, A, rank=2).error_bars()
    plain, wide = found.std([0, 1], 2), found.std([0, 1], 2, sigma=1 / A[:2, 2])
    np.testing.assert_allclose(wide**2 - plain**2, (found.noise / A[:2, 2]) ** 2)
    low, high = found.interval([0, 1], 2, 0.5, sigma=1 / A[:2, 2])
    np.testing.assert_allclose(high - low, 2 * found.quantile(0.5) * wide)


def test_quantiles_are_students_where_the_noise_is_estimated():
    Y = np.random.default_rng(8).standard_normal((4, 5))
    model = fit(Y, rank=1)
    estimated, known = model.error_bars(), model.error_bars(noise="known")
    assert estimated.dof == 12
    assert estimated.quantile(0.9) == pytest.approx(1.7823, abs=1e-4)
    assert known.quantile(0.9) == pytest.approx(1.6449, abs=1e-4)
    assert "estimated" in repr(estimated)
    assert "given" in repr(known)


@pytest.mark.parametrize("shape", [(40, 30), (30, 40)], ids=str)
def test_probes_come_near_the_effective_parameters(shape):
    objective, left, right = point("weighted", LAYOUTS["bias"], shape, 3.0)
    wanted = Joint.of(objective, left, right).parameters
    assert freedom.probed(objective, left, right) == pytest.approx(
        wanted, abs=3 * (wanted / 2) ** 0.5
    )
    assert 20 < wanted < 190


def test_what_is_asked_must_make_sense():
    Y, A = few_cells()
    model = fit(Y, A, rank=2)
    with pytest.raises(ValueError, match='`kind` must be "auto", "joint" or'):
        model.error_bars(kind="both")
    for noise in ("guess", 0, -1.0, None, True):
        with pytest.raises(ValueError, match='`noise` must be "estimate", "known" or'):
            model.error_bars(noise=noise)
    found = model.error_bars()
    with pytest.raises(IndexError, match="`j` must be in"):
        found.std(0, 10)
    with pytest.raises(ValueError, match="`sigma` must be finite"):
        found.std(0, 0, sigma=-1)
    with pytest.raises(ValueError, match="`level` must be below 1"):
        found.interval(0, 0, 1.0)


def test_no_degrees_of_freedom_no_estimate():
    Y = np.random.default_rng(9).standard_normal((3, 3))
    model = fit(Y, rank=3)
    with pytest.raises(ValueError, match="9 cells determine 9 numbers"):
        model.error_bars()
    found = model.error_bars(noise=0.5)
    assert np.isnan(found.reduced_chi2)
    np.testing.assert_allclose(found.std(*np.indices((3, 3))), 0.5)


def test_too_many_unknowns_are_said(monkeypatch):
    from wlrmf.uncertainty import answer

    monkeypatch.setattr(answer, "UNKNOWNS", 19)
    Y, A = few_cells()
    model = fit(Y, A, rank=2)
    with pytest.warns(DataWarning, match="would take 20 unknowns"):
        assert model.error_bars().kind == "conditional"
    assert model.error_bars(kind="joint").kind == "joint"
    assert model.error_bars(kind="conditional").kind == "conditional"
    monkeypatch.setattr(answer, "UNKNOWNS", 20)
    assert model.error_bars().kind == "joint"


def test_shortcuts_and_loaded_models(tmp_path):
    Y, A = few_cells()
    model = fit(Y, A, rank=2, bias=True)
    found = model.error_bars(noise=2.0)
    np.testing.assert_array_equal(model.uncertainty([0, 3], 2, noise=2.0), found.std([0, 3], 2))
    for one, two in zip(model.factor_std(noise=2.0), found.factor_std(), strict=True):
        np.testing.assert_array_equal(one, two)
    model.save(tmp_path / "model.npz")
    loaded = load(tmp_path / "model.npz")
    assert loaded.uncertainty(0, 2, Y=Y, mask=A, noise=2.0) == found.std(0, 2)
    with pytest.raises(ValueError, match="`Y` is needed"):
        loaded.uncertainty(0, 2)
    with pytest.warns(DataWarning, match="the loss at these data is"):
        loaded.error_bars(Y + 1, A)


def test_threads_give_the_same_bits():
    given, _ = cases.arguments("weighted", m=60, n=50)
    model = fit(**given, rank=2)
    one, two = (model.error_bars(n_threads=k).std(*np.indices((60, 50))) for k in (1, 2))
    np.testing.assert_array_equal(one, two)


# Coverage: 200 planted problems each.

PLANTS = {
    "weights": {"share": 1.0},
    "holes": {"share": 0.6},
    "levels": {"share": 0.7, "bias": True},
    "prior": {"share": 0.5, "reg": 1.0},
}


def planted(seed, share, bias=False, reg=0.0, shape=(24, 20), rank=2):
    """A model of a planted matrix with noise of 0.1 to 0.5 from cell to cell, and the plant.

    The factors come from a normal distribution of variance 1: a ridge of 1 is their prior.
    """
    rng = np.random.default_rng(seed)
    W, X = (rng.standard_normal((rank, size)) for size in shape)
    truth = W.T @ X
    if bias:
        truth += rng.standard_normal((shape[0], 1)) + rng.standard_normal(shape[1])
    sigma = rng.uniform(0.1, 0.5, shape)
    Y = truth + sigma * rng.standard_normal(shape)
    mask = np.where(rng.random(shape) < share, 1 / sigma, 0)
    how = {"stop": Stop(gtol=1e-4), "n_threads": 1}
    return fit(Y, mask, rank, start=(W, X), bias=bias, reg=reg, **how), truth


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_intervals_cover_the_truth_as_often_as_they_say(plant):
    """Of 90 %: joint ones 88 to 92 %, with the noise known or estimated."""
    inside, chi2, scores = {"known": [], "estimate": []}, [], []
    for seed in range(200):
        model, truth = planted(seed, **plant)
        found = model.error_bars(noise="known", n_threads=1)
        std = found.std(*np.indices(truth.shape))
        off = np.abs(model.reconstruct() - truth)
        estimated = dataclasses.replace(found, noise=found.reduced_chi2**0.5, noise_is="estimated")
        for name, bars in ("known", found), ("estimate", estimated):
            inside[name].append(np.mean(off <= bars.quantile(0.9) * bars.noise * std))
        chi2.append(found.reduced_chi2)
        scores.append(np.mean((off / std)[np.isfinite(std)] ** 2))
    for name, shares in inside.items():
        assert 0.88 < np.mean(shares) < 0.92, name
    assert np.mean(chi2) == pytest.approx(1, abs=0.02)
    assert np.mean(scores) == pytest.approx(1, abs=0.1)


def test_factors_are_covered_once_they_are_aligned():
    """The plant is moved along the gauge to be nearest to the factors, by Gauss-Newton."""
    inside = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        W, X = (rng.standard_normal((2, size)) for size in (24, 20))
        Y = W.T @ X + 0.1 * rng.standard_normal((24, 20))
        model = fit(Y, rank=2)
        M = np.linalg.lstsq(W.T, model.W.T, rcond=None)[0]
        W, X = M.T @ W, np.linalg.solve(M, X)
        for _ in range(2):
            parts = gauge(model.W.T, model.X.T)
            off = model.W.T - W.T, model.X.T - X.T
            along = sum(np.einsum("aip,ip->a", n, d) for n, d in zip(parts, off, strict=True))
            W, X = (
                factor + np.einsum("aip,a->pi", n, along)
                for factor, n in zip((W, X), parts, strict=True)
            )
        found = model.error_bars(noise=0.1).factor_std()
        for factor, true, std in (model.W, W, found.W), (model.X, X, found.X):
            inside.append(np.mean(np.abs(factor - true) <= 1.6449 * std))
    assert 0.88 < np.mean(inside) < 0.92
