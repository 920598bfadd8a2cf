"""Warnings and errors of the library's own, and the words that messages share."""

from __future__ import annotations

from typing import Any

import numpy as np


class ConvergenceWarning(UserWarning):
    """A fit ended before its stopping test was met, or met a value that is not finite."""


class DataWarning(UserWarning):
    """The data were taken, but something about them deserves a look."""


class NotConvergedError(RuntimeError):
    """Raised by ``fit(..., throw=True)`` for a fit without success; `result` holds its model."""

    def __init__(self, message: str, result: Any):
        super().__init__(message)
        self.result = result


class ClusterError(RuntimeError):
    """A fit on a cluster cannot go on: what is gone, or which block kills its workers."""


class NotFittedError(ValueError, AttributeError):
    """Something was asked of a `Recommender` before its fit."""


def describe(value: Any) -> str:
    """What the caller handed over, short enough for a message."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and len(shape) > 0:
        return f"{type(value).__name__} of shape {shape}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def first_where(bad: np.ndarray) -> tuple[int, ...]:
    """Index of the first True."""
    return tuple(int(k) for k in np.unravel_index(int(np.argmax(bad)), bad.shape))


def at(index: tuple[int, ...]) -> str:
    """``[3, 7]``."""
    return "[" + ", ".join(map(str, index)) + "]"
