"""Selections in files."""

import numpy as np
import pytest

import wlrmf
from wlrmf import Selection, archive

SCHEMA = "wlrmf-selection"


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    Y = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 20))
    return Y + 0.1 * rng.standard_normal(Y.shape)


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("given", [{"folds": 3}, {"holdout": 0.2}])
def test_save_and_load(tmp_path, table, refit, given):
    found = wlrmf.select(table, ranks=[1, 2, 3], regs=[8.0, 1.0, 0.1], refit=refit, **given)
    found.save(tmp_path / "s.npz")
    loaded = Selection.load(tmp_path / "s.npz")
    assert repr(loaded) == repr(found)
    for name, column in found.to_dict().items():
        np.testing.assert_array_equal(loaded.to_dict()[name], column)
    assert (loaded.model is None) == (found.model is None)
    if refit:
        np.testing.assert_array_equal(loaded.model.left, found.model.left)
        assert loaded.model.value == found.model.value


@pytest.mark.parametrize(
    "change",
    [
        lambda a, h: a.pop("trial_reg"),
        lambda a, h: a.update(trial_reg=a["trial_reg"][1:]),
        lambda a, h: a.update(trial_rank=a["trial_rank"].astype(float)),
        lambda a, h: a.update(trial_errors=a["trial_errors"][:, 1:]),
        lambda a, h: a.update(choice=a["choice"][1:]),
        lambda a, h: h["selection"].update(rank=7),
        lambda a, h: h["selection"].update(n_folds="2"),
        lambda a, h: h.update(selection=None),
        lambda a, h: a.pop("left"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path, table, change):  # R67
    path = tmp_path / "s.npz"
    wlrmf.select(table, ranks=[1, 2], regs=[1.0], folds=2).save(path)
    arrays, header = archive.read(path, schema=SCHEMA)
    change(arrays, header)
    archive.write(path, arrays, header, schema=SCHEMA)
    with pytest.raises(wlrmf.ModelFormatError, match="its parts do not make a model"):
        Selection.load(path)
    wlrmf.fit(table, rank=1).save(path)
    with pytest.raises(wlrmf.ModelFormatError, match="wlrmf-model"):
        Selection.load(path)
