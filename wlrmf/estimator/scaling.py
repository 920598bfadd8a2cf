"""Columns of a table in different units, made comparable and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Scaling:
    """Centre, scale, mean weight and range of each column, in float64, from its observed cells.

    A column that is constant, or has no observed cell, has scale 1. The range is that of the cells
    whose weight is not 0.
    """

    center: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, Y: np.ndarray, weights: np.ndarray | None, *, scale: bool) -> Scaling:
        """Of a table whose missing cells are NaN: weighted means and standard deviations.

        A column whose observed cells all have weight 0 counts them alike. Without `scale`, all
        columns get the root mean square of their scales and the mean of their weights.
        """
        seen = ~np.isnan(Y)
        w = (
            seen.astype(np.float64)
            if weights is None
            else np.where(seen, weights.astype(np.float64), 0.0)
        )
        counts = seen.sum(axis=0)
        mean = w.sum() / counts.sum()
        weight = w.sum(axis=0) / np.maximum(counts, 1) if scale else np.full(Y.shape[1], mean)
        w = np.where(w.any(axis=0), w, seen)
        total = np.maximum(w.sum(axis=0), np.finfo(np.float64).tiny)
        center = (w * np.where(seen, Y, 0.0)).sum(axis=0) / total
        squares = w * np.where(seen, Y - center, 0.0) ** 2
        variance = squares.sum(axis=0) / total
        if not scale:
            variance = np.full_like(variance, squares.sum() / w.sum())
        # what rounding alone leaves of a constant column is no spread
        rounding = 16 * np.finfo(Y.dtype).eps * np.abs(center)
        counted, some = w > 0, seen.any(axis=0)
        return cls(
            center,
            np.where(variance > rounding**2, np.sqrt(variance), 1.0),
            np.where(weight > 0, weight, 1.0),
            np.where(some, np.where(counted, Y, np.inf).min(axis=0), 0.0).astype(np.float64),
            np.where(some, np.where(counted, Y, -np.inf).max(axis=0), 0.0).astype(np.float64),
        )

    def scaled(self, Y: np.ndarray) -> np.ndarray:
        """(Y − center) / scale, in Y's dtype."""
        return np.asarray((Y - self.center) / self.scale, dtype=Y.dtype)

    def scaled_weights(self, weights: np.ndarray | None, dtype: np.dtype[Any]) -> np.ndarray | None:
        """Weights against the mean weight of their column, in `dtype`."""
        return None if weights is None else np.asarray(weights / self.weight, dtype)

    def restored(self, Z: np.ndarray, *, clip: bool) -> np.ndarray:
        """Undo `scaled`, in float64 and, if wanted, no further than the column went."""
        Y = Z * self.scale + self.center
        return np.clip(Y, self.low, self.high) if clip else Y
