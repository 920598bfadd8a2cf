"""Checks of gradients and of operators, for tests here and for solvers and problems of your own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse.linalg import LinearOperator


def taylor_slope(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]],
    point: np.ndarray,
    direction: np.ndarray,
    steps: np.ndarray | None = None,
) -> float:
    """Order at which f(x + h d) − f(x) − h ⟨∇f(x), d⟩ vanishes with h.

    Parameters
    ----------
    function : callable
        x -> (value, gradient), the gradient of x's shape.
    point, direction : ndarray
        Of the same shape, float64.
    steps : ndarray, optional
        The h; default 1e-3 to 1e-1, where rounding does not show for values about 1.

    Returns
    -------
    float
        About 2 for a right gradient, about 1 for a wrong one. Meaningless where f is linear along
        the direction: there the remainder is nothing but rounding.

    Examples
    --------
    >>> import numpy as np
    >>> from wlrmf.diagnostics import taylor_slope
    >>> cube = lambda x: (float(np.sum(x**3)), 3 * x**2)
    >>> round(taylor_slope(cube, np.ones(3), np.ones(3)), 1)
    2.0
    """
    steps = np.logspace(-3, -1, 7) if steps is None else steps
    value, gradient = function(point)
    slope = float(np.vdot(gradient, direction))
    rest = [abs(function(point + h * direction)[0] - value - h * slope) for h in steps]
    return float(np.polyfit(np.log(steps), np.log(rest), 1)[0])


def dot_test(operator: LinearOperator, seed: int = 0) -> float:
    """Relative difference of ⟨u, A v⟩ and ⟨Aᵀu, v⟩ for random u and v; rounding if A is right.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse.linalg import aslinearoperator
    >>> from wlrmf.diagnostics import dot_test
    >>> dot_test(aslinearoperator(np.arange(6.0).reshape(2, 3))) < 1e-12
    True
    """
    generator = np.random.default_rng(seed)
    u, v = (generator.standard_normal(size) for size in operator.shape)
    Av, Atu = operator.matvec(v), operator.rmatvec(u)
    scale = np.linalg.norm(u) * np.linalg.norm(Av) + np.linalg.norm(Atu) * np.linalg.norm(v)
    return float(abs(np.vdot(u, Av) - np.vdot(Atu, v)) / (scale or 1.0))
