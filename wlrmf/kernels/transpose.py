"""The transpose of a CSR matrix, by a counting sort whose chunks of rows may run at once.

Each chunk counts its entries in every column; from the counts follows where in the transpose each
chunk writes. So the entries of a column keep the order of their rows, as in scipy's.
"""

from __future__ import annotations

from ._jit import kernel


@kernel
def count(indices, lo, hi, counts):
    """Add the entries lo..hi of each column to `counts`."""
    for e in range(lo, hi):
        counts[indices[e]] += 1


@kernel
def scatter(indptr, indices, y, c, lo, hi, place, rows, y_out, c_out):
    """Write rows lo..hi to the transpose; place[j] is where column j's next entry goes."""
    for i in range(lo, hi):
        for e in range(indptr[i], indptr[i + 1]):
            j = indices[e]
            p = place[j]
            place[j] = p + 1
            rows[p], y_out[p] = i, y[e]
            if c.size > 0:
                c_out[p] = c[e]
