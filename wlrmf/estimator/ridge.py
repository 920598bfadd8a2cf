"""The ridges of an imputer, from cells that a few short fits do not see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..fit import fit
from ..model import Factorization
from ..solvers.base import Stop
from ..validation.options import read_seed

# Multiples of `noise_ridge`, from much to little ridge: each fit starts from the one before.
FACTORS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.17, 0.12, 0.08, 0.05)
RELAXED = (1.0, 0.5, 0.25)  # ridge of the last row solve against that of the fit; first as there
USUAL = 0.35  # where there are too few cells to choose by
HELD_OUT = 0.1
LEAST_HELD_OUT = 10
ENOUGH, MOST_FOLDS = 1000, 3  # cells held out in all, in so many parts at most
SHORT = Stop(gtol=1e-2, ftol=1e-3, max_iter=30)


def noise_ridge(Z: np.ndarray) -> float:
    """√p (√m + √n), p the share of observed cells: a ridge that leaves nothing of pure noise.

    It is about the largest singular value of an m × n matrix of independent numbers of variance 1,
    of which a share p is seen and the rest 0 (Vershynin, "High-dimensional probability", 2018,
    theorem 4.4.5), and F with this ridge soft-thresholds singular values there.
    """
    m, n = Z.shape
    share = np.count_nonzero(~np.isnan(Z)) / Z.size
    return float(np.sqrt(share) * (np.sqrt(m) + np.sqrt(n)))


def choose_ridge(
    Z: np.ndarray, weights: np.ndarray | None, rank: int, seed: Any, n_threads: int | None
) -> tuple[float, float]:
    """Ridge of the fit, and of the row solves after it, by the error on a tenth of the cells.

    The first is a multiple of `noise_ridge`. What makes weak factors vanish shrinks strong ones
    too much; so the second may be a part of the first, as in the relaxed lasso (Meinshausen 2007,
    doi:10.1016/j.csda.2006.12.019).

    Z has columns of variance about 1 and NaN where missing; `weights` a mean of about 1. Small
    tables are judged on several tenths. The path ends early, at the second rise of the error.
    """
    whole = noise_ridge(Z)
    generator = read_seed(seed)
    counted = ~np.isnan(Z) if weights is None else ~np.isnan(Z) & (weights > 0)
    tenth = np.where(counted, np.floor(generator.random(Z.shape) / HELD_OUT), np.nan)
    size = HELD_OUT * float(np.count_nonzero(counted))
    folds = [
        _Fold(Z, weights, tenth == k, rank, n_threads)
        for k in range(int(np.clip(np.ceil(ENOUGH / max(size, 1.0)), 1, MOST_FOLDS)))
    ]
    if sum(len(fold.true) for fold in folds) < LEAST_HELD_OUT:
        return USUAL * whole, USUAL * whole
    path: list[tuple[float, float, float]] = []
    for factor in FACTORS:
        errors = np.sum([fold.errors(factor * whole) for fold in folds], axis=0)
        best = int(np.argmin(errors))
        path.append((float(errors[best]), factor * whole, RELAXED[best] * factor * whole))
        if len(path) > 2 and path[-1] > path[-2] > path[-3]:
            break
    return min(path)[1:]


class _Fold:
    """A share of the cells held out, and the path of models of the others."""

    def __init__(
        self,
        Z: np.ndarray,
        weights: np.ndarray | None,
        held_out: np.ndarray,
        rank: int,
        n_threads: int | None,
    ):
        self.cells = np.nonzero(held_out)
        self.true = Z[held_out].astype(np.float64)
        self.weight = 1.0 if weights is None else weights[held_out].astype(np.float64)
        self.training = np.where(held_out, np.nan, Z)
        self.weights, self.rank, self.n_threads = weights, rank, n_threads
        self.model: Factorization | None = None

    def errors(self, reg: float) -> np.ndarray:
        """Sums of squared errors, one for each of `RELAXED`, at the next ridge of the path."""
        # a start of zeros would stay there
        start = self.model if self.model is not None and np.any(self.model.left) else None
        self.model = fit(
            self.training,
            rank=self.rank,
            reg=reg,
            start=start,
            solver="als",
            stop=SHORT,
            weights=self.weights,
            n_threads=self.n_threads,
        )
        models = [self.model, *self._relaxed(self.model, reg)]
        return np.array([self._error(model) for model in models])

    def _relaxed(self, model: Factorization, reg: float) -> list[Factorization]:
        """Models with smaller ridges of the rows, all of them folded in by one call."""
        parts, m = RELAXED[1:], len(self.training)
        weights = None if self.weights is None else np.tile(self.weights, (len(parts), 1))
        rows = model.fold_in(
            np.tile(self.training, (len(parts), 1)),
            weights=weights,
            reg=np.repeat(np.multiply(parts, reg), m),
            n_threads=self.n_threads,
        )
        return [replace(model, left=rows.left[k * m : (k + 1) * m]) for k in range(len(parts))]

    def _error(self, model: Factorization) -> float:
        squares = (model.predict(*self.cells) - self.true) ** 2
        return float(np.sum(self.weight * squares))
