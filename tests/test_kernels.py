"""Every weight structure's methods against their slow dense twins. Also run with the JIT off."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from cases import STRUCTURES, factors, problem
from naive import (
    best_rows,
    dense_twin,
    gauss_newton,
    gradient,
    line,
    loss,
    near_rows,
    residual,
)

from wlrmf.diagnostics import dot_test
from wlrmf.kernels import steps
from wlrmf.problem import Dense, Fixed, Observed, build
from wlrmf.validation import read_cells

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
all_structures = pytest.mark.parametrize("structure", STRUCTURES)
LISTS = [structure for structure in STRUCTURES if structure not in ("complete", "dense")]
sides = pytest.mark.parametrize("side", ["rows", "columns"])


def close(got, wanted, dtype, scale=1.0):
    tolerance = TOLERANCE[dtype] * scale
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * np.abs(wanted).max())


def oriented(structure, side, dtype, **options):
    found = problem(structure, dtype=dtype, **options)
    return found if side == "rows" else found.T


@all_structures
@sides
@both_dtypes
def test_loss_and_gradient(structure, side, dtype):
    given = oriented(structure, side, dtype)
    W, X = factors(given.shape, dtype=dtype)
    T, C = dense_twin(given)
    close(given.loss(W, X), loss(T, C, W, X), dtype)
    value, dW, dX = given.loss_grad(W, X)
    assert dW.dtype == dX.dtype == dtype
    close(value, loss(T, C, W, X), dtype)
    for got, wanted in zip((dW, dX), gradient(T, C, W, X), strict=True):
        close(got, wanted, dtype)
    if structure in LISTS:
        close(given.row_grad(W, X), dW, dtype)


@all_structures
@sides
@both_dtypes
def test_line_is_the_loss_along_it(structure, side, dtype):
    given = oriented(structure, side, dtype)
    W, X = factors(given.shape, dtype=dtype)
    dW, dX = factors(given.shape, seed=2, dtype=dtype)
    T, C = dense_twin(given)
    close(
        given.line(W, X, dW, dX), line(T, C, *(a.astype(float) for a in (W, X, dW, dX))), dtype, 5
    )


@all_structures
@sides
@both_dtypes
def test_gauss_newton_product(structure, side, dtype):
    given = oriented(structure, side, dtype)
    W, X = factors(given.shape, dtype=dtype)
    dW, dX = factors(given.shape, seed=2, dtype=dtype)
    _, C = dense_twin(given)
    for got, wanted in zip(
        given.gn_product(W, X, dW, dX), gauss_newton(C, W, X, dW, dX), strict=True
    ):
        close(got, wanted, dtype)


@all_structures
@sides
@both_dtypes
def test_row_grams(structure, side, dtype):
    given = oriented(structure, side, dtype)
    X = factors(given.shape, dtype=dtype)[1]
    _, C = dense_twin(given)
    for rows in np.arange(len(C)), np.array([5, 2]):
        found = given.row_grams(X, rows)
        assert found.dtype == np.float64
        close(found, np.array([X.T.astype(float) @ (C[i, :, None] * X) for i in rows]), dtype)
    assert given.row_grams(X, rows[:0]).shape == (0, 4, 4)


@all_structures
@sides
def test_residual_operator(structure, side):
    given = oriented(structure, side, np.float64)
    for scale in (1, 0):  # a fit begins at 0
        W, X = (scale * factor for factor in factors(given.shape))
        operator = given.residual_operator(W, X)
        close(operator @ np.eye(given.shape[1]), residual(*dense_twin(given), W, X), np.float64)
        assert dot_test(operator) < 1e-14
        for some, wanted in (operator, operator.matmat), (operator.T, operator.rmatmat):
            close(some.rows(2, 5), (wanted(np.eye(some.shape[1])))[2:5], np.float64)
            assert some.rows(2, 1000).shape == (some.shape[0] - 2, some.shape[1])


@sides
def test_heavy_cells_of_a_dense_start_count_no_more(side):
    given = oriented("dense", side, np.float64)
    W, X = factors(given.shape)
    T, C = dense_twin(given)
    weight = C / (C + (np.sqrt(C[C > 0]).mean() / 2) ** 2)
    operator = given.start_operator(W, X)
    close(operator @ np.eye(given.shape[1]), residual(T, weight, W, X), np.float64)
    assert dot_test(operator) < 1e-14


@all_structures
@sides
@both_dtypes
@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("rank", [1, 4, 11])  # 11 is above most rows' number of entries
def test_best_rows(structure, side, dtype, pinned, rank):
    given = oriented(structure, side, dtype)
    m, n = given.shape
    X = factors((n,), rank, dtype=dtype)[0]
    reg = np.random.default_rng(3).uniform(0.5, 2, m).astype(dtype)
    fixed = Fixed(*factors((m, n), 2, seed=4, dtype=dtype)) if pinned else None
    W, deficient = given.best_rows(X, reg, fixed)
    assert W.dtype == dtype
    assert deficient == 0
    close(W, best_rows(*dense_twin(given), X, reg, fixed), dtype, 10)


@pytest.mark.large
@pytest.mark.parametrize("structure", ["observed", "weighted", "rank-one", "dense"])
@both_dtypes
@pytest.mark.parametrize("rank", [7, 16, 24, 50, 80])
def test_best_rows_of_several_tiles(structure, dtype, rank):
    given = problem(structure, m=60, n=500, share=0.4, dtype=dtype)
    X = factors((given.shape[1],), rank, dtype=dtype)[0]
    reg = np.ones(given.shape[0], dtype)
    W, deficient = given.best_rows(X, reg)
    assert deficient == 0
    close(W, best_rows(*dense_twin(given), X, reg), dtype, 100)


def near(given, X, reg, W):
    """The problem's steps from W, and its rows' values before and after them."""
    T, C = dense_twin(given)
    gradient_ = given.row_grad(W, X) + 2 * reg[:, None] * W
    moved = W + given.near_rows(X, reg, gradient_)
    values = [
        np.sum(C * (T - V.astype(float) @ X.T) ** 2, axis=1) + reg * np.sum(V**2, axis=1)
        for V in (W, moved, best_rows(T, C, X, reg))
    ]
    return gradient_, moved, values


@pytest.mark.parametrize("structure", LISTS)
@sides
@pytest.mark.parametrize("rank", [1, 4, 11, 40])
def test_near_rows(structure, side, rank):
    given = oriented(structure, side, np.float64)
    W, X = factors(given.shape, rank)
    _, C = dense_twin(given)
    reg = np.random.default_rng(3).uniform(0.5, 2, len(W))
    start, moved, _ = near(given, X, reg, W)
    based = given.u.size > 0
    average = given.v if based else C.sum(axis=0)
    extra = given.u if based else np.zeros(len(W))
    wanted = near_rows(C, average, extra, X, reg, start, steps.STEPS, steps.ENOUGH)
    close(moved - W, wanted, np.float64, 1e4)


@pytest.mark.large
@pytest.mark.parametrize("structure", LISTS)
@sides
@both_dtypes
@pytest.mark.parametrize("reg", [0.0, 1.0])
def test_near_rows_of_several_panels_go_down_and_near_the_best(structure, side, dtype, reg):
    given = oriented(structure, side, dtype, m=200, n=300)
    W, X = factors(given.shape, 30, dtype=dtype)
    _, moved, (before, after, best) = near(given, X, np.full(len(W), reg, dtype), W)
    assert moved.dtype == dtype
    assert (after < before).all()
    assert (after - best < 0.1 * (before - best)).all()


@pytest.mark.parametrize("structure", LISTS)
def test_near_rows_leave_the_best_rows_alone(structure):
    given = problem(structure, share=0.12, m=40)  # some rows have no cell
    X, reg = factors((17,), 5)[0], np.ones(40)
    best = given.best_rows(X, reg).W
    _, moved, _ = near(given, X, reg, best)
    close(moved, best, np.float64, 100)


WIDTHS = [18, 25, 50] if numba.config.DISABLE_JIT else [*range(1, 41), 50, 56, 57, 100]


@pytest.mark.parametrize("structure", ["weighted", "rank-one"])
@both_dtypes
@pytest.mark.parametrize("rank", WIDTHS)
def test_best_rows_of_any_width(structure, dtype, rank):
    """Columns that are no whole vectors, with fewer entries a row than the rank and with more."""
    for n in (30, 90, 300):
        given = problem(structure, m=7, n=n, share=0.4, dtype=dtype)
        X = factors((n,), rank, dtype=dtype)[0]
        reg = np.random.default_rng(3).uniform(0.5, 2, 7).astype(dtype)
        fixed = Fixed(*factors(given.shape, 2, seed=4, dtype=dtype))
        W, deficient = given.best_rows(X, reg, fixed)
        assert deficient == 0
        close(W, best_rows(*dense_twin(given), X, reg, fixed), dtype, 100)


@all_structures
@sides
@pytest.mark.parametrize("rank", [3, 11])
def test_best_rows_without_ridge_have_least_norm(structure, side, rank):  # R21
    given = oriented(structure, side, np.float64)
    m, n = given.shape
    X = factors((n,), rank)[0]
    X[:, -1] = X[:, 0]  # collinear: every row's system is singular
    W, deficient = given.best_rows(X, np.zeros(m))
    close(W, best_rows(*dense_twin(given), X, np.zeros(m)), np.float64, 1e4)
    assert deficient > 0


@pytest.mark.parametrize("structure", ["dense", "observed"])
def test_a_row_without_cells_gets_zeros(structure):
    given = problem(structure, share=0.12, m=40)
    empty = given.row_counts() == 0
    assert empty.any()
    X = factors((given.shape[1],))[0]
    for reg in (0.0, 1.0):
        W, _ = given.best_rows(X, np.full(given.shape[0], reg))
        assert not W[empty].any()
        assert np.isfinite(W).all()


@pytest.mark.large
@all_structures
def test_several_chunks_and_blocks(structure):
    """Sizes above one chunk, one block and one panel, where edges can go wrong."""
    given = problem(structure, m=700, n=330, rank=2)
    W, X = factors(given.shape, 5)
    T, C = dense_twin(given)
    value, dW, dX = given.loss_grad(W, X)
    close(value, loss(T, C, W, X), np.float64)
    for got, wanted in zip((dW, dX), gradient(T, C, W, X), strict=True):
        close(got, wanted, np.float64)
    reg = np.ones(given.shape[0])
    close(given.best_rows(X, reg).W, best_rows(T, C, X, reg), np.float64, 10)
    reg = np.ones(given.shape[1])
    close(given.T.best_rows(W, reg).W, best_rows(T.T, C.T, W, reg), np.float64, 10)


@all_structures
def test_sums_and_counts(structure):
    given = problem(structure)
    T, C = dense_twin(given)
    assert given.total_weight() == pytest.approx(C.sum())
    assert given.mean() == pytest.approx((C * T).sum() / C.sum())
    assert given.row_counts().sum() == given.nnz
    if structure not in ("baseline", "rank-one"):
        np.testing.assert_array_equal(given.row_counts(), (C > 0).sum(axis=1))
        np.testing.assert_array_equal(given.T.row_counts(), (C > 0).sum(axis=0))
    np.testing.assert_array_equal(given.col_counts(), given.T.row_counts())


@pytest.mark.large
@all_structures
@both_dtypes
def test_any_number_of_threads_gives_the_same_bits(structure, dtype):
    answers = []
    for n_threads in (1, 2, 3, 8):
        given = problem(structure, n_threads, m=900, n=400, dtype=dtype)
        W, X = factors(given.shape, 6, dtype=dtype)
        reg = np.ones(given.shape[0], dtype)
        value, dW, dX = given.loss_grad(W, X)
        q = given.line(W, X, dW, dX)
        rows = given.best_rows(X, reg).W, given.T.best_rows(W, reg[:400]).W
        answers.append([np.float64(value), dW, dX, q, *rows, given.loss(W, X)])
        if structure in LISTS:
            answers[-1].append(given.near_rows(X, reg, dW))
    for other in answers[1:]:
        for got, wanted in zip(other, answers[0], strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="this is the run with the JIT off")
def test_the_same_with_the_jit_off():  # R56
    outcome = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            __file__,
            "-k",
            "not several and not threads and not cache",
        ],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout[-3000:]


@pytest.mark.skipif(not numba.config.BOUNDSCHECK, reason="only in the run that checks bounds")
def test_bounds_are_checked():
    from wlrmf.kernels import transpose

    with pytest.raises(IndexError, match="out of bounds"):
        transpose.count(np.array([0, 99], np.int32), 0, 2, np.zeros(3, np.int64))


def test_without_a_place_to_cache_kernels_compile_uncached(monkeypatch):
    from numba.core import caching

    from wlrmf.kernels._jit import kernel

    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])

    def double(x):
        return 2 * x

    assert kernel(double)(4.0) == 8.0


NARROW = """
import sys
import llvmlite.binding as llvm
bytes_, *without = sys.argv[1:]
features = llvm.get_host_cpu_features()
for name in features:
    features[name] &= not name.startswith(tuple(without))
llvm.get_host_cpu_features = lambda: features
sys.path.insert(0, "tests")
import numpy as np
import test_kernels as tests
from wlrmf.kernels import rows
assert rows.BYTES <= int(bytes_), rows.BYTES
for structure in ("observed", "rank-one", "dense"):
    for rank in (4, 11):
        tests.test_best_rows(structure, "rows", np.float64, False, rank)
for rank in (17, 18, 19, 21, 22, 24):
    tests.test_best_rows("weighted", "columns", np.float32, True, rank)
tests.test_best_rows_of_several_tiles("weighted", np.float32, 50)
tests.test_best_rows_of_several_tiles("observed", np.float64, 50)
tests.test_near_rows("rank-one", "rows", 40)
"""


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="tiles are NumPy with the JIT off")
@pytest.mark.parametrize(("bytes_", "without"), [("32", ["avx512"]), ("16", ["avx", "fma"])])
def test_tiles_of_processors_with_narrower_vectors(bytes_, without, tmp_path):
    outcome = subprocess.run(
        [sys.executable, "-c", NARROW, bytes_, *without],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},  # a cache knows this processor only
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr[-3000:]


@pytest.mark.parametrize(("share", "kind"), [(0.2, Observed), (0.6, Dense)])
def test_few_cells_of_an_array_become_a_list(share, kind):
    rng = np.random.default_rng(0)
    Y, seen = rng.standard_normal((40, 30)), rng.random((40, 30)) < share
    weights = rng.uniform(0.5, 2, Y.shape)
    given = build(read_cells(np.where(seen, Y, np.nan), weights=weights))
    assert type(given) is kind
    W, X = factors(given.shape, 3)
    close(given.loss(W, X), loss(np.where(seen, Y, 0), seen * weights, W, X), np.float64)
    masked = build(read_cells(Y, mask=seen))
    close(masked.loss(W, X), loss(Y, seen.astype(float), W, X), np.float64)


@both_dtypes
@pytest.mark.parametrize("pinned", [False, True])
def test_rows_of_the_same_weights(dtype, pinned):
    """They share a factorization; the others do not notice."""
    rng = np.random.default_rng(0)
    kinds = rng.uniform(0.5, 2, (4, 20)) * (rng.random((4, 20)) < 0.7)
    weights = kinds[np.r_[rng.integers(3, size=60), 3]]
    Y = rng.standard_normal(weights.shape)
    given = build(read_cells(Y, weights=weights, dtype=dtype))
    assert sum(map(len, given._alike)) == 60
    X = factors((20,), 5, dtype=dtype)[0]
    reg = np.full(61, 0.3, dtype)
    fixed = Fixed(*factors(given.shape, 2, seed=4, dtype=dtype)) if pinned else None
    close(given.best_rows(X, reg, fixed).W, best_rows(*dense_twin(given), X, reg, fixed), dtype, 10)
    reg = rng.uniform(0.5, 2, 61).astype(dtype)  # alike no more
    close(given.best_rows(X, reg, fixed).W, best_rows(*dense_twin(given), X, reg, fixed), dtype, 10)


@pytest.mark.parametrize("structure", ["observed", "weighted", "rank-one"])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_transpose_is_scipys(structure, n_threads):
    given = problem(structure, n_threads, m=900, n=400)
    assert len(given._edges) > 2
    for values, turned in ((given.y, given.T.y), (given.c, given.T.c)):
        if values.size:
            wanted = given._csr(values).tocsc()
            np.testing.assert_array_equal(given.T.indptr, wanted.indptr)
            np.testing.assert_array_equal(given.T.indices, wanted.indices)
            np.testing.assert_array_equal(turned, wanted.data)
    assert given.T.T is given


KERNEL_OF_A_TUPLE = """
from typing import NamedTuple
from wlrmf.kernels._jit import kernel

class {name}(NamedTuple):
    x: float

@kernel
def double(pair):
    return 2 * pair.x
"""


def test_a_cache_of_types_that_are_gone_is_renewed(tmp_path):
    """After an upgrade the types that a cached kernel took may have other names."""
    if numba.config.DISABLE_JIT:
        pytest.skip("nothing is cached without the JIT")
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parent.parent)]),
    }
    for name, again in (("Old", False), ("New", False), ("New", True)):
        if not again:
            (tmp_path / "tuples.py").write_text(KERNEL_OF_A_TUPLE.format(name=name))
        code = f"import tuples; print(tuples.double(tuples.{name}(1.5)), tuples.double.stats)"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("3.0")
        assert ("cache_misses=Counter()" in done.stdout) == again
