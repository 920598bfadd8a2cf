"""What a model remembers of its data, and the same data given again."""

import dataclasses
import pickle

import cases
import numpy as np
import pytest

import wlrmf
from wlrmf import again, fit
from wlrmf.objective import Layout


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("structure", cases.STRUCTURES)
def test_remembered_and_given_again_are_the_same(structure, dtype):
    given, _ = cases.arguments(structure, dtype=dtype)
    model = fit(**given, rank=2, reg=(0.3, np.linspace(0.1, 1, 17)), bias=True)
    about = given["Y"], None, given.get("weights")
    own = again.problem_of(model, None, None, None, None, 1)
    other = again.problem_of(model, *about, None, 1)
    for one, two in zip(own[1:], other[1:], strict=True):
        np.testing.assert_array_equal(one, two)
        assert one.dtype == np.float64
    assert own[0].layout == other[0].layout == Layout(1, 2, 1, 1)
    assert own[0].problem.dtype == np.float64
    assert type(own[0].problem) is type(other[0].problem)
    values = [objective.value(*own[1:]) for objective in (own[0], other[0])]
    assert values[0] == pytest.approx(values[1], rel=1e-6 if dtype == np.float32 else 1e-13)
    assert values[0] == pytest.approx(model.value, rel=1e-5)


def test_files_pickles_and_new_rows_have_no_data(tmp_path):
    Y = np.random.default_rng(0).standard_normal((9, 7))
    model = fit(Y, rank=2, reg=0.5)
    model.save(tmp_path / "model.npz")
    read = wlrmf.load(tmp_path / "model.npz")
    for other in read, pickle.loads(pickle.dumps(model)), model.fold_in(Y):
        assert other.problem is None
        with pytest.raises(ValueError, match="`Y` is needed, with the mask and weights"):
            other.certificate(reg=0.5)
    assert read.certificate(Y).value == model.certificate().value
    with pytest.raises(ValueError, match="`mask` needs `Y` beside it"):
        model.certificate(None, np.ones(Y.shape))


def test_data_that_are_not_the_factors_own_are_told():
    Y = np.random.default_rng(0).standard_normal((9, 7))
    model, other = (fit(data, rank=2, reg=0.5) for data in (Y, Y + 1))
    with pytest.warns(wlrmf.DataWarning, match="the loss at these data is"):
        dataclasses.replace(model, problem=other.problem).certificate()
