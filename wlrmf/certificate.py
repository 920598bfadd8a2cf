"""How far a value can be above the least one: a bound that holds for factors of any rank."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import spectral
from .kernels.chunks import one_blas_thread
from .objective import Objective
from .problem import Problem, widened

SIGNIFICANT = 1e-6  # share of the value that a further factor must be worth to be spoken of
FINE = 0.3  # tolerance of a bound, against the gap it is for
SPANNED = 1e-10  # square of a direction's size, against the largest, below which it is rounding
SLACK = 256  # roundings that the sums of a bound may be off by


@dataclass(frozen=True, eq=False, repr=False)
class Certificate:
    """A value of F and a number that F cannot go below, at any rank.

    Attributes
    ----------
    value : float
        F at the factors, computed in float64 from the given data.
    lower_bound : float
        No W and X of any rank, with the same pinned rows, have a smaller F.
    sigma_max : float
        Estimate, from below, of the largest singular value of the residuals A∘A∘(Y − WᵀX), divided
        by the roots of the ridges. At a minimum over all ranks it is 1 (less if WᵀX = 0).
    sigma_bound : float
        Bound on it from above, which `lower_bound` rests on; inf where a ridge is 0.
    verified : "exact" or float
        ``"exact"``: the bound was verified by a Cholesky factorization. Otherwise the probability
        with which it holds; see `certify`.
    direction : pair of ndarray (m,), (n,), or None
        u and v of that singular value, divided by the roots of the ridges: √t u and √t v as one
        more factor change F by κ t² − 2 t (sigma_max − 1).
    gain : float
        What the best such factor lowers F by: (sigma_max − 1)² / κ, and 0 where sigma_max ≤ 1.
    """

    value: float
    lower_bound: float
    sigma_max: float
    sigma_bound: float
    verified: str | float
    direction: tuple[np.ndarray, np.ndarray] | None = field(default=None)
    gain: float = 0.0

    @property
    def gap(self) -> float:
        """Distance of the value from the lower bound, not below 0."""
        return max(0.0, self.value - self.lower_bound)

    @property
    def relative_gap(self) -> float:
        """The gap as a share of the value: how much better a factorization can be at most."""
        return self.gap / self.value if self.value > 0 else 0.0

    @property
    def words(self) -> str:
        """What this says about the factors."""
        if self.gap > 0 and not np.isfinite(self.sigma_bound):
            return "a ridge is 0: no bound but 0 exists; with a ridge on both factors there is one"
        most = _percent(max(self.relative_gap, SIGNIFICANT), np.ceil)
        text = f"no factorization of any rank can be more than {most} better"
        if self.gain > SIGNIFICANT * self.value:
            gain = _percent(self.gain / self.value, np.floor)
            return f"{text}; a higher rank would help: one more factor lowers the value by {gain}"
        if self.relative_gap > 0.01:
            return f"{text}; a fit nearer to a stationary point would have a sharper bound"
        return text

    def __repr__(self) -> str:
        exact = self.verified == "exact"
        how = "" if exact else f" (holds with probability 1 - {1 - float(self.verified):.0e})"
        return (
            f"Certificate(value {self.value:.6g}, lower bound {self.lower_bound:.6g}{how}: "
            f"{self.words})"
        )


def certify(
    objective: Objective,
    left: np.ndarray,
    right: np.ndarray,
    *,
    exact: bool | None = None,
    tolerance: float = spectral.TOLERANCE,
) -> Certificate:
    """Bound F from below, for factors of any rank, from the residuals at these.

    Parameters
    ----------
    objective : Objective
    left, right : ndarray, shapes (m, columns), (n, columns)
        Whole factors in storage form. Any will do; the bound is sharp at a minimum over all ranks.
    exact : bool, optional
        How the singular value is bounded; see Notes.
    tolerance : float
        How near the bound on its square comes, relative, if not exact.

    Returns
    -------
    Certificate

    Raises
    ------
    ValueError
        If F is not finite there.

    Notes
    -----
    Let C = A∘A, M the prediction, r and c the ridges of rows and columns, P and Q the given values
    of the columns pinned in X and in W, with coefficients a and b, and Y' = Y − mean. As
    Σ r_i |w_i|² + Σ c_j |x_j|² ≥ 2 ‖diag(r)^½ WX' diag(c)^½‖_* (Srebro, Rennie & Jaakkola, NIPS
    2004, lemma 1; with weights: Salakhutdinov & Srebro, NIPS 2010), F is at least the least value
    of a convex function of N = WX', a and b, and so has a duality gap (as in Mishra, Meyer, Bach &
    Sepulchre 2013, arXiv:1112.2318). With R = C∘(Y − M), Z = sR and C e² ≥ 2 Z e − Z²/C in each
    cell, that is at least

        2s ⟨R, Y'⟩ − s² (loss + Σ_i |(RP)_i|² / r_i + Σ_j |(R'Q)_j|² / c_j)

    for any s ≥ 0 with s σ_max(diag(r)^-½ R diag(c)^-½) ≤ 1: least over N that is 0, and over a and
    b the two sums, which a stationary point makes the ridges of a and b. The best such s is taken.
    All is computed in float64, of data in float32 too: they are what they are rounded to. Nothing
    here asks for a stationary point. At one, with σ_max = 1, bound and value are equal.
    Where a ridge is 0 and R is not, only 0 is a bound; a row without residuals does no harm.

    σ_max must be bounded from above. If the smaller side of Y is at most 3000 (and `exact` is not
    False), a Cholesky factorization verifies the bound: see `spectral.largest`. Beyond, it is that
    of a Lanczos process with a random start, which fails with a probability of 1e-10: see
    `spectral.lanczos`. Margins for rounding are in all of it: in the sums, generous ones; in the
    singular value, for "exact", first-order bounds on what rounding can do.
    """
    objective = replace(objective, problem=widened(objective.problem))
    left, right = (np.asarray(factor, np.float64) for factor in (left, right))
    problem, layout = objective.problem, objective.layout
    with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
        loss, dW, dX = problem.loss_grad(left, right)
        value = loss + objective.ridge(left, right)
        if not np.isfinite(value):
            raise ValueError(f"the factors must have a finite value to be certified; got {value}")
        reg_W, reg_X = (reg.astype(np.float64) for reg in (objective.reg_W, objective.reg_X))
        scaled = scaled_residuals(objective, left, right)
        residuals = scaled.operator
        if _pulls(residuals, reg_W == 0) or _pulls(residuals.T, reg_X == 0):
            return Certificate(value, 0.0, np.inf, np.inf, "exact")
        exact = spectral.is_small(problem.shape) if exact is None else bool(exact)
        error = _entry_error(problem, scaled, left, right) if exact else 0.0
        flat = spectral.is_flat(problem.shape, problem.nnz)
        norm = spectral.largest(scaled, exact, error, tolerance, formed=flat)
        free = slice(0, layout.columns - layout.both)
        parts = -0.5 * np.einsum("ik,ik->i", dW[:, free], left[:, free], dtype=np.float64)
        penalty = _coefficients(dW[:, : layout.pinned_X], reg_W) + _coefficients(
            dX[:, layout.shared.stop : layout.free_X.stop], reg_X
        )
        least = _bound(objective, loss, parts, penalty, norm.bound)
        direction = scaled.left * norm.u, scaled.right * norm.v
        gain = _gain(problem, norm.estimate, *direction)
    return Certificate(
        value, least, norm.estimate, norm.bound, norm.verified, direction, min(gain, value)
    )


def hoped_gap(
    objective: Objective, W: np.ndarray, X: np.ndarray, value: float, dW: np.ndarray, dX: np.ndarray
) -> float:
    """The relative gap if no singular value were above those that the factors themselves meet.

    The true one is no smaller, so it tells when to look for a bound. It takes no pass over the
    data: at `value` and its gradient, the products of residuals and factors are in the gradient.
    """
    layout, ridges = objective.layout, (objective.reg_W, objective.reg_X)
    sides = []
    for factor, d, free, reg in zip(
        (W, X), (dW, dX), (layout.free_W, layout.free_X), ridges, strict=True
    ):
        moved = factor[:, free].astype(np.float64)
        products = reg[:, None] * moved - 0.5 * d[:, free]  # RX and R'W
        sides.append((moved, products))
    (w, RX), (x, RW) = sides
    loss = value - objective.ridge(W, X)
    beside = slice(layout.rank, None)  # pinned in W, of which X has the coefficients
    cross = loss + float(np.sum(w * RX)) + float(np.sum((x * RW)[:, beside]))
    square = loss + _coefficients(-2 * RX[:, : layout.pinned_X], ridges[0])
    square += _coefficients(-2 * RW[:, beside], ridges[1])
    if cross <= 0 or square <= 0:
        return 1.0
    met = (
        _met(RX[:, layout.pinned_X :], x[:, : layout.rank], *ridges),
        _met(RW[:, : layout.rank], w[:, layout.pinned_X :], *ridges[::-1]),
    )
    s = min(cross / square, 1 / max(met) if max(met) > 0 else np.inf)
    return (value - s * (2 * cross - s * square)) / value


def _met(RX: np.ndarray, X: np.ndarray, reg: np.ndarray, other: np.ndarray) -> float:
    """The largest singular value of scaled residuals on the span of a scaled factor."""
    squares, E = np.linalg.eigh(X.T @ (other[:, None] * X))
    kept = squares > SPANNED * squares.max(initial=0)
    if not kept.any():
        return 0.0
    on = _inverse_root(reg)[:, None] * (RX @ (E[:, kept] / np.sqrt(squares[kept])))
    return float(np.sqrt(np.linalg.eigvalsh(on.T @ on)[-1]))


def certify_end(
    objective: Objective, left: np.ndarray, right: np.ndarray, gap: float
) -> Certificate:
    """The bound where a fit that is here will end: after a last row solve.

    No finer than it takes to tell whether the gap is met.
    """
    solved, _ = objective.best_W(left, right)
    return certify(objective, solved, right, exact=False, tolerance=FINE * gap)


def scaled_residuals(objective: Objective, left: np.ndarray, right: np.ndarray) -> spectral.Scaled:
    """A∘A∘(Y − WX'), divided by the roots of the ridges; rows without a ridge are left out."""
    return spectral.Scaled(
        objective.problem.residual_operator(left, right),
        *(_inverse_root(reg.astype(np.float64)) for reg in (objective.reg_W, objective.reg_X)),
    )


def _pulls(operator: Any, rows: np.ndarray) -> bool:
    """Whether one of these rows is not 0.

    A product with a vector of normal numbers is 0 only where the row is.
    """
    if not rows.any():
        return False
    probe = np.random.default_rng(rows.size).standard_normal(operator.shape[1])
    return bool(np.any(np.asarray(operator.matvec(probe))[rows] != 0))


def _inverse_root(reg: np.ndarray) -> np.ndarray:
    """1/√reg, and 0 where there is none: no residuals are there."""
    return np.where(reg > 0, 1 / np.sqrt(np.where(reg > 0, reg, 1)), 0)


def _coefficients(gradient: np.ndarray, reg: np.ndarray) -> float:
    """Σ_i |(RP)_i|² / r_i from the loss's gradient −2RP in the coefficients."""
    rows = np.einsum("ik,ik->i", gradient, gradient, dtype=np.float64) / 4
    return float(np.dot(rows, _inverse_root(reg) ** 2))


def _entry_error(
    problem: Problem, scaled: spectral.Scaled, left: np.ndarray, right: np.ndarray
) -> float:
    """Frobenius norm of the rounding of C∘(Y − WX'), scaled, to first order.

    Each cell is off by at most so many ε of C (|y − wx| + 2 |w| |x|), |w| and |x| of the rows.
    """
    sizes = [
        np.linalg.norm(f.astype(np.float64), axis=1)[:, None].astype(problem.dtype)
        for f in (left, right)
    ]
    bare = scaled._replace(operator=problem.residual_operator(*(np.zeros_like(f) for f in sizes)))
    product = scaled._replace(operator=problem.residual_operator(*sizes))  # C∘(Y − |w||x|)
    size = spectral.frobenius(scaled) + 2 * spectral.frobenius(bare, product)
    return (left.shape[1] + 8) * float(np.finfo(problem.dtype).eps) * size


def _bound(
    objective: Objective, loss: float, parts: np.ndarray, penalty: float, sigma: float
) -> float:
    """The best of the bounds of the notes above, less what rounding may have added."""
    cross, square = loss + float(parts.sum()), loss + penalty
    if cross <= 0 or square <= 0:
        return 0.0
    s = min(cross / square, 1 / sigma if sigma > 0 else np.inf)
    eps = float(np.finfo(objective.problem.dtype).eps)
    size = 2 * s * (loss + float(np.abs(parts).sum())) + s * s * square
    of_loss = 16 * eps * (loss * objective.problem.square_sum()) ** 0.5 + objective.rounding
    slack = SLACK * eps * size + (2 * s + s * s) * of_loss
    return max(0.0, s * (2 * cross - s * square) - slack)


def _gain(problem: Problem, sigma: float, u: np.ndarray, v: np.ndarray) -> float:
    """What the best multiple of one more factor (u, v) lowers F by."""
    if sigma <= 1:
        return 0.0
    pair = [np.ascontiguousarray(f[:, None], problem.dtype) for f in (u, v)]
    curvature = problem.line(*(np.zeros_like(f) for f in pair), *pair)[4]
    return float((sigma - 1) ** 2 / curvature) if curvature > 0 else 0.0


def _percent(share: float, rounded: Any) -> str:
    """Two digits of a share in percent, rounded to the side that keeps the sentence true."""
    unit = 10.0 ** (np.floor(np.log10(share)) - 1)
    return f"{100 * rounded(share / unit * (1 - 1e-12)) * unit:.2g} %"
