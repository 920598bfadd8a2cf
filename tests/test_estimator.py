"""The scikit-learn transformer."""

import importlib
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

import sklearn
from naive import best_rows
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import wlrmf
from wlrmf.estimator import LowRankImputer, MatrixFactorization

both = pytest.mark.parametrize("kind", [MatrixFactorization, LowRankImputer])


@parametrize_with_checks(
    [
        MatrixFactorization(),
        MatrixFactorization(bias=True),
        LowRankImputer(),
        LowRankImputer(rank=2, reg=0.1, scale=False, add_indicator=True, keep_empty_features=True),
        LowRankImputer(missing_values=-1),
    ]
)
# they fit two factors to a single column, too
@pytest.mark.filterwarnings("ignore:rank 2 is taken:wlrmf.DataWarning")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def table():
    """A planted rank-2 table with levels, and the same with holes."""
    rng = np.random.default_rng(3)
    truth = rng.standard_normal((40, 2)) @ rng.standard_normal((2, 12)) + rng.uniform(1, 3, 12)
    return truth, np.where(rng.random(truth.shape) < 0.7, truth, np.nan)


def same(a, b):
    np.testing.assert_array_equal(a, b)


class TestFactors:
    @pytest.mark.parametrize("bias", [False, True])
    def test_inverse_transform_gives_the_models_reconstruction(self, table, bias):
        Y = table[1]
        factors = MatrixFactorization(2, reg=0.1, bias=bias)
        T = factors.fit_transform(Y)
        assert T.shape == (40, 2 + bias)
        assert factors.components_.shape == (2 + bias, 12)
        np.testing.assert_allclose(factors.inverse_transform(T), factors.model_.reconstruct())
        model = wlrmf.fit(Y, rank=2, reg=0.1, bias=bias)
        same(factors.model_.left, model.left)
        same(factors.intercept_, model.mean + model.col_bias)
        same(T[:, :2].T, factors.transform(Y)[:, :2].T)

    @pytest.mark.parametrize("bias", [False, True])
    def test_fit_transform_is_transform_of_the_training_rows(self, table, bias):
        Y = table[1]
        weights = np.random.default_rng(0).uniform(0.5, 2, Y.shape)
        factors = MatrixFactorization(2, reg=0.3, bias=bias)
        T = factors.fit_transform(Y, weights=weights)
        same(T, factors.transform(Y, weights=weights))
        np.testing.assert_allclose(T[:, :2].T, factors.model_.W, rtol=1e-9, atol=1e-12)
        some = factors.transform(Y[5:9], weights=weights[5:9])
        np.testing.assert_allclose(some, T[5:9], rtol=1e-12)

    def test_rows_are_the_slow_twins(self, table):
        Y = table[1]
        A2 = np.random.default_rng(1).uniform(0.5, 2, Y.shape)
        factors = MatrixFactorization(3, reg=0.2).fit(Y)
        wanted = best_rows(
            np.nan_to_num(Y), np.where(np.isnan(Y), 0, A2), factors.components_.T, np.full(40, 0.2)
        )
        np.testing.assert_allclose(factors.transform(Y, weights=A2), wanted, rtol=1e-8, atol=1e-10)
        masked = factors.transform(Y, mask=np.sqrt(A2))
        np.testing.assert_allclose(masked, wanted, rtol=1e-8, atol=1e-10)

    def test_a_planted_table_comes_back(self, table):
        truth, Y = table
        factors = MatrixFactorization(3, ftol=0, gtol=1e-10)
        filled = factors.inverse_transform(factors.fit_transform(Y))
        np.testing.assert_allclose(filled, truth, atol=1e-4)

    def test_sparse_is_dense_with_holes(self, table):
        Y = table[1]
        row, col = np.nonzero(~np.isnan(Y))
        sparse = sp.coo_array((Y[row, col], (row, col)), shape=Y.shape)
        a, b = (MatrixFactorization(2, reg=0.1).fit(given) for given in (Y, sparse))
        np.testing.assert_allclose(
            b.inverse_transform(b.transform(sparse.tocsc())),
            a.inverse_transform(a.transform(Y)),
            rtol=1e-5,
        )

    def test_duplicate_entries_are_not_summed(self):
        twice = sp.coo_array(([1.0, 2.0, 3.0], ([0, 0, 1], [0, 0, 1])), shape=(2, 2))
        with pytest.raises(ValueError, match="duplicate entries"):
            MatrixFactorization(1).fit(twice)

    def test_masked_cells_are_missing(self, table):
        Y = table[1]
        masked = np.ma.array(np.nan_to_num(Y, nan=99.0), mask=np.isnan(Y))
        same(MatrixFactorization(2).fit_transform(masked), MatrixFactorization(2).fit_transform(Y))

    def test_a_row_without_cells_gets_zeros(self, table):
        factors = MatrixFactorization(2, bias=True).fit(table[1])
        same(factors.transform(np.full((1, 12), np.nan)), np.zeros((1, 3)))

    @pytest.mark.parametrize("bias", [False, True])
    def test_more_factors_than_columns(self, table, bias):
        Y = table[1][:, :3]
        with pytest.warns(wlrmf.DataWarning, match=r"rank 5 is taken as .* = 3"):
            factors = MatrixFactorization(5, reg=0.5, bias=bias).fit(Y)
        assert factors.rank_ == 3
        assert factors.transform(Y).shape == (40, 3 + bias)
        same(factors.model_.left, wlrmf.fit(Y, rank=3, reg=0.5, bias=bias).left)

    def test_biases_alone(self, table):
        T = MatrixFactorization(0, bias=True).fit_transform(table[1])
        assert T.shape == (40, 1)

    def test_names(self, table):
        pd = pytest.importorskip("pandas")
        frame = pd.DataFrame(table[1], columns=[f"c{j}" for j in range(12)])
        factors = MatrixFactorization(2).set_output(transform="pandas")
        T = factors.fit_transform(frame)
        assert list(T.columns) == ["matrixfactorization0", "matrixfactorization1"]
        assert list(factors.feature_names_in_) == list(frame.columns)
        with pytest.raises(ValueError, match="another order"):
            factors.transform(frame, weights=frame.notna().astype(float)[frame.columns[::-1]])


def test_the_core_does_not_import_scikit_learn():
    code = "import sys, wlrmf; sys.exit('sklearn' in sys.modules)"
    root = Path(__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    for name in [n for n in sys.modules if n.startswith("wlrmf.estimator")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install 'wlrmf\[sklearn\]'"):
        importlib.import_module("wlrmf.estimator")


class TestMessages:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"rank": 0}, ValueError, "`rank` must be an int of at least 1"),
            ({"rank": "2"}, TypeError, "`rank` must be an int"),
            ({"bias": 1}, TypeError, "`bias` must be True or False"),
            ({"reg": -1.0}, ValueError, "`reg` must be a finite number"),
            ({"reg": (np.ones(40), 1.0)}, ValueError, r"`reg\[0\]` must be one number here"),
            ({"max_iter": 0}, ValueError, "`max_iter` must be an int of at least 1"),
            ({"solver": "no"}, ValueError, "solver"),
            ({"n_starts": 0}, ValueError, "`n_starts` must be"),
            ({"random_state": "x"}, TypeError, "`seed` must be"),
        ],
    )
    def test_parameters(self, table, options, error, message):
        with pytest.raises(error, match=message):
            MatrixFactorization(**options).fit(table[1])

    def test_factors_of_another_number(self, table):
        with pytest.raises(ValueError, match="`Xt` must have 2 columns"):
            MatrixFactorization(2).fit(table[1]).inverse_transform(np.ones((1, 3)))

    @pytest.mark.parametrize("stop", [{"max_iter": 1}, {"max_seconds": 0.0}])
    def test_an_early_end_is_a_warning_of_both_libraries(self, table, stop):
        (name,) = stop
        for category in (ConvergenceWarning, wlrmf.ConvergenceWarning):
            with pytest.warns(category, match=f"stopped at {name}=.* give it more"):
                MatrixFactorization(2, solver="als", **stop).fit(table[1])


class TestManners:
    @both
    def test_clone_pickle_and_threads(self, table, kind):  # R51
        Y = table[1]
        first = kind(2, n_threads=1, random_state=4).fit(Y)
        wanted = first.transform(Y)
        same(clone(first).fit(Y).transform(Y), wanted)
        same(pickle.loads(pickle.dumps(first)).transform(Y), wanted)
        same(kind(2, n_threads=3, random_state=4).fit(Y).transform(Y), wanted)

    @both
    def test_set_params_leaves_the_fitted_state_alone(self, table, kind):  # R51
        Y = table[1]
        estimator = kind(2).fit(Y)
        wanted = estimator.transform(Y)
        estimator.set_params(rank=5, reg=9.0, max_iter=1)
        same(estimator.transform(Y), wanted)

    @both
    def test_a_second_fit_leaves_nothing_stale(self, table, kind):  # R51
        pd = pytest.importorskip("pandas")
        Y = table[1]
        frame = pd.DataFrame(Y).add_prefix("c")
        estimator = kind(2).fit(frame).fit(Y[:, :7])
        fresh = kind(2).fit(Y[:, :7])
        assert vars(estimator).keys() == vars(fresh).keys()
        same(estimator.transform(Y[:, :7]), fresh.transform(Y[:, :7]))

    @both
    def test_a_failing_fit_leaves_the_earlier_one(self, table, kind):  # R52
        Y = table[1]
        estimator = kind(2).fit(Y)
        before, wanted = dict(vars(estimator)), estimator.transform(Y)
        for bad in (np.full((4, 5), np.nan), np.full((4, 5), np.inf), Y[0]):
            with pytest.raises(ValueError, match=r"observed|infinity|1D"):
                estimator.fit(bad)
        with pytest.raises(ValueError, match="weights"):
            estimator.fit(Y[:, :5], weights=np.ones((2, 2)))
        assert vars(estimator) == before
        same(estimator.transform(Y), wanted)

    @both
    def test_before_fit_and_other_columns(self, table, kind):  # R50
        Y = table[1]
        with pytest.raises(NotFittedError):
            kind().transform(Y)
        with pytest.raises(ValueError, match="expecting 12 features"):
            kind(2).fit(Y).transform(Y[:, :5])

    @both
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_dtype_is_kept(self, table, kind, dtype):
        estimator = kind(2).fit(table[1].astype(dtype))
        assert estimator.transform(table[1].astype(dtype)).dtype == dtype
        assert estimator.model_.left.dtype == dtype

    @both
    def test_the_input_is_never_written_to(self, table, kind):
        Y = table[1].copy()
        Y.flags.writeable = False
        weights = np.ones_like(Y)
        weights.flags.writeable = False
        kind(2).fit_transform(Y, weights=weights)
        same(Y, table[1])

    @both
    def test_repeats_without_a_seed(self, table, kind):
        same(kind(2).fit_transform(table[1]), kind(2).fit_transform(table[1]))

    @both
    def test_weights_can_be_routed(self, table, kind):
        Y = table[1]
        weights = np.random.default_rng(2).uniform(0.1, 3, Y.shape)
        wanted = kind(2).fit_transform(Y, weights=weights)
        with sklearn.config_context(enable_metadata_routing=True):
            step = kind(2).set_fit_request(weights=True).set_transform_request(weights=True)
            got = make_pipeline(step).fit_transform(Y, weights=weights)
        same(got, wanted)

    def test_weights_are_split_with_the_rows(self, table):
        """Cells of weight 0 hold nonsense: without their weights, the scores would change."""
        Y = table[0]
        bad = np.random.default_rng(2).random(Y.shape) < 0.2
        target = Y @ np.linspace(-1, 1, 12)
        with sklearn.config_context(enable_metadata_routing=True):
            step = MatrixFactorization(2, reg=0.1).set_fit_request(weights=True)
            steps = make_pipeline(step.set_transform_request(weights=True), Ridge(1e-3))
            fitted = [
                cross_validate(
                    steps,
                    np.where(bad, nonsense, Y),
                    target,
                    cv=3,
                    params={"weights": np.where(bad, 0.0, 1.0)},
                    return_estimator=True,
                )["estimator"]
                for nonsense in (99.0, -1e3)
            ]
        for a, b in zip(*fitted, strict=True):
            same(a[0].components_, b[0].components_)
            same(a[1].coef_, b[1].coef_)

    @both
    def test_search_over_the_rank(self, table, kind):
        truth, Y = table
        target = np.linspace(-1, 1, 12) @ truth.T
        steps = make_pipeline(kind(1, reg=1e-3), Ridge(1e-3))
        search = GridSearchCV(steps, {f"{kind.__name__.lower()}__rank": [1, 3]}, cv=3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            search.fit(Y, target)
        (best,) = search.best_params_.values()
        assert best == 3
        assert search.best_score_ > 0.9

    @both
    def test_in_a_column_transformer(self, table, kind):
        pd = pytest.importorskip("pandas")
        frame = pd.DataFrame(table[1]).add_prefix("c").assign(label=1.0)
        columns = ColumnTransformer(
            [("low", kind(2, reg=0.1), [f"c{j}" for j in range(12)])], remainder="passthrough"
        ).set_output(transform="pandas")
        out = columns.fit_transform(frame)
        assert out.columns[-1] == "remainder__label"
        assert out.columns[0] in ("low__matrixfactorization0", "low__c0")
