"""Errors on cells that no fit saw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from .axes import COLOURS, MARKERS, finish, new_axes


def held_out_error(
    ranks: Sequence[int],
    errors: Mapping[str, Sequence[float]],
    ax: Any = None,
    reference: Mapping[str, float] | None = None,
    top: float | None = None,
    linestyle: str = "-",
) -> Any:
    """Draw the error on cells that no fit saw, by rank.

    Parameters
    ----------
    ranks : sequence of int
        The horizontal axis, evenly spaced.
    errors : dict of str to sequence of float
        One line a label, one number a rank.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.
    reference : dict of str to float, optional
        Errors of models without a rank, as level lines.
    top : float, optional
        End of the vertical axis. A larger error is written out at the upper edge.
    linestyle : str
        Of matplotlib. Each call begins with the same colours, so a second call on the same `ax`,
        dashed, shows a variant of the same labels.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        Without matplotlib and without `ax`.
    ValueError
        If a line has not one number a rank.
    """
    for label, line in errors.items():
        if len(line) != len(ranks):
            raise ValueError(f"`errors[{label!r}]` has {len(line)} numbers for {len(ranks)} ranks")
    ax = new_axes() if ax is None else ax
    places = range(len(ranks))
    styles = zip(errors.items(), cycle(COLOURS), cycle(MARKERS), strict=False)
    for (label, line), colour, marker in styles:
        ax.plot(
            places,
            line,
            color=colour,
            marker=marker,
            markerfacecolor=colour if linestyle == "-" else "white",
            label=label,
            linestyle=linestyle,
            linewidth=1.6,
        )
    for (label, level), dashes in zip((reference or {}).items(), cycle(["-.", ":"]), strict=False):
        ax.axhline(level, color="0.35", linestyle=dashes, label=label, linewidth=1.4)
    ax.set_xticks(places, [str(rank) for rank in ranks])
    ax.set_xlabel("rank")
    ax.set_ylabel("held-out error")
    if top is not None:
        ax.set_ylim(top=top)
        _note_above(ax, errors, top)
    finish(ax, legend=True)
    return ax


def predicted_against_true(
    true: Any,
    predicted: Any,
    weights: Any = None,
    ax: Any = None,
) -> Any:
    """Draw one dot a cell, and the diagonal on which a perfect prediction lies.

    Parameters
    ----------
    true, predicted : array, shape (cells,)
        Values and predictions of the same cells. Both axes have one range, that of the middle
        99 % of both; a note in the corner counts the cells outside it.
    weights : array, shape (cells,), optional
        Weights of the squared errors; a dot's area is proportional to its weight.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        Without matplotlib and without `ax`.
    ValueError
        If the arrays differ in length, are empty or not finite.
    """
    true, predicted = np.ravel(true), np.ravel(predicted)
    weight = np.ones(len(true)) if weights is None else np.ravel(weights)
    if not 0 < len(true) == len(predicted) == len(weight):
        raise ValueError(
            f"`true`, `predicted` and `weights` must be of one length, at least 1; "
            f"got {len(true)}, {len(predicted)} and {len(weight)}"
        )
    if not (np.isfinite(true).all() and np.isfinite(predicted).all()):
        raise ValueError("`true` and `predicted` must be finite: leave missing cells out")
    ax = new_axes() if ax is None else ax
    low, high = _middle(np.concatenate([true, predicted]))
    inside = (np.minimum(true, predicted) >= low) & (np.maximum(true, predicted) <= high)
    # About a tenth of the panel is inked, however many cells there are.
    area = 3000 / max(len(true), 50) ** 0.8 * weight / max(float(weight.mean()), 1e-300)
    ax.scatter(
        true[inside],
        predicted[inside],
        s=area[inside],
        color=COLOURS[0],
        alpha=0.35,
        linewidths=0,
        rasterized=True,
    )
    ax.plot([low, high], [low, high], color="0.15", linewidth=1, linestyle="--")
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.set_aspect("equal")
    ax.set_xlabel("true")
    ax.set_ylabel("predicted")
    outside = len(true) - int(inside.sum())
    if outside:
        note = f"{outside} of {len(true)} cells\nare outside"
        ax.text(0.97, 0.03, note, transform=ax.transAxes, ha="right", va="bottom", fontsize=9)
    finish(ax, legend=False)
    return ax


def _middle(values: np.ndarray) -> tuple[float, float]:
    """Ends of the middle 99 %, with a margin."""
    low, high = np.quantile(values, [0.005, 0.995])
    margin = 0.04 * (high - low) or 1.0
    return math.floor(low - margin), math.ceil(high + margin)


def _note_above(ax: Any, errors: Mapping[str, Sequence[float]], top: float) -> None:
    """Write what lies above the panel at its upper edge, in the colour of its line."""
    for place, column in enumerate(zip(*errors.values(), strict=True)):
        above = [
            (error, c) for error, c in zip(column, cycle(COLOURS), strict=False) if error > top
        ]
        for k, (error, colour) in enumerate(above):
            ax.annotate(
                f"↑ {error:.1f}",
                (place, top),
                xytext=(0, -2 - 12 * k),
                textcoords="offset points",
                color=colour,
                ha="center",
                va="top",
                fontsize=9,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )
