"""What an objective asks of a weight structure. A new structure is one class that answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from .observed import Observed
    from .residuals import Residuals


class Fixed(NamedTuple):
    """Columns of the factors that a row solve must not move; their prediction is W X'."""

    W: np.ndarray
    X: np.ndarray

    @classmethod
    def none(cls, shape: tuple[int, int], dtype: np.dtype) -> Fixed:
        """No columns at all."""
        return cls(*(np.empty((size, 0), dtype) for size in shape))


class Rows(NamedTuple):
    """Answer of `Problem.best_rows`."""

    W: np.ndarray
    n_deficient: int  # rows whose system was singular, solved for the minimum norm


class Problem(Protocol):
    """Y and the weights A∘A of its squared residuals; loss = sum A∘A∘(Y - W X')∘(Y - W X')."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of Y."""

    @property
    def dtype(self) -> np.dtype:
        """Of the data and so of the factors: float32 or float64."""

    @property
    def nnz(self) -> int:
        """Observed cells; with a baseline weight, stored cells."""

    @property
    def n_threads(self) -> int:
        """Threads that its passes over the data may use."""

    @property
    def T(self) -> Problem:
        """The same problem with the roles of W and X exchanged."""

    def row_counts(self) -> np.ndarray:
        """Observed cells of each row, int64, shape (m,)."""

    def col_counts(self) -> np.ndarray:
        """Observed cells of each column, int64, shape (n,); without building `T`."""

    def mean(self) -> float:
        """Mean of Y over all cells under the weights A∘A."""

    def total_weight(self) -> float:
        """Sum of A∘A over all cells."""

    def square_sum(self) -> float:
        """Sum of A∘A∘Y∘Y: the loss of zero factors."""

    def loss(self, W: np.ndarray, X: np.ndarray) -> float:
        """Loss in float64, whatever the dtype."""

    def loss_grad(self, W: np.ndarray, X: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Loss and its gradients in W and X."""

    def best_rows(self, X: np.ndarray, reg: np.ndarray, fixed: Fixed | None = None) -> Rows:
        """Exact minimiser over W of loss + sum_i reg_i |w_i|^2, row by row.

        With `fixed` the prediction is W X' + fixed.W fixed.X'. A singular row gets the solution
        of minimum norm.
        """

    def row_grams(self, X: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Gram matrices of some rows' systems, sum_j A2_ij x_j x_j', (rows, k, k), in float64."""

    def line(self, W: np.ndarray, X: np.ndarray, dW: np.ndarray, dX: np.ndarray) -> np.ndarray:
        """Coefficients q of loss(W + t dW, X + t dX) = sum_k q_k t^k, k = 0..4."""

    def gn_product(
        self, W: np.ndarray, X: np.ndarray, dW: np.ndarray, dX: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """J'A²J d, with J the Jacobian of the prediction W X' in (W, X)."""

    def residual_operator(self, W: np.ndarray, X: np.ndarray) -> Residuals:
        """A∘A∘(Y - W X') as a linear operator of shape (m, n)."""

    def start_operator(self, W: np.ndarray, X: np.ndarray) -> Residuals:
        """What a fit begins from the leading factors of: the residuals, weighted or nearly so."""


@runtime_checkable
class Listed(Problem, Protocol):
    """A weight structure that can name all its cells with a weight, one by one.

    Each also has a `listing` of them, for variable projection, made once. It is no part of this:
    Python before 3.12 reads all properties of a protocol in an isinstance test.
    """

    @property
    def n_listed(self) -> int:
        """How many cells `observed` would list."""

    def observed(self) -> Observed:
        """The same loss as a list of cells: CSR, without a baseline."""


@runtime_checkable
class Inexact(Problem, Protocol):
    """A weight structure that can also come near its best rows in less time."""

    def steps_are_cheaper(self, columns: int) -> bool:
        """Whether `near_rows` takes less time than `best_rows` with so many columns."""

    def near_rows(self, X: np.ndarray, reg: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """What to add to W to come near the minimiser over W of loss + sum_i reg_i |w_i|^2.

        A few steps of conjugate gradients in each row; none of them raises the row's value.
        `gradient` is that of the loss and the ridge in W.
        """

    def row_grad(self, W: np.ndarray, X: np.ndarray) -> np.ndarray:
        """Gradient of the loss in W alone."""
