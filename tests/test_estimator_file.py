"""Estimators in files."""

import numpy as np
import pytest

import wlrmf
from wlrmf import archive

pytest.importorskip("sklearn", reason="scikit-learn is absent")
from sklearn.exceptions import NotFittedError

from wlrmf.estimator import LowRankImputer, MatrixFactorization, load, save

SCHEMA = "wlrmf-estimator"


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    Y = rng.standard_normal((40, 2)) @ rng.standard_normal((2, 8))
    Y[rng.random(Y.shape) < 0.2] = np.nan
    Y[:, 3] = np.nan
    Y[:, 6] = 1.5
    return Y


CASES = [
    MatrixFactorization(rank=2, reg=(0.1, 0.2)),
    MatrixFactorization(rank=1, reg=0.1, bias=True, max_seconds=100.0),
    LowRankImputer(rank=2, random_state=3),
    LowRankImputer(rank=2, reg=0.1, add_indicator=True, keep_empty_features=True),
    LowRankImputer(rank=2, reg=0.1, add_indicator=True, scale=False, clip=False),
    LowRankImputer(rank=2, reg=0.1, missing_values=-1),
]


@pytest.mark.parametrize("estimator", CASES, ids=range(len(CASES)))
def test_save_and_load(tmp_path, table, estimator):
    if estimator.get_params().get("missing_values") == -1:
        table = np.nan_to_num(table, nan=-1)
    estimator.fit(table)
    save(estimator, tmp_path / "e.npz")
    loaded = load(tmp_path / "e.npz")
    assert type(loaded) is type(estimator)
    assert repr(loaded.get_params()) == repr(estimator.get_params())
    np.testing.assert_array_equal(loaded.transform(table), estimator.transform(table))
    np.testing.assert_array_equal(loaded.get_feature_names_out(), estimator.get_feature_names_out())
    assert set(vars(loaded)) == set(vars(estimator))
    if isinstance(estimator, MatrixFactorization):
        factors = estimator.transform(table)
        np.testing.assert_array_equal(
            loaded.inverse_transform(factors), estimator.inverse_transform(factors)
        )


def test_names_of_columns_are_kept(tmp_path, table):
    pandas = pytest.importorskip("pandas", reason="pandas is absent")
    frame = pandas.DataFrame(table, columns=[f"c{k}" for k in range(8)])
    imputer = LowRankImputer(rank=1, reg=0.1).set_output(transform="pandas").fit(frame)
    save(imputer, tmp_path / "e.npz")
    loaded = load(tmp_path / "e.npz").set_output(transform="pandas")
    assert loaded.transform(frame).equals(imputer.transform(frame))
    with pytest.raises(ValueError, match="feature names"):
        loaded.transform(frame.rename(columns={"c0": "other"}))


@pytest.mark.parametrize("kind", [MatrixFactorization, LowRankImputer])
def test_single_precision(tmp_path, table, kind):
    table = table.astype(np.float32)
    estimator = kind(rank=2, reg=0.1).fit(table)
    save(estimator, tmp_path / "e.npz")
    found = load(tmp_path / "e.npz").transform(table)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, estimator.transform(table))


@pytest.mark.parametrize(
    "change",
    [
        lambda a, h: a.pop("owncomponents_"),
        lambda a, h: a.update(owncomponents_=a["owncomponents_"].astype(str)),
        lambda a, h: a.update(owncomponents_=a["owncomponents_"][:1]),
        lambda a, h: a.update(ownintercept_=a["ownintercept_"][:1]),
        lambda a, h: h["fitted"].pop("n_iter_"),
    ],
)
def test_parts_of_a_transformer_that_do_not_fit(tmp_path, table, change):
    path = tmp_path / "e.npz"
    save(MatrixFactorization(rank=2, reg=0.1).fit(table), path)
    arrays, header = archive.read(path, schema=SCHEMA)
    change(arrays, header)
    archive.write(path, arrays, header, schema=SCHEMA)
    with pytest.raises(wlrmf.ModelFormatError, match="its parts do not make a model"):
        load(path)


def test_what_cannot_be_saved(tmp_path, table):  # R70
    with pytest.raises(NotFittedError):
        save(MatrixFactorization(), tmp_path / "e.npz")
    seeded = MatrixFactorization(reg=0.1, random_state=np.random.default_rng(0)).fit(table)
    with pytest.raises(TypeError, match="`random_state` must be a number"):
        save(seeded, tmp_path / "e.npz")
    with pytest.raises(TypeError, match="`estimator` must be one of"):
        save(wlrmf.fit(table, rank=1), tmp_path / "e.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        lambda a, h: h.update({"class": "Pipeline"}),
        lambda a, h: h["params"].update(colour="red"),
        lambda a, h: h["fitted"].update(n_features_in_=7),
        lambda a, h: h["fitted"].update(n_features_in_="8"),
        lambda a, h: h["fitted"].update(_clips=1),
        lambda a, h: h["fitted"].pop("row_reg_"),
        lambda a, h: a.pop("column_scale"),
        lambda a, h: a.update(column_scale=a["column_scale"][1:]),
        lambda a, h: a.update(own_some=~a["own_some"]),
        lambda a, h: a.update(indicated=np.array([9])),
        lambda a, h: a.update(left=a["left"][:, :1]),
        lambda a, h: h.update(params=[1]),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path, table, change):  # R67
    path = tmp_path / "e.npz"
    save(LowRankImputer(rank=2, reg=0.1, add_indicator=True).fit(table), path)
    arrays, header = archive.read(path, schema=SCHEMA)
    change(arrays, header)
    archive.write(path, arrays, header, schema=SCHEMA)
    with pytest.raises(wlrmf.ModelFormatError, match="its parts do not make a model"):
        load(path)
