"""How fits went."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np

from ..model import Factorization
from .axes import COLOURS, MARKERS, finish, new_axes


def convergence(
    model: Factorization | Mapping[str, Factorization],
    ax: Any = None,
    *,
    against: str = "iteration",
    least: float | None = None,
) -> Any:
    """Draw how far F was above its least value, relative to that value, on a log scale.

    Parameters
    ----------
    model : Factorization or dict of str to Factorization
        One line a model, with the key as its label.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.
    against : {"iteration", "seconds"}
        The horizontal axis.
    least : float, optional
        The value to measure from: a known optimum, when several solvers of one problem are to be
        compared. Default: each model's own least value, so each line ends where its fit did.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        Without matplotlib and without `ax`.
    ValueError
        For an `against` that a trace does not have.
    """
    if against not in ("iteration", "seconds"):
        raise ValueError(f'`against` must be "iteration" or "seconds"; got {against!r}')
    models = {"": model} if isinstance(model, Factorization) else dict(model)
    ax = new_axes() if ax is None else ax
    styles = zip(models.items(), cycle(COLOURS), cycle(MARKERS), strict=False)
    for (label, one), colour, marker in styles:
        values = np.asarray(one.trace.value)
        floor = min([one.value, *one.trace.value]) if least is None else least
        gap = (values - floor) / (abs(floor) or 1.0)
        shown = gap > 0  # the least value itself has no place on a log scale
        places = np.asarray(getattr(one.trace, against))[shown]
        ax.plot(
            places,
            gap[shown],
            color=colour,
            marker=marker,
            markersize=4.5,
            markevery=max(1, len(places) // 8),
            label=label,
            linewidth=1.6,
        )
    ax.set_yscale("log")
    ax.set_xlabel("iteration" if against == "iteration" else "time (seconds)")
    ax.set_ylabel("(value − least value) / least value")
    finish(ax, legend=any(models))
    return ax
