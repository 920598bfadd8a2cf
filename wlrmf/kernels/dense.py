"""Loss, residual and line kernels over a block of a dense matrix, and products with narrow ones.

`M` holds the block's predictions, one GEMM made by the caller; an empty `A2` means weight 1.
"""

from __future__ import annotations

import numpy as np

from . import tiles, vectors
from ._jit import inlined, kernel

TILES = "e449baa281b1"  # digest of the tiles, whose changes must renew the kernels cached here
TALL, WIDE = vectors.TALL, vectors.WIDE
DEPTH = 128  # rows of the narrow matrix that stay in the first-level cache

_lanes = vectors.lanes_count()
_wide, _narrow = tiles.outer_tile(TALL, WIDE, 1), tiles.outer_tile(TALL, 1, 1)
_wide_rows, _narrow_rows = (tiles.outer_tile(TALL, wide, 1, turned=True) for wide in (WIDE, 1))


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


@inlined
def _add_tiles(P, by_rows, Q, a, lo, hi, fresh, out):
    """The rows of `out` from a on, as many as a tile has, += those of P' or P times Q[lo:hi]."""
    lanes, b = _lanes(out), 0
    while b + WIDE * lanes <= out.shape[1]:
        if by_rows:
            _wide_rows(out, 0, a, b, P, Q, lo, hi, fresh)
        else:
            _wide(out, 0, a, b, P, Q, lo, hi, fresh)
        b += WIDE * lanes
    while b < out.shape[1]:
        if by_rows:
            _narrow_rows(out, 0, a, b, P, Q, lo, hi, fresh)
        else:
            _narrow(out, 0, a, b, P, Q, lo, hi, fresh)
        b += lanes


@kernel
def add_product(P, by_rows, Q, count, fresh, out):
    """Add P Q (`by_rows`) or P' Q to the first `count` rows of `out`, or if `fresh` write it there.

    Q is `vectors.padded`; P and `out` have room for whole tiles of rows of `out`.
    """
    for lo in range(0, Q.shape[0], DEPTH):
        for a in range(0, count, min(TALL, _lanes(out))):
            hi = min(lo + DEPTH, Q.shape[0])
            _add_tiles(P, by_rows, Q, a, lo, hi, fresh and lo == 0, out)


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
