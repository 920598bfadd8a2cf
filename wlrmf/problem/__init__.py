"""The data and their weights as one object: one class for each weight structure.

Below `fit`, factors come in storage form, W (m, rank) and X (n, rank), one row an entity.
"""

from dataclasses import fields, replace

import numpy as np

from ..validation.cells import Cells
from .baseline import Baseline
from .complete import Complete
from .dense import Dense
from .observed import Observed
from .protocol import Fixed, Inexact, Listed, Problem
from .reduced import Reduced, Solved

__all__ = [
    "Baseline",
    "Complete",
    "Dense",
    "Fixed",
    "Inexact",
    "Listed",
    "Observed",
    "Problem",
    "Reduced",
    "Solved",
    "build",
    "widened",
]


SPARSE = 1 / 3  # share of seen cells up to which a list of them is smaller, and faster to fit


def build(cells: Cells, n_threads: int = 1) -> Problem:
    """Choose the class that the judged cells call for."""
    if cells.indptr is None:
        if cells.A2.size == 0:
            return Complete(cells.Y, cells.A2, n_threads)
        dense = Dense(cells.Y, cells.A2, n_threads)
        return dense.observed() if dense.nnz <= SPARSE * cells.Y.size else dense
    structure = Observed if cells.u.size == 0 else Baseline
    return structure(
        cells.shape, cells.indptr, cells.indices, cells.Y, cells.A2, cells.u, cells.v, n_threads
    )


def widened(problem: Problem) -> Problem:
    """The same problem in float64."""
    if problem.dtype == np.float64:
        return problem
    arrays = {
        field.name: value.astype(np.float64)
        for field in fields(problem)  # type: ignore[arg-type]
        if isinstance(value := getattr(problem, field.name), np.ndarray) and value.dtype.kind == "f"
    }
    return replace(problem, **arrays)  # type: ignore[type-var]
