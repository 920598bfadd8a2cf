"""Which rank and ridge were chosen, and by what."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np

from .axes import COLOURS, MARKERS, finish, new_axes

HEADROOM = 2.5  # of the spread of complete errors: what is far above them leaves the panel


def selection(
    table: Any, ax: Any = None, *, metric: str | None = None, limit: float | None = None
) -> Any:
    """Draw the held-out error against the ridge, a line a rank, with standard errors.

    Parameters
    ----------
    table : Selection, dict of arrays or data frame
        What `wlrmf.select` returned, or its ``to_dict()``.
    ax : matplotlib Axes, optional
        Where to draw; default: a new figure.
    metric : str, optional
        Name of the error, for the axis.
    limit : float, optional
        The largest error that the rule accepted, as a level line.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        Without matplotlib and without `ax`.
    ValueError
        If a column is missing.
    """
    if hasattr(table, "best_rank"):
        metric, limit = metric or table.metric, table.limit if limit is None else limit
        table = table.to_dict()
    wanted = ("rank", "reg", "error", "se", "status", "chosen")
    missing = [name for name in wanted if name not in table]
    if missing:
        raise ValueError(f"`table` must have the columns {', '.join(wanted)}; no {missing[0]!r}")
    rank, reg, error, se, status, chosen = (np.asarray(table[name]) for name in wanted)
    ax = new_axes() if ax is None else ax
    complete, drawn = status == "complete", np.isfinite(error)
    styles = zip(np.unique(rank), cycle(COLOURS), cycle(MARKERS), strict=False)
    for one, colour, marker in styles:
        own = np.flatnonzero((rank == one) & drawn)
        own = own[np.argsort(reg[own])]
        ax.plot(reg[own], error[own], color=colour, linewidth=1.2, alpha=0.6, zorder=2)
        whole, part = own[complete[own]], own[~complete[own]]
        bars = {"color": colour, "marker": marker, "markersize": 5.5, "linestyle": "none"}
        ax.errorbar(
            reg[whole], error[whole], se[whole], capsize=3, label=f"rank {one}", zorder=3, **bars
        )
        ax.plot(reg[part], error[part], markerfacecolor="white", zorder=3, **bars)
    _scale(ax, reg)
    _heights(ax, error[complete], se[complete], error[drawn])
    _point_up(ax, rank, reg, error)
    _mark(ax, rank, reg, error, chosen, limit)
    ax.set_xlabel("ridge")
    ax.set_ylabel("held-out error" + (f" ({metric.upper()})" if metric else ""))
    if (drawn & ~complete).any():
        ax.plot([], [], "o", color="0.4", markerfacecolor="white", label="not run on all folds")
    finish(ax, legend=False)
    handles = sorted(zip(*ax.get_legend_handles_labels(), strict=True), key=_is_note)
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)}
    ax.legend(*zip(*handles, strict=True), ncols=3, fontsize=9, frameon=False, **place)
    return ax


def _is_note(entry: tuple[Any, str]) -> bool:
    """Ranks come first."""
    return not entry[1].startswith("rank ")


def _scale(ax: Any, reg: np.ndarray) -> None:
    """Logarithmic, but for a ridge of 0."""
    ridges = np.unique(reg)
    if ridges[0] > 0:
        ax.set_xscale("log")
    elif ridges.size > 1:
        ax.set_xscale("symlog", linthresh=float(ridges[1]))
    ax.set_xticks(ridges, [f"{ridge:g}" for ridge in ridges])
    ax.minorticks_off()


def _heights(ax: Any, complete: np.ndarray, se: np.ndarray, drawn: np.ndarray) -> None:
    low, high = float((complete - se).min()), float((complete + se).max())
    room = (high - low) or abs(high) or 1.0
    top = min(max(float(drawn.max()), high), high + HEADROOM * room)
    ax.set_ylim(low - 0.06 * (top - low), top + 0.06 * (top - low))


def _point_up(ax: Any, rank: np.ndarray, reg: np.ndarray, error: np.ndarray) -> None:
    """Arrows at the upper edge, for errors that are above it."""
    top = ax.get_ylim()[1]
    for place, colour in zip(np.unique(rank), cycle(COLOURS), strict=False):
        above = (rank == place) & (error > top)
        if above.any():
            edge = {"transform": ax.get_xaxis_transform(), "clip_on": False, "linestyle": "none"}
            height = np.full(above.sum(), 0.985)
            ax.plot(reg[above], height, marker="$\\uparrow$", color=colour, **edge)


def _mark(
    ax: Any,
    rank: np.ndarray,
    reg: np.ndarray,
    error: np.ndarray,
    chosen: np.ndarray,
    limit: float | None,
) -> None:
    (k,) = np.flatnonzero(chosen)
    ring = {"facecolors": "none", "edgecolors": "black", "linewidths": 1.5, "zorder": 4}
    ax.scatter(reg[k], error[k], s=170, label=f"chosen: rank {rank[k]}, ridge {reg[k]:g}", **ring)
    if limit is not None and limit > np.nanmin(error):
        words = "least error + standard error"
        ax.axhline(limit, color="0.35", linestyle=":", linewidth=1.4, label=words, zorder=1)
