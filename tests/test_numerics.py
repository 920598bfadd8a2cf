"""Weights over many orders, collinear and rank-deficient rows, and the ends of the range."""

import ctypes
import ctypes.util
import platform
from contextlib import contextmanager

import numpy as np
import pytest
import scipy.sparse as sp
from draws import FEW, ITERATIVE, fit, judged
from naive import exact_row
from scipy.linalg import lstsq

import wlrmf
from wlrmf import Stop
from wlrmf.kernels import rows, sparse, steps, transpose
from wlrmf.kernels.rows import Entries
from wlrmf.kernels.vectors import padded, unpadded
from wlrmf.problem import least_norm

solvers = pytest.mark.parametrize("solver", sorted(ITERATIVE))


def one_row(kind, X, c, y, reg=0.0):
    """The row of W that the library solves for, and how many it found singular."""
    if kind == "dense":
        given = {"Y": y[None], "weights": c[None]}
    else:
        at = np.zeros(len(y), int), np.arange(len(y))
        given = {name: sp.coo_array((v, at)) for name, v in (("Y", y), ("weights", c))}
    found = judged(given | {"dtype": X.dtype}).best_rows(X, np.full(1, reg, X.dtype))
    return found.W[0], found.n_deficient


def off(got, wanted):
    return np.linalg.norm(got - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("count", [5, 8, 40])
@pytest.mark.parametrize("orders", [12, 18, 24])
def test_weights_over_many_orders_in_one_row(kind, count, orders):  # R29
    """Against rational numbers, which the oracle of pivoted QR with sorted rows is held to too."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((count, 5)), rng.standard_normal(count)
        c = 10 ** rng.uniform(-orders / 2, orders / 2, count)
        got, _ = one_row(kind, X, c, y)
        wanted = exact_row(c, y, X, 0)
        B, t = np.sqrt(c)[:, None] * X, np.sqrt(c) * y
        heavy = np.argsort(-np.abs(B).max(axis=1))
        oracle = lstsq(B[heavy], t[heavy], 1e-15, lapack_driver="gelsy")[0]
        assert off(oracle, wanted) < 1e-9
        assert off(got, oracle) < 1e-6


@pytest.mark.parametrize("reg", [0.0, 1e-9])
def test_rows_of_small_pivots_keep_their_light_cells(reg):  # R29
    """With the heavy rows first: in another order the errors are some 1e6 times as large."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((8, 5)), rng.standard_normal(8)
        c = 10 ** rng.uniform(-12, 12, 8)
        assert off(least_norm.from_entries(X, c, y, reg), exact_row(c, y, X, reg)) < 1e-12


def test_rows_whose_squares_underflow():  # R22
    X, y, c = np.full((2, 1), 1e-300), np.full(2, 3e-300), np.ones(2)
    np.testing.assert_allclose(least_norm.from_entries(X, c, y, 0.0), [3.0])
    np.testing.assert_array_equal(least_norm.from_entries(X, c, y, 1.0), [0.0])
    np.testing.assert_array_equal(least_norm.from_entries(X * 1e-15, c, y, 0.0), [0.0])


def test_float32_says_where_weights_differ_by_more_than_it_can_solve_for():  # R29
    rng = np.random.default_rng(0)
    Y, c = rng.standard_normal((2, 9, 8)).astype(np.float32)
    wide = 10 ** (2 * np.abs(c) + 1e-3)
    with pytest.warns(wlrmf.DataWarning, match="the squared weights go from .* use float64"):
        wlrmf.fit(Y, rank=2, weights=np.where(c > 1, 1e5, 1e-2).astype(np.float32), stop=FEW)
    wlrmf.fit(Y, rank=2, weights=wide.astype(np.float32), stop=FEW)
    wlrmf.fit(Y, rank=2, weights=np.where(c > 1, 1e5, 1e-2), stop=FEW, dtype=np.float64)
    with pytest.raises(ValueError, match=r"can work with.*use float64"):
        wlrmf.fit(Y, rank=2, weights=wide.astype(np.float32) * np.float32(1e30))


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("reg", [1e-4, 1e-8, 1e-12, 1e-20, 1e-300])
def test_collinear_columns_beside_a_small_ridge(kind, reg):  # R21
    """The ridge divides a coefficient evenly; what it cannot tell from rounding has least norm."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((30, 5)), rng.standard_normal(30)
        X[:, 1] = X[:, 0]
        c = rng.uniform(0.5, 2, 30)
        got, singular = one_row(kind, X, c, y, reg)
        assert off(got, exact_row(c, y, X, reg)) < (1e-11 if reg < 1e-6 else 1e-8)
        assert singular == (reg < 1e-6)


@pytest.mark.large
@solvers
@pytest.mark.parametrize("reg", [0.0, 0.1])
def test_a_rank_above_the_smaller_side(solver, reg):  # R20
    rng = np.random.default_rng(0)
    Y, c = rng.standard_normal((7, 4)), rng.uniform(0.5, 2, (7, 4))
    options = {"weights": c, "solver": ITERATIVE[solver], "stop": Stop(gtol=1e-9, ftol=0)}
    with pytest.warns(wlrmf.DataWarning, match="rank 6 is above"):
        model = wlrmf.fit(Y, rank=6, reg=reg, **options)
    assert np.isfinite(model.left).all()
    sizes = np.linalg.svd(model.W.T @ model.X)[1]
    if reg:
        least = wlrmf.fit(Y, rank=4, reg=reg, **options)
        assert model.value == pytest.approx(least.value, rel=1e-6)
        # factors whose product is shared evenly are those of least norm
        assert np.sum(model.W**2) + np.sum(model.X**2) == pytest.approx(2 * sizes.sum(), rel=1e-4)
    else:
        assert model.loss < 1e-12
        X = model.X.T.astype(float)
        wanted = [
            np.linalg.lstsq(np.sqrt(a)[:, None] * X, np.sqrt(a) * y, rcond=None)[0]
            for a, y in zip(c, Y, strict=True)
        ]
        np.testing.assert_allclose(model.W.T, wanted, atol=1e-8)


@pytest.mark.large
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_any_scale_is_refused_or_gives_the_same_fit(dtype, form):  # R19
    """Powers of 2 change no digit: what is taken must be what it is at scale 1."""
    rng = np.random.default_rng(0)
    Y, c = rng.standard_normal((6, 5)), rng.uniform(0.1, 1, (6, 5))
    ends = (-100, -60, -25, 0, 25, 60, 100) if dtype == np.float32 else (-1060, -500, -290, -150)
    ends = ends if dtype == np.float32 else (*ends, -70, 0, 70, 150, 290, 500, 1010)
    wrap = sp.csr_array if form == "sparse" else np.asarray
    taken, values = 0, {}
    for solver in ("als", "gd", "varpro", "scaled-gd"):
        for a in ends:
            for b in ends:
                with np.errstate(over="ignore", under="ignore"):
                    given = [wrap((M * 2.0**p).astype(dtype)) for M, p in ((Y, a), (c, b))]
                try:
                    model = fit(
                        {"Y": given[0], "weights": given[1]}, rank=2, solver=ITERATIVE[solver]
                    )
                except ValueError as error:
                    assert "range" in str(error) or "can work with" in str(error)  # noqa: PT017
                    assert (a, b) != (0, 0)
                    continue
                taken += 1
                values[solver, a, b] = model.value / 2.0 ** (2 * a) / 2.0**b
                wanted = values.get((solver, 0, 0))
                assert np.isfinite(model.left).all()
                if wanted is not None:
                    tolerance = 1e-4 if dtype == np.float32 else 1e-9
                    if solver == "varpro":  # whose start is on a path of ridges, not yet at its end
                        tolerance = 1e-2
                    assert values[solver, a, b] == pytest.approx(wanted, rel=tolerance)
        for (name, _, _), value in values.items():
            assert value == pytest.approx(values[name, 0, 0], rel=1e-2)
    assert taken >= 36


def test_a_longer_or_shorter_type_is_told_what_to_do():  # R19
    Y = np.random.default_rng(0).standard_normal((6, 5))
    for scale in (1e150, 1e-150, 1e300, 1e-300):
        with pytest.raises(ValueError, match=r"float64 can work with .*: multiply by a constant$"):
            wlrmf.fit(Y * scale, rank=1)
    with pytest.raises(ValueError, match=r"or use float64$"):
        wlrmf.fit(Y.astype(np.float32) * np.float32(1e30), rank=1)
    with pytest.raises(ValueError, match=r"together: multiply one by a constant$"):
        wlrmf.fit(Y * 1e-60, rank=1, weights=np.full(Y.shape, 1e-80))
    with pytest.raises(ValueError, match="and of the squared weights, 1e\\+180, are beyond"):
        wlrmf.fit(sp.csr_array(Y), rank=1, baseline=(np.full(6, 1e90), np.full(5, 1e90)))


@contextmanager
def flushed_to_zero():
    """Numbers below the normal range as 0, as a library compiled with -ffast-math leaves them."""
    name = ctypes.util.find_library("m")
    if platform.machine() not in ("x86_64", "AMD64") or platform.libc_ver()[0] != "glibc":
        pytest.skip("the control word of the floating point unit is set as glibc has it on x86-64")
    libm = ctypes.CDLL(name)
    before, now = (ctypes.c_uint32 * 8)(), (ctypes.c_uint32 * 8)()
    libm.fegetenv(before)
    libm.fegetenv(now)
    now[7] |= 0x8040  # the MXCSR register: flush to zero, denormals are zeros
    libm.fesetenv(now)
    try:
        yield
    finally:
        libm.fesetenv(before)


@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_below_the_normal_range(flush, dtype):  # R22
    rng = np.random.default_rng(0)
    tiny = np.finfo(dtype).smallest_subnormal
    Y, c = rng.standard_normal((2, 8, 7)).astype(dtype)
    c = np.abs(c) + dtype(0.5)
    Y[0], Y[3, 2], c[:, 1], c[5, 5] = 7 * tiny, tiny, 3 * tiny, tiny
    single = {"n_threads": 1, "stop": Stop(max_iter=20)}
    for given in ({"Y": Y, "weights": c}, {"Y": sp.csr_array(Y), "weights": sp.csr_array(c)}):
        for solver in ITERATIVE.values():
            if flush:
                with flushed_to_zero():
                    assert np.float64(5e-324) * 1.0 == 0  # the mode is on
                    model = fit(given, rank=2, reg=0.1, solver=solver, **single)
            else:
                model = fit(given, rank=2, reg=0.1, solver=solver, **single)
            assert np.isfinite(model.left).all()
            assert np.isfinite(model.right).all()
            assert 0 < model.value < np.sum(c * np.square(Y, dtype=float))
    with pytest.raises(ValueError, match="can work with"):
        wlrmf.fit(Y * 0 + tiny, rank=1)
    assert np.float64(5e-324) * 1.0 > 0  # the mode is off again


@solvers
@pytest.mark.parametrize("structure", ["dense", "observed", "weighted", "baseline"])
def test_a_float32_fit_is_near_the_float64_one(solver, structure):  # R06
    """From the same start, three iterations on: the values agree to 1e-4, the cells to 1e-2."""
    from cases import arguments

    for seed in range(4):
        models = []
        for dtype in (np.float32, np.float64):
            given, _ = arguments(structure, seed=seed, dtype=dtype)
            rng = np.random.default_rng(seed)
            start = tuple(rng.standard_normal((3, size)) for size in given["Y"].shape)
            options = {"rank": 3, "reg": 0.5, "start": start, "solver": ITERATIVE[solver]}
            models.append(fit(given, stop=Stop(max_iter=3, gtol=0, ftol=0), **options))
        single, double = models
        assert single.value == pytest.approx(double.value, rel=1e-4)
        cells = double.reconstruct()
        assert np.abs(single.reconstruct() - cells).max() < 1e-2 * np.abs(cells).max()


BEYOND = 2**31 + 12345  # where the entries begin: no 32-bit number counts so far


@pytest.fixture
def far(tmp_path):
    """Entries of a row behind one of more than 2**31, in files that are nearly all holes."""
    rng = np.random.default_rng(0)
    count, n = 40, 30
    near = {
        "indices": np.concatenate([np.sort(rng.permutation(n)[:20]) for _ in range(2)]),
        "y": rng.standard_normal(count),
        "c": rng.uniform(0.5, 2, count),
    }
    dtypes = {"indices": np.int32, "y": np.float32, "c": np.float32}
    arrays = {}
    for name, values in near.items():
        try:
            file = np.memmap(tmp_path / name, dtypes[name], "w+", shape=(BEYOND + count,))
        except OSError as error:
            pytest.skip(f"no file with holes here: {error}")
        file[BEYOND:] = values
        arrays[name] = np.asarray(file)
    indptr = np.array([0, BEYOND, BEYOND + 20, BEYOND + 40])
    own = {name: file[BEYOND:].copy() for name, file in arrays.items()}
    none = np.empty(0, np.float32)
    yield (
        Entries(indptr, arrays["indices"], arrays["y"], arrays["c"], none, none),
        Entries(indptr - np.minimum(indptr, BEYOND), *own.values(), none, none),
    )
    for file in tmp_path.iterdir():
        file.unlink()


def test_entries_beyond_2_to_the_31(far, tmp_path):  # R37
    """Every kernel over a list of entries, on rows whose entries begin beyond a 32-bit count."""
    rng, k, answers = np.random.default_rng(1), 4, []
    W, X, dW, dX = (rng.standard_normal((size, k)).astype(np.float32) for size in (3, 30, 3, 30))
    for entries in far:
        out, q = np.zeros_like(padded(W)), np.zeros(5)
        found = [sparse.loss(*entries, padded(W), padded(X), 1, 3)]
        found += [sparse.gradient(*entries, padded(W), padded(X), 1, 3, out), unpadded(out, k)]
        sparse.line(*entries, padded(W, dW, W), padded(X, dX), 1, 3, q)
        found.append(q)
        name = f"out {len(answers)}"
        out = np.memmap(tmp_path / name, np.float32, "w+", shape=entries.y.shape)
        sparse.residual(*entries, padded(W), padded(X), 1, 3, np.asarray(out))
        found.append(out[-40:].copy())
        gn = np.zeros((3, padded(X, dX).shape[1] // 2), np.float32)
        arrays = entries.indptr, entries.indices, entries.c, entries.u, entries.v
        sparse.gauss_newton(*arrays, padded(dW, W), padded(X, dX), 1, 3, gn)
        product = np.zeros_like(padded(W))
        sparse.product(entries.indptr, entries.indices, entries.y, padded(X), 1, 3, product)
        solved, failed = np.zeros((3, k), np.float32), np.zeros(3, bool)
        none, reg = np.empty((0, 0), np.float32), np.full(3, 0.1, np.float32)
        fixed = np.zeros((3, 0), np.float32), np.zeros((30, 0), np.float32)
        room = rows.room(padded(X), entries.indices.dtype)
        span = none[0:0].ravel(), reg, none, 1, 3
        rows.solve(entries, fixed, padded(X), k, *span, room, solved, failed)
        moved = np.array(padded(dW))
        given = entries.indptr, entries.indices, entries.c, entries.u, entries.v
        lam = np.ones(k, np.float32)
        steps.approach(given, padded(X), lam, 0.1, reg, 1, 3, steps.room(padded(X)), moved)
        counts = np.zeros(30, np.int64)
        transpose.count(entries.indices, entries.indptr[1], entries.indptr[3], counts)
        place = np.concatenate(([0], np.cumsum(counts)[:-1]))
        turned = np.zeros(40, np.int32), np.zeros(40, np.float32), np.zeros(40, np.float32)
        transpose.scatter(
            entries.indptr, entries.indices, entries.y, entries.c, 1, 3, place, *turned
        )
        answers.append([*found, gn[1:], product[1:], solved[1:], moved[1:], counts, *turned])
    for got, wanted in zip(*answers, strict=True):
        np.testing.assert_array_equal(got, wanted)
        assert np.any(wanted)
