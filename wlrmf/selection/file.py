"""A selection's file: a model file with the table of what was tried in it."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np

from .. import archive
from ..model import Factorization
from ..model_file import pack, refusing_parts, unpack

SCHEMA = "wlrmf-selection"
# What is stored of a trial, and the kinds of NumPy that each may be of.
COLUMNS = {
    "rank": "i", "reg": "f", "error": "f", "se": "f", "value": "f", "n_iter": "i", "seconds": "f",
    "status": "U",
}  # fmt: skip
PLAIN: dict[str, type] = {"rank": int, "best_rank": int, "metric": str, "rule": str, "n_folds": int}
NUMBERS = ("reg", "best_reg", "limit", "seconds")  # an array, because JSON has no NaN


def write(path: str | PathLike[str], fields: dict[str, Any]) -> None:
    """Write the fields of a `Selection`."""
    model, table = fields["model"], fields["table"]
    arrays, header = ({}, None) if model is None else pack(vars(model))
    for name in COLUMNS:
        arrays[f"trial_{name}"] = np.array([getattr(trial, name) for trial in table])
    arrays["trial_errors"] = np.array([trial.errors for trial in table])
    arrays["choice"] = np.array([fields[name] for name in NUMBERS], np.float64)
    plain = {name: fields[name] for name in PLAIN}
    archive.write(path, arrays, {"model": header, "selection": plain}, schema=SCHEMA)


def read(path: str | PathLike[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Fields of a `Selection` without its table, and of each `Trial`, judged.

    Raises
    ------
    ModelFormatError
        If the file is damaged, of another kind or from a newer version, or its parts do not fit.
    """
    arrays, header = archive.read(path, schema=SCHEMA)
    with refusing_parts(path):
        fields = dict(zip(NUMBERS, arrays.pop("choice").tolist(), strict=True))
        for name, kind in PLAIN.items():
            if type(header["selection"][name]) is not kind:
                raise ValueError(f"{name} is {header['selection'][name]!r}")
            fields[name] = header["selection"][name]
        rows = _rows(arrays, fields["n_folds"])
        model = header["model"]
        fields["model"] = None if model is None else Factorization(**unpack(arrays, model))
        tried = {(row["rank"], row["reg"]) for row in rows}
        ranks, regs = ({pair[k] for pair in tried} for k in (0, 1))
        if not len(rows) == len(tried) == len(ranks) * len(regs):
            raise ValueError("the table is not one row for each rank and ridge")
        for pair in (("rank", "reg"), ("best_rank", "best_reg")):
            if tuple(map(fields.get, pair)) not in tried:
                raise ValueError(f"{' and '.join(pair)} are not in the table")
        return fields, rows


def _rows(arrays: dict[str, np.ndarray], n_folds: int) -> list[dict[str, Any]]:
    columns = {name: arrays.pop(f"trial_{name}") for name in COLUMNS}
    errors = arrays.pop("trial_errors")
    size = len(columns["rank"])
    for name, kind in COLUMNS.items():
        if columns[name].dtype.kind != kind or columns[name].shape != (size,):
            raise ValueError(f"{name} is {columns[name].dtype} of shape {columns[name].shape}")
    if errors.dtype.kind != "f" or errors.shape != (size, n_folds):
        raise ValueError(f"errors have shape {errors.shape}, not {(size, n_folds)}")
    lists = {name: column.tolist() for name, column in columns.items()}
    return [
        {name: column[k] for name, column in lists.items()} | {"errors": tuple(errors[k].tolist())}
        for k in range(size)
    ]
