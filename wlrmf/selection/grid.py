"""Which ranks and ridges to try."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from ..objective import Objective
from ..solvers import get_solver
from ..solvers.base import Stop, minimise
from ..start import first_state
from ..validation.errors import describe
from ..validation.options import read_int, read_real, spread_reg
from .parts import Fold

STEPS = 8  # ridges of the default grid
FACTOR = 2.0  # between one and the next
ROUNDS, WIDTH = 10, 8  # of the subspace iteration: a percent of the largest value is enough
SMALL = 1e-3  # ridge, against the largest singular value, of the biases that are taken off first
SETTLED = Stop(gtol=1e-3, ftol=1e-4, max_iter=30)


def read_ranks(ranks: Any, shape: tuple[int, int], pinned: bool) -> tuple[int, ...]:
    """Each once, rising; default 1, 2, 4, 8, 16, as far as half the shorter side."""
    most = min(shape)
    if ranks is None:
        return tuple(r for r in (1, 2, 4, 8, 16) if r == 1 or r <= most // 2)
    low = 0 if pinned else 1
    return tuple(sorted({read_int(r, "ranks", low, most) for r in _listed(ranks, "ranks")}))


def read_regs(regs: Any) -> tuple[float, ...]:
    """Each once, falling: the order in which they are fitted."""
    numbers = {read_real(reg, "regs") for reg in _listed(regs, "regs")}
    return tuple(sorted(numbers, reverse=True))


def _listed(value: Any, name: str) -> list[Any]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(f"`{name}` must be a sequence of numbers; got {describe(value)}")
    listed = list(value)
    if not listed:
        raise ValueError(f"`{name}` must have at least one number; got none")
    return listed


def default_regs(fold: Fold, reg_scaling: str) -> tuple[float, ...]:
    """σ₁/2, σ₁/4, …, σ₁/256, where σ₁ is the least ridge at which all factors vanish.

    Zero factors minimise F if and only if the ridge is at least the largest singular value of
    A∘A∘R, with R what the mean, the biases and the pinned rows leave of Y: beside them a product
    of nuclear norm ν lowers the loss by at most 2 σ₁ ν, and its ridge is at least 2 reg ν. With
    ``reg_scaling="count"`` the ridge of row i is reg·n_i, so σ₁ is that of D^-½ (A∘A∘R) E^-½, with
    the numbers of observed cells of rows and columns in D and E.
    """
    layout, problem = fold.pins.layout, fold.problem
    m, n = problem.shape
    W, X = (np.zeros((size, layout.columns), problem.dtype) for size in (m, n))
    fold.pins.place(W, X, layout)
    top = largest(fold, W, X, reg_scaling)
    if layout.columns > int(fold.pins.mean is not None) and top > 0:
        objective = ridged(fold, 0, SMALL * top, reg_scaling)
        state = first_state(objective, fold.pins, get_solver("als"))
        best = minimise(objective, get_solver("als"), state, SETTLED).best
        top = largest(fold, best.W, best.X, reg_scaling)
    if not top > 0:
        raise ValueError("`regs` must be given: the data leave nothing for a factor to explain")
    return tuple(float(f"{top / FACTOR**k:.3g}") for k in range(1, STEPS + 1))


def ridged(fold: Fold, rank: int, reg: float, reg_scaling: str) -> Objective:
    """The fold's data with this rank and ridge."""
    problem = fold.problem
    rows, cols = (
        spread_reg(reg, reg_scaling, counts, problem.dtype)
        for counts in (problem.row_counts(), problem.col_counts())
    )
    return Objective(problem, rows, cols, replace(fold.pins.layout, rank=rank))


def largest(fold: Fold, W: np.ndarray, X: np.ndarray, reg_scaling: str) -> float:
    """The largest singular value of the weighted residuals, in the units of the ridge."""
    Z = fold.problem.residual_operator(W, X)
    scale = [
        1 / np.sqrt(np.maximum(counts, 1))[:, None] if reg_scaling == "count" else np.ones((1, 1))
        for counts in (fold.problem.row_counts(), fold.problem.col_counts())
    ]
    m, n = Z.shape
    V = np.random.default_rng(0).standard_normal((n, min(WIDTH, m, n)))
    for _ in range(ROUNDS):
        V, _ = np.linalg.qr(V)
        U = scale[0] * Z.matmat((scale[1] * V).astype(Z.dtype)).astype(np.float64)
        V = scale[1] * Z.rmatmat((scale[0] * U).astype(Z.dtype)).astype(np.float64)
    return float(np.linalg.norm(U, 2))
