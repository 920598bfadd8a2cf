"""The largest singular value of an operator: an estimate from below and a bound from above.

The bound is needed where an estimate from below would make a claim too good. A Lanczos process with
a random start gives both; where the matrix is small, a Cholesky factorization settles it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh_tridiagonal

from .problem.residuals import Residuals

DENSE_SIDE = 3000  # smaller side up to which a Cholesky factorization takes a second or less
DENSE_CELLS = 1 << 24  # of a matrix that is formed for it: 128 MiB
GRAM, EIGEN = 16_000, 1000  # multiplications an entry that B B' may take, and B B' = UΛU'
SLAB = 256  # rows of it that are formed at a time
STEPS = 500  # of Lanczos at most,
BASIS = 1 << 25  # and numbers in its basis
LEAST_STEPS = 20
TOLERANCE = 1e-7  # of the eigenvalue, between estimate and bound
EVERY = 8  # steps between two looks at it
FAILURE = 1e-10  # probability that a bound from a random start does not hold
EPS = float(np.finfo(np.float64).eps)


class Ritz(NamedTuple):
    """Largest eigenvalue of a symmetric operator that has none below 0."""

    value: float  # from below
    bound: float  # from above, but for a probability of FAILURE
    vector: np.ndarray


class Norm(NamedTuple):
    """Largest singular value of a matrix, and its vectors."""

    estimate: float
    bound: float
    verified: str | float  # "exact", or the probability with which the bound holds
    u: np.ndarray
    v: np.ndarray


class Scaled(NamedTuple):
    """diag(left) · operator · diag(right)."""

    operator: Residuals
    left: np.ndarray
    right: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Of the matrix."""
        m, n = self.operator.shape
        return m, n

    @property
    def T(self) -> Scaled:
        """Its transpose."""
        return Scaled(self.operator.T, self.right, self.left)

    def times(self, x: np.ndarray) -> np.ndarray:
        """Product with a vector, in float64."""
        return self.left * np.asarray(self.operator.matvec(self.right * x), np.float64)

    def slabs(self) -> Iterator[np.ndarray]:
        """Its rows, some at a time."""
        m = self.shape[0]
        for lo in range(0, m, SLAB):
            some = slice(lo, lo + SLAB)
            yield self.left[some, None] * self.operator.rows(lo, lo + SLAB) * self.right


def is_small(shape: tuple[int, int]) -> bool:
    """Whether `largest` had better verify its bound exactly."""
    m, n = shape
    return min(m, n) <= DENSE_SIDE and m * n <= DENSE_CELLS


def is_flat(shape: tuple[int, int], entries: int, most: int = GRAM) -> bool:
    """Whether a matrix's product with its transpose costs less than many with vectors."""
    short, long = sorted(shape)
    return is_small(shape) and short * short * long <= most * entries


def largest(
    matrix: Scaled,
    exact: bool,
    entry_error: float = 0.0,
    tolerance: float = TOLERANCE,
    *,
    formed: bool = False,
) -> Norm:
    """σ_max of a matrix, with a bound from above.

    Parameters
    ----------
    matrix : Scaled, shape (m, n)
    exact : bool
        Whether to verify the bound by a Cholesky factorization.
    entry_error : float
        Frobenius norm of what rounding may have done to the matrix: it is added to the bound.
    tolerance : float
        Distance of the squares of estimate and bound, relative, that is near enough if not exact.
    formed : bool
        Whether to form BB' for a bound by it in any case: of a flat matrix, that is faster.

    Returns
    -------
    Norm

    Notes
    -----
    With B the matrix, m ≤ n, and exact: τI − BB' is formed for a τ just above the Lanczos
    estimate of σ². If its Cholesky factorization runs to its end in floating point, its least
    eigenvalue is at least −(m + 2) ε tr (Rump 2006, BIT 46, doi:10.1007/s10543-006-0056-1, section
    2; the 2 ulps here are twice what he needs), and BB' was formed to within (n + 2) ε ‖B‖_F². So
    σ² ≤ τ + (m + 2) ε m τ + (n + 2) ε ‖B‖_F², without chance. If it breaks down, τ grows.

    Otherwise, and if B is not formed, the bound is `lanczos`'s and holds with a probability of
    1 − 1e-10.
    """
    m, n = matrix.shape
    if m > n:
        return _turned(largest(matrix.T, exact, entry_error, tolerance, formed=formed))
    scale = _size(matrix)  # squares must not overflow or vanish
    matrix = matrix._replace(left=matrix.left / scale)
    formed = formed or exact
    if formed:
        B = np.vstack(list(matrix.slabs()))
        K = B @ B.T
        ritz = lanczos(lambda x: K @ x, m, tolerance, bounded=exact)
        v = ritz.vector @ B
    else:
        turned = matrix.T
        ritz = lanczos(lambda x: matrix.times(turned.times(x)), m, tolerance)
        v = turned.times(ritz.vector)
    margin = 1e3 * float(np.finfo(matrix.operator.dtype).eps)
    square = _verified(K, n, ritz, tolerance) if formed else ritz.bound + margin * ritz.value
    estimate = float(np.linalg.norm(v))
    v = v / estimate if estimate > 0 else v
    bound = scale * max(estimate, float(np.sqrt(square))) + entry_error
    return Norm(scale * estimate, bound, "exact" if exact else 1 - FAILURE, ritz.vector, v)


def pairs(
    matrix: Scaled, U: np.ndarray, V: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Leading singular vectors, and values, of (I − UU') B (I − VV'), for U and V orthonormal.

    From the eigenvectors of its product with its transpose, which is formed: values far below the
    largest have half the digits.
    """
    m, n = matrix.shape
    if m > n:
        right, s, left = pairs(matrix.T, V, U, most)
        return left, s, right
    scale = _size(matrix)  # squares must not overflow or vanish
    B = np.vstack(list(matrix._replace(left=matrix.left / scale).slabs()))
    B -= U @ (U.T @ B)
    B -= (B @ V) @ V.T
    squares, left = np.linalg.eigh(B @ B.T)
    s, left = np.sqrt(np.maximum(squares[::-1][:most], 0)), left[:, ::-1][:, :most]
    right = np.divide(B.T @ left, s, where=s > 0, out=np.zeros((n, len(s))))
    return left, scale * s, right


def _size(matrix: Scaled) -> float:
    """A power of two about as large as a column of a matrix, and 1 for a matrix of zeros."""
    x = np.random.default_rng(matrix.shape[1]).standard_normal(matrix.shape[1])
    most = float(np.abs(matrix.times(x)).max())
    return 2.0 ** np.floor(np.log2(most)) if 0 < most < np.inf else 1.0


def frobenius(first: Scaled, second: Scaled | None = None) -> float:
    """Norm of a matrix, or of the difference of two."""
    if first.shape[0] > first.shape[1]:
        return frobenius(first.T, None if second is None else second.T)
    slabs: Iterator[np.ndarray] = first.slabs()
    if second is not None:
        slabs = (a - b for a, b in zip(slabs, second.slabs(), strict=True))
    return float(np.sqrt(sum(float(np.sum(slab * slab)) for slab in slabs)))


def lanczos(
    product: Callable[[np.ndarray], np.ndarray],
    size: int,
    tolerance: float = TOLERANCE,
    *,
    bounded: bool = True,
) -> Ritz:
    """Largest eigenvalue of a symmetric operator K without negative ones, from both sides.

    The start b is uniform on the sphere. After k steps the Lanczos polynomial p, whose roots are
    the Ritz values θ, has ‖p(K) b‖ = β_1 ⋯ β_k; and ‖p(K) b‖ ≥ p(λ) |v'b| for the largest
    eigenvalue λ and its vector v. As |v'b| < t with a probability of at most t √(2 size / π), all
    but that often ∏ (λ − θ_i) ≤ β_1 ⋯ β_k / t, which bounds λ (van Dorsselaer, Hochstenbach & van
    der Vorst 2000, SIAM J. Matrix Anal. Appl. 22, doi:10.1137/S0895479800366859: the bounds by
    Lanczos polynomials). No gap in the spectrum is asked for: a cluster only makes the bound come
    down more slowly. The basis is kept orthogonal, by Gram-Schmidt done twice (Giraud, Langou,
    Rozložník & van den Eshof 2005, Numer. Math. 101, doi:10.1007/s00211-005-0615-4).

    The start is the same at every call; the probability is that of having drawn it. The process
    ends where the bound is near enough or, if not `bounded`, where the estimate is: the distance of
    an eigenvalue from it is at most that of K v from λ v, β_k times the last entry of the Ritz
    vector in the basis (Golub & Van Loan 2013, Matrix Computations, equation 10.1.8).
    """
    steps = min(size, STEPS, max(LEAST_STEPS, BASIS // size))
    b = np.random.default_rng([size, 2000]).standard_normal(size)
    basis = np.empty((steps, size))
    diagonal, beside = np.empty(steps), np.empty(steps)
    t = FAILURE * np.sqrt(np.pi / (2 * size))
    v = b / np.linalg.norm(b)
    for k in range(steps):
        basis[k] = v
        w = product(v)
        diagonal[k] = v @ w
        done = basis[: k + 1]
        for _ in range(2):  # once loses digits
            w = w - done.T @ (done @ w)
        beside[k] = np.linalg.norm(w)
        ended = beside[k] <= size * EPS * max(diagonal[: k + 1].max(), beside[: k + 1].max())
        last = ended or k + 1 == steps
        if last or (k + 1) % EVERY == 0:
            theta, vectors = eigh_tridiagonal(diagonal[: k + 1], beside[:k])
            bound = theta[-1] if ended else _above(theta, beside[: k + 1], t)
            off = bound - theta[-1] if bounded else beside[k] * abs(vectors[-1, -1])
            if last or off <= tolerance * theta[-1]:
                break
        v = w / beside[k]
    vector = vectors[:, -1] @ done
    value = max(0.0, float(theta[-1]))
    return Ritz(value, max(value, float(bound)), vector / np.linalg.norm(vector))


def _above(theta: np.ndarray, beside: np.ndarray, t: float) -> float:
    """The λ > max θ with ∏ (λ − θ_i) = ∏ β_i / t, rounded up."""
    target = float(np.sum(np.log(beside))) - np.log(t)
    below = theta[-1] - theta
    high = target / len(theta)  # log of λ − max θ: the product is at least its k-th power
    low = high - 100.0
    for _ in range(60):
        middle = (low + high) / 2
        with np.errstate(divide="ignore"):  # the log of 0, where a step is below all numbers
            product = float(np.sum(np.log(np.exp(middle) + below)))
        if product < target:
            low = middle
        else:
            high = middle
    return float(theta[-1] + np.exp(high))


def _verified(K: np.ndarray, n: int, ritz: Ritz, tolerance: float) -> float:
    """A bound on the largest eigenvalue of the m × m product BB' that was computed as K."""
    m, trace = len(K), float(np.trace(K))
    tried = [ritz.value * (1 + share * tolerance) for share in (0.01, 1, 10, 100)]
    tried = [tau for tau in tried if tau < ritz.bound] + [ritz.bound * (1 + tolerance)]
    tried += [ritz.bound * 2**k for k in range(1, 64)]
    for tau in tried:
        shifted = -K
        shifted[np.diag_indices(m)] += tau
        try:
            np.linalg.cholesky(shifted)
        except np.linalg.LinAlgError:
            continue
        break
    else:
        tau = trace  # all eigenvalues together
    return float(tau + (m + 2) * EPS * m * tau + (n + 2) * EPS * trace)


def _turned(norm: Norm) -> Norm:
    return norm._replace(u=norm.v, v=norm.u)
