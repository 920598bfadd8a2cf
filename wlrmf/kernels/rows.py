"""The row solve: for fixed X, each row of W is the minimiser of a small quadratic.

Row i minimises  sum_e s_e (w.x_e)^2 - 2 t_e (w.x_e)  +  sum_k D_k w_k^2 - 2 start_k w_k,  so

    (diag(D) + sum_e s_e x_e x_e') w = start + sum_e t_e x_e

with s = c - u v, t = c (y - z) + u v z, where z is the prediction of the fixed columns, and
D = u_i lam + reg_i. A baseline weight needs nothing but the diagonal `lam`, because the caller has
rotated X to the eigenbasis of its shared Gram matrix (Hu, Koren & Volinsky 2008, section 4, had
the shared Gram matrix; the rotation makes it diagonal). Without a baseline `lam` is empty.

A row with fewer entries than unknowns is solved in its dual form, an (entries x entries) system,
which at reg = 0 is the minimum-norm solution. Rows whose system is singular to working precision
are left alone and marked in `failed`: the caller solves them by a rank-revealing method.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel

PANEL = 8  # entries gathered before each update of the Gram matrix
ROTATION = 2.2e-16  # relative rounding of the rotation to the eigenbasis, made in float64


@kernel
def _dot(a, b, n):
    total = a[0] * b[0]
    for k in range(1, n):
        total += a[k] * b[k]
    return total


@kernel
def _cholesky_solve(G, b, n, tolerance, floor):
    """Solve G x = b in place, G given by its lower triangle; False if a pivot vanishes.

    A pivot vanishes against its own diagonal entry, which no scaling of the columns changes, and
    against `floor`.
    """
    for i in range(n):
        gi = G[i]
        scale = gi[i]
        for j in range(i):
            gj = G[j]
            total = gi[j]
            for k in range(j):
                total -= gi[k] * gj[k]
            gi[j] = total / gj[j]
        pivot = gi[i]
        for k in range(i):
            pivot -= gi[k] * gi[k]
        if not pivot > max(tolerance * scale, floor):  # also True for a NaN
            return False
        gi[i] = np.sqrt(pivot)
        total = b[i]
        for k in range(i):
            total -= gi[k] * b[k]
        b[i] = total / gi[i]
    for i in range(n - 1, -1, -1):
        gi = G[i]
        b[i] /= gi[i]
        bi = b[i]
        for k in range(i):
            b[k] -= bi * gi[k]
    return True


@kernel
def _add_panel(G, P, Q):
    """G += P'Q for PANEL = 8 entries, lower triangle only: one load of G for 8 products."""
    p0, p1, p2, p3, p4, p5, p6, p7 = P[0], P[1], P[2], P[3], P[4], P[5], P[6], P[7]
    for a in range(G.shape[0]):
        g = G[a]
        q0, q1, q2, q3 = Q[0, a], Q[1, a], Q[2, a], Q[3, a]
        q4, q5, q6, q7 = Q[4, a], Q[5, a], Q[6, a], Q[7, a]
        for b in range(a + 1):
            g[b] += (q0 * p0[b] + q1 * p1[b] + q2 * p2[b] + q3 * p3[b]) + (
                q4 * p4[b] + q5 * p5[b] + q6 * p6[b] + q7 * p7[b]
            )


@kernel
def _entry(e, i, j, entries, fixed):
    """Weights s and t of entry e: see the module's formula."""
    _, _, y, c, u, v = entries
    Wfix, Xfix = fixed
    base = u[i] * v[j] if u.size > 0 else y[e] * 0
    weight = c[e] if c.size > 0 else y[e] * 0 + 1
    pull = weight * y[e]
    if Wfix.shape[1] > 0:
        pull += (base - weight) * _dot(Wfix[i], Xfix[j], Wfix.shape[1])
    return weight - base, pull


@kernel
def _primal(i, entries, fixed, X, G, P, Q, w):
    """Add the entries of row i to the Gram matrix G and to the right-hand side w."""
    indptr, indices = entries[0], entries[1]
    rank = X.shape[1]
    fill = 0
    for e in range(indptr[i], indptr[i + 1]):
        j = indices[e]
        s, t = _entry(e, i, j, entries, fixed)
        x = X[j]
        for k in range(rank):
            P[fill, k] = x[k]
            Q[fill, k] = s * x[k]
            w[k] += t * x[k]
        fill += 1
        if fill == PANEL:
            _add_panel(G, P, Q)
            fill = 0
    if fill > 0:
        for p in range(fill, PANEL):
            for k in range(rank):
                P[p, k] = 0
                Q[p, k] = 0
        _add_panel(G, P, Q)


@kernel
def _dual(i, entries, fixed, X, D, scale, K, B, alpha, w, tolerance, floor):
    """Solve row i through its (entries x entries) system; 0 solved, 1 singular, 2 not applicable.

    With B = sqrt(s) x sqrt(d/D), d = max D:  (B B' + d I) alpha = t / sqrt(s),
    w = sqrt(d/D) B' alpha.
    """
    indptr, indices, _, _, u, v = entries
    rank = X.shape[1]
    first, count = indptr[i], indptr[i + 1] - indptr[i]
    top, low = D.max(), D.min()
    if low <= floor and top > 0:
        return 2
    for k in range(rank):
        scale[k] = np.sqrt(top / D[k]) if top > low else 1
    for p in range(count):
        j = indices[first + p]
        s, t = _entry(first + p, i, j, entries, fixed)
        if not s > 0 or (u.size > 0 and s < u[i] * v[j] * 0.01):
            return 2
        root = np.sqrt(s)
        alpha[p] = t / root
        x = X[j]
        for k in range(rank):
            B[p, k] = root * x[k] * scale[k]
        for q in range(p + 1):
            K[p, q] = _dot(B[p], B[q], rank)
        K[p, p] += top
    if not _cholesky_solve(K, alpha, count, tolerance, 0):
        return 1
    for k in range(rank):
        w[k] = 0
    for p in range(count):
        a = alpha[p]
        for k in range(rank):
            w[k] += a * B[p, k]
    for k in range(rank):
        w[k] *= scale[k]
    return 0


@kernel
def _begin(i, u, lam, reg, start, D, w):
    """Write the diagonal and the right-hand side that row i begins from; the pivots' floor."""
    rank = D.size
    floor = reg[i] * 0
    for k in range(rank):
        D[k] = reg[i]
        if u.size > 0:
            D[k] += u[i] * lam[k]
            floor = max(floor, D[k] * D.dtype.type(4 * rank * ROTATION))
        w[k] = start[i, k] if start.size > 0 else reg[i] * 0
    return floor


@kernel
def solve(indptr, indices, y, c, u, v, X, lam, reg, start, Wfix, Xfix, lo, hi, out, failed):
    """Write the exact minimiser of rows lo..hi to `out`; mark the singular ones in `failed`."""
    entries, fixed = (indptr, indices, y, c, u, v), (Wfix, Xfix)
    rank = X.shape[1]
    G, B = np.empty((rank, rank), X.dtype), np.empty((rank, rank), X.dtype)
    P, Q = np.empty((PANEL, rank), X.dtype), np.empty((PANEL, rank), X.dtype)
    D, scale, alpha = np.empty(rank, X.dtype), np.empty(rank, X.dtype), np.empty(rank, X.dtype)
    tolerance = X.dtype.type(4 * rank * np.finfo(X.dtype).eps)
    for i in range(lo, hi):
        w = out[i]
        failed[i] = False
        floor = _begin(i, u, lam, reg, start, D, w)
        count = indptr[i + 1] - indptr[i]
        if count == 0 and u.size == 0:
            continue  # w = 0: nothing is known of this row
        if count < rank and start.size == 0:
            state = _dual(i, entries, fixed, X, D, scale, G, B, alpha, w, tolerance, floor)
            if state < 2:
                failed[i] = state == 1
                continue
        for a in range(rank):
            for b in range(a):
                G[a, b] = 0
            G[a, a] = D[a]
        _primal(i, entries, fixed, X, G, P, Q, w)
        failed[i] = not _cholesky_solve(G, w, rank, tolerance, floor)


@kernel
def solve_packed(packed, reg, out, failed):
    """Solve one system a row, each Gram matrix packed by rows of its lower triangle.

    `out` holds the right-hand sides and receives the solutions.
    """
    rank = out.shape[1]
    G = np.empty((rank, rank), out.dtype)
    tolerance = out.dtype.type(4 * rank * np.finfo(out.dtype).eps)
    for i in range(out.shape[0]):
        e = 0
        largest = reg[i] * 0
        for a in range(rank):
            for b in range(a + 1):
                G[a, b] = packed[i, e]
                e += 1
            largest = max(largest, G[a, a])
            G[a, a] += reg[i]
        if largest == 0:  # no observed cell: nothing is known of this row
            out[i] = 0
            failed[i] = False
            continue
        failed[i] = not _cholesky_solve(G, out[i], rank, tolerance, 0)
