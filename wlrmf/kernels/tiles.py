"""Tiles of the row solve: pieces of Gram matrices and of their factorization.

A Gram matrix G = sum s x x' is built from two kinds of tiles. Off the diagonal a tile holds some
rows of some vectors of columns, and each entry adds an outer product. A diagonal block, lanes x
lanes, is symmetric: the products of x with its own rotations x_i x_(i+k mod lanes), k = 0 ..
lanes/2, hold each of its numbers once (the last twice), in half the operations and registers.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import inlined
from .vectors import BLOCK, BYTES, INDEX, PLAIN, WIDE, call, lanes_count, turns


def diagonal_tile(weighted, gathers_only=False):
    """Diagonal block of sum s x x' at column b, wrapped, over entries lo..hi; its w += sum t x.

    C[row + k, i] (+)= sum s_e x_i x_(i + k mod lanes), x = X[indices[e], b:]; w[base + b:]. On the
    way x goes to P and, if weighted, s x to Q. s, P and Q begin with entry lo, t with `first`. The
    block itself is left out if this `gathers_only`.
    """
    wanted = (lambda every: 0) if gathers_only else turns

    def write(code, C, row, b, base, w, X, indices, s, t, P, Q, first, lo, hi, fresh):
        at, rows = code.builder.add(base, b), code.rows(row, wanted(code.lanes))
        sums = [code.builder.select(fresh, code.zero, C.vector(row, INDEX(0))) for row in rows]

        def products(e, running):
            p = code.builder.sub(e, lo)
            x = scaled = X.vector(indices.integer(e), b)
            P.store(x, p, b)
            if weighted:
                scaled = code.builder.fmul(x, s.splat(p))
                Q.store(scaled, p, b)
            ends = [code.fma(scaled, code.rotate(x, k), running[k]) for k in range(len(rows))]
            return [*ends, code.fma(t.splat(code.builder.sub(e, first)), x, running[-1])]

        *ends, pull = code.loop([*sums, w.vector(at)], lo, hi, products)
        for row, value in zip(rows, ends, strict=True):
            C.store(value, row, INDEX(0))
        w.store(pull, at)

    @intrinsic
    def tile(typingctx, C, row, b, base, w, X, indices, s, t, P, Q, first, lo, hi, fresh):
        integer = types.intp
        return types.void(
            C, *[integer] * 3, w, X, indices, s, t, P, Q, *[integer] * 3, types.boolean
        ), partial(call, write, f"diagonal{int(weighted)}x{int(gathers_only)}")

    def plain(C, row, b, base, w, X, indices, s, t, P, Q, first, lo, hi, fresh):
        lanes, count = BYTES // X.itemsize, hi - lo
        block = slice(b, b + lanes)
        x = scaled = X[indices[lo:hi], block]
        P[:count, block] = x
        if weighted:
            Q[:count, block] = scaled = s[:count, None] * x
        for k in range(wanted(lanes)):
            total = np.sum(scaled * np.roll(x, -k, axis=1), axis=0)
            C[row + k] = total + (0 if fresh else C[row + k])
        w[base + b : base + b + lanes] += t[lo - first : hi - first] @ x

    return plain if PLAIN else tile


def unwrap_tile():
    """Diagonal block at column b of the matrix at rows base.. of G, wrapped at `row` of C.

    D[base:] is added to the diagonal and becomes it.
    """

    def write(code, G, base, b, row, C, D):
        at = code.builder.add(base, b)
        wrapped = [C.vector(k, INDEX(0)) for k in code.rows(row, code.turns)]
        wrapped[0] = code.builder.fadd(wrapped[0], D.vector(at))
        D.store(wrapped[0], at)
        wrapped += [code.rotate(wrapped[code.lanes - k], k) for k in range(code.turns, code.lanes)]
        for i, vector in enumerate(code.transpose(wrapped)):
            G.store(code.rotate(vector, -i), code.plus(at, i), b)

    @intrinsic
    def tile(typingctx, G, base, b, row, C, D):
        integer = types.intp
        return types.void(G, integer, integer, integer, C, D), partial(call, write, "unwrap")

    def plain(G, base, b, row, C, D):
        lanes = C.shape[1]
        block = np.arange(b, b + lanes)
        D[base + block] += C[row]
        for k in range(1, turns(lanes)):
            other = np.roll(block, -k)
            G[base + block, other] = G[base + other, block] = C[row + k]
        G[base + block, block] = D[base + block]

    return plain if PLAIN else tile


def _triangles(code, C, D):
    """u[i][j], i <= j, of diag(D[q]) plus the wrapped matrix at rows q turns.. of C, q a lane."""
    span = range(code.lanes)
    wrapped = [
        code.transpose([C.vector(INDEX(q * code.turns + k), INDEX(0)) for q in span])
        for k in range(code.turns)
    ]
    added = code.transpose([D.vector(INDEX(q * code.lanes)) for q in span])
    wrapped[0] = [code.builder.fadd(a, b) for a, b in zip(wrapped[0], added, strict=True)]
    return [
        [None] * i
        + [
            wrapped[j - i][i] if j - i < code.turns else wrapped[code.lanes + i - j][j]
            for j in span[i:]
        ]
        for i in span
    ]


def lanes_block():
    """Solve `lanes` systems with one block each, a system a lane: nothing waits for anything.

    System q has diag(D[q]) plus the wrapped matrix at rows q turns.. of C, right-hand side and
    solution w[q], and good[q] is 1 if its pivots are above tolerance times their own diagonal
    entry and above floor[q], else 0. D and w are flat.
    """

    def write(code, C, D, w, tolerance, floor, good):
        builder, n = code.builder, code.lanes
        span, one = range(n), code.splat(ir.Constant(code.scalar, 1.0))
        t, u = code.transpose([w.vector(INDEX(q * n)) for q in span]), _triangles(code, C, D)
        tolerance, least = code.splat(tolerance), floor.vector(INDEX(0))
        limits = [code.largest(builder.fmul(tolerance, row[i]), least) for i, row in enumerate(u)]
        fine, inverse = None, []
        for k in span:
            above = builder.fcmp_ordered(">", u[k][k], limits[k])
            fine = above if fine is None else builder.and_(fine, above)
            inverse.append(builder.fdiv(one, u[k][k]))
            for i in range(k + 1, n):
                factor = builder.fneg(builder.fmul(u[k][i], inverse[k]))
                u[i][i:] = [code.fma(factor, u[k][j], u[i][j]) for j in range(i, n)]
                t[i] = code.fma(factor, t[k], t[i])
        for k in reversed(span):
            for j in range(k + 1, n):
                t[k] = code.fma(builder.fneg(u[k][j]), t[j], t[k])
            t[k] = builder.fmul(t[k], inverse[k])
        for q, row in enumerate(code.transpose(t)):
            w.store(row, INDEX(q * n))
        good.store(builder.select(fine, one, code.zero), INDEX(0))

    @intrinsic
    def block(typingctx, C, D, w, tolerance, floor, good):
        return types.void(C, D, w, tolerance, floor, good), partial(call, write, "lanes")

    def plain(C, D, w, tolerance, floor, good):
        n = C.shape[1]
        wrapped = C.reshape(n, -1, n)
        good[:] = 1
        for q in range(n):
            G = np.diag(D[q * n : (q + 1) * n])
            for k, products in enumerate(wrapped[q]):
                i, j = np.arange(n), np.roll(np.arange(n), -k)
                G[i, j] = G[j, i] = products + (G[i, i] if k == 0 else 0)
            t, limits = w[q * n : (q + 1) * n], np.maximum(tolerance * np.diag(G), floor[q])
            for k in range(n):
                if not G[k, k] > limits[k]:
                    G[k, k], good[q] = 1, 0  # the compiled code goes on with what it got
                factor = G[k, k + 1 :] / G[k, k]
                G[k + 1 :, k + 1 :] -= np.outer(factor, G[k, k + 1 :])
                t[k + 1 :] -= factor * t[k]
            for k in range(n - 1, -1, -1):
                t[k] = (t[k] - G[k, k + 1 :] @ t[k + 1 :]) / G[k, k]

    return plain if PLAIN else block


def outer_tile(tall, wide, sign, turned=False):
    """G[base+a:, b:] = (G or 0) + sign sum of P[e, a:]' Q[e, b:] over e in lo..hi, hi > lo.

    `tall` rows, but no more than a vector has lanes, of `wide` vectors. If `turned`, P[a:, e].
    """

    def write(code, G, base, a, b, P, Q, lo, hi, fresh):
        down = code.rows(a, min(tall, code.lanes))
        across = [code.plus(b, c * code.lanes) for c in range(wide)]
        places = [(code.builder.add(base, r), c) for r in down for c in across]
        sums = [code.builder.select(fresh, code.zero, G.vector(*place)) for place in places]

        def products(e, running):
            right = [Q.vector(e, c) for c in across]
            left = [P.scalar(r, e) if turned else P.scalar(e, r) for r in down]
            left = [code.splat(code.builder.fneg(x) if sign < 0 else x) for x in left]
            pairs = [(x, y) for x in left for y in right]
            return [code.fma(x, y, z) for (x, y), z in zip(pairs, running, strict=True)]

        for place, value in zip(places, code.loop(sums, lo, hi, products), strict=True):
            G.store(value, *place)

    @intrinsic
    def tile(typingctx, G, base, a, b, P, Q, lo, hi, fresh):
        integer = types.intp
        return types.void(
            G, integer, integer, integer, P, Q, integer, integer, types.boolean
        ), partial(call, write, f"outer{tall}x{wide}x{sign}x{int(turned)}")

    def plain(G, base, a, b, P, Q, lo, hi, fresh):
        lanes = BYTES // G.itemsize
        down, across = slice(a, a + min(tall, lanes)), slice(b, b + wide * lanes)
        block = G[base + a : base + down.stop, across]
        left = P[down, lo:hi] if turned else P[lo:hi, down].T
        block[:] = (0 if fresh else block) + sign * (left @ Q[lo:hi, across])

    return plain if PLAIN else tile


def strip(tall, sign, turned=False):
    """The rows of `outer_tile` over columns b..width: wide tiles, and narrow ones for the rest."""
    lanes_of = lanes_count()
    wide, narrow = (outer_tile(tall, vectors, sign, turned) for vectors in (WIDE, 1))

    @inlined
    def add(G, base, a, b, width, P, Q, lo, hi, fresh):
        lanes = lanes_of(G)
        while b + WIDE * lanes <= width:
            wide(G, base, a, b, P, Q, lo, hi, fresh)
            b += WIDE * lanes
        while b < width:
            narrow(G, base, a, b, P, Q, lo, hi, fresh)
            b += lanes

    return add


def transpose_tile():
    """B[b:, p:] = root[p:] X[places[p:], b:]' scale[b:], a block of lanes x lanes."""

    def write(code, B, b, p, X, places, root, scale):
        across = scale.vector(b)
        rows = [
            code.builder.fmul(
                code.builder.fmul(X.vector(places.integer(e), b), across), root.splat(e)
            )
            for e in code.rows(p, code.lanes)
        ]
        for i, row in enumerate(code.transpose(rows)):
            B.store(row, code.plus(b, i), p)

    @intrinsic
    def tile(typingctx, B, b, p, X, places, root, scale):
        return types.void(B, types.intp, types.intp, X, places, root, scale), partial(
            call, write, "transpose"
        )

    def plain(B, b, p, X, places, root, scale):
        lanes = BYTES // X.itemsize
        down, across = slice(p, p + lanes), slice(b, b + lanes)
        rows = X[places[down], across] * scale[across] * root[down, None]
        B[across, down] = rows.T

    return plain if PLAIN else tile


def factor_block():
    """Factor the BLOCK rows and columns of G from a on, and substitute them forward in w.

    As U' D U with a unit U, whose chain of dependent operations has no square root: U[q, r] for
    q < r goes to L[base:] with its sign turned, D^-1/2 to `inverse`, D^-1/2 U^-T w to z. False if a
    pivot is not above its limit.
    """

    def write(code, G, base, a, L, limit, w, z, inverse):
        span, one = range(BLOCK), ir.Constant(code.scalar, 1.0)
        at, columns = code.rows(code.builder.add(base, a), BLOCK), code.rows(a, BLOCK)
        u = [[G.scalar(at[r], columns[q]) if q >= r else None for q in span] for r in span]
        t = [w.scalar(row) for row in at]
        good = ir.Constant(ir.IntType(1), 1)
        for r in span:
            good = code.builder.and_(
                good, code.builder.fcmp_ordered(">", u[r][r], limit.scalar(at[r]))
            )
            reciprocal = code.builder.fdiv(one, u[r][r])
            for i in range(r + 1, BLOCK):
                turned = code.builder.fneg(code.builder.fmul(u[r][i], reciprocal))
                L.store(turned, code.plus(base, r), INDEX(i))
                for q in range(i, BLOCK):
                    u[i][q] = code.fma(turned, u[r][q], u[i][q])
                t[i] = code.fma(turned, t[r], t[i])
            root = code.sqrt(reciprocal)
            inverse.store(root, at[r])
            z.store(code.builder.fmul(t[r], root), at[r])
        return good

    @intrinsic
    def block(typingctx, G, base, a, L, limit, w, z, inverse):
        return types.boolean(G, types.intp, types.intp, L, limit, w, z, inverse), partial(
            call, write, "factor"
        )

    def plain(G, base, a, L, limit, w, z, inverse):
        at = slice(base + a, base + a + BLOCK)
        square, t, good = np.triu(G[at, a : a + BLOCK]), w[at].copy(), True
        for r in range(BLOCK):
            pivot, row = square[r, r], square[r, r + 1 :]
            if not pivot > limit[base + a + r]:
                pivot, good = 1, False  # the compiled code goes on with what it got
            L[base + r, r + 1 :] = turned = -row / pivot
            square[r + 1 :, r + 1 :] += np.triu(np.outer(turned, row))
            t[r + 1 :] += turned * t[r]
            inverse[base + a + r] = np.sqrt(1 / pivot)
        z[at] = t * inverse[at]
        return good

    return plain if PLAIN else block


def solve_tile():
    """One vector of columns of the BLOCK rows from a on, solved with the block's factor.

    Their share is taken off the right-hand side w as well.
    """

    def write(code, G, base, a, b, L, inverse, z, w):
        place = code.builder.add(base, b)
        solved: list[ir.Value] = []
        rest = w.vector(place)
        for r, row in enumerate(code.rows(code.builder.add(base, a), BLOCK)):
            value = G.vector(row, b)
            for q in range(r):
                value = code.fma(L.splat(code.plus(base, q), INDEX(r)), solved[q], value)
            solved.append(value)
            value = code.builder.fmul(value, inverse.splat(row))
            G.store(value, row, b)
            rest = code.fma(code.builder.fneg(z.splat(row)), value, rest)
        w.store(rest, place)

    @intrinsic
    def tile(typingctx, G, base, a, b, L, inverse, z, w):
        integer = types.intp
        return types.void(G, integer, integer, integer, L, inverse, z, w), partial(
            call, write, "solve"
        )

    def plain(G, base, a, b, L, inverse, z, w):
        at, span = slice(base + a, base + a + BLOCK), slice(b, b + BYTES // G.itemsize)
        block = G[at, span]
        for r in range(BLOCK):
            block[r] += L[base : base + r, r] @ block[:r]
        block *= inverse[at, None]
        w[base + b : base + span.stop] -= z[at] @ block

    return plain if PLAIN else tile


def back_block():
    """w[a:a+BLOCK] from U w = z, U the upper triangle of G, once w[a+BLOCK:] is known.

    b is a's vector of columns, `width` that of G.
    """

    def write(code, G, base, a, b, z, inverse, w, width):
        at, columns = code.rows(code.builder.add(base, a), BLOCK), code.rows(a, BLOCK)
        known = code.splat(code.plus(a, BLOCK))
        offsets = ir.Constant(ir.VectorType(INDEX, code.lanes), list(range(code.lanes)))

        def products(b, running):
            # what lies below the diagonal is not zero, nor need it be finite
            mask = code.builder.icmp_signed(">=", code.builder.add(code.splat(b), offsets), known)
            solved = code.builder.select(mask, w.vector(code.builder.add(base, b)), code.zero)
            rows = [code.builder.select(mask, G.vector(row, b), code.zero) for row in at]
            return [code.fma(row, solved, part) for row, part in zip(rows, running, strict=True)]

        sums = code.loop([code.zero] * BLOCK, b, width, products, code.lanes)
        t = [
            code.builder.fsub(z.scalar(row), code.total(part))
            for row, part in zip(at, sums, strict=True)
        ]
        for r in reversed(range(BLOCK)):
            value = code.builder.fmul(t[r], inverse.scalar(at[r]))
            w.store(value, at[r])
            for q in range(r):
                t[q] = code.fma(code.builder.fneg(G.scalar(at[q], columns[r])), value, t[q])

    @intrinsic
    def block(typingctx, G, base, a, b, z, inverse, w, width):
        integer = types.intp
        return types.void(G, integer, integer, integer, z, inverse, w, integer), partial(
            call, write, "back"
        )

    def plain(G, base, a, b, z, inverse, w, width):
        for r in range(a + BLOCK - 1, a - 1, -1):
            later = slice(r + 1, width)
            known = G[base + r, later] @ w[base + r + 1 : base + width]
            w[base + r] = (z[base + r] - known) * inverse[base + r]

    return plain if PLAIN else block
