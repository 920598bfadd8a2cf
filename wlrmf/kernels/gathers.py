"""Tiles that gather rows of a factor: many dot products with one row, and weighted sums of rows."""

from __future__ import annotations

from functools import partial

from numba import types
from numba.extending import intrinsic

from ._jit import inlined
from .vectors import BYTES, INDEX, PLAIN, call, lanes_count

FAR = 1 << 25  # bytes of a factor that no cache holds; for lesser ones fetching ahead costs time


def prefetch_tile():
    """Bring rows indices[lo:hi] of X towards the caches, their first `size` columns; hi > lo."""

    def write(code, X, size, indices, lo, hi):
        def row(e, _):
            j = indices.integer(e)

            def line(b, _):
                X.prefetch(j, b)
                return []

            return code.loop([], INDEX(0), size, line, 512 // code.bits)

        code.loop([], lo, hi, row)

    @intrinsic
    def tile(typingctx, X, size, indices, lo, hi):
        n = types.intp
        return types.void(X, n, indices, n, n), partial(call, write, "prefetch")

    def plain(X, size, indices, lo, hi):
        pass

    return plain if PLAIN else tile


def dots_tile():
    """out[e - lo] = W[i, k:k+size] . X[indices[e], b:b+size] for e in lo..hi, hi > lo.

    `lanes` entries at a time, whose sums over lanes are those of a transpose; so `out` must have
    room for whole vectors.
    """

    def write(code, out, W, i, k, X, b, size, indices, lo, hi):
        builder, span = code.builder, range(code.lanes)
        last = code.plus(hi, -1)

        def group(e, _):
            places = [code.least(entry, last) for entry in code.rows(e, code.lanes)]
            rows = [indices.integer(place) for place in places]

            def products(c, running):
                w, at = W.vector(i, builder.add(k, c)), builder.add(b, c)
                return [
                    code.fma(w, X.vector(row, at), total)
                    for row, total in zip(rows, running, strict=True)
                ]

            sums = code.loop([code.zero for _ in span], INDEX(0), size, products, code.lanes)
            out.store(code.tree(code.transpose(sums)), builder.sub(e, lo))
            return []

        code.loop([], lo, hi, group, code.lanes)

    @intrinsic
    def tile(typingctx, out, W, i, k, X, b, size, indices, lo, hi):
        n = types.intp
        return types.void(out, W, n, n, X, n, n, indices, n, n), partial(call, write, "dots")

    def plain(out, W, i, k, X, b, size, indices, lo, hi):
        out[: hi - lo] = X[indices[lo:hi], b : b + size] @ W[i, k : k + size]

    return plain if PLAIN else tile


def combine_tile(wide):
    """out[i, b:] = (out or 0) + sum of t[e - first] X[indices[e], b:] over e in lo..hi, hi > lo.

    `wide` vectors of columns.
    """

    def write(code, out, i, b, X, indices, t, first, lo, hi, fresh):
        across = [code.plus(b, c * code.lanes) for c in range(wide)]
        sums = [code.builder.select(fresh, code.zero, out.vector(i, c)) for c in across]

        def products(e, running):
            row, pull = indices.integer(e), t.splat(code.builder.sub(e, first))
            return [
                code.fma(pull, X.vector(row, c), total)
                for c, total in zip(across, running, strict=True)
            ]

        for c, value in zip(across, code.loop(sums, lo, hi, products), strict=True):
            out.store(value, i, c)

    @intrinsic
    def tile(typingctx, out, i, b, X, indices, t, first, lo, hi, fresh):
        n = types.intp
        signature = types.void(out, n, n, X, indices, t, n, n, n, types.boolean)
        return signature, partial(call, write, f"combine{wide}")

    def plain(out, i, b, X, indices, t, first, lo, hi, fresh):
        across = slice(b, b + wide * BYTES // X.itemsize)
        total = t[lo - first : hi - first] @ X[indices[lo:hi], across]
        out[i, across] = total + (0 if fresh else out[i, across])

    return plain if PLAIN else tile


def fetch_rows():
    """Have the rows of the panel of entries from `lo` on on their way, if they come from memory."""
    prefetch = prefetch_tile()

    @inlined
    def fetch(X, indices, lo, depth):
        hi = min(lo + depth, indices.size)
        if hi > lo and X.nbytes > FAR:
            prefetch(X, X.shape[1], indices, lo, hi)

    return fetch


def combine_rows():
    """out[i, b:width] = (out or 0) + sum of t x over entries lo..hi; t begins with `first`."""
    lanes_of, four, one = lanes_count(), combine_tile(4), combine_tile(1)

    @inlined
    def combine(out, i, b, width, X, indices, t, first, lo, hi, fresh):
        lanes = lanes_of(X)
        while b + 4 * lanes <= width:
            four(out, i, b, X, indices, t, first, lo, hi, fresh)
            b += 4 * lanes
        while b < width:
            one(out, i, b, X, indices, t, first, lo, hi, fresh)
            b += lanes

    return combine
