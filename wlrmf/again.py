"""The problem of a fit anew, in float64: as the model remembers it, or from data given again."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from .kernels.chunks import available_threads, one_blas_thread
from .objective import Objective
from .problem import Problem, build, widened
from .validation.arrays import check_names, read_names
from .validation.cells import read_cells
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
        `reg` None: that of the fit. `Y` None: the data of the fit, which a model that was read
        from a file, copied or folded in does not have.

    Raises
    ------
    TypeError, ValueError
        If the data make no sense or have not the shape or the names of the fit; if they or the
        ridge are needed.
    """
    threads = available_threads() if n_threads is None else read_int(n_threads, "n_threads", 1)
    left, right = (np.array(f, np.float64, order="C") for f in (model.left, model.right))
    if Y is None:
        problem = _remembered(model, mask, weights, threads)
    else:
        problem = _given(model, Y, mask, weights, threads)
    row_reg, col_reg = _ridges(model, reg)
    with one_blas_thread():
        objective = Objective(
            problem,
            spread_reg(row_reg, model.reg_scaling, problem.row_counts(), problem.dtype),
            spread_reg(col_reg, model.reg_scaling, problem.col_counts(), problem.dtype),
            model.layout,
        )
    return objective, left, right


def _remembered(model: Any, mask: Any, weights: Any, threads: int) -> Problem:
    """The problem that the fit had."""
    for name, value in (("mask", mask), ("weights", weights)):
        if value is not None:
            raise ValueError(f"`{name}` needs `Y` beside it: without `Y` those of the fit are used")
    if model.problem is None:
        raise ValueError(
            "`Y` is needed, with the mask and weights of the fit: this model does not have them "
            "(it was read from a file, copied, folded in or released)"
        )
    return replace(widened(model.problem), n_threads=threads)  # type: ignore[type-var]


def _given(model: Any, Y: Any, mask: Any, weights: Any, threads: int) -> Problem:
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
    with one_blas_thread():
        return build(read_cells(Y, mask, weights, baseline, np.float64), threads)


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
