"""Counting of entries within their rows, without a sort."""

from __future__ import annotations

from ._jit import kernel


@kernel
def places(order, rows, count, place):
    """place[e] = how many entries of e's row come before e in `order`; `count` begins with zeros.

    In the end `count` has each row's number of entries.
    """
    for k in range(order.size):
        e = order[k]
        i = rows[e]
        place[e] = count[i]
        count[i] += 1
