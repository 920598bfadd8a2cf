"""Loss, gradient and line kernels over rows of a dense matrix, and its products with narrow ones.

A block of rows at a time, whose predictions M stay in cache; an empty `A2` means weight 1. Loops
over blocks are here, not in Python, where two threads took as long for a gradient as one. Factors
come `padded` behind, `right` is X'; `part`, a block's rows of W, and what is made of them have room
for whole tiles of rows.
"""

from __future__ import annotations

import numpy as np

from . import tiles, vectors
from ._jit import inlined, kernel

TILES = "005c848e8a14"  # digest of the tiles, whose changes must renew the kernels cached here
TALL = vectors.TALL
DEPTH = 128  # rows of the narrow matrix that stay in the first-level cache

_lanes = vectors.lanes_count()
_add_columns, _add_rows = tiles.strip(TALL, 1), tiles.strip(TALL, 1, turned=True)


@kernel
def add_product(P, by_rows, Q, count, fresh, out):
    """Add P Q (`by_rows`) or P' Q to the first `count` rows of `out`, or if `fresh` write it there.

    Q is `vectors.padded` behind; P and `out` have room for whole tiles of rows of `out`.
    """
    for lo in range(0, Q.shape[0], DEPTH):
        for a in range(0, count, min(TALL, _lanes(out))):
            hi, first = min(lo + DEPTH, Q.shape[0]), fresh and lo == 0
            if by_rows:
                _add_rows(out, 0, a, 0, out.shape[1], P, Q, lo, hi, first)
            else:
                _add_columns(out, 0, a, 0, out.shape[1], P, Q, lo, hi, first)


@inlined
def _predict(W, right, at, hi, part, M):
    """M = predictions of the block of rows at `at`, `part` its rows of W; how many they are."""
    count = min(part.shape[0], hi - at)
    for i in range(part.shape[0]):
        for k in range(W.shape[1]):
            part[i, k] = W[at + i, k] if i < count else 0
    add_product(part, True, right, count, True, M)
    return count


@inlined
def _weigh_residual(Y, A2, at, count, M):
    """Overwrite M by A2 (Y - M), the weighted residual A∘A∘(Y - W'X); return the loss."""
    weighted = A2.size > 0
    total = 0.0
    for i in range(count):
        row = 0.0
        for j in range(Y.shape[1]):
            r = Y[at + i, j] - M[i, j]
            pull = A2[at + i, j] * r if weighted else r
            row += np.float64(pull) * r
            M[i, j] = pull
        total += row
    return total


@kernel
def loss(Y, A2, W, right, lo, hi, part, M):
    """Sum of A2 (Y - W'X)^2 over rows lo..hi, in float64."""
    total = 0.0
    for at in range(lo, hi, part.shape[0]):
        count = _predict(W, right, at, hi, part, M)
        total += _weigh_residual(Y, A2, at, count, M)
    return total


@kernel
def gradient(Y, A2, W, X, right, lo, hi, part, M, sums, dW, dX):
    """Write dF/dW for rows lo..hi, and add their part of dF/dX, both over -2; the loss.

    `part`, `sums` and dX have the columns of X.
    """
    total = 0.0
    for at in range(lo, hi, part.shape[0]):
        count = _predict(W, right, at, hi, part, M)
        total += _weigh_residual(Y, A2, at, count, M)
        add_product(M, True, X, count, True, sums)
        for i in range(count):
            for k in range(dW.shape[1]):
                dW[at + i, k] = sums[i, k]
        add_product(M, False, part, Y.shape[1], False, dX)
    return total


@inlined
def _add_quartic(Y, A2, at, count, M, B, D, out):
    weighted = A2.size > 0
    q0 = q1 = q2 = q3 = q4 = 0.0
    for i in range(count):
        for j in range(Y.shape[1]):
            a = np.float64(A2[at + i, j]) if weighted else 1.0
            r, b, d = np.float64(Y[at + i, j] - M[i, j]), np.float64(B[i, j]), np.float64(D[i, j])
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
def line(Y, A2, W, dW, right, along, lo, hi, part, change, M, B, D, out):
    """Add to out[0:5] the coefficients in t of sum A2 (Y - M - t B - t^2 D)^2 over rows lo..hi.

    M = W'X, B = dW'X + W'dX, D = dW'dX; `right` and `along` are X and dX as they are multiplied by.
    """
    for at in range(lo, hi, part.shape[0]):
        count = _predict(dW, right, at, hi, change, B)
        add_product(change, True, along, count, True, D)
        _predict(W, right, at, hi, part, M)
        add_product(part, True, along, count, False, B)
        _add_quartic(Y, A2, at, count, M, B, D, out)


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


@kernel
def weigh(Y, A2, weights, targets):
    """Write A2 and A2∘Y where there is room for whole tiles, in one pass."""
    for i in range(Y.shape[0]):
        for j in range(Y.shape[1]):
            weights[i, j] = A2[i, j]
        for j in range(Y.shape[1]):
            targets[i, j] = weights[i, j] * Y[i, j]


def whole_tiles(count):
    """Rows of whole tiles that hold so many."""
    return -(-count // TALL) * TALL
