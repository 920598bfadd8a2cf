"""Alternating least squares, by itself or as the preconditioner of nonlinear CG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..objective import Objective
from ..validation.errors import describe
from .base import State, inner

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class ALS:
    """Minimisation over the rows of W, then over the rows of X.

    Parameters
    ----------
    acceleration : {"ncg", None}
        ``"ncg"``: what a sweep would change is the preconditioned gradient of a nonlinear
        conjugate gradient method (Polak-Ribière, never negative) whose step along its direction is
        exact, the least value of a quartic. ``None``: plain sweeps.
    inexact : bool
        Whether the rows of an accelerated sweep need only come near their minimisers where that
        takes less time: a few preconditioned conjugate gradient steps each (`kernels.steps`) in
        place of a factorization, from some 25 columns of sparse data on. A direction that is a
        little off costs hardly an iteration, because the step along it is exact.

    References
    ----------
    De Sterck & Winlaw (2015), doi:10.1002/nla.1963, section 2 (the method);
    Winlaw, Hynes, Caterini & De Sterck (2015), arXiv:1508.03110 (for recommendation);
    Takács, Pilászy & Tikk (2011), doi:10.1145/2043932.2043987 (inexact rows).

    Examples
    --------
    >>> import numpy as np, wlrmf
    >>> Y = np.outer([1.0, 2, 3, 4], [1.0, 0, 2])
    >>> Y[0, 0] = np.nan
    >>> model = wlrmf.fit(Y, rank=1, solver=wlrmf.solvers.ALS(acceleration=None))
    >>> print(round(float(model.predict(0, 0)), 3))
    1.0
    """

    acceleration: str | None = "ncg"
    inexact: bool = True

    name: ClassVar[str] = "als"
    needs: ClassVar[frozenset[str]] = frozenset({"value_and_grad", "best_W", "best_X", "line"})

    def __post_init__(self) -> None:
        if self.acceleration not in ("ncg", None):
            raise ValueError(
                f'`acceleration` must be "ncg" or None; got {describe(self.acceleration)}'
            )
        if not isinstance(self.inexact, bool):
            raise TypeError(f"`inexact` must be True or False; got {describe(self.inexact)}")

    def step(self, objective: Objective, state: State) -> State:
        """One sweep; accelerated, one sweep, one gradient and one line search."""
        if self.acceleration is not None and self.inexact:
            W = objective.near_W(state.W, state.X, state.dW)
            X = objective.near_X(W, state.X)
        else:
            W, _ = objective.best_W(state.W, state.X)
            X, _ = objective.best_X(W, state.X)
        if self.acceleration is None:
            return state.moved(objective, W, X)
        sweep = W - state.W, X - state.X  # minus the preconditioned gradient
        slope = inner(*sweep, state.dW, state.dX)
        pW, pX = _direction(state, sweep, slope)
        t = objective.best_step(state.W, state.X, pW, pX)
        if t > 0:
            W, X = state.W + _as(t, W) * pW, state.X + _as(t, X) * pX
        return state.moved(
            objective, W, X, direction=(pW, pX), gradient=(state.dW, state.dX), slope=slope
        )


def _direction(state: State, sweep: Pair, slope: float) -> Pair:
    """Polak-Ribière with β = ⟨sweep, g - g₋⟩ / ⟨sweep₋, g₋⟩, or the sweep alone.

    Both numerator and denominator are of sweeps, which point down: the signs cancel.
    """
    if not state.memory.get("slope", 0) < 0:  # the first step, or the last was at an optimum
        return sweep
    before, (gW, gX) = state.memory["direction"], state.memory["gradient"]
    beta = (slope - inner(*sweep, gW, gX)) / state.memory["slope"]
    if not beta > 0:
        return sweep
    pW, pX = (s + _as(beta, s) * b for s, b in zip(sweep, before, strict=True))
    return (pW, pX) if inner(pW, pX, state.dW, state.dX) < 0 else sweep


def _as(number: float, like: np.ndarray) -> np.floating:
    """A scalar of the array's own dtype: a float64 one would widen float32 arrays."""
    return like.dtype.type(number)
