"""SciPy's L-BFGS-B on the fused value and gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..objective import Objective
from ..validation.options import read_int
from .base import State

FOREVER = np.iinfo(np.int32).max


@dataclass(frozen=True)
class LBFGS:
    """Limited-memory quasi-Newton on all free entries of W and X at once.

    Parameters
    ----------
    memory : int
        Pairs of steps and gradient differences that are kept.

    Notes
    -----
    The loop is SciPy's, so a resumed run starts with an empty memory.

    References
    ----------
    Zhu, Byrd, Lu & Nocedal (1997), doi:10.1145/279232.279236.
    """

    memory: int = 10

    name: ClassVar[str] = "lbfgs"
    needs: ClassVar[frozenset[str]] = frozenset({"value_and_grad"})

    def __post_init__(self) -> None:
        read_int(self.memory, "memory", 1)

    def run(self, objective: Objective, state: State, report: Callable[[State], None]) -> None:
        """Hand the problem to SciPy; `report` ends the run by raising."""
        from scipy.optimize import minimize  # slow to import

        free = objective.layout.free_W, objective.layout.free_X
        begin = _pack(state.W, state.X, free)
        # SciPy's first step supposes variables and values about 1
        unit, height = _power(np.sqrt(np.mean(begin**2))), _power(state.value)
        current = evaluated = replace(state, memory={})

        def evaluate(z: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal evaluated
            W, X = _unpack(unit * z, state, free)
            value, dW, dX = objective.value_and_grad(W, X)
            evaluated = replace(evaluated, W=W, X=X, value=value, dW=dW, dX=dX)
            return value / height, _pack(dW, dX, free) * (unit / height)

        def callback(intermediate_result: Any) -> None:
            nonlocal current
            if evaluated.value / height != intermediate_result.fun:  # not the point evaluated last
                evaluate(intermediate_result.x)
            current = replace(evaluated, iteration=current.iteration + 1)
            report(current)

        minimize(
            evaluate,
            begin / unit,
            jac=True,
            method="L-BFGS-B",
            callback=callback,
            # the stopping tests are `report`'s, the same for all solvers
            options={
                "maxcor": self.memory,
                "ftol": 0,
                "gtol": 0,
                "maxiter": FOREVER,
                "maxfun": FOREVER,
            },
        )


def _power(size: float) -> float:
    """The power of two next to a size, so that dividing by it loses nothing."""
    return 2.0 ** round(np.log2(size)) if size > 0 else 1.0


def _pack(W: np.ndarray, X: np.ndarray, free: tuple[slice, slice]) -> np.ndarray:
    """The free columns of both factors as one float64 vector."""
    return np.concatenate([W[:, free[0]].ravel(), X[:, free[1]].ravel()]).astype(np.float64)


def _unpack(
    z: np.ndarray, state: State, free: tuple[slice, slice]
) -> tuple[np.ndarray, np.ndarray]:
    W, X = state.W.copy(), state.X.copy()
    split = W[:, free[0]].size
    W[:, free[0]] = z[:split].reshape(len(W), -1)
    X[:, free[1]] = z[split:].reshape(len(X), -1)
    return W, X
