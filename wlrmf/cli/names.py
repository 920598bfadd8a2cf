"""The names that a model's rows and columns go by on the command line."""

from __future__ import annotations

import difflib
from pathlib import Path

import click
import numpy as np

from ..io import DataFileError
from ..model import Factorization


class Names:
    """The names of a model's rows, or columns, and their indices."""

    def __init__(self, what: str, names: np.ndarray | None, size: int):
        self.what, self.size = what, size
        self.index: dict[str, int] | None = None
        self.twice: set[str] = set()
        if names is not None:
            self.index = {}
            for place, name in enumerate(names.tolist()):
                if name in self.index:
                    self.twice.add(name)
                self.index[name] = place

    @classmethod
    def rows(cls, model: Factorization) -> Names:
        """Of the rows."""
        return cls("row", model.row_names, model.shape[0])

    @classmethod
    def columns(cls, model: Factorization) -> Names:
        """Of the columns."""
        return cls("column", model.col_names, model.shape[1])

    def place(self, name: str) -> int | None:
        """The index of a name, None if there is none."""
        if self.index is not None:
            return None if name in self.twice else self.index.get(name)
        try:
            place = int(name)
        except ValueError:
            return None
        return place if 0 <= place < self.size else None

    def find(self, name: str) -> int:
        """The index of a name, or an error."""
        place = self.place(name)
        if place is None:
            raise click.ClickException(self.refusal(name))
        return place

    def refusal(self, name: str) -> str:
        """Why a name has no index."""
        if self.index is None:
            return (
                f"no {self.what} {name!r}: the model has no {self.what} names, "
                f"its {self.what}s are 0 to {self.size - 1}"
            )
        if name in self.twice:
            return f"several {self.what}s of the model are called {name!r}"
        close = difflib.get_close_matches(name, list(self.index)[:10_000], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"no {self.what} {name!r} among the {self.size} of the model{hint}"

    def places(self, ids: np.ndarray, codes: np.ndarray, file: Path, column: str) -> np.ndarray:
        """The indices of a file's column, given as ids and the place of each row's among them."""
        found = [self.place(str(label)) for label in ids.tolist()]
        index = np.array([-1 if place is None else place for place in found])[codes]
        if (index < 0).any():
            first = int(np.argmin(index))
            raise DataFileError(
                f"{file}: data row {first + 1}, column {column!r}: "
                f"{self.refusal(str(ids[codes[first]]))} "
                f"({np.count_nonzero(index < 0)} such rows)"
            )
        return index
