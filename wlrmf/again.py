"""The problem of a fit anew, in float64, as remembered or given again; and that of new rows."""

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
from .validation.options import read_int, read_pinned, read_reg, spread_reg


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


def new_cells(model: Any, Y_new: Any, mask_new: Any, weights: Any, baseline: Any) -> Cells:
    """New rows for a fitted model, judged; the columns' part of a baseline is the model's."""
    if model.base_v is not None:
        u = model.base_u if baseline is None else baseline
        if u is None or (baseline is None and np.ndim(u)):
            raise ValueError("`baseline` is needed: the fit had one u for each of its rows")
        u = np.full(np.shape(Y_new)[0], float(u)) if np.ndim(u) == 0 else np.asarray(u)
        baseline = (u, model.base_v)
    check_names("Y_new", "columns", read_names(Y_new)[1], model.col_names, "the fit")
    shape = np.shape(Y_new)
    if len(shape) == 2 and shape[1] != model.shape[1]:
        hint = ". Is it transposed? Try Y_new.T" if shape[0] == model.shape[1] else ""
        raise ValueError(f"Y_new must have {model.shape[1]} columns; got shape {shape}{hint}")
    return read_cells(Y_new, mask_new, weights, baseline, model.left.dtype, allow_empty=True)


def new_reg(model: Any, reg: Any, m_new: int) -> float | np.ndarray:
    """Ridge of new rows; default: that of the fit, where it is one number."""
    if reg is None:
        if np.ndim(model.row_reg):
            raise ValueError("`reg` is needed: the fit had one ridge for each of its rows")
        return model.row_reg
    return read_reg((reg, reg if np.ndim(reg) == 0 else 1.0), (m_new, 1))[0]


def new_left(model: Any, pinned_W: Any, m_new: int) -> np.ndarray:
    """Factors of the new rows before the solve: zeros, and the given columns."""
    layout, dtype = model.layout, model.left.dtype
    rows = read_pinned(pinned_W, "pinned_W", m_new, dtype)
    wanted = layout.pinned_W - model.has_bias
    if rows.shape[1] != wanted:
        raise ValueError(f"`pinned_W` must have {wanted} rows, as in the fit; got {rows.shape[1]}")
    left = np.zeros((m_new, layout.columns), dtype)
    left[:, layout.shared.stop : layout.shared.stop + wanted] = rows
    left[:, layout.shared.stop + wanted :] = 1  # partners of the column biases and the mean
    return left
