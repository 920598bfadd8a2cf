"""How a tile is written: vectors, arrays and loops in LLVM code, called from compiled kernels.

Numba's own loops reach a fifth of the speed of code that keeps its sums in vector registers. A
tile is an intrinsic for compiled code and a few lines of NumPy for interpreted code, which say the
same. Vectors are as wide as this processor's registers; `lanes` is how many numbers one holds.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

BLOCK = 8  # columns to which the rows of a factor are padded at least


def _registers() -> tuple[int, int, int]:
    """Bytes of a vector register; rows and vectors of a tile that this processor has room for."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 8, 2
    if features.get("avx"):
        return 32, 4, 2  # 16 registers: 8 sums, 2 vectors, and the rest for loads
    return (16, 8, 4) if "neon" in features else (16, 4, 2)


BYTES, TALL, WIDE = _registers()
PLAIN = bool(getattr(config, "DISABLE_JIT", False))  # then tiles are NumPy

INDEX = ir.IntType(64)


def turns(lanes):
    """Rotations of a vector whose products with it hold each product of two lanes."""
    return lanes // 2 + 1


def whole(count, lanes):
    """The count rounded up to whole vectors, and to whole blocks."""
    unit = max(lanes, BLOCK)
    return -(-count // unit) * unit


class Code:
    """Writes one tile: vectors of one type, and what can be done with them."""

    def __init__(self, builder, scalar, bits):
        self.builder, self.scalar, self.bits = builder, scalar, bits
        self.lanes = 8 * BYTES // bits
        self.turns = turns(self.lanes)
        self.vector = ir.VectorType(scalar, self.lanes)
        self.zero = ir.Constant(self.vector, None)

    def plus(self, a, n):
        """An index plus a constant."""
        return self.builder.add(a, INDEX(n)) if n else a

    def rows(self, a, count):
        """The indices from a on."""
        return [self.plus(a, r) for r in range(count)]

    def _call(self, name, kind, arguments):
        suffix = f"v{self.lanes}" if kind is self.vector else ""
        name = f"llvm.{name}.{suffix}f{self.bits}"
        known = self.builder.module.globals.get(name)
        return known or ir.Function(self.builder.module, ir.FunctionType(*arguments), name)

    def fma(self, a, b, c):
        """The sum a b + c, of vectors or scalars."""
        kind = self.vector if a.type == self.vector else self.scalar
        return self.builder.call(self._call("fma", kind, (kind, [kind] * 3)), [a, b, c])

    def sqrt(self, a):
        """Square root of a scalar."""
        function = self._call("sqrt", self.scalar, (self.scalar, [self.scalar]))
        return self.builder.call(function, [a])

    def tree(self, vectors):
        """Sum of vectors, pair by pair."""
        while len(vectors) > 1:
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [self.builder.fadd(a, b) for a, b in pairs]
        return vectors[0]

    def least(self, a, b):
        """Of two indices."""
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def largest(self, a, b):
        """Lane by lane."""
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def total(self, a):
        """Sum of the lanes."""
        for k in (1 << n for n in range(self.lanes.bit_length() - 1)):
            a = self.builder.fadd(a, self.rotate(a, k))
        return self.builder.extract_element(a, ir.IntType(32)(0))

    def shuffle(self, a, b, lanes):
        """The given lanes of a, and from `lanes` on of b."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), lanes)
        return self.builder.shuffle_vector(a, b, mask)

    def splat(self, a):
        """A vector of equal lanes."""
        empty = ir.Constant(ir.VectorType(a.type, self.lanes), ir.Undefined)
        first = self.builder.insert_element(empty, a, ir.IntType(32)(0))
        return self.shuffle(first, empty, [0] * self.lanes)

    def rotate(self, a, k):
        """The vector whose lane i is lane i + k of `a`, cyclically."""
        return self.shuffle(a, a, [(i + k) % self.lanes for i in range(self.lanes)]) if k else a

    def transpose(self, vectors):
        """Lane i of vector k becomes lane k of vector i: a butterfly of two-vector shuffles."""
        vectors, span, step = list(vectors), range(self.lanes), 1
        while step < self.lanes:
            upper = [k if not k & step else self.lanes + (k ^ step) for k in span]
            lower = [k | step if not k & step else self.lanes + k for k in span]
            for i in (i for i in span if not i & step):
                a, b = vectors[i], vectors[i | step]
                vectors[i], vectors[i | step] = self.shuffle(a, b, upper), self.shuffle(a, b, lower)
            step *= 2
        return vectors

    def loop(self, sums, first, last, products, step=1):
        """The sums after `products(e, sums)` for e from first to last; at least once."""
        builder, before = self.builder, self.builder.block
        body, done = builder.append_basic_block(), builder.append_basic_block()
        builder.branch(body)
        builder.position_at_end(body)
        e = builder.phi(INDEX)
        e.add_incoming(first, before)
        running = [builder.phi(self.vector) for _ in sums]
        ends = products(e, running)
        following, after = self.plus(e, step), builder.block  # another one if loops are nested
        e.add_incoming(following, after)
        for phi, start, end in zip(running, sums, ends, strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(end, after)
        builder.cbranch(builder.icmp_signed("<", following, last), body, done)
        builder.position_at_end(done)
        return ends


class Array:
    """An array argument of one or two dimensions, contiguous along the last."""

    def __init__(self, code, kind, data, stride):
        self.code, self.builder, self.bits = code, code.builder, kind.dtype.bitwidth
        self.data, self.stride = data, stride

    def _at(self, place):
        offset = place[-1]
        if self.stride is not None:
            offset = self.builder.add(self.builder.mul(place[0], self.stride), offset)
        return self.builder.gep(self.data, [offset])

    def scalar(self, *place):
        """One number."""
        return self.builder.load(self._at(place))

    def integer(self, *place):
        """One number of an array of indices."""
        value = self.scalar(*place)
        return self.builder.zext(value, INDEX) if self.bits < 64 else value

    def vector(self, *place):
        """The vector that begins at a place."""
        at = self.builder.bitcast(self._at(place), self.code.vector.as_pointer())
        return self.builder.load(at, align=self.bits // 8)

    def prefetch(self, *place):
        """Bring the cache line of a place into the second-level cache."""
        byte, flag, module = ir.IntType(8).as_pointer(), ir.IntType(32), self.builder.module
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        name = "llvm.prefetch.p0"
        function = module.globals.get(name) or ir.Function(module, kind, name)
        at = self.builder.bitcast(self._at(place), byte)
        self.builder.call(function, [at, flag(0), flag(2), flag(1)])

    def splat(self, *place):
        """A vector of one number."""
        return self.code.splat(self.scalar(*place))

    def store(self, value, *place):
        """Write a number or a vector."""
        at = self.builder.bitcast(self._at(place), value.type.as_pointer())
        self.builder.store(value, at, align=self.bits // 8)


def call(write, name, context, builder, signature, args):
    """A call of the function that `write(code, *args)` writes, once a module and types.

    A function of its own, so that the registers are the tile's alone. Of an array it gets the
    address of the data and the elements from one row to the next.
    """
    flat = []
    for kind, value in zip(signature.args, args, strict=True):
        if isinstance(kind, types.Array):
            array = context.make_array(kind)(context, builder, value)
            stride = builder.extract_value(array.strides, 0)
            flat += [array.data, builder.sdiv(stride, INDEX(kind.dtype.bitwidth // 8))]
        else:
            flat.append(value)
    kinds = [kind.dtype if isinstance(kind, types.Array) else kind for kind in signature.args]
    name = ".".join(["wlrmf", name, *sorted({str(kind) for kind in kinds})])
    function = builder.module.globals.get(name)
    if function is None:
        result = context.get_value_type(signature.return_type)
        result = ir.VoidType() if signature.return_type == types.void else result
        function = ir.Function(
            builder.module, ir.FunctionType(result, [value.type for value in flat]), name
        )
        function.linkage = "linkonce_odr"
        function.attributes.add("noinline")
        _define(function, write, context, signature)
    value = builder.call(function, flat)
    return context.get_dummy_value() if signature.return_type == types.void else value


def _define(function, write, context, signature):
    builder = ir.IRBuilder(function.append_basic_block())
    dtype = signature.args[0].dtype
    code = Code(builder, context.get_data_type(dtype), dtype.bitwidth)
    values, given = iter(function.args), []
    for kind in signature.args:
        if isinstance(kind, types.Array):
            data, stride = next(values), next(values)
            given.append(Array(code, kind, data, stride if kind.ndim == 2 else None))
        else:
            given.append(next(values))
    result = write(code, *given)
    builder.ret_void() if result is None else builder.ret(result)


def aligned(rows: int, columns: int, dtype: Any) -> np.ndarray:
    """A matrix of zeros that begins on a cache-line boundary."""
    out = _aligned(rows, columns, dtype)
    out[:] = 0
    return out


def _aligned(rows: int, columns: int, dtype: Any) -> np.ndarray:
    """The same, of whatever is there: memory that was used before is faster than fresh zeros."""
    itemsize = np.dtype(dtype).itemsize
    raw = np.empty(rows * columns + 64 // itemsize, dtype)
    skip = -raw.ctypes.data % 64 // itemsize
    return raw[skip : skip + rows * columns].reshape(rows, columns)


def padded(*factors: np.ndarray, behind: bool = False) -> np.ndarray:
    """Factors side by side on cache-line boundaries, zeros before the columns of each, or behind.

    Before, because the row solves then leave out the first rows of an upper triangle; zeros behind
    would be columns in the middle of vectors. Products leave nothing out, and count from 0.
    """
    lanes = BYTES // factors[0].itemsize
    edges = np.cumsum([0] + [whole(max(factor.shape[1], 1), lanes) for factor in factors])
    out = _aligned(len(factors[0]), int(edges[-1]), factors[0].dtype)
    for factor, begin, end in zip(factors, edges[:-1], edges[1:], strict=True):
        columns = factor.shape[1]
        first = begin if behind else end - columns
        out[:, begin:first], out[:, first + columns : end] = 0, 0
        out[:, first : first + columns] = factor
    return out


def unpadded(columns: np.ndarray, count: int) -> np.ndarray:
    """The last columns, which are those of a factor that was padded."""
    return np.ascontiguousarray(columns[:, columns.shape[1] - count :])


def depth(row_bytes: int, cache: int) -> int:
    """How many entries whose rows of a factor have this size a panel has, to stay in a cache."""
    return max(32, min(256, cache // row_bytes))


def lanes_count():
    """How many numbers of an array's type a vector holds, a constant for compiled code."""

    @intrinsic
    def lanes(typingctx, array):
        count = 8 * BYTES // array.dtype.bitwidth
        return types.intp(array), lambda *_: ir.Constant(INDEX, count)

    def plain(array):
        return BYTES // array.itemsize

    return plain if PLAIN else lanes
