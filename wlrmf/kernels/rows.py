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

Speed comes from `tiles`. X comes `padded`, zeros before its columns to whole vectors, and of a Gram
matrix the upper triangle counts, by rows: the rows of the padding come first and are left out, so
that a rank a little above whole vectors costs a few rows more and not a vector of them. Some rows
are solved together, because the factorization of one small matrix is a chain of operations that
wait for each other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import gathers, tiles, vectors
from ._jit import inlined, kernel
from .vectors import aligned

TILES = "005c848e8a14"  # digest of the tiles, whose changes must renew the kernels cached here
BLOCK, BYTES, TALL = vectors.BLOCK, vectors.BYTES, vectors.TALL
PANEL = 1 << 14  # bytes of the entries' rows of X that stay in the first-level cache
TOGETHER = 1 << 15  # bytes of the Gram matrices that are factored together
# Relative pivot below which a solution has too few digits left: an error of 1e-6, some 1e-2 in
# float32, where the weights of a row leave hardly more heavy cells than unknowns
SINGULAR, SINGULAR_SINGLE = 1e-6, 1e-4
ROTATION = 2.2e-16  # relative rounding of the rotation to the eigenbasis, made in float64

_lanes, _turns, _whole = vectors.lanes_count(), inlined(vectors.turns), inlined(vectors.whole)
_diagonal, _diagonal_weighted = tiles.diagonal_tile(False), tiles.diagonal_tile(True)
_gather, _gather_weighted = tiles.diagonal_tile(False, True), tiles.diagonal_tile(True, True)
_add, _add_pair = tiles.strip(TALL, 1), tiles.strip(2, 1)
_subtract = tiles.strip(TALL, -1)
_prefetch, _combine = gathers.prefetch_tile(), gathers.combine_rows()
_unwrap, _transpose = tiles.unwrap_tile(), tiles.transpose_tile()
_factor, _solve_columns = tiles.factor_block(), tiles.solve_tile()
_back_substitute, _solve_lanes = tiles.back_block(), tiles.lanes_block()


class Entries(NamedTuple):
    """The stored cells by rows, and the baseline weight of all cells."""

    indptr: Any
    indices: Any
    y: Any
    c: Any
    u: Any
    v: Any


class Systems(NamedTuple):
    """Systems that are solved together: number q has rows q width.. of each array."""

    G: Any  # the upper triangle counts
    w: Any  # right-hand side, then solution
    D: Any  # diagonal, 1 in the padding
    limit: Any  # pivots at or below it vanish
    z: Any  # D^-1/2 U^-T w
    inverse: Any  # D^-1/2
    L: Any  # the block's factor
    good: Any  # number q: whether no pivot vanished
    row: Any  # number q: of which row it is


class Panel(NamedTuple):
    """What is gathered from a few entries."""

    C: Any  # diagonal blocks, wrapped
    P: Any  # x
    Q: Any  # s x
    s: Any
    t: Any


class Short(NamedTuple):
    """What the dual form of a short row needs."""

    B: Any  # sqrt(s) x sqrt(d/D), an entry a column
    place: Any  # the entries' rows of X
    order: Any  # 0, 1, 2, ...
    root: Any  # sqrt(s)
    scale: Any  # sqrt(d/D)


def _together(width: int, itemsize: int) -> int:
    """How many systems are worth solving together: a system a lane if each is one block."""
    if width * itemsize == BYTES:
        return width
    return max(1, min(4, TOGETHER // (width * width * itemsize)))


def _systems(count: int, width: int, dtype: Any) -> Systems:
    rows = count * width
    w, D, limit, z, inverse = np.zeros((5, rows), dtype)
    G, L, good = aligned(rows, width, dtype), aligned(rows, BLOCK, dtype), np.zeros(count, dtype)
    return Systems(G, w, D, limit, z, inverse, L, good, np.zeros(count, np.int64))


def _panel(depth: int, width: int, together: int, dtype: Any) -> Panel:
    lanes = BYTES // dtype.itemsize
    diagonals = together if width == lanes else width // lanes
    C = aligned(diagonals * vectors.turns(lanes), lanes, dtype)
    s, t = np.zeros((2, max(depth, width)), dtype)
    return Panel(C, aligned(depth, width, dtype), aligned(depth, width, dtype), s, t)


def room(X: np.ndarray, index: Any) -> tuple[Systems, Panel, Short, Systems]:
    """What `solve` works in, one for each thread; `index` is the type of the column indices."""
    width, dtype = X.shape[1], X.dtype
    together = _together(width, dtype.itemsize)
    depth = vectors.depth(width * dtype.itemsize, PANEL)
    place, order = np.zeros(width, index), np.arange(width, dtype=index)
    root, scale = np.zeros(width, dtype), np.ones(width, dtype)
    return (
        _systems(together, width, dtype),
        _panel(depth, width, together, dtype),
        Short(aligned(width, width, dtype), place, order, root, scale),
        _systems(1, width, dtype),
    )


@inlined
def _by_strips(skip, width, lanes):
    """Whether the first diagonal block that is not all zeros is at most half full and not alone.

    It has fewer rows than a wrapped block has turns: they are made with what is right of it.
    """
    return width > lanes and skip % lanes >= lanes // 2


@inlined
def _gram(systems, panel, w, row, base, skip, X, width, indices, t, span, weighted, fresh):
    """Wrapped and off-diagonal blocks of sum s x x' over entries lo..hi; w[base:] += sum t x.

    The first `skip` columns of X are zeros, and as many rows, or one less, are left out.
    """
    lanes, (first, lo, hi) = _lanes(X), span
    G, (C, P, Q, s, _) = systems.G, panel
    begin = skip // lanes * lanes
    wrapped = begin + lanes if _by_strips(skip, width, lanes) else begin
    for b in range(begin, width, lanes):
        if weighted and b < wrapped:
            _gather_weighted(C, row, b, base, w, X, indices, s, t, P, Q, first, lo, hi, fresh)
        elif weighted:
            _diagonal_weighted(C, row, b, base, w, X, indices, s, t, P, Q, first, lo, hi, fresh)
        elif b < wrapped:
            _gather(C, row, b, base, w, X, indices, s, t, P, Q, first, lo, hi, fresh)
        else:
            _diagonal(C, row, b, base, w, X, indices, s, t, P, Q, first, lo, hi, fresh)
        row += _turns(lanes)
    scaled, tall, a = Q if weighted else P, min(TALL, lanes), skip // 2 * 2
    while a < width - lanes:
        b = begin if a < wrapped else a // lanes * lanes + lanes
        if a % tall == 0:
            _add(G, base, a, b, width, P, scaled, 0, hi - lo, fresh)
            a += tall
        else:
            _add_pair(G, base, a, b, width, P, scaled, 0, hi - lo, fresh)
            a += 2


@inlined
def _settle(systems, C, row, base, skip, width, lanes):
    """Diagonal blocks of G from where `_gram` left them; D is added to the diagonal, and is it."""
    G, D, b = systems.G, systems.D, skip // lanes * lanes
    for k in range(skip // BLOCK * BLOCK, skip):
        G[base + k, k] = D[base + k]
    if _by_strips(skip, width, lanes):
        for k in range(skip, b + lanes):
            D[base + k] += G[base + k, k]
            G[base + k, k] = D[base + k]
        b += lanes
        row += _turns(lanes)
    for a in range(b, width, lanes):
        _unwrap(G, base, a, row, C, D)
        row += _turns(lanes)


@kernel
def _solve_systems(count, width, skip, systems, tolerance):
    """Solve the first `count` systems G x = w by Cholesky factorization, in place.

    The first `skip` unknowns are none: their rows are zeros but for the diagonal. A pivot vanishes
    against its own diagonal entry, which no scaling of the columns changes, and against the
    `limit` that is given.
    """
    G, w, D, limit, z, inverse, L, good, _ = systems
    lanes, begin = _lanes(G), skip // BLOCK * BLOCK
    tall = min(TALL, lanes)
    for k in range(count * width):
        limit[k] = max(limit[k], tolerance * D[k])
    good[:] = 1
    for a in range(begin, width, BLOCK):
        first = a // lanes * lanes
        for base in range(0, count * width if a > skip else 0, width):
            for row in range(a, a + BLOCK, tall):
                _subtract(G, base, row, first, width, G, G, base + skip, base + a, False)
        for q in range(count):
            if not _factor(G, q * width, a, L, limit, w, z, inverse):
                good[q] = 0
        for base in range(0, count * width, width):
            for b in range(first, width, lanes):
                _solve_columns(G, base, a, b, L, inverse, z, w)
    w[: count * width] = 0
    for a in range(width - BLOCK, begin - 1, -BLOCK):
        for base in range(0, count * width, width):
            _back_substitute(G, base, a, a // lanes * lanes, z, inverse, w, width)


@inlined
def _weigh(i, lo, hi, entries, fixed, s, t):
    """Weights s and t of entries lo..hi of row i: see the module's formula."""
    _, indices, y, c, u, v = entries
    Wfix, Xfix = fixed
    if c.size > 0:
        for e in range(lo, hi):
            s[e - lo], t[e - lo] = c[e], c[e] * y[e]
    else:
        for e in range(lo, hi):
            s[e - lo], t[e - lo] = 1, y[e]
    if u.size > 0:
        for e in range(lo, hi):
            s[e - lo] -= u[i] * v[indices[e]]
    for k in range(Wfix.shape[1]):
        for e in range(lo, hi):
            t[e - lo] -= s[e - lo] * Wfix[i, k] * Xfix[indices[e], k]


@inlined
def _primal(i, entries, fixed, X, rank, q, systems, panel):
    """System q becomes that of row i, of which D and w are begun."""
    indptr, indices, y, c, u, _ = entries
    width, lanes = X.shape[1], _lanes(X)
    lo, end, base, skip = indptr[i], indptr[i + 1], q * width, width - rank
    row = q * _turns(lanes) if width == lanes else 0
    weighted = c.size > 0 or u.size > 0
    fresh = True
    while lo < end:
        hi = min(lo + panel.P.shape[0], end)
        ahead = min(hi + panel.P.shape[0], indices.size)
        if width > lanes and ahead > hi:
            _prefetch(X, width, indices, hi, ahead)
        t, first = y, 0
        if weighted or fixed[0].shape[1] > 0:
            _weigh(i, lo, hi, entries, fixed, panel.s, panel.t)
            t, first = panel.t, lo
        span = first, lo, hi
        _gram(
            systems, panel, systems.w, row, base, skip, X, width, indices, t, span, weighted, fresh
        )
        fresh = False
        lo = hi
    if width > lanes:
        _settle(systems, panel.C, row, base, skip, width, lanes)


@inlined
def _dual(i, entries, fixed, X, rank, D, end, floor, tolerance, short, panel, systems, out):
    """Solve row i through its (entries x entries) system; 0 solved, 1 singular, 2 not applicable.

    With B as `Short` has it and d = max D:  (B'B + d I) alpha = t / sqrt(s),
    w = sqrt(d/D) B alpha. The last `rank` numbers before D's `end` are the row's.
    """
    B, place, order, root, scale = short
    s, t, lanes, zero = panel.s, panel.t, _lanes(X), D.dtype.type(0)
    lo, count = entries.indptr[i], entries.indptr[i + 1] - entries.indptr[i]
    width, begin = X.shape[1], X.shape[1] - rank
    top = low = D[end - 1]
    for k in range(end - rank, end):
        top, low = max(top, D[k]), min(low, D[k])
    if low <= floor and top > 0:
        return 2
    _weigh(i, lo, lo + count, entries, fixed, s, t)
    for p in range(count if entries.u.size > 0 else 0):
        if s[p] < entries.u[i] * entries.v[entries.indices[lo + p]] * s.dtype.type(0.01):
            return 2
    size = _whole(count, lanes)
    skip = size - count
    for p in range(size):
        e = max(p - skip, 0)
        if not s[e] > 0:
            return 2  # it has no square root, or the system no such row
        within = p >= skip
        place[p] = entries.indices[lo + e]
        root[p] = np.sqrt(s[e]) if within else zero
        systems.w[p] = t[e] / root[p] if within else zero
        systems.D[p] = top if within else 1
        systems.limit[p] = zero
    for k in range(begin, width):
        scale[k] = np.sqrt(top / D[end - width + k]) if top > low else 1
    for b in range(begin // lanes * lanes, width, lanes):
        for p in range(0, size, lanes):
            _transpose(B, b, p, X, place, root, scale)
    gathered, span, zeros = Panel(panel.C, B, B, s, t), (0, begin, width), skip // BLOCK * BLOCK
    _gram(systems, gathered, systems.z, 0, 0, zeros, B, size, order, s, span, False, True)
    _settle(systems, panel.C, 0, 0, zeros, size, lanes)
    _solve_systems(1, size, skip, systems, tolerance)
    for p in range(size):
        root[p] *= systems.w[p]
    _combine(B, 0, begin // lanes * lanes, width, X, place, root, 0, skip, size, True)
    for k in range(rank):
        out[i, k] = B[0, begin + k] * scale[begin + k] * scale[begin + k]
    return 0 if systems.good[0] > 0 else 1


@inlined
def _begin(i, u, lam, reg, start, rank, base, width, D, w):
    """Write the diagonal and the right-hand side that row i begins from; the pivots' floor."""
    floor, skip = D.dtype.type(0), width - rank
    for k in range(width):
        D[base + k] = 1 if k < skip else reg[i]
        w[base + k] = 0
    base += skip
    if u.size > 0:
        for k in range(rank):
            D[base + k] += u[i] * lam[k]
            floor = max(floor, D[base + k] * D.dtype.type(4 * rank * ROTATION))
    for k in range(start.shape[1]):
        w[base + k] = start[i, k]
    return floor


@inlined
def _finish(count, rank, width, systems, panel, tolerance, out, failed):
    """Solve the systems that wait and write the solutions."""
    if width == _lanes(out):
        _solve_lanes(panel.C, systems.D, systems.w, tolerance, systems.limit, systems.good)
    else:
        _solve_systems(count, width, width - rank, systems, tolerance)
    for q in range(count):
        i, end = systems.row[q], (q + 1) * width
        failed[i] = systems.good[q] == 0
        for k in range(rank):
            out[i, k] = systems.w[end - rank + k]


@kernel
def solve(entries, fixed, X, rank, lam, reg, start, lo, hi, room, out, failed):
    """Write the exact minimiser of rows lo..hi to `out`; mark the singular ones in `failed`.

    X is `vectors.padded`, `rank` its columns before that. Short rows are solved one by one in
    their dual form, the others some together.
    """
    systems, panel, short, alone = room
    indptr, u = entries.indptr, entries.u
    width, lanes = X.shape[1], _lanes(X)
    least = SINGULAR if out.itemsize == 8 else SINGULAR_SINGLE
    tolerance = out.dtype.type(max(4 * rank * np.finfo(out.dtype).eps, least))
    waiting = 0
    for i in range(lo, hi):
        base, count = waiting * width, indptr[i + 1] - indptr[i]
        end = base + width
        D, w = systems.D, systems.w
        floor = _begin(i, u, lam, reg, start, rank, base, width, D, w)
        state = 2
        if count == 0:
            state = 0
            for k in range(end - rank, end):
                known = D[k] > floor
                out[i, k - end + rank] = w[k] / D[k] if known else D.dtype.type(0)
                state = state if known or u.size == 0 else 1
        elif (
            count < rank
            and start.size == 0
            and (_whole(count, lanes) < width or D[end - rank] == 0)
        ):
            state = _dual(
                i, entries, fixed, X, rank, D, end, floor, tolerance, short, panel, alone, out
            )
        if state < 2:
            failed[i] = state == 1
        else:
            _primal(i, entries, fixed, X, rank, waiting, systems, panel)
            systems.row[waiting] = i
            if width == lanes:
                systems.limit[waiting] = floor
            else:
                systems.limit[base:end] = floor
            waiting += 1
        if waiting == systems.row.size or (waiting > 0 and i == hi - 1):
            _finish(waiting, rank, width, systems, panel, tolerance, out, failed)
            waiting = 0


@inlined
def _unpack(packed, reg, out, i, q, width, systems, C):
    """System q becomes that of row i, a packed lower triangle plus reg I."""
    rank, lanes, base = out.shape[1], _lanes(C), q * width
    G, D, w, e, row = systems.G, systems.D, systems.w, 0, q * _turns(lanes)
    skip = width - rank
    for a in range(width):
        D[base + a] = 1 if a < skip else reg[i]
        w[base + a] = 0 if a < skip else out[i, a - skip]
        for b in range(a + 1):
            value = packed[i, e] if b >= skip else G.dtype.type(0)
            e += b >= skip
            if width > lanes:
                G[base + b, a] = value
            elif a - b <= lanes // 2:
                C[row + a - b, b] = value
            if width == lanes and a - b >= lanes // 2:
                C[row + lanes - a + b, a] = value
        if width > lanes:
            D[base + a] += G[base + a, a]
            G[base + a, a] = D[base + a]


@kernel
def _solve_packed(packed, reg, systems, panel, out, failed):
    rank, width = out.shape[1], systems.G.shape[1]
    together = systems.row.size
    least = SINGULAR if out.itemsize == 8 else SINGULAR_SINGLE
    tolerance = out.dtype.type(max(4 * rank * np.finfo(out.dtype).eps, least))
    for first in range(0, out.shape[0], together):
        count = min(together, out.shape[0] - first)
        systems.limit[:] = 0
        for q in range(count):
            _unpack(packed, reg, out, first + q, q, width, systems, panel.C)
            systems.row[q] = first + q
        _finish(count, rank, width, systems, panel, tolerance, out, failed)
        for i in range(first, first + count):
            largest, e = out.dtype.type(0), -1
            for a in range(rank):
                e += a + 1
                largest = max(largest, packed[i, e])
            if largest == 0:  # without an observed cell nothing is known of a row
                out[i], failed[i] = 0, False


def solve_packed(packed, reg, out, failed):
    """Solve one system a row, each Gram matrix packed by rows of its lower triangle.

    `out` holds the right-hand sides and receives the solutions.
    """
    dtype = out.dtype
    width = vectors.whole(out.shape[1], BYTES // dtype.itemsize)
    together = _together(width, dtype.itemsize)
    systems, panel = _systems(together, width, dtype), _panel(1, width, together, dtype)
    _solve_packed(packed, reg, systems, panel, out, failed)
