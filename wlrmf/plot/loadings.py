"""What a factor is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..model import Factorization
from ..validation.errors import describe
from ..validation.options import read_int
from .axes import COLOURS, finish, new_axes


def loadings(
    model: Factorization,
    factor: int = 0,
    names: Sequence[Any] | None = None,
    ax: Any = None,
    *,
    side: str = "columns",
    most: int = 20,
) -> Any:
    """Draw the sorted loadings of one factor as bars with names.

    Parameters
    ----------
    model : Factorization
    factor : int
        Which one, from 0.
    names : sequence, optional
        One a row (column). Default: the model's own, or indices.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.
    side : {"columns", "rows"}
        The factor in X or in W. Its sign means nothing by itself: both may be turned at once.
    most : int
        So many loadings, the largest in size; a note says of how many.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        Without matplotlib and without `ax`.
    ValueError
        For a factor that the model does not have, or a wrong number of names.
    """
    if side not in ("columns", "rows"):
        raise ValueError(f'`side` must be "columns" or "rows"; got {describe(side)}')
    factor = read_int(factor, "factor", 0, model.rank - 1)
    most = read_int(most, "most", 1)
    columns = side == "columns"
    values = (model.X if columns else model.W)[factor]
    own = model.col_names if columns else model.row_names
    given: Any = own if names is None else names
    labels = [str(name) for name in (range(len(values)) if given is None else given)]
    if len(labels) != len(values):
        raise ValueError(
            f"`names` must have one for each of {len(values)} {side}; got {len(labels)}"
        )
    largest = np.argsort(-np.abs(values), kind="stable")[:most]
    shown = largest[np.argsort(values[largest], kind="stable")]
    ax = new_axes() if ax is None else ax
    colours = [COLOURS[0] if value >= 0 else COLOURS[1] for value in values[shown]]
    ax.barh(range(len(shown)), values[shown], color=colours, height=0.7)
    ax.set_yticks(range(len(shown)), [labels[k] for k in shown], fontsize=9)
    ax.axvline(0, color="0.15", linewidth=0.8)
    ax.set_ylim(-0.6, len(shown) - 0.4)
    few = "" if len(shown) == len(values) else f" (the {len(shown)} largest of {len(values)})"
    ax.set_xlabel(f"loading on factor {factor}{few}")
    finish(ax, legend=False)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    return ax
