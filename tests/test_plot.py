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
