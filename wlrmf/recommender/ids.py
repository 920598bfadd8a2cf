"""The code book between the caller's ids and the rows of a factor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..validation.errors import describe

POLICIES = ("error", "mean", "zero", "nan")
SWAPPED = 0.5  # share of the unknown ids that the other side knows


@dataclass(frozen=True, eq=False)
class Ids:
    """Ids in the order of their rows: integers or texts, each once.

    Attributes
    ----------
    labels : ndarray of int or str
    kind : str
        What they are ids of, for messages: "user" or "item".
    """

    labels: np.ndarray
    kind: str

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.labels, kind="stable")
        return self.labels[order], order

    def find(self, wanted: Any) -> np.ndarray:
        """Places of ids; -1 for those that are not here, a missing one (None, NaN) among them.

        Raises
        ------
        TypeError
            For ids of another type: 7 is not "7".
        """
        asked = self._read(wanted)
        labels, order = self._sorted
        if asked.size == 0 or labels.size == 0:
            return np.full(asked.shape, -1, np.int64)
        possible = np.ones(asked.shape, bool)
        if {asked.dtype.kind, labels.dtype.kind} == {"i", "u"}:  # which compare as floats
            possible = asked >= 0 if labels.dtype.kind == "u" else asked <= np.iinfo(np.int64).max
            asked = asked.astype(labels.dtype)
        place = np.searchsorted(labels, asked).clip(max=labels.size - 1)
        return np.where(possible & (labels[place] == asked), order[place], -1).astype(np.int64)

    def _read(self, wanted: Any) -> np.ndarray:
        """An array that compares with the labels; what is missing becomes an id that none has."""
        asked = np.asarray(wanted)
        if asked.dtype.kind == "O":  # what data frames hand over
            asked = np.asarray([_plain(entry, self.labels) for entry in asked.reshape(-1).tolist()])
            asked = asked.reshape(np.shape(wanted))
        texts = self.labels.dtype.kind == "U"
        if texts and asked.dtype.kind == "U":
            return asked
        if not texts and asked.dtype.kind in "iu":
            return asked
        if not texts and asked.dtype.kind == "f" and np.all((asked % 1 == 0) | np.isnan(asked)):
            return asked  # whole numbers beside missing ones
        if asked.size == 0:
            return asked.astype(self.labels.dtype)
        own = "texts" if texts else "integers"
        raise TypeError(f"{self.kind} ids are {own}; got {describe(wanted)} ({asked.dtype})")

    def places(self, wanted: Any, policy: str, other: Ids | None = None) -> np.ndarray:
        """As `find`, but unknown ids are an error where the policy is "error"."""
        places = self.find(wanted)
        unknown = places < 0
        if policy == "error" and unknown.any():
            raise ValueError(self.unknown_ids(np.asarray(wanted)[unknown].tolist(), other))
        return places

    def unknown_ids(self, unknown: list[Any], other: Ids | None) -> str:
        """The message about ids that are not here."""
        count = len(set(unknown))
        text = (
            f"{count} unknown {self.kind} id{'s' * (count > 1)}, the first {unknown[0]!r}; the fit "
            f"has {len(self)} {self.kind}s, such as {self.labels[0].item()!r}"
        )
        if other is not None and other.knows(unknown) > SWAPPED:
            return f"{text}. They are {other.kind} ids: are users and items exchanged?"
        return f'{text}. With `unknown` "mean", "zero" or "nan" they are no error'

    def knows(self, wanted: Any) -> float:
        """Share of these ids that are here."""
        try:
            return float(np.mean(self.find(wanted) >= 0))
        except TypeError:
            return 0.0

    def joined(self, more: Iterable[Any]) -> Ids:
        """These ids and others after them, which are not here yet."""
        return Ids(np.concatenate([self.labels, np.asarray(more)]), self.kind)


def _plain(entry: Any, labels: np.ndarray) -> Any:
    """An entry of an object array; a missing one as an id that cannot be."""
    missing = entry is None or type(entry).__name__ == "NAType" or entry != entry
    if missing:
        return "\0missing" if labels.dtype.kind == "U" else np.nan
    return entry


def read_policy(unknown: Any) -> str:
    """One of the policies for ids that the fit does not know."""
    if unknown not in POLICIES:
        raise ValueError(f"`unknown` must be one of {POLICIES}; got {describe(unknown)}")
    return str(unknown)
