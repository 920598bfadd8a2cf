"""New rows for the factors that a fit has found: what a fold-in is given, read and judged."""

from __future__ import annotations

from typing import Any

import numpy as np

from .validation.arrays import check_names, read_names
from .validation.cells import read_cells
from .validation.options import read_pinned, read_reg


def new_cells(model: Any, Y_new: Any, mask_new: Any, weights: Any, baseline: Any) -> Any:
    """The judged cells of new rows, of the columns, names and kind of weights of the fit."""
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
    """The ridges of new rows: as given, or the one of the fit if it had one for all."""
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
