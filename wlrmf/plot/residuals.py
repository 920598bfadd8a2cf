"""Where a model is off."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..model import Factorization, predicted
from ..validation.cells import read_cells
from ..validation.options import read_int
from .axes import finish, new_axes


def residuals(
    model: Factorization,
    Y: Any,
    mask: Any = None,
    ax: Any = None,
    *,
    weights: Any = None,
    most: int = 200,
) -> Any:
    """Draw the weighted residuals A∘(Y − prediction) as a map; unobserved cells are grey.

    Parameters
    ----------
    model : Factorization
    Y : matrix, shape (m, n)
        As in `wlrmf.fit`; what the model was fitted to, or other values of the same cells.
    mask : matrix, shape (m, n), optional
        The A of the formula: boolean, or real, multiplying the residuals.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.
    weights : matrix, shape (m, n), optional
        Weights of the squared residuals: A∘A = mask² · weights.
    most : int
        Of more rows or columns than this, blocks are averaged over their observed cells; the label
        of the axis says over how many.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        Without matplotlib and without `ax`.
    ValueError
        If Y has not the shape of the model.
    """
    cells = read_cells(Y, mask, weights)
    if cells.shape != model.shape:
        raise ValueError(f"`Y` must have the shape of the model, {model.shape}; got {cells.shape}")
    most = read_int(most, "most", 1)
    rows, cols, y, c = cells.entries()
    values = y - predicted(model.left, model.right, rows, cols).astype(np.float64)
    values *= np.sqrt(c) if c.size else 1.0
    picture, (high, wide) = _blocks(rows, cols, values, cells.shape, most)
    ax = new_axes() if ax is None else ax
    _draw(ax, picture, cells.shape, bool(c.size) and np.ptp(c) > 0, high * wide > 1)
    ax.set_xlabel("column" if wide == 1 else f"column (averaged over {wide})")
    ax.set_ylabel("row" if high == 1 else f"row (averaged over {high})")
    return ax


def _draw(
    ax: Any, picture: np.ndarray, shape: tuple[int, int], weighted: bool, averaged: bool
) -> None:
    m, n = shape
    seen = np.abs(picture[np.isfinite(picture)])
    end = float(np.quantile(seen, 0.99)) or float(seen.max()) or 1.0
    image = ax.imshow(
        np.ma.masked_invalid(picture),
        cmap="RdBu_r",
        vmin=-end,
        vmax=end,
        extent=(-0.5, n - 0.5, m - 0.5, -0.5),
        aspect="auto",
        interpolation="nearest",
    )
    ax.set_facecolor("0.8")
    name = "weighted residual" if weighted else "residual"
    bar = ax.figure.colorbar(image, ax=ax, extend="both" if seen.max() > end else "neither")
    bar.set_label(f"{name}, mean of a block" if averaged else name)
    bar.outline.set_visible(False)
    finish(ax, legend=False)
    ax.grid(visible=False)


def _blocks(
    rows: np.ndarray, cols: np.ndarray, values: np.ndarray, shape: tuple[int, int], most: int
) -> tuple[np.ndarray, tuple[int, int]]:
    """Mean of each block over its cells, NaN without any, and rows and columns of a block."""
    high, wide = (-(-size // most) for size in shape)
    m, n = -(-shape[0] // high), -(-shape[1] // wide)
    place = (rows // high) * n + cols // wide
    total = np.bincount(place, values, m * n)
    count = np.bincount(place, minlength=m * n)
    with np.errstate(invalid="ignore"):
        return (total / count).reshape(m, n), (high, wide)
