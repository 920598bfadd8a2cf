"""The items of the largest inner products with each query, and the ranks of given items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .kernels import chunks
from .kernels import top as kernels
from .validation.cells import read_dtype
from .validation.lists import read_items, read_lists
from .validation.options import read_dense, read_int

FEW, MANY = 64, 256  # queries a chunk: each packs the items again, a 16th of the work for 100
NONE = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Lists:
    """One list of items a query, best first.

    Attributes
    ----------
    indptr : ndarray of int64, shape (m + 1,)
        Query i has the entries ``indptr[i]`` to ``indptr[i + 1]``.
    items : ndarray of int64, shape (indptr[-1],)
        Indices of rows of ``right``.
    scores : ndarray of float32 or float64, shape (indptr[-1],)
        Their inner products with the query.
    """

    indptr: np.ndarray
    items: np.ndarray
    scores: np.ndarray


def top_n(
    left: Any,
    right: Any,
    n: int,
    *,
    skip: Any = None,
    among: Any = None,
    n_threads: int | None = None,
) -> Lists:
    """For each row of `left` the `n` rows of `right` of the largest inner product, best first.

    Scores ``s_ij = Σ_e left[i, e] · right[j, e]`` are made a tile at a time and never stored. Each
    is one chain of fused multiply-adds over e = 0, 1, ...: its bits depend on the two rows alone,
    not on the other queries, `among`, `skip` or the number of threads.

    Parameters
    ----------
    left : array, shape (m, k)
        Queries, finite.
    right : array, shape (n_items, k)
        Items, finite. Scores are float32 if both are, otherwise float64.
    n : int
        Length of a list, at least 0. A query with fewer candidates gets them all.
    skip : pair (indptr, indices), optional
        What each query must not get, as a CSR matrix of m rows has it: integers, ascending within
        a row, none twice.
    among : vector of integers, optional
        The items that may be returned, in any order, none twice. Default: all.
    n_threads : int, optional
        Default: the processors this process may use.

    Returns
    -------
    Lists
        Scores descending, of equal scores the smaller index first.

    Raises
    ------
    TypeError, ValueError
        For arguments that make no sense, and where a score could overflow.

    Examples
    --------
    >>> import numpy as np
    >>> from wlrmf.top import top_n
    >>> items = np.array([[1.0, 0], [0, 2], [2, 2]])
    >>> lists = top_n([[1.0, 0], [0, 1]], items, 2, skip=([0, 1, 1], [2]))
    >>> print(lists.indptr, lists.items, lists.scores)
    [0 2 4] [0 1 1 2] [1. 0. 2. 2.]
    """
    left, right, threads = _read_factors(left, right, n_threads)
    n = read_int(n, "n", 0)
    m, n_items = len(left), len(right)
    candidates = NONE if among is None else read_items(among, "among", n_items)
    count = n_items if among is None else len(candidates)
    seen = (NONE, NONE) if skip is None else read_lists(skip, "skip", m, n_items)
    left_over = np.full(m, count)
    if skip is not None:
        left_over -= _skipped(seen, None if among is None else candidates, n_items, threads)
    lengths = np.minimum(left_over, n)
    indptr = np.concatenate(([0], np.cumsum(lengths)))
    lists = Lists(indptr, np.empty(indptr[-1], np.int64), np.empty(indptr[-1], left.dtype))
    if indptr[-1]:
        growing = kernels.Growing(
            indptr,
            lists.items,
            lists.scores,
            np.where(lengths > 0, -np.inf, np.inf).astype(left.dtype),
            np.zeros(m, np.int64),
            seen[0][:-1].copy() if skip is not None else np.zeros(m, np.int64),
        )

        def task(lo: int, hi: int, own: kernels.Room) -> None:
            kernels.top(left, right, candidates, count, seen, lo, hi, own, growing)

        room = partial(kernels.room, count, right.shape[1], left.dtype)
        chunks.run_with(room, task, _edges(m), threads)
    return lists


def ranks_of(
    left: Any, right: Any, targets: Any, *, skip: Any = None, n_threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """For each target of each query, how many other items score higher, and how many the same.

    The scores are those of `top_n`, to the bit. Only items count that are neither targets nor
    skipped, so that ``(pairs - higher - tied / 2) / pairs``, with ``pairs`` their number, is a
    target's share of the area under the query's ROC curve. A target that is skipped too has its
    counts all the same.

    Parameters
    ----------
    left : array, shape (m, k)
        Queries, finite.
    right : array, shape (n_items, k)
        Items, finite.
    targets : pair (indptr, indices)
        Items of each query, as a CSR matrix of m rows has them: integers, ascending within a row,
        none twice.
    skip : pair (indptr, indices), optional
        Items that do not count for a query, in the same form.
    n_threads : int, optional
        Default: the processors this process may use.

    Returns
    -------
    higher, tied : ndarray of int64
        One number an entry of the targets' indices.

    Raises
    ------
    TypeError, ValueError
        For arguments that make no sense, and where a score could overflow.

    Examples
    --------
    >>> import numpy as np
    >>> from wlrmf.top import ranks_of
    >>> items = np.array([[1.0], [3], [2], [2], [0]])
    >>> higher, tied = ranks_of([[1.0]], items, ([0, 2], [0, 2]))
    >>> print(higher, tied)
    [2 1] [0 1]
    """
    left, right, threads = _read_factors(left, right, n_threads)
    m, n_items = len(left), len(right)
    wanted = read_lists(targets, "targets", m, n_items)
    seen = (NONE, NONE) if skip is None else read_lists(skip, "skip", m, n_items)
    higher, tied = np.zeros((2, wanted[1].size), np.int64)
    if higher.size:
        results = np.empty(higher.size, left.dtype), higher, tied
        floor = np.full(m, np.inf, left.dtype)
        begins = seen[0][:-1] if skip is not None else np.zeros(m, np.int64)
        at = np.stack([begins, wanted[0][:-1]], axis=1)

        def task(lo: int, hi: int, own: kernels.Room) -> None:
            given = seen, wanted
            kernels.ranks(left, right, *given, lo, hi, own, floor, at, results)

        room = partial(kernels.room, n_items, right.shape[1], left.dtype, whole_rows=True)
        chunks.run_with(room, task, _edges(m), threads)
    return higher, tied


def _read_factors(left: Any, right: Any, n_threads: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """Factors of one type, with at least one column, whose scores are finite; threads."""
    left, right = read_dense(left, "left"), read_dense(right, "right")
    columns = left.shape[1]
    if columns != right.shape[1]:
        raise ValueError(
            f"`left` (m, k) and `right` (n_items, k) must have the same number of columns; "
            f"got shapes {left.shape} and {right.shape}"
        )
    threads = (
        chunks.available_threads() if n_threads is None else read_int(n_threads, "n_threads", 1)
    )
    dtype = read_dtype(None, np.result_type(left, right))
    if columns == 0:
        left, right = np.zeros((len(left), 1), dtype), np.zeros((len(right), 1), dtype)
    largest = [max(float(a.max()), -float(a.min())) if a.size else 0.0 for a in (left, right)]
    bound = largest[0] * largest[1] * max(columns, 1)
    if not bound < float(np.finfo(dtype).max) / 2:  # rounding adds a little
        wide = " or use float64" if dtype == np.float32 else ""
        raise ValueError(
            f"scores of `left` and `right` could reach {bound:.3g}, which {dtype} cannot hold; "
            f"their largest numbers are {largest[0]:.3g} and {largest[1]:.3g}: "
            f"multiply by a constant{wide}"
        )
    return np.ascontiguousarray(left, dtype), np.ascontiguousarray(right, dtype), threads


def _skipped(seen: Any, candidates: np.ndarray | None, n_items: int, threads: int) -> np.ndarray:
    """How many candidates each query skips."""
    if candidates is None:
        return np.diff(seen[0])
    member = np.zeros(n_items, np.bool_)
    member[candidates] = True
    counts = np.empty(len(seen[0]) - 1, np.int64)

    def task(lo: int, hi: int) -> None:
        kernels.count_members(seen[0], seen[1], member, lo, hi, counts)

    chunks.run(task, chunks.even_edges(seen[0], 1 << 18), threads)
    return counts


def _edges(m: int) -> np.ndarray:
    """Chunks of whole tiles of queries."""
    tiles = -(-m // kernels.TALL)
    work = np.arange(tiles + 1) * kernels.TALL
    edges = chunks.even_edges(work, min(MANY, max(FEW, m // 8)))
    return np.minimum(edges * kernels.TALL, m)
