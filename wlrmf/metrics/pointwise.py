"""Errors of predictions, cell by cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..validation.scores import finite_cells, read_error_weights, read_numbers

BLOCK = 1 << 18  # cells whose errors are formed at a time


def rmse(y: Any, predicted: Any, weights: Any = None) -> float:
    """Root of the weighted mean of squared errors, sqrt(Σ w (predicted − y)² / Σ w).

    Parameters
    ----------
    y, predicted : vector or matrix
        Of one shape; arrays, lists, series or frames. Errors and sums are float64.
    weights : vector or matrix of that shape, optional
        Weights of the *squared* errors, as scikit-learn's sample_weight; not the mask of
        `wlrmf.fit`, which acts squared. Default: all 1. A cell of weight 0 does not count,
        whatever it holds.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If an argument does not hold numbers, or is sparse.
    ValueError
        If shapes differ, there are no cells, weights are negative or all 0, or a cell that counts
        is NaN or infinite.

    Examples
    --------
    >>> from wlrmf.metrics import rmse
    >>> rmse([1.0, 2.0, 3.0], [1.0, 2.0, 7.0], weights=[1, 2, 1])
    2.0
    """
    return float(np.sqrt(_mean_error(y, predicted, weights, np.square)))


def mae(y: Any, predicted: Any, weights: Any = None) -> float:
    """Weighted mean of absolute errors, Σ w |predicted − y| / Σ w.

    Parameters
    ----------
    y, predicted : vector or matrix
        As in `rmse`.
    weights : vector or matrix of that shape, optional
        Weights of the absolute errors.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As `rmse`.

    Examples
    --------
    >>> from wlrmf.metrics import mae
    >>> mae([1.0, 2.0, 3.0], [1.0, 2.0, 7.0], weights=[1, 2, 1])
    1.0
    """
    return _mean_error(y, predicted, weights, np.abs)


def _mean_error(
    y: Any, predicted: Any, weights: Any, size: Callable[[np.ndarray], np.ndarray]
) -> float:
    left, right = read_numbers(y, "y"), read_numbers(predicted, "predicted")
    if left.shape != right.shape:
        hint = ". Is it transposed?" if left.shape == right.shape[::-1] else ""
        raise ValueError(
            f"`predicted` must have the shape of `y`, {left.shape}; got {right.shape}{hint}"
        )
    if left.size == 0:
        raise ValueError(f"`y` must have at least one value; got shape {left.shape}")
    shares = None if weights is None else read_error_weights(weights, left.shape)
    total = mass = 0.0
    step = max(1, BLOCK * len(left) // left.size)
    for start in range(0, len(left), step):
        rows = slice(start, start + step)
        w = 1.0 if shares is None else shares[rows].astype(np.float64)
        a, b = (
            finite_cells(array[rows], w, name, start)
            for array, name in ((left, "y"), (right, "predicted"))
        )
        with np.errstate(over="ignore"):
            total += float(np.sum(w * size(b - a)))
        mass += a.size if shares is None else float(np.sum(w))
    if not np.isfinite(total):
        raise ValueError("the errors are too large: their sum overflows float64")
    return total / mass
