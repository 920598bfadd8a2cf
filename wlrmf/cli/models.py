"""Model files of either kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from .. import archive
from ..model import Factorization, load
from ..recommender import Recommender
from ..recommender.file import SCHEMA

OTHERS = {
    "wlrmf-selection": "wlrmf.Selection.load",
    "wlrmf-estimator": "wlrmf.estimator.load",
}


def is_recommender(path: Path) -> bool:
    """Whether a recommender wrote this file."""
    return archive.schema_of(path) == SCHEMA


def load_recommender(path: Path) -> Recommender:
    """A recommender, or advice."""
    if archive.schema_of(path) == archive.MODEL:
        raise click.ClickException(
            f"{path}: a model without ids and ratings; `wlrmf fit --feedback …` makes a recommender"
        )
    return Recommender.load(path)


def load_model(path: Path) -> Factorization:
    """The factorization in a file; a recommender's ids are its names."""
    kind = archive.schema_of(path)
    if kind in OTHERS:
        raise click.ClickException(f"{path}: {OTHERS[kind]} reads this file, not the command line")
    return named(Recommender.load(path)) if kind == SCHEMA else load(path)


def named(known: Recommender) -> Factorization:
    """A recommender's factorization, with the ids as names."""
    rows, cols = (ids.astype(np.str_) for ids in (known.user_ids, known.item_ids))
    return replace(known.model, row_names=rows, col_names=cols)
