"""All cells of a problem that have a weight, one by one, grouped along its longer side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..kernels import chunks
from .protocol import Listed

CHUNK = 1 << 13  # entries below which a chunk is not worth its overhead


@dataclass(frozen=True, eq=False)
class Listing:
    """CSR with a row for each row of the longer factor, columns ascending, in float64.

    Attributes
    ----------
    indptr, indices, y, roots : ndarray
        Where each row begins; of each entry its column, its target and the root A of its weight.
    n_short : int
        Rows of the shorter factor, which the columns are.
    flipped : bool
        Whether X is the shorter factor and W the longer one.
    """

    indptr: np.ndarray
    indices: np.ndarray
    y: np.ndarray
    roots: np.ndarray
    n_short: int
    flipped: bool
    n_threads: int

    @classmethod
    def of(cls, problem: Listed) -> Listing:
        """The cells of a problem."""
        flipped = problem.shape[1] < problem.shape[0]
        cells = problem.observed() if flipped else problem.observed().T
        owner = np.repeat(np.arange(cells.shape[0]), cells.row_counts())
        order = np.lexsort((cells.indices, owner))
        y = cells.y[order].astype(np.float64)
        roots = np.sqrt(cells.c[order], dtype=np.float64) if cells.c.size else np.ones(len(y))
        entries = cells.indptr, cells.indices[order], y, roots
        return cls(*entries, cells.shape[1], flipped, cells.n_threads)

    @property
    def size(self) -> int:
        """How many cells there are."""
        return len(self.y)

    @cached_property
    def counts(self) -> np.ndarray:
        """Entries of each row."""
        return np.diff(self.indptr)

    @cached_property
    def turned(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The transpose: where each column's entries begin, their rows and their places."""
        place = np.argsort(self.indices, kind="stable")
        owner = np.repeat(np.arange(len(self.counts)), self.counts)
        counts = np.bincount(self.indices, minlength=self.n_short)
        return np.concatenate(([0], np.cumsum(counts))), owner[place], place

    @cached_property
    def _edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Chunks of rows and of columns; each also costs something of its own."""
        along, across = (
            chunks.even_edges(starts + np.arange(len(starts)), CHUNK)
            for starts in (self.indptr, self.turned[0])
        )
        return along, across

    def over_rows(self, task: Callable[..., Any], room: Callable[[], Any] = tuple) -> None:
        """task(lo, hi, own) for chunks of rows, `own` made by `room` once a thread."""
        chunks.run_with(room, task, self._edges[0], self.n_threads)

    def over_columns(self, task: Callable[..., Any], room: Callable[[], Any] = tuple) -> None:
        """The same for chunks of columns."""
        chunks.run_with(room, task, self._edges[1], self.n_threads)
