"""A model's fields as arrays and a JSON header, and back, judged on the way in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import Any

import numpy as np

from . import archive
from .objective import Layout
from .result import Counts, Status, Trace
from .version import version

ARRAYS = ("left", "right", "empty_rows", "empty_cols", "start_values", "row_reg")
OPTIONAL = ("col_reg", "base_u", "base_v", "row_names", "col_names")
NUMBERS = ("value", "loss", "optimality", "rounding")  # an array, because JSON has no NaN
PLAIN: dict[str, type] = {
    "has_bias": bool,
    "n_iter": int,
    "solver": str,
    "n_regularized": int,
    "reg_scaling": str,
}


def pack(fields: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The fields of a `Factorization`, all but its state, as arrays and a header."""
    arrays = {name: np.asarray(fields[name]) for name in ARRAYS}
    arrays |= {name: np.asarray(fields[name]) for name in OPTIONAL if fields[name] is not None}
    arrays["numbers"] = np.array([fields[name] for name in NUMBERS], np.float64)
    arrays |= {f"trace_{name}": column for name, column in fields["trace"].to_dict().items()}
    header = {name: fields[name] for name in PLAIN}
    header |= {
        "layout": vars(fields["layout"]),
        "status": fields["status"].name,
        "counts": vars(fields["counts"]),
        "written_by": f"wlrmf {version()}",
    }
    return arrays, header


def unpack(arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that `pack` took, judged.

    Raises
    ------
    KeyError, TypeError, ValueError, AttributeError
        If the parts do not make a model.
    """
    fields = _fields(arrays, header)
    _judge(fields)
    return fields


def write(path: str | PathLike[str], fields: Mapping[str, Any]) -> None:
    """Write the fields of a `Factorization`, all but its state."""
    archive.write(path, *pack(fields))


def read(path: str | PathLike[str]) -> dict[str, Any]:
    """The fields that `write` wrote.

    Raises
    ------
    ModelFormatError
        If the file is damaged, of another kind or from a newer version, or its parts do not fit.
    """
    arrays, header = archive.read(path)
    with refusing_parts(path):
        return unpack(arrays, header)


@contextmanager
def refusing_parts(path: str | PathLike[str]) -> Iterator[None]:
    """Turn whatever parts that do not fit provoke into one error, which names the file."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise archive.ModelFormatError(f"{path}: its parts do not make a model: {error}") from None


def _fields(arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {name: arrays[name] for name in ARRAYS}
    fields |= {name: arrays.get(name) for name in OPTIONAL}
    for name in ("row_reg", "col_reg", "base_u"):  # a number where it is the same for all
        value = fields[name]
        fields[name] = float(value) if value is not None and value.ndim == 0 else value
    _check_vector("start_values", arrays["start_values"], "f", arrays["start_values"].size)
    fields["start_values"] = tuple(arrays["start_values"].tolist())
    numbers = np.append(arrays["numbers"], [0.0] * (arrays["numbers"].size == 3))  # no `rounding`
    _check_vector("numbers", numbers, "f", len(NUMBERS))
    fields |= dict(zip(NUMBERS, numbers.tolist(), strict=True))
    fields["trace"] = unpack_trace(arrays)
    for name, kind in PLAIN.items():
        if type(header[name]) is not kind:
            raise ValueError(f"{name} is {header[name]!r}")
    fields |= {name: header[name] for name in PLAIN}
    fields["layout"] = unpack_layout(header["layout"])
    fields["counts"] = Counts(**{k: _count(k, v) for k, v in header["counts"].items()})
    fields["status"] = Status[header["status"]]
    return fields


def unpack_trace(arrays: Mapping[str, np.ndarray]) -> Trace:
    """The trace that `pack` took: columns of one length."""
    columns = {name: arrays[f"trace_{name}"] for name in vars(Trace())}
    size = columns["iteration"].size
    for name, column in columns.items():
        empty = column.size == 0 == size  # an empty list is an array of floats
        _check_vector(f"trace_{name}", column, "if" if empty or name != "iteration" else "i", size)
    return Trace(**{name: column.tolist() for name, column in columns.items()})


def unpack_layout(sizes: Mapping[str, Any]) -> Layout:
    """The layout, whose fields are numbers of columns."""
    return Layout(**{name: _count(name, value) for name, value in sizes.items()})


def check_factors(factors: Mapping[str, np.ndarray], columns: int, least: int = 1) -> None:
    """Finite matrices of one float type, with so many columns and at least so many rows."""
    for name, factor in factors.items():
        if factor.ndim != 2 or factor.dtype not in (np.float32, np.float64):
            raise ValueError(f"{name} is {factor.dtype} of shape {factor.shape}")
        if factor.shape[1] != columns or len(factor) < least:
            raise ValueError(f"{name} has shape {factor.shape} for {columns} columns")
        if not np.isfinite(factor).all():
            raise ValueError(f"{name} is not finite")
    if len({factor.dtype for factor in factors.values()}) > 1:
        raise ValueError(", ".join(f"{name} is {f.dtype}" for name, f in factors.items()))


def _count(name: str, value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} is {value!r}")
    return value


def _judge(fields: dict[str, Any]) -> None:
    """Shapes and types that the methods of a model rely on."""
    left, right, layout = fields["left"], fields["right"], fields["layout"]
    check_factors({"left": left, "right": right}, layout.columns)
    if fields["has_bias"] != (layout.both == 1) or layout.both > 1:
        raise ValueError(f"has_bias is {fields['has_bias']} with {layout.both} constant columns")
    if fields["has_bias"] and not (layout.pinned_X and layout.pinned_W):
        raise ValueError("biases without their columns")
    for name, size in (("row_names", len(left)), ("col_names", len(right))):
        if fields[name] is not None:
            _check_vector(name, fields[name], "U", size)
    for name, size in (("empty_rows", len(left)), ("empty_cols", len(right))):
        _check_vector(name, fields[name], "iu", fields[name].size)
        if not ((fields[name] >= 0) & (fields[name] < size)).all():
            raise ValueError(f"{name} are not among {size}")
    _judge_weights(fields)


def _judge_weights(fields: dict[str, Any]) -> None:
    """Ridges and baseline weights: finite and not negative, one or as many as there are rows."""
    if (fields["base_u"] is None) != (fields["base_v"] is None):
        raise ValueError("half a baseline")
    if np.ndim(fields["base_v"]) == 0 and fields["base_v"] is not None:
        raise ValueError("base_v is one number")
    for name in ("row_reg", "col_reg", "base_u", "base_v"):
        value = fields[name]
        if value is None:
            continue
        if np.ndim(value):
            side = "left" if name in ("row_reg", "base_u") else "right"
            _check_vector(name, value, "iuf", len(fields[side]))
        if not (np.isfinite(value) & (np.asarray(value) >= 0)).all():
            raise ValueError(f"{name} is negative or not finite")


def _check_vector(name: str, array: np.ndarray, kinds: str, size: int) -> None:
    if array.dtype.kind not in kinds or array.shape != (size,):
        raise ValueError(f"{name} has shape {array.shape}, not ({size},), of {array.dtype}")
