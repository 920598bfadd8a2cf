"""Which entries to hold out: pure functions of entries, arrays in and arrays out.

An entry is one observed cell. Where it stands is given by two arrays of indices, `rows` and `cols`,
of shape (entries,); each function says of every entry whether it is held out, or in which fold. The
same seed gives the same answer.

    held_out = wlrmf.splits.cells(rows, cols, shape, share=0.1)
    training = ~held_out
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernels.splits import places
from .validation.errors import describe
from .validation.options import read_int, read_real, read_seed

__all__ = ["by_time", "cells", "cold_rows", "folds", "leave_k_out", "random"]


def random(n: int, share: float, seed: Any = 0) -> np.ndarray:
    """Hold out a share of all entries.

    Parameters
    ----------
    n : int
        Number of entries.
    share : float
        Between 0 and 1; ``round(share * n)`` entries are held out.
    seed : int, numpy Generator, RandomState or SeedSequence

    Returns
    -------
    ndarray of bool, shape (n,)

    Raises
    ------
    TypeError, ValueError
        For an `n` that is no count or a `share` that is no share.

    Examples
    --------
    >>> from wlrmf import splits
    >>> int(splits.random(10, 0.3).sum())
    3
    """
    n, share = read_int(n, "n", 0), read_share(share)
    out = np.zeros(n, bool)
    out[read_seed(seed).permutation(n)[: round(share * n)]] = True
    return out


def leave_k_out(rows: Any, k: int = 1, seed: Any = 0, keep: int = 1) -> np.ndarray:
    """Hold out `k` random entries of each row that has at least ``k + keep``.

    Parameters
    ----------
    rows : array of int, shape (entries,)
    k : int
        Entries a row.
    seed : int, numpy Generator, RandomState or SeedSequence
    keep : int
        Entries that a row must have left; of a row with fewer none is held out.

    Returns
    -------
    ndarray of bool, shape (entries,)

    Raises
    ------
    TypeError, ValueError
        For rows that are no indices, `k` below 1 or `keep` below 0.

    Examples
    --------
    >>> from wlrmf import splits
    >>> splits.leave_k_out([0, 1, 1, 1]).tolist().count(True)
    1
    """
    rows = _read_index(rows, "rows")
    k, keep = read_int(k, "k", 1), read_int(keep, "keep", 0)
    place, count = _places(read_seed(seed).permutation(rows.size), rows, _size(rows))
    return (place < k) & (count[rows] >= k + keep)


def by_time(time: Any, share: float | None = None, after: Any = None) -> np.ndarray:
    """Hold out the last entries: a share of them, or those after a moment.

    Parameters
    ----------
    time : array of numbers or datetime64, shape (entries,)
    share : float, optional
        Between 0 and 1; of entries of one time, those that stand later in the array are later.
    after : number or datetime64, optional
        Entries of a later time are held out. Exactly one of the two is given.

    Returns
    -------
    ndarray of bool, shape (entries,)

    Raises
    ------
    TypeError, ValueError
        For times that cannot be ordered, or without exactly one of `share` and `after`.

    Examples
    --------
    >>> from wlrmf import splits
    >>> splits.by_time([5, 1, 5, 2], share=0.5).tolist()
    [True, False, True, False]
    """
    time = np.asarray(time)
    if time.ndim != 1 or time.dtype.kind not in "iufM":
        raise TypeError(
            f"`time` must be a vector of numbers or of datetime64; got {describe(time)}, "
            f"dtype {time.dtype}"
        )
    missing = np.isnat(time) if time.dtype.kind == "M" else ~np.isfinite(time)
    if missing.any():
        raise ValueError(f"`time` must be finite; time[{int(np.argmax(missing))}] is not")
    if (share is None) == (after is None):
        raise ValueError(
            f"exactly one of `share` and `after` is wanted; got share={share!r}, after={after!r}"
        )
    if share is None:
        moment = np.asarray(after)
        if moment.ndim or moment != moment:
            raise ValueError(f"`after` must be one moment; got {describe(after)}")
        return np.asarray(time > moment)
    out = np.zeros(time.size, bool)
    last = time.size - round(read_share(share) * time.size)
    out[np.argsort(time, kind="stable")[last:]] = True
    return out


def cold_rows(rows: Any, share: float, seed: Any = 0) -> np.ndarray:
    """Hold out all entries of a random share of the rows.

    Parameters
    ----------
    rows : array of int, shape (entries,)
    share : float
        Between 0 and 1, of the rows that have an entry.
    seed : int, numpy Generator, RandomState or SeedSequence

    Returns
    -------
    ndarray of bool, shape (entries,)

    Raises
    ------
    TypeError, ValueError
        For rows that are no indices or a `share` that is no share.

    Examples
    --------
    >>> from wlrmf import splits
    >>> held_out = splits.cold_rows([0, 0, 3, 3], 0.5)
    >>> bool(held_out[0] == held_out[1]), bool(held_out[2] == held_out[3]), int(held_out.sum())
    (True, True, 2)
    """
    rows, share = _read_index(rows, "rows"), read_share(share)
    there = np.flatnonzero(np.bincount(rows, minlength=1))
    cold = np.zeros(_size(rows), bool)
    cold[read_seed(seed).permutation(there)[: round(share * there.size)]] = True
    return cold[rows]


def cells(
    rows: Any, cols: Any, shape: tuple[int, int], share: float = 0.1, seed: Any = 0
) -> np.ndarray:
    """Hold out a share of the cells, none of them the last of its row or of its column.

    Of the cells in random order the first one of each row and of each column stays; of the others
    the first ones are held out.

    Parameters
    ----------
    rows, cols : array of int, shape (entries,)
        Where each cell stands.
    shape : (int, int)
        Rows and columns of the matrix.
    share : float
        Above 0 and at most 1, of all entries; fewer are held out where the rest must stay.
    seed : int, numpy Generator, RandomState or SeedSequence

    Returns
    -------
    ndarray of bool, shape (entries,)

    Raises
    ------
    TypeError, ValueError
        For indices outside `shape` or a `share` that is no share.

    Examples
    --------
    >>> import numpy as np
    >>> from wlrmf import splits
    >>> rows, cols = np.nonzero(np.ones((4, 5)))
    >>> int(splits.cells(rows, cols, (4, 5), share=0.2).sum())
    4
    """
    rows, cols = _read_cells(rows, cols, shape)
    share = read_share(share, whole=True)
    order = read_seed(seed).permutation(rows.size)
    free = np.ones(rows.size, bool)  # by place in the order
    for index, size in ((rows, shape[0]), (cols, shape[1])):
        free[_first(index[order], size)] = False
    out = np.zeros(rows.size, bool)
    out[order[free][: round(share * rows.size)]] = True
    return out


def folds(rows: Any, cols: Any, shape: tuple[int, int], n: int, seed: Any = 0) -> np.ndarray:
    """Deal the cells to `n` folds, each of which leaves a cell in every row and column.

    The cells of each row, in random order, go to the folds in turn, so that they are spread as
    evenly as they can be. A cell that is alone in its row or column is in no fold, and of a column
    whose cells would all be in one fold, one is in none.

    Parameters
    ----------
    rows, cols : array of int, shape (entries,)
        Where each cell stands.
    shape : (int, int)
        Rows and columns of the matrix.
    n : int
        Number of folds, at least 2.
    seed : int, numpy Generator, RandomState or SeedSequence

    Returns
    -------
    ndarray of int64, shape (entries,)
        From 0 to n − 1; −1 for a cell that is held out by no fold.

    Raises
    ------
    TypeError, ValueError
        For indices outside `shape` or `n` below 2.

    Examples
    --------
    >>> import numpy as np
    >>> from wlrmf import splits
    >>> rows, cols = np.nonzero(np.ones((4, 6)))
    >>> np.bincount(splits.folds(rows, cols, (4, 6), 3)).tolist()
    [8, 8, 8]
    """
    n = read_int(n, "n", 2)
    rows, cols = _read_cells(rows, cols, shape)
    order = read_seed(seed).permutation(rows.size)
    place, count = _places(order, rows, shape[0])
    out = ((np.cumsum(count) - count)[rows] + place) % n
    for index, size in ((rows, shape[0]), (cols, shape[1])):
        least, most = np.full(size, n), np.full(size, -1)
        np.minimum.at(least, index, out)
        np.maximum.at(most, index, out)
        alone = np.flatnonzero((least == most) & (most >= 0))
        first = _first(index[order], size, alone)
        out[order[first]] = -1
    return out


def read_share(value: Any, name: str = "share", *, whole: bool = False) -> float:
    """A number above 0 and below 1; the whole, 1, only where that leaves something."""
    share = read_real(value, name, positive=True)
    if share > 1 or (share == 1 and not whole):
        raise ValueError(f"`{name}` must be above 0 and below 1; got {describe(value)}")
    return share


def _places(order: np.ndarray, rows: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Place of each entry among those of its row, and the rows' numbers of entries."""
    place, count = np.empty(rows.size, np.int64), np.zeros(size, np.int64)
    places(order, rows, count, place)
    return place, count


def _first(index: np.ndarray, size: int, wanted: np.ndarray | None = None) -> np.ndarray:
    """Where each number that occurs in `index`, or each wanted one, occurs first."""
    first = np.full(size, -1)
    first[index[::-1]] = np.arange(index.size)[::-1]  # of several assignments the last one stays
    first = first if wanted is None else first[wanted]
    return first[first >= 0]


def _size(rows: np.ndarray) -> int:
    return int(rows.max()) + 1 if rows.size else 0


def _read_index(value: Any, name: str) -> np.ndarray:
    index = np.asarray(value)
    if index.ndim != 1 or (index.dtype.kind not in "iu" and index.size):
        raise TypeError(f"`{name}` must be a vector of ints; got {describe(value)}")
    index = np.ascontiguousarray(index, np.int64)
    if index.size and index.min() < 0:
        raise ValueError(f"`{name}` must not be negative; got {index.min()}")
    return index


def _read_cells(rows: Any, cols: Any, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    rows, cols = _read_index(rows, "rows"), _read_index(cols, "cols")
    if rows.size != cols.size:
        raise ValueError(
            f"`rows` and `cols` must be of one length; got {rows.size} and {cols.size}"
        )
    for index, name, size in ((rows, "rows", shape[0]), (cols, "cols", shape[1])):
        if _size(index) > size:
            raise ValueError(
                f"`{name}` must be at most {size - 1} for a shape of {tuple(shape)}; "
                f"got {index.max()}"
            )
    return rows, cols
