"""Loss, gradient, line and Gauss-Newton kernels over the stored entries of a CSR matrix.

Entry (i, j) has the target y and the weight c of its squared residual (an empty `c` means 1).
Where u and v are not empty, every cell, stored or not, also carries the baseline weight u_i v_j
with target 0, and a stored entry *replaces* it. With m = w_i . x_j the stored entries contribute

    sum c (y - m)^2 - u_i v_j m^2

and the caller adds the baseline's sum over all cells, which needs two small Gram matrices only.

Each kernel serves rows lo..hi; its slow twin is in tests/naive.py.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel


@kernel
def _dot(a, b):
    total = a[0] * b[0]
    for k in range(1, a.size):
        total += a[k] * b[k]
    return total


@kernel
def loss(indptr, indices, y, c, u, v, W, X, lo, hi):
    """Loss of the stored entries of rows lo..hi, in float64."""
    weighted, based = c.size > 0, u.size > 0
    total = 0.0
    for i in range(lo, hi):
        row = 0.0
        for e in range(indptr[i], indptr[i + 1]):
            j = indices[e]
            m = _dot(W[i], X[j])
            r = np.float64(y[e] - m)
            row += c[e] * r * r if weighted else r * r
            if based:
                row -= np.float64(u[i]) * v[j] * m * m
        total += row
    return total


@kernel
def residual(indptr, indices, y, c, u, v, W, X, lo, hi, out):
    """Write c (y - m) + u v m, minus half the loss's derivative in m, for each entry; the loss.

    Without a baseline this is A∘A∘(Y - W'X).
    """
    weighted, based = c.size > 0, u.size > 0
    total = 0.0
    for i in range(lo, hi):
        for e in range(indptr[i], indptr[i + 1]):
            j = indices[e]
            m = _dot(W[i], X[j])
            r = y[e] - m
            pull = c[e] * r if weighted else r
            total += np.float64(pull) * r
            if based:
                base = u[i] * v[j]
                total -= np.float64(base) * m * m
                pull += base * m
            out[e] = pull
    return total


@kernel
def gradient(indptr, indices, y, c, u, v, W, X, lo, hi, out):
    """Write dF/dW for rows lo..hi (stored entries only) in the residual's one pass; the loss."""
    weighted, based = c.size > 0, u.size > 0
    total = 0.0
    for i in range(lo, hi):
        out[i] = 0
        g = out[i]
        w = W[i]
        row = 0.0
        for e in range(indptr[i], indptr[i + 1]):
            j = indices[e]
            x = X[j]
            m = _dot(w, x)
            r = y[e] - m
            pull = c[e] * r if weighted else r
            row += np.float64(pull) * r
            if based:
                base = u[i] * v[j]
                row -= np.float64(base) * m * m
                pull += base * m
            pull *= -2
            for k in range(x.size):
                g[k] += pull * x[k]
        total += row
    return total


@kernel
def line(indptr, indices, y, c, u, v, W, X, dW, dX, lo, hi, out):
    """Add to out[0:5] the coefficients of the loss at (W + t dW, X + t dX), a quartic in t.

    The prediction is m + t b + t^2 d with b = dw.x + w.dx and d = dw.dx.
    """
    weighted, based = c.size > 0, u.size > 0
    q0 = q1 = q2 = q3 = q4 = 0.0
    for i in range(lo, hi):
        w, dw = W[i], dW[i]
        for e in range(indptr[i], indptr[i + 1]):
            j = indices[e]
            x, dx = X[j], dX[j]
            m, b1, b2, d1 = w[0] * x[0], dw[0] * x[0], w[0] * dx[0], dw[0] * dx[0]
            for k in range(1, w.size):
                m += w[k] * x[k]
                b1 += dw[k] * x[k]
                b2 += w[k] * dx[k]
                d1 += dw[k] * dx[k]
            r, b, d = np.float64(y[e] - m), np.float64(b1) + b2, np.float64(d1)
            a = np.float64(c[e]) if weighted else 1.0
            q0 += a * r * r
            q1 -= 2 * a * r * b
            q2 += a * (b * b - 2 * r * d)
            q3 += 2 * a * b * d
            q4 += a * d * d
            if based:
                s = np.float64(u[i]) * v[j]
                z = np.float64(m)
                q0 -= s * z * z
                q1 -= 2 * s * z * b
                q2 -= s * (b * b + 2 * z * d)
                q3 -= 2 * s * b * d
                q4 -= s * d * d
    out[0] += q0
    out[1] += q1
    out[2] += q2
    out[3] += q3
    out[4] += q4


@kernel
def gauss_newton(indptr, indices, c, u, v, W, X, dW, dX, lo, hi, out):
    """Write the row half of J'A^2J d for rows lo..hi: sum over entries of (c - u v) b x."""
    weighted, based = c.size > 0, u.size > 0
    for i in range(lo, hi):
        out[i] = 0
        g = out[i]
        w, dw = W[i], dW[i]
        for e in range(indptr[i], indptr[i + 1]):
            j = indices[e]
            x, dx = X[j], dX[j]
            b = dw[0] * x[0] + w[0] * dx[0]
            for k in range(1, w.size):
                b += dw[k] * x[k] + w[k] * dx[k]
            a = c[e] * b if weighted else b
            if based:
                a -= u[i] * v[j] * b
            for k in range(x.size):
                g[k] += a * x[k]
