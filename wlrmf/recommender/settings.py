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
TOPS = (5, 10)  # of scales of ratings


@dataclass(frozen=True)
class Problem:
    """Arguments of `fit` that follow from the ratings."""

    Y: sparse.csr_array
    weights: sparse.csr_array | None


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

    def baseline(self, ratings: Ratings) -> None:
        """There is none."""

    def users_baseline(self, old: Ratings, weights: Any, new: Ratings) -> None:
        """There is none."""

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
    """Cells have the target 1 where the value is above 0, with weight 1 + alpha·value, else 0.

    Hu, Koren & Volinsky 2008, doi:10.1109/ICDM.2008.22. The other cells' weight is the baseline,
    times the item's popularity to a power (He et al. 2016, doi:10.1145/2911451.2911489, §4.1) and
    the user's activity to another, each scaled to have the mean 1.
    """

    alpha: float
    level: float
    popularity: float
    activity: float

    reg_scaling: str = "count"
    bias: bool = False

    def reg(self, ratings: Ratings) -> float:
        """The ridge."""
        return 0.1

    def problem(self, ratings: Ratings) -> Problem:
        """Targets and confidences."""
        values = ratings.values.data
        if values.size and not values.min() >= 0:
            raise ValueError(
                f"`value` must not be negative for implicit feedback: it raises the confidence "
                f"that a user likes an item; got {values.min()}"
            )
        weights = 1 + self.alpha * values.astype(np.float64)
        if ratings.weights is not None:
            weights = weights * ratings.weights
        return Problem(ratings.like((values > 0).astype(np.float64)), ratings.like(weights))

    def baseline(self, ratings: Ratings) -> Any:
        """The weight of the other cells."""
        if self.popularity == self.activity == 0 or self.level == 0:
            return self.level
        items = np.bincount(ratings.indices, minlength=len(ratings.items))
        users = _power(np.diff(ratings.indptr), self.activity)
        others = _power(items, self.popularity)
        return self.level * users / users.mean(), others / others.mean()

    def users_baseline(self, old: Ratings, weights: Any, new: Ratings) -> np.ndarray | None:
        """The users' part of the weight for new ratings, by what it is for old ones.

        None where it is one number, which the model knows.
        """
        if self.activity == 0 or weights is None:
            return None
        before, now = (_power(np.diff(ratings.indptr), self.activity) for ratings in (old, new))
        whole = float(np.broadcast_to(np.asarray(weights, np.float64), before.shape).sum())
        return now * (whole / before.sum())

    def look_at(self, ratings: Ratings) -> None:
        """Warn of a scale of ratings: of counts and the like the least is the most frequent."""
        values, count = np.unique(ratings.values.data, return_counts=True)
        scale = values.size >= 3 and values[-1] in TOPS and bool((values % 0.5 == 0).all())
        if scale and count[0] < count.max() / 2:
            warnings.warn(
                f"the values look like ratings on a scale from {values[0]} to {values[-1]}, but "
                "implicit feedback takes each as confidence that the user likes the item: even "
                'the least rating counts as liking. feedback="explicit" predicts ratings; or '
                "keep the high ones only and leave `value` out",
                DataWarning,
                stacklevel=4,
            )


def _power(count: np.ndarray, power: float) -> np.ndarray:
    return np.asarray(count.astype(np.float64) ** power)


def read_ridge(reg: Any) -> float | tuple[float, float]:
    """A number, or one for the users and one for the items; new users have no vector's entry."""
    if isinstance(reg, tuple | list) and len(reg) == 2:
        return read_real(reg[0], "reg[0]"), read_real(reg[1], "reg[1]")
    return read_real(reg, "reg")


def read_feedback(
    feedback: Any, alpha: Any, baseline: Any, popularity: Any, activity: Any
) -> Explicit | Implicit:
    """What the ratings mean."""
    alpha, baseline = read_real(alpha, "alpha"), read_real(baseline, "baseline")
    popularity, activity = read_real(popularity, "popularity"), read_real(activity, "activity")
    if feedback == "explicit":
        for name, value, default in (
            ("alpha", alpha, 1), ("baseline", baseline, 1), ("popularity", popularity, 0),
            ("activity", activity, 0),
        ):  # fmt: skip
            if value != default:
                raise ValueError(f'`{name}` is for feedback="implicit"; got {value}')
        return Explicit()
    if feedback == "implicit":
        return Implicit(alpha, baseline, popularity, activity)
    raise ValueError(f'`feedback` must be "explicit" or "implicit"; got {describe(feedback)}')
