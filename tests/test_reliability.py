"""Bad input, odd input and wrong use, one test an item of the list in benchmarks/reliability.md.

The items that other files hold carry their numbers there; tests/test_house.py counts them.
"""

import hashlib
import os
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from draws import FEW, ITERATIVE, SPARSE, backwards, fit, judged, same
from naive import best_rows

import wlrmf
from wlrmf import Status, Stop
from wlrmf.kernels import chunks
from wlrmf.validation import read_cells

solvers = pytest.mark.parametrize("solver", sorted(ITERATIVE))


@pytest.fixture
def Y():
    return np.random.default_rng(0).standard_normal((6, 5))


@pytest.fixture
def S(Y):
    return sp.csr_array(np.where(np.random.default_rng(1).random(Y.shape) < 0.6, Y, 0))


def refused(kind, message, *args, **options):
    with pytest.raises(kind, match=message):
        wlrmf.fit(*args, **({"rank": 1, "stop": FEW} | options))


class TestShapesAndTypes:
    @solvers
    @pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
    @pytest.mark.parametrize("bias", [False, True])
    def test_single_rows_and_columns(self, solver, shape, bias):  # R02
        table = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
        for options in ({}, {"weights": np.full(shape, 2.0)}):
            model = fit({"Y": table} | options, rank=1, solver=ITERATIVE[solver], bias=bias)
            np.testing.assert_allclose(model.reconstruct(), table, atol=1e-6)

    def test_sparse_integers_beyond_the_digits_of_a_float(self):  # R05
        wide = sp.coo_array((np.array([2**63, 1], np.uint64), ([0, 1], [0, 1])), shape=(2, 2))
        with pytest.warns(wlrmf.DataWarning, match=r"`Y` has integers beyond 2\*\*53"):
            read_cells(wide)
        long = np.array([[np.longdouble("1e400"), 1], [2, 3]])
        if np.isfinite(long[0, 0]):  # where long doubles are longer
            refused(ValueError, r"Y\[0, 0\] is 1e\+400, which overflows float64; multiply", long)

    def test_losses_of_float32_are_summed_in_float64(self):  # R06
        table = np.full((300, 300), 1 / 3, np.float32)
        table[0, 0] = 4e3  # in float32 the other cells would be lost beside its square
        zero = np.zeros((300, 1), np.float32)
        built = judged({"Y": table})
        wanted = np.sum(table.astype(np.float64) ** 2)
        assert built.loss(zero, zero) == pytest.approx(wanted, rel=1e-9)

    @pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "memmap", "bytes"])
    def test_memory_of_others_is_only_read(self, kind, Y, tmp_path):  # R08
        if kind == "memmap":
            Y.tofile(tmp_path / "Y")
            given = np.memmap(tmp_path / "Y", np.float64, "r", shape=Y.shape)
            memory = given
        elif kind == "bytes":
            given = memory = np.frombuffer(Y.tobytes()).reshape(Y.shape)
        else:
            module = pytest.importorskip({"arrow": "pyarrow"}.get(kind, kind))
            columns = {str(j): Y[:, j].copy() for j in range(5)}
            given = (module.table if kind == "arrow" else module.DataFrame)(columns)
            memory = np.concatenate([np.asarray(given[name]) for name in columns])
        before = hashlib.sha256(memory.tobytes()).hexdigest()
        options = {"rank": 2, "bias": True, "reg": 0.1, "stop": FEW}
        same(wlrmf.fit(given, **options), wlrmf.fit(Y, **options))
        assert hashlib.sha256(memory.tobytes()).hexdigest() == before

    def test_whatever_calls_itself_an_array(self, Y):  # R10
        class Own(np.ndarray):
            pass

        class Like:
            def __array__(self, dtype=None, copy=None):
                return Y

        wanted = wlrmf.fit(Y, rank=2, stop=FEW)
        for given in (Y.view(Own), Like(), Y.view(np.recarray), np.ma.array(Y), Y.astype(object)):
            same(wlrmf.fit(given, rank=2, stop=FEW), wanted)
        hidden = np.ma.array(np.arange(6).reshape(3, 2), mask=[[0, 1], [0, 0], [1, 0]])
        shown = np.where(np.ma.getmaskarray(hidden), np.nan, hidden.data)
        same(wlrmf.fit(hidden, rank=1, stop=FEW), wlrmf.fit(shown, rank=1, stop=FEW))

    def test_sparse_columns_of_a_frame(self):  # R11: what they do not store is their fill value
        pd = pytest.importorskip("pandas")
        frame = pd.DataFrame({"a": pd.arrays.SparseArray([0.0, 2, 0]), "b": [1.0, 2, 3]})
        same(
            wlrmf.fit(frame, rank=1, stop=FEW),
            wlrmf.fit(np.array([[0.0, 1], [2, 2], [0, 3]]), rank=1, stop=FEW),
        )
        assert wlrmf.fit(frame.set_axis(["a", "a"], axis=1), rank=1).col_names.tolist() == ["a"] * 2


class TestMissing:
    @solvers
    @pytest.mark.parametrize("bias", [False, True])
    def test_rows_and_columns_of_nothing(self, Y, solver, bias):  # R17, R28
        Y[2], Y[:, 1] = np.nan, np.nan
        zero = np.where(np.isnan(Y), 0.0, 1.0)
        options = {"rank": 2, "bias": bias, "solver": ITERATIVE[solver]}
        models = fit({"Y": Y}, **options), fit({"Y": np.nan_to_num(Y), "weights": zero}, **options)
        for model in models:
            assert (model.empty_rows.tolist(), model.empty_cols.tolist()) == ([2], [1])
            assert not model.left[2, model.layout.free_W].any()
            assert not model.right[1, model.layout.free_X].any()
            assert np.isfinite(model.reconstruct()).all()
            assert model.predict(2, 1) == pytest.approx(model.mean)
        same(*models)

    @solvers
    def test_zeros_are_fitted_by_zeros(self, solver):  # R18
        for given in (
            {"Y": np.zeros((5, 4)), "weights": np.full((5, 4), 2.0)},
            {"Y": sp.coo_array((np.zeros(3), ([0, 1, 2], [0, 1, 2])), shape=(4, 4))},
            {"Y": sp.csr_array((4, 3)), "baseline": 1.0},  # R41: with a baseline, not empty
        ):
            model = fit(given, rank=2, solver=ITERATIVE[solver])
            assert np.abs(model.reconstruct()).max() < 1e-9
            assert 0 <= model.loss < 1e-18
        constant = fit({"Y": np.full((5, 4), 7.0)}, rank=1, solver=ITERATIVE[solver], stop=None)
        np.testing.assert_allclose(constant.reconstruct(), 7, rtol=1e-6)

    def test_a_mask_that_is_true_everywhere_is_none(self, Y, S):  # R24
        for given, mask in ((Y, np.ones(Y.shape, bool)), (Y, np.ones(Y.shape)), (S, S != 0)):
            same(wlrmf.fit(given, mask, 2, stop=FEW), wlrmf.fit(given, rank=2, stop=FEW))

    def test_a_weight_that_is_no_number_is_an_error_even_where_Y_is_missing(self, Y):  # R25
        Y[2, 3] = np.nan
        for bad, name in ((np.nan, "nan"), (np.inf, "inf"), (-1.0, "-1.0")):
            weights = np.where(np.isnan(Y), bad, 1.0)
            for option in ("weights", "mask"):
                message = rf"`{option}` must be finite and not negative; {option}\[2, 3\] is {name}"
                refused(ValueError, message, Y, **{option: weights})
        refused(ValueError, "give 0 where a cell is missing", Y, weights=np.where(Y == Y, 1, Y))

    def test_mask_and_weights_together_are_their_intersection(self, Y):  # R31
        mask, weights = np.eye(6, 5) + np.eye(6, 5, k=1) > 0, np.eye(6, 5) * 2 + np.eye(6, 5, k=-1)
        both = read_cells(Y, mask, weights)
        np.testing.assert_array_equal(both.A2, mask * weights)
        same(
            wlrmf.fit(Y, mask, 1, weights=weights, stop=FEW),
            wlrmf.fit(Y, rank=1, weights=mask * weights, stop=FEW),
        )


def broken(matrix, **changes):
    for name, value in changes.items():
        setattr(matrix, name, value)
    return matrix


def lists(S, columns, values):
    lil = sp.lil_array(S)
    lil.rows[0], lil.data[0] = columns, values
    return lil


def keys(S, key):
    dok = sp.dok_array(S)
    dok._dict[key] = 1.0
    return dok


LIES = {  # R35: what is done to a matrix, and what is said of it
    "csc beyond": (lambda S: broken(S.tocsc(), indices=S.tocsc().indices + 9), "to 1[0-9]; its"),
    "bsr beyond": (lambda S: broken(S.tobsr(), indices=S.tobsr().indices + 9), "to 1[0-9]; its"),
    "float indices": (lambda S: broken(S, indices=S.indices * 1.0), "vector of integers as its in"),
    "float indptr": (
        lambda S: broken(S, indptr=S.indptr * 1.0),
        "vector of integers as its indptr",
    ),
    "no indptr": (lambda S: broken(S, indptr=S.indptr[:0]), "malformed indptr"),
    "huge indptr": (lambda S: broken(S, indptr=np.array([0] + [2**62] * 6)), "indptr ends at"),
    "2-d indices": (lambda S: broken(S, indices=S.indices[None]), "vector of integers"),
    "2-d values": (lambda S: broken(S, data=S.data[:, None]), "values in a 1-d array"),
    "list of values": (lambda S: broken(S, data=S.data.tolist()), "values in a 1-d array"),
    "narrower": (lambda S: broken(S, _shape=(6, 3)), r"shape \(6, 3\) allows 0 to 2"),
    "shorter": (lambda S: broken(S, _shape=(4, 5)), "malformed indptr: it must rise from 0 in 4"),
    "coo short": (lambda S: broken(S.tocoo(), data=S.data[:-1]), "values and [0-9]+ row indices"),
    "coo float": (
        lambda S: broken(S.tocoo(), coords=tuple(c * 1.0 for c in S.tocoo().coords)),
        "vector of integers as its row indices",
    ),
    "lil negative": (lambda S: lists(S, [-1], [1.0]), "column indices from -1"),
    "lil beyond": (lambda S: lists(S, [99], [1.0]), "to 99; its shape"),
    "lil uneven": (lambda S: lists(S, [1, 2], [1.0]), "as many column indices as values"),
    "lil float": (lambda S: lists(S, [1.5], [1.0]), "vector of integers"),
    "dok negative": (lambda S: keys(S, (-1, 0)), "row indices from -1"),
    "dok beyond": (lambda S: keys(S, (0, 99)), "column indices from 0 to 99"),
    "dia short": (lambda S: broken(S.todia(), offsets=S.todia().offsets[1:]), "one offset a diag"),
    "dia twice": (lambda S: broken(S.todia(), offsets=S.todia().offsets * 0), "none twice"),
}


class TestSparse:
    @pytest.mark.parametrize("lie", LIES)
    def test_malformed_matrices_never_reach_scipy_or_a_kernel(self, S, lie):  # R35
        change, message = LIES[lie]
        for name in ("Y", "weights"):
            given = {"Y": S.copy()} | {name: change(S.copy())}
            refused((ValueError, TypeError), f"`{name}`.*{message}", **given)

    def test_flags_that_lie(self, S):  # R34
        wanted = wlrmf.fit(S, rank=2, reg=0.1, stop=FEW)
        for form in ("csr", "csc"):
            turned = S.asformat(form).copy()
            assert turned.has_sorted_indices  # which scipy keeps in mind
            assert turned.has_canonical_format
            turned = backwards(turned)
            turned.has_sorted_indices = True
            same(wlrmf.fit(turned, rank=2, reg=0.1, stop=FEW), wanted)
        twice = sp.coo_array(([1.0, 2, 3], ([0, 0, 1], [1, 1, 2])), shape=(3, 3))
        twice.has_canonical_format = True
        refused(ValueError, "1 duplicate entries", twice)

    def test_duplicates_of_formats_that_scipy_does_not_sum(self):  # R33
        csc = sp.csc_array((np.ones(3), [1, 1, 0], [0, 2, 3, 3, 3]), shape=(4, 4))
        for given in (csc, lists(sp.eye_array(6, 5), [1, 1], [1.0, 2.0])):
            refused(ValueError, "1 duplicate entries", given)

    def test_shapes_beyond_memory_are_refused_before_anything_is_made(self):  # R38
        for shape in ((2, 2**41), (2**41, 2), (2**33, 2**33)):
            wide = sp.coo_array(([1.0, 2.0], (np.array([0, 1]), np.array([0, 1]))), shape=shape)
            tracemalloc.start()
            refused(MemoryError, r"`Y` of shape .* needs .* GiB at least.*are available", wide)
            assert tracemalloc.get_traced_memory()[1] < 2**20
            tracemalloc.stop()

    @pytest.mark.large
    def test_one_row_of_very_many_entries(self):  # R42
        long, short = 10**7, 10**6
        indptr = np.concatenate(([0], np.arange(long, long + short + 1)))
        edges = chunks.even_edges(indptr + np.arange(len(indptr)), 1 << 14)
        work = np.diff(indptr[edges])
        assert work[0] == long  # alone in its chunk, and the others are even
        assert work[1:].max() < 2 * work[1:].mean()
        n = 50_000
        rows = np.concatenate((np.zeros(n, int), np.arange(1, n // 10)))
        cols = np.concatenate((np.arange(n), np.arange(1, n // 10)))
        tall = sp.coo_array((np.ones(len(rows)), (rows, cols)), shape=(n // 10, n))
        tracemalloc.start()
        model = wlrmf.fit(tall, rank=2, reg=0.1, stop=Stop(max_iter=2))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert np.isfinite(model.value)
        assert peak < 1000 * n  # bytes: no row has arrays of its own


class TestUse:
    @pytest.mark.parametrize("rank", [2.0, np.float64(2), np.array([2]), np.inf, 10**9])
    def test_ranks_that_are_no_numbers_of_factors(self, Y, rank):  # R44
        refused((TypeError, ValueError), "`rank` must be an int of at least 1", Y, rank=rank)

    def test_a_ridge_of_any_size(self, Y):  # R45
        for reg in (0.0, 5e-324, 1e-300, 1e-12, 1e12, 1e149):
            for dtype, largest in ((np.float64, 1e149), (np.float32, 1e30)):
                if reg <= largest:
                    model = fit({"Y": Y, "dtype": dtype}, rank=2, reg=reg, solver="als", stop=None)
                    assert model.success
                    assert np.isfinite(model.value)
                else:
                    refused(ValueError, "`reg` must be at most", Y, reg=reg, dtype=dtype)
        for bad in (1j, np.array(1.0), (np.full(6, np.nan), 1.0), (1.0, np.full(5, np.inf))):
            refused((TypeError, ValueError), "`reg", Y, reg=bad)

    def test_tolerances_of_0_end_where_rounding_does(self, Y):  # R47
        model = wlrmf.fit(Y, rank=2, solver="als", stop=Stop(gtol=0, ftol=0, max_iter=500))
        assert model.status is Status.PRECISION
        for name in ("gtol", "ftol", "max_seconds"):
            for bad in (np.nan, np.inf, -1.0):
                with pytest.raises(ValueError, match=f"`{name}` must be a finite number"):
                    Stop(**{name: bad})

    @pytest.mark.parametrize("seed", ["x", 2.5, True, np.random, [1, 2]])
    def test_seeds_that_are_none(self, Y, seed):  # R48
        refused(TypeError, "`seed` must be an int of at least 0; got", Y, solver="als", seed=seed)

    def test_starts_that_are_only_read_or_too_large(self, Y):  # R49
        start = np.ones((2, 6)), np.eye(2, 5)
        for factor in start:
            factor.flags.writeable = False
        wlrmf.fit(Y, rank=2, solver="als", start=start, stop=FEW)
        large = start[0] * 1e100, start[1]
        refused(ValueError, r"`start\[0\]` is 1e\+100; float64 can work", Y, rank=2, start=large)
        single = {"rank": 2, "dtype": np.float32, "start": (start[0] * 1e40, start[1])}
        refused(ValueError, r"`start\[0\]` is inf; float32 can", Y, **single)
        both = tuple(1e80 * factor for factor in start)
        refused(ValueError, "`start` has too large factors: F is inf there", Y, rank=2, start=both)
        for pins in ({"pinned_W": np.full(6, 1e100)}, {"pinned_X": np.full(5, 1e100)}):
            refused(ValueError, f"`{next(iter(pins))}` is 1e\\+100; float64 can work", Y, **pins)

    def test_transform_of_nothing_and_of_the_wrong_thing(self, Y):  # R50
        model = wlrmf.fit(Y, rank=2, reg=0.1)
        for empty in (np.ones((0, 5)), sp.csr_array((0, 5))):
            with pytest.raises(ValueError, match=r"shape \(0, 5\); at least 1 row"):
                model.transform(empty)
        with pytest.raises(ValueError, match="2-d"):
            model.transform(np.ones(5))
        with pytest.raises(ValueError, match="Y_new must have 5 columns"):
            model.transform(sp.coo_array(np.ones((2, 4))))
        assert not model.transform(np.full((2, 5), np.nan)).any()

    @solvers
    def test_a_model_holds_no_nan_whatever_the_solver_meets(self, Y, solver, monkeypatch):  # R54
        from wlrmf.objective import Objective

        asked, honest = [], Objective.value_and_grad

        def breaks(self, W, X):
            asked.append(1)
            value, dW, dX = honest(self, W, X)
            return (np.nan, dW * np.nan, dX) if len(asked) == 4 else (value, dW, dX)

        monkeypatch.setattr(Objective, "value_and_grad", breaks)
        weights = np.random.default_rng(2).uniform(0.5, 2, Y.shape)
        start = np.ones((2, 6)), np.eye(2, 5)
        options = {"weights": weights, "solver": ITERATIVE[solver], "start": start, "reg": 0.1}
        with pytest.warns(wlrmf.ConvergenceWarning, match="not finite|no step"):
            model = wlrmf.fit(Y, rank=2, stop=Stop(gtol=0, ftol=0, max_iter=20), **options)
        # SciPy's loop tries another step and does not tell why
        assert model.status is (Status.STUCK if solver == "lbfgs" else Status.NOT_FINITE)
        assert not model.success
        assert np.isfinite(model.left).all()
        assert np.isfinite(model.right).all()
        assert np.isfinite(model.value)


class TestDeterminism:
    @pytest.mark.parametrize("structure", ["dense", *SPARSE])
    def test_rows_do_not_depend_on_the_chunk_they_are_in(self, structure, monkeypatch):  # R55
        from cases import factors, problem

        import wlrmf.problem.dense as dense
        import wlrmf.problem.observed as observed

        answers = []
        for size in (1, 50, 1 << 20):
            monkeypatch.setattr(observed, "CHUNK", size)
            monkeypatch.setattr(dense, "CHUNK", size)
            given = problem(structure, n_threads=2, m=200, n=60)
            W, X = factors(given.shape, 5)
            reg = np.full(200, 0.1)
            assert size > 1 or len(chunks.even_edges(np.arange(201), size)) == chunks.MAX_CHUNKS + 1
            answers.append((given.best_rows(X, reg).W, given.loss_grad(W, X)[1], given.loss(W, X)))
        for W, dW, value in answers[1:]:
            np.testing.assert_array_equal(W, answers[0][0])
            np.testing.assert_array_equal(dW, answers[0][1])
            assert value == pytest.approx(answers[0][2], rel=1e-13)

    def test_another_process_gives_the_same_bits_and_the_jit_off_near_ones(self, tmp_path):  # R56
        script = tmp_path / "fit.py"
        script.write_text(
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "import wlrmf; from cases import arguments\n"
            "for structure in ('dense', 'weighted'):\n"
            "    given, _ = arguments(structure, m=6, n=5)\n"
            "    model = wlrmf.fit(**given, rank=2, reg=.5, stop=wlrmf.Stop(max_iter=2), seed=3)\n"
            "    print(model.left.tobytes().hex())\n"
        )
        root = Path(__file__).parent

        def run(**environment):
            command = [sys.executable, str(script), str(root)]
            outcome = subprocess.run(
                command,
                env=os.environ | environment | {"PYTHONPATH": str(root.parent)},
                capture_output=True,
                text=True,
                check=True,
                timeout=300,
            )
            return [np.frombuffer(bytes.fromhex(line)) for line in outcome.stdout.split()]

        wanted, other = run(), run(PYTHONHASHSEED="7")
        slow = run(NUMBA_DISABLE_JIT="1")
        assert len(wanted) == 2
        for a, b, c in zip(wanted, other, slow, strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_allclose(c, a, rtol=1e-9, atol=1e-12)


def test_duplicate_rows_and_collinear_factors_are_solved_and_counted(Y):  # R21
    twins = np.vstack([Y, Y])
    twins[0, 0] = np.nan
    collinear = np.ones((3, 12)), np.ones((3, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wlrmf.ConvergenceWarning)
        model = wlrmf.fit(twins, rank=3, start=collinear, solver="als", stop=Stop(max_iter=1))
    assert model.n_regularized == 12  # every row: the columns of the start are one
    seen = (~np.isnan(twins)).astype(float)
    wanted = best_rows(np.nan_to_num(twins), seen, model.right, np.zeros(12))
    np.testing.assert_allclose(model.left, wanted, atol=1e-10)
    for solver in ITERATIVE.values():
        assert np.isfinite(fit({"Y": twins}, rank=3, solver=solver).left).all()
