"""Whether predictions can be taken at their word."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..validation.options import read_int
from .axes import COLOURS, finish, new_axes

ENDS = 0.005  # share of the predictions below the first bin's inner part, and above the last's


def calibration(
    true: Any, predicted: Any, weights: Any = None, ax: Any = None, *, bins: int = 10
) -> Any:
    """Draw the mean of held-out values against the mean of their predictions, bin by bin.

    Parameters
    ----------
    true, predicted : array, shape (cells,)
        Values and predictions of the same cells. The bins of the predictions are of equal width
        over the middle 99 % of them; the first and the last also take what lies outside.
    weights : array, shape (cells,), optional
        Weights of the squared errors, and so of the means.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.
    bins : int

    Returns
    -------
    matplotlib.axes.Axes
        A dot a bin that has cells, with two standard errors of its mean value either way, and the
        number of cells beside it; on the dashed diagonal predictions are right on average.

    Raises
    ------
    ImportError
        Without matplotlib and without `ax`.
    ValueError
        If the arrays differ in length, are empty or not finite.
    """
    true, predicted = (np.ravel(values).astype(np.float64) for values in (true, predicted))
    weight = np.ones(len(true)) if weights is None else np.ravel(weights).astype(np.float64)
    if not 0 < len(true) == len(predicted) == len(weight):
        raise ValueError(
            f"`true`, `predicted` and `weights` must be of one length, at least 1; "
            f"got {len(true)}, {len(predicted)} and {len(weight)}"
        )
    if not (np.isfinite(true).all() and np.isfinite(predicted).all()):
        raise ValueError("`true` and `predicted` must be finite: leave missing cells out")
    bins = read_int(bins, "bins", 1)
    count, x, y, se = _means(true, predicted, weight, bins)
    ax = new_axes() if ax is None else ax
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    margin = 0.05 * (high - low) or 1.0
    ends = [low - margin, high + margin]
    ax.plot(ends, ends, color="0.15", linewidth=1, linestyle="--")
    look = {"color": COLOURS[0], "marker": "o", "markersize": 5, "linewidth": 1.2}
    ax.errorbar(x, y, 2 * se, capsize=2.5, **look)
    for place, height, number in zip(x, y, count, strict=True):
        ax.annotate(
            f"{number}",
            (place, height),
            xytext=(7, -4),
            textcoords="offset points",
            va="top",
            fontsize=8,
            color="0.35",
        )
    ax.set_xlabel("mean prediction")
    ax.set_ylabel("mean of the held-out values")
    note = "numbers of cells; bars: two standard errors"
    ax.text(0.03, 0.97, note, transform=ax.transAxes, va="top", fontsize=9)
    finish(ax, legend=False)
    return ax


def _means(
    true: np.ndarray, predicted: np.ndarray, weight: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cells, mean prediction, mean value and its standard error of each bin with a weight."""
    low, high = np.quantile(predicted, [ENDS, 1 - ENDS])
    place = np.clip(((predicted - low) / ((high - low) or 1.0) * bins).astype(int), 0, bins - 1)
    total = np.bincount(place, weight, bins)
    kept = total > 0
    with np.errstate(invalid="ignore"):
        x, y = (np.bincount(place, weight * v, bins) / total for v in (predicted, true))
        off = np.square(weight * (true - y[place]))
        se = np.sqrt(np.bincount(place, off, bins)) / total
    return np.bincount(place, minlength=bins)[kept], x[kept], y[kept], se[kept]
