"""Variable projection: Levenberg-Marquardt on the shorter factor, the longer one eliminated."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..objective import Objective
from ..validation.options import read_int, read_real
from .base import State
from .damped import factorized, iterated

DOWN, UP = 5.0, 10.0  # the damping is divided after a good step, multiplied after a bad one
LEAST, MOST = 1e-14, 1e10
HIDDEN = 1e-15  # a promised decrease of F, relative, that rounding hides

logger = logging.getLogger("wlrmf")


@dataclass(frozen=True)
class VarPro:
    """Damped Gauss-Newton on the shorter factor; the longer one is always its exact minimiser.

    One iteration is one accepted step. On matrices of a band or of tracks, with little or no
    ridge, it reaches from random starts what methods that alternate or move all entries do not.

    Parameters
    ----------
    damping : float
        To begin with, against the mean of the Gauss-Newton matrix's diagonal. Only the shorter
        factor is damped: damping the eliminated one as well loses most of the successes.
    dense : int
        Unknowns, rank × the shorter side, up to which that matrix is built and factorized; beyond
        it there are products with it and conjugate gradients.
    inexact : float
        Residual, against the first, at which those stop.

    Notes
    -----
    The work is in float64, whatever the dtype of the data. Without a ridge the kept factor is held
    orthonormal, and the answer is scaled so that both factors have the same norm. Rows of the
    longer factor with no more entries than the rank, without a ridge, fit exactly: they get the
    solution of minimum norm and take no part in the steps. Rows with the same mask, weights and
    ridge share one factorization.

    References
    ----------
    Golub & Pereyra (1973), SIAM J. Numer. Anal. 10, doi:10.1137/0710036 (one factor eliminated);
    Ruhe & Wedin (1980), SIAM Review 22, doi:10.1137/1022057, algorithm 2 (the Gauss-Newton matrix);
    Okatani, Yoshida & Deguchi (2011), ICCV, doi:10.1109/ICCV.2011.6126324 (for matrices with
    missing cells, damped); Hong & Fitzgibbon (2015), ICCV, doi:10.1109/ICCV.2015.470 (a kept factor
    that is orthonormal, rows of the same weights together); Hong, Zach & Fitzgibbon (2017), CVPR,
    doi:10.1109/CVPR.2017.629 (why the eliminated factor is not damped).

    Examples
    --------
    >>> import numpy as np, wlrmf
    >>> Y = np.outer([1.0, 2, 3, 4], [1.0, 0, 2])
    >>> Y[0, 0] = np.nan
    >>> model = wlrmf.fit(Y, rank=1, solver="varpro")
    >>> print(round(float(model.predict(0, 0)), 3))
    1.0
    """

    damping: float = 1e-3
    dense: int = 300
    inexact: float = 1e-2

    name: ClassVar[str] = "varpro"
    needs: ClassVar[frozenset[str]] = frozenset({"value_and_grad", "reduced"})

    def __post_init__(self) -> None:
        read_real(self.damping, "damping", positive=True)
        read_int(self.dense, "dense", 0)
        read_real(self.inexact, "inexact", positive=True)

    def step(self, objective: Objective, state: State) -> State:
        """One step that lowers F; where there is none, the same point again."""
        reduced = objective.reduced
        left, right = reduced.pair(state.W, state.X)
        if "kept" in state.memory:
            at = objective.eliminate(state.memory["kept"], right)
        else:
            at = objective.eliminate(reduced.retracted(left.astype(np.float64)), right)
            if at.n_silent:
                logger.info("%d rows have too few entries to guide the fit", at.n_silent)
        damping = state.memory.get("damping", self.damping)
        dense = reduced.size <= self.dense
        solve = factorized(reduced, at) if dense else iterated(reduced, at, self.inexact)
        first, flat = damping, False
        while damping <= MOST:
            D = solve(damping)
            if D is not None:
                if not -float(np.vdot(at.gradient, D)) > HIDDEN * at.value:
                    flat = damping == first  # no step was worse than promised
                    break
                left = at.left.copy()
                left[:, reduced.kept] += D
                after = objective.eliminate(reduced.retracted(left), at.right)
                if after.value < at.value:
                    at, damping = after, max(damping / DOWN, LEAST)
                    break
            damping *= UP
        left, right = reduced.balanced(at)
        W, X = (factor.astype(state.W.dtype) for factor in reduced.pair(left, right))
        kept = at.left if reduced.bare else left
        return state.moved(objective, W, X, kept=kept, damping=min(damping, MOST), flat=flat)
