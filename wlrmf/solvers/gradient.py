"""Gradient descent with the exact step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..objective import Objective
from .base import State, inner


@dataclass(frozen=True)
class GradientDescent:
    """Steepest descent, each step the least value of F along the line.

    Parameters
    ----------
    scaled : bool
        Multiply each factor's gradient by the inverse Gram matrix of the other factor (and the
        ridge, on the scale of one cell), which near the solution makes the speed independent of its
        condition number (ScaledGD: Tong, Ma & Chi, JMLR 22 (2021) 150, algorithm 1).
    """

    scaled: bool = False

    name: ClassVar[str] = "gd"
    needs: ClassVar[frozenset[str]] = frozenset({"value_and_grad", "line"})

    def step(self, objective: Objective, state: State) -> State:
        """One step down the (scaled) gradient."""
        dW, dX = -state.dW, -state.dX
        if self.scaled:
            free_W, free_X = objective.layout.free_W, objective.layout.free_X
            ridge_W, ridge_X = objective.ridge_per_weight
            dW[:, free_W] = _precondition(dW[:, free_W], state.X[:, free_W], ridge_W)
            dX[:, free_X] = _precondition(dX[:, free_X], state.W[:, free_X], ridge_X)
        # to the size of the factors: products of long directions would overflow
        size = (inner(state.W, state.X, state.W, state.X) / (inner(dW, dX, dW, dX) or 1.0)) ** 0.5
        size = state.W.dtype.type(2.0 ** round(np.log2(size)) if size > 0 else 1.0)
        dW, dX = size * dW, size * dX
        t = state.W.dtype.type(objective.best_step(state.W, state.X, dW, dX))
        return state.moved(objective, state.W + t * dW, state.X + t * dX)


def _precondition(gradient: np.ndarray, other: np.ndarray, ridge: float) -> np.ndarray:
    """Gradient · (other' other + ridge)^-1, kept invertible by a multiple of rounding."""
    G = other.T.astype(np.float64) @ other
    top = float(np.trace(G)) or 1.0
    G.flat[:: len(G) + 1] += ridge + top * float(np.finfo(other.dtype).eps) * 10
    return np.linalg.solve(G, gradient.T.astype(np.float64)).T.astype(gradient.dtype)
