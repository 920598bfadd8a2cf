"""`Factorization`: what a fit returns, and what can be asked of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any

import numpy as np

from . import again, display, folding, model_file
from .certificate import Certificate, certify
from .kernels.chunks import available_threads, one_blas_thread
from .objective import Layout, Objective, predicted
from .problem import Problem, build
from .result import Counts, Status, Trace, optima
from .solvers.base import State
from .uncertainty import ErrorBars, FactorStd, measure
from .validation.arrays import read_names
from .validation.errors import ConvergenceWarning
from .validation.options import read_index, read_int, spread_reg


@dataclass(frozen=True, eq=False, repr=False)
class Factorization:
    """Y ≈ mean + row_bias + col_bias + WᵀX, with how it was found and how it ended.

    Attributes
    ----------
    left : ndarray, shape (m, columns)
    right : ndarray, shape (n, columns)
        All columns, biases and pinned ones included; the prediction is ``left @ right.T``.
    layout : Layout
        Which columns are which.
    has_bias : bool
    value, loss : float
        F, and its first term without the ridge, at these factors.
    optimality : float
        Norm of the gradient of F relative to its size at the start.
    n_iter : int
    status : Status
        How it ended, in words that advise; `success` and `message` follow from it.
    trace : Trace
        Iteration, seconds, value and optimality on the way. The value of the factors differs a
        little from the trace's least, because a fit ends on a row solve.
    solver : str
    counts : Counts
        Passes over the data, by kind.
    n_regularized : int
        Rows of the last row solve whose system was singular, or close to it: they are solved by a
        singular value decomposition, for the minimum norm.
    empty_rows, empty_cols : ndarray of int
        Rows and columns without an observed cell. Their factors are 0.
    start_values : tuple of float
        The value that each start ended with; the model is that of the least.
    row_names, col_names : ndarray of str or None
        Of a data frame's rows and columns.
    state : State or None
        To go on from here: ``fit(..., start=model.state)``. Not saved.
    problem : Problem or None
        The data and weights of the fit. Neither saved nor pickled nor copied.
    """

    left: np.ndarray
    right: np.ndarray
    layout: Layout
    has_bias: bool
    value: float
    loss: float
    optimality: float
    n_iter: int
    status: Status
    trace: Trace
    solver: str
    counts: Counts
    n_regularized: int
    empty_rows: np.ndarray
    empty_cols: np.ndarray
    start_values: tuple[float, ...]
    row_reg: float | np.ndarray
    reg_scaling: str
    col_reg: float | np.ndarray | None = None
    base_u: float | np.ndarray | None = None
    base_v: np.ndarray | None = None
    row_names: np.ndarray | None = None
    col_names: np.ndarray | None = None
    state: State | None = field(default=None)
    problem: Problem | None = field(default=None)

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: everything but the data."""
        return vars(self) | {"problem": None}

    def released(self) -> Factorization:
        """The same model without the memory of its fit: neither its data nor its last state."""
        return replace(self, problem=None, state=None)

    @property
    def W(self) -> np.ndarray:
        """Row factors, shape (rank, m)."""
        return self.left[:, self.layout.shared].T

    @property
    def X(self) -> np.ndarray:
        """Column factors, shape (rank, n)."""
        return self.right[:, self.layout.shared].T

    @property
    def optima(self) -> list[tuple[float, int]]:
        """The values that the starts ended with and how often each was met, the least first.

        Values within a millionth of each other count as one.
        """
        return optima(self.start_values)

    @property
    def rank(self) -> int:
        """Number of factors."""
        return self.layout.rank

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (m, n) of the data."""
        return len(self.left), len(self.right)

    @property
    def mean(self) -> float:
        """Constant term; 0 without biases."""
        return float(self.right[0, -1]) if self.has_bias else 0.0

    @property
    def row_bias(self) -> np.ndarray:
        """Row biases, shape (m,); zeros without biases."""
        if not self.has_bias:
            return np.zeros(self.shape[0], self.left.dtype)
        return self.left[:, self.layout.pinned_X - 1]

    @property
    def col_bias(self) -> np.ndarray:
        """Column biases, shape (n,); zeros without biases."""
        if not self.has_bias:
            return np.zeros(self.shape[1], self.right.dtype)
        return self.right[:, self.layout.free_X.stop - 1]

    @property
    def W_coef(self) -> np.ndarray:
        """Coefficients in W of the rows given as `pinned_X`, shape (q, m)."""
        return self.left[:, : self.layout.pinned_X - self.has_bias].T

    @property
    def X_coef(self) -> np.ndarray:
        """Coefficients in X of the rows given as `pinned_W`, shape (p, n)."""
        begin = self.layout.shared.stop
        return self.right[:, begin : self.layout.free_X.stop - self.has_bias].T

    @property
    def success(self) -> bool:
        """Whether a stopping test on the solution was met (not a budget or the callback)."""
        return self.status.success

    @property
    def message(self) -> str:
        """The status in words."""
        return self.status.value

    def reconstruct(self) -> np.ndarray:
        """All predictions, shape (m, n): mean + row_bias + col_bias + WᵀX.

        Examples
        --------
        >>> import numpy as np, wlrmf
        >>> model = wlrmf.fit(np.outer([1.0, 2.0], [3.0, 4.0]), rank=1)
        >>> model.reconstruct().round(6).tolist()
        [[3.0, 4.0], [6.0, 8.0]]
        """
        return self.left @ self.right.T

    def predict(self, i: Any, j: Any) -> Any:
        """Predictions of the cells (i, j).

        Parameters
        ----------
        i, j : int or array of int
            Row and column indices from 0; they are broadcast against each other.

        Returns
        -------
        ndarray or number
            Of the broadcast shape.

        Raises
        ------
        IndexError
            If an index is outside 0..m-1 (0..n-1).
        TypeError
            If an index is not an integer.
        """
        rows = read_index(i, "i", self.shape[0])
        cols = read_index(j, "j", self.shape[1])
        rows, cols = np.broadcast_arrays(rows, cols)
        flat = predicted(self.left, self.right, rows.reshape(-1), cols.reshape(-1))
        return flat.reshape(rows.shape)[()]

    def fold_in(
        self,
        Y_new: Any,
        mask_new: Any = None,
        *,
        weights: Any = None,
        reg: Any = None,
        baseline: Any = None,
        pinned_W: Any = None,
        n_threads: int | None = None,
    ) -> Factorization:
        """The model of new rows: their exact best factors (and biases) for the fitted X.

        Parameters
        ----------
        Y_new : matrix, shape (m_new, n)
            As in `fit`. A row without observed cells gets factors 0.
        mask_new, weights : matrix, optional
            As in `fit`.
        reg : number or vector of shape (m_new,), optional
            Ridge of the new rows; default: that of the fit, if it was one number for all rows.
        baseline : number or vector u of shape (m_new,), optional
            Row part of the baseline weight; default: that of the fit, if it was one number.
        pinned_W : array, shape (p, m_new), optional
            Values of the pinned rows, where the fit had any.
        n_threads : int, optional

        Returns
        -------
        Factorization
            Of shape (m_new, n). The training rows give the rows that fit returned.
        """
        given = folding.new_cells(self, Y_new, mask_new, weights, baseline)
        threads = available_threads() if n_threads is None else read_int(n_threads, "n_threads", 1)
        problem = build(given, threads)
        counts = problem.row_counts()
        row_reg = folding.new_reg(self, reg, len(counts))
        objective = Objective(
            problem,
            spread_reg(row_reg, self.reg_scaling, counts, self.left.dtype),
            np.zeros(self.shape[1], self.left.dtype),
            self.layout,
        )
        start = folding.new_left(self, pinned_W, len(counts))
        with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
            left, deficient = objective.best_W(start, self.right)
            value = objective.value(left, self.right)
        status = Status.EXACT if np.isfinite(value) else Status.NOT_FINITE
        if status is Status.NOT_FINITE:
            warnings.warn(status.value, ConvergenceWarning, stacklevel=2)
        return assemble(
            objective,
            left,
            self.right,
            value,
            status=status,
            has_bias=self.has_bias,
            optimality=0.0,
            n_iter=0,
            trace=Trace(),
            solver="fold-in",
            n_regularized=deficient,
            start_values=(value,),
            row_reg=row_reg,
            reg_scaling=self.reg_scaling,
            base_u=self.base_u if baseline is None else baseline,
            base_v=self.base_v,
            row_names=read_names(Y_new)[0],
            col_names=self.col_names,
        )

    def transform(self, Y_new: Any, mask_new: Any = None, **options: Any) -> np.ndarray:
        """Factors of new rows, shape (rank, m_new): ``fold_in(...).W``; see `fold_in`."""
        return self.fold_in(Y_new, mask_new, **options).W

    def certificate(
        self,
        Y: Any = None,
        mask: Any = None,
        *,
        weights: Any = None,
        reg: Any = None,
        exact: bool | None = None,
        n_threads: int | None = None,
    ) -> Certificate:
        """How far F is above its least value over factors of any rank, at most.

        Parameters
        ----------
        Y, mask, weights : matrix, shape (m, n)
            Those of the fit, as there. A model that has just been fitted knows them; one that was
            read from a file, copied or `released` does not.
        reg : as in `fit`, optional
            Default: that of the fit.
        exact : bool, optional
            Whether the bound must hold without chance; default: for all but large problems. See
            `wlrmf.certificate.certify`, which has the formula and its proof.
        n_threads : int, optional

        Examples
        --------
        >>> import numpy as np, wlrmf
        >>> Y = np.diag([3.0, 2.0, 1.0])
        >>> print(wlrmf.fit(Y, rank=2, reg=1.5).certificate().words)
        no factorization of any rank can be more than 0.0001 % better
        """
        objective, left, right = again.problem_of(self, Y, mask, weights, reg, n_threads)
        answer = certify(objective, left, right, exact=exact)
        again.check_loss(self, objective, answer.value - objective.ridge(left, right))
        return answer

    def error_bars(
        self,
        Y: Any = None,
        mask: Any = None,
        *,
        weights: Any = None,
        reg: Any = None,
        noise: Any = "estimate",
        kind: str = "auto",
        n_threads: int | None = None,
    ) -> ErrorBars:
        """Standard deviations of predictions and factors, degrees of freedom, and the noise.

        Parameters
        ----------
        Y, mask, weights, reg, n_threads : optional
            As in `certificate`.
        noise : "estimate", "known" or number
            The noise in a cell has the standard deviation noise / a_ij: by default √(chi² / dof);
            ``"known"``: 1, for A = 1/σ.
        kind : "auto", "joint" or "conditional"
            Whether the errors of W and X are taken together, or each as if the other were known;
            see `wlrmf.uncertainty.measure`, which has the formulas and what they rest on.

        Examples
        --------
        >>> import numpy as np, wlrmf
        >>> rng = np.random.default_rng(0)
        >>> Y = np.outer([1.0, 2, 3, 4], [2.0, 1, 4]) + 0.1 * rng.standard_normal((4, 3))
        >>> print(wlrmf.fit(Y, rank=1).error_bars().dof)
        6.0
        """
        objective, left, right = again.problem_of(self, Y, mask, weights, reg, n_threads)
        bars = measure(objective, left, right, noise=noise, kind=kind, has_bias=self.has_bias)
        again.check_loss(self, objective, bars.chi2)
        return bars

    def uncertainty(self, i: Any, j: Any, **about: Any) -> Any:
        """Standard deviations of predictions: ``error_bars(**about).std(i, j)``, i, j as there."""
        return self.error_bars(**about).std(i, j)

    def factor_std(self, **about: Any) -> FactorStd:
        """Standard deviations of the factors and biases: ``error_bars(**about).factor_std()``."""
        return self.error_bars(**about).factor_std()

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to `path`, exactly there: an npz without pickled objects.

        The file is written beside it and renamed, so a failure leaves an older file whole.
        """
        model_file.write(path, vars(self))

    def __repr__(self) -> str:
        return display.one_line(self)

    def _repr_html_(self) -> str:
        return display.html(self)


def assemble(
    objective: Objective, left: np.ndarray, right: np.ndarray, value: float, /, **about: Any
) -> Factorization:
    """A model of these factors, with what the objective itself can tell of them."""
    problem = objective.problem
    return Factorization(
        left=left,
        right=right,
        layout=objective.layout,
        value=value,
        loss=value - objective.ridge(left, right),
        counts=replace(objective.counts),
        empty_rows=np.flatnonzero(problem.row_counts() == 0),
        empty_cols=np.flatnonzero(problem.col_counts() == 0),
        **about,
    )


def load(path: str | PathLike[str]) -> Factorization:
    """Read a model that `Factorization.save` wrote.

    Raises
    ------
    ModelFormatError : if the file is not such a model, is damaged, or is of a newer version.
    """
    return Factorization(**model_file.read(path))
