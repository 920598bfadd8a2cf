"""How far predictions of held-out cells are off, and how sure that number is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..validation.errors import describe

Measure = Callable[[np.ndarray, np.ndarray, np.ndarray], Any]
NAMES = ("rmse", "mae")
GROUPS = 10  # of cells, whose scatter is the standard error of a caller's own measure


@dataclass(frozen=True)
class Metric:
    """An error, the less the better, with its standard error over cells."""

    name: str
    measure: Measure | None = None

    @property
    def squared(self) -> bool:
        """Whether it is the root of the mean of the squares, which a problem's loss is too."""
        return self.measure is None and self.name == "rmse"

    @classmethod
    def read(cls, metric: Any) -> Metric:
        """The caller's metric: a name or a function."""
        if isinstance(metric, str) and metric in NAMES:
            return cls(metric)
        if callable(metric):
            return cls(getattr(metric, "__name__", type(metric).__name__), metric)
        names = ", ".join(map(repr, NAMES))
        raise ValueError(
            f"`metric` must be {names} or a function of (y, predicted, weights); "
            f"got {describe(metric)}"
        )

    def __call__(
        self, y: np.ndarray, predicted: np.ndarray, weights: np.ndarray
    ) -> tuple[float, float]:
        """Error and standard error; all weights are above 0.

        That of the root of a mean is the mean's divided by twice the root.
        """
        if self.measure is not None:
            return self._own(y, predicted, weights)
        off = y.astype(np.float64) - predicted
        mean, se = mean_and_error(off**2 if self.squared else np.abs(off), weights)
        if not self.squared:
            return mean, se
        root = mean**0.5
        return root, se / (2 * root) if root > 0 else 0.0

    def _own(
        self, y: np.ndarray, predicted: np.ndarray, weights: np.ndarray
    ) -> tuple[float, float]:
        error = self._number(y, predicted, weights)
        if y.size < 2 * GROUPS:
            return error, float("inf")
        parts = [
            self._number(y[k::GROUPS], predicted[k::GROUPS], weights[k::GROUPS])
            for k in range(GROUPS)
        ]
        return error, float(np.std(parts, ddof=1)) / GROUPS**0.5

    def _number(self, *cells: np.ndarray) -> float:
        assert self.measure is not None
        value = self.measure(*cells)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = np.nan
        if not np.isfinite(number):
            raise ValueError(f"`metric` must return a finite number; got {describe(value)}")
        return number


def mean_and_error(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Weighted mean of a number a cell, and its standard error.

    The error is √(Σ w² (v − mean)²) / Σ w: that of a ratio of two sums over the same cells
    (Cochran 1977, Sampling Techniques, section 2.11).
    """
    weights = weights.astype(np.float64)
    total = float(weights.sum())
    mean = float(np.dot(weights, values)) / total
    return mean, float(np.sqrt(np.sum(np.square(weights * (values - mean))))) / total
