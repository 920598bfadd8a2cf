"""The code book between the caller's ids and the rows of a factor."""

from __future__ import annotations

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
    labels : ndarray of int64, uint64 or str
    kind : str
        What they are ids of, for messages: "user" or "item".
    written : bool
        Whether a text file named them, which does not say if 7 is a number or a text.
    """

    labels: np.ndarray
    kind: str
    written: bool = False

    def __post_init__(self) -> None:
        if self.labels.dtype.kind in "iu":  # wide, so that no id asked for wraps into another
            wide = self.labels.dtype == np.uint64 and self.labels.max(initial=0) >= 2**63
            object.__setattr__(self, "labels", self.labels.astype("u8" if wide else "i8"))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def texts(self) -> bool:
        """Whether they are texts."""
        return self.labels.dtype.kind == "U"

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.labels, kind="stable")
        return self.labels[order], order

    @cached_property
    def _as_texts(self) -> Ids:
        return Ids(self.labels.astype(np.str_), self.kind)

    def find(self, wanted: Any) -> np.ndarray:
        """Places of ids; -1 for those that are not here, a missing one (None, NaN) among them.

        Raises
        ------
        TypeError
            For ids of another type: 7 is not "7", unless one of the two comes from a text file.
        """
        if isinstance(wanted, Ids):
            if self.texts != wanted.texts and (self.written or wanted.written):
                return self._as_texts.find(wanted._as_texts.labels)
            wanted = wanted.labels
        asked, there = _read(wanted, self.kind)
        if asked.size and self.texts != (asked.dtype.kind == "U"):
            own = "texts" if self.texts else "integers"
            raise TypeError(f"{self.kind} ids are {own}; got {asked[0].item()!r}")
        out = np.full(there.shape, -1, np.int64)
        out[there] = self._look_up(asked)
        return out

    def _look_up(self, asked: np.ndarray) -> np.ndarray:
        labels, order = self._sorted
        if asked.size == 0 or labels.size == 0:
            return np.full(asked.shape, -1, np.int64)
        possible = np.ones(asked.shape, bool)
        if not self.texts:
            limits = np.iinfo(labels.dtype)
            possible = (asked >= limits.min) & (asked <= limits.max)
            asked = asked.astype(labels.dtype)
        place = np.searchsorted(labels, asked).clip(max=labels.size - 1)
        return np.where(possible & (labels[place] == asked), order[place], -1)

    def places(self, wanted: Any, policy: str = "", other: Ids | None = None) -> np.ndarray:
        """As `find`, but unknown ids are an error where the policy is "error", or there is none."""
        places = self.find(wanted)
        unknown = places < 0
        if policy in ("", "error") and unknown.any():
            labels = wanted.labels if isinstance(wanted, Ids) else np.asarray(wanted)
            advice = '. With `unknown` "mean", "zero" or "nan" they are no error' if policy else ""
            raise ValueError(self._unknown(labels[unknown].tolist(), other) + advice)
        return places

    def _unknown(self, unknown: list[Any], other: Ids | None) -> str:
        """The message about ids that are not here."""
        count = len(set(unknown))
        text = (
            f"{count} unknown {self.kind} id{'s' * (count > 1)}, the first {unknown[0]!r}; the fit "
            f"has {len(self)} {self.kind}s, such as {self.labels[0].item()!r}"
        )
        if other is not None and other.knows(unknown) > SWAPPED:
            return f"{text}. They are {other.kind} ids: are users and items exchanged?"
        return text

    def knows(self, wanted: Any) -> float:
        """Share of these ids that are here."""
        try:
            return float(np.mean(self.find(wanted) >= 0))
        except TypeError:
            return 0.0

    def joined(self, more: Ids) -> Ids:
        """These ids and others after them, which are not here yet."""
        if self.texts and more.written:
            more = more._as_texts
        if len(more) == 0:
            return self
        if self.texts != more.texts:
            own, new = "texts" if self.texts else "integers", more.labels[0].item()
            raise TypeError(f"{self.kind} ids are {own}; got {new!r}")
        parts = [self.labels, more.labels]
        if {part.dtype.kind for part in parts} == {"i", "u"}:  # which join as floats
            least = min(int(part.min()) for part in parts)
            if least < 0:
                raise ValueError(f"{self.kind} ids from {least} to 2**63 and more fit no integer")
            parts = [part.astype(np.uint64) for part in parts]
        return Ids(np.concatenate(parts), self.kind, self.written)


def _read(wanted: Any, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Ids, integers or texts, in a vector; and where there is one, in the shape of `wanted`."""
    array = np.asarray(wanted)
    there = ~np.ma.getmaskarray(wanted) if np.ma.isMA(wanted) else np.ones(array.shape, bool)
    if array.dtype.kind == "O":  # what data frames hand over
        there &= np.reshape([_can_be(entry) for entry in array.flat], array.shape)
        kept = array[there].tolist()
        if len({isinstance(entry, str) for entry in kept}) > 1:
            raise TypeError(f"{kind} ids must be all integers or all texts; got both")
        asked = np.asarray(kept)
    else:
        if array.dtype.kind == "f":
            there &= ~np.isnan(array)
        asked = array[there]
    if asked.dtype.kind == "f" and np.all((np.abs(asked) < 2**53) & (asked % 1 == 0)):
        asked = asked.astype(np.int64)  # whole numbers, such as pandas has beside missing ones
    if asked.size and asked.dtype.kind not in "iuU":
        raise TypeError(f"{kind} ids are integers or texts; got {describe(wanted)}")
    return asked, there


def _can_be(entry: Any) -> bool:
    """Whether it can be an id: not None, NaN, pandas' NA, or an integer of more than 64 bits."""
    if entry is None or type(entry).__name__ == "NAType" or bool(entry != entry):
        return False
    return not isinstance(entry, int) or -(2**63) <= entry < 2**64


def read_policy(unknown: Any) -> str:
    """One of the policies for ids that the fit does not know."""
    if unknown not in POLICIES:
        raise ValueError(f"`unknown` must be one of {POLICIES}; got {describe(unknown)}")
    return str(unknown)
