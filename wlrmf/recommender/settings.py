"""From ratings to the problem that `fit` solves: what each kind of feedback means."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from ..validation.errors import DataWarning, describe
from ..validation.options import read_real
from .ratings import Ratings

NOISE = 0.085  # ridge of explicit feedback, of the ratings' standard deviation
SCALE = 20  # distinct values at most of what looks like a scale of ratings


@dataclass(frozen=True)
class Problem:
    """Arguments of `fit` that follow from the ratings."""

    Y: sparse.csr_array
    weights: sparse.csr_array | None
    baseline: Any = None


@dataclass(frozen=True)
class Explicit:
    """Ratings are values to predict; cells without one are missing."""

    reg_scaling: str = "count"
    bias: bool = True

    def reg(self, ratings: Ratings) -> float:
        """The ridge that goes with the size of the ratings and of their weights.

        Ratings times c want a ridge times c, as products of factors grow by c and factors by √c.
        """
        spread = float(ratings.values.data.std(dtype=np.float64)) if ratings.values.nnz else 0.0
        weight = 1.0 if ratings.weights is None else float(ratings.weights.mean(dtype=np.float64))
        return NOISE * spread * weight or NOISE

    def problem(self, ratings: Ratings) -> Problem:
        """Y and its weights."""
        weights = None if ratings.weights is None else ratings.like(ratings.weights)
        return Problem(ratings.values, weights)

    def look_at(self, ratings: Ratings) -> None:
        """Warn of values that are no ratings."""
        values = ratings.values.data
        if values.size > 1 and values.min() == values.max():
            warnings.warn(
                f"all {values.size} values are {values[0]}: there is nothing to tell items apart "
                'by; feedback="implicit" learns from which items a user has',
                DataWarning,
                stacklevel=4,
            )


@dataclass(frozen=True)
class Implicit:
    """Cells have the target 1 where a user has the item, with weight 1 + alpha·value, else 0.

    Hu, Koren & Volinsky 2008, doi:10.1109/ICDM.2008.22. The other cells' weight is the baseline,
    times the item's popularity to a power (He et al. 2016, doi:10.1145/2911451.2911489, §4.1).
    """

    alpha: float
    baseline: float
    popularity: float

    reg_scaling: str = "count"
    bias: bool = False

    def reg(self, ratings: Ratings) -> float:
        """The ridge."""
        return 0.1

    def problem(self, ratings: Ratings) -> Problem:
        """Targets, confidences and the weight of the other cells."""
        values = ratings.values.data
        if values.size and not values.min() >= 0:
            raise ValueError(
                f"`value` must not be negative for implicit feedback: it raises the confidence "
                f"that a user likes an item; got {values.min()}"
            )
        weights = 1 + self.alpha * values.astype(np.float64)
        if ratings.weights is not None:
            weights = weights * ratings.weights
        return Problem(
            ratings.like(np.ones(values.size)), ratings.like(weights), self._baseline(ratings)
        )

    def _baseline(self, ratings: Ratings) -> Any:
        if self.popularity == 0 or self.baseline == 0:
            return self.baseline
        users, items = ratings.values.shape
        count = np.bincount(ratings.indices, minlength=items).astype(np.float64)
        power = count**self.popularity
        return np.full(users, self.baseline), power / power.mean()

    def look_at(self, ratings: Ratings) -> None:
        """Warn of a scale of ratings: of counts and the like the least is the most frequent."""
        values, count = np.unique(ratings.values.data, return_counts=True)
        if 3 <= values.size <= SCALE and count[0] < count.max() / 2 and values[-1] <= 100:
            warnings.warn(
                f"the values look like ratings on a scale from {values[0]} to {values[-1]}, but "
                "implicit feedback takes each as confidence that the user likes the item: even "
                'the least rating counts as liking. feedback="explicit" predicts ratings; or '
                "keep the high ones only and leave `value` out",
                DataWarning,
                stacklevel=4,
            )


def read_feedback(feedback: Any, alpha: Any, baseline: Any, popularity: Any) -> Explicit | Implicit:
    """What the ratings mean."""
    alpha, baseline = read_real(alpha, "alpha"), read_real(baseline, "baseline")
    popularity = read_real(popularity, "popularity")
    if feedback == "explicit":
        return Explicit()
    if feedback == "implicit":
        return Implicit(alpha, baseline, popularity)
    raise ValueError(f'`feedback` must be "explicit" or "implicit"; got {describe(feedback)}')
