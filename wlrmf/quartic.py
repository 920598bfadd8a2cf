"""The exact step: the least value of a quartic over positive steps."""

from __future__ import annotations

import numpy as np


def least_step(q: np.ndarray) -> float:
    """The t > 0 at which q_0 + q_1 t + ... + q_4 t⁴ is least; 0 if no step lowers it.

    The loss along a line (W + t dW, X + t dX) is exactly such a quartic, so the best step is a root
    of a cubic and needs no trial steps.
    """
    roots = np.roots(q[:0:-1] * np.arange(4, 0, -1)) if np.isfinite(q).all() else np.empty(0)
    real = roots.real[np.abs(roots.imag) <= 1e-6 * np.abs(roots)]
    steps = real[real > 0]
    if steps.size == 0:
        return 0.0
    change = steps * (q[1] + steps * (q[2] + steps * (q[3] + steps * q[4])))
    best = int(np.argmin(change))
    return float(steps[best]) if change[best] < 0 else 0.0
