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

Speed comes from `tiles`. X comes `padded`, its columns by zeros to whole tiles, and of a Gram
matrix the upper triangle counts, by rows. Some rows are solved together, because the factorization
of one small matrix is a chain of operations that wait for each other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import gathers, tiles, vectors
from ._jit import inlined, kernel
from .vectors import aligned

TILES = "b4bc92276208"  # digest of the tiles, whose changes must renew the kernels cached here
BLOCK, BYTES, TALL, WIDE = vectors.BLOCK, vectors.BYTES, vectors.TALL, vectors.WIDE
PANEL = 1 << 14  # bytes of the entries' rows of X that stay in the first-level cache
TOGETHER = 1 << 15  # bytes of the Gram matrices that are factored together
SINGULAR = 1e-10  # relative pivot below which a solution has too few digits left to descend by
ROTATION = 2.2e-16  # relative rounding of the rotation to the eigenbasis, made in float64

_lanes, _turns, _whole = vectors.lanes_count(), inlined(vectors.turns), inlined(vectors.whole)
_diagonal, _diagonal_weighted = tiles.diagonal_tile(False), tiles.diagonal_tile(True)
_add_wide, _add_narrow = tiles.outer_tile(TALL, WIDE, 1), tiles.outer_tile(16, 1, 1)
_eliminate_wide, _eliminate_narrow = tiles.outer_tile(TALL, WIDE, -1), tiles.outer_tile(TALL, 1, -1)
_prefetch = gathers.prefetch_tile()
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
    D: Any  # diagonal
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
def _gram(systems, panel, w, row, base, X, width, indices, t, span, weighted, fresh):
    """Wrapped and off-diagonal blocks of sum s x x' over entries lo..hi; w[base:] += sum t x."""
    lanes, (first, lo, hi) = _lanes(X), span
    G, (C, P, Q, s, _) = systems.G, panel
    for b in range(0, width, lanes):
        if weighted:
            _diagonal_weighted(C, row, b, base, w, X, indices, s, t, P, Q, first, lo, hi, fresh)
        else:
            _diagonal(C, row, b, base, w, X, indices, s, t, P, Q, first, lo, hi, fresh)
        row += _turns(lanes)
    scaled = Q if weighted else P
    for a in range(0, width - lanes, lanes):
        b = a + lanes
        while b + WIDE * lanes <= width:
            for down in range(a, a + lanes, min(TALL, lanes)):
                _add_wide(G, base, down, b, P, scaled, 0, hi - lo, fresh)
            b += WIDE * lanes
        while b < width:
            _add_narrow(G, base, a, b, P, scaled, 0, hi - lo, fresh)
            b += lanes


@inlined
def _eliminate(G, base, a, first, width):
    """Bring the BLOCK rows from a on up to date with all rows above them."""
    lanes = _lanes(G)
    for row in range(a, a + BLOCK, min(TALL, lanes)):
        b = first
        while b + WIDE * lanes <= width:
            _eliminate_wide(G, base, row, b, G, G, base, base + a, False)
            b += WIDE * lanes
        while b < width:
            _eliminate_narrow(G, base, row, b, G, G, base, base + a, False)
            b += lanes


@kernel
def _solve_systems(count, width, systems, tolerance):
    """Solve the first `count` systems G x = w by Cholesky factorization, in place.

    A pivot vanishes against its own diagonal entry, which no scaling of the columns changes, and
    against the `limit` that is given.
    """
    G, w, D, limit, z, inverse, L, good, _ = systems
    lanes = _lanes(G)
    for k in range(count * width):
        limit[k] = max(limit[k], tolerance * D[k])
    good[:] = 1
    for a in range(0, width, BLOCK):
        first = a // lanes * lanes
        for base in range(0, count * width if a > 0 else 0, width):
            _eliminate(G, base, a, first, width)
        for q in range(count):
            if not _factor(G, q * width, a, L, limit, w, z, inverse):
                good[q] = 0
        for base in range(0, count * width, width):
            for b in range(first, width, lanes):
                _solve_columns(G, base, a, b, L, inverse, z, w)
    w[: count * width] = 0
    for a in range(width - BLOCK, -1, -BLOCK):
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
def _primal(i, entries, fixed, X, q, systems, panel):
    """System q becomes that of row i, of which D and w are begun."""
    indptr, indices, y, c, u, _ = entries
    width, lanes = X.shape[1], _lanes(X)
    lo, end, base = indptr[i], indptr[i + 1], q * width
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
        _gram(systems, panel, systems.w, row, base, X, width, indices, t, span, weighted, fresh)
        fresh = False
        lo = hi
    if width > lanes:
        for b in range(0, width, lanes):
            _unwrap(systems.G, base, b, row, panel.C, systems.D)
            row += _turns(lanes)


@inlined
def _dual(i, entries, fixed, X, rank, D, base, floor, tolerance, short, panel, systems, out):
    """Solve row i through its (entries x entries) system; 0 solved, 1 singular, 2 not applicable.

    With B as `Short` has it and d = max D:  (B'B + d I) alpha = t / sqrt(s),
    w = sqrt(d/D) B alpha.
    """
    B, place, order, root, scale = short
    s, t, lanes, zero = panel.s, panel.t, _lanes(X), D.dtype.type(0)
    lo, count = entries.indptr[i], entries.indptr[i + 1] - entries.indptr[i]
    top = low = D[base]
    for k in range(base, base + rank):
        top, low = max(top, D[k]), min(low, D[k])
    if low <= floor and top > 0:
        return 2
    _weigh(i, lo, lo + count, entries, fixed, s, t)
    for p in range(count if entries.u.size > 0 else 0):
        if s[p] < entries.u[i] * entries.v[entries.indices[lo + p]] * s.dtype.type(0.01):
            return 2
    size = _whole(count, lanes)
    for p in range(size):
        within = p < count
        if within and not s[p] > 0:
            return 2  # it has no square root, or the system no such row
        place[p] = entries.indices[lo + p] if within else entries.indices[lo]
        root[p] = np.sqrt(s[p]) if within else zero
        systems.w[p] = t[p] / root[p] if within else zero
        systems.D[p] = top if within else 1
        systems.limit[p] = zero
    for k in range(rank):
        scale[k] = np.sqrt(top / D[base + k]) if top > low else 1
    for b in range(0, X.shape[1], lanes):
        for p in range(0, size, lanes):
            _transpose(B, b, p, X, place, root, scale)
    gathered = Panel(panel.C, B, B, s, t)
    _gram(systems, gathered, systems.z, 0, 0, B, size, order, s, (0, 0, rank), False, True)
    for d in range(size // lanes):
        _unwrap(systems.G, 0, d * lanes, d * _turns(lanes), panel.C, systems.D)
    _solve_systems(1, size, systems, tolerance)
    for k in range(rank):
        out[i, k] = 0
    for p in range(count):
        pull, j = systems.w[p] * root[p], place[p]
        for k in range(rank):
            out[i, k] += pull * X[j, k]
    for k in range(rank):
        out[i, k] *= scale[k] * scale[k]
    return 0 if systems.good[0] > 0 else 1


@inlined
def _begin(i, u, lam, reg, start, rank, base, width, D, w):
    """Write the diagonal and the right-hand side that row i begins from; the pivots' floor."""
    floor = D.dtype.type(0)
    for k in range(width):
        D[base + k] = reg[i] if k < rank else 1
        w[base + k] = 0
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
        _solve_systems(count, width, systems, tolerance)
    for q in range(count):
        i = systems.row[q]
        failed[i] = systems.good[q] == 0
        for k in range(rank):
            out[i, k] = systems.w[q * width + k]


@kernel
def solve(entries, fixed, X, rank, lam, reg, start, lo, hi, room, out, failed):
    """Write the exact minimiser of rows lo..hi to `out`; mark the singular ones in `failed`.

    X is `vectors.padded`, `rank` its columns before that. Short rows are solved one by one in
    their dual form, the others some together.
    """
    systems, panel, short, alone = room
    indptr, u = entries.indptr, entries.u
    width, lanes = X.shape[1], _lanes(X)
    tolerance = out.dtype.type(max(4 * rank * np.finfo(out.dtype).eps, SINGULAR))
    waiting = 0
    for i in range(lo, hi):
        base, count = waiting * width, indptr[i + 1] - indptr[i]
        D, w = systems.D, systems.w
        floor = _begin(i, u, lam, reg, start, rank, base, width, D, w)
        state = 2
        if count == 0:
            state = 0
            for k in range(base, base + rank):
                known = D[k] > floor
                out[i, k - base] = w[k] / D[k] if known else D.dtype.type(0)
                state = state if known or u.size == 0 else 1
        elif count < rank and start.size == 0 and (_whole(count, lanes) < width or D[base] == 0):
            state = _dual(
                i, entries, fixed, X, rank, D, base, floor, tolerance, short, panel, alone, out
            )
        if state < 2:
            failed[i] = state == 1
        else:
            _primal(i, entries, fixed, X, waiting, systems, panel)
            systems.row[waiting] = i
            if width == lanes:
                systems.limit[waiting] = floor
            else:
                systems.limit[base : base + width] = floor
            waiting += 1
        if waiting == systems.row.size or (waiting > 0 and i == hi - 1):
            _finish(waiting, rank, width, systems, panel, tolerance, out, failed)
            waiting = 0


@inlined
def _unpack(packed, reg, out, i, q, width, systems, C):
    """System q becomes that of row i, a packed lower triangle plus reg I."""
    rank, lanes, base = out.shape[1], _lanes(C), q * width
    G, D, w, e, row = systems.G, systems.D, systems.w, 0, q * _turns(lanes)
    for a in range(width):
        D[base + a] = reg[i] if a < rank else 1
        w[base + a] = out[i, a] if a < rank else 0
        for b in range(a + 1):
            value = packed[i, e] if a < rank else G.dtype.type(0)
            e += 1
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
    tolerance = out.dtype.type(max(4 * rank * np.finfo(out.dtype).eps, SINGULAR))
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
