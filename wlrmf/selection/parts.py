"""The data in two parts, those to fit and those to judge by, a pair a fold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import splits
from ..objective import predicted
from ..problem import Problem, build
from ..start import Pins, read_pins
from ..validation.cells import Cells
from ..validation.errors import describe
from ..validation.options import read_int
from ..validation.ranges import LEVEL, RANGE
from .errors import Metric

SHARP = 1e4  # mean of Y against its scatter beyond which float32 would round the scatter


@dataclass(frozen=True, eq=False)
class Observations:
    """The observed cells of judged data, in row-major order; an empty `c` is a weight of 1."""

    cells: Cells
    rows: np.ndarray
    cols: np.ndarray
    y: np.ndarray
    c: np.ndarray

    @classmethod
    def of(cls, cells: Cells) -> Observations:
        """All of them."""
        return cls(cells, *cells.entries())

    def split(self, held_out: np.ndarray, n_threads: int, pinned: dict[str, Any]) -> Fold:
        """Two problems, of the cells that are held out and of the others."""
        own = self.cells
        if own.indptr is not None:
            training = self._listed(~held_out)
        else:
            A2 = np.ones(own.shape, own.Y.dtype) if own.A2.size == 0 else own.A2.copy()
            A2[self.rows[held_out], self.cols[held_out]] = 0
            training = replace(own, Y=np.where(A2 > 0, own.Y, 0), A2=A2)
        problem, judge = (build(part, n_threads) for part in (training, self._listed(held_out)))
        where = self.rows[held_out], self.cols[held_out]
        weights = self.c[held_out] if self.c.size else np.ones(where[0].size, self.y.dtype)
        y = self.y[held_out]
        for given in (y, weights):
            given.flags.writeable = False  # a metric of the caller's gets them
        return Fold(problem, read_pins(problem, **pinned), judge, *where, y, weights)

    def _listed(self, kept: np.ndarray) -> Cells:
        m, n = self.cells.shape
        indptr = np.concatenate(([0], np.cumsum(np.bincount(self.rows[kept], minlength=m))))
        cols = self.cols[kept].astype(np.int32 if n <= np.iinfo(np.int32).max else np.int64)
        c, none = self.c[kept] if self.c.size else self.c, np.empty(0, self.y.dtype)
        return Cells((m, n), self.y[kept], c, indptr, cols, none, none)

    def in_float32(self) -> Observations:
        """The same in half the memory, where that loses nothing that a search could miss."""
        if self.y.dtype == np.float32:
            return self
        y, c = self.y, self.c if self.c.size else np.ones(1)
        sizes = np.array([np.abs(y).max(), c.max()])
        fits = bool(((sizes <= RANGE[4]) & ((sizes >= 1 / RANGE[4]) | (sizes == 0))).all())
        if not fits or c.max() > LEVEL * c.min() or abs(y.mean()) > SHARP * y.std():
            return self
        own = self.cells
        parts = {name: getattr(own, name).astype(np.float32) for name in ("Y", "A2", "u", "v")}
        return Observations.of(replace(own, **parts))


@dataclass(frozen=True, eq=False)
class Fold:
    """What is fitted, and the cells that judge the fit."""

    problem: Problem
    pins: Pins
    judge: Problem
    rows: np.ndarray
    cols: np.ndarray
    y: np.ndarray
    weights: np.ndarray

    def rmse(self, W: np.ndarray, X: np.ndarray) -> float:
        """Weighted root mean square error of whole factors on the held-out cells."""
        return float((self.judge.loss(W, X) / self.judge.total_weight()) ** 0.5)

    def error(self, W: np.ndarray, X: np.ndarray, metric: Metric) -> tuple[float, float]:
        """A metric on the held-out cells, and its standard error over them."""
        return metric(self.y, predicted(W, X, self.rows, self.cols), self.weights)


def read_parts(cells: Observations, folds: Any, holdout: Any, seed: Any) -> list[np.ndarray]:
    """The held-out cells of each fold, a boolean an observed cell."""
    if folds is not None and holdout is not None:
        raise ValueError("`folds` and `holdout` exclude each other: give one of the two")
    place = cells.rows, cells.cols, cells.cells.shape
    if holdout is not None:
        if np.ndim(holdout):
            parts = [_own(holdout, "holdout", cells.y.size, "b")]
        else:
            share = splits.read_share(holdout, "holdout")
            parts = [splits.cells(*place, share=share, seed=seed)]
    elif np.ndim(folds):
        fold = _own(folds, "folds", cells.y.size, "iu")
        parts = [fold == k for k in range(int(fold.max()) + 1)]
        if len(parts) < 2:
            raise ValueError(f"`folds` must have at least 2 folds; its largest is {fold.max()}")
    else:
        n = read_int(5 if folds is None else folds, "folds", 2)
        fold = splits.folds(*place, n, seed)
        parts = [fold == k for k in range(n)]
    for k, part in enumerate(parts):
        if not part.any() or part.all():
            what = "no cell" if not part.any() else "every cell"
            name, advice = (
                ("folds", f"fold {k} holds out {what}; give fewer folds")
                if holdout is None
                else ("holdout", f"it holds out {what} of {part.size}")
            )
            raise ValueError(f"`{name}` must leave cells to fit and cells to judge by: {advice}")
    return parts


def _own(value: Any, name: str, size: int, kinds: str) -> np.ndarray:
    """The caller's own split, a value an observed cell."""
    array = np.asarray(value)
    if array.shape != (size,) or array.dtype.kind not in kinds:
        kind = "bool" if kinds == "b" else "int"
        raise ValueError(
            f"`{name}` must have one {kind} for each of the {size} observed cells, in row-major "
            f"order; got {describe(value)}"
        )
    return array
