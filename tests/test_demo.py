"""The demonstration: its splits are honest, its figures say what the text says."""

import sys

import numpy as np
import pytest

from wlrmf import demo
from wlrmf.data import load_nyc_delays


@pytest.fixture(scope="module")
def result():
    return demo.run(ranks=(1, 4))


def test_weights_make_the_factors_pay(result):
    additive = result.additive.rmse
    weighted, unweighted = (result.select(name) for name in demo.NAMES)
    assert [row.rank for row in weighted] == [1, 4] == result.ranks
    assert additive > weighted[0].rmse > weighted[1].rmse
    for with_weights, without in zip(weighted, unweighted, strict=True):
        assert with_weights.rmse < without.rmse
    # With little ridge, rank 4 still pays with the weights, and not at all without them.
    light = [result.select(name, chosen=False)[1].rmse for name in demo.NAMES]
    assert light[0] < additive - 1
    assert light[1] > additive + 1


def test_errors_are_of_the_known_size(result):
    assert 20 < result.additive.rmse < 22
    assert result.select("weighted")[1].rmse < 19.5


def test_rows_say_how_each_fit_was_made(result):
    assert len(result.rows) == 1 + 2 * 2 * 2
    assert (result.additive.rank, result.additive.weighted) == (0, True)
    for row in result.rows:
        assert row.weighted == (row.model != "unweighted")
        assert np.isfinite(row.validation) == row.chosen
        assert row.reg in demo.REGS
        assert row.chosen or row.reg == min(demo.REGS)


def test_the_best_fit_is_chosen_without_the_held_out_cells(result):
    assert result.best in result.select("weighted")
    assert result.best.validation == min(row.validation for row in result.select("weighted"))
    model = result.models[f"rank {result.best.rank}"]
    assert model.success
    error = np.average((result.true - result.predicted) ** 2, weights=result.n_flights) ** 0.5
    assert error == pytest.approx(result.best.rmse)


def test_table_and_summary_are_the_rows_in_words(result):
    header, lines = result.table()
    assert header == [
        "rank",
        "weighted",
        "unweighted",
        "weighted, ridge 10",
        "unweighted, ridge 10",
    ]
    assert [len(line) for line in lines] == [5, 5, 5]
    assert [line[0] for line in lines] == ["0 (additive)", "1", "4"]
    assert lines[2][1] == f"{result.select('weighted')[1].rmse:.2f}"
    assert lines[2][4] == f"{result.select('unweighted', chosen=False)[1].rmse:.2f}"
    assert "lower the held-out error at 2 of 2 ranks" in result.summary()
    assert f"{result.additive.rmse:.1f} additive" in result.summary()


def test_the_three_parts_of_the_data_do_not_overlap():
    bench = demo._Bench.split(5)
    observed = load_nyc_delays().n_flights > 0
    assert not (bench.held_out & bench.training).any()
    np.testing.assert_array_equal(bench.held_out | bench.training, observed)
    assert not (bench.validation & ~bench.training).any()
    assert bench.held_out.sum() == round(0.1 * observed.sum())
    assert bench.validation.sum() == round(0.1 * bench.training.sum())


@pytest.mark.parametrize("share", [0.1, 0.9, 1.0])
def test_hold_out_leaves_a_cell_in_every_row_and_column(share):
    generator = np.random.default_rng(0)
    observed = generator.random((30, 12)) < 0.3
    out = demo.hold_out(observed, share, generator)
    rest = observed & ~out
    assert not (out & ~observed).any()
    assert out.sum() <= round(share * observed.sum())
    for axis in (0, 1):
        np.testing.assert_array_equal(rest.any(axis=axis), observed.any(axis=axis))


def test_the_seed_fixes_the_split():
    a, b, c = (demo._Bench.split(seed).held_out for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_the_picture_is_a_png(result, tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    path = tmp_path / "demo.png"
    demo.picture(result, path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(content) > 20_000


def test_the_picture_without_matplotlib_says_what_to_install(result, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'wlrmf\[plot\]'"):
        demo.picture(result, tmp_path / "demo.png")
    assert not list(tmp_path.iterdir())
