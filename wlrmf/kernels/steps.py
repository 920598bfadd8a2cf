"""The inexact row solve: a few steps of conjugate gradients towards each row's minimiser.

Row i of W is to move by the minimiser d of the quadratic that has the gradient -2 r at d = 0, so

    (diag(D) + sum_e s_e x_e x_e') d = r,    s = c - u v,    D = u_i lam + reg_i

as in `rows`, with X rotated to the eigenbasis of X diag(v) X' there too: `lam` has its eigenvalues.
In that basis the entries of a row, taken for average ones, have a diagonal matrix as well, and

    M = (u_i + sum_e s_e / sum_j v_j) lam + reg_i

is the preconditioner, with which a few steps are enough. Each passes over the row's entries once,
and the cost grows with the rank and not with its square (conjugate gradients for the row solves:
Takács, Pilászy & Tikk 2011, doi:10.1145/2043932.2043987).
"""

from __future__ import annotations

import numpy as np

from . import gathers, vectors
from ._jit import inlined, kernel

TILES = "005c848e8a14"  # digest of the tiles, whose changes must renew the kernels cached here
CACHE = 1 << 15  # bytes of a panel's rows of X, which stay in the first-level cache
STEPS = 8  # of a row at most
ENOUGH = 1e-3  # of the residual's square, in the preconditioner's norm: less costs iterations later
LEAST = 1e-7  # preconditioner against its largest number: without a ridge it can vanish
# Rows of `own`: direction, its product, diagonal, 1 / preconditioner, the way so far.
P, Q, D, M, MOVE = range(5)

_dots, _fetch, _combine = gathers.dots_tile(), gathers.fetch_rows(), gathers.combine_rows()


def room(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `approach` works in, one for each thread: numbers of a panel's entries, and of a row."""
    width = X.shape[1]
    entries = vectors.depth(width * X.itemsize, CACHE) // 32 * 32
    return np.empty(entries, X.dtype), vectors.aligned(5, width, X.dtype)


@inlined
def _weigh(i, lo, hi, entries, b):
    """Multiply by the weights s of entries lo..hi."""
    _, indices, c, u, v = entries
    if u.size > 0:
        for e in range(lo, hi):
            b[e - lo] *= (c[e] if c.size > 0 else b.dtype.type(1)) - u[i] * v[indices[e]]
    elif c.size > 0:
        for e in range(lo, hi):
            b[e - lo] *= c[e]


@inlined
def _begin(i, entries, lam, share, reg, b, own):
    """The diagonal and the preconditioner of row i."""
    indptr, u = entries[0], entries[3]
    mass, one = 0.0, b.dtype.type(1)
    for at in range(indptr[i], indptr[i + 1], b.size):
        hi = min(at + b.size, indptr[i + 1])
        b[: hi - at] = one
        _weigh(i, at, hi, entries, b)
        for p in range(hi - at):
            mass += b[p]
    base = u[i] if u.size > 0 else b.dtype.type(0)
    scale = b.dtype.type(base + max(mass, 0.0) * share)
    floor = b.dtype.type(LEAST) * (scale * lam[lam.size - 1] + reg[i])
    padding = own.shape[1] - lam.size
    for k in range(own.shape[1]):
        value = lam[k - padding] if k >= padding else b.dtype.type(0)
        own[D, k] = base * value + reg[i]
        pivot = max(scale * value + reg[i], floor)
        own[M, k] = one / pivot if pivot > 0 else b.dtype.type(0)


@inlined
def _product(i, entries, X, b, own):
    """own[Q] = D p + sum s (x.p) x."""
    indptr, indices = entries[0], entries[1]
    width = X.shape[1]
    for k in range(width):
        own[Q, k] = own[D, k] * own[P, k]
    at, end = indptr[i], indptr[i + 1]
    while at < end:
        hi = min(at + b.size, end)
        _fetch(X, indices, hi, b.size)
        _dots(b, own, P, 0, X, 0, width, indices, at, hi)
        _weigh(i, at, hi, entries, b)
        _combine(own, Q, 0, width, X, indices, b, at, at, hi, False)
        at = hi


@kernel
def approach(entries, X, lam, share, reg, lo, hi, room, out):
    """Rows lo..hi of `out` hold r and receive d, the steps towards the minimiser.

    `entries` are (indptr, indices, c, u, v); X comes rotated and `vectors.padded`, `lam` ascends,
    `share` is 1 / sum_j v_j.
    """
    b, own = room
    zero, width = b.dtype.type(0), X.shape[1]
    for i in range(lo, hi):
        _begin(i, entries, lam, share, reg, b, own)
        size = zero  # r.M^-1.r
        for k in range(width):
            own[P, k], own[MOVE, k] = own[M, k] * out[i, k], zero
            size += own[P, k] * out[i, k]
        enough = b.dtype.type(ENOUGH) * size
        for _ in range(STEPS):
            if not size > enough:
                break
            _product(i, entries, X, b, own)
            curvature = zero
            for k in range(width):
                curvature += own[P, k] * own[Q, k]
            if not curvature > 0:
                break
            step, before, size = size / curvature, size, zero
            for k in range(width):
                own[MOVE, k] += step * own[P, k]
                out[i, k] -= step * own[Q, k]
                size += out[i, k] * own[M, k] * out[i, k]
            ratio = size / before
            for k in range(width):
                own[P, k] = own[M, k] * out[i, k] + ratio * own[P, k]
        for k in range(width):
            out[i, k] = own[MOVE, k]
