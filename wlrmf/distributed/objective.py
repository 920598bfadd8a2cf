"""F as a function of the items alone, for the solvers and the loop that all fits share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from ..objective import Layout
from ..quartic import least_step
from ..result import Counts
from ..validation.options import spread_reg
from . import half
from .engine import Answer, Engine, persistently
from .half import Items, Terms, Users
from .store import Blocks


class _Point:
    """F at some items: their users' factors stay where they were found."""

    def __init__(self, X: np.ndarray, here: Any, solved: list[Any], users: list[Users]):
        self.X, self.here, self.solved = X, here, solved
        self.loss = max(0.0, sum(each.loss for each in users))
        self.ridge = sum(each.ridge for each in users)
        self.deficient = sum(each.deficient for each in users)
        grams = [each.gram for each in users if each.gram is not None]
        self.gram = np.sum(grams, axis=0) if grams else None
        self.dX = self.best = X  # until the items' half-sweep


class ItemsObjective:
    """F(X) = min over W of F(W, X), by blocks; W has no rows here.

    It has what `minimise` and a solver call of an `Objective`: the solver's sweep from X is to the
    best rows of X at the best W, and a line goes from (best W of X) to (best W of X + dX), so that
    the exact step moves the users along.
    """

    provides = frozenset({"value_and_grad", "best_W", "best_X", "line"})

    def __init__(
        self, blocks: Blocks, terms: Terms, v: np.ndarray | None, engine: Engine, restarts: int
    ):
        self.blocks, self.terms, self.v = blocks, terms, v
        self.engine, self.restarts = engine, restarts
        self.counts = Counts()
        self.met: dict[float, tuple[float, int]] = {}  # of each value: loss, deficient users
        self._point: _Point | None = None

    @property
    def layout(self) -> Layout:
        """Which columns are which."""
        return self.terms.layout

    @cached_property
    def dtype(self) -> np.dtype:
        """Of the factors."""
        return np.dtype(self.blocks.dtype)

    @cached_property
    def reg_X(self) -> np.ndarray:
        """Ridge of each item."""
        scaling = self.terms.reg_scaling
        return spread_reg(self.terms.reg[1], scaling, self.blocks.col_counts, self.dtype)

    @cached_property
    def marks(self) -> dict[str, Any]:
        """As `Objective.marks`."""
        scaled = self.terms.reg_scaling == "count"
        cells = self.blocks.nnz
        sizes = (cells, cells) if scaled else self.blocks.shape
        return {
            "cells": cells,
            "weight": total_weight(self.blocks, self.terms.baseline, self.v),
            "squares": self.blocks.sums["squares"],
            "reg": [reg * size for reg, size in zip(self.terms.reg, sizes, strict=True)],
        }

    @property
    def rounding(self) -> float:
        """As `Objective.rounding`."""
        eps = float(np.finfo(self.dtype).eps)
        return (64 * eps) ** 2 * self.marks["squares"]

    def gradient_rounding(self, W: np.ndarray, X: np.ndarray) -> float:
        """As `Objective.gradient_rounding`, for balanced factors."""
        m, n = self.blocks.shape
        size = 2 * float(np.sum(np.square(X, dtype=np.float64)))
        return 1e3 * (self.rounding * self.marks["weight"] / (m * n) * size) ** 0.5

    def value_and_grad(self, W: np.ndarray, X: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """F and its gradient in X."""
        self.counts.gradient += 1
        point = self._at(X)
        x = X[:, self.layout.free_X]
        squares = np.einsum("ik,ik->i", x, x, dtype=np.float64)
        ridge = float(self.reg_X.astype(np.float64) @ squares) + point.ridge
        value = point.loss + ridge
        self.met[value] = point.loss, point.deficient
        return value, np.zeros_like(W), point.dX

    def best_W(self, W: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, int]:
        """W, which has no rows here, and how many users were deficient."""
        return W, self._at(X).deficient

    def near_W(self, W: np.ndarray, X: np.ndarray, dW: np.ndarray) -> np.ndarray:
        """W, which has no rows here."""
        return W

    def best_X(self, W: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, int]:
        """The best rows of X for the best W."""
        return self._at(X).best, 0

    def near_X(self, W: np.ndarray, X: np.ndarray) -> np.ndarray:
        """The best rows of X, exactly: the gradient comes from the same pass."""
        return self._at(X).best

    def best_step(self, W: np.ndarray, X: np.ndarray, dW: np.ndarray, dX: np.ndarray) -> float:
        """The t > 0 at which F is least on the line, W going from best to best; 0: none is."""
        self.counts.line += 1
        self.counts.row_solves += 1

        def ask() -> list[np.ndarray]:
            point, engine = self._at(X), self.engine
            gram = None if self.v is None else half.gram_of(np.hstack([X, dX]), self.v)
            engine.begin()
            ahead = engine.share(Items(dX, None, gram))
            return engine.gather(
                [
                    engine.submit(half.line, part, self.terms, point.here, ahead, solved)
                    for part, solved in zip(self.blocks.rows, point.solved, strict=True)
                ]
            )

        q = np.sum(self.persistently(ask), axis=0)
        return least_step(q + self.ridge_line(X, dX))

    def ridge_line(self, X: np.ndarray, dX: np.ndarray) -> np.ndarray:
        """The items' ridge along a line, as a quartic."""
        free, reg = self.layout.free_X, self.reg_X.astype(np.float64)
        x, d = X[:, free], dX[:, free]
        xx, xd, dd = (
            float(reg @ np.einsum("ik,ik->i", a, b, dtype=np.float64))
            for a, b in ((x, x), (x, d), (d, d))
        )
        return np.array([xx, 2 * xd, dd, 0, 0])

    def _at(self, X: np.ndarray) -> _Point:
        """F at X, which is computed once; the point before it is let go."""
        if self._point is None or self._point.X is not X:
            self._point = None
            self._point = self.persistently(lambda: self._sweep(X))
        return self._point

    def _sweep(self, X: np.ndarray) -> _Point:
        """Both half-sweeps from X."""
        self.counts.row_solves += 2
        engine, terms, blocks = self.engine, self.terms, self.blocks
        point = self._users(X)
        improved = [
            engine.submit(half.improve, part, terms, point.here, point.gram, rows)
            for part, rows in zip(blocks.cols, exchanged(engine, blocks, point.solved), strict=True)
        ]
        parts = engine.gather(improved)
        point.best = np.concatenate([best for best, _, _ in parts])
        point.dX = np.concatenate([gradient for _, gradient, _ in parts])
        return point

    def _users(self, X: np.ndarray) -> _Point:
        """The users' half-sweep."""
        engine = self.engine
        engine.begin()
        here = engine.share(Items.of(X, self.v))
        solved = [engine.submit(half.solve, part, self.terms, here) for part in self.blocks.rows]
        return _Point(X, here, solved, engine.gather([engine.take(each, 1) for each in solved]))

    def persistently(self, ask: Callable[[], Answer]) -> Answer:
        """Ask again, from the last committed items, when what was computed is lost."""
        return persistently(ask, self.restarts, self.release)

    def release(self) -> None:
        """Let go of what the last point holds elsewhere."""
        self._point = None


def exchanged(engine: Engine, blocks: Blocks, solved: list[Any]) -> Iterator[list[Any]]:
    """For each block of items: all blocks of users' rows, or only the rows that it needs.

    One block after the other, so that where tasks run at once no two blocks' rows are held.
    """
    for block in blocks.cols:
        if engine.exchange == "full":
            yield solved
        else:
            yield [
                engine.submit(half.route, part, handle, block.number)
                for part, handle in zip(blocks.rows, solved, strict=True)
            ]


def total_weight(blocks: Blocks, baseline: float | None, v: np.ndarray | None) -> float:
    """Σ A∘A over all cells."""
    stored = blocks.sums["weight"]
    if baseline is None or v is None:
        return stored
    wide = v.astype(np.float64)
    replaced = float(wide @ blocks.col_counts)
    return baseline * (blocks.shape[0] * float(wide.sum()) - replaced) + stored
