"""Kernels of variable projection: one factor is eliminated, row by row, by its exact solve.

Here the entries of a row are those of an *eliminated* entity: row j of the list, of columns i. Its
row x_j minimises, with the weighted panel B (entries x gone columns) of the kept factor,

    |t - B x|^2 + reg_j |x|^2,   B_e = a_e left[i_e, gone],   t_e = a_e (y_e - what is fixed)

B is orthogonalised itself (with sqrt(reg_j) I below it), not B'B, whose condition number is the
square: modified Gram-Schmidt, twice, which is as orthogonal as Householder's (Giraud & Langou 2002,
doi:10.1093/imanum/22.4.521). Rows with the same columns, weights and ridge are a group and have one
panel between them. Its Q gives x_j, the residuals a r and the projector of Gauss-Newton,

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
def _panel(at, size, short, reg, gone, entries, left, own):
    """The weighted panel of a row at entry `at`, orthonormal; False if columns are dependent."""
    _, indices, _, a = entries
    V, R = own[0], own[2]
    count = gone[1] - gone[0]
    for p in range(size):
        for k in range(count):
            value = a[at + p] * left[indices[at + p], gone[0] + k]
            if short:
                V[p, k] = value
            else:
                V[k, p] = value
    if short:
        return _orthonormalise(V, R, size, count)
    if not reg > 0:
        return _orthonormalise(V, R, count, size)
    for p in range(count):
        for k in range(count):
            V[k, size + p] = np.sqrt(reg) if p == k else 0.0
    return _orthonormalise(V, R, count, size + count)


@inlined
def _solve_long(j, lo, size, reg, gone, own, right, r):
    """Solve and leave the residuals of a row with more entries than columns, or with a ridge."""
    V, t, R, z, _ = own
    count = gone[1] - gone[0]
    depth = size
    if reg > 0:
        depth += count
        for p in range(size, depth):
            t[p] = 0.0
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


@inlined
def _solve_short(j, lo, size, gone, own, right, r):
    """The solution of minimum norm of a row with no more entries than columns, without a ridge."""
    V, t, R, z, _ = own
    count = gone[1] - gone[0]
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


@kernel
def eliminate(entries, groups, left, right, gone, reg, lo, hi, own, Q, r, shape):
    """Write right[rows, gone], a r (entries) and `shape` of the rows of groups lo..hi, and their Q.

    `entries` are (indptr, indices, y, a), `groups` (starts, members, panels): Q has a row for each
    entry of a group's first row, which all its rows share. A SHORT row has no more entries than
    columns and no ridge: it fits exactly and says nothing about `left`. DEFICIENT ones are the
    caller's to solve.
    """
    indptr, starts, members, panels = entries[0], groups[0], groups[1], groups[2]
    V, t, count = own[0], own[1], gone[1] - gone[0]
    for g in range(lo, hi):
        first = members[starts[g]]
        at, size, ridge = indptr[first], indptr[first + 1] - indptr[first], reg[first]
        short = size <= count and not ridge > 0
        done = _panel(at, size, short, ridge, gone, entries, left, own)
        for p in range(size):
            for k in range(count):
                Q[panels[g] + p, k] = 0.0 if short or not done else V[k, p]
        for s in range(starts[g], starts[g + 1]):
            j = members[s]
            at = indptr[j]
            shape[j] = DEFICIENT if not done else SHORT if short else FULL
            if done:
                _target(j, at, at + size, entries, left, right, gone, t)
                if short:
                    _solve_short(j, at, size, gone, own, right, r)
                else:
                    _solve_long(j, at, size, ridge, gone, own, right, r)


@inlined
def _squares(starts, members, g, right, kept, out):
    """Sum of z_j z_j' over the rows of a group, flat."""
    k = kept[1] - kept[0]
    for q in range(k * k):
        out[q] = 0.0
    for s in range(starts[g], starts[g + 1]):
        j = members[s]
        for p in range(k):
            for q in range(k):
                out[p * k + q] += right[j, kept[0] + p] * right[j, kept[0] + q]


@kernel
def hessian(panels, turned, Q, groups, right, kept, lo, hi, square, H):
    """Write H[i, i'] (k x k each, flat) of kept rows lo..hi and i' <= i; the others stay as is.

    `panels` are (indptr, indices, a) of the groups' first rows with ascending columns, a = 0 in
    those that say nothing; `turned` are (indptr, group, place) of their transpose; `groups` are
    (starts, members). `square` is a vector of k^2.
    """
    indptr, indices, a = panels
    rows, owner, place = turned
    starts, members = groups
    k, count = kept[1] - kept[0], Q.shape[1]
    for i in range(lo, hi):
        for other in range(i + 1):
            for q in range(k * k):
                H[i, other, q] = 0.0
        for s in range(rows[i], rows[i + 1]):
            g, e = owner[s], place[s]
            if a[e] == 0.0:
                continue
            _squares(starts, members, g, right, kept, square)
            for f in range(indptr[g], e + 1):
                weight = 1.0 if f == e else 0.0
                for c in range(count):
                    weight -= Q[e, c] * Q[f, c]
                weight *= a[e] * a[f]
                other = indices[f]
                for q in range(k * k):
                    H[i, other, q] += weight * square[q]


@kernel
def blocks(panels, turned, Q, groups, right, kept, lo, hi, square, out):
    """Write the diagonal blocks H[i, i] (k x k, flat) of kept rows lo..hi."""
    a = panels[2]
    rows, owner, place = turned
    starts, members = groups
    k, count = kept[1] - kept[0], Q.shape[1]
    for i in range(lo, hi):
        for q in range(k * k):
            out[i, q] = 0.0
        for s in range(rows[i], rows[i + 1]):
            g, e = owner[s], place[s]
            weight = 1.0
            for c in range(count):
                weight -= Q[e, c] * Q[e, c]
            weight *= a[e] * a[e]
            _squares(starts, members, g, right, kept, square)
            for q in range(k * k):
                out[i, q] += weight * square[q]


@kernel
def project(entries, Q, places, right, kept, D, lo, hi, z, out):
    """Write P_j (D z_j) at the entries of rows lo..hi; `z` is a vector of the gone columns.

    `places` says for each row how far from an entry its row of Q is.
    """
    indptr, indices, a = entries
    count = Q.shape[1]
    for j in range(lo, hi):
        off = places[j]
        for c in range(count):
            z[c] = 0.0
        for e in range(indptr[j], indptr[j + 1]):
            moved = 0.0
            for k in range(kept[0], kept[1]):
                moved += D[indices[e], k - kept[0]] * right[j, k]
            moved *= a[e]
            out[e] = moved
            for c in range(count):
                z[c] += moved * Q[e + off, c]
        for e in range(indptr[j], indptr[j + 1]):
            for c in range(count):
                out[e] -= z[c] * Q[e + off, c]
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
