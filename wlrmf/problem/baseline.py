"""Stored cells have their own target and weight; all others have target 0 and weight u v'."""

from __future__ import annotations

import numpy as np

from . import grams, least_norm
from .observed import Observed
from .protocol import Fixed, Rows
from .residuals import Side


class Baseline(Observed):
    """CSR plus the rank-one weight u v' on all cells that are not stored (implicit feedback).

    The sum over all cells needs two rank x rank Gram matrices; the kernels add what the stored
    cells differ by (Hu, Koren & Volinsky 2008, doi:10.1109/ICDM.2008.22, section 4).
    """

    @property
    def _column_weights(self) -> np.ndarray:
        return self.v

    def total_weight(self) -> float:
        everywhere = float(self.u.sum(dtype=np.float64)) * float(self.v.sum(dtype=np.float64))
        replaced = self._csr(np.ones_like(self.y)) @ self.v.astype(np.float64)
        return everywhere - float(self.u @ replaced) + super().total_weight()

    @property
    def n_listed(self) -> int:
        return self.shape[0] * self.shape[1]

    def observed(self) -> Observed:
        """All cells: those that are not stored have the target 0 and the weight u v'."""
        m, n = self.shape
        Y, C = np.zeros(self.shape, self.dtype), np.outer(self.u, self.v)
        rows = np.repeat(np.arange(m), self.row_counts())
        Y[rows, self.indices] = self.y
        C[rows, self.indices] = self.c if self.c.size else 1
        indptr, indices = np.arange(m + 1) * n, np.tile(np.arange(n, dtype=np.int32), m)
        none = np.empty(0, self.dtype)
        return Observed(
            self.shape, indptr, indices, Y.ravel(), C.ravel(), none, none, self.n_threads
        )

    def loss(self, W: np.ndarray, X: np.ndarray) -> float:
        # two sums of which the first can be negative: rounding must not make their sum so
        return max(
            0.0, super().loss(W, X) + float(np.sum(self._gram(W, self.u) * self._gram(X, self.v)))
        )

    def loss_grad(self, W: np.ndarray, X: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        loss, dW, dX = super().loss_grad(W, X)
        G, H = self._gram(W, self.u), self._gram(X, self.v)
        dW += 2 * self.u[:, None] * (W @ H.astype(self.dtype))
        dX += 2 * self.v[:, None] * (X @ G.astype(self.dtype))
        return max(0.0, loss + float(np.sum(G * H))), dW, dX

    def row_grad(self, W: np.ndarray, X: np.ndarray) -> np.ndarray:
        shared = W @ self._gram(X, self.v).astype(self.dtype)
        return super().row_grad(W, X) + 2 * self.u[:, None] * shared

    def line(self, W: np.ndarray, X: np.ndarray, dW: np.ndarray, dX: np.ndarray) -> np.ndarray:
        G, H = (
            self._gram(np.hstack(pair), weight, dtype=self.dtype)
            for pair, weight in (((W, dW), self.u), ((X, dX), self.v))
        )
        return super().line(W, X, dW, dX) + self.line_of_grams(G, H)

    @staticmethod
    def line_of_grams(G: np.ndarray, H: np.ndarray) -> np.ndarray:
        """The baseline's share of `line`, from the Gram matrices of (W, dW) and of (X, dX).

        Σ u v (m + t b + t² d)² with m = WX', b = dWX' + WdX', d = dWdX': each inner product of
        two predictions is the elementwise product of two Gram matrices.
        """
        k = len(G) // 2

        def inner(w1: int, x1: int, w2: int, x2: int) -> float:
            rows, cols = slice(w1 * k, w1 * k + k), slice(w2 * k, w2 * k + k)
            xrows, xcols = slice(x1 * k, x1 * k + k), slice(x2 * k, x2 * k + k)
            return float(np.sum(G[rows, cols] * H[xrows, xcols]))

        mm, dd, md = inner(0, 0, 0, 0), inner(1, 1, 1, 1), inner(0, 0, 1, 1)
        mb = inner(0, 0, 1, 0) + inner(0, 0, 0, 1)
        bd = inner(1, 0, 1, 1) + inner(0, 1, 1, 1)
        bb = inner(1, 0, 1, 0) + 2 * inner(1, 0, 0, 1) + inner(0, 1, 0, 1)
        return np.array([mm, 2 * mb, bb + 2 * md, 2 * bd, dd])

    def _gn_rows(self, W: np.ndarray, X: np.ndarray, dW: np.ndarray, dX: np.ndarray) -> np.ndarray:
        shared = dW @ self._gram(X, self.v) + W @ self._gram(dX, self.v, X)
        return super()._gn_rows(W, X, dW, dX) + self.u[:, None] * shared.astype(self.dtype)

    def _residual_side(self, W: np.ndarray, X: np.ndarray) -> Side:
        stored, u, v = super()._residual_side(W, X), self.u[:, None], self.v[:, None]
        if not (W.any() and X.any()):
            return stored

        def times(x: np.ndarray) -> np.ndarray:
            return stored.times(x) - u * (W @ (X.T @ (v * x)))

        def rows(lo: int, hi: int) -> np.ndarray:
            return stored.rows(lo, hi) - (u[lo:hi] * W[lo:hi]) @ (v * X).T

        return Side(times, rows)

    def row_grams(self, X: np.ndarray, rows: np.ndarray) -> np.ndarray:
        u, v = self.u.astype(np.float64), self.v.astype(np.float64)
        owner = np.repeat(u, self.row_counts())
        base = self._csr(owner * v[self.indices])[rows]
        shared = u[rows, None, None] * grams.of_weights(v[None], X)
        return shared + super().row_grams(X, rows) - grams.of_weights(base, X)

    def best_rows(
        self,
        X: np.ndarray,
        reg: np.ndarray,
        fixed: Fixed | None = None,
        gram: np.ndarray | None = None,
    ) -> Rows:
        """Rotate X so that the Gram matrix all rows share is diagonal; one kernel then serves.

        `gram` is that of the columns of fixed.X and X over the rows of both, weighted by v; it is
        given where X has only the rows that are stored here.
        """
        both = X if fixed is None else np.hstack([fixed.X, X])
        gram = self._gram(both, self.v) if gram is None else gram
        held = len(gram) - X.shape[1]
        lam, Q = np.linalg.eigh(gram[held:, held:])
        lam = np.maximum(lam, 0)
        rotated = np.ascontiguousarray(X @ Q, self.dtype)
        start = np.empty((0, 0), self.dtype)
        if fixed is not None:
            # the baseline pulls the fixed columns' prediction to 0 as well
            shared = fixed.W @ (gram[:held, held:] @ Q)
            start = np.ascontiguousarray(-self.u[:, None] * shared, self.dtype)
        W, failed = self._solve(rotated, lam.astype(self.dtype), reg, start, fixed)
        for i in np.flatnonzero(failed):
            W[i] = self._least_norm_row(int(i), rotated, lam, float(reg[i]), start, fixed)
        return Rows((W @ Q.T).astype(self.dtype), int(failed.sum()))

    def _least_norm_row(
        self,
        i: int,
        X: np.ndarray,
        lam: np.ndarray,
        reg: float,
        start: np.ndarray,
        fixed: Fixed | None,
    ) -> np.ndarray:
        entries = slice(self.indptr[i], self.indptr[i + 1])
        columns, target = self.indices[entries], self.y[entries].astype(np.float64)
        weight = self.c[entries].astype(np.float64) if self.c.size else np.ones_like(target)
        base = float(self.u[i]) * self.v[columns].astype(np.float64)
        pull = weight * target
        if fixed is not None:
            pull += (base - weight) * (fixed.X[columns] @ fixed.W[i])
        x = X[columns].astype(np.float64)
        G = np.diag(float(self.u[i]) * lam + reg) + (x * (weight - base)[:, None]).T @ x
        return least_norm.from_gram(G, x.T @ pull + (start[i] if start.size else 0))
