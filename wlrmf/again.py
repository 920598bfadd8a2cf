"""The problem of a fit anew, in float64: as the model remembers it, or from data given again."""

from __future__ import annotations

import warnings
from dataclasses import fields, replace
from typing import Any

import numpy as np

from .kernels.chunks import available_threads, one_blas_thread
from .objective import Objective
from .problem import Problem, build
from .validation.arrays import check_names, read_names
from .validation.cells import Cells, read_cells
from .validation.errors import DataWarning
from .validation.options import read_int, read_reg, spread_reg


def problem_of(
    model: Any, Y: Any, mask: Any, weights: Any, reg: Any, n_threads: Any
) -> tuple[Objective, np.ndarray, np.ndarray]:
    """The objective and both whole factors of a model.

    Parameters
    ----------
    model : Factorization
    Y, mask, weights, reg, n_threads : as in `wlrmf.fit`
        Y None: the data of the fit, which a model has in memory, but not in a file. `reg` None:
        that of the fit.

    Raises
    ------
    TypeError, ValueError
        If the data make no sense or have not the shape or the names of the fit; if they or the
        ridge are needed.
    """
    threads = available_threads() if n_threads is None else read_int(n_threads, "n_threads", 1)
    row_reg, col_reg = _ridges(model, reg)
    with one_blas_thread():
        if Y is None:
            problem = _remembered(model, mask is not None or weights is not None, threads)
        else:
            problem = build(_cells(model, Y, mask, weights), threads)
        objective = Objective(
            problem,
            spread_reg(row_reg, model.reg_scaling, problem.row_counts(), problem.dtype),
            spread_reg(col_reg, model.reg_scaling, problem.col_counts(), problem.dtype),
            model.layout,
        )
    left, right = (np.array(f, np.float64, order="C") for f in (model.left, model.right))
    return objective, left, right


def _remembered(model: Any, others: bool, n_threads: int) -> Problem:
    """The problem of the fit in float64."""
    if model.objective is None:
        raise ValueError(
            "`Y` is needed: this model has not its data (it was folded in, or read from a file)"
        )
    if others:
        raise ValueError("`Y` is needed with another mask or weights; without, the fit's are used")
    problem = model.objective.problem
    arrays = {f.name: getattr(problem, f.name) for f in fields(problem)}
    wide = {
        name: array.astype(np.float64)
        for name, array in arrays.items()
        if isinstance(array, np.ndarray) and array.dtype == np.float32
    }
    return replace(problem, n_threads=n_threads, **wide)


def _cells(model: Any, Y: Any, mask: Any, weights: Any) -> Cells:
    names = read_names(Y)
    check_names("Y", "rows", names[0], model.row_names, "the fit")
    check_names("Y", "columns", names[1], model.col_names, "the fit")
    shape = np.shape(Y)
    if len(shape) == 2 and shape != model.shape:
        hint = ". Is it transposed? Try Y.T" if shape == model.shape[::-1] else ""
        raise ValueError(f"`Y` must have the shape of the fit, {model.shape}; got {shape}{hint}")
    baseline = None
    if model.base_v is not None:
        baseline = np.broadcast_to(np.asarray(model.base_u, float), shape[:1]).copy(), model.base_v
    return read_cells(Y, mask, weights, baseline, np.float64)


def check_loss(model: Any, objective: Objective, loss: float) -> None:
    """Warn if the loss at these data is not that of the fit."""
    rounding = (64 * float(np.finfo(model.left.dtype).eps)) ** 2 * objective.problem.square_sum()
    if abs(loss - model.loss) > 1e-3 * abs(model.loss) + rounding:
        warnings.warn(
            f"the loss at these data is {loss:.6g}, but the model's is {model.loss:.6g}: are they, "
            "with mask and weights, those of the fit?",
            DataWarning,
            stacklevel=4,
        )


def _ridges(model: Any, reg: Any) -> tuple[Any, Any]:
    if reg is not None:
        return read_reg(reg, model.shape)
    if model.col_reg is None:
        raise ValueError(
            "`reg` is needed: this model does not know the columns' ridge (it was folded in, or "
            "read from a file of an earlier version)"
        )
    return model.row_reg, model.col_reg
