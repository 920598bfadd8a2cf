"""Which of a user's own ratings carry a prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..objective import Layout
from .fitted import Fitted
from .settings import Problem


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """A prediction as a sum: ``score = base + Σ contributions``.

    Attributes
    ----------
    score : float
        The prediction.
    base : float
        What no rating of the user's carries: the mean and the item's bias, and with implicit
        feedback the pull of all the items the user has not.
    items : ndarray of int or str
        The user's own items, the largest contribution (by size) first.
    contributions : ndarray of float, shape (items,)
    """

    score: float
    base: float
    items: np.ndarray
    contributions: np.ndarray

    def to_dict(self) -> dict[str, np.ndarray]:
        """Columns "item" and "contribution"."""
        return {"item": self.items, "contribution": self.contributions}

    def __repr__(self) -> str:
        parts = zip(self.items[:5].tolist(), self.contributions[:5].tolist(), strict=True)
        shown = "".join(f" {'+-'[value < 0]} {abs(value):.3g} ({item!r})" for item, value in parts)
        dots = f" + … ({len(self.items)} items)" if len(self.items) > 5 else ""
        size = abs(self.score) + float(np.abs(self.contributions).sum())
        base = self.base if abs(self.base) > 1e-5 * size else 0.0  # what is left of rounding
        return f"<score {self.score:.4g} = base {base:.4g}{shown}{dots}>"


def explain(fitted: Fitted, problem: Problem, user: int, item: int) -> Explanation:
    """The row solve is linear in the targets, so each rating has a share in the prediction.

    `problem` is that of the user's ratings alone.

    With x the free columns of the right factor and f what the others predict, the user's row is
    ``w = M⁻¹ Σ_j c_j (y_j − f_j) x_j`` over all cells that have a weight, where
    ``M = Σ_j c_j x_j x_jᵀ + reg``. Rating j carries ``c_j (y_j − f_j) x_itemᵀ M⁻¹ x_j``.
    """
    model, layout = fitted.model, fitted.model.layout
    right = model.right.astype(np.float64)
    X, f = right[:, layout.free_W], _fixed(layout, model.left[user], right)
    own, y = problem.Y.indices, problem.Y.data.astype(np.float64)
    c = np.ones(y.size) if problem.weights is None else problem.weights.data
    reg = float(np.broadcast_to(np.asarray(model.row_reg), len(model.left))[user])
    ridge = reg * y.size if model.reg_scaling == "count" else reg
    M = ridge * np.eye(X.shape[1]) + (X[own].T * c) @ X[own]
    if model.base_v is not None:
        u = float(np.broadcast_to(np.asarray(model.base_u), len(model.left))[user])
        others = u * model.base_v.astype(np.float64)
        others[own] = 0
        M += (X.T * others) @ X
    direction = np.linalg.lstsq(M, X[item], rcond=None)[0]
    shares = c * (y - f[own]) * (X[own] @ direction)
    score = float(f[item] + X[item] @ model.left[user, layout.free_W].astype(np.float64))
    order = np.argsort(-np.abs(shares), kind="stable")
    labels = fitted.items.labels[own[order]]
    return Explanation(score, score - float(shares.sum()), labels, shares[order])


def _fixed(layout: Layout, row: np.ndarray, right: np.ndarray) -> np.ndarray:
    """What the columns predict that the row solve does not move."""
    rest = slice(layout.free_W.stop, layout.columns)
    return right[:, rest] @ row[rest].astype(np.float64)
