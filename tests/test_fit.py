"""The face: data of every kind, ridges, biases, pinned rows, starts, and what comes back."""

import logging
import threading

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from cases import STRUCTURES, arguments
from naive import best_rows, dense_twin

import wlrmf
from wlrmf import Stop
from wlrmf.problem import build
from wlrmf.validation import read_cells

FEW = Stop(max_iter=12, gtol=0, ftol=0)
structures = pytest.mark.parametrize("structure", STRUCTURES)


@pytest.fixture
def table():
    """A planted rank-2 table with holes, NaN where missing."""
    rng = np.random.default_rng(5)
    truth = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 20))
    return np.where(rng.random(truth.shape) < 0.7, truth, np.nan), truth


def same(a, b):
    np.testing.assert_array_equal(a.left, b.left)
    np.testing.assert_array_equal(a.right, b.right)


class TestData:
    """One answer, to the bit, however the data are handed over."""

    def test_mask_nan_masked_array_and_weights_say_missing_alike(self, table):  # R10, R13, R26
        Y, _ = table
        seen = ~np.isnan(Y)
        rubbish = np.where(seen, Y, 1e9)
        wanted = wlrmf.fit(Y, rank=2, stop=FEW)
        same(wlrmf.fit(rubbish, seen, 2, stop=FEW), wanted)
        same(wlrmf.fit(rubbish, seen.astype(int), 2, stop=FEW), wanted)
        same(wlrmf.fit(np.ma.array(rubbish, mask=~seen), rank=2, stop=FEW), wanted)
        same(wlrmf.fit(rubbish, rank=2, weights=seen.astype(float), stop=FEW), wanted)
        same(wlrmf.fit(Y, rank=2, weights=seen.astype(float), stop=FEW), wanted)
        same(wlrmf.fit(np.where(seen, Y, np.inf), seen, 2, stop=FEW), wanted)

    def test_frames(self, table):  # R11
        Y, _ = table
        wanted = wlrmf.fit(Y, rank=2, stop=FEW)
        frame = pd.DataFrame(Y)
        same(wlrmf.fit(frame, rank=2, stop=FEW), wanted)
        same(wlrmf.fit(frame.astype("Float64"), rank=2, stop=FEW), wanted)
        same(wlrmf.fit(frame.set_axis(["a"] * 20, axis=1), rank=2, stop=FEW), wanted)
        columns = {str(j): [None if np.isnan(y) else y for y in Y[:, j]] for j in range(20)}
        same(wlrmf.fit(pl.DataFrame(columns), rank=2, stop=FEW), wanted)

    def test_integers_with_nulls(self):
        rows = [[1, 2, 3], [2, 4, None], [3, 6, 9], [4, None, 12]]
        wanted = wlrmf.fit(np.array(rows, float), rank=1, stop=FEW)
        same(wlrmf.fit(pd.DataFrame(rows).astype("Int64"), rank=1, stop=FEW), wanted)
        same(wlrmf.fit(pl.DataFrame(rows, orient="row"), rank=1, stop=FEW), wanted)
        same(wlrmf.fit(rows, rank=1, stop=FEW), wanted)

    @pytest.mark.parametrize(
        "layout",
        [
            np.asfortranarray,
            lambda Y: np.repeat(np.repeat(Y, 2, axis=0), 3, axis=1)[::2, ::3],
            lambda Y: Y[::-1, ::-1].copy()[::-1, ::-1],
            lambda Y: Y.astype(">f8"),
            np.matrix,
            lambda Y: (
                np.frombuffer(b"x" + Y.tobytes(), np.uint8)[1:].view(Y.dtype).reshape(Y.shape)
            ),
        ],
        ids=["fortran", "strided", "negative", "big-endian", "matrix", "unaligned"],
    )
    @pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
    def test_layouts(self, table, layout):  # R07, R08, R09, R10
        Y, _ = table
        given = layout(Y)
        given.flags.writeable = False
        weights = layout(np.where(np.isnan(Y), 0.0, 2.0))
        same(
            wlrmf.fit(given, rank=2, weights=weights, stop=FEW),
            wlrmf.fit(Y, rank=2, weights=np.where(np.isnan(Y), 0.0, 2.0), stop=FEW),
        )

    def test_broadcast_view(self):  # R07
        row = np.arange(1.0, 6.0)
        model = wlrmf.fit(np.broadcast_to(row, (7, 5)), rank=1)
        np.testing.assert_allclose(model.reconstruct(), np.tile(row, (7, 1)))

    @pytest.mark.parametrize("kind", [bool, np.int8, np.uint64, np.float16, np.longdouble])
    def test_numeric_types(self, kind):  # R05
        Y = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 1], [0, 0, 1]])
        model = wlrmf.fit(Y.astype(kind), rank=2)
        assert model.W.dtype == np.float64
        same(model, wlrmf.fit(Y, rank=2))

    @pytest.mark.parametrize("form", ["coo", "csr", "csc", "bsr", "lil", "dok", "dia"])
    @pytest.mark.parametrize("container", ["array", "matrix"])
    def test_sparse_formats(self, table, form, container):  # R40
        Y, _ = table
        row, col = np.nonzero(~np.isnan(Y))
        coo = (sp.coo_array if container == "array" else sp.coo_matrix)(
            (Y[row, col], (row, col)), shape=Y.shape
        )
        given = coo.asformat(form)
        if form in ("bsr", "dia"):  # these store zeros, which would be observed
            given = given.tocsr()
            given.eliminate_zeros()
        same(wlrmf.fit(given, rank=2, stop=FEW), wlrmf.fit(coo, rank=2, stop=FEW))

    def test_unsorted_indices_and_mixed_index_types(self, table):  # R34, R36
        Y, _ = table
        row, col = np.nonzero(~np.isnan(Y))
        csr = sp.csr_array((Y[row, col], (row, col)), shape=Y.shape)
        mixed = csr.copy()
        for i in range(30):
            span = slice(mixed.indptr[i], mixed.indptr[i + 1])
            mixed.indices[span] = mixed.indices[span][::-1].copy()
            mixed.data[span] = mixed.data[span][::-1].copy()
        mixed.has_sorted_indices = False
        mixed.indices, mixed.indptr = mixed.indices.astype(np.int64), mixed.indptr.astype(np.int64)
        before = mixed.indices.copy()
        same(wlrmf.fit(mixed, rank=2, stop=FEW), wlrmf.fit(csr, rank=2, stop=FEW))
        np.testing.assert_array_equal(mixed.indices, before)

    def test_a_stored_zero_is_observed(self):  # R39
        stored = sp.coo_array(([1.0, 0.0, 2.0], ([0, 0, 1], [0, 1, 0])), shape=(2, 2))
        model = wlrmf.fit(stored, rank=1, reg=0.01)
        assert abs(model.predict(0, 1)) < 0.02
        assert model.left.shape == (2, 1)

    def test_the_input_is_never_written_to(self, table):  # R08
        Y, _ = table
        weights, start = np.ones_like(Y), (np.ones((2, 30)), np.ones((2, 20)))
        copies = [a.copy() for a in (Y, weights, *start)]
        wlrmf.fit(Y, rank=2, weights=weights, start=start, bias=True, stop=FEW)
        for now, before in zip((Y, weights, *start), copies, strict=True):
            np.testing.assert_array_equal(now, before)

    def test_sparse_and_dense_agree(self, table):
        Y, _ = table
        row, col = np.nonzero(~np.isnan(Y))
        weights = np.random.default_rng(0).uniform(0.5, 2, Y.shape)
        sparse = [sp.coo_array((a[row, col], (row, col)), shape=Y.shape) for a in (Y, weights)]
        dense = wlrmf.fit(Y, rank=2, weights=weights, reg=0.1, bias=True)
        for given in ({"weights": sparse[1]}, {"weights": weights}, {"mask": np.sqrt(weights)}):
            model = wlrmf.fit(sparse[0], rank=2, reg=0.1, bias=True, **given)
            assert model.value == pytest.approx(dense.value, rel=1e-7)


class TestLaws:
    """Symmetries of the objective."""

    @structures
    @pytest.mark.parametrize("solver", ["gd", "scaled-gd", "lbfgs"])  # als begins with the rows
    def test_exchanging_rows_and_columns_exchanges_the_factors(self, structure, solver):
        given, _ = arguments(structure)
        other = {k: v.T if k in ("Y", "weights") else v for k, v in given.items()}
        if structure == "rank-one":
            other["baseline"] = given["baseline"][::-1]
        rng = np.random.default_rng(0)
        W, X = rng.standard_normal((2, 23)), rng.standard_normal((2, 17))
        options = {"rank": 2, "solver": solver, "stop": FEW}
        a = wlrmf.fit(**given, start=(W, X), reg=(1.0, 2.0), **options)
        b = wlrmf.fit(**other, start=(X, W), reg=(2.0, 1.0), **options)
        assert a.trace.value == pytest.approx(b.trace.value, rel=1e-6)
        np.testing.assert_allclose(a.state.W, b.state.X, atol=1e-5)
        np.testing.assert_allclose(a.state.X, b.state.W, atol=1e-5)

    @pytest.mark.parametrize("solver", ["als", "gd", "lbfgs"])
    def test_a_weight_of_two_is_the_row_twice(self, table, solver):
        Y, _ = table
        double = np.ones_like(Y)
        double[3] = 2
        twice = np.vstack([Y, Y[3:4]])
        stop = Stop(gtol=1e-9, ftol=0, max_iter=5000)
        once = {"rank": 2, "solver": solver, "stop": stop, "reg": (0.0, 0.0)}
        a = wlrmf.fit(Y + 0.1, weights=double, **once)
        b = wlrmf.fit(twice + 0.1, **once)
        assert a.loss == pytest.approx(b.loss, rel=1e-6, abs=1e-9)

    @structures
    def test_scaling_the_weights_and_the_ridge_leaves_the_factors(self, structure):  # R30
        given, _ = arguments(structure)
        scaled = dict(given)
        if structure == "complete":
            scaled["weights"] = np.full(given["Y"].shape, 4.0)
        elif structure == "observed":
            scaled["weights"] = given["Y"] * 0
            scaled["weights"].data[:] = 4.0
        else:
            scaled["weights"] = 4.0 * given["weights"]
        if structure == "baseline":
            scaled["baseline"] = 4 * given["baseline"]
        if structure == "rank-one":
            scaled["baseline"] = (4 * given["baseline"][0], given["baseline"][1])
        options = {"rank": 2, "solver": "als", "stop": FEW}
        a, b = wlrmf.fit(**given, reg=0.5, **options), wlrmf.fit(**scaled, reg=2.0, **options)
        # the random start has the same scale; only rounding differs
        np.testing.assert_allclose(b.reconstruct(), a.reconstruct(), rtol=1e-6, atol=1e-8)
        assert b.value == pytest.approx(4 * a.value)

    def test_full_rank_without_ridge_reproduces_the_data(self):
        Y = np.random.default_rng(0).standard_normal((6, 9))
        for solver in ("svd", "als"):
            model = wlrmf.fit(Y, rank=6, solver=solver, stop=Stop(gtol=1e-12, ftol=0))
            np.testing.assert_allclose(model.reconstruct(), Y, atol=1e-6)


class TestRidge:
    """Number, pair, vectors, scaled by counts."""

    def test_value_is_loss_and_ridge(self, table):
        Y, _ = table
        rows, cols = np.linspace(0.1, 1, 30), np.linspace(1, 2, 20)
        for reg in (0.5, (0.5, 2.0), (rows, cols), (rows, 1.0)):
            model = wlrmf.fit(Y, rank=2, reg=reg)
            pair = reg if isinstance(reg, tuple) else (reg, reg)
            ridge = np.sum(pair[0] * model.W**2) + np.sum(pair[1] * model.X**2)
            loss = np.nansum((Y - model.W.T @ model.X) ** 2)
            assert model.loss == pytest.approx(loss)
            assert model.value == pytest.approx(loss + ridge)

    def test_count_scaling_is_the_vectors_of_counts(self, table):
        Y, _ = table
        seen = ~np.isnan(Y)
        scaled = wlrmf.fit(Y, rank=2, reg=(0.1, 0.2), reg_scaling="count", stop=FEW)
        vectors = wlrmf.fit(Y, rank=2, reg=(0.1 * seen.sum(1), 0.2 * seen.sum(0)), stop=FEW)
        same(scaled, vectors)

    def test_one_sided_ridge_warns(self, table):
        with pytest.warns(wlrmf.DataWarning, match="a ridge on one factor alone has no effect"):
            wlrmf.fit(table[0], rank=2, reg=(1.0, 0.0), stop=FEW)


class TestBiasAndPinned:
    """One mechanism: columns of ones, and given columns."""

    def test_rank_zero_is_the_additive_model(self):
        rng = np.random.default_rng(0)
        Y = 3 + rng.standard_normal((12, 1)) + rng.standard_normal((1, 9))
        Y[rng.random(Y.shape) < 0.3] = np.nan
        weights = rng.uniform(0.5, 2, Y.shape)
        model = wlrmf.fit(Y, rank=0, bias=True, weights=weights, stop=Stop(gtol=1e-12, ftol=0))
        assert model.W.shape == (0, 12)
        seen = ~np.isnan(Y)
        np.testing.assert_allclose(model.reconstruct()[seen], Y[seen], atol=1e-8)
        assert model.mean == pytest.approx(np.average(Y[seen], weights=weights[seen]))
        predicted = model.mean + model.row_bias[:, None] + model.col_bias
        np.testing.assert_allclose(model.reconstruct(), predicted)

    @structures
    def test_prediction_is_the_sum_of_its_parts(self, structure):
        given, _ = arguments(structure)
        rng = np.random.default_rng(0)
        features, traits = rng.standard_normal((2, 23)), rng.standard_normal((1, 17))
        model = wlrmf.fit(
            **given, rank=2, reg=0.3, bias=True, pinned_W=features, pinned_X=traits, stop=FEW
        )
        assert model.X_coef.shape == (2, 17)
        assert model.W_coef.shape == (1, 23)
        wanted = (
            model.mean
            + model.row_bias[:, None]
            + model.col_bias
            + model.W.T @ model.X
            + features.T @ model.X_coef
            + model.W_coef.T @ traits
        )
        np.testing.assert_allclose(model.reconstruct(), wanted)
        free = [model.W, model.row_bias, model.W_coef], [model.X, model.col_bias, model.X_coef]
        ridge = 0.3 * sum(np.sum(np.square(part)) for side in free for part in side)
        assert model.value - model.loss == pytest.approx(ridge)

    @pytest.mark.parametrize("solver", ["als", "gd", "scaled-gd", "lbfgs"])
    def test_pinned_rows_never_move(self, table, solver):
        Y, _ = table
        given = np.random.default_rng(0).standard_normal((2, 30))
        model = wlrmf.fit(Y, rank=1, pinned_W=given, bias=True, reg=0.1, solver=solver, stop=FEW)
        np.testing.assert_array_equal(model.left[:, model.layout.shared.stop :][:, :2].T, given)
        np.testing.assert_array_equal(model.left[:, -2:], 1)
        assert np.ptp(model.right[:, -1]) == 0

    def test_side_information_that_explains_the_data_is_found(self):
        rng = np.random.default_rng(1)
        features, coef = rng.standard_normal((3, 40)), rng.standard_normal((3, 15))
        Y = features.T @ coef
        Y[rng.random(Y.shape) < 0.4] = np.nan
        model = wlrmf.fit(Y, rank=0, pinned_W=features)
        np.testing.assert_allclose(model.X_coef, coef, atol=1e-6)


class TestFoldIn:
    """New rows by the exact row solve."""

    @structures
    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize("reg_scaling", ["none", "count"])
    def test_a_training_row_gives_the_fitted_row(self, structure, bias, reg_scaling):
        given, _ = arguments(structure)
        options = {"rank": 2, "reg": 0.4, "bias": bias, "reg_scaling": reg_scaling}
        model = wlrmf.fit(**given, **options, stop=FEW)
        new = {k: v for k, v in given.items() if k in ("Y", "weights")}
        if structure == "rank-one":
            new["baseline"] = given["baseline"][0]
        folded = model.fold_in(new.pop("Y"), **new)
        tolerance = {"rtol": 1e-8, "atol": 1e-9}
        np.testing.assert_allclose(folded.left, model.left, **tolerance)
        np.testing.assert_allclose(folded.row_bias, model.row_bias, **tolerance)

    def test_is_the_row_solve_and_takes_a_mask(self, table):
        Y, truth = table
        model = wlrmf.fit(Y, rank=2, reg=0.2)
        new, mask = truth[:4] + 1, np.random.default_rng(0).random((4, 20)) < 0.5
        got = model.transform(new, mask)
        wanted = best_rows(new, mask.astype(float), model.right, np.full(4, 0.2)).T
        np.testing.assert_allclose(got, wanted)
        assert model.transform(np.full((1, 20), np.nan)).tolist() == [[0.0], [0.0]]
        strong = model.transform(new, mask, reg=np.full(4, 1e6))
        assert np.abs(strong).max() < 1e-3

    def test_what_it_cannot_guess_it_asks_for(self, table):  # R50
        Y, _ = table
        with pytest.raises(ValueError, match=r"20 columns; got shape \(20, 30\).*Y_new\.T"):
            wlrmf.fit(Y, rank=2, stop=FEW).transform(Y.T)
        vectors = wlrmf.fit(Y, rank=2, reg=(np.ones(30), 1.0), stop=FEW)
        with pytest.raises(ValueError, match="`reg` is needed"):
            vectors.transform(Y)
        pinned = wlrmf.fit(Y, rank=1, pinned_W=np.arange(30.0), stop=FEW, reg=0.1)
        with pytest.raises(ValueError, match="`pinned_W` must have 1 rows"):
            pinned.transform(Y)
        given, _ = arguments("rank-one")
        with pytest.raises(ValueError, match="`baseline` is needed"):
            wlrmf.fit(**given, rank=2, stop=FEW).transform(given["Y"])


class TestModel:
    """What can be asked of the answer."""

    def test_predict(self, table):
        model = wlrmf.fit(table[0], rank=2, bias=True, reg=0.1)
        full = model.reconstruct()
        assert model.predict(3, 4) == pytest.approx(full[3, 4])
        np.testing.assert_allclose(model.predict([[0], [1]], [2, 3]), full[:2, 2:4])
        assert model.predict([], []).shape == (0,)
        with pytest.raises(IndexError, match=r"`i` must be in \[0, 29\]; got 30"):
            model.predict(30, 0)
        with pytest.raises(IndexError, match=r"`j`.*got -1"):
            model.predict(0, -1)
        with pytest.raises(TypeError, match="`i` must be an int"):
            model.predict(1.5, 0)

    @structures
    def test_save_and_load(self, structure, tmp_path):
        given, _ = arguments(structure)
        model = wlrmf.fit(**given, rank=2, reg=0.5, bias=True, stop=FEW)
        path = tmp_path / "model.npz"
        model.save(path)
        again = wlrmf.load(path)
        same(again, model)
        assert repr(again) == repr(model)
        assert vars(again.trace) == vars(model.trace)
        assert again.counts == model.counts
        assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]
        if structure != "rank-one":
            new = {k: v for k, v in given.items() if k == "weights"}
            np.testing.assert_array_equal(
                again.transform(given["Y"], **new), model.transform(given["Y"], **new)
            )

    def test_names_of_a_frame_are_kept(self, table, tmp_path):
        frame = pd.DataFrame(table[0]).set_axis(list("abcdefghijklmnopqrst"), axis=1)
        model = wlrmf.fit(frame, rank=1, stop=FEW)
        assert model.row_names is None
        frame.index = [f"row {i}" for i in range(30)]
        named = wlrmf.fit(frame, rank=1, stop=FEW)
        named.save(tmp_path / "named.npz")
        again = wlrmf.load(tmp_path / "named.npz")
        assert again.row_names.tolist() == frame.index.tolist()
        assert again.col_names.tolist() == list(frame.columns)
        assert again.fold_in(frame[3:5]).row_names.tolist() == ["row 3", "row 4"]

    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("left", lambda a: a[:, :1]),
            ("left", lambda a: a.astype(int)),
            ("right", lambda a: a.ravel()),
            ("numbers", lambda a: a[:2]),
            ("row_reg", lambda a: np.ones(3)),
            ("trace_value", lambda a: None),
            ("layout", lambda a: a | {"rank": -1}),
            ("layout", lambda a: a | {"rank": "2"}),
            ("has_bias", lambda a: 1),
            ("status", lambda a: "FINE"),
        ],
    )
    def test_load_refuses_parts_that_do_not_fit(self, table, tmp_path, name, change):
        from wlrmf import archive

        path = tmp_path / "model.npz"
        wlrmf.fit(table[0], rank=2, bias=True, stop=FEW).save(path)
        arrays, header = archive.read(path)
        part = arrays if name in arrays else header
        part[name] = change(part[name])
        arrays = {k: v for k, v in arrays.items() if v is not None}
        archive.write(path, arrays, header)
        with pytest.raises(wlrmf.ModelFormatError, match="do not make a model"):
            wlrmf.load(path)

    def test_load_refuses_what_is_no_model(self, tmp_path):
        other = tmp_path / "other.npz"
        np.savez(other, a=np.arange(3))
        with pytest.raises(wlrmf.ModelFormatError, match=r"other\.npz"):
            wlrmf.load(other)

    def test_one_line_and_html(self, table):
        model = wlrmf.fit(table[0], rank=2, reg=0.1)
        text = repr(model)
        assert "\n" not in text
        for part in ("rank 2", "30 × 20", f"{model.value:.6g}", model.status.value):
            assert part in text
        page = model._repr_html_()
        assert page.count("<svg") == page.count("</svg>") == 1
        import xml.etree.ElementTree as ET

        ET.fromstring(page)
        assert "<svg" not in wlrmf.fit(np.ones((3, 3)), rank=1)._repr_html_()

    def test_empty_rows_and_columns_are_listed_and_zero(self, table):  # R17
        Y, _ = table
        Y[4], Y[:, 7] = np.nan, np.nan
        model = wlrmf.fit(Y, rank=2, bias=True, reg=0.1)
        assert model.empty_rows.tolist() == [4]
        assert model.empty_cols.tolist() == [7]
        assert not model.W[:, 4].any()
        assert not model.X[:, 7].any()
        assert model.predict(4, 7) == pytest.approx(model.mean)

    @pytest.mark.parametrize("Y", [np.zeros((5, 4)), np.full((5, 4), 7.0), np.array([[2.0]])])
    def test_constant_data(self, Y):  # R18
        for options in ({"solver": "als"}, {}, {"bias": True}):
            model = wlrmf.fit(Y, rank=1, **options)
            assert model.success
            np.testing.assert_allclose(model.reconstruct(), Y, atol=1e-6)


class TestStarts:
    """Seeds and given starts."""

    def test_seeds_repeat_and_differ(self, table):  # R48, R56
        Y, _ = table
        options = {"rank": 2, "solver": "als", "stop": FEW}
        same(wlrmf.fit(Y, **options), wlrmf.fit(Y, seed=0, **options))
        same(wlrmf.fit(Y, seed=3, **options), wlrmf.fit(Y, seed=np.int64(3), **options))
        for kind in (np.random.default_rng, np.random.RandomState, np.random.SeedSequence):
            same(wlrmf.fit(Y, seed=kind(3), **options), wlrmf.fit(Y, seed=kind(3), **options))
        assert (wlrmf.fit(Y, seed=1, **options).left != wlrmf.fit(Y, **options).left).any()
        with pytest.raises(TypeError, match="`seed` must be an int"):
            wlrmf.fit(Y, seed="x", **options)

    def test_the_start_is_not_the_callers_own_stream(self):
        rng = np.random.default_rng(0)
        W, X = rng.standard_normal((30, 2)), rng.standard_normal((20, 2))
        noisy = W @ X.T + 1.0
        model = wlrmf.fit(noisy, rank=2, solver="als", n_starts=2, stop=Stop(max_iter=0))
        assert model.start_values[1] > 2 * np.sum((noisy - W @ X.T) ** 2)

    def test_the_first_start_is_spectral(self):
        """On complete data it is the truncated SVD, and scaled by the share of the cells seen."""
        rng = np.random.default_rng(0)
        Y = rng.standard_normal((200, 3)) @ rng.standard_normal((3, 150))
        complete = wlrmf.fit(Y, rank=3, solver="als", stop=Stop(max_iter=0))
        assert complete.value < 1e-12 * np.sum(Y**2)
        Y[rng.random(Y.shape) < 0.5] = np.nan
        half = wlrmf.fit(Y, rank=3, stop=Stop(max_iter=0))
        assert half.value < 0.3 * np.nansum(Y**2)

    def test_the_best_of_many(self, table):
        Y, _ = table
        model = wlrmf.fit(Y, rank=4, solver="als", n_starts=4, stop=Stop(max_iter=6))
        assert len(model.start_values) == 4
        assert model.trace.value[-1] == min(model.start_values)

    def test_a_model_and_a_pair_as_start(self, table):
        Y, _ = table
        model = wlrmf.fit(Y, rank=2, bias=True, reg=0.1)
        again = wlrmf.fit(Y, rank=2, bias=True, reg=0.1, start=model, stop=Stop(max_iter=1))
        assert again.trace.value[0] == pytest.approx(model.value)
        pair = wlrmf.fit(Y, rank=2, start=(model.W, model.X), stop=Stop(max_iter=0))
        np.testing.assert_array_equal(pair.W, model.W)

    def test_bad_starts(self, table):  # R49
        Y, _ = table
        W, X = np.ones((2, 30)), np.ones((2, 20))
        with pytest.raises(ValueError, match=r"`start\[0\]` must have shape \(2, 30\).*\.T"):
            wlrmf.fit(Y, rank=2, start=(W.T, X))
        with pytest.raises(ValueError, match=r"`start\[1\]` must be finite"):
            wlrmf.fit(Y, rank=2, start=(W, X * np.nan))
        with pytest.raises(ValueError, match="`start` is zero"):
            wlrmf.fit(Y, rank=2, start=(0 * W, 0 * X))
        with pytest.raises(TypeError, match="`start` must be a pair"):
            wlrmf.fit(Y, rank=2, start="random")
        with pytest.raises(ValueError, match="`n_starts` must be 1"):
            wlrmf.fit(Y, rank=2, start=(W, X), n_starts=2)
        state = wlrmf.fit(Y, rank=2, stop=FEW).state
        with pytest.raises(ValueError, match="weighted sum of squares of Y"):
            wlrmf.fit(2 * Y, rank=2, start=state)
        with pytest.raises(ValueError, match="its rank is 2, here it is 3"):
            wlrmf.fit(Y, rank=3, start=state)

    def test_a_state_belongs_to_its_pinned_rows_and_data(self, table):
        Y, _ = table
        state = wlrmf.fit(Y, rank=1, pinned_W=np.ones(30), stop=FEW).state
        with pytest.raises(ValueError, match="its pinned rows or biases is"):
            wlrmf.fit(Y, rank=1, pinned_X=np.ones(20), start=state)
        with pytest.raises(ValueError, match="values of pinned rows"):
            wlrmf.fit(Y, rank=1, pinned_W=np.full(30, 2.0), start=state)
        tiny = wlrmf.fit(1e-6 * Y, rank=1, stop=FEW).state
        with pytest.raises(ValueError, match="weighted sum of squares"):
            wlrmf.fit(1.001e-6 * Y, rank=1, start=tiny)

    def test_a_model_of_other_pinned_rows_as_start_keeps_the_new_ones(self, table):
        Y, _ = table
        model = wlrmf.fit(Y, rank=1, pinned_W=np.ones(30), reg=0.1, stop=FEW)
        given = np.linspace(1, 2, 30)
        again = wlrmf.fit(Y, rank=1, pinned_W=given, reg=0.1, start=model, stop=FEW)
        np.testing.assert_array_equal(again.left[:, 1], given)


class TestAccuracy:
    """Small directions and short rows."""

    def test_complete_float32_keeps_small_directions(self):
        rng = np.random.default_rng(0)
        U, V = (np.linalg.qr(rng.standard_normal((size, 50)))[0] for size in (200, 150))
        Y = ((U * np.logspace(2, -3, 50)) @ V.T).astype(np.float32)
        exact = wlrmf.fit(Y, rank=50)
        for loss in (
            wlrmf.fit(Y, rank=50, solver="als").loss,
            wlrmf.fit(Y, rank=50, bias=True).loss,
            exact.fold_in(Y).loss,
        ):
            assert loss < 2 * exact.loss

    def test_dense_and_sparse_rows_with_few_cells_have_least_norm(self):
        rng = np.random.default_rng(6)
        X = rng.standard_normal((8, 30))
        model = wlrmf.fit(
            np.eye(8) @ X, rank=8, start=(np.eye(8), X), stop=Stop(max_iter=0), solver="als"
        )
        new = np.where(rng.random((300, 30)) < 0.12, rng.standard_normal((300, 30)), np.nan)
        wanted = [
            np.linalg.lstsq(X[:, seen].T, row[seen], rcond=None)[0]
            for row, seen in zip(new, ~np.isnan(new), strict=True)
        ]
        for reg, tolerance in ((0.0, 1e-6), (1e-12, 1e-4)):
            folded = model.fold_in(new, reg=reg)
            np.testing.assert_allclose(folded.W.T, wanted, rtol=tolerance, atol=tolerance)

    def test_all_zero_data_too_large_for_a_full_decomposition(self):
        model = wlrmf.fit(np.zeros((600, 600)), rank=2)
        assert model.success
        assert not model.reconstruct().any()

    def test_a_loss_under_a_baseline_is_never_negative(self):
        for value in np.linspace(0.1, 5, 20):
            Y = sp.csr_array(np.full((3, 4), value))
            model = wlrmf.fit(Y, rank=1, baseline=0.3, bias=True, n_starts=2)
            assert model.loss >= 0


def test_progress_callback_and_log(table, caplog, capsys):
    seen = []
    with caplog.at_level(logging.DEBUG, logger="wlrmf"):
        model = wlrmf.fit(table[0], rank=2, progress=True, callback=seen.append, stop=FEW)
    assert [state.iteration for state in seen] == list(range(1, model.n_iter + 1))
    assert "iteration 3" in caplog.text
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.large
@pytest.mark.thread_unsafe(reason="other threads hold BLAS")  # R61
def test_two_fits_in_two_threads_at_once():
    from threadpoolctl import threadpool_info

    given, _ = arguments("observed", m=600, n=300)
    dense, _ = arguments("dense", m=200, n=100)
    before = threadpool_info()
    options = {"rank": 3, "reg": 1.0, "n_threads": 2, "stop": FEW}
    wanted = [wlrmf.fit(**data, **options) for data in (given, dense)]
    got = {}

    def work(k):
        got[k] = wlrmf.fit(**(given, dense)[k % 2], **options)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert sorted(got) == list(range(6))
    for k, model in got.items():
        same(model, wanted[k % 2])
    assert threadpool_info() == before


@pytest.mark.thread_unsafe(reason="other threads hold BLAS")  # R61
def test_blas_threads_are_restored_after_an_error(table):
    from threadpoolctl import threadpool_info

    def broken(state):
        raise OSError

    before = threadpool_info()
    with pytest.raises(OSError):  # noqa: PT011
        wlrmf.fit(table[0], rank=2, callback=broken)
    assert threadpool_info() == before


def test_twin_of_what_fit_reads(table):
    """The gate's weights are mask² · weights."""
    Y, _ = table
    rng = np.random.default_rng(0)
    mask, weights = rng.uniform(0, 2, Y.shape), rng.uniform(0, 2, Y.shape)
    given = np.where(np.isnan(Y), 0, Y)
    T, C = dense_twin(build(read_cells(given, mask, weights)))
    np.testing.assert_allclose(C, mask**2 * weights)
    np.testing.assert_array_equal(T, given)
