"""Y, mask, weights and baseline, judged together and turned into one plain structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .arrays import Csr, as_matrix, cell_numbers, check_names, read_names
from .errors import at, describe, first_where
from .options import read_real, read_vector
from .ranges import check_level, check_range, check_together


@dataclass(frozen=True, eq=False)
class Cells:
    """Finite targets and weights.

    Dense: Y and A2 are (m, n), A2 empty when every weight is 1. Sparse: CSR of the stored cells,
    Y and A2 one number an entry (A2 empty: all 1), and the baseline weight u_i v_j of the cells
    that are not stored (u, v empty: none).
    """

    shape: tuple[int, int]
    Y: np.ndarray
    A2: np.ndarray
    indptr: np.ndarray | None
    indices: np.ndarray
    u: np.ndarray
    v: np.ndarray

    def entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Rows, columns, targets and weights (empty: all 1) of the observed or stored cells.

        In row-major order.
        """
        if self.indptr is not None:
            rows = np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))
            return rows, self.indices, self.Y, self.A2
        if self.A2.size == 0:
            rows, cols = np.indices(self.shape).reshape(2, -1)
            return rows, cols, self.Y.reshape(-1), self.A2.reshape(-1)
        rows, cols = np.nonzero(self.A2)
        return rows, cols, self.Y[rows, cols], self.A2[rows, cols]


def read_cells(
    Y: Any,
    mask: Any = None,
    weights: Any = None,
    baseline: Any = None,
    dtype: Any = None,
    *,
    allow_empty: bool = False,
) -> Cells:
    """Judge the data.

    Parameters
    ----------
    Y : matrix, shape (m, n)
        Dense (NaN = missing) or sparse (not stored = missing, a stored zero is observed).
    mask : matrix, optional
        The matrix A: boolean, or real and acting squared.
    weights : matrix, optional
        Weights of the squared residuals; A∘A = mask² · weights.
    baseline : number or pair of vectors, optional
        Weight of the cells that a sparse Y does not store; their target is 0.
    dtype : float32 or float64, optional
        Default: float32 for float32 data, otherwise float64.
    allow_empty : bool
        Accept data without any observed cell (rows to be folded in).

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it got and what it wanted.
    """
    names = read_names(Y)
    for other, name in ((mask, "mask"), (weights, "weights")):
        for axis, own, wanted in zip(("rows", "columns"), read_names(other), names, strict=True):
            check_names(name, axis, own, wanted, "Y")
    Y = as_matrix(Y, "Y")
    if 0 in Y.shape:
        raise ValueError(f"Y has shape {Y.shape}; at least 1 row and 1 column are required")
    dtype = read_dtype(dtype, Y.dtype)
    mask, weights = _companion(mask, "mask", Y), _companion(weights, "weights", Y)
    if isinstance(Y, Csr):
        cells = _sparse_cells(Y, mask, weights, baseline, dtype)
    else:
        if baseline is not None:
            raise ValueError(
                "`baseline` is the weight of cells that a sparse Y does not store; got a dense Y. "
                "Give `weights` instead, or Y as a scipy sparse matrix"
            )
        cells = _dense_cells(Y, mask, weights, dtype)
    _check_ranges(cells)
    if not allow_empty and _nothing(cells):
        raise ValueError("no observed entries: every cell of Y is missing or has weight 0")
    return cells


def read_dtype(dtype: Any, given: np.dtype) -> np.dtype:
    """float32 or float64."""
    if dtype is None:
        return np.dtype(np.float32 if given.newbyteorder("=") == np.float32 else np.float64)
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        wanted = None
    if wanted is None or wanted.newbyteorder("=") not in (np.float32, np.float64):
        raise ValueError(f"`dtype` must be float32 or float64; got {describe(dtype)}")
    return np.dtype(wanted.newbyteorder("="))


def _check_ranges(cells: Cells) -> None:
    y = check_range(cells.Y, "Y")
    own = check_range(cells.A2, "the squared weight") if cells.A2.size else 1.0
    u, v = check_range(cells.u, "baseline"), check_range(cells.v, "baseline")
    check_together(y, max(own, u * v), cells.Y.dtype)
    check_level(cells.A2, own)


def _nothing(cells: Cells) -> bool:
    """Whether no cell has a weight."""
    if cells.Y.size and (cells.A2.size == 0 or cells.A2.any()):
        return False
    u, v = cells.u > 0, cells.v > 0
    if u.size == 0 or cells.Y.size == 0:
        return u.size == 0
    rows, cols, _, _ = cells.entries()  # all of weight 0: the baseline's cells are the others
    return int(u.sum()) * int(v.sum()) == int(np.count_nonzero(u[rows] & v[cols]))


def _companion(value: Any, name: str, Y: Any) -> Any:
    """`mask` or `weights` as a matrix of Y's shape with entries that can be weights."""
    if value is None:
        return None
    matrix = as_matrix(value, name)
    if matrix.shape != Y.shape:
        swapped = matrix.shape == Y.shape[::-1]
        raise ValueError(
            f"`{name}` must have the shape of Y, {Y.shape}; got {matrix.shape}"
            + (f". Is it transposed? Try {name}.T" if swapped else "")
        )
    values: np.ndarray = matrix.data if isinstance(matrix, Csr) else matrix
    # a NaN is the least of all; what is bad is looked for only where something is
    if values.size and not (values.min() >= 0 and values.max() < np.inf):
        bad = ~np.isfinite(values) | (values < 0)
        where = first_where(bad)
        got = values[where]
        if isinstance(matrix, Csr):
            row = int(np.searchsorted(matrix.indptr, where[0], side="right")) - 1
            where = (row, int(matrix.indices[where[0]]))
        raise ValueError(
            f"`{name}` must be finite and not negative; {name}{at(where)} is {got} "
            f"({int(bad.sum())} such entries)"
            + ("; give 0 where a cell is missing" if np.isnan(got) else "")
        )
    return matrix


def _dense_cells(Y: np.ndarray, mask: Any, weights: Any, dtype: np.dtype) -> Cells:
    empty = np.empty(0, dtype)
    mask, weights = _toarray(mask), _toarray(weights)
    # a mask of zeros and ones says which cells are observed; weights say how well they would be
    says_observed = mask is not None and _is_boolean(mask)
    A2 = _combine(mask, weights, dtype)
    missing = np.isnan(Y) if Y.dtype.kind == "f" else np.zeros((1, 1), bool)
    if missing.any():
        if says_observed:
            why = "marked observed by the mask, which holds only 0 and 1"
            _refuse(missing & (A2 > 0), Y, why)
        if A2 is None:
            A2 = (~missing).astype(dtype)
        else:
            _keep(A2, ~missing)
    out = _cast(Y, dtype, A2)
    if A2 is not None:
        if A2.min() == A2.max() == 1:
            A2 = None
        else:
            _keep(out, A2 != 0)
    weight = np.empty((0, 0), dtype) if A2 is None else np.ascontiguousarray(A2, dtype)
    return Cells(Y.shape, out, weight, None, empty, empty, empty)


def _is_boolean(mask: np.ndarray) -> bool:
    return mask.dtype == bool or bool(((mask == 0) | (mask == 1)).all())


def _keep(values: np.ndarray, kept: np.ndarray) -> None:
    """Make all others 0: as integers, as NaN times 0 is NaN, and without a branch for each cell."""
    bits = values.view(f"i{values.itemsize}")
    np.multiply(bits, kept, out=bits)


def _cast(Y: np.ndarray, dtype: np.dtype, A2: np.ndarray | None) -> np.ndarray:
    """A contiguous copy in the working dtype; infinite where observed is refused."""
    with np.errstate(over="ignore"):
        out = np.array(Y, dtype=dtype, order="C", copy=True, subok=False)
    bad = np.isinf(out)
    if bad.any():
        if A2 is not None:
            bad &= A2 > 0
        _refuse(bad & np.isinf(Y), Y, "observed")
        if bad.any():
            where = first_where(bad)
            raise ValueError(f"Y{at(where)} is {Y[where]!s}, which overflows {_advice(dtype)}")
    return out


def _refuse(bad: np.ndarray, Y: np.ndarray, why: str) -> None:
    if bad.any():
        where = first_where(bad)
        raise ValueError(f"Y{at(where)} is {Y[where]} but {why} ({int(bad.sum())} such entries)")


def _advice(dtype: np.dtype) -> str:
    wider = "use float64" if dtype == np.float32 else "multiply by a constant"
    return f"{dtype}; {wider}"


def _toarray(matrix: Any) -> np.ndarray | None:
    return matrix.toarray() if isinstance(matrix, Csr) else matrix


def _combine(mask: Any, weights: Any, dtype: np.dtype) -> Any:
    """A∘A = mask² · weights in new memory, in float64 until the end so that no product is lost."""
    if mask is None and weights is None:
        return None
    if mask is None and weights.dtype == dtype:
        return weights.copy()
    if weights is None and mask.dtype == bool:
        return mask.astype(dtype)
    with np.errstate(over="ignore", under="ignore"):
        A2 = np.ones(()) if mask is None else np.square(mask, dtype=np.float64)
        if weights is not None:
            A2 = A2 * weights.astype(np.float64)
        cast = A2.astype(dtype)
    lost = np.isinf(cast) | ((cast == 0) & (A2 > 0))
    if lost.any():
        where = first_where(lost)
        raise ValueError(
            f"the squared weight at {at(where)}, {A2[where]:.3g}, is out of the range of {dtype}; "
            "divide mask or weights by a constant, or use float64"
        )
    return cast


def _sparse_cells(Y: Any, mask: Any, weights: Any, baseline: Any, dtype: np.dtype) -> Cells:
    rows = Y.rows
    mask_entries, weight_entries = _at(mask, "mask", Y, rows), _at(weights, "weights", Y, rows)
    c = _combine(mask_entries, weight_entries, dtype)
    u, v = read_baseline(baseline, Y.shape, dtype)
    indptr, indices, data = Y.indptr, Y.indices, Y.data
    if c is not None and u.size == 0 and not c.all():
        keep = c > 0
        indptr = np.concatenate(([0], np.cumsum(keep, dtype=np.int64)))[indptr]
        rows, indices, data, c = rows[keep], indices[keep], data[keep], c[keep]
    with np.errstate(over="ignore"):
        y = np.array(data, dtype=dtype)
    bad = ~np.isfinite(y)
    if c is not None:
        bad &= c > 0
    if bad.any():
        e = int(np.argmax(bad))
        why = (
            "but stored, so observed (drop the entry if it is missing)"
            if not np.isfinite(data[e])
            else f"which overflows {_advice(dtype)}"
        )
        where = at((int(rows[e]), int(indices[e])))
        raise ValueError(f"Y{where} is {data[e]!s} {why} ({int(bad.sum())} such entries)")
    if c is not None:
        y[c == 0] = 0
        if (c == 1).all():
            c = None
    c = np.empty(0, dtype) if c is None else c
    return Cells(Y.shape, y, c, np.ascontiguousarray(indptr), np.ascontiguousarray(indices), u, v)


def _at(matrix: Any, name: str, Y: Any, rows: np.ndarray) -> np.ndarray | None:
    """The companion's values at the entries that Y stores."""
    if matrix is None:
        return None
    if not isinstance(matrix, Csr):
        return matrix[rows, Y.indices]
    if np.array_equal(matrix.indptr, Y.indptr) and np.array_equal(matrix.indices, Y.indices):
        return matrix.data
    key = cell_numbers(rows, Y.indices, Y.shape[1])
    own = cell_numbers(matrix.rows, matrix.indices, Y.shape[1])
    place = np.searchsorted(own, key)
    found = np.zeros(key.size, bool)
    inside = place < own.size
    found[inside] = own[place[inside]] == key[inside]
    extra = int(np.count_nonzero(matrix.data)) - int(np.count_nonzero(matrix.data[place[found]]))
    if extra or (name == "weights" and not found.all()):
        raise ValueError(
            f"`{name}` must store the cells that Y stores: {extra} of its cells are not in Y, "
            f"{int((~found).sum())} of Y's are not in it"
        )
    values = np.zeros(key.size, matrix.dtype)
    values[found] = matrix.data[place[found]]
    return values


def read_baseline(
    baseline: Any, shape: tuple[int, int], dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """A number or (u, v) as two vectors; two empty ones without a baseline."""
    if baseline is None:
        return np.empty(0, dtype), np.empty(0, dtype)
    if isinstance(baseline, tuple | list):
        if len(baseline) != 2:
            raise ValueError(
                "`baseline` must be a number or a pair (u, v) of vectors; "
                f"got {len(baseline)} values"
            )
        u, v = (read_vector(part, "baseline") for part in baseline)
    else:
        number = read_real(baseline, "baseline")
        u, v = np.full(shape[0], number), np.ones(shape[1])
    for vector, name, size in ((u, "u", shape[0]), (v, "v", shape[1])):
        if vector.shape != (size,):
            raise ValueError(
                f"`baseline` = (u, v): {name} must have shape ({size},) for Y of shape {shape}; "
                f"got {vector.shape}"
            )
        if not (np.isfinite(vector).all() and (vector >= 0).all()):
            raise ValueError(f"`baseline` = (u, v): {name} must be finite and not negative")
    if not (u.any() and v.any()):
        return np.empty(0, dtype), np.empty(0, dtype)
    with np.errstate(over="ignore"):  # what overflows is out of range, and refused as that
        return u.astype(dtype), v.astype(dtype)
