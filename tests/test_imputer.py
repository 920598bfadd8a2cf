"""The imputer: against its formula, against KNNImputer's manners, and on planted tables."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from naive import best_rows
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import wlrmf
from wlrmf.estimator import LowRankImputer
from wlrmf.estimator.ridge import FACTORS, RELAXED, choose_ridge, noise_ridge
from wlrmf.estimator.scaling import Scaling

UNITS = np.array([1.0, 1e-6, 1e4, 3.0, 0.2, 50.0, 7.0, 1e-2])


def planted(seed=0, shape=(60, 8), rank=2, share=0.25):
    """A low-rank table with levels, holes, and columns in different units."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    truth = (truth + rng.uniform(-3, 3, shape[1])) * UNITS[: shape[1]]
    return truth, np.where(rng.random(shape) < share, np.nan, truth)


@pytest.fixture(scope="module")
def table():
    return planted()


@pytest.fixture(scope="module")
def weights():
    return np.random.default_rng(9).uniform(0.2, 3, (60, 8))


class TestFormula:
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("scale", [False, True])
    def test_it_is_the_model_of_the_scaled_table(self, table, weights, weighted, scale):
        """Written out once more, from the docstring, with the slow twin for the rows."""
        Y = table[1]
        w = weights if weighted else np.ones_like(Y)
        seen = ~np.isnan(Y)
        center, spread, unit = (np.empty(8) for _ in range(3))
        for j in range(8):
            y, c = Y[seen[:, j], j], w[seen[:, j], j]
            center[j] = np.average(y, weights=c)
            spread[j] = np.average((y - center[j]) ** 2, weights=c) ** 0.5
            unit[j] = c.mean()
        if not scale:
            unit[:] = w[seen].mean()
            spread[:] = np.average(((Y - center) ** 2)[seen], weights=w[seen]) ** 0.5
        Z, A2 = (Y - center) / spread, w / unit
        model = wlrmf.fit(Z, rank=3, reg=2.0, weights=A2 if weighted else None)
        C = np.where(seen, A2, 0)
        W = best_rows(np.nan_to_num(Z), C, model.right.astype(float), np.full(60, 2.0))
        wanted = np.where(seen, Y, W @ model.right.T * spread + center)
        given = {"weights": weights} if weighted else {}
        imputer = LowRankImputer(3, reg=2.0, scale=scale, clip=False, gtol=1e-5, ftol=1e-8)
        np.testing.assert_allclose(imputer.fit_transform(Y, **given), wanted, rtol=1e-6)
        np.testing.assert_allclose(imputer.transform(Y, **given), wanted, rtol=1e-6)

    def test_units_do_not_matter(self, table, weights):
        """Neither those of a column nor those of its weights, by powers of two to the bit."""
        Y = table[1]
        units = 2.0 ** np.arange(-4, 4)
        plain = LowRankImputer().fit_transform(Y, weights=weights)
        other = LowRankImputer().fit_transform(Y * units, weights=weights / units)
        np.testing.assert_array_equal(other / units, plain)

    def test_a_planted_table_comes_back(self, table):
        truth, Y = table
        # what the means of the observed cells are off takes a third factor
        exact = {"reg": 1e-3, "clip": False, "gtol": 1e-9, "ftol": 1e-9, "max_iter": 1000}
        filled = LowRankImputer(3, **exact).fit_transform(Y)
        assert np.abs((filled - truth) / truth.std(axis=0)).max() < 1e-2

    def test_the_defaults_beat_the_mean_and_near_neighbours(self, table):
        truth, Y = table

        def error(imputer):
            filled = imputer.fit_transform(Y / UNITS)
            return np.sqrt(np.mean(((filled - truth / UNITS) / (truth / UNITS).std(axis=0)) ** 2))

        ours = error(LowRankImputer())
        assert ours < 0.5 * error(KNNImputer())
        assert ours < 0.25 * error(SimpleImputer())

    def test_weights_let_bad_cells_count_less(self):
        rng = np.random.default_rng(4)
        truth, _ = planted(4, share=0)
        sigma = np.where(rng.random(truth.shape) < 0.3, 3.0, 0.05) * truth.std(axis=0)
        Y = truth + sigma * rng.standard_normal(truth.shape)
        Y[rng.random(Y.shape) < 0.2] = np.nan
        missing = np.isnan(Y)

        def error(**given):
            filled = LowRankImputer().fit_transform(Y, **given)
            return np.sqrt(np.mean((((filled - truth) / truth.std(axis=0)) ** 2)[missing]))

        assert error(weights=sigma**-2.0) < 0.5 * error()

    def test_weight_0_leaves_the_cell_but_not_its_say(self, table):
        Y = table[1].copy()
        bad = np.zeros(Y.shape, bool)
        bad[3, 0], bad[5, 2] = True, True
        bad &= ~np.isnan(Y)
        assert bad.any()
        wrong = np.where(bad, 1e9, Y)
        weights = np.where(bad, 0.0, 1.0)
        a = LowRankImputer(2, reg=0.5).fit_transform(wrong, weights=weights)
        np.testing.assert_array_equal(a[bad], wrong[bad])
        b = LowRankImputer(2, reg=0.5).fit_transform(np.where(bad, 7.0, Y), weights=weights)
        np.testing.assert_array_equal(a[~bad], b[~bad])

    def test_weights_of_missing_cells_do_not_matter(self, table, weights):
        Y = table[1]
        other = np.where(np.isnan(Y), 1e6, weights)
        np.testing.assert_array_equal(
            LowRankImputer().fit_transform(Y, weights=other),
            LowRankImputer().fit_transform(Y, weights=weights),
        )

    def test_clip(self):
        Y = np.outer(np.arange(1.0, 21), [1.0, 2, 3])
        Y[19, 2] = np.nan
        free, held = (
            LowRankImputer(1, reg=1e-3, clip=clip).fit_transform(Y)[19, 2] for clip in (False, True)
        )
        assert free > 58
        assert held == 57


class TestManners:
    """What users of KNNImputer expect."""

    def test_observed_cells_are_untouched(self, table):
        Y = table[1]
        filled = LowRankImputer().fit_transform(Y)
        seen = ~np.isnan(Y)
        np.testing.assert_array_equal(filled[seen], Y[seen])
        assert np.isfinite(filled).all()

    def test_rows_are_filled_alone(self, table):
        Y = table[1]
        imputer = LowRankImputer().fit(Y)
        np.testing.assert_allclose(imputer.transform(Y[7:9]), imputer.transform(Y)[7:9], rtol=1e-12)
        np.testing.assert_array_equal(imputer.fit_transform(Y), imputer.transform(Y))

    @pytest.mark.parametrize("scale", [False, True])
    def test_a_row_without_cells_gets_the_means(self, table, scale):
        Y = table[1]
        imputer = LowRankImputer(scale=scale).fit(Y)
        filled = imputer.transform(np.full((1, 8), np.nan))
        np.testing.assert_allclose(filled[0], np.nanmean(Y, axis=0), rtol=1e-12)

    def test_a_constant_column_stays_constant(self, table):
        Y = table[1].copy()
        Y[:, 1] = np.where(np.isnan(Y[:, 1]), np.nan, 0.1)
        Y[:, 2] = np.where(np.isnan(Y[:, 2]), np.nan, 0.0)
        filled = LowRankImputer().fit_transform(Y)
        assert set(filled[:, 1]) == {0.1}
        assert set(filled[:, 2]) == {0.0}

    @pytest.mark.parametrize("indicator", [False, True])
    @pytest.mark.parametrize("keep", [False, True])
    def test_shapes_and_names_are_scikit_learns(self, table, keep, indicator):
        pd = pytest.importorskip("pandas")
        Y = table[1].copy()
        Y[:, 3] = np.nan
        Y[:, 5] = 1.0
        frame = pd.DataFrame(Y, columns=list("abcdefgh"))
        options = {"keep_empty_features": keep, "add_indicator": indicator}
        ours = LowRankImputer(**options).set_output(transform="pandas").fit(frame)
        peer = SimpleImputer if keep else KNNImputer  # KNNImputer forgets the names of empty ones
        theirs = peer(**options).set_output(transform="pandas").fit(frame)
        a, b = ours.transform(frame), theirs.transform(frame)
        assert list(a.columns) == list(b.columns)
        assert list(ours.get_feature_names_out()) == list(b.columns)
        own = [name for name in a.columns if name.startswith("missing") or name == "d"]
        np.testing.assert_array_equal(a[own], b[own])
        seen = frame.notna()
        for name in set("abcefgh"):
            np.testing.assert_array_equal(a[name][seen[name]], frame[name][seen[name]])

    def test_indicator_is_scikit_learns(self, table):
        Y = table[1]
        filled = LowRankImputer(add_indicator=True).fit_transform(Y)
        np.testing.assert_array_equal(filled[:, 8:], MissingIndicator().fit_transform(Y))

    @pytest.mark.parametrize("value", [-1, -1.0, 0, np.float32(99)])
    def test_numbers_that_mean_missing(self, table, value):
        Y = table[1]
        wanted = LowRankImputer(reg=1.0).fit_transform(Y)
        given = np.where(np.isnan(Y), value, Y)
        filled = LowRankImputer(reg=1.0, missing_values=value, add_indicator=True).fit_transform(
            given
        )
        np.testing.assert_array_equal(filled[:, :8], wanted)
        np.testing.assert_array_equal(filled[:, 8:], np.isnan(Y))

    def test_nulls_of_all_kinds(self, table):
        pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
        Y = table[1]
        wanted = LowRankImputer(reg=1.0).fit_transform(Y)
        nulls = [[None if np.isnan(y) else y for y in row] for row in Y]
        frames = [
            pd.DataFrame(Y),
            pd.DataFrame(Y).convert_dtypes(),
            pl.DataFrame(nulls, orient="row"),
            np.array(nulls, dtype=object),
            np.ma.array(np.nan_to_num(Y, nan=5.0), mask=np.isnan(Y)),
        ]
        for frame in frames:
            np.testing.assert_array_equal(LowRankImputer(reg=1.0).fit_transform(frame), wanted)
        for value in (None, pd.NA):
            imputer = LowRankImputer(reg=1.0, missing_values=value)
            np.testing.assert_array_equal(imputer.fit_transform(frames[1]), wanted)

    def test_set_output_polars(self, table):
        pl = pytest.importorskip("polars")
        frame = pl.DataFrame(table[1], schema=list("abcdefgh"))
        filled = LowRankImputer().set_output(transform="polars").fit_transform(frame)
        assert isinstance(filled, pl.DataFrame)
        assert filled.columns == frame.columns

    def test_integers_become_floats(self):
        Y = np.array([[1, 2, -1], [2, 4, 6], [3, -1, 9], [4, 8, 12]])
        filled = LowRankImputer(missing_values=-1).fit_transform(Y)
        assert filled.dtype == np.float64
        np.testing.assert_array_equal(filled[Y != -1], Y[Y != -1])
        np.testing.assert_array_equal(
            filled, LowRankImputer().fit_transform(np.where(Y == -1, np.nan, Y))
        )

    def test_before_a_regressor(self):
        truth, Y = planted(1, shape=(300, 8))
        target = (truth / truth.std(axis=0)) @ np.linspace(-1, 1, 8)
        scores = []
        for imputer in (LowRankImputer(), SimpleImputer()):
            steps = make_pipeline(imputer, StandardScaler(), Ridge(1e-2))
            scores.append(steps.fit(Y[:200], target[:200]).score(Y[200:], target[200:]))
        assert 1 - scores[0] < 0.5 * (1 - scores[1])

    def test_no_missing_cells(self, table):
        truth = table[0]
        imputer = LowRankImputer().fit(truth)
        np.testing.assert_array_equal(imputer.transform(truth), truth)

    def test_columns_that_are_empty_only_later(self, table):
        Y = table[1]
        new = Y[:5].copy()
        new[:, 2] = np.nan
        assert np.isfinite(LowRankImputer().fit(Y).transform(new)).all()


class TestMessages:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"rank": 0}, ValueError, "`rank` must be an int of at least 1"),
            ({"rank": 2.5}, TypeError, "`rank` must be an int"),
            ({"reg": "more"}, ValueError, '`reg` must be "auto" or a number'),
            ({"reg": (1.0, 1.0)}, TypeError, "`reg` must be a finite number"),
            ({"missing_values": "?"}, TypeError, "`missing_values` must be a number"),
            ({"scale": "yes"}, TypeError, "`scale` must be True or False"),
            ({"clip": 1}, TypeError, "`clip` must be True or False"),
            ({"missing_values": -1}, ValueError, "NaN"),
        ],
    )
    def test_parameters(self, table, options, error, message):
        with pytest.raises(error, match=message):
            LowRankImputer(**options).fit(table[1])

    @pytest.mark.parametrize(
        ("weights", "message"),
        [
            (np.ones((8, 60)), r"`weights` must have the shape of Y, .*Try weights.T"),
            (np.full((60, 8), -1.0), r"weights\[0, 0\] is -1.0"),
            (np.full((60, 8), np.nan), "`weights` must be finite"),
            (np.zeros((60, 8)), "no observed entries"),
        ],
    )
    def test_weights(self, table, weights, message):
        with pytest.raises(ValueError, match=message):
            LowRankImputer().fit(table[1], weights=weights)

    def test_nothing_to_learn_from(self):
        with pytest.raises(ValueError, match="no observed entries"):
            LowRankImputer().fit(np.full((3, 2), np.nan))


class TestColumns:
    def test_by_hand(self):
        Y = np.array([[1.0, 5, np.nan], [3, 5, np.nan], [np.nan, 5, np.nan]])
        weights = np.array([[1.0, 1, 1], [3, 1, 1], [9, 1, 1]])
        columns = Scaling.of(Y, weights, scale=True)
        np.testing.assert_allclose(columns.center, [2.5, 5, 0])
        np.testing.assert_allclose(columns.scale, [0.75**0.5, 1, 1])
        np.testing.assert_allclose(columns.weight, [2, 1, 1])
        np.testing.assert_array_equal([columns.low, columns.high], [[1, 5, 0], [3, 5, 0]])
        common = Scaling.of(Y, weights, scale=False)
        np.testing.assert_allclose(common.scale, (3 / 7) ** 0.5)  # 1·1.5² + 3·0.5² over 4 + 3
        np.testing.assert_allclose(common.weight, 7 / 5)

    def test_a_column_of_weight_0_counts_its_cells_alike(self):
        columns = Scaling.of(np.array([[1.0, 1], [3, 3]]), np.array([[0.0, 1], [0, 1]]), scale=True)
        np.testing.assert_array_equal(columns.center, [2, 2])
        np.testing.assert_array_equal(columns.scale, [1, 1])


class TestRidge:
    def test_nothing_of_pure_noise_is_left(self):
        rng = np.random.default_rng(0)
        Z = rng.standard_normal((200, 80))
        Z[rng.random(Z.shape) < 0.4] = np.nan
        top = np.linalg.norm(np.nan_to_num(Z), 2)
        assert top == pytest.approx(noise_ridge(Z), rel=0.1)
        assert choose_ridge(Z, None, 10, 0, 1)[0] == noise_ridge(Z)

    def test_little_noise_wants_little_ridge(self):
        rng = np.random.default_rng(0)
        Z = rng.standard_normal((200, 2)) @ rng.standard_normal((2, 80))
        Z[rng.random(Z.shape) < 0.4] = np.nan
        reg, row_reg = choose_ridge(Z, None, 10, 0, 1)
        assert reg == min(FACTORS) * noise_ridge(Z)
        assert row_reg == min(RELAXED) * reg

    def test_few_cells_get_the_usual_one(self):
        Z = np.random.default_rng(0).standard_normal((6, 3))
        reg, row_reg = choose_ridge(Z, None, 2, 0, 1)
        assert reg == row_reg
        assert min(FACTORS) < reg / noise_ridge(Z) < max(FACTORS)

    def test_the_choice_sees_the_weights(self):
        """Cells of weight 0 are neither learned from nor judged by."""
        rng = np.random.default_rng(0)
        Z = rng.standard_normal((100, 2)) @ rng.standard_normal((2, 40))
        bad = rng.random(Z.shape) < 0.3
        weights = np.where(bad, 0.0, 1.0)
        chosen = [choose_ridge(np.where(bad, b, Z), weights, 5, 0, 1) for b in (50.0, -3.0)]
        assert chosen[0] == chosen[1]


def test_columns_are_measured_in_double_precision():
    """Half a million rows around 1000 of single precision, with weights."""
    rng = np.random.default_rng(0)
    Y = (1000 + rng.standard_normal((500_000, 2))).astype(np.float32)
    weights = rng.uniform(1, 2, Y.shape).astype(np.float32)
    found = Scaling.of(Y, weights, scale=True)
    wide, w = Y.astype(np.float64), weights.astype(np.float64)
    center = np.average(wide, axis=0, weights=w)
    np.testing.assert_allclose(found.center, center, rtol=1e-12)
    spread = np.sqrt(np.average((wide - center) ** 2, axis=0, weights=w))
    np.testing.assert_allclose(found.scale, spread, rtol=1e-9)


def test_values_beyond_the_range_are_refused():  # R19
    Y = np.array([[1e155, 2e155], [3e155, np.nan], [1e155, 4e155]])
    with pytest.raises(ValueError, match="the largest of Y is 4e"):
        LowRankImputer(rank=1).fit(Y)


def test_weights_of_missing_cells_do_not_matter(table):
    table = table[0]
    weights = np.ones(table.shape)
    wanted = LowRankImputer(rank=1, reg=0.1).fit_transform(table, weights=weights)
    weights[np.isnan(table)] = np.nan
    found = LowRankImputer(rank=1, reg=0.1).fit_transform(table, weights=weights)
    np.testing.assert_array_equal(found, wanted)
