"""The largest inner products of each query with the items, and where given items rank among all.

A block of items is packed, transposed, into panels as wide as a tile; a tile is the scores of a few
queries and one panel, made in registers, and tells by a bit which of them are above each query's
floor, the least score that its list still holds. Only those are looked at one by one. The scores of
a tile are overwritten by the next tile's.

While a list fills, nearly all scores are above its floor. So of the first block the scores are kept
until a better floor is known: of the largest scores of `wide` groups of items the n-th largest is
one, because n items reach it.

Whatever its place in a tile, a score is the same chain of operations, s = fma(left[i, e],
right[j, e], s) for e = 0, 1, ... from s = 0, in a lane of its own: nothing is ever added across
lanes or split. So its bits depend on the two rows alone.

Items come in ascending order, so that of equal scores the earlier ones stay, and one pointer a
query walks along the items to be skipped. Lists grow in their own place in the output: short ones
sorted, long ones as lists with the worst at the root, lower score, or same score and larger index.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from . import vectors
from ._jit import inlined, kernel
from .vectors import BYTES, INDEX, PLAIN, TALL, WIDE, call

TILES = "005c848e8a14"  # digest of the tiles, whose changes must renew the kernels cached here
CACHE = 1 << 18  # bytes of a packed block of items, which stays in the second-level cache
KEPT = 512  # items whose scores are kept at first
SHORT = 32  # entries of lists that are kept sorted

_NONE = np.empty(0, np.int64)
_lanes = vectors.lanes_count()


class Room(NamedTuple):
    """What a thread works in: a packed block of items, which they are, and a tile's results."""

    packed: np.ndarray
    places: np.ndarray
    scores: np.ndarray
    masks: np.ndarray
    largest: np.ndarray


class Growing(NamedTuple):
    """Lists in the making: list i has room for entries indptr[i]..indptr[i + 1].

    `floor` is what a score must be above, -inf while there is room, inf where there is none at all;
    `filled` how many there are; `at` the place among the skipped.
    """

    indptr: np.ndarray
    items: np.ndarray
    scores: np.ndarray
    floor: np.ndarray
    filled: np.ndarray
    at: np.ndarray


def width(dtype: Any) -> int:
    """Items of a panel."""
    return WIDE * BYTES // np.dtype(dtype).itemsize


def room(count: int, size: int, dtype: Any, whole_rows: bool = False) -> Room:
    """For blocks of at most `count` items of so many columns, and for the scores of some or all."""
    wide, itemsize = width(dtype), np.dtype(dtype).itemsize
    most = max(1, CACHE // (size * itemsize * wide))
    panels = max(1, min(most, -(-count // wide)))
    kept = panels if whole_rows else min(panels, max(1, KEPT // wide))
    return Room(
        vectors.aligned(panels * size, wide, dtype),
        np.zeros(panels * wide, np.int64),
        vectors.aligned(TALL, (kept + 1) * wide, dtype),  # rows a power of 2 apart would collide
        np.zeros(TALL, np.int64),
        np.zeros(wide, dtype),
    )


def score_tile():
    """S[:, b:] = scores of queries i.. and the panel at `row` of `packed`, over `size` columns.

    Bit c of masks[q] says whether S[q, b + c] > floor[i + q]; whether any is set. Query `last`
    stands in for those after it.
    """

    def write(code, S, b, left, i, last, packed, row, size, floor, masks):
        builder = code.builder
        rows = [code.least(query, last) for query in code.rows(i, TALL)]
        across = [INDEX(c * code.lanes) for c in range(WIDE)]

        def products(e, running):
            at = builder.add(row, e)
            items = [packed.vector(at, c) for c in across]
            queries = [left.splat(query, e) for query in rows]
            pairs = [(x, y) for x in queries for y in items]
            return [code.fma(x, y, z) for (x, y), z in zip(pairs, running, strict=True)]

        scores = code.loop([code.zero] * (TALL * WIDE), INDEX(0), size, products)
        found = INDEX(0)
        for q, query in enumerate(rows):
            limit, bits = floor.splat(query), INDEX(0)
            for c, score in enumerate(scores[q * WIDE : (q + 1) * WIDE]):
                S.store(score, INDEX(q), builder.add(b, across[c]))
                above = builder.fcmp_ordered(">", score, limit)
                above = builder.zext(builder.bitcast(above, ir.IntType(code.lanes)), INDEX)
                bits = builder.or_(bits, builder.shl(above, across[c]))
            masks.store(bits, INDEX(q))
            found = builder.or_(found, bits)
        return builder.icmp_signed("!=", found, INDEX(0))

    @intrinsic
    def tile(typingctx, S, b, left, i, last, packed, row, size, floor, masks):
        n = types.intp
        signature = types.boolean(S, n, left, n, n, packed, n, n, floor, masks)
        return signature, partial(call, write, "score")

    def plain(S, b, left, i, last, packed, row, size, floor, masks):
        rows = np.minimum(np.arange(i, i + TALL), last)
        scores = np.zeros((TALL, packed.shape[1]), S.dtype)
        for e in range(size):  # as in a lane: a matrix product may add in another order
            scores += left[rows, e][:, None] * packed[row + e]
        S[:, b : b + packed.shape[1]] = scores
        above = scores > floor[rows][:, None]
        masks[:] = above @ (1 << np.arange(packed.shape[1]))
        return above.any()

    return plain if PLAIN else tile


def reach_tile():
    """Bit c says whether S[q, b + c] >= bound, c an item of a panel."""

    def write(code, S, q, b, bound):
        builder, limit, bits = code.builder, code.splat(bound), INDEX(0)
        for c in range(WIDE):
            at = code.plus(b, c * code.lanes)
            reached = builder.fcmp_ordered(">=", S.vector(q, at), limit)
            reached = builder.zext(builder.bitcast(reached, ir.IntType(code.lanes)), INDEX)
            bits = builder.or_(bits, builder.shl(reached, INDEX(c * code.lanes)))
        return bits

    @intrinsic
    def tile(typingctx, S, q, b, bound):
        n = types.intp
        return types.int64(S, n, n, S.dtype), partial(call, write, "reach")

    def plain(S, q, b, bound):
        wide = width(S.dtype)
        return np.sum((S[q, b : b + wide] >= bound) * (1 << np.arange(wide)))

    return plain if PLAIN else tile


def pack_tile():
    """packed[row + e:, c:] = X[places[p:], e:]', a block of lanes x lanes."""

    def write(code, packed, row, c, X, e, places, p):
        rows = [X.vector(places.integer(place), e) for place in code.rows(p, code.lanes)]
        for k, vector in enumerate(code.transpose(rows)):
            packed.store(vector, code.builder.add(row, code.plus(e, k)), c)

    @intrinsic
    def tile(typingctx, packed, row, c, X, e, places, p):
        n = types.intp
        return types.void(packed, n, n, X, n, places, n), partial(call, write, "pack")

    def plain(packed, row, c, X, e, places, p):
        lanes = BYTES // X.itemsize
        block = X[places[p : p + lanes], e : e + lanes]
        packed[row + e : row + e + lanes, c : c + lanes] = block.T

    return plain if PLAIN else tile


def dot_code():
    """The score of left[i] and right[j], to the bit that of a tile."""

    def write(code, left, i, right, j, size):
        start = code.splat(ir.Constant(code.scalar, 0.0))

        def product(e, running):
            return [code.fma(left.splat(i, e), right.splat(j, e), running[0])]

        total = code.loop([start], INDEX(0), size, product)[0]
        return code.builder.extract_element(total, ir.IntType(32)(0))

    @intrinsic
    def dot(typingctx, left, i, right, j, size):
        n = types.intp
        return left.dtype(left, n, right, n, n), partial(call, write, "dot")

    def plain(left, i, right, j, size):
        total = left.dtype.type(0)
        for e in range(size):
            total += left[i, e] * right[j, e]
        return total

    return plain if PLAIN else dot


def lowest_bit():
    """The place of the lowest bit that is set in a number that is not 0."""

    @intrinsic
    def lowest(typingctx, bits):
        def code(context, builder, signature, args):
            return builder.cttz(args[0], ir.IntType(1)(1))

        return types.int64(types.int64), code

    def plain(bits):
        return (int(bits) & -int(bits)).bit_length() - 1

    return plain if PLAIN else lowest


_score, _reach, _pack_tile = score_tile(), reach_tile(), pack_tile()
_dot, _lowest = dot_code(), lowest_bit()


@inlined
def _pack(X, among, count, first, own):
    """Pack the candidates from `first` on; how many they are. The last one fills up its panel."""
    packed, places, wide, size = own.packed, own.places, own.packed.shape[1], X.shape[1]
    lanes = _lanes(X)
    taken = min(places.size, count - first)
    whole = (taken + wide - 1) // wide * wide
    for c in range(whole):
        k = first + min(c, taken - 1)
        places[c] = among[k] if among.size > 0 else k
    for c in range(0, whole, lanes):
        row, at = c // wide * size, c % wide
        if size < lanes:
            for e in range(size):
                for k in range(lanes):
                    packed[row + e, at + k] = X[places[c + k], e]
        else:
            for e in range(0, size, lanes):  # the last block may lie over the one before
                _pack_tile(packed, row, at, X, min(e, size - lanes), places, c)
    return taken


@inlined
def _sink(items, scores, base, size, k, score, item):
    """Put an entry at node k of a heap, or below where the nodes there are worse."""
    while 2 * k + 1 < size:
        child = base + 2 * k + 1
        if child + 1 < base + size and (
            scores[child + 1] < scores[child]
            or (scores[child + 1] == scores[child] and items[child + 1] > items[child])
        ):
            child += 1
        if scores[child] > score or (scores[child] == score and items[child] < item):
            break
        scores[base + k], items[base + k] = scores[child], items[child]
        k = child - base
    scores[base + k], items[base + k] = score, item


@inlined
def _insert(items, scores, base, filled, score, item):
    """Put an entry, which is after all others of its score, into a sorted list of room for it."""
    k = base + filled
    while k > base and scores[k - 1] < score:
        scores[k], items[k] = scores[k - 1], items[k - 1]
        k -= 1
    scores[k], items[k] = score, item


@inlined
def _offer(lists, i, score, item):
    """Take an item that is above the floor of list i."""
    indptr, items, scores, floor, filled, _ = lists
    base, size, count = indptr[i], indptr[i + 1] - indptr[i], filled[i]
    if size <= SHORT:
        count = min(count + 1, size)
        _insert(items, scores, base, count - 1, score, item)
        if count == size:
            floor[i] = scores[base + size - 1]
        filled[i] = count
    elif count == size:
        _sink(items, scores, base, size, 0, score, item)
        floor[i] = scores[base]
    else:
        scores[base + count], items[base + count] = score, item
        filled[i] = count + 1
        if count + 1 == size:
            for k in range(size // 2 - 1, -1, -1):
                _sink(items, scores, base, size, k, scores[base + k], items[base + k])
            floor[i] = scores[base]


@inlined
def _best_first(items, scores, base, size):
    """Sort a heap: what is worst goes last."""
    for last in range(size - 1, 0, -1):
        score, item = scores[base + last], items[base + last]
        scores[base + last], items[base + last] = scores[base], items[base]
        _sink(items, scores, base, last, 0, score, item)


@inlined
def _hide(row, places, taken, listed, skipped, e, end):
    """Put -inf, which is above and beside nothing, where skipped items are in a block.

    The entry of `skipped` after those of the block. `listed`: the items are not consecutive.
    """
    c, last = 0, places[taken - 1]
    while e < end and skipped[e] <= last:
        item = skipped[e]
        if listed:
            while places[c] < item:
                c += 1
            if places[c] == item:
                row[c] = -np.inf
        elif item >= places[0]:
            row[item - places[0]] = -np.inf
        e += 1
    return e


@inlined
def _bound(row, whole, largest, size):
    """A score that `size` of a row's scores reach, or -inf."""
    wide, bound = largest.size, -np.inf
    if size > wide:
        return bound
    for g in range(wide):
        largest[g] = row[g]
    for p in range(wide, whole, wide):
        for g in range(wide):
            largest[g] = max(largest[g], row[p + g])
    for g in range(wide):
        others = 0
        for k in range(wide):
            others += largest[k] >= largest[g]
        if others >= size and largest[g] > bound:
            bound = largest[g]
    return bound


@inlined
def _take_kept(own, taken, listed, skipped, end, q, i, lists):
    """Take what list i needs from a block whose scores are kept in row q."""
    S, wide = own.scores, own.packed.shape[1]
    row, whole = S[q], (taken + wide - 1) // wide * wide
    row[taken:whole] = -np.inf
    lists.at[i] = _hide(row, own.places, taken, listed, skipped, lists.at[i], end)
    bound = _bound(row, whole, own.largest, lists.indptr[i + 1] - lists.indptr[i])
    for p in range(0, whole, wide):
        bits = _reach(S, q, p, bound)
        while bits != 0:
            c = p + _lowest(bits)
            bits &= bits - 1
            if row[c] > lists.floor[i]:
                _offer(lists, i, row[c], own.places[c])


@inlined
def _take_tile(own, p, taken, skipped, end, q, i, lists):
    """Take what list i needs from row q of a tile, the panel from item p on."""
    bits = own.masks[q]
    while bits != 0:
        c = _lowest(bits)
        bits &= bits - 1
        score = own.scores[q, c]
        if p + c < taken and score > lists.floor[i]:
            item, e = own.places[p + c], lists.at[i]
            while e < end and skipped[e] < item:
                e += 1
            lists.at[i] = e
            if e == end or skipped[e] != item:
                _offer(lists, i, score, item)


@kernel
def top(left, right, among, count, skip, lo, hi, own, lists):
    """Fill and sort the lists of queries lo..hi from `count` candidates, `among` or all of them.

    `skip` is a pair of CSR arrays, or of empty ones.
    """
    indptr, skipped = skip
    S, floor, masks = own.scores, lists.floor, own.masks
    wide, size, listed = own.packed.shape[1], right.shape[1], among.size > 0
    for first in range(0, count, own.places.size):
        taken = _pack(right, among, count, first, own)
        kept = min(taken, S.shape[1] - wide) if first == 0 else 0
        for i in range(lo, hi, TALL):
            for p in range(0, kept, wide):
                _score(S, p, left, i, hi - 1, own.packed, p // wide * size, size, floor, masks)
            for k in range(i, min(i + TALL, hi) if kept > 0 else i):
                end = indptr[k + 1] if indptr.size > 0 else 0
                _take_kept(own, kept, listed, skipped, end, k - i, k, lists)
            for p in range(kept, taken, wide):
                row = p // wide * size
                if _score(S, 0, left, i, hi - 1, own.packed, row, size, floor, masks):
                    for k in range(i, min(i + TALL, hi)):
                        end = indptr[k + 1] if indptr.size > 0 else 0
                        _take_tile(own, p, taken, skipped, end, k - i, k, lists)
    for i in range(lo, hi):
        base = lists.indptr[i]
        if lists.indptr[i + 1] - base > SHORT:
            _best_first(lists.items, lists.scores, base, lists.indptr[i + 1] - base)


@kernel
def count_members(indptr, indices, member, lo, hi, counts):
    """How many of each row's entries are members."""
    for i in range(lo, hi):
        total = 0
        for e in range(indptr[i], indptr[i + 1]):
            total += member[indices[e]]
        counts[i] = total


@kernel
def ranks(left, right, skip, targets, lo, hi, own, floor, at, results):
    """Add to each target of queries lo..hi how many other items score higher, and how many tie.

    Neither those to skip nor targets count. `floor` is inf for every query; at[i] are its places
    among the two; `results` has a score, and the two counts, an entry of the targets' indices.
    """
    (seen_indptr, seen), (indptr, wanted), (scores, higher, tied) = skip, targets, results
    wide, size, n_items, S = own.packed.shape[1], right.shape[1], right.shape[0], own.scores
    for i in range(lo, hi):
        for e in range(indptr[i], indptr[i + 1]):
            scores[e] = _dot(left, i, right, wanted[e], size)
    for first in range(0, n_items, own.places.size):
        taken = _pack(right, _NONE, n_items, first, own)
        for i in range(lo, hi, TALL):
            upper = min(i + TALL, hi)
            if indptr[i] == indptr[upper]:
                continue
            for p in range(0, taken, wide):
                row = p // wide * size
                _score(S, p, left, i, hi - 1, own.packed, row, size, floor, own.masks)
            for k in range(i, upper):
                row = S[k - i]
                end = seen_indptr[k + 1] if seen_indptr.size > 0 else 0
                at[k, 0] = _hide(row, own.places, taken, False, seen, at[k, 0], end)
                at[k, 1] = _hide(row, own.places, taken, False, wanted, at[k, 1], indptr[k + 1])
                for e in range(indptr[k], indptr[k + 1]):
                    score, above, beside = scores[e], 0, 0
                    for c in range(taken):
                        above += row[c] > score
                        beside += row[c] == score
                    higher[e] += above
                    tied[e] += beside
