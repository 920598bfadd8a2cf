"""Quadratic forms of generalized inverses, and which of them are finite."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LEAST = 1e-11  # eigenvalues of a scaled matrix that are not told from 0 below it
BLIND = 1e-10  # share of a square that may be rounding


class Inverses(NamedTuple):
    """Generalized inverses Σ_d b_d b_d' / λ_d of a stack of matrices G, over λ_d > 0.

    The b_d are the eigenvectors of G scaled to a diagonal of ones, scaled back, so that the units
    of the columns do not matter. By no other diagonal is the condition number smaller by more than
    a factor k (van der Sluis 1969, Numer. Math. 14, doi:10.1007/BF02165096).
    """

    basis: np.ndarray  # (rows, k, k), directions last
    values: np.ndarray  # (rows, k), 0 where rounding leaves nothing else to say

    @classmethod
    def of(cls, G: np.ndarray) -> Inverses:
        """Of symmetric positive semidefinite matrices, (rows, k, k)."""
        diagonal = np.einsum("ikk->ik", G)
        root = np.sqrt(np.where(diagonal > 0, diagonal, 1))
        values, V = np.linalg.eigh(G / root[:, :, None] / root[:, None, :])
        return cls(V / root[:, :, None], cut(values))

    @property
    def ranks(self) -> np.ndarray:
        """Of each matrix."""
        return np.asarray((self.values > 0).sum(axis=1))

    @property
    def matrices(self) -> np.ndarray:
        """The inverses themselves, (rows, k, k)."""
        return (self.basis * reciprocal(self.values)[:, None, :]) @ self.basis.swapaxes(1, 2)

    @property
    def scalings(self) -> np.ndarray:
        """T with T' G T = I but for zeros, (rows, k, k); it has an inverse always."""
        whole = np.where(self.values > 0, self.values, 1)
        return self.basis / np.sqrt(whole)[:, None, :]

    def variances(self, z: np.ndarray) -> np.ndarray:
        """Forms z' G⁻ z, one z (k,) a matrix; inf where z is not in the range of G."""
        shares = np.einsum("ikd,ik->id", self.basis, z)
        return forms(shares, self.values, np.sum(shares**2, axis=1))


def cut(values: np.ndarray) -> np.ndarray:
    """Eigenvalues, 0 for what rounding may have made of one."""
    return np.where(values > LEAST, values, 0)


def forms(shares: np.ndarray, values: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Σ_d shares_d² / values_d over the values above 0, along the last axis.

    Inf where the shares in the other directions are more than rounding; `size` is the square that
    rounding is measured by.
    """
    square = shares**2
    blind = np.sum(np.where(values > 0, 0, square), axis=-1)
    return np.where(blind > BLIND * size, np.inf, np.sum(square * reciprocal(values), axis=-1))


def reciprocal(values: np.ndarray) -> np.ndarray:
    """1 / values, and 0 where they are not above 0."""
    good = values > 0
    return np.where(good, 1 / np.where(good, values, 1), 0)
