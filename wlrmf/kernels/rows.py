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

Speed comes from tiles: blocks of G that stay in vector registers while the entries stream by. The
tiles are LLVM code, written below; numba's own loops reach a fifth of their speed. X comes with
its columns padded by zeros to whole tiles (`padded`), and G is the upper triangle, by rows.
"""

from __future__ import annotations

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from ._jit import kernel

PANEL = 64  # entries whose rows of X stay in the first-level cache while the tiles pass over them
BLOCK = 8  # rows of G eliminated at a time
SINGULAR = 1e-10  # relative pivot below which a solution has too few digits left to descend by
ROTATION = 2.2e-16  # relative rounding of the rotation to the eigenbasis, made in float64


def _registers() -> tuple[int, int]:
    """Bytes of a vector register and rows of a tile that this processor has room for."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 8
    if features.get("avx"):
        return 32, 4  # 16 registers: 4 x 2 sums, 2 vectors, and the rest for loads
    return 16, 8 if "neon" in features else 4


BYTES, TALL = _registers()
PLAIN = bool(getattr(config, "DISABLE_JIT", False))  # then tiles are NumPy


def padded(X: np.ndarray) -> np.ndarray:
    """A copy of X on cache-line boundaries, its columns padded by zeros to whole tiles."""
    unit = max(BYTES // X.itemsize, BLOCK)
    n, rank = X.shape
    width = -(-rank // unit) * unit
    raw = np.empty(n * width + 64 // X.itemsize, X.dtype)
    skip = -raw.ctypes.data % 64 // X.itemsize
    out = raw[skip : skip + n * width].reshape(n, width)
    out[:, :rank], out[:, rank:] = X, 0
    return out


class _Vectors:
    """Vector loads, stores and products on arrays, as LLVM instructions."""

    def __init__(self, context, builder, dtype):
        self.builder, self.itemsize = builder, dtype.bitwidth // 8
        self.lanes = BYTES // self.itemsize
        self.scalar = context.get_data_type(dtype)
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.zero = ir.Constant(self.vector, None)

    def intrinsic(self, name, kind, arguments):
        suffix = f"v{self.lanes}" if kind is self.vector else ""
        name = f"llvm.{name}.{suffix}f{8 * self.itemsize}"
        known = self.builder.module.globals.get(name)
        return known or ir.Function(
            self.builder.module, ir.FunctionType(kind, [kind] * arguments), name
        )

    def fma(self, a, b, c):
        kind = self.vector if a.type == self.vector else self.scalar
        return self.builder.call(self.intrinsic("fma", kind, 3), [a, b, c])

    def sqrt(self, a):
        return self.builder.call(self.intrinsic("sqrt", self.scalar, 1), [a])

    def splat(self, a):
        empty = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(empty, a, ir.IntType(32)(0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, empty, lanes)

    def _pointer(self, array, row, column, stride, kind):
        offset = self.builder.add(self.builder.mul(row, stride), column)
        return self.builder.bitcast(self.builder.gep(array.data, [offset]), kind.as_pointer())

    def stride(self, array):
        """Elements from one row to the next."""
        return self.builder.sdiv(
            self.builder.extract_value(array.strides, 0), ir.IntType(64)(self.itemsize)
        )

    def load(self, array, row, column, stride, kind):
        at = self._pointer(array, row, column, stride, kind)
        return self.builder.load(at, align=self.itemsize)

    def store(self, value, array, row, column, stride):
        at = self._pointer(array, row, column, stride, value.type)
        self.builder.store(value, at, align=self.itemsize)


def _step(builder, base, by):
    return builder.add(base, ir.IntType(64)(by)) if by else base


def _sum_products(v, sums, first, last, products):
    """Loop e from first to last (at least once), adding `products(e)` to the phi nodes' `sums`."""
    builder, before = v.builder, v.builder.block
    loop, done = builder.append_basic_block(), builder.append_basic_block()
    builder.branch(loop)
    builder.position_at_end(loop)
    e = builder.phi(ir.IntType(64))
    e.add_incoming(first, before)
    running = []
    for value in sums:
        phi = builder.phi(v.vector)
        phi.add_incoming(value, before)
        running.append(phi)
    ends = products(e, running)
    following = _step(builder, e, 1)
    e.add_incoming(following, loop)
    for phi, value in zip(running, ends, strict=True):
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, last), loop, done)
    builder.position_at_end(done)
    return ends


def _add_outer(v, array, row, a, stride, right, running):
    """Sums plus the outer product of array[row, a:a+TALL] and the vectors `right`."""
    ends = []
    for r in range(TALL):
        left = v.splat(v.load(array, row, _step(v.builder, a, r), stride, v.scalar))
        sums = running[r * len(right) : (r + 1) * len(right)]
        ends += [v.fma(left, vector, total) for vector, total in zip(right, sums, strict=True)]
    return ends


def _gram_tile(wide, fresh):
    """G[a:a+TALL, b:] (+)= sum over e in lo..hi of s_e x_e x_e', `wide` vectors of columns."""

    def generate(context, builder, signature, args):
        G, X, indices, s = (
            context.make_array(signature.args[k])(context, builder, args[k]) for k in (0, 3, 4, 5)
        )
        a, b, lo, hi = args[1], args[2], args[6], args[7]
        v = _Vectors(context, builder, signature.args[0].dtype)
        across, along = v.stride(G), v.stride(X)
        places = [(r, c * v.lanes) for r in range(TALL) for c in range(wide)]
        sums = [
            v.zero
            if fresh
            else v.load(G, _step(builder, a, r), _step(builder, b, c), across, v.vector)
            for r, c in places
        ]

        def products(e, running):
            j = builder.load(builder.gep(indices.data, [e]))
            if signature.args[4].dtype.bitwidth < 64:
                j = builder.zext(j, ir.IntType(64))
            weight = v.splat(builder.load(builder.gep(s.data, [builder.sub(e, lo)])))
            right = [
                builder.fmul(weight, v.load(X, j, _step(builder, b, c * v.lanes), along, v.vector))
                for c in range(wide)
            ]
            return _add_outer(v, X, j, a, along, right, running)

        for (r, c), value in zip(places, _sum_products(v, sums, lo, hi, products), strict=True):
            v.store(value, G, _step(builder, a, r), _step(builder, b, c), across)
        return context.get_dummy_value()

    @intrinsic
    def tile(typingctx, G, a, b, X, indices, s, lo, hi):
        integer = types.intp
        return types.void(G, integer, integer, X, indices, s, integer, integer), generate

    def plain(G, a, b, X, indices, s, lo, hi):
        lanes = BYTES // X.itemsize
        rows = X[indices[lo:hi]]
        left, right = rows[:, a : a + TALL], rows[:, b : b + wide * lanes]
        block = G[a : a + TALL, b : b + wide * lanes]
        block[:] = (0 if fresh else block) + left.T @ (s[: hi - lo, None] * right)

    return plain if PLAIN else tile


def _eliminate_tile(wide):
    """G[a:a+TALL, b:] -= sum over k in 0..k_end of G[k, a:a+TALL]' G[k, b:]; k_end > 0."""

    def generate(context, builder, signature, args):
        G = context.make_array(signature.args[0])(context, builder, args[0])
        a, b, end = args[1:]
        v = _Vectors(context, builder, signature.args[0].dtype)
        across = v.stride(G)
        places = [(r, c * v.lanes) for r in range(TALL) for c in range(wide)]
        sums = [
            v.load(G, _step(builder, a, r), _step(builder, b, c), across, v.vector)
            for r, c in places
        ]

        def products(k, running):
            right = [
                builder.fneg(v.load(G, k, _step(builder, b, c * v.lanes), across, v.vector))
                for c in range(wide)
            ]
            return _add_outer(v, G, k, a, across, right, running)

        zero = ir.IntType(64)(0)
        for (r, c), value in zip(places, _sum_products(v, sums, zero, end, products), strict=True):
            v.store(value, G, _step(builder, a, r), _step(builder, b, c), across)
        return context.get_dummy_value()

    @intrinsic
    def tile(typingctx, G, a, b, end):
        return types.void(G, types.intp, types.intp, types.intp), generate

    def plain(G, a, b, end):
        width = wide * BYTES // G.itemsize
        G[a : a + TALL, b : b + width] -= G[:end, a : a + TALL].T @ G[:end, b : b + width]

    return plain if PLAIN else tile


def _factor_block():
    """Cholesky factor of the BLOCK rows and columns from a on, and forward substitution of w.

    U[q, r] for q < r goes to L with its sign turned, 1 / U[r, r] to its diagonal; U^-T w to z.
    False if a pivot is not above its limit.
    """

    def generate(context, builder, signature, args):
        G, L, limit, w, z = (
            context.make_array(signature.args[k])(context, builder, args[k])
            for k in (0, 2, 3, 4, 5)
        )
        a = args[1]
        v = _Vectors(context, builder, signature.args[0].dtype)
        across, one, index = v.stride(G), ir.Constant(v.scalar, 1.0), ir.IntType(64)
        span = range(BLOCK)
        rows = [_step(builder, a, r) for r in span]
        u = [
            [v.load(G, rows[r], rows[q], across, v.scalar) if q >= r else None for q in span]
            for r in span
        ]
        t = [v.load(w, index(0), row, index(0), v.scalar) for row in rows]
        good = ir.Constant(ir.IntType(1), 1)
        for r in span:
            least = v.load(limit, index(0), rows[r], index(0), v.scalar)
            good = builder.and_(good, builder.fcmp_ordered(">", u[r][r], least))
            inverse = builder.fdiv(one, v.sqrt(u[r][r]))
            later = range(r + 1, BLOCK)
            scaled = {q: builder.fmul(u[r][q], inverse) for q in later}
            turned = {q: builder.fneg(scaled[q]) for q in later}
            known = builder.fmul(t[r], inverse)
            for i in later:
                for q in range(i, BLOCK):
                    u[i][q] = v.fma(turned[i], scaled[q], u[i][q])
                t[i] = v.fma(turned[i], known, t[i])
                v.store(turned[i], L, index(r), index(i), index(BLOCK))
            v.store(inverse, L, index(r), index(r), index(BLOCK))
            v.store(known, z, index(0), rows[r], index(0))
        return good

    @intrinsic
    def block(typingctx, G, a, L, limit, w, z):
        return types.boolean(G, types.intp, L, limit, w, z), generate

    def plain(G, a, L, limit, w, z):
        square, t = np.triu(G[a : a + BLOCK, a : a + BLOCK]), w[a : a + BLOCK].copy()
        for r in range(BLOCK):
            if not square[r, r] > limit[a + r]:
                return False
            L[r, r] = 1 / np.sqrt(square[r, r])
            row = square[r, r + 1 :] * L[r, r]
            L[r, r + 1 :], z[a + r] = -row, t[r] * L[r, r]
            square[r + 1 :, r + 1 :] -= np.triu(np.outer(row, row))
            t[r + 1 :] -= row * z[a + r]
        return True

    return plain if PLAIN else block


def _solve_tile():
    """One vector of columns of the BLOCK rows from a on, solved with the block's factor L."""

    def generate(context, builder, signature, args):
        G, L = (context.make_array(signature.args[k])(context, builder, args[k]) for k in (0, 3))
        a, b = args[1], args[2]
        v = _Vectors(context, builder, signature.args[0].dtype)
        across, index = v.stride(G), ir.IntType(64)
        solved: list[ir.Value] = []
        for r in range(BLOCK):
            row = _step(builder, a, r)
            value = v.load(G, row, b, across, v.vector)
            for q in range(r):
                factor = v.load(L, index(q), index(r), index(BLOCK), v.scalar)
                value = v.fma(v.splat(factor), solved[q], value)
            inverse = v.load(L, index(r), index(r), index(BLOCK), v.scalar)
            solved.append(builder.fmul(value, v.splat(inverse)))
            v.store(solved[r], G, row, b, across)
        return context.get_dummy_value()

    @intrinsic
    def tile(typingctx, G, a, b, L):
        return types.void(G, types.intp, types.intp, L), generate

    def plain(G, a, b, L):
        block = G[a : a + BLOCK, b : b + BYTES // G.itemsize]
        for r in range(BLOCK):
            block[r] = (block[r] + L[:r, r] @ block[:r]) * L[r, r]

    return plain if PLAIN else tile


_begin_two, _begin_one = _gram_tile(2, fresh=True), _gram_tile(1, fresh=True)
_add_two, _add_one = _gram_tile(2, fresh=False), _gram_tile(1, fresh=False)
_eliminate_two, _eliminate_one = _eliminate_tile(2), _eliminate_tile(1)
_factor, _solve_columns = _factor_block(), _solve_tile()


@kernel
def _gram(G, X, indices, s, lo, hi, fresh):
    """Upper triangle of G (+)= sum over entries lo..hi of s x x', by tiles."""
    lanes, width = BYTES // X.itemsize, X.shape[1]
    for a in range(0, width, TALL):
        b = a // lanes * lanes
        while b + 2 * lanes <= width:
            if fresh:
                _begin_two(G, a, b, X, indices, s, lo, hi)
            else:
                _add_two(G, a, b, X, indices, s, lo, hi)
            b += 2 * lanes
        if b < width:
            if fresh:
                _begin_one(G, a, b, X, indices, s, lo, hi)
            else:
                _add_one(G, a, b, X, indices, s, lo, hi)


@kernel
def _eliminate(G, a, lanes):
    """Bring the BLOCK rows from a on up to date with all rows above them."""
    width = G.shape[1]
    for row in range(a, a + BLOCK, TALL):
        b = a // lanes * lanes
        while b + 2 * lanes <= width:
            _eliminate_two(G, row, b, a)
            b += 2 * lanes
        if b < width:
            _eliminate_one(G, row, b, a)


@kernel
def _back_substitute(G, z, w):
    """Solve U w = z, BLOCK rows at a time; U is the upper triangle of G."""
    width = G.shape[1]
    w[:] = 0
    for a in range(width - BLOCK, -1, -BLOCK):
        for r in range(a, a + BLOCK):
            total = z[r]
            for c in range(a + BLOCK, width):
                total -= G[r, c] * w[c]
            z[r] = total
        for r in range(a + BLOCK - 1, a - 1, -1):
            total = z[r]
            for c in range(r + 1, a + BLOCK):
                total -= G[r, c] * w[c]
            w[r] = total / G[r, r]


@kernel
def _cholesky_solve(G, w, z, L, limit, tolerance, floor):
    """Solve G x = w in place, G given by its upper triangle; False if a pivot vanishes.

    A pivot vanishes against its own diagonal entry, which no scaling of the columns changes, and
    against `floor`.
    """
    width, lanes = G.shape[1], BYTES // G.itemsize
    for k in range(width):
        limit[k] = max(tolerance * G[k, k], floor)
    for a in range(0, width, BLOCK):
        if a > 0:
            _eliminate(G, a, lanes)
        if not _factor(G, a, L, limit, w, z):
            return False
        first = a // lanes * lanes
        for b in range(first, width, lanes):
            _solve_columns(G, a, b, L)
        z0, z1, z2, z3 = z[a], z[a + 1], z[a + 2], z[a + 3]
        z4, z5, z6, z7 = z[a + 4], z[a + 5], z[a + 6], z[a + 7]
        for c in range(first, width):  # columns up to a are done with: what they get is not read
            w[c] -= (z0 * G[a, c] + z1 * G[a + 1, c] + z2 * G[a + 2, c] + z3 * G[a + 3, c]) + (
                z4 * G[a + 4, c] + z5 * G[a + 5, c] + z6 * G[a + 6, c] + z7 * G[a + 7, c]
            )
    _back_substitute(G, z, w)
    return True


@kernel
def _weigh(i, lo, hi, entries, fixed, s, t):
    """Weights s and t of entries lo..hi of row i: see the module's formula."""
    _, indices, y, c, u, v = entries
    Wfix, Xfix = fixed
    weighted, based = c.size > 0, u.size > 0
    for e in range(lo, hi):
        weight = c[e] if weighted else s.dtype.type(1)
        base = u[i] * v[indices[e]] if based else s.dtype.type(0)
        s[e - lo], t[e - lo] = weight - base, weight * y[e]
    for k in range(Wfix.shape[1]):
        for e in range(lo, hi):
            t[e - lo] -= s[e - lo] * Wfix[i, k] * Xfix[indices[e], k]


@kernel
def _primal(i, entries, fixed, X, D, G, s, t, w):
    """G = diag(D) + sum s x x' and w += sum t x over the entries of row i."""
    indptr, indices = entries[0], entries[1]
    lo, end = indptr[i], indptr[i + 1]
    fresh = True
    while fresh or lo < end:
        hi = min(lo + PANEL, end)
        _weigh(i, lo, hi, entries, fixed, s, t)
        for e in range(lo, hi):
            j, pull = indices[e], t[e - lo]
            for k in range(X.shape[1]):
                w[k] += pull * X[j, k]
        if hi > lo:
            _gram(G, X, indices, s, lo, hi, fresh)
        else:
            G[:] = 0
        fresh = False
        lo = hi
    for k in range(X.shape[1]):
        G[k, k] += D[k]


@kernel
def _dual(i, entries, fixed, X, rank, D, floor, tolerance, spaces):
    """Solve row i through its (entries x entries) system; 0 solved, 1 singular, 2 not applicable.

    With B = sqrt(s) x sqrt(d/D), d = max D:  (B B' + d I) alpha = t / sqrt(s),
    w = sqrt(d/D) B' alpha.
    """
    K, B, s, t, ones, order, alpha, z, L, limit, w = spaces
    indptr, indices, _, _, u, v = entries
    lo, hi = indptr[i], indptr[i + 1]
    top, low = D[:rank].max(), D[:rank].min()
    if low <= floor and top > 0:
        return 2
    _weigh(i, lo, hi, entries, fixed, s, t)
    width = K.shape[1]
    for p in range(hi - lo):
        j = indices[lo + p]
        if not s[p] > 0 or (u.size > 0 and s[p] < u[i] * v[j] * 0.01):
            return 2
        root = np.sqrt(s[p])
        alpha[p] = t[p] / root
        for k in range(rank):
            B[k, p] = root * X[j, k] * (np.sqrt(top / D[k]) if top > low else 1)
    for p in range(hi - lo, width):
        alpha[p] = 0
        for k in range(rank):
            B[k, p] = 0
    _gram(K, B, order, ones, 0, rank, True)
    for p in range(width):
        K[p, p] += top if p < hi - lo else 1
    if not _cholesky_solve(K, alpha, z, L, limit, tolerance, s.dtype.type(0)):
        return 1
    for k in range(rank):
        total = alpha[0] * 0
        for p in range(hi - lo):
            total += B[k, p] * alpha[p]
        w[k] = total * (np.sqrt(top / D[k]) if top > low else 1)
    return 0


@kernel
def _begin(i, u, lam, reg, start, D, w):
    """Write the diagonal and the right-hand side that row i begins from; the pivots' floor."""
    rank = lam.size if u.size > 0 else D.size
    floor = reg[i] * 0
    for k in range(D.size):
        D[k] = reg[i]
        w[k] = 0
    for k in range(rank):
        if u.size > 0:
            D[k] += u[i] * lam[k]
            floor = max(floor, D[k] * D.dtype.type(4 * rank * ROTATION))
    for k in range(start.shape[1]):
        w[k] = start[i, k]
    return floor


@kernel
def _aligned(rows, width, like):
    """An uninitialised matrix whose rows begin on vector boundaries."""
    lanes = BYTES // like.itemsize
    raw = np.empty(rows * width + lanes, like.dtype)
    skip = (-raw.ctypes.data) % BYTES // like.itemsize
    return raw[skip : skip + rows * width].reshape(rows, width)


@kernel
def solve(indptr, indices, y, c, u, v, X, rank, lam, reg, start, Wfix, Xfix, lo, hi, out, failed):
    """Write the exact minimiser of rows lo..hi to `out`; mark the singular ones in `failed`.

    X is `padded`, `rank` its columns before that.
    """
    entries, fixed = (indptr, indices, y, c, u, v), (Wfix, Xfix)
    width, unit = X.shape[1], max(BYTES // X.itemsize, BLOCK)
    G, B = _aligned(width, width, X), _aligned(width, width, X)
    size = max(PANEL, width)
    s, t, ones = np.empty(size, X.dtype), np.empty(size, X.dtype), np.ones(size, X.dtype)
    order = np.arange(width).astype(indices.dtype)
    D, w, z = np.empty(width, X.dtype), np.empty(width, X.dtype), np.empty(width, X.dtype)
    alpha, limit = np.empty(width, X.dtype), np.empty(width, X.dtype)
    L = np.empty((BLOCK, BLOCK), X.dtype)
    tolerance = X.dtype.type(max(4 * rank * np.finfo(X.dtype).eps, SINGULAR))
    for i in range(lo, hi):
        floor = _begin(i, u, lam, reg, start, D, w)
        count = indptr[i + 1] - indptr[i]
        state = 2
        if count == 0 and u.size == 0:
            state = 0  # w = 0: nothing is known of this row
        elif 0 < count < rank and start.size == 0:
            short = -(-count // unit) * unit
            K = G.reshape(-1)[: short * short].reshape(short, short)
            P = B.reshape(-1)[: width * short].reshape(width, short)
            spaces = (K, P, s, t, ones, order, alpha[:short], z, L, limit, w)
            state = _dual(i, entries, fixed, X, rank, D, floor, tolerance, spaces)
        if state == 2:
            _primal(i, entries, fixed, X, D, G, s, t, w)
            for k in range(rank, width):
                G[k, k] = 1
            state = 0 if _cholesky_solve(G, w, z, L, limit, tolerance, floor) else 1
        failed[i] = state == 1
        for k in range(rank):
            out[i, k] = w[k]


@kernel
def solve_packed(packed, reg, out, failed):
    """Solve one system a row, each Gram matrix packed by rows of its lower triangle.

    `out` holds the right-hand sides and receives the solutions.
    """
    rank = out.shape[1]
    unit = max(BYTES // out.itemsize, BLOCK)
    width = -(-rank // unit) * unit
    G = _aligned(width, width, out)
    w, z, limit = np.zeros(width, out.dtype), np.empty(width, out.dtype), np.empty(width, out.dtype)
    L = np.empty((BLOCK, BLOCK), out.dtype)
    tolerance = out.dtype.type(max(4 * rank * np.finfo(out.dtype).eps, SINGULAR))
    for i in range(out.shape[0]):
        G[:] = 0
        e = 0
        largest = reg[i] * 0
        for a in range(width):
            w[a] = out[i, a] if a < rank else reg[i] * 0
            if a >= rank:
                G[a, a] = 1
                continue
            for b in range(a + 1):
                G[b, a] = packed[i, e]
                e += 1
            largest = max(largest, G[a, a])
            G[a, a] += reg[i]
        if largest == 0:  # no observed cell: nothing is known of this row
            out[i] = 0
            failed[i] = False
            continue
        failed[i] = not _cholesky_solve(G, w, z, L, limit, tolerance, reg[i] * 0)
        for a in range(rank):
            out[i, a] = w[a]
