"""Loss, residual, line and Gauss-Newton kernels over a block of a dense matrix.

`M` holds the block's predictions, one GEMM made by the caller; an empty `A2` means weight 1.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel


@kernel
def loss(Y, A2, M):
    """Sum of A2 (Y - M)^2, in float64."""
    weighted = A2.size > 0
    total = 0.0
    for i in range(Y.shape[0]):
        row = 0.0
        for j in range(Y.shape[1]):
            r = np.float64(Y[i, j] - M[i, j])
            row += A2[i, j] * r * r if weighted else r * r
        total += row
    return total


@kernel
def residual(Y, A2, M):
    """Overwrite M by A2 (Y - M), the weighted residual A∘A∘(Y - W'X); return the loss."""
    weighted = A2.size > 0
    total = 0.0
    for i in range(Y.shape[0]):
        row = 0.0
        for j in range(Y.shape[1]):
            r = Y[i, j] - M[i, j]
            pull = A2[i, j] * r if weighted else r
            row += np.float64(pull) * r
            M[i, j] = pull
        total += row
    return total


@kernel
def line(Y, A2, M, B, D, out):
    """Add to out[0:5] the coefficients in t of sum A2 (Y - M - t B - t^2 D)^2."""
    weighted = A2.size > 0
    q0 = q1 = q2 = q3 = q4 = 0.0
    for i in range(Y.shape[0]):
        for j in range(Y.shape[1]):
            a = np.float64(A2[i, j]) if weighted else 1.0
            r, b, d = np.float64(Y[i, j] - M[i, j]), np.float64(B[i, j]), np.float64(D[i, j])
            q0 += a * r * r
            q1 -= 2 * a * r * b
            q2 += a * (b * b - 2 * r * d)
            q3 += 2 * a * b * d
            q4 += a * d * d
    out[0] += q0
    out[1] += q1
    out[2] += q2
    out[3] += q3
    out[4] += q4


@kernel
def gather(Y, A2, indices, y, c):
    """Write the column, value and weight of each cell with a weight, by rows.

    There must be room for one entry too many: each cell is written, and kept if it counts.
    """
    e = 0
    for i in range(Y.shape[0]):
        for j in range(Y.shape[1]):
            indices[e], y[e], c[e] = j, Y[i, j], A2[i, j]
            e += A2[i, j] != 0
