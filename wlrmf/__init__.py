"""Weighted low-rank matrix factorization.

    model = wlrmf.fit(Y, mask, rank)

finds W (rank × m) and X (rank × n) with Y ≈ WᵀX, minimising ‖A∘(Y − WᵀX)‖_F² + ridge, where every
cell of Y has its own weight and some are missing.
"""

from importlib import import_module
from typing import Any

from . import gradients, metrics, solvers, splits
from .archive import ModelFormatError
from .certificate import Certificate
from .checkpoint import Checkpoint
from .fit import fit
from .model import Factorization, load
from .result import Status
from .selection import Selection, select
from .solvers.base import State, Stop
from .uncertainty import ErrorBars
from .validation.errors import (
    ConvergenceWarning,
    DataWarning,
    NotConvergedError,
    NotFittedError,
)
from .version import version

__version__ = version()

__all__ = [
    "Certificate",
    "Checkpoint",
    "ConvergenceWarning",
    "DataWarning",
    "ErrorBars",
    "Factorization",
    "ModelFormatError",
    "NotConvergedError",
    "NotFittedError",
    "Selection",
    "State",
    "Status",
    "Stop",
    "__version__",
    "fit",
    "gradients",
    "load",
    "metrics",
    "select",
    "solvers",
    "splits",
]

# Faces that need more than the core, or take a moment: imported when they are asked for.
LATER = ("diagnostics", "estimator", "io", "plot", "recommender", "top")


def __getattr__(name: str) -> Any:
    if name in LATER:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *LATER])
