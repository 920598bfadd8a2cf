"""Variable projection: Levenberg-Marquardt on the shorter factor, the longer one eliminated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ..objective import Objective
from ..problem import Reduced, Solved
from ..validation.options import read_int, read_real
from .base import State

FIRST = 1e-3  # damping to begin with, against the mean of the matrix's diagonal
LEAST, MOST = 1e-14, 1e10  # of the damping
EXACT = 1e-15  # a promised decrease of F, relative, that rounding hides


@dataclass(frozen=True)
class VarPro:
    name: ClassVar[str] = "varpro"
    needs: ClassVar[frozenset[str]] = frozenset({"value_and_grad", "reduced"})
    dense: int = 2000
    first: float = FIRST
    down: float = 10.0
    up: float = 10.0

    def step(self, objective: Objective, state: State) -> State:
        """One accepted step; where none is found, the same point again."""
        reduced = objective.reduced
        kept, other = reduced.pair(state.W, state.X)
        left = state.memory.get("kept")
        damping = state.memory.get("damping", self.first)
        if left is None:
            left = kept.astype(np.float64)
            if reduced.bare:
                left = reduced.retracted(left)
        at = objective.eliminate(left, other)
        solve = self._system(reduced, at)
        while damping <= MOST:
            D = solve(damping)
            if D is None:
                damping *= self.up
                continue
            promise = -float(np.vdot(at.gradient, D))
            if not promise > EXACT * at.value:
                break
            left = at.left.copy()
            left[:, reduced.kept] += D
            if reduced.bare:
                left = reduced.retracted(left)
            after = objective.eliminate(left, at.right)
            if after.value < at.value:
                at, damping = after, max(damping / self.down, LEAST)
                break
            damping *= self.up
        damping = min(damping, MOST)
        W, X = self._balanced(reduced, at, state)
        return state.moved(objective, W, X, kept=at.left, damping=damping)

    def _balanced(self, reduced, at, state):
        left, right = at.left, at.right
        if reduced.bare:
            shared = reduced.shared
            sizes = [np.linalg.norm(f[:, shared]) for f in (left, right)]
            if min(sizes) > 0:
                root = np.sqrt(sizes[1] / sizes[0])
                left, right = left.copy(), right.copy()
                left[:, shared] *= root
                right[:, shared] /= root
        W, X = reduced.pair(left, right)
        return W.astype(state.W.dtype), X.astype(state.X.dtype)

    def _system(self, reduced, at):
        H = reduced.hessian(at)
        n = len(H)
        scale = np.trace(H) / n
        if reduced.bare:
            U = reduced.basis(at.left)
            k = reduced.columns
            H += scale * np.kron(U @ U.T, np.eye(k))
        diag = np.diag(H).copy()

        def solve(damping):
            H[np.diag_indices(n)] = diag + damping * scale
            try:
                f = cho_factor(H, lower=True, check_finite=False)
            except LinAlgError:
                return None
            return cho_solve(f, -at.gradient.ravel()).reshape(at.gradient.shape)

        return solve
