"""Error bars where little or nothing is left to be uncertain of, and where bars have no end."""

import naive
import numpy as np
import pytest

from wlrmf import fit
from wlrmf.objective import Layout, Objective
from wlrmf.problem import build
from wlrmf.uncertainty import freedom
from wlrmf.uncertainty.joint import Joint
from wlrmf.validation import read_cells
from wlrmf.validation.errors import DataWarning

both = pytest.mark.parametrize("kind", ["joint", "conditional"])


def sample(m=6, n=5, rank=2, seed=0):
    rng = np.random.default_rng(seed)
    Y = rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n))
    return Y + 0.1 * rng.standard_normal(Y.shape)


@both
def test_no_factors_at_all(kind):
    model = fit(sample(), rank="auto", reg=1e3)
    assert model.W.shape == (0, 6)
    found = model.error_bars(kind=kind)
    assert found.n_parameters == 0
    np.testing.assert_array_equal(found.std(*np.indices((6, 5))), 0)
    assert found.factor_std().W.shape == (0, 6)


@both
def test_known_rows_alone_are_a_regression_each(kind):
    features = np.random.default_rng(1).standard_normal((2, 6))
    found = fit(sample(), rank=0, pinned_W=features).error_bars(kind=kind)
    assert found.n_parameters == 2 * 5
    hat = features.T @ np.linalg.inv(features @ features.T) @ features
    wanted = found.noise * np.sqrt(np.diag(hat))
    np.testing.assert_allclose(found.std(np.arange(6), 0), wanted)
    coef = found.noise * np.sqrt(np.diag(np.linalg.inv(features @ features.T)))
    np.testing.assert_allclose(found.factor_std().X_coef, np.tile(coef[:, None], 5))


@both
def test_factors_of_zeros_are_not_determined(kind):
    found = fit(np.zeros((6, 5)), rank=2).error_bars(noise=1.0, kind=kind)
    assert found.n_parameters == 0
    deviations = found.factor_std()
    assert np.isinf(deviations.W).all()
    assert np.isinf(deviations.X).all()


@both
def test_what_is_not_determined_is_so_without_noise_too(kind):
    Y = np.zeros((6, 5))
    Y[5] = np.nan
    found = fit(Y, rank=1, bias=True).error_bars(kind=kind)
    assert found.noise == 0
    std = found.std(*np.indices(Y.shape))
    np.testing.assert_array_equal(std[:5], 0)
    assert np.isinf(std[5]).all()
    assert found.std(5, 0, sigma=1.0) == np.inf
    assert found.interval(5, 0) == (-np.inf, np.inf)
    assert found.interval(0, 0) == (0, 0)
    assert np.isinf(found.factor_std().row_bias[5])


@both
def test_no_cells_asked_for(kind):
    found = fit(sample(), rank=1).error_bars(kind=kind)
    assert found.std([], []).shape == (0,)
    assert found.std(np.zeros((3, 0), int), 0, sigma=np.zeros((3, 0))).shape == (3, 0)
    assert [end.shape for end in found.interval([], [])] == [(0,), (0,)]


def test_a_part_with_fewer_cells_than_unknowns():
    """Every row and column has cells enough, and all of them together have not."""
    circulant = np.add.outer(np.arange(8), -np.arange(8)) % 8 < 3
    layout, zeros = Layout(0, 2, 0), np.zeros(8)
    problem = build(read_cells(np.where(circulant, 1.0, np.nan)), 1)
    objective = Objective(problem, zeros, zeros, layout)
    left, right = np.random.default_rng(2).standard_normal((2, 8, 2))
    J = naive.jacobian(layout, left, right)[circulant.ravel()]
    assert np.linalg.matrix_rank(J) == 24  # of 2 (8 + 8 − 2) = 28
    widths = freedom.Widths.of(objective, left, right)
    assert freedom.counted(objective, freedom.marks_of(objective), widths) == 24
    joint = Joint.of(objective, left, right)
    assert joint.parameters == 24
    for variance in joint.factors:
        assert np.isinf(variance).all()


def test_conditional_bars_of_rows_with_too_few_cells():
    Y = sample(12, 9)
    Y[10], Y[11, 1:] = np.nan, np.nan
    model = fit(Y, rank=2)
    found = model.error_bars(noise=2.0, kind="conditional").factor_std()
    assert np.isinf(found.W[:, 10:]).all()
    wanted = 2 * np.sqrt(np.diag(np.linalg.inv(model.X @ model.X.T)))
    np.testing.assert_allclose(found.W[:, :10], np.tile(wanted[:, None], 10))
    assert np.isfinite(found.X).all()


def test_biases_beside_known_rows_have_their_own_bars():
    features = np.random.default_rng(3).standard_normal((2, 12))
    model = fit(sample(12, 9, 3), rank=1, bias=True, pinned_W=features)
    found = model.error_bars(noise=1.0, kind="conditional").factor_std()
    design = np.vstack([model.W, features, np.ones(12)])
    wanted = np.sqrt(np.diag(np.linalg.inv(design @ design.T)))
    np.testing.assert_allclose(found.X, np.tile(wanted[:1, None], 9))
    np.testing.assert_allclose(found.X_coef, np.tile(wanted[1:3, None], 9))
    np.testing.assert_allclose(found.col_bias, np.full(9, wanted[3]))
    design = np.vstack([model.X, np.ones(9)])
    wanted = np.sqrt(np.diag(np.linalg.inv(design @ design.T)))
    np.testing.assert_allclose(found.row_bias, np.full(12, wanted[1]))
    assert (model.error_bars(noise=1.0).factor_std().col_bias > 0).all()


# Weights over many orders of magnitude: what is determined depends on where they are alone.

LAYOUTS = Layout(0, 2, 0), Layout(1, 2, 1, 1), Layout(2, 1, 0), Layout(1, 0, 1, 1)


def wide(rng, shape, share, layout):
    """Cells with weights from 1e-6 to 1e6 at factors in general position."""
    Y = np.where(rng.random(shape) < share, 1.0, np.nan)
    Y[0, 0] = 1.0
    weights = 10 ** rng.uniform(-6, 6, shape)
    sizes = np.zeros(shape[0]), np.zeros(shape[1])
    problem = build(read_cells(Y, weights=weights), 1)
    left, right = (rng.standard_normal((size, layout.columns)) for size in shape)
    return Objective(problem, *sizes, layout), left, right, np.isfinite(Y)


@pytest.mark.parametrize("work", [1 << 32, 0], ids=["small", "large"])
def test_weights_do_not_decide_what_is_determined(work, monkeypatch):
    from wlrmf.uncertainty import joint as module

    monkeypatch.setattr(module, "WORK", work)
    for seed in range(80):
        rng = np.random.default_rng(seed)
        layout = LAYOUTS[seed % 4]
        shape, share = tuple(rng.integers(6, 14, 2)), rng.uniform(0.3, 0.9)
        objective, left, right, seen = wide(rng, shape, share, layout)
        J = naive.jacobian(layout, left, right)
        s, Vt = np.linalg.svd(J[seen.ravel()])[1:]
        rank = np.sum(s > 1e-10 * s[0])
        joint = Joint.of(objective, left, right)
        assert joint.parameters == rank
        wanted = np.abs(J @ Vt[rank:].T).max(axis=1, initial=0) < 1e-8
        found = np.isfinite(joint.variances(*np.indices(shape).reshape(2, -1)))
        if work:
            np.testing.assert_array_equal(found, wanted)
        assert not (found & ~wanted).any()


def test_a_staircase_of_cells_in_closed_form():
    """Rank 1, a path of cells: relative variances add up along it, whatever the weights are."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rows, cols = np.repeat(np.arange(7), 2)[1:], np.repeat(np.arange(7), 2)[:-1]
        left, right = rng.uniform(0.5, 2, (2, 7, 1))
        Y, weights = np.full((7, 7), np.nan), 10 ** rng.uniform(-7, 7, (7, 7))
        Y[rows, cols] = 1.0
        problem = build(read_cells(Y, weights=weights), 1)
        joint = Joint.of(Objective(problem, np.zeros(7), np.zeros(7), Layout(0, 1, 0)), left, right)
        P = left @ right.T
        shares = 1 / (weights * P**2)[rows, cols]
        wanted = (
            np.array([shares[1:12].sum(), shares[3:6].sum(), shares[4]])
            * P[[6, 3, 2], [0, 1, 2]] ** 2
        )
        found = joint.variances(np.array([6, 3, 2]), np.array([0, 1, 2]))
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
        assert joint.parameters == 13


def test_weights_too_far_apart_are_said():  # R29
    Y, weights = sample(), np.ones((6, 5))
    weights[0, 0] = 1e12
    fit(Y, rank=1, weights=weights).error_bars()
    weights[0, 0] = 1e14
    with pytest.warns(DataWarning, match=r"go from 1 to 1e\+14: error bars"):
        fit(Y, rank=1, weights=weights).error_bars()


def test_deviations_of_1_with_a_nan_are_never_read_as_anything_else():  # R14, R23, R25
    """1/σ of ones is a mask that says what is observed: a NaN in Y or in σ is an error."""
    Y, sigma = sample(), np.ones((6, 5))
    Y[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"Y\[1, 2\] is nan but .* mask, which holds only 0 and 1"):
        fit(Y, 1 / sigma, rank=1)
    sigma[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"mask\[1, 2\] is nan .*; give 0 where a cell is missing"):
        fit(Y, 1 / sigma, rank=1)
    sigma[1, 2] = np.inf
    found = fit(Y, 1 / sigma, rank=1).error_bars(noise="known")
    assert found.n_observed == 29
    with pytest.raises(ValueError, match="`sigma` must be finite"):
        found.std(0, 0, sigma=np.nan)
