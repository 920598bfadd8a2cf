"""Whether error bars can be taken at their word."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
from scipy.special import ndtr

from .axes import COLOURS, MARKERS, finish, new_axes

LEVELS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99])


def coverage(true: Any, predicted: Any, std: Any, ax: Any = None) -> Any:
    """Draw how many of the values lie within their intervals against how many should.

    Parameters
    ----------
    true, predicted : array, shape (cells,)
        Held-out values, or a planted truth, and predictions of the same cells.
    std : array, shape (cells,), or dict of str to array
        Standard deviations of ``true - predicted``; one line each, with the key as its label. For
        held-out values those of a new measurement: ``error_bars().std(i, j, sigma=...)``. Cells
        where one is inf are left out.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The share of the cells inside the intervals of normal quantiles at 11 levels, with two
        standard errors either way as if cells were independent. Below the dashed diagonal bars are
        too short, above it too long. The shares are the distribution function of the probability
        integral transforms of ``|true - predicted|``.

    Raises
    ------
    ImportError
        Without matplotlib and without `ax`.
    ValueError
        If the arrays differ in length, are empty or not finite, or a deviation is not above 0.

    References
    ----------
    Gneiting, Balabdaoui & Raftery (2007), J. R. Stat. Soc. B 69,
    doi:10.1111/j.1467-9868.2007.00587.x, section 3.1 (such transforms as a test of calibration).
    """
    true, predicted = (np.ravel(values).astype(np.float64) for values in (true, predicted))
    if not (np.isfinite(true).all() and np.isfinite(predicted).all()):
        raise ValueError("`true` and `predicted` must be finite: leave missing cells out")
    several = isinstance(std, Mapping)
    lines = {name: np.ravel(one) for name, one in (std if several else {"": std}).items()}
    for one in lines.values():
        if not 0 < len(true) == len(predicted) == len(one):
            raise ValueError(
                "`true`, `predicted` and `std` must be of one length, at least 1; "
                f"got {len(true)}, {len(predicted)} and {len(one)}"
            )
        if not (one > 0).all():
            raise ValueError("`std` must be above 0 everywhere")
    ax = new_axes() if ax is None else ax
    ax.plot([0, 1], [0, 1], color="0.15", linewidth=1, linestyle="--")
    styles = zip(lines.items(), cycle(COLOURS), cycle(MARKERS), strict=False)
    for (name, one), colour, marker in styles:
        known = np.isfinite(one)
        held = 2 * ndtr(np.abs(true - predicted)[known] / one[known]) - 1  # by the intervals of it
        share = np.mean(held[:, None] <= LEVELS, axis=0)
        error = np.sqrt(share * (1 - share) / known.sum())
        look = {"color": colour, "marker": marker, "markersize": 5, "linewidth": 1.2}
        ax.errorbar(LEVELS, share, 2 * error, capsize=2.5, label=name, **look)
    ax.set_xlabel("share that the intervals should hold")
    ax.set_ylabel("share of the cells inside")
    finish(ax, legend=several)
    return ax
