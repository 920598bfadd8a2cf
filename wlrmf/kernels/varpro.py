"""Kernels of variable projection: one factor is eliminated, row by row, by its exact solve.

Here the entries of a row are those of an *eliminated* entity: row j of the list, of columns i. Its
row x_j minimises, with the weighted panel B (entries x gone columns) of the kept factor,

    |t - B x|^2 + reg_j |x|^2,   B_e = a_e left[i_e, gone],   t_e = a_e (y_e - what is fixed)

B is orthogonalised itself (with sqrt(reg_j) I below it), not B'B, whose condition number is the
square: modified Gram-Schmidt, twice, which is as orthogonal as Householder's (Giraud & Langou 2002,
doi:10.1093/imanum/22.4.521). Its Q gives x_j, the residuals a r and the projector of Gauss-Newton,

    P_j = diag(a) (I - Q Q') diag(a),    H[i, i'] += P_j[i, i'] z_j z_j',   z_j = right[j, kept]

(Ruhe & Wedin 1980, doi:10.1137/1022057, algorithm 2). Both factors are whole; `gone` and `kept` are
spans (start, stop) of their columns. All in float64. The slow twins are in tests/naive.py.
"""

from __future__ import annotations

import numpy as np

from ._jit import inlined, kernel

DEPENDENT = 1e-12  # what is left of a column, against all of it, where the others explain it
FULL, SHORT, DEFICIENT = 0, 1, 2  # what became of a row: `shape` in `eliminate`


def room(longest: int, gone: int) -> tuple[np.ndarray, ...]:
    """What `eliminate` works in, one for each thread: the panel, its target, R and two vectors."""
    depth = longest + gone
    return (
        np.empty((gone + 1, depth)),
        np.empty(depth),
        np.empty((gone + 1, gone + 1)),
        np.empty(gone + 1),
        np.empty(gone + 1),
    )


@inlined
def _dot(a, k, b, other, size):
    total = 0.0
    for p in range(size):
        total += a[k, p] * b[other, p]
    return total


@inlined
def _orthonormalise(V, R, count, size):
    """Rows of V (count x size) become orthonormal, V = R' V_new; False if one depends on others."""
    for k in range(count):
        whole = _dot(V, k, V, k, size)
        for o in range(k):
            R[o, k] = 0.0
        for _ in range(2):
            for o in range(k):
                part = _dot(V, o, V, k, size)
                R[o, k] += part
                for p in range(size):
                    V[k, p] -= part * V[o, p]
        left = _dot(V, k, V, k, size)
        if not left > DEPENDENT * DEPENDENT * whole:
            return False
        R[k, k] = np.sqrt(left)
        for p in range(size):
            V[k, p] /= R[k, k]
    return True


@inlined
def _target(j, lo, hi, entries, left, right, gone, t):
    """Weighted targets: a (y - the prediction of the columns that are not gone)."""
    _, indices, y, a = entries
    for e in range(lo, hi):
        i, rest = indices[e], y[e]
        for k in range(gone[0]):
            rest -= left[i, k] * right[j, k]
        for k in range(gone[1], left.shape[1]):
            rest -= left[i, k] * right[j, k]
        t[e - lo] = a[e] * rest


@inlined
def _solve_long(j, lo, size, reg, gone, own, right, Q, r):
    """x, residuals and Q of a row with more entries than columns, or with a ridge."""
    V, t, R, z, _ = own
    count = gone[1] - gone[0]
    depth = size
    if reg > 0:
        depth += count
        for p in range(size, depth):
            t[p] = 0.0
            for k in range(count):
                V[k, p] = np.sqrt(reg) if p - size == k else 0.0
    if not _orthonormalise(V, R, count, depth):
        return False
    for k in range(count):
        z[k] = 0.0
    for _ in range(2):
        for k in range(count):
            part = 0.0
            for p in range(depth):
                part += V[k, p] * t[p]
            z[k] += part
            for p in range(depth):
                t[p] -= part * V[k, p]
    for k in range(count - 1, -1, -1):
        for o in range(k + 1, count):
            z[k] -= R[k, o] * z[o]
        z[k] /= R[k, k]
        right[j, gone[0] + k] = z[k]
    for p in range(size):
        r[lo + p] = t[p]
        for k in range(count):
            Q[lo + p, k] = V[k, p]
    return True


@inlined
def _solve_short(j, lo, size, gone, own, right, Q, r):
    """The solution of minimum norm of a row with no more entries than columns, without a ridge."""
    V, t, R, z, _ = own
    count = gone[1] - gone[0]
    if not _orthonormalise(V, R, size, count):
        return False
    for k in range(size):
        z[k] = t[k]
        for o in range(k):
            z[k] -= R[o, k] * z[o]
        z[k] /= R[k, k]
    for c in range(count):
        total = 0.0
        for k in range(size):
            total += z[k] * V[k, c]
        right[j, gone[0] + c] = total
    for p in range(size):
        r[lo + p] = 0.0
        for k in range(count):
            Q[lo + p, k] = 0.0
    return True


@kernel
def eliminate(entries, left, right, gone, reg, lo, hi, own, Q, r, shape):
    """Write right[lo:hi, gone], and Q (entries x gone), a r (entries) and `shape` of these rows.

    `entries` are (indptr, indices, y, a). A SHORT row has no more entries than columns and no
    ridge: it fits exactly and says nothing about `left`. A DEFICIENT one is the caller's to solve.
    """
    indptr, indices, _, a = entries
    V, t, count = own[0], own[1], gone[1] - gone[0]
    for j in range(lo, hi):
        at, end = indptr[j], indptr[j + 1]
        _target(j, at, end, entries, left, right, gone, t)
        short = end - at <= count and not reg[j] > 0
        for e in range(at, end):
            for k in range(count):
                value = a[e] * left[indices[e], gone[0] + k]
                if short:
                    V[e - at, k] = value
                else:
                    V[k, e - at] = value
        if short:
            done = _solve_short(j, at, end - at, gone, own, right, Q, r)
        else:
            done = _solve_long(j, at, end - at, reg[j], gone, own, right, Q, r)
        shape[j] = DEFICIENT if not done else SHORT if short else FULL


@kernel
def hessian(entries, turned, Q, right, kept, lo, hi, square, H):
    """Write H[i, i'] (k x k each, flat) of kept rows lo..hi and i' <= i; the others stay as is.

    `entries` are (indptr, indices, a) with ascending columns, a = 0 in rows that say nothing;
    `turned` are (indptr, row, place) of the transpose: which row and entry each is. `square` is a
    vector of k^2.
    """
    indptr, indices, a = entries
    starts, owner, place = turned
    k, count = kept[1] - kept[0], Q.shape[1]
    for i in range(lo, hi):
        for other in range(i + 1):
            for q in range(k * k):
                H[i, other, q] = 0.0
        for s in range(starts[i], starts[i + 1]):
            j, e = owner[s], place[s]
            if a[e] == 0.0:
                continue
            for p in range(k):
                for q in range(k):
                    square[p * k + q] = right[j, kept[0] + p] * right[j, kept[0] + q]
            for f in range(indptr[j], e + 1):
                weight = 1.0 if f == e else 0.0
                for c in range(count):
                    weight -= Q[e, c] * Q[f, c]
                weight *= a[e] * a[f]
                other = indices[f]
                for q in range(k * k):
                    H[i, other, q] += weight * square[q]


@kernel
def blocks(entries, turned, Q, right, kept, lo, hi, out):
    """Write the diagonal blocks H[i, i] (k x k) of kept rows lo..hi."""
    a = entries[2]
    starts, owner, place = turned
    k, count = kept[1] - kept[0], Q.shape[1]
    for i in range(lo, hi):
        for p in range(k):
            for q in range(k):
                out[i, p, q] = 0.0
        for s in range(starts[i], starts[i + 1]):
            j, e = owner[s], place[s]
            weight = 1.0
            for c in range(count):
                weight -= Q[e, c] * Q[e, c]
            weight *= a[e] * a[e]
            for p in range(k):
                for q in range(k):
                    out[i, p, q] += weight * right[j, kept[0] + p] * right[j, kept[0] + q]


@kernel
def project(entries, Q, right, kept, D, lo, hi, z, out):
    """Write P_j (D z_j) at the entries of rows lo..hi; `z` is a vector of the gone columns."""
    indptr, indices, a = entries
    count = Q.shape[1]
    for j in range(lo, hi):
        for c in range(count):
            z[c] = 0.0
        for e in range(indptr[j], indptr[j + 1]):
            moved = 0.0
            for k in range(kept[0], kept[1]):
                moved += D[indices[e], k - kept[0]] * right[j, k]
            moved *= a[e]
            out[e] = moved
            for c in range(count):
                z[c] += moved * Q[e, c]
        for e in range(indptr[j], indptr[j + 1]):
            for c in range(count):
                out[e] -= z[c] * Q[e, c]
            out[e] *= a[e]


@kernel
def collect(turned, values, right, kept, lo, hi, out):
    """Write sum_e values_e z_j(e) over the entries of each kept row lo..hi."""
    starts, owner, place = turned
    for i in range(lo, hi):
        for k in range(kept[0], kept[1]):
            out[i, k - kept[0]] = 0.0
        for s in range(starts[i], starts[i + 1]):
            j, value = owner[s], values[place[s]]
            for k in range(kept[0], kept[1]):
                out[i, k - kept[0]] += value * right[j, k]
