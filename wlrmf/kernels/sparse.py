"""Loss, gradient, line and Gauss-Newton kernels over the stored entries of a CSR matrix.

Entry (i, j) has the target y and the weight c of its squared residual (an empty `c` means 1).
Where u and v are not empty, every cell, stored or not, also carries the baseline weight u_i v_j
with target 0, and a stored entry *replaces* it. With m = w_i . x_j the stored entries contribute

    sum c (y - m)^2 - u_i v_j m^2

and the caller adds the baseline's sum over all cells, which needs two small Gram matrices only.

Each kernel serves rows lo..hi, a panel of entries at a time: predictions, then what follows from
each, then sums of rows of X, which are still in the cache. Factors come `vectors.padded`. The slow
twins are in tests/naive.py.
"""

from __future__ import annotations

import numpy as np

from . import gathers, vectors
from ._jit import inlined, kernel

TILES = "005c848e8a14"  # digest of the tiles, whose changes must renew the kernels cached here
CACHE = 1 << 15  # bytes of a panel's rows of X, which stay in the first-level cache
_dots, _fetch, _combine = gathers.dots_tile(), gathers.fetch_rows(), gathers.combine_rows()


def _room(X, count):
    """Vectors for what belongs to the entries of a panel, a multiple of the lanes of each."""
    entries = vectors.depth(X.shape[1] * X.itemsize, CACHE) // 32 * 32
    return np.empty((count, entries), X.dtype)


@inlined
def _pull(i, lo, hi, entries, m, t):
    """Write t = c (y - m) + u v m, minus half the loss's derivative in m; return the loss."""
    _, indices, y, c, u, v = entries
    total = 0.0
    if c.size > 0:
        for e in range(lo, hi):
            r = y[e] - m[e - lo]
            t[e - lo] = c[e] * r
            total += np.float64(t[e - lo]) * r
    else:
        for e in range(lo, hi):
            r = y[e] - m[e - lo]
            t[e - lo] = r
            total += np.float64(r) * r
    if u.size > 0:
        for e in range(lo, hi):
            base, z = u[i] * v[indices[e]], m[e - lo]
            t[e - lo] += base * z
            total -= np.float64(base) * z * z
    return total


@kernel
def _pass(entries, W, X, lo, hi, m, t, pulls, gradient):
    """The loss; where they have room, the pulls of the entries and dF/dW."""
    indptr, indices, width, depth = entries[0], entries[1], X.shape[1], m.size
    total = 0.0
    for i in range(lo, hi):
        at, end, fresh, row = indptr[i], indptr[i + 1], True, 0.0
        while at < end:
            stop = min(at + depth, end)
            _fetch(X, indices, stop, depth)
            _dots(m, W, i, 0, X, 0, width, indices, at, stop)
            row += _pull(i, at, stop, entries, m, t)
            if pulls.size > 0:
                for e in range(at, stop):
                    pulls[e] = t[e - at]
            if gradient.size > 0:
                for p in range(stop - at):
                    t[p] *= -2
                _combine(gradient, i, 0, width, X, indices, t, at, at, stop, fresh)
            fresh, at = False, stop
        if fresh and gradient.size > 0:
            gradient[i] = 0
        total += row
    return total


def loss(indptr, indices, y, c, u, v, W, X, lo, hi):
    """Loss of the stored entries of rows lo..hi, in float64."""
    none = np.empty(0, W.dtype)
    return _pass(
        (indptr, indices, y, c, u, v), W, X, lo, hi, *_room(X, 2), none, none.reshape(0, 0)
    )


def residual(indptr, indices, y, c, u, v, W, X, lo, hi, out):
    """Write c (y - m) + u v m, minus half the loss's derivative in m, for each entry; the loss.

    Without a baseline this is A∘A∘(Y - W'X).
    """
    none = np.empty((0, 0), W.dtype)
    return _pass((indptr, indices, y, c, u, v), W, X, lo, hi, *_room(X, 2), out, none)


def gradient(indptr, indices, y, c, u, v, W, X, lo, hi, out):
    """Write dF/dW for rows lo..hi (stored entries only) in the residual's one pass; the loss."""
    none = np.empty(0, W.dtype)
    return _pass((indptr, indices, y, c, u, v), W, X, lo, hi, *_room(X, 2), none, out)


@kernel
def _add_line(entries, WdW, XdX, lo, hi, m, b, d, q):
    indptr, indices, y, c, u, v = entries
    weighted, based, width = c.size > 0, u.size > 0, XdX.shape[1] // 2
    depth = m.size
    q0 = q1 = q2 = q3 = q4 = 0.0
    for i in range(lo, hi):
        for at in range(indptr[i], indptr[i + 1], depth):
            stop = min(at + depth, indptr[i + 1])
            _fetch(XdX, indices, stop, depth)
            _dots(m, WdW, i, 0, XdX, 0, width, indices, at, stop)
            _dots(d, WdW, i, width, XdX, width, width, indices, at, stop)
            _dots(b, WdW, i, width, XdX, 0, 2 * width, indices, at, stop)
            for e in range(at, stop):
                z, f, g = np.float64(m[e - at]), np.float64(b[e - at]), np.float64(d[e - at])
                a = np.float64(c[e]) if weighted else 1.0
                r = y[e] - z
                q0 += a * r * r
                q1 -= 2 * a * r * f
                q2 += a * (f * f - 2 * r * g)
                q3 += 2 * a * f * g
                q4 += a * g * g
                if based:
                    s = np.float64(u[i]) * v[indices[e]]
                    q0 -= s * z * z
                    q1 -= 2 * s * z * f
                    q2 -= s * (f * f + 2 * z * g)
                    q3 -= 2 * s * f * g
                    q4 -= s * g * g
    q[0] += q0
    q[1] += q1
    q[2] += q2
    q[3] += q3
    q[4] += q4


def line(indptr, indices, y, c, u, v, WdW, XdX, lo, hi, out):
    """Add to out[0:5] the coefficients of the loss at (W + t dW, X + t dX), a quartic in t.

    The prediction is m + t b + t^2 d with b = dw.x + w.dx and d = dw.dx. The factors come as
    `padded(W, dW, W)` and `padded(X, dX)`, so that b is one dot product.
    """
    _add_line((indptr, indices, y, c, u, v), WdW, XdX, lo, hi, *_room(XdX, 3), out)


@kernel
def _gauss_newton(entries, dWW, XdX, lo, hi, b, out):
    indptr, indices, c, u, v = entries
    weighted, based, depth = c.size > 0, u.size > 0, b.size
    for i in range(lo, hi):
        at, end, fresh = indptr[i], indptr[i + 1], True
        while at < end:
            stop = min(at + depth, end)
            _dots(b, dWW, i, 0, XdX, 0, XdX.shape[1], indices, at, stop)
            for e in range(at, stop):
                a = c[e] * b[e - at] if weighted else b[e - at]
                if based:
                    a -= u[i] * v[indices[e]] * b[e - at]
                b[e - at] = a
            _combine(out, i, 0, out.shape[1], XdX, indices, b, at, at, stop, fresh)
            fresh, at = False, stop
        if fresh:
            out[i] = 0


def gauss_newton(indptr, indices, c, u, v, dWW, XdX, lo, hi, out):
    """Write the row half of J'A^2J d for rows lo..hi: sum over entries of (c - u v) b x.

    The factors come as `padded(dW, W)` and `padded(X, dX)`.
    """
    _gauss_newton((indptr, indices, c, u, v), dWW, XdX, lo, hi, *_room(XdX, 1), out)


@kernel
def product(indptr, indices, values, X, lo, hi, out):
    """Write rows lo..hi of the product of a CSR matrix and X."""
    for i in range(lo, hi):
        if indptr[i] < indptr[i + 1]:
            _combine(out, i, 0, X.shape[1], X, indices, values, 0, indptr[i], indptr[i + 1], True)
        else:
            out[i] = 0
