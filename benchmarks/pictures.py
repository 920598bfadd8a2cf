"""A picture a case: objective and held-out error against seconds, a column a rank."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

from .curves import NEAR, Curve, Group

matplotlib.use("Agg")
from matplotlib import pyplot as plt

SUFFIX = ".svg"
FLOOR = 1e-6  # gaps below are drawn there
APART = 0.045  # of an axis's height, between labels
# Okabe and Ito's colours, which the colour-blind tell apart; black and thick is ours.
COLOURS = {
    "wlrmf": "#000000",
    "cmfrec": "#E69F00",
    "implicit": "#56B4E9",
    "libmf": "#009E73",
    "lenskit": "#D55E00",
    "buffalo": "#CC79A7",
    "spark": "#0072B2",
    "torch": "#8C8C8C",
    "sklearn": "#0072B2",
    "wpca": "#009E73",
    "fancyimpute": "#CC79A7",
}
DASHES = ["-", (0, (4, 1.5)), (0, (1, 1))]


def draw(case: str, groups: list[Group], folder: Path) -> Path:
    """Draw a case; where the picture is."""
    plt.rcParams |= {"font.size": 8, "svg.hashsalt": "wlrmf", "svg.fonttype": "none"}
    figure, axes = plt.subplots(
        2, len(groups), figsize=(5.2 * len(groups), 6.4), squeeze=False, layout="constrained"
    )
    for column, group in zip(axes.T, groups, strict=True):
        column[0].set_title(f"{case}, rank {group.rank}", loc="left", fontweight="bold")
        fill(column[0], group, "objective / best known − 1", lambda c: np.maximum(c.gap, FLOOR))
        percentile = "implicit" in case
        label = "held-out percentile rank" if percentile else "held-out error"
        fill(column[1], group, label, lambda c: c.error)
        limit_gap(column[0])
        limit_error(column[1], group)
        column[1].set_xlabel("seconds")
        for axis in column:
            label_lines(axis)
    path = folder / f"{case}{SUFFIX}"
    figure.savefig(path, metadata={"Date": None} if SUFFIX == ".svg" else None, dpi=110)
    plt.close(figure)
    return path


def fill(axis, group: Group, label: str, height) -> None:
    """One line a library and setting, of its first seed."""
    for curves in group.by_name().values():
        first = curves[0]
        axis.plot(first.seconds, height(first), label=first.name, **style(first, group))
    axis.set(xscale="log", yscale="log", ylabel=label)
    axis.grid(which="major", color="#E4E4E4", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_axisbelow(True)


def style(curve: Curve, group: Group) -> dict:
    settings = sorted({c.setting for c in group.curves if c.library == curve.library})
    ours = curve.library == "wlrmf"
    return {
        "color": COLOURS[curve.library],
        "linestyle": DASHES[settings.index(curve.setting) % len(DASHES)],
        "linewidth": 2.6 if ours else 1.3,
        "zorder": 3 if ours else 2,
        "marker": "o",
        "markersize": 3.5 if ours else 2.2,
    }


def limit_gap(axis) -> None:
    axis.set_ylim(FLOOR * 0.7, 2)
    axis.axhline(NEAR, color="#999999", linewidth=0.8, linestyle=":")


def limit_error(axis, group: Group) -> None:
    """What is far above the best says little: it is cut off."""
    axis.set_yscale("linear")
    least = group.least_error
    if np.isfinite(least):
        worst = max(float(np.nanmax(c.error)) for c in group.curves)
        axis.set_ylim(least * 0.99, min(worst, least * 1.15) * 1.005)


def label_lines(axis) -> None:
    """Names beside the ends of the lines, moved apart where they would overlap."""
    ends = []
    for line in axis.get_lines():
        if line.get_label().startswith("_") or not len(line.get_xdata()):
            continue
        x, y = line.get_xdata()[-1], np.clip(line.get_ydata()[-1], *axis.get_ylim())
        ends.append((axis.transAxes.inverted().transform(axis.transData.transform((x, y))), line))
    ends.sort(key=lambda end: end[0][1])
    heights = spread([height for (_, height), _ in ends])
    for ((x, y), line), height in zip(ends, heights, strict=True):
        color, name = line.get_color(), line.get_label()
        weight = "bold" if name.startswith("wlrmf") else "normal"
        place = {"transform": axis.transAxes, "color": color, "clip_on": False}
        axis.plot(
            [x, 1.04], [y, height], linewidth=0.4, alpha=0.6, scalex=False, scaley=False, **place
        )
        axis.text(1.05, height, name, va="center", fontweight=weight, **place)


def spread(heights: list[float]) -> list[float]:
    """Rising heights, each at least APART above the one before, near where they were."""
    moved = list(heights)
    for k in range(1, len(moved)):
        moved[k] = max(moved[k], moved[k - 1] + APART)
    surplus = max(moved[-1] - 1, 0) if moved else 0
    for k in range(len(moved) - 1, -1, -1):
        above = moved[k + 1] - APART if k + 1 < len(moved) else moved[k] - surplus
        moved[k] = min(moved[k], above)
    return moved
