"""What a recommender knows after a fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..model import Factorization
from ..objective import BLOCK
from .ids import Ids
from .ratings import Ratings


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model, the ids of its rows and columns, and the ratings it was fitted to."""

    model: Factorization
    ratings: Ratings

    @property
    def users(self) -> Ids:
        """Ids of the model's rows."""
        return self.ratings.users

    @property
    def items(self) -> Ids:
        """Ids of the model's columns."""
        return self.ratings.items

    @cached_property
    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        """The mean user and the mean item, whose predictions are the means of all predictions."""
        factors = self.model.left, self.model.right
        left, right = (f.mean(axis=0, dtype=np.float64).astype(f.dtype) for f in factors)
        return left, right

    def user_rows(self, places: np.ndarray) -> np.ndarray:
        """Rows of the left factor; the mean row for -1."""
        return _rows(self.model.left, self._means[0], places)

    def item_rows(self, places: np.ndarray) -> np.ndarray:
        """Rows of the right factor; the mean row for -1."""
        return _rows(self.model.right, self._means[1], places)

    def predict(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Predictions for pairs of places of any shape; an unknown one, -1, is an average one."""
        out = np.empty(users.shape, self.model.left.dtype)
        flat, i, j = out.reshape(-1), users.reshape(-1), items.reshape(-1)
        for at in range(0, flat.size, BLOCK):
            part = slice(at, at + BLOCK)
            flat[part] = np.einsum("ck,ck->c", self.user_rows(i[part]), self.item_rows(j[part]))
        return out


def _rows(factor: np.ndarray, mean: np.ndarray, places: np.ndarray) -> np.ndarray:
    rows = factor[places]
    rows[places < 0] = mean
    return rows
