"""What the pictures share: colours, axes and the look of them."""

from __future__ import annotations

from typing import Any

# Okabe & Ito (2008), told apart by readers with any form of colour blindness. Each colour comes
# with a marker of its own, so that a print in grey can be read too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def finish(ax: Any, *, legend: bool) -> None:
    """What all pictures have in common: no box, a light grid, a plain legend."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    if legend:
        ax.legend(frameon=False, fontsize=9)


def new_axes() -> Any:
    """Axes of a new figure of pyplot's."""
    require_matplotlib()
    from matplotlib import pyplot

    return pyplot.subplots(layout="constrained")[1]


def require_matplotlib() -> None:
    """Say what to install where matplotlib is missing.

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "pictures need matplotlib, which is not installed: pip install 'wlrmf[plot]'"
        ) from error
