"""Where a fit begins: the pinned columns, and the factors beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .model import Factorization
from .objective import Layout, Objective
from .problem import Problem
from .solvers.base import State
from .validation.errors import describe
from .validation.options import read_factor, read_int, read_pinned, read_seed

OVERSAMPLING = 8  # columns beyond the rank in the subspace iteration
ROUNDS = 4  # of it
DEPENDENT = 1e-5  # least diagonal entry of a Cholesky factor against its largest
# What tells a state's objective from another, in words that name arguments.
WORDS = {
    "cells": "number of observed cells (Y, mask)",
    "weight": "sum of weights (mask, weights, baseline)",
    "squares": "weighted sum of squares of Y",
    "reg": "sum of ridges over rows and columns (reg, reg_scaling)",
}
LEAST = 1e-3  # least singular value of a start against its largest: a zero factor never moves


@dataclass(frozen=True)
class Pins:
    """Columns with given values: left of the shared ones in X, right of them in W."""

    W: np.ndarray
    X: np.ndarray
    mean: float | None

    @property
    def pinned(self) -> bool:
        """Whether there is something to fit at rank 0."""
        return self.W.shape[1] + self.X.shape[1] > 0

    @property
    def layout(self) -> Layout:
        """The layout at rank 0."""
        return Layout(self.X.shape[1], 0, self.W.shape[1], int(self.mean is not None))

    def place(self, left: np.ndarray, right: np.ndarray, layout: Layout) -> None:
        """Write the given values into whole factors."""
        right[:, : layout.pinned_X] = self.X
        left[:, layout.shared.stop : layout.free_X.stop] = self.W
        if self.mean is not None:
            left[:, -1], right[:, -1] = 1, self.mean


def read_pins(problem: Problem, pinned_W: Any, pinned_X: Any, bias: bool) -> Pins:
    """The caller's pinned rows, and with biases a column of ones in each factor and the mean."""
    m, n = problem.shape
    W = read_pinned(pinned_W, "pinned_W", m, problem.dtype)
    X = read_pinned(pinned_X, "pinned_X", n, problem.dtype)
    if not bias:
        return Pins(W, X, None)
    ones = [np.ones((size, 1), problem.dtype) for size in (m, n)]
    return Pins(np.hstack([W, ones[0]]), np.hstack([X, ones[1]]), problem.mean())


def starts(
    objective: Objective, pins: Pins, start: Any, n_starts: Any, seed: Any, solver: Any
) -> Iterable[State]:
    """The states to begin from: the given one, or the spectral one and then random ones."""
    n_starts = read_int(n_starts, "n_starts", 1)
    if start is not None:
        if n_starts > 1:
            raise ValueError(f"`n_starts` must be 1 with a given `start`; got {n_starts}")
        return [_given(objective, pins, start)]
    generator = read_seed(seed)
    first = _random if getattr(solver, "exact", False) else _spectral  # exact: any start will do
    kinds = [first] + [_random] * (n_starts - 1)
    return (kind(objective, pins, generator) for kind in kinds)


def _bare(objective: Objective, pins: Pins) -> tuple[np.ndarray, np.ndarray]:
    """Whole factors with nothing but the given values."""
    layout, problem = objective.layout, objective.problem
    left, right = (np.zeros((size, layout.columns), problem.dtype) for size in problem.shape)
    pins.place(left, right, layout)
    return left, right


def _random(objective: Objective, pins: Pins, generator: np.random.Generator) -> State:
    """Normal factors whose product has the root mean square of what the pinned columns leave."""
    layout, problem = objective.layout, objective.problem
    left, right = _bare(objective, pins)
    rms = (problem.loss(left, right) / problem.total_weight()) ** 0.5
    for factor in (left, right):
        draw = generator.standard_normal((len(factor), layout.rank))
        factor[:, layout.shared] = draw * (rms / max(1, layout.rank) ** 0.5) ** 0.5
    return _begin(objective, left, right)


def _spectral(objective: Objective, pins: Pins, generator: np.random.Generator) -> State:
    """Leading singular vectors of the weighted Y − pinned, scaled by the exact step from zero.

    By subspace iteration (Halko, Martinsson & Tropp 2011, doi:10.1137/090771806, algorithm 4.4).
    """
    layout, problem = objective.layout, objective.problem
    left, right = _bare(objective, pins)
    rank, width = layout.rank, min(layout.rank + OVERSAMPLING, *problem.shape)
    if rank > width or rank == 0:
        return _random(objective, pins, generator)
    Z = problem.start_operator(left, right)
    V = generator.standard_normal((problem.shape[1], width)).astype(problem.dtype)
    for _ in range(ROUNDS - 1):
        U = Z.matmat(V)
        V, _ = _basis(Z.rmatmat(U / (np.abs(U).max() or 1)))  # so that squares do not overflow
    U, _ = _basis(Z.matmat(V))
    V, R = _basis(Z.rmatmat(U))
    inner_V, s, inner_Ut = np.linalg.svd(R)  # Z ≈ U R' V'
    root = np.sqrt(np.maximum(s[:rank], LEAST * s[0])).astype(problem.dtype)
    dW, dX = np.zeros_like(left), np.zeros_like(right)
    dW[:, layout.shared] = (U @ inner_Ut.T)[:, :rank] * root
    dX[:, layout.shared] = (V @ inner_V)[:, :rank] * root
    # zero is the best multiple where the ridge outweighs the data: then any step will do
    t = problem.dtype.type(objective.best_step(left, right, dW, dX) or 1.0)
    return _begin(objective, left + t * dW, right + t * dX)


def _basis(V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """V = Q R with orthonormal columns of Q: by Cholesky, several times faster than by QR.

    That loses digits as the condition number grows, so columns near dependence go to QR.
    """
    wide = V.astype(np.float64)
    try:
        R = np.linalg.cholesky(wide.T @ wide).T
    except np.linalg.LinAlgError:
        return np.linalg.qr(V)
    diagonal = np.diag(R)
    if diagonal.min() < DEPENDENT * diagonal.max():
        return np.linalg.qr(V)
    return V @ np.linalg.inv(R).astype(V.dtype), R.astype(V.dtype)


def _begin(objective: Objective, left: np.ndarray, right: np.ndarray) -> State:
    """A row without observed cells starts, and so stays, at 0."""
    problem, layout = objective.problem, objective.layout
    left[problem.row_counts() == 0, layout.free_W] = 0
    right[problem.col_counts() == 0, layout.free_X] = 0
    return State.start(objective, left, right)


def _given(objective: Objective, pins: Pins, start: Any) -> State:
    if isinstance(start, State):
        return _given_state(objective, pins, start)
    layout, problem = objective.layout, objective.problem
    m, n = problem.shape
    left, right = _bare(objective, pins)
    if isinstance(start, Factorization):
        pair = (start.W, start.X)
    elif isinstance(start, tuple | list) and len(start) == 2:
        pair = (start[0], start[1])
    else:
        raise TypeError(
            f"`start` must be a pair (W, X), a Factorization or a State; got {describe(start)}"
        )
    W = read_factor(pair[0], "start[0]", layout.rank, m, problem.dtype)
    X = read_factor(pair[1], "start[1]", layout.rank, n, problem.dtype)
    if layout.rank and not (W.any() and X.any()):
        raise ValueError("`start` is zero: F is stationary there, and no solver can leave it")
    if isinstance(start, Factorization) and start.layout == layout:
        left[:], right[:] = start.left, start.right  # biases and coefficients too
        pins.place(left, right, layout)
    left[:, layout.shared], right[:, layout.shared] = W, X
    return _begin(objective, left, right)


def _given_state(objective: Objective, pins: Pins, start: State) -> State:
    layout, problem = objective.layout, objective.problem
    compared = {
        "shape": ((len(start.W), len(start.X)), problem.shape),
        "rank": (start.layout.rank, layout.rank),
        "pinned rows or biases": (start.layout, layout),
        "dtype": (str(start.W.dtype), str(problem.dtype)),
    }
    compared |= {
        WORDS[name]: (start.marks[name], mark)
        for name, mark in objective.marks.items()
        if name in start.marks
    }
    for what, (its, ours) in compared.items():
        if not _same(its, ours):
            raise _stranger(what, its, ours)
    placed = start.W.copy(), start.X.copy()
    pins.place(placed[0], placed[1], layout)
    if not all(np.array_equal(a, b) for a, b in zip(placed, (start.W, start.X), strict=True)):
        raise _stranger("values of pinned rows, or mean of Y,", "others", "these")
    value = objective.value(start.W, start.X)
    if not _same(start.value, value):
        raise _stranger("value with these Y, mask and weights", start.value, value)
    return start


def _same(its: Any, ours: Any) -> bool:
    """Equal, but for the rounding of numbers."""
    if isinstance(ours, float | list):
        return bool(np.allclose(its, ours, rtol=1e-9, atol=0))
    return bool(its == ours)


def _stranger(what: str, its: Any, ours: Any) -> ValueError:
    return ValueError(
        f"`start` is a State of another fit: its {what} is {its}, here it is {ours}; "
        "give (W, X) to begin anew from there"
    )
