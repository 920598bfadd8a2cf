"""The rank-incremental ridge path: where variable projection begins."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .leading import leading
from .objective import Objective
from .solvers.base import State, Stop, minimise
from .solvers.varpro import VarPro

FIRST = 4.0  # the ridge begins at the new factor's singular value divided by this
DEEPER = 10.0  # the last factor's turn goes on to a ridge smaller by this
STEPS, CHANGE = 10, 1e-3  # at one ridge: iterations at most, and the change of F that ends them
INEXACT = 0.1  # of conjugate gradients, see `VarPro`


@dataclass(frozen=True)
class Clock:
    """The seconds that a start and the run from it may take together, and who watches."""

    whole: Stop
    watch: Callable[[State], Any] | None = None
    begin: float = field(default_factory=time.perf_counter)

    def seconds(self) -> float:
        """Since the beginning."""
        return time.perf_counter() - self.begin

    def is_over(self) -> bool:
        """Whether there are seconds to keep, and none is left."""
        return self.whole.max_seconds is not None and self.seconds() >= self.whole.max_seconds

    def stop(self, **tests: Any) -> Stop:
        """The caller's tests but for these, and the seconds that are left."""
        most = self.whole.max_seconds
        left = None if most is None else max(0.0, most - self.seconds())
        return replace(self.whole, max_seconds=left, **tests)


@dataclass(frozen=True)
class Path:
    """How far and how fast the ridge falls while factors join one by one.

    Parameters
    ----------
    fall : float
        What it is divided by from one level to the next.
    end : float
        Where the turn of one factor ends, against its singular value.
    blur : float
        Size of random numbers added to each new pair of unit vectors; 0: a path without chance.

    Notes
    -----
    For q = 1, 2, ... rank the leading singular pair (s, u, v) of A∘A∘(Y − WᵀX) joins the factors
    as √t u and √t v, t = s over the mean weight of a cell, and all are moved by a few steps of
    variable projection at the ridges s/4, s/4/fall, ... end·s. A large ridge is a problem with few
    minima, and each later one begins near where the one before ended. No ridge is ever below that
    of the objective. Where the seconds run out on the way, the factors that are missing join
    together, as in a spectral start, and stay as they are.

    References
    ----------
    Shalev-Shwartz, Gonen & Shamir (2011), ICML, arXiv:1106.1622 (the leading singular pair of the
    gradient joins, then the best matrix in the span of all is found); Mazumder, Hastie & Tibshirani
    (2010), JMLR 11, 2287-2322, algorithm 1 (falling penalties, each begun where the one before
    ended).
    """

    fall: float = 16.0
    end: float = 1e-5
    blur: float = 0.0

    def climb(
        self,
        objective: Objective,
        left: np.ndarray,
        right: np.ndarray,
        generator: np.random.Generator,
        clock: Clock,
    ) -> None:
        """Fill the shared columns of whole factors, in place, and move the coefficients.

        An interrupt leaves them where they had come to, later factors 0.
        """
        layout, problem = objective.layout, objective.problem
        weight = problem.total_weight() / problem.n_listed  # type: ignore[attr-defined]
        least = float(min(objective.reg_W.min(), objective.reg_X.min()))
        for q in range(0 if layout.columns > layout.rank else 1, layout.rank + 1):
            s, late = 0.0, clock.is_over()
            if q > 0:
                operator = problem.residual_operator(left, right)
                many = min(layout.rank + 1 - q, *problem.shape) if late else 1
                new = slice(layout.pinned_X + q - 1, layout.pinned_X + q - 1 + many)
                s = self._join(operator, left[:, new], right[:, new], weight, generator)
            if late:
                return
            columns = np.r_[0 : layout.pinned_X + q, layout.shared.stop : layout.columns]
            end = max(least, s * self.end / (DEEPER if q == layout.rank else 1))
            ridge = max(s / FIRST, end)
            while True:
                eased = objective.eased(q, ridge)
                stop = clock.stop(gtol=0.0, ftol=CHANGE, max_iter=STEPS)
                solver = VarPro(inexact=INEXACT)
                move(eased, solver, (left, right), columns, stop, clock.watch)
                if ridge <= end or clock.is_over():
                    break
                ridge = max(ridge / self.fall, end)

    def _join(
        self,
        operator: Any,
        w: np.ndarray,
        x: np.ndarray,
        weight: float,
        generator: np.random.Generator,
    ) -> float:
        """Write the leading pairs into columns of both; the first singular value."""
        U, s, V = leading(operator, w.shape[1], generator, w.dtype)
        for columns, vectors in ((w, U), (x, V)):
            noise = self.blur * generator.standard_normal(vectors.shape) / len(vectors) ** 0.5
            columns[:] = (vectors + noise) * (s / weight) ** 0.5
        return float(s[0])


def move(
    eased: Objective,
    solver: VarPro,
    factors: tuple[np.ndarray, np.ndarray],
    columns: Any,
    stop: Stop,
    watch: Callable[[State], Any] | None,
) -> None:
    """Some steps at a larger ridge, of these columns, in place; an interrupt leaves them moved."""
    left, right = factors
    best = State.start(eased, left[:, columns], right[:, columns])
    try:
        best = minimise(eased, solver, best, stop, watch).best
    except KeyboardInterrupt as interrupt:
        best = interrupt.end.best if hasattr(interrupt, "end") else best
        raise
    finally:
        left[:, columns], right[:, columns] = best.W, best.X
