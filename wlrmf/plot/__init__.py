"""Pictures of fits, for matplotlib: each function draws into one `Axes` and returns it.

    ax = wlrmf.plot.convergence({"als": model, "gd": other})

Given an `ax`, nothing else is touched, so a page of several panels, or a program without a screen,
can use its own `Figure`. Without one, pyplot makes it.
"""

from .axes import require_matplotlib
from .calibration import calibration
from .cells import held_out_error, predicted_against_true
from .coverage import coverage
from .fits import convergence
from .loadings import loadings
from .residuals import residuals
from .selection import selection

__all__ = [
    "calibration",
    "convergence",
    "coverage",
    "held_out_error",
    "loadings",
    "predicted_against_true",
    "require_matplotlib",
    "residuals",
    "selection",
]
