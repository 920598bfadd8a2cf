"""`measure`: standard deviations, degrees of freedom and the noise at the factors of a fit."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri, stdtrit

from ..kernels.chunks import one_blas_thread
from ..objective import Objective, predicted
from ..validation.errors import DataWarning, describe
from ..validation.options import read_index, read_real
from .conditional import Conditional
from .freedom import Widths, counted, marks_of, n_cells, probed
from .joint import Joint

UNKNOWNS = 2000  # of the shorter factor, up to which "auto" is joint
LEVEL = 1e13  # ratio of squared weights up to which the sums of all bars hold digits enough


class FactorStd(NamedTuple):
    """Standard deviations of the factors, named and shaped as in the model; inf: not determined."""

    W: np.ndarray
    X: np.ndarray
    row_bias: np.ndarray
    col_bias: np.ndarray
    W_coef: np.ndarray
    X_coef: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class ErrorBars:
    """What the noise leaves uncertain; standard deviations are in the units of Y.

    Attributes
    ----------
    kind : "joint" or "conditional"
        Whether the errors of W and X are taken together, or each as if the other were known.
    noise : float
        Standard deviation of the noise in units of 1/A; all others are in proportion to it.
    noise_is : "estimated" or "given"
    n_observed : int
        Cells that count; with a baseline weight, all of them.
    n_parameters : float
        Numbers that they determine: without a ridge the rank of the Jacobian, rank (m + n − rank)
        where there is neither bias nor pinned row and every row and column has cells enough; with
        one the trace of the hat matrix.
    chi2 : float
        Sum of the squares of A∘(Y − WᵀX), the loss.

    Notes
    -----
    `measure` says what these numbers rest on.
    """

    kind: str
    noise: float
    noise_is: str
    n_observed: int
    n_parameters: float
    chi2: float
    _found: Any = field(repr=False)
    _factors: tuple[np.ndarray, np.ndarray] = field(repr=False)
    _has_bias: bool = False

    @property
    def dof(self) -> float:
        """Degrees of freedom: cells that count less the numbers that they determine."""
        return self.n_observed - self.n_parameters

    @property
    def reduced_chi2(self) -> float:
        """chi2 / dof: near 1 if A = 1/σ and the rank is right; NaN without degrees of freedom."""
        return _per_degree(self.chi2, self.dof)

    def std(self, i: Any, j: Any, *, sigma: Any = 0.0) -> Any:
        """Standard deviations of the predictions of the cells (i, j).

        Parameters
        ----------
        i, j : int or array of int
            Row and column indices from 0; they are broadcast against each other.
        sigma : number or array, optional
            Of the noise of a new measurement of the cell, in units of 1/A (its σ where A = 1/σ, 1
            where nothing has a weight): the deviation is then that of the measurement from the
            prediction. Default: of the true mean from the prediction.

        Returns
        -------
        ndarray or number
            Of the broadcast shape; inf where the observed cells do not determine the prediction,
            even if the noise is estimated as 0 and all others are 0.
        """
        shape = self._found.objective.problem.shape
        rows, cols = read_index(i, "i", shape[0]), read_index(j, "j", shape[1])
        extra = np.asarray(sigma, np.float64)
        if not (np.isfinite(extra).all() and (extra >= 0).all()):
            raise ValueError(f"`sigma` must be finite and not negative; got {describe(sigma)}")
        rows, cols, extra = np.broadcast_arrays(rows, cols, extra)
        with one_blas_thread():
            variance = self._found.variances(rows.reshape(-1), cols.reshape(-1))
        return self._deviation(variance.reshape(rows.shape) + extra**2)[()]

    def interval(self, i: Any, j: Any, level: float = 0.9, *, sigma: Any = 0.0) -> tuple[Any, Any]:
        """Ends of the intervals that hold the true means with the probability `level`.

        Prediction ± quantile · std, the quantile Student's with `dof` degrees where the noise is
        estimated and a normal one otherwise (Seber & Wild 1989, chapter 5). With `sigma` the
        intervals are for new measurements; see `std`.
        """
        level = read_real(level, "level", positive=True)
        if level >= 1:
            raise ValueError(f"`level` must be below 1; got {level}")
        half = self.quantile(level) * self.std(i, j, sigma=sigma)
        rows, cols = np.broadcast_arrays(np.asarray(i), np.asarray(j))
        flat = predicted(*self._factors, rows.reshape(-1), cols.reshape(-1))
        middle = flat.reshape(rows.shape)[()]
        return middle - half, middle + half

    def quantile(self, level: float) -> float:
        """Standard deviations on either side that hold the probability `level`."""
        upper = (1 + level) / 2
        return float(stdtrit(self.dof, upper) if self.noise_is == "estimated" else ndtri(upper))

    def factor_std(self) -> FactorStd:
        """Standard deviations of the factors, with the gauge projected out.

        W and X can be changed together without a change of any prediction, (W, X) → (MᵀW, M⁻¹X).
        Joint ones are those of the deviation from the true factors once these have been moved so,
        to first order, as near to the fitted ones as they come, in the sum of the squares of both
        over the rows that are determined: the covariance with the gauge directions projected out
        (the normal form of Kanatani & Morris 2001, IEEE Trans. Inf. Theory 47,
        doi:10.1109/18.930934), the least of all in trace.
        Conditional ones are those of each factor for the other one as it is.
        """
        layout, bias = self._found.objective.layout, self._has_bias
        with one_blas_thread():
            left, right = (self._deviation(f) for f in self._found.factors)
        behind = layout.free_X.stop - bias
        return FactorStd(
            W=left[:, layout.shared].T,
            X=right[:, layout.shared].T,
            row_bias=left[:, layout.pinned_X - 1] if bias else np.zeros(len(left)),
            col_bias=right[:, behind] if bias else np.zeros(len(right)),
            W_coef=left[:, : layout.pinned_X - bias].T,
            X_coef=right[:, layout.shared.stop : behind].T,
        )

    def _deviation(self, variance: np.ndarray) -> np.ndarray:
        """Of variances in units of the noise's: what is not determined is so without noise too."""
        finite = np.isfinite(variance)
        return np.where(finite, self.noise * np.sqrt(np.where(finite, variance, 0)), np.inf)

    def __repr__(self) -> str:
        return (
            f"ErrorBars({self.kind}, noise {self.noise:.4g} {self.noise_is}, reduced chi-squared "
            f"{self.reduced_chi2:.4g} on {self.dof:.6g} degrees of freedom)"
        )


def measure(
    objective: Objective,
    left: np.ndarray,
    right: np.ndarray,
    *,
    noise: Any = "estimate",
    kind: str = "auto",
    has_bias: bool = False,
) -> ErrorBars:
    """Error bars at factors that minimise F.

    Parameters
    ----------
    objective : Objective
    left, right : ndarray, shapes (m, columns), (n, columns)
        Whole factors in storage form, float64.
    noise : "estimate", "known" or number
        The noise in a cell has the standard deviation noise / a_ij. ``"estimate"``: √(chi2 / dof),
        for weights that are right up to a factor (a mask alone, counts); it also widens the bars of
        a model that does not fit. ``"known"``: 1, for A = 1/σ. Or that factor itself.
    kind : "auto", "joint" or "conditional"
        ``"auto"``: joint up to 2000 unknowns in the shorter factor, and 2^26 cells; see Notes.
    has_bias : bool
        Whether the last pinned columns are those of biases.

    Returns
    -------
    ErrorBars

    Raises
    ------
    ValueError
        For an unknown `noise` or `kind`; if the noise is to be estimated without degrees of
        freedom; if F is not finite.

    Warns
    -----
    DataWarning
        If ``"auto"`` comes to conditional ones, or if weights differ by more than a factor of 1e13.

    Notes
    -----
    With the noise s, F/s² is −2 log of the posterior density: independent normal noise of standard
    deviation s/a_ij, and normal priors of variance s²/reg on what bears a ridge. Its covariance at
    the optimum is taken to be s² H⁻¹,

        H = J'A²J + diag(reg),    J d = dW'X + W'dX,

    half of F's Gauss-Newton matrix: the second derivatives that come with the residuals are left
    out, so it is the expected information, not the observed one (Seber & Wild 1989, Nonlinear
    Regression, doi:10.1002/0471725315, section 2.1; Laplace's approximation: MacKay 1992, Neural
    Computation 4, doi:10.1162/neco.1992.4.3.415). H has no inverse where a change of W and X leaves
    all predictions as they are, as without a ridge (W, X) → (MᵀW, M⁻¹X) does; no prediction depends
    on these directions, so any generalized inverse gives its variance (see `Joint`). Degrees of
    freedom are the cells less the rank of J, with a ridge less tr(H⁻¹J'A²J), MacKay's γ.

    Without a ridge the intervals cover the truth as often as they say if the noise is small enough
    for predictions to be linear in it, the rank is right and the optimum the global one: weak
    factors are found too large, and then bars are too short. A ridge shrinks predictions; the bars
    do not contain that bias, but they hold on average over factors from the prior.

    Conditional bars are cheap at any size, and too short: see `Conditional`. Without a ridge the
    rank of J is then found by counting; with one, tr(H⁻¹J'A²J) by random probes.
    """
    if kind not in ("auto", "joint", "conditional"):
        raise ValueError(f'`kind` must be "auto", "joint" or "conditional"; got {describe(kind)}')
    if not (isinstance(noise, str) and noise in ("estimate", "known")):
        try:
            noise = read_real(noise, "noise", positive=True)
        except (TypeError, ValueError):
            wanted = '"estimate", "known" or a number above 0'
            raise ValueError(f"`noise` must be {wanted}; got {describe(noise)}") from None
    with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
        chi2 = objective.problem.loss(left, right)
        if not np.isfinite(chi2):
            raise ValueError(f"the factors must have a finite loss; got {chi2}")
        joint = _is_joint(objective, kind)
        found: Any = (Joint.of if joint else Conditional)(objective, left, right)
        _check_level(objective)
        marks = marks_of(objective)
        cells = n_cells(objective, marks)
        parameters = found.parameters if joint else _parameters(objective, marks, left, right)
    if noise == "estimate":
        square = _per_degree(chi2, cells - parameters)
        if not np.isfinite(square):
            raise ValueError(
                f"`noise` cannot be estimated: {cells} cells determine {parameters:.6g} numbers; "
                'give noise="known" or a number'
            )
        scale = max(square, objective.rounding / max(cells, 1)) ** 0.5
    else:
        scale = 1.0 if noise == "known" else noise
    is_given = "estimated" if noise == "estimate" else "given"
    return ErrorBars(
        found.kind, scale, is_given, cells, parameters, chi2, found, (left, right), has_bias
    )


def _parameters(objective: Objective, marks: Any, left: np.ndarray, right: np.ndarray) -> float:
    if objective.reg_W.any() or objective.reg_X.any():
        return probed(objective, left, right)
    return float(counted(objective, marks, Widths.of(objective, left, right)))


def _check_level(objective: Objective) -> None:
    """Warn of weights too far apart for float64."""
    if "reduced" not in objective.provides:
        return
    weights = objective.reduced.listing.roots**2
    weights = weights[weights > 0]
    if weights.size and weights.max() > LEVEL * float(weights.min()):
        warnings.warn(
            f"the squared weights go from {weights.min():.3g} to {weights.max():.3g}: error bars "
            "that rest on the lightest cells can be far off",
            DataWarning,
            stacklevel=4,
        )


def _per_degree(chi2: float, dof: float) -> float:
    """chi2 / dof; NaN without degrees of freedom."""
    return chi2 / dof if dof > 1e-6 else float("nan")


def _is_joint(objective: Objective, kind: str) -> bool:
    if kind == "conditional":
        return False
    m, n = objective.problem.shape
    layout = objective.layout
    kept = layout.free_W if m <= n else layout.free_X
    size = min(m, n) * (kept.stop - kept.start)
    listed = "reduced" in objective.provides
    if kind == "joint" and not listed:
        raise ValueError('`kind` "joint" needs the cells in a list, and there are too many of them')
    joint = listed and (kind == "joint" or size <= UNKNOWNS)
    if not joint:
        warnings.warn(
            f"joint error bars would take {size} unknowns at once: these are conditional, each "
            'factor\'s as if the other were known, and so too short; kind="conditional" says that '
            'you know, kind="joint" insists',
            DataWarning,
            stacklevel=4,
        )
    return joint
