"""Numbers that the working type can square and multiply without leaving its range."""

from __future__ import annotations

import warnings

import numpy as np

from .errors import DataWarning

RANGE = {4: 1e15, 8: 1e90}  # by the bytes of the type: of Y, of weights, of given factors
GRADIENT = {4: 1e36, 8: 1e150}  # of its entries
LEVEL = 1e6  # largest weight against the least: beyond, the rows' systems need float64


def check_range(values: np.ndarray, name: str) -> float:
    """Refuse numbers whose squares and products would leave the range of their type.

    Returns the largest absolute value.
    """
    most, limit = _largest(values), RANGE[values.dtype.itemsize]
    if most and not 1 / limit <= most <= limit:
        raise ValueError(
            f"the largest of {name} is {most:.3g}; {values.dtype} can work with "
            f"{1 / limit:.0e} to {limit:.0e}: multiply by a constant{_wider(values.dtype)}"
        )
    return most


def check_together(y: float, weight: float, dtype: np.dtype) -> None:
    """Refuse the largest target y and the largest weight c, in range each, but not together.

    Where the product of the factors is of the size p, a gradient is of the size of c p √p, and its
    norm is squared in float64. Fits begin at products from y to c y.
    """
    limit = GRADIENT[dtype.itemsize]
    sizes = [weight * p * p**0.5 for p in (y, weight * y)]
    if y and weight and not (1 / limit <= min(sizes) and max(sizes) <= limit):
        raise ValueError(
            f"the largest of Y, {y:.3g}, and of the squared weights, {weight:.3g}, are beyond what "
            f"{dtype} can work with together: multiply one by a constant{_wider(dtype)}"
        )


def check_level(weights: np.ndarray, most: float) -> None:
    """Warn of weights, of which the largest is given, that leave float32 too few digits."""
    if weights.dtype != np.float32 or weights.size == 0:
        return
    least = float(weights.min(where=weights > 0, initial=np.inf))
    if most > LEVEL * least:
        warnings.warn(
            f"the squared weights go from {least:.3g} to {most:.3g}: rows of few heavy cells can "
            "be far off in float32; use float64",
            DataWarning,
            stacklevel=2,
        )


def _largest(values: np.ndarray) -> float:
    """The largest absolute value, 0 of none; a NaN or infinity is one."""
    return max(float(values.max()), -float(values.min())) if values.size else 0.0


def _wider(dtype: np.dtype) -> str:
    return " or use float64" if dtype == np.float32 else ""
