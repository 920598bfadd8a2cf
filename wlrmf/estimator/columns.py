"""Columns of a table in different units, made comparable and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Columns:
    """Centre, scale and range of each column, in float64, from its observed cells.

    A column that is constant, or has no observed cell, has scale 1.
    """

    center: np.ndarray
    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, Y: np.ndarray, weights: np.ndarray | None, *, scale: bool) -> Columns:
        """Of a table whose missing cells are NaN: weighted mean and standard deviation.

        A column whose observed cells all have weight 0 counts them alike.
        """
        seen = ~np.isnan(Y)
        w = seen.astype(np.float64) if weights is None else np.where(seen, weights, 0.0)
        w = np.where(w.sum(axis=0) > 0, w, seen)
        total = np.maximum(w.sum(axis=0), np.finfo(np.float64).tiny)
        values = np.where(seen, Y, 0.0)
        center = (w * values).sum(axis=0) / total
        deviation = np.sqrt((w * np.where(seen, values - center, 0.0) ** 2).sum(axis=0) / total)
        # what rounding alone leaves of a constant column is no spread
        rounding = 16 * np.finfo(Y.dtype).eps * np.abs(center)
        spread = np.where(deviation > rounding, deviation, 1.0)
        some = seen.any(axis=0)
        low = np.where(some, np.where(seen, Y, np.inf).min(axis=0), 0.0)
        high = np.where(some, np.where(seen, Y, -np.inf).max(axis=0), 0.0)
        return cls(center, spread if scale else np.ones_like(spread), low, high)

    def scaled(self, Y: np.ndarray) -> np.ndarray:
        """(Y − center) / scale, in Y's dtype."""
        return np.asarray((Y - self.center) / self.scale, dtype=Y.dtype)

    def restored(self, Z: np.ndarray, *, clip: bool) -> np.ndarray:
        """Undo `scaled`, in float64 and, if wanted, no further than the column went."""
        Y = Z * self.scale + self.center
        return np.clip(Y, self.low, self.high) if clip else Y
