"""Pictures: what is drawn, where, and what is said when it cannot be."""

import sys

import numpy as np
import pytest

import wlrmf
from wlrmf import plot


@pytest.fixture
def ax():
    figure = pytest.importorskip("matplotlib.figure", reason="pictures need matplotlib")
    return figure.Figure().subplots()


@pytest.fixture(scope="module")
def models():
    generator = np.random.default_rng(3)
    Y = generator.normal(size=(2, 20)).T @ generator.normal(size=(2, 15))
    Y[0, 0] = np.nan
    return {name: wlrmf.fit(Y, rank=2, reg=0.1, solver=name) for name in ("als", "gd")}


def test_convergence_draws_one_falling_line_a_model(ax, models):
    assert plot.convergence(models, ax) is ax
    lines = ax.get_lines()
    assert [line.get_label() for line in lines] == ["als", "gd"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["als", "gd"]
    assert ax.get_yscale() == "log"
    for line, model in zip(lines, models.values(), strict=True):
        heights = np.asarray(line.get_ydata())
        assert (heights > 0).all()
        assert (np.diff(heights) <= 0).all()
        assert line.get_xdata()[0] == 0
        first = (model.trace.value[0] - model.value) / model.value
        assert heights[0] == pytest.approx(first)


def test_convergence_of_one_model_against_seconds_from_a_known_least_value(ax, models):
    model = models["gd"]
    plot.convergence(model, ax, against="seconds", least=model.value / 2)
    (line,) = ax.get_lines()
    np.testing.assert_array_equal(line.get_xdata(), model.trace.seconds)
    assert line.get_ydata()[-1] == pytest.approx(1, rel=1e-3)
    assert ax.get_legend() is None
    assert "seconds" in ax.get_xlabel()


def test_convergence_of_an_exact_fit_is_drawn_too(ax):
    plot.convergence(wlrmf.fit(np.outer([1.0, 2], [3.0, 4]), rank=1), ax)
    assert len(ax.get_lines()) == 1


def test_convergence_refuses_an_unknown_axis(ax, models):
    with pytest.raises(ValueError, match=r"`against` must be .* got 'sweeps'"):
        plot.convergence(models, ax, against="sweeps")


def test_held_out_error_draws_lines_levels_and_what_lies_above(ax):
    errors = {"a": [3.0, 2.0, 1.0], "b": [3.0, 20.5, 30.0]}
    assert plot.held_out_error([1, 2, 8], errors, ax, {"level": 2.5}, top=4) is ax
    a, b, level = ax.get_lines()
    assert list(a.get_ydata()) == errors["a"]
    assert list(b.get_ydata()) == errors["b"]
    assert set(level.get_ydata()) == {2.5}
    assert ax.get_ylim()[1] == 4
    assert [text.get_text() for text in ax.texts] == ["↑ 20.5", "↑ 30.0"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "8"]


def test_held_out_error_refuses_a_line_of_another_length(ax):
    with pytest.raises(ValueError, match=r"`errors\['a'\]` has 1 numbers for 2 ranks"):
        plot.held_out_error([1, 2], {"a": [3.0]}, ax)


def test_predicted_against_true_draws_cells_by_weight_and_counts_those_outside(ax):
    true = np.r_[np.linspace(0, 10, 998), 1000, -1000]
    weights = np.r_[np.ones(500), np.full(500, 4.0)]
    assert plot.predicted_against_true(true, true + 1, weights, ax) is ax
    (dots,) = ax.collections
    assert len(dots.get_offsets()) == 998
    areas = dots.get_sizes()
    assert areas[-1] == pytest.approx(4 * areas[0])
    assert ax.get_xlim() == ax.get_ylim()
    assert ax.texts[0].get_text() == "2 of 1000 cells\nare outside"


def test_predicted_against_true_of_a_single_cell(ax):
    plot.predicted_against_true([2.0], [2.0], ax=ax)
    assert not ax.texts


@pytest.mark.parametrize("sizes", [(2, 3, 2), (2, 2, 3), (0, 0, 0)])
def test_predicted_against_true_refuses_other_lengths(ax, sizes):
    true, predicted, weights = (np.ones(size) for size in sizes)
    with pytest.raises(ValueError, match="of one length"):
        plot.predicted_against_true(true, predicted, weights, ax)


def test_a_given_axes_leaves_pyplot_alone(ax, models, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    others = ax.figure.subplots(1, 2)
    plot.convergence(models, ax)
    plot.held_out_error([1], {"a": [1.0]}, others[0])
    plot.predicted_against_true([1.0, 2], [1.0, 3], ax=others[1])


def test_without_axes_pyplot_makes_a_figure(models):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    try:
        ax = plot.convergence(models)
        assert pyplot.fignum_exists(ax.figure.number)
    finally:
        pyplot.close("all")


def test_without_matplotlib_the_error_says_what_to_install(models, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'wlrmf\[plot\]'"):
        plot.convergence(models)


# selection


def columns(**changed):
    """Two ranks and three ridges, one pair run in part and one not at all."""
    table = {
        "rank": np.repeat([1, 2], 3),
        "reg": np.tile([100.0, 10.0, 1.0], 2),
        "error": np.array([1.3, 1.2, 1.25, 1.1, 1.05, np.nan]),
        "se": np.array([0.02, 0.02, np.nan, 0.03, 0.03, np.nan]),
        "status": np.array(["complete", "complete", "hopeless", "complete", "complete", "skipped"]),
        "chosen": np.array([False, False, False, True, False, False]),
    }
    return table | changed


def test_selection_draws_a_line_a_rank_and_rings_the_choice(ax):
    assert plot.selection(columns(), ax, metric="rmse", limit=1.12) is ax
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts[:2] == ["rank 1", "rank 2"]
    assert set(texts[2:]) == {
        "chosen: rank 2, ridge 100",
        "least error + standard error",
        "not run on all folds",
    }
    lines = {tuple(line.get_xdata()): list(line.get_ydata()) for line in ax.get_lines()[:1]}
    assert lines == {(1.0, 10.0, 100.0): [1.25, 1.2, 1.3]}
    (ring,) = (c for c in ax.collections if hasattr(c, "get_sizes"))
    assert ring.get_offsets().tolist() == [[100.0, 1.1]]
    assert ax.get_xscale() == "log"
    assert ax.get_ylabel() == "held-out error (RMSE)"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "10", "100"]


def test_selection_has_a_place_for_a_ridge_of_0(ax):
    plot.selection(columns(reg=np.tile([10.0, 1.0, 0.0], 2)), ax)
    assert ax.get_xscale() == "symlog"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1", "10"]


def test_selection_of_select(ax):
    Y = np.random.default_rng(0).standard_normal((20, 15))
    found = wlrmf.select(Y, ranks=[1, 2], regs=[8.0, 4.0], folds=2, refit=False)
    assert found.plot(ax) is ax
    other = ax.figure.subplots(1, 2)[0]
    plot.selection(found, other)
    for one, two in zip(ax.get_lines(), other.get_lines(), strict=True):
        np.testing.assert_array_equal(one.get_ydata(), two.get_ydata())


def test_selection_refuses_a_table_without_its_columns(ax):
    table = columns()
    del table["se"]
    with pytest.raises(ValueError, match=r"`table` must have the columns .* no 'se'"):
        plot.selection(table, ax)


# residuals


def picture_of(ax):
    (image,) = ax.get_images()
    return image.get_array()


def test_residuals_are_weighted_and_missing_cells_are_masked(ax):
    Y = np.outer([1.0, 2, 3], [1.0, 0, 2, 1])
    model = wlrmf.fit(Y, rank=1)
    seen = Y + np.array([[0.0, 1, 0, 0], [0, 0, -2, 0], [0, 0, 0, 0]])
    seen[2, 3] = np.nan
    A = np.full(Y.shape, 1.0)
    A[0, 1] = 3
    assert plot.residuals(model, seen, A * ~np.isnan(seen), ax) is ax
    picture = picture_of(ax)
    expected = np.array([[0.0, 3, 0, 0], [0, 0, -2, 0], [0, 0, 0, 0]])
    assert picture.mask.tolist() == np.isnan(seen).tolist()
    np.testing.assert_allclose(picture.filled(0), expected, atol=1e-9)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("column", "row")
    assert ax.figure.axes[-1].get_ylabel() == "weighted residual"


def test_residuals_of_many_rows_are_averaged_over_observed_cells(ax):
    Y = np.zeros((5, 4))
    model = wlrmf.fit(np.outer([1.0, 1, 1, 1, 1], [1.0, 1, 1, 1]), rank=1)
    Y[:] = 1 + np.arange(20).reshape(5, 4)
    Y[0, 0] = np.nan
    plot.residuals(model, Y, ax=ax, most=3)
    blocks = [[(1 + 4 + 5) / 3, (2 + 3 + 6 + 7) / 4], [10.5, 12.5], [16.5, 18.5]]
    np.testing.assert_allclose(picture_of(ax), blocks)
    assert ax.get_xlabel() == "column (averaged over 2)"
    assert ax.get_ylabel() == "row (averaged over 2)"
    assert ax.figure.axes[-1].get_ylabel() == "residual, mean of a block"
    with pytest.raises(ValueError, match=r"`Y` must have the shape of the model, \(5, 4\)"):
        plot.residuals(model, Y.T, ax=ax)


# loadings


def test_loadings_are_sorted_and_named(ax):
    model = wlrmf.fit(np.outer([1.0, 2], [-3.0, 1, 5, 2]), rank=1)
    turn = np.sign(model.X[0, 2])
    assert plot.loadings(model, 0, ["a", "b", "c", "d"], ax, most=3) is ax
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == sorted(widths)
    wanted = ["a", "d", "c"] if turn > 0 else ["c", "d", "a"]
    assert [label.get_text() for label in ax.get_yticklabels()] == wanted
    assert ax.get_xlabel() == "loading on factor 0 (the 3 largest of 4)"
    other = ax.figure.subplots(1, 2)[0]
    plot.loadings(model, ax=other, side="rows")
    assert {label.get_text() for label in other.get_yticklabels()} == {"0", "1"}
    assert other.get_xlabel() == "loading on factor 0"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"factor": 1}, "`factor` must be an int of at least 0 and at most 0; got 1"),
        ({"names": ["a"]}, "`names` must have one for each of 4 columns; got 1"),
        ({"side": "both"}, "`side` must be .* got 'both'"),
    ],
)
def test_loadings_refuse_what_is_not_there(ax, options, reason):
    model = wlrmf.fit(np.outer([1.0, 2], [-3.0, 1, 5, 2]), rank=1)
    with pytest.raises(ValueError, match=reason):
        plot.loadings(model, ax=ax, **options)


# calibration


def test_calibration_has_weighted_means_and_counts(ax):
    predicted = np.array([0.0, 0.0, 1.0, 1.0, 1.0])
    true = np.array([0.0, 2.0, 1.0, 1.0, 4.0])
    weights = np.array([1.0, 1, 1, 1, 2])
    assert plot.calibration(true, predicted, weights, ax, bins=2) is ax
    dots = ax.get_lines()[1]
    np.testing.assert_allclose(dots.get_xdata(), [0, 1])
    np.testing.assert_allclose(dots.get_ydata(), [1, 2.5])
    assert [text.get_text() for text in ax.texts[:2]] == ["2", "3"]
    (bars,) = ax.collections
    low, high = bars.get_segments()[0][:, 1]
    assert high - low == pytest.approx(4 * 2**0.5 / 2)  # two standard errors either way


def test_calibration_of_a_single_cell_and_of_none(ax):
    plot.calibration([1.0], [2.0], ax=ax)
    assert ax.get_lines()[1].get_xydata().tolist() == [[2.0, 1.0]]
    with pytest.raises(ValueError, match="of one length, at least 1; got 0, 0 and 0"):
        plot.calibration([], [], ax=ax)


# coverage


def test_coverage_counts_the_cells_within_their_intervals(ax):
    """At 1.0 and 1.5 deviations a value is in the intervals of 68 and of 87 %, and wider ones."""
    true, std = np.array([1.0, -3.0, 7.0]), np.array([1.0, 2.0, np.inf])
    assert plot.coverage(true, np.zeros(3), {"these": std, "wide": 100 * std}, ax) is ax
    levels, shares = ax.get_lines()[1].get_data()
    np.testing.assert_array_equal(shares, (levels > 0.6827) * 0.5 + (levels > 0.8664) * 0.5)
    assert set(ax.get_lines()[-1].get_ydata()) == {1.0}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["these", "wide"]
    segments = ax.collections[0].get_segments()
    low, high = segments[list(levels).index(0.7)][:, 1]
    assert high - low == pytest.approx(4 * (0.25 / 2) ** 0.5)


def test_coverage_of_normal_errors_is_the_diagonal(ax):
    rng = np.random.default_rng(0)
    std = rng.uniform(0.5, 2, 20_000)
    plot.coverage(std * rng.standard_normal(20_000), np.zeros(20_000), std, ax)
    levels, shares = ax.get_lines()[1].get_data()
    np.testing.assert_allclose(shares, levels, atol=0.012)
    assert ax.get_legend() is None


def test_coverage_refuses_other_lengths_and_bars_of_nothing(ax):
    with pytest.raises(ValueError, match="of one length, at least 1; got 2, 2 and 3"):
        plot.coverage([1.0, 2], [1.0, 2], [1.0, 1, 1], ax)
    with pytest.raises(ValueError, match="`std` must be above 0"):
        plot.coverage([1.0, 2], [1.0, 2], [1.0, 0], ax)
    with pytest.raises(ValueError, match="must be finite: leave missing cells out"):
        plot.coverage([1.0, np.nan], [1.0, 2], [1.0, 1], ax)


def test_cells_that_are_missing_are_no_picture():
    for draw in (plot.predicted_against_true, plot.calibration):
        with pytest.raises(ValueError, match="must be finite: leave missing cells out"):
            draw([1.0, np.nan], [2.0, 3.0])
