"""The residuals A∘A∘(Y − WX'), as an operator that also tells its rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from scipy.sparse.linalg import LinearOperator


class Side(NamedTuple):
    """A matrix to one side: its product with vectors, and some of its rows as an array."""

    times: Callable[[np.ndarray], np.ndarray]
    rows: Callable[[int, int], np.ndarray]

    @classmethod
    def of(cls, matrix: np.ndarray) -> Side:
        """Of an array."""
        return cls(lambda x: matrix @ x, lambda lo, hi: matrix[lo:hi])


class Residuals(LinearOperator):
    """A matrix by what it and its transpose do.

    Parameters
    ----------
    shape : tuple (m, n)
    dtype : dtype
    forward, backward : callable
        The matrix and its transpose, each called when it is first needed.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        dtype: np.dtype,
        forward: Callable[[], Side],
        backward: Callable[[], Side],
    ):
        super().__init__(dtype, shape)
        self.forward, self.backward = cache(forward), cache(backward)

    @classmethod
    def of(cls, matrix: np.ndarray) -> Residuals:
        """Those that are an array."""
        sides = partial(Side.of, matrix), partial(Side.of, matrix.T)
        return cls(matrix.shape, matrix.dtype, *sides)

    def rows(self, lo: int, hi: int) -> np.ndarray:
        """Some of its rows, (hi − lo, n): at most those that there are."""
        return self.forward().rows(lo, hi)

    def _matmat(self, x: np.ndarray) -> np.ndarray:
        return self.forward().times(x)

    def _rmatmat(self, w: np.ndarray) -> np.ndarray:
        return self.backward().times(w)

    def _transpose(self) -> Residuals:
        return Residuals(self.shape[::-1], self.dtype, self.backward, self.forward)

    _adjoint = _transpose
