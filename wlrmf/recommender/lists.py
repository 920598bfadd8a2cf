"""Ranked lists, one for each user (or item) that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False, repr=False)
class RankedLists:
    """Items (or users), best first, for each of those asked for, in their order.

    A list is shorter than was wanted where there are no more candidates; nothing is padded.

    Attributes
    ----------
    asked : ndarray of int or str
        Whose lists they are.
    indptr : ndarray of int, shape (asked + 1,)
        The list of ``asked[k]`` is ``found[indptr[k]:indptr[k + 1]]``.
    found : ndarray of int or str
        Ids, best first; of equal scores the one that comes first in the fit.
    scores : ndarray of float
        On `found`.
    kinds : pair of str
        What `asked` and `found` are ids of.
    """

    asked: np.ndarray
    indptr: np.ndarray
    found: np.ndarray
    scores: np.ndarray
    kinds: tuple[str, str] = ("user", "item")

    def __len__(self) -> int:
        return len(self.asked)

    def __getitem__(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and scores of list number k."""
        if not isinstance(k, int | np.integer):
            raise TypeError(f"lists go by number, in the order of `asked`; got {k!r}")
        if not -len(self) <= k < len(self):
            raise IndexError(f"list {k} of {len(self)}")
        part = slice(self.indptr[k % len(self)], self.indptr[k % len(self) + 1])
        return self.found[part], self.scores[part]

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (self[k] for k in range(len(self)))

    def to_dict(self) -> dict[str, np.ndarray]:
        """Columns, one row an entry of a list, as ``pandas.DataFrame`` and others take them.

        Their names are those of `kinds` (if these are equal the second is "similar"), "place"
        (1 is the best) and "score".
        """
        counts = np.diff(self.indptr)
        place = np.arange(len(self.found)) - np.repeat(self.indptr[:-1], counts) + 1
        first, second = self.kinds
        return {
            first: np.repeat(self.asked, counts),
            "similar" if second == first else second: self.found,
            "place": place,
            "score": self.scores,
        }

    def __repr__(self) -> str:
        first, second = self.kinds
        lines = [f"<{len(self)} lists of {second}s, {len(self.found)} in all>"]
        for k in range(min(3, len(self))):
            ids, _ = self[k]
            shown = ", ".join(repr(each) for each in ids[:5].tolist())
            dots = ", …" if len(ids) > 5 else ""
            lines.append(f"{first} {self.asked[k : k + 1].tolist()[0]!r}: {shown}{dots}")
        return "\n".join([*lines, "…"] if len(self) > 3 else lines)


def as_lists(
    asked: Any, indptr: np.ndarray, places: np.ndarray, scores: np.ndarray, labels: np.ndarray,
    kinds: tuple[str, str],
) -> RankedLists:  # fmt: skip
    """Lists of places as lists of ids."""
    return RankedLists(np.atleast_1d(asked), indptr, labels[places], scores, kinds)
