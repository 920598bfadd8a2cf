"""Variable projection: its model against slow twins, and what it is for."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from cases import STRUCTURES, arguments, problem
from naive import best_rows, dense_twin, reduced_hessian
from naive import objective as full_value

import wlrmf
from wlrmf import Stop
from wlrmf.objective import Layout, Objective
from wlrmf.problem import build
from wlrmf.solvers import VarPro
from wlrmf.validation import read_cells

structures = pytest.mark.parametrize("structure", STRUCTURES)
ridges = pytest.mark.parametrize("reg", [0.0, 0.7])
shapes = pytest.mark.parametrize(("m", "n"), [(9, 14), (14, 9)])


def make(structure, m=9, n=14, rank=2, reg=0.0, **options):
    """An objective with a ridge that differs between rows, and whole factors."""
    data = problem(structure, m=m, n=n, share=0.7, **options)
    ridge = [reg * np.linspace(0.5, 2, size) for size in (m, n)]
    rng = np.random.default_rng(5)
    W, X = (rng.standard_normal((size, rank)) for size in (m, n))
    return Objective(data, *ridge, Layout(0, rank, 0)), W, X


def solved(objective, W, X):
    return objective.eliminate(*objective.reduced.pair(W, X))


def symmetric(H):
    """Of the lower triangle, which alone counts."""
    return np.tril(H) + np.tril(H, -1).T


def biased(structure, reg=0.0, m=9, n=14):
    """Row and column biases beside two factors."""
    objective, W, X = make(structure, m, n, 2, reg)
    rng = np.random.default_rng(6)
    layout = Layout(1, 2, 1, 1)
    left = np.hstack([rng.standard_normal((m, 1)), W, np.ones((m, 2))])
    right = np.hstack([np.ones((n, 1)), X, rng.standard_normal((n, 1)), np.full((n, 1), 0.3)])
    return Objective(objective.problem, objective.reg_W, objective.reg_X, layout), left, right


kinds = pytest.mark.parametrize("kind", [make, biased])


@structures
@ridges
@shapes
def test_the_model_is_that_of_the_twin(structure, reg, m, n):
    objective, W, X = make(structure, m, n, reg=reg)
    at = solved(objective, W, X)
    T, C = dense_twin(objective.problem)
    ridge = objective.reg_W, objective.reg_X
    if m > n:
        T, C, ridge = T.T, C.T, ridge[::-1]
    np.testing.assert_allclose(at.right, best_rows(T.T, C.T, at.left, ridge[1]), atol=1e-9)
    assert at.value == pytest.approx(full_value(T, C, at.left, at.right, *ridge), rel=1e-12)
    wanted = reduced_hessian(C, at.left, at.right, *ridge)
    got = symmetric(objective.reduced.hessian(at))
    np.testing.assert_allclose(got, wanted, atol=1e-9 * np.abs(wanted).max())


@structures
@ridges
@kinds
def test_products_and_blocks_are_those_of_the_matrix(structure, reg, kind):
    objective, W, X = kind(structure, reg=reg)
    reduced, at = objective.reduced, solved(objective, W, X)
    H, k = symmetric(reduced.hessian(at)), reduced.columns
    D = np.random.default_rng(2).standard_normal(at.gradient.shape)
    product = (H @ D.ravel()).reshape(D.shape)
    np.testing.assert_allclose(reduced.product(at, D), product, atol=1e-11 * np.abs(H).max())
    for i, block in enumerate(reduced.blocks(at)):
        part = slice(i * k, (i + 1) * k)
        np.testing.assert_allclose(block, H[part, part], atol=1e-11 * np.abs(H).max())


@structures
@ridges
@kinds
def test_the_gradient_has_its_taylor_slope(structure, reg, kind):
    objective, W, X = kind(structure, reg=reg)
    reduced, at = objective.reduced, solved(objective, W, X)
    D = np.random.default_rng(3).standard_normal(at.gradient.shape)
    left, errors = at.left.copy(), []
    for t in (1e-3, 5e-4):
        left[:, reduced.kept] = at.left[:, reduced.kept] + t * D
        moved = reduced.solve(left, at.right).value
        errors.append(abs(moved - at.value - 2 * t * np.vdot(at.gradient, D)))
    assert 3.5 < errors[0] / errors[1] < 4.5
    value, dW, dX = objective.value_and_grad(*reduced.pair(at.left, at.right))
    kept, gone = reduced.pair(dW, dX)
    size = np.abs(kept).max()
    assert at.value == pytest.approx(value, rel=1e-11)
    np.testing.assert_allclose(2 * at.gradient, kept[:, reduced.kept], atol=1e-10 * size)
    assert np.abs(gone).max() < 1e-9 * size


def test_without_residuals_the_model_is_the_second_derivative():
    """At an exact plant F along a line is t² D'HD, up to higher powers of t."""
    options = {"m": 9, "n": 14, "share": 0.7, "noise": 0.0}
    (_, truth), data = arguments("dense", **options), problem("dense", **options)
    U, s, Vt = np.linalg.svd(truth, full_matrices=False)
    objective = Objective(data, np.zeros(9), np.zeros(14), Layout(0, 3, 0))
    at = objective.eliminate(U[:, :3], (Vt[:3] * s[:3, None]).T)
    assert at.value < 1e-20
    D = np.random.default_rng(4).standard_normal(at.gradient.shape)
    t = 1e-4
    values = [objective.reduced.solve(at.left + h * D, at.right).value for h in (-t, t)]
    wanted = (sum(values) - 2 * at.value) / (2 * t * t)
    assert np.vdot(D, objective.reduced.product(at, D)) == pytest.approx(wanted, rel=1e-4)


def patterned(reg=0.0, flip=False):
    """Forty rows of four masks and of weights that go with them, one mask too short to say much."""
    rng = np.random.default_rng(3)
    masks = rng.random((4, 9)) < 0.8
    masks[3, 2:] = False
    weights = masks * rng.uniform(0.5, 2, masks.shape)
    which = rng.integers(4, size=40)
    Y, C = rng.standard_normal((40, 9)), weights[which]
    C[0, np.flatnonzero(C[0])[0]] *= 1 + 1e-15  # a kind of its own
    ridges = [np.where(np.arange(size) % 5 == 0, 2 * reg, reg) for size in (40, 9)]
    factors = [rng.standard_normal((size, 2)) for size in (40, 9)]
    if flip:
        Y, C, ridges, factors = Y.T, C.T, ridges[::-1], factors[::-1]
    data = build(read_cells(np.where(C > 0, Y, np.nan), None, C, None), 1)
    return Objective(data, *ridges, Layout(0, 2, 0)), *factors


def each_alone(reduced):
    """The same without groups."""
    listing = replace(reduced.listing)
    listing.__dict__["kinds"] = np.arange(len(listing.counts))
    return replace(reduced, listing=listing)


@ridges
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("dependent", [False, True])
def test_rows_of_the_same_cells_share_a_panel(reg, flip, dependent):
    objective, W, X = patterned(reg, flip)
    shared, alone = objective.reduced, each_alone(objective.reduced)
    assert len(shared.groups.leaders) == (5 if reg == 0 else 9)
    assert shared.panels.size < alone.panels.size == shared.listing.size
    left, right = shared.pair(W, X)
    if dependent:
        left = np.repeat(left[:, :1], 2, axis=1)
    at, wanted = shared.solve(left, right), alone.solve(left, right)
    np.testing.assert_array_equal(at.right, wanted.right)
    np.testing.assert_array_equal(at.gradient, wanted.gradient)
    assert at.value == wanted.value
    assert at.n_silent == wanted.n_silent
    H = alone.hessian(wanted)
    close = {"rtol": 0, "atol": 1e-13 * np.abs(H).max()}
    np.testing.assert_allclose(symmetric(shared.hessian(at)), symmetric(H), **close)
    np.testing.assert_allclose(shared.blocks(at), alone.blocks(wanted), **close)
    D = np.random.default_rng(9).standard_normal(at.gradient.shape)
    np.testing.assert_array_equal(shared.product(at, D), alone.product(wanted, D))


def test_kinds_are_those_of_equal_rows(monkeypatch):
    listing = patterned()[0].reduced.listing
    cells = [slice(*ends) for ends in pairwise(listing.indptr)]
    rows = [(tuple(listing.indices[at]), tuple(listing.roots[at])) for at in cells]
    np.testing.assert_array_equal(listing.kinds, [rows.index(row) for row in rows])

    class Equal:  # so that sums that agree prove nothing
        def integers(self, *_, size, dtype):
            return np.zeros(size, dtype)

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Equal())
    for j, first in enumerate(replace(listing).kinds):
        assert rows[j] == rows[first]


def test_rows_with_few_entries_take_no_part():
    objective, W, X = make("observed", rank=3)
    Y = np.full((9, 14), np.nan)
    Y[:, :10] = np.random.default_rng(0).standard_normal((9, 10))
    Y[:2, 10], Y[3, 11], Y[:3, 12] = 1.0, 2.0, -1.0  # 2, 1, 3 and no entries of rank 3
    cells = wlrmf.validation.cells.read_cells(Y, None, None, None, None)
    data = wlrmf.problem.build(cells)
    objective = Objective(data, np.zeros(9), np.zeros(14), Layout(0, 3, 0))
    at = solved(objective, W, X)
    assert at.n_silent == 4
    T, C = dense_twin(data)
    np.testing.assert_allclose(at.right, best_rows(T.T, C.T, W, np.zeros(14)), atol=1e-10)
    few, whole = at.left @ at.right[10:].T, T[:, 10:]
    np.testing.assert_allclose(few[C[:, 10:] > 0], whole[C[:, 10:] > 0], atol=1e-10)


@ridges
def test_dependent_columns_get_the_least_norm(reg):
    objective, W, X = make("weighted", reg=reg, rank=3)
    W[:, 2] = W[:, 0] - W[:, 1]
    at = solved(objective, W, X)
    T, C = dense_twin(objective.problem)
    wanted = best_rows(T.T, C.T, W, objective.reg_X)
    np.testing.assert_allclose(at.right, wanted, atol=1e-8)
    assert np.isfinite(objective.reduced.hessian(at)).all()


@kinds
def test_retracting_and_balancing_change_no_value(kind):
    objective, W, X = kind("dense")
    reduced, at = objective.reduced, solved(objective, W, X)
    again = reduced.solve(reduced.retracted(at.left), at.right)
    assert again.value == pytest.approx(at.value, rel=1e-12)
    shared = again.left[:, reduced.shared]
    np.testing.assert_allclose(shared.T @ shared, np.eye(2), atol=1e-12)
    W, X = reduced.pair(*reduced.balanced(again))
    assert objective.value(W, X) == pytest.approx(at.value, rel=1e-12)


@kinds
def test_dependent_columns_give_way_to_new_directions(kind):
    objective, W, X = kind("dense")
    reduced = objective.reduced
    left, right = reduced.pair(W, X)
    left[:, reduced.shared] = 1.0
    at = reduced.solve(left, right)
    free = reduced.retracted(left)
    assert reduced.solve(free, right).value < at.value - 1e-3
    shared = free[:, reduced.shared]
    np.testing.assert_allclose(shared.T @ shared, np.eye(2), atol=1e-12)


def test_a_start_that_is_a_saddle_is_left():
    rng = np.random.default_rng(5)
    truth = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 20))
    Y = np.where(rng.random(truth.shape) < 0.7, truth, np.nan)
    start = np.ones((2, 30)), np.ones((2, 20))
    for bias in (False, True):
        model = wlrmf.fit(Y, rank=2, solver="varpro", start=start, bias=bias)
        assert np.nanmax(np.abs(model.reconstruct() - Y)) < 1e-6


@kinds
def test_with_a_ridge_balanced_factors_have_the_least(kind):
    objective, W, X = kind("dense", reg=0.7)
    reduced, at = objective.reduced, solved(objective, W, X)
    left, right = reduced.balanced(at)
    s = reduced.shared
    before, after = (a[:, s] @ b[:, s].T for a, b in ((at.left, at.right), (left, right)))
    np.testing.assert_allclose(after, before, atol=1e-12)

    def ridge(G):
        parts = left[:, s] @ G, right[:, s] @ np.linalg.inv(G).T
        regs = reduced.reg_kept, reduced.reg_gone
        return sum((r[:, None] * part**2).sum() for part, r in zip(parts, regs, strict=True))

    least, rng = ridge(np.eye(2)), np.random.default_rng(8)
    for size in (1e-3, 0.1, 1.0):
        for _ in range(20):
            assert ridge(np.eye(2) + size * rng.standard_normal((2, 2))) >= least * (1 - 1e-12)
    assert least < ridge(np.diag([1.2, 0.9])) - 1e-3


@pytest.mark.parametrize("dense", [0, 500])
@pytest.mark.parametrize("flip", [False, True])
def test_a_band_is_solved_from_random_starts(dense, flip):
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((30, 3)) @ rng.standard_normal((3, 60))
    first = np.linspace(0, 20, 60).round()
    away = np.arange(30)[:, None] - first
    Y = np.where((away < 0) | (away >= 10), np.nan, truth)
    Y = Y.T if flip else Y
    stop = Stop(gtol=0, ftol=0, max_iter=300)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        start = [rng.standard_normal((3, size)) for size in Y.shape]
        model = wlrmf.fit(Y, rank=3, solver=VarPro(dense=dense), start=start, stop=stop)
        assert model.success
        assert np.nanmax(np.abs(model.reconstruct() - Y)) < 1e-9  # the corners stay free


@structures
def test_asking_whether_it_can_be_used_lists_no_cells(structure):
    objective, _, _ = make(structure)
    assert "reduced" in objective.provides
    assert "listing" not in vars(objective.problem)
    assert objective.reduced.listing is objective.problem.listing


def test_what_it_cannot_do_is_named(monkeypatch):
    monkeypatch.setattr("wlrmf.objective.LISTED", 10)
    with pytest.raises(ValueError, match=r"'varpro' needs a list of all cells"):
        wlrmf.fit(np.where(np.eye(5) > 0, np.nan, 1.0), rank=1, solver="varpro")
    with pytest.raises(ValueError, match=r"`damping` must be a finite number, above 0; got 0"):
        VarPro(damping=0)
    with pytest.raises(TypeError, match="`dense` must be an int"):
        VarPro(dense=1.5)
