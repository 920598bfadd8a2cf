"""Error bars against dense algebra, closed forms and planted problems."""

import cases
import naive
import numpy as np
import pytest

from wlrmf import fit
from wlrmf.objective import Layout, Objective
from wlrmf.problem import build
from wlrmf.uncertainty import freedom, measure
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


def bars(model, Y, mask=None, reg=0.0, **options):
    """What `measure` says of a model at these data."""
    problem = build(read_cells(Y, mask, dtype=np.float64), 1)
    regs = [np.full(size, float(reg)) for size in problem.shape]
    objective = Objective(problem, *regs, model.layout)
    return measure(objective, model.left, model.right, has_bias=model.has_bias, **options)


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
    found = bars(model, Y, A, noise="known")
    std = found.std(*np.indices(Y.shape))
    assert np.isinf(std[11]).all()
    assert np.isinf(std[12, 1:]).all()
    for i, j in (12, 0), (13, 0), (13, 1):  # fitted exactly: as uncertain as the cell
        assert std[i, j] == pytest.approx(1 / A[i, j])
    assert np.isfinite(std[:11]).all()
    assert np.isfinite(std[13]).all()
    assert found.n_parameters == 2 * (11 + 10 - 2) + 3
    assert found.interval(11, 0) == (-np.inf, np.inf)
    conditional = bars(model, Y, A, kind="conditional")
    assert conditional.n_parameters == found.n_parameters
    assert np.isinf(conditional.std(11, 0))


def test_rows_that_are_not_determined_leave_the_others_their_bars():
    Y, A = few_cells()
    model = fit(Y, A, rank=2)
    found = bars(model, Y, A, noise="known").factor_std()
    assert np.isinf(found.W[:, 11:13]).all()
    model = fit(
        Y[[*range(11), 13]],
        A[[*range(11), 13]],
        rank=2,
        start=(model.W[:, [*range(11), 13]], model.X),
    )
    wanted = bars(model, Y[[*range(11), 13]], A[[*range(11), 13]], noise="known").factor_std()
    np.testing.assert_allclose(found.W[:, [*range(11), 13]], wanted.W, rtol=1e-3)
    np.testing.assert_allclose(found.X, wanted.X, rtol=1e-3)


def test_two_blocks_do_not_know_of_each_other():
    rng = np.random.default_rng(4)
    Y = np.full((12, 14), np.nan)
    Y[:6, :8], Y[6:, 8:] = rng.standard_normal((6, 8)), rng.standard_normal((6, 6))
    model = fit(Y, rank=1)
    found, counted = (bars(model, Y, kind=kind) for kind in ("joint", "conditional"))
    assert found.n_parameters == counted.n_parameters == (6 + 8 - 1) + (6 + 6 - 1)
    std = found.std(*np.indices(Y.shape))
    np.testing.assert_array_equal(np.isfinite(std), np.isfinite(Y))
    assert np.isfinite(found.factor_std().W[0, :6]).all()  # of the larger block
    assert np.isinf(found.factor_std().W[0, 6:]).all()


def test_with_a_ridge_everything_is_determined():
    Y, A = few_cells()
    model = fit(Y, A, rank=2, reg=0.5)
    found = bars(model, Y, A, reg=0.5, noise="known")
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
    found = bars(model, Y)
    noise = np.sqrt(model.loss / (15 * 11 - 3 * (15 + 11 - 3)))
    assert found.noise == pytest.approx(noise)
    np.testing.assert_allclose(found.std(*np.indices(Y.shape)), noise * wanted**0.5, rtol=1e-9)
    conditional = bars(model, Y, kind="conditional", noise="known")
    np.testing.assert_allclose(conditional.std(*np.indices(Y.shape)) ** 2, p[:, None] + q)


def test_levels_alone_are_a_two_way_table():
    """Rank 0 with biases, nothing missing: (1/n + 1/m − 1/mn) of the noise's square, mean fixed."""
    Y = np.random.default_rng(6).standard_normal((6, 5))
    model = fit(Y, rank=0, bias=True)
    found = bars(model, Y, noise=2.0)
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
        found = bars(model, Y)
        assert found.n_observed == m * n
        assert found.n_parameters == parameters
        assert found.reduced_chi2 == pytest.approx(model.loss / (m * n - parameters))


# The noise, and what is asked of the answer.


def test_units_of_data_and_weights():
    """Y → cY and A → aA: the bars scale with Y, and with 1 / A where the noise is known."""
    Y, A = few_cells()
    given = [bars(fit(c * Y, a * A, rank=2), c * Y, a * A) for c, a in ((1, 1), (8, 0.25))]
    known = [bars(fit(Y, a * A, rank=2), Y, a * A, noise="known") for a in (1, 0.25)]
    np.testing.assert_allclose(given[1].std(0, 1), 8 * given[0].std(0, 1), rtol=1e-4)
    np.testing.assert_allclose(known[1].std(0, 1), 4 * known[0].std(0, 1), rtol=1e-4)
    assert given[1].dof == given[0].dof


def test_a_new_measurement_adds_its_own_noise():
    Y, A = few_cells()
    found = bars(fit(Y, A, rank=2), Y, A)
    plain, wide = found.std([0, 1], 2), found.std([0, 1], 2, sigma=1 / A[:2, 2])
    np.testing.assert_allclose(wide**2 - plain**2, (found.noise / A[:2, 2]) ** 2)
    low, high = found.interval([0, 1], 2, 0.5, sigma=1 / A[:2, 2])
    np.testing.assert_allclose(high - low, 2 * found.quantile(0.5) * wide)


def test_quantiles_are_students_where_the_noise_is_estimated():
    Y = np.random.default_rng(8).standard_normal((4, 5))
    model = fit(Y, rank=1)
    estimated, known = bars(model, Y), bars(model, Y, noise="known")
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
        bars(model, Y, A, kind="both")
    for noise in ("guess", 0, -1.0, None, True):
        with pytest.raises(ValueError, match='`noise` must be "estimate", "known" or'):
            bars(model, Y, A, noise=noise)
    found = bars(model, Y, A)
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
        bars(model, Y)
    found = bars(model, Y, noise=0.5)
    assert np.isnan(found.reduced_chi2)
    np.testing.assert_allclose(found.std(*np.indices((3, 3))), 0.5)


def test_too_many_unknowns_are_said(monkeypatch):
    from wlrmf.uncertainty import answer

    monkeypatch.setattr(answer, "UNKNOWNS", 19)
    Y, A = few_cells()
    model = fit(Y, A, rank=2)
    with pytest.warns(DataWarning, match="would take 20 unknowns"):
        assert bars(model, Y, A).kind == "conditional"
    assert bars(model, Y, A, kind="joint").kind == "joint"
    assert bars(model, Y, A, kind="conditional").kind == "conditional"
    monkeypatch.setattr(answer, "UNKNOWNS", 20)
    assert bars(model, Y, A).kind == "joint"
