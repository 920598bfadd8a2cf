"""Problem + ridge + pinned columns = a smooth function of two factors.

Factors are whole here, in storage form, with their columns in the order

    [ pinned in X | shared | pinned in W | pinned in both ]

A column pinned in X holds given numbers there (a column of ones, say) and its partner in W, the
row's coefficient (the row bias, then), is free; so both free parts are contiguous. A pinned column
never moves and bears no ridge.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from .problem import Complete, Fixed, Inexact, Listed, Problem, Reduced, Solved
from .quartic import least_step
from .result import Counts

BLOCK = 1 << 16  # cells predicted at a time
LISTED = 1 << 26  # cells: a list of more, with a row of Q each, is no work for `reduced`


@dataclass(frozen=True)
class Layout:
    """How many columns of each kind, left to right."""

    pinned_X: int
    rank: int
    pinned_W: int
    both: int = 0

    @property
    def columns(self) -> int:
        """All of them."""
        return self.pinned_X + self.rank + self.pinned_W + self.both

    @property
    def free_W(self) -> slice:
        """Columns of W that a solver may move."""
        return slice(0, self.pinned_X + self.rank)

    @property
    def free_X(self) -> slice:
        """Columns of X that a solver may move."""
        return slice(self.pinned_X, self.pinned_X + self.rank + self.pinned_W)

    @property
    def shared(self) -> slice:
        """The factors proper, free in both."""
        return slice(self.pinned_X, self.pinned_X + self.rank)


@dataclass(frozen=True, eq=False)
class Objective:
    """F(W, X) = loss(W, X) + Σ_i reg_W_i |w_i|² + Σ_j reg_X_j |x_j|² over the free columns."""

    problem: Problem
    reg_W: np.ndarray
    reg_X: np.ndarray
    layout: Layout
    counts: Counts = field(default_factory=Counts)

    @property
    def provides(self) -> frozenset[str]:
        """What a solver may ask for; see `Solver.needs`."""
        always = {"value_and_grad", "best_W", "best_X", "line"}
        listed = isinstance(self.problem, Listed) and self.problem.n_listed <= LISTED
        return frozenset(
            always | ({"svd"} if self._has_svd() else set()) | ({"reduced"} if listed else set())
        )

    def _has_svd(self) -> bool:
        uniform = np.ptp(self.reg_W) == 0 and np.ptp(self.reg_X) == 0
        plain = self.layout.columns == self.layout.rank
        both = (self.reg_W[0] > 0) == (self.reg_X[0] > 0)
        return isinstance(self.problem, Complete) and plain and bool(uniform and both)

    @cached_property
    def rounding(self) -> float:
        """A loss of this size is nothing but the rounding of Y."""
        eps = float(np.finfo(self.problem.dtype).eps)
        return (64 * eps) ** 2 * self.marks["squares"]

    @cached_property
    def marks(self) -> dict[str, Any]:
        """Numbers that tell this objective from others, cheap to find and easy to name."""
        return {
            "cells": int(self.problem.row_counts().sum()),
            "weight": self.problem.total_weight(),
            "squares": self.problem.square_sum(),
            "reg": [float(np.sum(reg, dtype=np.float64)) for reg in (self.reg_W, self.reg_X)],
        }

    @cached_property
    def _mean_weight(self) -> float:
        """Of a cell, over all cells."""
        return self.marks["weight"] / (self.problem.shape[0] * self.problem.shape[1])

    def gradient_rounding(self, W: np.ndarray, X: np.ndarray) -> float:
        """A gradient of this norm can be nothing but the rounding of Y."""
        size = sum(float(np.sum(np.square(factor, dtype=np.float64))) for factor in (W, X))
        return 1e3 * (self.rounding * self._mean_weight * size) ** 0.5

    def ridge(self, W: np.ndarray, X: np.ndarray) -> float:
        """Second term of F, in float64."""
        w, x = W[:, self.layout.free_W], X[:, self.layout.free_X]
        return _weighted_dot(self.reg_W, w, w) + _weighted_dot(self.reg_X, x, x)

    @property
    def ridge_per_weight(self) -> tuple[float, float]:
        """Mean ridge of W and of X against the mean weight of a cell."""
        weight = self._mean_weight
        return float(self.reg_W.mean()) / weight, float(self.reg_X.mean()) / weight

    def value(self, W: np.ndarray, X: np.ndarray) -> float:
        """F, in float64."""
        self.counts.value += 1
        return self.problem.loss(W, X) + self.ridge(W, X)

    def value_and_grad(self, W: np.ndarray, X: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """F and its gradients, 0 in pinned columns."""
        self.counts.gradient += 1
        loss, dW, dX = self.problem.loss_grad(W, X)
        for d, factor, reg, free in (
            (dW, W, self.reg_W, self.layout.free_W),
            (dX, X, self.reg_X, self.layout.free_X),
        ):
            d[:, : free.start] = 0
            d[:, free.stop :] = 0
            d[:, free] += 2 * reg[:, None] * factor[:, free]
        return loss + self.ridge(W, X), dW, dX

    def best_W(self, W: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, int]:
        """Exact minimiser over the free columns of W, row by row, and how many were deficient."""
        return self._best(self.problem, W, X, self.reg_W, self.layout.free_W)

    def best_X(self, W: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, int]:
        """Exact minimiser over the free columns of X, and how many rows were deficient."""
        return self._best(self.problem.T, X, W, self.reg_X, self.layout.free_X)

    def near_W(self, W: np.ndarray, X: np.ndarray, dW: np.ndarray) -> np.ndarray:
        """W moved to its exact minimiser or, if that takes less time, near it.

        dW = ∂F/∂W there saves a pass over the data.
        """
        return self._near(self.problem, W, X, self.reg_W, self.layout.free_W, dW)

    def near_X(self, W: np.ndarray, X: np.ndarray) -> np.ndarray:
        """X moved to its exact minimiser or, if that takes less time, near it."""
        return self._near(self.problem.T, X, W, self.reg_X, self.layout.free_X, None)

    def _near(
        self,
        problem: Problem,
        W: np.ndarray,
        X: np.ndarray,
        reg: np.ndarray,
        free: slice,
        dW: np.ndarray | None,
    ) -> np.ndarray:
        if not (isinstance(problem, Inexact) and problem.steps_are_cheaper(free.stop - free.start)):
            return self._best(problem, W, X, reg, free)[0]
        self.counts.row_steps += 1
        if dW is None:
            dW = problem.row_grad(W, X) + 2 * reg[:, None] * W
        out = W.copy()
        out[:, free] += problem.near_rows(X[:, free], reg, dW[:, free])
        return out

    def _best(
        self, problem: Problem, W: np.ndarray, X: np.ndarray, reg: np.ndarray, free: slice
    ) -> tuple[np.ndarray, int]:
        if free.stop == free.start:
            return W.copy(), 0
        self.counts.row_solves += 1
        return best_rows(problem, W, X, reg, free)

    def line(self, W: np.ndarray, X: np.ndarray, dW: np.ndarray, dX: np.ndarray) -> np.ndarray:
        """Coefficients q of F(W + t dW, X + t dX) = Σ q_k t^k; directions are 0 where pinned."""
        self.counts.line += 1
        q = self.problem.line(W, X, dW, dX)
        for factor, d, reg, free in (
            (W, dW, self.reg_W, self.layout.free_W),
            (X, dX, self.reg_X, self.layout.free_X),
        ):
            a, b = factor[:, free], d[:, free]
            q[0] += _weighted_dot(reg, a, a)
            q[1] += 2 * _weighted_dot(reg, a, b)
            q[2] += _weighted_dot(reg, b, b)
        return q

    def best_step(self, W: np.ndarray, X: np.ndarray, dW: np.ndarray, dX: np.ndarray) -> float:
        """The t > 0 at which F(W + t dW, X + t dX) is least; 0 if no step lowers it."""
        return least_step(self.line(W, X, dW, dX))

    @cached_property
    def reduced(self) -> Reduced:
        """F as a function of its shorter factor alone."""
        layout, regs = self.layout, (self.reg_W, self.reg_X)
        listing = self.problem.listing  # type: ignore[attr-defined]
        return Reduced.of(listing, regs, (layout.free_W, layout.free_X), layout.shared)

    def eased(self, rank: int, least: float) -> Objective:
        """The same problem at another rank, with no ridge below `least`."""
        reg_W, reg_X = (np.maximum(reg, reg.dtype.type(least)) for reg in (self.reg_W, self.reg_X))
        return replace(self, reg_W=reg_W, reg_X=reg_X, layout=replace(self.layout, rank=rank))

    def eliminate(self, left: np.ndarray, right: np.ndarray) -> Solved:
        """Exact minimiser over the longer factor's free columns, see `Reduced.solve`."""
        self.counts.row_solves += 1
        return self.reduced.solve(left, right)

    def svd(self) -> tuple[np.ndarray, np.ndarray]:
        """The global optimum of a complete unweighted problem, in balanced factors.

        With Y = U diag(s) V', min |Y - W X'|² + r|W|² + c|X|² is attained at singular values
        max(s - √(rc), 0), split between W and X as (c/r)^¼ to (r/c)^¼. At r = c = 0 this is
        Eckart & Young (1936), doi:10.1007/BF02288367; the ridge soft-thresholds (Srebro, Rennie &
        Jaakkola, NIPS 2004, lemma 1).
        """
        m, n = self.problem.shape
        rank = self.layout.rank
        U, s, V = self.problem.svd(min(rank, m, n))  # type: ignore[attr-defined]
        r, c = float(self.reg_W[0]), float(self.reg_X[0])
        root = np.sqrt(np.maximum(s - np.sqrt(r * c), 0))
        split = (c / r) ** 0.25 if r > 0 else 1.0
        W, X = np.zeros((m, rank)), np.zeros((n, rank))
        W[:, : len(s)], X[:, : len(s)] = U * (root * split), V * (root / split)
        return W.astype(self.problem.dtype), X.astype(self.problem.dtype)


def best_rows(
    problem: Problem,
    W: np.ndarray,
    X: np.ndarray,
    reg: np.ndarray,
    free: slice,
    gram: np.ndarray | None = None,
) -> tuple[np.ndarray, int]:
    """W with the free columns at their exact minimiser, and how many rows were deficient.

    `gram` is the Gram matrix of X over all columns of the problem, for a baseline of which X has
    only some of the rows; see `wlrmf.problem.Baseline.best_rows`.
    """
    rest = np.r_[0 : free.start, free.stop : W.shape[1]]
    about: dict[str, Any] = {}
    if gram is not None:
        order = np.r_[rest, free.start : free.stop]
        about["gram"] = gram[np.ix_(order, order)]
    if rest.size == 0:
        return problem.best_rows(X, reg, **about)
    fixed = Fixed(np.ascontiguousarray(W[:, rest]), np.ascontiguousarray(X[:, rest]))
    out = W.copy()
    if free.stop == free.start:
        return out, 0
    solved = problem.best_rows(np.ascontiguousarray(X[:, free]), reg, fixed, **about)
    out[:, free], deficient = solved
    return out, deficient


def predicted(
    left: np.ndarray, right: np.ndarray, rows: np.ndarray, cols: np.ndarray
) -> np.ndarray:
    """Predictions of the cells (rows, cols), two vectors of indices, from whole factors."""
    out = np.empty(rows.size, left.dtype)
    for at in range(0, out.size, BLOCK):  # gathered factors take columns times the memory
        part = slice(at, at + BLOCK)
        out[part] = np.einsum("ck,ck->c", left[rows[part]], right[cols[part]])
    return out


def _weighted_dot(weight: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Σ_i weight_i a_i·b_i, summed in float64."""
    rows = np.einsum("ik,ik->i", a, b, dtype=np.float64)
    return float(np.dot(weight.astype(np.float64), rows))
