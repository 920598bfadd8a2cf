"""Estimators in files: a model file with the parameters and what else was fitted."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
from sklearn.impute import MissingIndicator
from sklearn.utils.validation import check_is_fitted

from .. import archive
from ..model import Factorization
from ..model_file import pack, refusing_parts, unpack
from ..validation.errors import describe
from .factorization import MatrixFactorization
from .imputer import LowRankImputer
from .scaling import Scaling

SCHEMA = "wlrmf-estimator"
CLASSES = {kind.__name__: kind for kind in (MatrixFactorization, LowRankImputer)}
# What `fit` leaves beside the model, by kind.
COUNTS: dict[str, type] = {"rank_": int, "n_iter_": int, "n_features_in_": int}
NUMBERS: dict[str, dict[str, type]] = {
    "MatrixFactorization": COUNTS,
    "LowRankImputer": COUNTS
    | {"reg_": float, "row_reg_": float, "_clips": bool, "_keeps_empty": bool},
}
ARRAYS = {"MatrixFactorization": ("components_", "intercept_"), "LowRankImputer": ("_some",)}
NAN = "NaN"  # which JSON has not


def save(estimator: Any, path: str | PathLike[str]) -> None:
    """Write a fitted estimator to `path`: an npz without pickled objects.

    Parameters
    ----------
    estimator : MatrixFactorization or LowRankImputer
        Fitted. Its parameters must be numbers, texts, None, or pairs of numbers: a solver goes by
        name, and a random state is an int or None.
    path : str or path-like
        An existing file is replaced, once the new one is whole.

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError
        For another object, or a parameter that no JSON can hold.
    """
    name = type(estimator).__name__
    if type(estimator) is not CLASSES.get(name):
        raise TypeError(f"`estimator` must be one of {list(CLASSES)}; got {describe(estimator)}")
    check_is_fitted(estimator)
    fitted = vars(estimator)
    arrays, model = pack(vars(fitted["model_"]))
    arrays |= {f"own{each}": fitted[each] for each in ARRAYS[name]}
    if "scaling_" in fitted:
        arrays |= {f"column_{each}": array for each, array in vars(fitted["scaling_"]).items()}
    if fitted.get("indicator_") is not None:
        arrays["indicated"] = fitted["indicator_"].features_
    if "feature_names_in_" in fitted:
        arrays["feature_names"] = fitted["feature_names_in_"].astype(np.str_)
    plain = {each: fitted[each] for each in NUMBERS[name]}
    params = {key: _plain(key, value) for key, value in estimator.get_params().items()}
    header = {"class": name, "params": params, "fitted": plain, "model": model}
    archive.write(path, arrays, header, schema=SCHEMA)


def load(path: str | PathLike[str]) -> Any:
    """Read a fitted estimator that `save` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    MatrixFactorization or LowRankImputer

    Raises
    ------
    ModelFormatError
        If the file is not an estimator's, is damaged, or is of a newer version.
    """
    arrays, header = archive.read(path, schema=SCHEMA)
    with refusing_parts(path):
        params = {key: _parameter(value) for key, value in header["params"].items()}
        name = header["class"]
        out = CLASSES[name](**params)
        out.model_ = Factorization(**unpack(arrays, header["model"]))
        for each, kind in NUMBERS[name].items():
            setattr(out, each, _of_kind(each, header["fitted"][each], kind))
        for each in ARRAYS[name]:
            setattr(out, each, arrays[f"own{each}"])
        _restore(out, arrays, out.n_features_in_)
        return out


def _restore(out: Any, arrays: dict[str, np.ndarray], width: int) -> None:
    """What is more than a number or an array, and whether all of it fits."""
    used = width
    if isinstance(out, LowRankImputer):
        out.scaling_ = Scaling(*(arrays[f"column_{each}"] for each in Scaling.__annotations__))
        out.indicator_ = None
        if out._some.dtype != bool or out._some.shape != (width,):
            raise ValueError(f"the mask of columns is {out._some.dtype} {out._some.shape}")
        used = int(out._some.sum())
        for each, column in vars(out.scaling_).items():
            if column.dtype != np.float64 or column.shape != (used,):
                raise ValueError(f"{each} is {column.dtype} of shape {column.shape}")
        if "indicated" in arrays:
            out.indicator_ = _indicator(arrays["indicated"], width)
    else:
        rows = out.model_.rank + out.model_.has_bias
        for array, shape in ((out.components_, (rows, used)), (out.intercept_, (used,))):
            if array.dtype.kind != "f" or array.shape != shape:
                raise ValueError(f"components or intercept are {array.dtype} {array.shape}")
    if out.model_.shape[1] != used:
        raise ValueError(f"a model of {out.model_.shape[1]} columns for {used}")
    if "feature_names" in arrays:
        names = arrays["feature_names"]
        if names.dtype.kind != "U" or names.shape != (width,):
            raise ValueError(f"{names.shape} names for {width} columns")
        out.feature_names_in_ = names.astype(object)


def _indicator(features: np.ndarray, width: int) -> MissingIndicator:
    """An indicator of these columns: as if fitted to a row that lacks them."""
    row = np.zeros((1, width))
    row[:, features] = np.nan
    return MissingIndicator(error_on_new=False).fit(row)


def _plain(key: str, value: Any) -> Any:
    """A parameter as JSON holds it."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value).__name__ == "NAType" or (isinstance(value, float) and value != value):
        return NAN
    if isinstance(value, tuple | list) and len(value) == 2:
        return [_plain(key, each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"`{key}` must be a number, a text or None to be stored; got {describe(value)}")


def _parameter(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return np.nan if value == NAN else value


def _of_kind(name: str, value: Any, kind: type) -> Any:
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise ValueError(f"{name} is {value!r}")
    return value
