"""All cells of a problem that have a weight, one by one, grouped along its longer side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..kernels import chunks
from .protocol import Listed

CHUNK = 1 << 13  # entries below which a chunk is not worth its overhead


class Groups(NamedTuple):
    """Rows that have their columns, their weights and their ridge in common, and so a panel."""

    starts: np.ndarray  # where each group begins in
    members: np.ndarray  # its rows, ascending
    panels: np.ndarray  # where each group's panel begins among all panels
    group: np.ndarray  # of each row

    @classmethod
    def of(cls, kinds: np.ndarray, reg: np.ndarray, counts: np.ndarray) -> Groups:
        """Of rows of one kind and ridge; those without entries have no panel."""
        members = np.lexsort((reg, kinds))
        new = (np.diff(kinds[members]) != 0) | (np.diff(reg[members]) != 0)
        starts = np.concatenate(([0], np.flatnonzero(new) + 1, [len(members)]))
        starts = starts[: None if len(members) else 1]
        panels = np.concatenate(([0], np.cumsum(counts[members[starts[:-1]]])))
        group = np.empty(len(members), np.int64)
        group[members] = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        return cls(starts, members, panels, group)

    @property
    def leaders(self) -> np.ndarray:
        """The first row of each group."""
        return self.members[self.starts[:-1]]


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

    def taken(self, rows: np.ndarray) -> Listing:
        """The cells of some rows, ascending."""
        if len(rows) == len(self.counts):
            return self
        counts = self.counts[rows]
        indptr = np.concatenate(([0], np.cumsum(counts)))
        place = np.repeat(self.indptr[rows] - indptr[:-1], counts) + np.arange(indptr[-1])
        entries = self.indices[place], self.y[place], self.roots[place]
        return replace(self, indptr=indptr, indices=entries[0], y=entries[1], roots=entries[2])

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
    def kinds(self) -> np.ndarray:
        """For each row the first one that has the same columns and weights."""
        rng, row = np.random.default_rng(0), np.arange(len(self.counts))
        column = rng.integers(2**63, size=self.n_short, dtype=np.uint64)
        marks = column[self.indices] * (self.roots.view(np.uint64) | np.uint64(1))
        sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(marks)))  # they wrap around
        sums = np.diff(sums[self.indptr]) + self.counts.astype(np.uint64)
        _, first, which = np.unique(sums, return_index=True, return_inverse=True)
        kinds = np.where(self.counts[first[which]] == self.counts, first[which], row)
        owner = np.repeat(row, self.counts)
        other = np.arange(self.size) + np.repeat(self.indptr[kinds] - self.indptr[:-1], self.counts)
        differ = self.indices != self.indices[other]
        differ |= self.roots != self.roots[other]
        kinds[owner[differ]] = owner[differ]  # sums may agree by chance
        return kinds

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

    def over_groups(
        self, groups: Groups, task: Callable[..., Any], room: Callable[[], Any]
    ) -> None:
        """The same for chunks of groups of rows."""
        along = np.concatenate(([0], np.cumsum(self.counts[groups.members])))[groups.starts]
        edges = chunks.even_edges(along + np.arange(len(along)), CHUNK)
        chunks.run_with(room, task, edges, self.n_threads)
