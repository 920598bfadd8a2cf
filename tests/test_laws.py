"""The laws of the objective, over all structures, solvers, dtypes and layouts, by hypothesis.

The short profile is part of the suite; `make fuzz` runs the long one, with other examples each
time (see conftest).
"""

import tempfile
import warnings
from pathlib import Path

import naive
import numpy as np
import pytest
import scipy.sparse as sp
from cases import STRUCTURES
from draws import (
    FEW,
    FORMATS,
    ITERATIVE,
    LAYOUTS,
    SPARSE,
    factors,
    fit,
    formatted,
    judged,
    permuted,
    problems,
    regs,
    same,
    scaled,
    seeds,
    shape,
    small_chunks,
    solvers,
    transposed,
)
from hypothesis import assume, given, target
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import wlrmf
from wlrmf import Stop

double = st.just(np.float64)
ranks = st.integers(1, 4)
moderate = st.floats(-9, 9).map(lambda number: round(number, 6))


def near(got, wanted, tolerance, least=1e-300):
    """Equal up to rounding, measured by the largest number there is."""
    scale = max(np.abs(wanted).max(initial=0), least)
    assert np.abs(np.asarray(got) - wanted).max(initial=0) <= tolerance * scale


@given(problems(), ranks, regs, seeds)
def test_loss_gradient_and_row_solves_are_the_slow_twins(problem, rank, reg, seed):
    built = judged(problem)
    W, X = (factor.T.astype(built.dtype) for factor in factors(problem, rank, seed))
    W, X = np.ascontiguousarray(W), np.ascontiguousarray(X)
    T, C = naive.dense_twin(built)
    single = built.dtype == np.float32
    size = np.sum(C * (np.abs(T) + np.abs(W) @ np.abs(X).T) ** 2)  # what rounding is relative to
    tolerance = (3e-5 if single else 1e-13) * size
    assert abs(built.loss(W, X) - naive.loss(T, C, W, X)) <= tolerance
    value, dW, dX = built.loss_grad(W, X)
    assert abs(value - naive.loss(T, C, W, X)) <= tolerance
    for got, wanted in zip((dW, dX), naive.gradient(T, C, W, X), strict=True):
        residual = np.abs(C) * (np.abs(T) + np.abs(W) @ np.abs(X).T)
        bound = np.abs(residual).sum() * max(np.abs(W).max(), np.abs(X).max())
        assert np.abs(got - wanted).max() <= (1e-5 if single else 1e-13) * bound
    ridge = np.full(len(W), reg, built.dtype)
    best = built.best_rows(X, ridge).W
    target(float(np.abs(best).max(initial=0)))
    ours = naive.objective(T, C, best, X, ridge, np.zeros(len(X)))
    wanted = naive.best_rows(T, C, X, ridge)
    least = naive.objective(T, C, wanted, X, ridge, np.zeros(len(X)))
    assert ours <= least + (1e-4 if single else 1e-10) * np.sum(C * T**2)


@given(problems(), ranks, regs, seeds)
def test_exact_sweeps_never_raise_the_objective(problem, rank, reg, seed):
    start = factors(problem, rank, seed)
    options = {"rank": rank, "reg": reg, "start": start, "stop": Stop(max_iter=8, gtol=0, ftol=0)}
    model = fit(problem, solver=ITERATIVE["als-plain"], **options)
    values, built = np.array(model.trace.value), judged(problem)
    floor = (1e-5 if built.dtype == np.float32 else 1e-12) * max(built.square_sum(), 1e-300)
    assert np.all(np.diff(values) <= floor)
    assert model.value <= values.min() + floor


@given(problems(dtypes=double), ranks, regs, seeds, st.sampled_from(["gd", "scaled-gd", "lbfgs"]))
def test_exchanging_rows_and_columns_exchanges_the_factors(problem, rank, reg, seed, solver):
    W, X = factors(problem, rank, seed)
    options = {"rank": rank, "solver": solver, "stop": Stop(max_iter=2, gtol=0, ftol=0)}
    pair = (reg + 0.1, 2 * reg + 0.1)  # without a ridge the exact step can have two ends
    a = fit(problem, start=(W, X), reg=pair, **options)
    b = fit(transposed(problem), start=(X, W), reg=pair[::-1], **options)
    near(b.state.X, a.state.W, 1e-6, least=1)  # as the start is
    near(b.state.W, a.state.X, 1e-6, least=1)


@given(problems(dtypes=double), ranks, regs, seeds, solvers)
def test_permuting_rows_permutes_their_factors(problem, rank, reg, seed, solver):
    W, X = factors(problem, rank, seed)
    order = np.random.default_rng(seed).permutation(W.shape[1])
    options = {"rank": rank, "reg": reg + 0.1, "solver": ITERATIVE[solver]}
    options |= {"stop": Stop(max_iter=2, gtol=0, ftol=0)}
    a = fit(problem, start=(W, X), **options)
    b = fit(permuted(problem, order), start=(W[:, order], X), **options)
    near(b.reconstruct(), a.reconstruct()[order], 1e-5, least=1)
    assert a.value == pytest.approx(b.value, rel=1e-6, abs=1e-12 * a.trace.value[0])


@given(problems(dtypes=double), ranks, regs, seeds, solvers, st.integers(-5, 5))
def test_scaling_weights_and_ridge_leaves_the_factors(problem, rank, reg, seed, solver, power):
    c = 4.0**power
    options = {"rank": rank, "solver": ITERATIVE[solver], "start": factors(problem, rank, seed)}
    options |= {"stop": Stop(max_iter=2, gtol=0, ftol=0)}
    reg += 0.1  # without a ridge a start of dependent rows leaves the next ones to rounding
    a = fit(problem, reg=reg, **options)
    b = fit(scaled(problem, c), reg=c * reg, **options)  # R30
    near(b.reconstruct(), a.reconstruct(), 1e-6, least=1)
    assert b.value / c == pytest.approx(a.value, rel=1e-6, abs=1e-12 * a.trace.value[0])


@given(problems(dtypes=double), ranks, regs, seeds, solvers, st.integers(-8, 8))
def test_scaling_the_data_scales_the_fit(problem, rank, reg, seed, solver, power):
    c = 4.0**power
    start = factors(problem, rank, seed)
    options = {"rank": rank, "solver": ITERATIVE[solver]}
    options |= {"stop": Stop(max_iter=2, gtol=0, ftol=0)}
    a = fit(problem, reg=reg, start=start, **options)
    more = problem | {"Y": problem["Y"] * c}
    b = fit(more, reg=c * reg, start=tuple(2.0**power * factor for factor in start), **options)
    near(b.reconstruct() / c, a.reconstruct(), 1e-6)


@given(problems(structures=["complete", "dense", *SPARSE[:2]]), ranks, seeds, solvers, st.data())
def test_weight_0_is_missing_bitwise(problem, rank, seed, solver, data):  # R26
    Y = problem["Y"]
    values = Y if isinstance(Y, np.ndarray) else Y.data
    gone = data.draw(arrays(bool, values.shape))
    kept = ~gone & ~np.isnan(values)
    assume(kept.any() and gone.any())
    weights = problem.get("weights")
    options = {"rank": rank, "reg": 0.1, "solver": ITERATIVE[solver], "seed": seed}
    rubbish = data.draw(st.sampled_from([np.nan, np.inf, 0.0, 7.5]))
    if isinstance(Y, np.ndarray):
        w = np.ones(Y.shape) if weights is None else weights
        missing = {"Y": np.where(gone, np.nan, Y), "weights": w}
        zero = {"Y": np.where(gone, rubbish, Y), "weights": np.where(gone, 0, w)}
    else:
        w = np.ones(values.size) if weights is None else weights.data
        at = tuple(index[kept] for index in Y.coords)
        missing = {
            "Y": sp.coo_array((values[kept], at), shape=Y.shape),
            "weights": sp.coo_array((w[kept], at), shape=Y.shape),
        }
        given_, own = (np.where(gone, other, here) for other, here in ((rubbish, values), (0, w)))
        zero = {
            "Y": sp.coo_array((given_, Y.coords), shape=Y.shape),
            "weights": sp.coo_array((own, Y.coords), shape=Y.shape),
        }
    same(fit(problem | zero, **options), fit(problem | missing, **options))


@given(problems(structures=["complete", "dense"], dtypes=double), ranks, regs, seeds)
def test_a_weight_of_2_is_the_entry_twice(problem, rank, reg, seed):
    Y, (m, n) = problem["Y"], shape(problem)
    rng = np.random.default_rng(seed)
    twice = rng.random((m, n)) < 0.5
    w = problem.get("weights", np.ones((m, n)))
    X = rng.standard_normal((n, rank))
    once = judged({"Y": Y, "weights": w * np.where(twice, 2, 1)})
    both = judged({"Y": np.hstack([Y, Y]), "weights": np.hstack([w, np.where(twice, w, 0)])})
    ridge, W = np.full(m, reg + 1e-3), rng.standard_normal((m, rank))
    near(both.best_rows(np.vstack([X, X]), ridge).W, once.best_rows(X, ridge).W, 1e-6)
    assert both.loss(W, np.vstack([X, X])) == pytest.approx(once.loss(W, X), rel=1e-12)


@given(
    arrays(np.float64, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=moderate),
    st.integers(0, 2),
    st.sampled_from(["svd", "als", "als-plain", "varpro", "lbfgs"]),
)
def test_full_rank_without_ridge_reproduces_complete_data(Y, more, solver):  # R20
    stop = Stop(gtol=1e-12, ftol=0, max_iter=3000)
    rank = min(Y.shape) + more
    model = fit({"Y": Y}, rank=rank, solver=ITERATIVE.get(solver, solver), stop=stop)
    near(model.reconstruct(), Y, 1e-6)


@given(problems(dtypes=double), ranks, regs, solvers, st.booleans(), st.booleans())
def test_transform_of_a_training_row_is_its_fitted_row(problem, rank, reg, solver, bias, count):
    scaling = "count" if count else "none"
    options = {"rank": rank, "reg": reg, "bias": bias, "reg_scaling": scaling}
    model = fit(problem, solver=ITERATIVE[solver], **options)
    new = {k: v for k, v in problem.items() if k in ("Y", "weights")}
    if isinstance(problem.get("baseline"), tuple):
        new["baseline"] = problem["baseline"][0]
    folded = model.fold_in(new.pop("Y"), **new)
    near(folded.left, model.left, 1e-8)


@given(problems(), ranks, regs, solvers, st.integers(1, 9))
def test_files_and_threads_keep_every_bit(problem, rank, reg, solver, n_threads):  # R55
    options = {"rank": rank, "reg": reg, "solver": ITERATIVE[solver]}
    with small_chunks():
        model = fit(problem, n_threads=1, **options)
        same(fit(problem, n_threads=n_threads, **options), model)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.npz")
        same(wlrmf.load(Path(folder) / "model.npz"), model)


@given(
    problems(structures=["complete", "dense"]),
    st.sampled_from(sorted(LAYOUTS)),
    st.sampled_from(sorted(LAYOUTS)),
    solvers,
)
def test_layouts_of_arrays_do_not_matter(problem, one, other, solver):  # R07, R09
    layouts = {"Y": one, "weights": other}
    moved = {k: LAYOUTS[layouts[k]](v) if k in layouts else v for k, v in problem.items()}
    before = {k: np.array(v, copy=True) for k, v in moved.items() if k in layouts}
    options = {"rank": 2, "reg": 0.1, "solver": ITERATIVE[solver]}
    same(fit(moved, **options), fit(problem, **options))
    for name, array in before.items():  # R08
        np.testing.assert_array_equal(np.asarray(moved[name]), array)


@given(
    problems(structures=SPARSE),
    st.sampled_from(FORMATS),
    st.sampled_from(FORMATS),
    solvers,
    seeds,
)
def test_formats_of_sparse_matrices_do_not_matter(problem, one, other, solver, seed):  # R34, R40
    formats = {"Y": one, "weights": other}
    moved = {k: formatted(v, formats[k], seed) if k in formats else v for k, v in problem.items()}
    options = {"rank": 2, "reg": 0.1, "solver": ITERATIVE[solver]}
    same(fit(moved, **options), fit(problem, **options))


numbers = st.one_of(
    st.floats(-9, 9),
    st.floats(width=64, allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, 1.0, np.nan, 1e-300, 1e300, 1e15, 1e-15, 5e-324]),
)
positive = st.one_of(st.floats(0, 9), numbers)


@given(st.data(), st.sampled_from([None, np.float32, np.float64]), solvers, st.booleans())
def test_anything_is_refused_by_name_or_gives_a_finite_model(data, dtype, solver, bias):  # R54
    """Whatever the numbers: an error about an argument, or a model without NaN or infinity."""
    m, n = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    Y = data.draw(arrays(np.float64, (m, n), elements=numbers))
    options = {"rank": data.draw(st.integers(1, 4)), "dtype": dtype, "bias": bias}
    if data.draw(st.booleans()):
        Y = sp.csr_array(Y)
        if data.draw(st.booleans()):
            options["baseline"] = data.draw(positive)
    if data.draw(st.booleans()):
        weights = data.draw(arrays(np.float64, (m, n), elements=positive))
        options["weights" if data.draw(st.booleans()) else "mask"] = weights
    options["reg"], error = data.draw(positive), None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wlrmf.DataWarning)
        warnings.simplefilter("ignore", wlrmf.ConvergenceWarning)
        try:
            model = wlrmf.fit(Y, solver=ITERATIVE[solver], stop=FEW, **options)
        except ValueError as refusal:
            error = refusal
    if error is not None:
        words = ("`", "Y", "squared weight", "observed entries", "baseline")
        assert any(word in str(error) for word in words)
        assert not isinstance(error, np.linalg.LinAlgError)
        return
    assert np.isfinite(model.left).all()
    assert np.isfinite(model.right).all()
    assert np.isfinite(model.value)
    assert model.loss >= -1e-6 * abs(model.value)


def test_every_structure_and_solver_is_drawn():
    """What the laws run over is what there is."""
    from wlrmf.solvers import SOLVERS

    assert set(ITERATIVE) >= set(SOLVERS) - {"svd"}
    assert set(SPARSE) < set(STRUCTURES)
