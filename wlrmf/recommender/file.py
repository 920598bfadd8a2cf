"""A recommender's file: a model file with the ids, the ratings and the settings in it."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
from scipy import sparse

from .. import archive
from ..model import Factorization
from ..model_file import pack, refusing_parts, unpack
from .fitted import Fitted
from .ids import Ids
from .ratings import Ratings

SCHEMA = "wlrmf-recommender"
OWN = ("users", "items", "indptr", "indices", "values", "entry_weights")


def write(path: str | PathLike[str], fitted: Fitted, settings: dict[str, Any]) -> None:
    """Write what a recommender knows and how it was set."""
    arrays, header = pack(vars(fitted.model))
    ratings = fitted.ratings
    arrays |= {
        "users": ratings.users.labels,
        "items": ratings.items.labels,
        "indptr": ratings.indptr,
        "indices": ratings.indices,
        "values": ratings.values.data,
    }
    if ratings.weights is not None:
        arrays["entry_weights"] = ratings.weights
    archive.write(path, arrays, {"model": header, "settings": settings}, schema=SCHEMA)


def read(path: str | PathLike[str], names: tuple[str, ...]) -> tuple[Fitted, dict[str, Any]]:
    """What `write` wrote, with settings of these names, judged.

    Raises
    ------
    ModelFormatError
        If the file is damaged, of another kind or from a newer version, or its parts do not fit.
    """
    arrays, header = archive.read(path, schema=SCHEMA)
    with refusing_parts(path):
        own = {name: arrays.pop(name) for name in OWN if name in arrays}
        model = Factorization(**unpack(arrays, header["model"]))
        users, items = (Ids(_labels(own[name + "s"], name), name) for name in ("user", "item"))
        if model.shape != (len(users), len(items)):
            raise ValueError(f"a model of shape {model.shape} for {len(users)} × {len(items)} ids")
        values = sparse.csr_array((own["values"], own["indices"], own["indptr"]), shape=model.shape)
        values.check_format(full_check=True)
        if not values.has_canonical_format:
            raise ValueError("the ratings' indices do not rise")
        weights = own.get("entry_weights")
        for name, numbers in (("values", values.data), ("weights", weights)):
            if numbers is not None and (
                numbers.dtype.kind not in "iuf" or numbers.shape != (values.nnz,)
            ):
                raise ValueError(f"{name} of {values.nnz} ratings are {numbers.dtype}")
        settings = {name: header["settings"][name] for name in names}
        if isinstance(settings["reg"], list):
            settings["reg"] = tuple(settings["reg"])
        return Fitted(model, Ratings(values, weights, users, items)), settings


def _labels(labels: np.ndarray, kind: str) -> np.ndarray:
    if labels.ndim != 1 or labels.dtype.kind not in "iuU" or np.unique(labels).size != labels.size:
        raise ValueError(f"the {kind} ids are {labels.dtype} of shape {labels.shape}")
    return labels
