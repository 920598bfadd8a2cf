"""The row solves' systems of a dense problem: products of its weights with narrow matrices.

All Gram matrices sum_j A2_ij x_j x_j' are A2 times the Khatri-Rao square of X (the products of the
pairs of its columns), all right-hand sides A2∘Y times X. The data are read along the memory, once:
for the rows each block gives its rows' sums, for the columns a share of every column's.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..kernels import chunks
from ..kernels.dense import add_product, weigh, whole_tiles
from ..kernels.vectors import aligned, padded
from .protocol import Fixed

if TYPE_CHECKING:
    from .dense import Dense

SHARES = 16  # of the columns' sums at most
SMALL = 1 << 20  # numbers that may be held whatever the size of the data


def fits(shape: tuple[int, int], rank: int) -> bool:
    """Whether what is made beside the data stays below a quarter of the data."""
    m, n = shape
    return max(m, n) * (rank * (rank + 1) // 2 + rank) <= max(SMALL, m * n // 2)


def systems(dense: Dense, X: np.ndarray, fixed: Fixed | None) -> tuple[np.ndarray, np.ndarray]:
    """Lower triangles, packed by rows, zeros behind, and right-hand sides."""
    left, right = np.tril_indices(X.shape[1])
    narrow = tuple(padded(Q, behind=True) for Q in (X[:, left] * X[:, right], X))
    if dense.along_memory:
        G, w = _of_rows(dense, narrow, fixed)
    else:
        G, w = _of_columns(dense.T, narrow, fixed and Fixed(fixed.X, fixed.W))
    return G, w[:, : X.shape[1]]


def of_weights(weights: Any, X: np.ndarray) -> np.ndarray:
    """sum_j weights_ij x_j x_j' of each row i, (rows, k, k), in float64; any matrix will do."""
    X = X.astype(np.float64, copy=False)
    out = np.empty((weights.shape[0], X.shape[1], X.shape[1]))
    for k in range(X.shape[1]):
        out[:, k, : k + 1] = out[:, : k + 1, k] = weights @ (X[:, k, None] * X[:, : k + 1])
    return out


def _room(dense: Dense) -> tuple[np.ndarray, np.ndarray]:
    """For the weights of a block of rows, and for its weighted targets."""
    rows, columns = map(whole_tiles, (dense.block_rows, dense.shape[1]))
    return aligned(rows, columns, dense.dtype), aligned(rows, columns, dense.dtype)


def _of_rows(dense: Dense, narrow: Any, fixed: Fixed | None) -> tuple[np.ndarray, np.ndarray]:
    sums = [np.empty((dense.shape[0], Q.shape[1]), Q.dtype) for Q in narrow]

    def room() -> Any:
        block = whole_tiles(dense.block_rows)
        return _room(dense), [aligned(block, Q.shape[1], Q.dtype) for Q in narrow]

    def task(lo: int, hi: int, own: Any) -> None:
        for some in dense.spans(lo, hi):
            count = some.stop - some.start
            weigh(dense.target(fixed, some), dense.A2[some], *own[0])
            for P, Q, out, total in zip(own[0], narrow, own[1], sums, strict=True):
                add_product(P, True, Q, count, True, out)
                total[some] = out[:count]

    chunks.run_with(room, task, dense.edges(), dense.n_threads)
    return sums[0], sums[1]


def _of_columns(dense: Dense, narrow: Any, fixed: Fixed | None) -> tuple[np.ndarray, np.ndarray]:
    n = dense.shape[1]

    def task(lo: int, hi: int, own: Any) -> list[np.ndarray]:
        shares = [aligned(whole_tiles(n), Q.shape[1], Q.dtype) for Q in narrow]
        for some in dense.spans(lo, hi):
            weigh(dense.target(fixed, some), dense.A2[some], *own)
            for P, Q, out in zip(own, narrow, shares, strict=True):
                add_product(P, False, Q[some], n, False, out)
        return shares

    held = n * sum(Q.shape[1] for Q in narrow)
    most = max(1, min(SHARES, max(SMALL, dense.Y.size // 4) // held))
    parts = chunks.run_with(partial(_room, dense), task, dense.edges(most), dense.n_threads)
    G, w = (sum(shares[1:], start=shares[0])[:n] for shares in zip(*parts, strict=True))
    return G, w
