"""The ridges of an imputer, from cells that a few short fits do not see."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fit import fit
from ..model import Factorization
from ..solvers.base import Stop
from ..validation.options import read_seed

# Multiples of `noise_ridge`, from much to little ridge: each fit starts from the one before.
FACTORS = (0.7, 0.5, 0.35, 0.25, 0.17, 0.12, 0.08, 0.05)
RELAXED = (1.0, 0.5, 0.25)  # ridge of the last row solve against that of the fit
USUAL = 0.35  # where there are too few cells to choose by
HELD_OUT = 0.1
LEAST_HELD_OUT = 20
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

    Z has columns of variance about 1 and NaN where missing; `weights` a mean of about 1. The path
    ends early, at the second rise of the error in a row.
    """
    whole = noise_ridge(Z)
    generator = read_seed(seed)
    counted = ~np.isnan(Z) if weights is None else ~np.isnan(Z) & (weights > 0)
    held_out = counted & (generator.random(Z.shape) < HELD_OUT)
    i, j = np.nonzero(held_out)
    if len(i) < LEAST_HELD_OUT:
        return USUAL * whole, USUAL * whole
    true = Z[held_out].astype(np.float64)
    w = None if weights is None else weights[held_out].astype(np.float64)
    training = np.where(held_out, np.nan, Z)
    path: list[tuple[float, float, float]] = []
    model: Factorization | None = None
    for factor in FACTORS:
        reg = factor * whole
        # a start of zeros would stay there
        start = model if model is not None and np.any(model.left) else None
        model = fit(
            training,
            rank=rank,
            weights=weights,
            reg=reg,
            start=start,
            solver="als",
            stop=SHORT,
            seed=generator,
            n_threads=n_threads,
        )
        tried = []
        for part in RELAXED:
            rows = model.fold_in(training, weights=weights, reg=part * reg, n_threads=n_threads)
            error = float(np.average((rows.predict(i, j) - true) ** 2, weights=w))
            tried.append((error, reg, part * reg))
        path.append(min(tried))
        if len(path) > 2 and path[-1] > path[-2] > path[-3]:
            break
    return min(path)[1:]
