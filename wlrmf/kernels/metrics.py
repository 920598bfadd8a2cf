"""Lists of recommended items, held against the items that are relevant, a user at a time.

A user's list is items[indptr[u]:indptr[u+1]], best first and without repeats; the relevant items
are a row of the same form, rising. The judges in validation/ and `first_places` have seen to that.
The slow twin is in tests/naive.py.
"""

from __future__ import annotations

import numpy as np

from ._jit import inlined, kernel

MEASURES = ("precision", "recall", "map", "ndcg", "hit", "mrr")  # places in `values`


@kernel
def first_places(indptr, codes, lo, hi, seen, places):
    """Lower places[c] to the best place (from 0) that item c has in the lists lo..hi.

    Returns the first entry that repeats an item of its list, or -1. seen[c] is 1 + the last user
    whose list had c; 0 before the first call. An empty `places` is left alone.
    """
    for u in range(lo, hi):
        for e in range(indptr[u], indptr[u + 1]):
            c = codes[e]
            if seen[c] == u + 1:
                return e
            seen[c] = u + 1
            if places.size > 0:
                places[c] = min(places[c], e - indptr[u])
    return -1


@inlined
def _place(items, lo, hi, item):
    """First place in the rising items[lo:hi] that is not below `item`."""
    while lo < hi:
        middle = (lo + hi) // 2
        if items[middle] < item:
            lo = middle + 1
        else:
            hi = middle
    return lo


@inlined
def _sift(heap, root, size):
    """Let heap[root] sink until no child is smaller: the least is on top."""
    value = heap[root]
    child = 2 * root + 1
    while child < size:
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] < value:
            heap[root] = heap[child]
            root = child
            child = 2 * root + 1
        else:
            child = size
    heap[root] = value


@inlined
def _sort_falling(values, size):
    """Heap sort of values[:size], the largest first."""
    for root in range(size // 2 - 1, -1, -1):
        _sift(values, root, size)
    for end in range(size - 1, 0, -1):
        least = values[0]
        values[0] = values[end]
        values[end] = least
        _sift(values, 0, end)


@kernel
def score(lists, relevant, discounts, cuts, wanted, lo, hi, ideal, values, sums, out):
    """Add the measures of users lo..hi to sums[measure, cut]; write them to `out` if it has room.

    `relevant` is (indptr, items, gains), no gains meaning 1 each; `cuts` rise; `wanted` are the
    numbers of the measures in `MEASURES`. Users without relevant items are NaN in `out` and add
    nothing. `ideal` has room for the longest row of gains, or none where they are not wanted.
    """
    indptr, items = lists
    rows, targets, gains = relevant
    graded = ideal.size > 0
    for u in range(lo, hi):
        start, first = indptr[u], rows[u]
        length, count = indptr[u + 1] - start, rows[u + 1] - first
        if graded:
            for r in range(count):
                ideal[r] = gains[first + r]
            _sort_falling(ideal, count)
        hits, p = 0, 0
        precisions = dcg = best = reciprocal = 0.0
        for c in range(cuts.size):
            # beyond the list and the row nothing changes but the cut-off
            stop = min(cuts[c], max(length, count))
            while p < stop:
                # both sums in one loop, so that an ideal list gets its ideal to the last bit
                if p < count:
                    best += discounts[p] * (ideal[p] if graded else 1.0)
                if p < length:
                    item = items[start + p]
                    r = _place(targets, first, first + count, item)
                    if r < first + count and targets[r] == item:
                        hits += 1
                        precisions += hits / (p + 1)
                        dcg += discounts[p] * (gains[r] if graded else 1.0)
                        if hits == 1:
                            reciprocal = 1 / (p + 1)
                p += 1
            values[:] = np.nan
            if count > 0:
                values[0] = hits / cuts[c]
                values[1] = hits / count
                values[2] = precisions / min(cuts[c], count)
                values[3] = min(1.0, dcg / best)
                values[4] = 1.0 if hits > 0 else 0.0
                values[5] = reciprocal
            for k in range(wanted.size):
                if count > 0:
                    sums[k, c] += values[wanted[k]]
                if out.size > 0:
                    out[k, c, u] = values[wanted[k]]
