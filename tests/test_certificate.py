"""The bound on the optimum against optima that are known."""

import copy
import pickle
import warnings

import cases
import hypothesis
import naive
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import strategies as st

import wlrmf
from wlrmf import Stop, fit, model_file, spectral
from wlrmf.certificate import certify, hoped_gap
from wlrmf.objective import Layout, Objective
from wlrmf.problem import build
from wlrmf.problem.residuals import Residuals
from wlrmf.validation import read_cells
from wlrmf.validation.errors import DataWarning

STRICT = Stop(gtol=1e-11, ftol=0, max_iter=5000)
structures = pytest.mark.parametrize("structure", cases.STRUCTURES)
both_ways = pytest.mark.parametrize("exact", [True, False])


# The largest singular value.


def matrix_of(s, shape, seed=0):
    """A matrix of these singular values, as `largest` takes it, and scalings that are undone."""
    rng = np.random.default_rng(seed)
    m, n = shape
    U, _ = np.linalg.qr(rng.standard_normal((m, len(s))))
    V, _ = np.linalg.qr(rng.standard_normal((n, len(s))))
    left, right = rng.uniform(0.5, 2, m), rng.uniform(0.5, 2, n)
    B = (U * s) @ V.T
    return spectral.Scaled(Residuals.of(B / left[:, None] / right), left, right), B


SPECTRA = {
    "one": np.array([3.0]),
    "equal": np.full(20, 2.0),
    "clustered": np.linspace(0.999, 1, 40),
    "gap": np.r_[5.0, np.linspace(0, 1, 39)],
    "twins": np.r_[1.0, 1.0 - 1e-9, np.linspace(0, 0.9, 38)],
    "decaying": 0.5 ** np.arange(40),
    "tiny": np.linspace(0, 1e-140, 40),
    "huge": np.linspace(0, 1e140, 40),
}


@pytest.mark.parametrize("way", ["exact", "formed", "products"])
@pytest.mark.parametrize("shape", [(60, 40), (40, 90), (300, 320)])
@pytest.mark.parametrize("name", SPECTRA)
def test_bounds_enclose_a_known_norm(name, shape, way):
    exact = way == "exact"
    s = SPECTRA[name]
    for seed in range(3):
        matrix, B = matrix_of(s, shape, seed)
        norm = spectral.largest(matrix, exact, formed=way == "formed")
        assert norm.estimate <= s.max() * (1 + 1e-13)
        assert s.max() * (1 - 1e-13) <= norm.bound <= s.max() * (1 + 1e-6)
        assert norm.verified == ("exact" if exact else 1 - 1e-10)
        for vector in norm.u, norm.v:
            assert np.linalg.norm(vector) == pytest.approx(1)
        assert norm.u @ (B / s.max()) @ norm.v == pytest.approx(norm.estimate / s.max())


@pytest.mark.parametrize("size", [1e-120, 1, 1e120])
@pytest.mark.parametrize("shape", [(30, 20), (20, 50)])
def test_pairs_are_those_of_an_svd_beside_what_is_taken(shape, size):
    rng = np.random.default_rng(0)
    matrix, B = matrix_of(size * np.linspace(1, 9, 15), shape)
    taken = [np.linalg.qr(rng.standard_normal((side, 4)))[0] for side in shape]
    left, right = (np.eye(len(Q)) - Q @ Q.T for Q in taken)
    wanted = np.linalg.svd(left @ B @ right)
    U, s, V = spectral.pairs(matrix, *taken, 6)
    np.testing.assert_allclose(s, wanted.S[:6], rtol=1e-12)
    product = (wanted.U[:, :6] * wanted.S[:6]) @ wanted.Vh[:6]
    np.testing.assert_allclose((U * s) @ V.T, product, atol=1e-12 * size)


def test_few_steps_give_a_wide_bound_that_holds(monkeypatch):
    monkeypatch.setattr(spectral, "STEPS", 16)
    for seed in range(40):
        s = np.random.default_rng(seed).random(200)
        norm = spectral.largest(matrix_of(s, (220, 200), seed)[0], False)
        assert norm.estimate <= s.max() * (1 + 1e-13)
        assert s.max() < norm.bound < 3 * s.max()
        assert norm.bound > 1.001 * norm.estimate


def test_a_direction_that_the_start_does_not_see(monkeypatch):
    """Orthogonal to the start, a direction is missed by few steps, but not by Cholesky."""
    monkeypatch.setattr(spectral, "STEPS", 4)
    b = np.random.default_rng([30, 2000]).standard_normal(30)
    v = np.random.default_rng(1).standard_normal(30)
    v -= b * (b @ v) / (b @ b)
    B = np.eye(30) + 4 * np.outer(v, v) / (v @ v)
    matrix = spectral.Scaled(Residuals.of(B), np.ones(30), np.ones(30))
    assert spectral.largest(matrix, False).bound < 2
    assert spectral.largest(matrix, True).bound >= 5


@both_ways
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (6, 1), (5, 5)])
def test_a_zero_matrix_and_thin_ones(shape, exact):
    for fill in (0.0, 2.0):
        B = np.full(shape, fill)
        matrix = spectral.Scaled(Residuals.of(B), np.ones(shape[0]), np.ones(shape[1]))
        norm = spectral.largest(matrix, exact)
        size = fill * np.sqrt(B.size)
        assert size * (1 - 1e-13) <= norm.bound <= size * (1 + 1e-6)


# Closed forms.


def test_a_hand_worked_case():
    """Residuals diag(1.5, 2, 1): σ = 4/3, ⟨R, Y⟩ = 9.5, ‖R‖² = 7.25, s = 3/4."""
    Y = np.diag([3.0, 2.0, 1.0])
    answer = fit(Y, rank=1, reg=1.5).certificate(Y)
    assert answer.value == pytest.approx(11.75)
    assert answer.lower_bound == pytest.approx(2 * 0.75 * 9.5 - 0.75**2 * 7.25, rel=1e-7)
    assert answer.sigma_max == pytest.approx(4 / 3)
    assert answer.gain == pytest.approx(0.25)  # soft thresholding at rank 2 has 11.5
    assert answer.words == (
        "no factorization of any rank can be more than 14 % better; a higher rank would help: "
        "one more factor lowers the value by 2.1 %"
    )
    assert "lower bound 10.1719: no factorization" in repr(answer)
    assert "verified" not in repr(answer)


@both_ways
@pytest.mark.parametrize("reg", [0.5, 4.0, 1e3, (2.0, 8.0)])
def test_soft_thresholding_closes_the_gap(reg, exact):
    Y = np.random.default_rng(0).standard_normal((30, 20)) + 1
    s = np.linalg.svd(Y, compute_uv=False)
    r = np.sqrt(np.prod(reg)) if isinstance(reg, tuple) else reg
    least = np.sum(np.where(s > r, 2 * r * s - r * r, s * s))
    answer = fit(Y, rank=20, reg=reg).certificate(Y, exact=exact)
    assert answer.value == pytest.approx(least)
    assert answer.lower_bound == pytest.approx(least, rel=1e-6)
    assert answer.sigma_max == pytest.approx(min(1, s[0] / r))
    for k in (1, 2):
        model = fit(Y, rank=k, reg=reg)
        answer = model.certificate(Y, exact=exact)
        assert answer.lower_bound <= least
        assert answer.sigma_max == pytest.approx(s[k] / r if s[0] > r else s[0] / r)


def test_the_gain_is_what_the_direction_gives():
    given, _ = cases.arguments("dense")
    model = fit(**given, rank=1, reg=0.5, stop=STRICT)
    answer = model.certificate(given["Y"], weights=given["weights"])
    assert model.certificate().lower_bound == answer.lower_bound
    assert answer.gain > 0
    values = []
    for share in (0.9, 1.0, 1.1):  # of the best step, which is the middle one
        t = share * answer.gain / (answer.sigma_max - 1)
        W = np.vstack([model.W, np.sqrt(t) * answer.direction[0]])
        X = np.vstack([model.X, np.sqrt(t) * answer.direction[1]])
        start = fit(**given, rank=2, reg=0.5, start=(W, X), stop=Stop(max_iter=0))
        values.append(start.value)
    assert values[1] == pytest.approx(answer.value - answer.gain)
    assert values[1] < min(values[0], values[2])


# An independent convex solver.


def ridges(kind, m, n, seed=5):
    rng = np.random.default_rng(seed)
    return (0.7, 0.7) if kind == "number" else (rng.uniform(0.3, 2, m), rng.uniform(0.3, 2, n))


@pytest.mark.parametrize("extras", ["plain", "bias", "pinned", "all"])
@pytest.mark.parametrize("reg", ["number", "vectors"])
@structures
def test_the_convex_optimum_is_enclosed_and_met(structure, reg, extras):
    m, n = 8, 6
    data, _ = cases.arguments(structure, m=m, n=n, rank=2)
    rng = np.random.default_rng(3)
    pins = {}
    if extras in ("pinned", "all"):
        pins = {"pinned_W": rng.standard_normal((1, m)), "pinned_X": rng.standard_normal((2, n))}
    bias = extras in ("bias", "all")
    r, c = ridges(reg, m, n)
    model = fit(**data, rank=n, reg=(r, c), bias=bias, stop=STRICT, **pins)
    about = {name: data[name] for name in ("weights",) if name in data}
    answer = model.certificate(data["Y"], **about)

    T, C = naive.dense_twin(build(read_cells(**data)))
    P = np.vstack([*pins.get("pinned_X", np.empty((0, n))), np.ones((int(bias), n))]).T
    Q = np.vstack([*pins.get("pinned_W", np.empty((0, m))), np.ones((int(bias), m))]).T
    r, c = (np.broadcast_to(part, size) for part, size in ((r, m), (c, n)))
    least = naive.convex_value(np.where(C > 0, T, 0) - model.mean, C, r, c, P, Q)
    assert answer.value == pytest.approx(model.value)
    assert answer.lower_bound <= least * (1 + 1e-12)
    assert answer.value == pytest.approx(least, rel=1e-7)
    assert answer.lower_bound == pytest.approx(least, rel=1e-4)


# It holds anywhere.


def objective_of(structure, layout, seed=0, dtype=np.float64, scale=1.0, m=9, n=7):
    rng = np.random.default_rng([seed, 1])
    problem = cases.problem(structure, m=m, n=n, rank=2, seed=seed, dtype=dtype)
    regs = (
        (scale * rng.uniform(0.1, 2, size) * rng.choice([0.1, 3])).astype(dtype) for size in (m, n)
    )
    return Objective(problem, *regs, layout)


def point_of(objective, seed, size=1.0):
    """Random whole factors; the pinned values are of the layout alone, not of the seed."""
    pinned, free = np.random.default_rng(0), np.random.default_rng([seed, 2])
    layout, (m, n) = objective.layout, objective.problem.shape
    dtype = objective.problem.dtype
    left, right = (pinned.standard_normal((k, layout.columns)).astype(dtype) for k in (m, n))
    left[:, layout.free_W] = size * free.standard_normal((m, layout.columns))[:, layout.free_W]
    right[:, layout.free_X] = size * free.standard_normal((n, layout.columns))[:, layout.free_X]
    return left, right


def widened(objective, left, right, rank):
    """The same pinned columns and more shared ones, not at 0, so that sweeps move them."""
    old = objective.layout
    new = Objective(
        objective.problem,
        objective.reg_W,
        objective.reg_X,
        Layout(old.pinned_X, rank, old.pinned_W, old.both),
    )
    fill, more = np.random.default_rng(9), rank - old.rank
    at = old.shared.stop
    wide = [
        np.hstack([f[:, :at], 0.1 * fill.standard_normal((len(f), more)), f[:, at:]])
        for f in (left, right)
    ]
    return new, *(np.ascontiguousarray(f, left.dtype) for f in wide)


def sweep(objective, left, right, rounds):
    for _ in range(rounds):
        left, _ = objective.best_W(left, right)
        right, _ = objective.best_X(left, right)
    return left, right


@hypothesis.given(
    structure=st.sampled_from(cases.STRUCTURES),
    layout=st.builds(
        Layout, st.integers(0, 2), st.integers(0, 3), st.integers(0, 2), st.integers(0, 1)
    ).filter(lambda layout: layout.columns > 0),
    seed=st.integers(0, 10_000),
    size=st.sampled_from([0.0, 0.1, 1.0, 5.0]),
    rounds=st.sampled_from([0, 1, 20]),
    exact=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
)
@hypothesis.settings(max_examples=120, deadline=None, derandomize=True)
def test_no_point_of_any_rank_is_below_the_bound(
    structure, layout, seed, size, rounds, exact, dtype
):
    objective = objective_of(structure, layout, seed, dtype)
    left, right = sweep(objective, *point_of(objective, seed, size), rounds)
    answer = certify(objective, left, right, exact=exact)
    assert 0 <= answer.lower_bound <= answer.value
    wide, left, right = widened(objective, *point_of(objective, seed + 1), rank=7)
    left, right = sweep(wide, left, right, 150)
    T, C = naive.dense_twin(wide.problem)
    free = wide.layout
    ridge = sum(
        np.sum(reg[:, None].astype(float) * factor.astype(float) ** 2)
        for reg, factor in (
            (wide.reg_W, left[:, free.free_W]),
            (wide.reg_X, right[:, free.free_X]),
        )
    )
    assert answer.lower_bound <= naive.loss(T, C, left.astype(float), right.astype(float)) + ridge


@structures
def test_random_points_are_certified_by_the_formula(structure):
    """The formula itself, dense, with NumPy's singular value decomposition."""
    layout = Layout(2, 2, 1, 1)
    objective = objective_of(structure, layout)
    left, right = point_of(objective, 4)
    answer = certify(objective, left, right)
    T, C = naive.dense_twin(objective.problem)
    R = naive.residual(T, C, left, right)
    r, c = objective.reg_W, objective.reg_X
    sigma = np.linalg.norm(R / np.sqrt(r[:, None] * c), 2)
    cross = np.sum(R * (T - left[:, -1:] @ right[:, -1:].T))
    square = naive.loss(T, C, left, right)
    square += np.sum((R @ right[:, :2]) ** 2 / r[:, None])
    square += np.sum((R.T @ left[:, 4:5]) ** 2 / c[:, None])
    s = np.clip(cross / square, 0, 1 / sigma)
    assert answer.sigma_max == pytest.approx(sigma)
    assert answer.lower_bound == pytest.approx(2 * s * cross - s * s * square, rel=1e-6)


@structures
@pytest.mark.parametrize("rounds", [0, 3, 30])
def test_the_gap_that_may_be_hoped_for(structure, rounds):
    """The same formula with the norm on the spans of the factors; never above the gap itself."""
    layout = Layout(2, 2, 1, 1)
    objective = objective_of(structure, layout)
    W, X = sweep(objective, *point_of(objective, 4), rounds)
    value, dW, dX = objective.value_and_grad(W, X)
    found = hoped_gap(objective, W, X, value, dW, dX)
    T, C = naive.dense_twin(objective.problem)
    R, r, c = naive.residual(T, C, W, X), objective.reg_W, objective.reg_X
    scaled = R / np.sqrt(r[:, None] * c)
    spans = [
        np.linalg.qr(np.sqrt(reg)[:, None] * factor[:, 2:4])[0] for reg, factor in ((r, W), (c, X))
    ]
    sigma = max(np.linalg.norm(scaled @ spans[1], 2), np.linalg.norm(scaled.T @ spans[0], 2))
    cross = np.sum(R * (T - W[:, -1:] @ X[:, -1:].T))
    square = naive.loss(T, C, W, X)
    square += np.sum((R @ X[:, :2]) ** 2 / r[:, None])
    square += np.sum((R.T @ W[:, 4:5]) ** 2 / c[:, None])
    s = np.clip(cross / square, 0, 1 / sigma)
    assert found == pytest.approx(1 - (2 * s * cross - s * s * square) / value, rel=1e-6)
    assert found <= certify(objective, W, X).relative_gap * (1 + 1e-9)


# Laws.


@structures
def test_transposing_changes_nothing(structure):
    layout = Layout(1, 2, 2, 1)
    objective = objective_of(structure, layout)
    left, right = sweep(objective, *point_of(objective, 1), 5)
    there = certify(objective, left, right)
    order = [3, 4, 1, 2, 0, 5]  # what is pinned in W comes first in the transpose
    turned = Objective(objective.problem.T, objective.reg_X, objective.reg_W, Layout(2, 2, 1, 1))
    back = certify(turned, *(np.ascontiguousarray(f[:, order]) for f in (right, left)))
    for name in ("value", "lower_bound", "sigma_max", "gain"):
        assert getattr(back, name) == pytest.approx(getattr(there, name), rel=1e-7), name


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_scaling_the_mask_and_the_ridge(scale):
    given, _ = cases.arguments("dense")
    Y, mask = given["Y"], np.sqrt(given["weights"])
    model = fit(Y, mask, rank=2, reg=0.5)
    one = model.certificate(Y, mask)
    with pytest.warns(DataWarning, match="the loss at these data is"):
        other = model.certificate(Y, scale * mask, reg=0.5 * scale**2)
    assert other.value == pytest.approx(one.value * scale**2)
    assert other.lower_bound == pytest.approx(one.lower_bound * scale**2)
    assert other.sigma_max == pytest.approx(one.sigma_max)


@structures
def test_float32(structure):
    given, _ = cases.arguments(structure, dtype=np.float32)
    about = {name: given[name] for name in ("weights",) if name in given}
    model = fit(**given, rank=17, reg=1.0, stop=Stop(gtol=1e-5))
    answer = model.certificate(given["Y"], **about)
    assert model.left.dtype == np.float32
    assert answer.value == pytest.approx(model.value, rel=1e-4)
    assert 0 <= answer.relative_gap < 0.05


@structures
@both_ways
def test_threads_give_the_same_bits(structure, exact):
    given, _ = cases.arguments(structure, m=150, n=120)
    about = {name: given[name] for name in ("weights",) if name in given}
    model = fit(**given, rank=2, reg=1.0)
    one, two = (model.certificate(given["Y"], **about, exact=exact, n_threads=k) for k in (1, 2))
    assert (one.value, one.lower_bound, one.sigma_bound, one.gain) == (
        two.value,
        two.lower_bound,
        two.sigma_bound,
        two.gain,
    )


# Ridges of 0.


def test_without_a_ridge_there_is_no_bound():
    given, _ = cases.arguments("dense")
    for reg in (0.0, (np.r_[0.0, np.ones(22)], 1.0)):
        model = fit(**given, rank=2, reg=reg)
        answer = model.certificate(given["Y"], weights=given["weights"])
        assert (answer.lower_bound, answer.sigma_bound, answer.gain) == (0, np.inf, 0)
        assert answer.direction is None
        assert answer.words.startswith("a ridge is 0: no bound but 0 exists")


def test_an_exact_fit_without_a_ridge_needs_none():
    Y = np.zeros((4, 3))
    answer = fit(Y, rank=1).certificate(Y)
    assert (answer.value, answer.gap, answer.relative_gap) == (0, 0, 0)
    assert "0.0001 %" in answer.words


@pytest.mark.parametrize("structure", ["weighted", "baseline"])
def test_empty_rows_bear_no_ridge_by_counts_and_do_no_harm(structure):
    given, _ = cases.arguments(structure, share=0.6)
    Y, weights = given["Y"].tocsr()[:, :-1], given["weights"].tocsr()[:, :-1]
    Y, weights = (sp.vstack([part, sp.csr_array((2, 16))]).tocsr() for part in (Y, weights))
    given |= {"Y": Y, "weights": weights}
    model = fit(**given, rank=16, reg=0.3, reg_scaling="count", stop=STRICT)
    answer = model.certificate(Y, weights=weights)
    assert answer.value > 0
    assert answer.relative_gap < 1e-3


# The model's method.


def test_data_that_are_not_those_of_the_fit():
    given, _ = cases.arguments("complete")
    Y = given["Y"]
    model = fit(Y, rank=2, reg=1.0)
    with pytest.raises(ValueError, match=r"shape of the fit, \(23, 17\); got \(17, 23\).*Y\.T"):
        model.certificate(Y.T)
    with pytest.raises(ValueError, match=r"shape of the fit, \(23, 17\); got \(22, 17\)$"):
        model.certificate(Y[1:])
    with pytest.warns(DataWarning, match="are they, with mask and weights, those of the fit"):
        model.certificate(2 * Y)
    with pytest.raises(TypeError, match="`n_threads` must be an int"):
        model.certificate(Y, n_threads="two")
    with pytest.raises(ValueError, match="`reg` as vectors must be a pair"):
        model.certificate(Y, reg=np.ones(17))


def test_names_of_another_frame():
    pd = pytest.importorskip("pandas", reason="data frames")
    frame = pd.DataFrame(np.eye(3) + 1, index=list("xyz"), columns=list("abc"))
    model = fit(frame, rank=1, reg=0.1)
    assert model.certificate(frame).value == pytest.approx(model.value)
    with pytest.raises(ValueError, match="`Y` must have the columns of the fit"):
        model.certificate(frame[["b", "a", "c"]])
    with pytest.raises(ValueError, match="`Y` must have the rows of the fit"):
        model.certificate(frame.loc[["y", "x", "z"]])


@pytest.mark.parametrize("reg", [0.5, (0.5, 2.0), "vectors"])
@structures
def test_a_file_keeps_what_is_needed(structure, reg, tmp_path):
    given, _ = cases.arguments(structure)
    about = {name: given[name] for name in ("weights",) if name in given}
    reg = ridges("vectors", 23, 17) if reg == "vectors" else reg
    model = fit(**given, rank=2, reg=reg, bias=True)
    model.save(tmp_path / "model.npz")
    before = model.certificate(given["Y"], **about)
    after = wlrmf.load(tmp_path / "model.npz").certificate(given["Y"], **about)
    assert (before.value, before.lower_bound) == (after.value, after.lower_bound)
    assert before.value == pytest.approx(model.value)


def test_a_file_of_before_the_column_ridge_was_kept(tmp_path):
    Y = np.diag([3.0, 2.0, 1.0])
    fields = vars(fit(Y, rank=2, reg=1.0)) | {"col_reg": None}
    model_file.write(tmp_path / "old.npz", fields)
    old = wlrmf.load(tmp_path / "old.npz")
    with pytest.raises(ValueError, match="`reg` is needed: this model does not know the columns"):
        old.certificate(Y)
    assert old.certificate(Y, reg=1.0).relative_gap < 1e-6


def test_a_column_ridge_of_another_length_is_not_read(tmp_path):
    model_file.write(
        tmp_path / "bad.npz", vars(fit(np.eye(3), rank=1, reg=1.0)) | {"col_reg": np.ones(4)}
    )
    with pytest.raises(wlrmf.ModelFormatError, match="col_reg has shape"):
        wlrmf.load(tmp_path / "bad.npz")


def test_factors_without_a_finite_value():
    objective = objective_of("dense", Layout(0, 2, 0))
    left, right = point_of(objective, 0)
    left[0, 0] = np.nan
    with pytest.raises(ValueError, match="must have a finite value to be certified; got nan"):
        certify(objective, left, right)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@structures
def test_a_fitted_model_knows_its_data(structure, dtype):
    given, _ = cases.arguments(structure, dtype=dtype)
    model = fit(**given, rank=2, reg=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = model.certificate(n_threads=2)
        told = model.certificate(given["Y"], weights=given.get("weights"))
    rel = 1e-9 if dtype is np.float64 else 1e-4
    assert alone.value == pytest.approx(told.value, rel=rel)
    assert alone.lower_bound == pytest.approx(told.lower_bound, rel=rel)


def test_other_models_are_told_that_they_do_not():
    Y = np.random.default_rng(0).standard_normal((6, 5))
    model = fit(Y, rank=2, reg=0.5)
    wanted = model.certificate().lower_bound
    others = [model.released(), pickle.loads(pickle.dumps(model)), copy.copy(model)]
    others += [copy.deepcopy(model), model.fold_in(Y)]
    for other in others:
        with pytest.raises(ValueError, match="`Y` is needed, with the mask and weights of the fit"):
            other.certificate(reg=0.5)
        assert other.certificate(Y, reg=0.5).lower_bound == pytest.approx(wanted, rel=1e-9)
    assert model.released().state is None
    with pytest.raises(ValueError, match="`mask` needs `Y` beside it"):
        model.certificate(mask=np.ones((6, 5)))
    Y *= 2  # the fit has its own copy
    assert model.certificate().lower_bound == wanted
