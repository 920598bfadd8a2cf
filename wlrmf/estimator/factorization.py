"""`MatrixFactorization`: the factors of a table's rows as features."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from ..validation.errors import DataWarning, describe
from .fitting import FLOATS, check_companions, kept_on_error, read_cap, read_table, run

SPARSE = {"accept_sparse": True, "accept_large_sparse": True}


class MatrixFactorization(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Weighted low-rank factorization Y ≈ T C + intercept, as a scikit-learn transformer.

    `fit` minimises ``‖A∘(Y − WᵀX)‖_F² + reg (‖W‖_F² + ‖X‖_F²)`` over the observed cells, as
    `wlrmf.fit` does; `transform` finds the exact best factors of each row for the fitted X. T has
    the rows' factors Wᵀ, and C = `components_` has X.

    With ``bias=True`` a row's prediction is ``mean + row_bias + col_bias + wᵀX``. The row bias
    then is the last column of T and its partner, ones, the last row of C, so T says all about a
    row; `intercept_` has mean + col_bias. So, with or without biases,
    ``inverse_transform(transform(Y))`` is the model's reconstruction.

    Parameters
    ----------
    rank : int, default=2
        Number of factors; 0 is allowed with biases. Above min(n_samples, n_features) it is taken
        as that number, with a `DataWarning`: more factors add nothing.
    reg : number or pair (rows, columns), default=0.0
        Ridge; the part of the columns may be a vector, one number a column.
    reg_scaling : {"none", "count"}, default="none"
        ``"count"`` multiplies each ridge by the row's (column's) number of observed cells.
    bias : bool, default=False
        Fit a mean and biases of rows and columns beside the factors.
    solver : str or object, default="auto"
        As in `wlrmf.fit`.
    n_starts : int or "repeat", default=1
        Number of starts, of which the best model is kept; "repeat": until it has come twice.
    gtol, ftol, max_iter, max_seconds
        When to stop; see `wlrmf.Stop`.
    n_threads : int, default=None
        Default: the processors this process may use. The result is the same, to the bit, for any.
    random_state : int, RandomState or Generator, default=None
        Of all random numbers. None is the same as 0: calls repeat.

    Attributes
    ----------
    components_ : ndarray, shape (rank, n_features)
        X; with biases one more row, of ones.
    intercept_ : ndarray, shape (n_features,)
        mean + col_bias; zeros without biases.
    rank_ : int
        The rank in use.
    model_ : wlrmf.Factorization
        The fitted model, without its `state`.
    n_iter_ : int
        Iterations of the best start.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of str, shape (n_features_in_,)
        Names of the columns, where Y was a data frame with text for names.

    Notes
    -----
    `mask` and `weights` are matrices, one number a cell, and so no `sample_weight`. They are
    keyword arguments; with ``set_fit_request(weights=True)`` metadata routing passes them on
    through pipelines and cross-validation, which divides them as it does the rows.

    The objective is in the class of Srebro & Jaakkola, "Weighted low-rank approximations", ICML
    2003, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from wlrmf.estimator import MatrixFactorization
    >>> Y = np.outer([1.0, 2, 3], [2.0, 1, 4, 3])
    >>> Y[0, 2] = np.nan
    >>> factors = MatrixFactorization(rank=1).fit(Y)
    >>> T = factors.transform(Y)
    >>> T.shape
    (3, 1)
    >>> float(factors.inverse_transform(T)[0, 2].round(3))
    4.0
    """

    def __init__(
        self,
        rank: Any = 2,
        *,
        reg: Any = 0.0,
        reg_scaling: Any = "none",
        bias: Any = False,
        solver: Any = "auto",
        n_starts: Any = 1,
        gtol: Any = 1e-5,
        ftol: Any = 1e-8,
        max_iter: Any = 1000,
        max_seconds: Any = None,
        n_threads: Any = None,
        random_state: Any = None,
    ):
        self.rank = rank
        self.reg = reg
        self.reg_scaling = reg_scaling
        self.bias = bias
        self.solver = solver
        self.n_starts = n_starts
        self.gtol = gtol
        self.ftol = ftol
        self.max_iter = max_iter
        self.max_seconds = max_seconds
        self.n_threads = n_threads
        self.random_state = random_state

    def fit(
        self, Y: Any, y: Any = None, *, mask: Any = None, weights: Any = None
    ) -> MatrixFactorization:
        """Find the factors of Y.

        Parameters
        ----------
        Y : matrix, shape (n_samples, n_features)
            Dense, where NaN is missing, or scipy sparse, where a stored entry (a stored zero too)
            is observed and all else is missing.
        y : None
            Not used.
        mask : matrix, shape (n_samples, n_features), optional
            The A of the formula. Boolean: which cells count. Real: acts squared, give 1/σ.
        weights : matrix, shape (n_samples, n_features), optional
            Weights of the squared residuals; A∘A = mask² · weights.

        Returns
        -------
        MatrixFactorization
            Itself.

        Raises
        ------
        TypeError, ValueError
            For input that makes no sense. An earlier fit is left as it was.

        Warns
        -----
        ConvergenceWarning
            If the fit ended before a stopping test was met: `wlrmf.estimator.ConvergenceWarning`,
            which is scikit-learn's too.
        DataWarning
            If the rank is above min(n_samples, n_features).
        """
        self._fit(Y, mask, weights)
        return self

    def fit_transform(
        self, Y: Any, y: Any = None, *, mask: Any = None, weights: Any = None
    ) -> np.ndarray:
        """`fit`, and then `transform` of the same cells with the same weights.

        Parameters
        ----------
        Y, y, mask, weights
            As in `fit`.

        Returns
        -------
        ndarray, shape (n_samples, rank), or (n_samples, rank + 1) with biases
        """
        return self._factors(self._fit(Y, mask, weights), mask, weights)

    def transform(self, Y: Any, *, mask: Any = None, weights: Any = None) -> np.ndarray:
        """Exact best factors of rows, for the fitted components.

        Parameters
        ----------
        Y, mask, weights
            As in `fit`. A row without observed cells gets zeros.

        Returns
        -------
        ndarray, shape (n_samples, rank), or (n_samples, rank + 1) with biases
            In the dtype of the fit.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If Y has other columns than in `fit`.
        """
        check_is_fitted(self)
        check_companions(Y, mask=mask, weights=weights)
        return self._factors(read_table(self, Y, reset=False, **SPARSE), mask, weights)

    def inverse_transform(self, Xt: Any) -> np.ndarray:
        """Predictions of all cells of rows with these factors: Xt @ components_ + intercept_.

        Parameters
        ----------
        Xt : array, shape (n_samples, rank), or (n_samples, rank + 1) with biases
            As `transform` gives it.

        Returns
        -------
        ndarray, shape (n_samples, n_features)

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If Xt has another number of columns.
        """
        check_is_fitted(self)
        Xt = check_array(Xt, dtype=FLOATS)
        if Xt.shape[1] != self._n_features_out:
            raise ValueError(f"`Xt` must have {self._n_features_out} columns; got {describe(Xt)}")
        return np.asarray(Xt @ self.components_ + self.intercept_)

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _fit(self, Y: Any, mask: Any, weights: Any) -> Any:
        """Fit; the table as it was read."""
        with kept_on_error(self):
            check_companions(Y, mask=mask, weights=weights)
            Y = read_table(self, Y, reset=True, **SPARSE)
            if isinstance(self.reg, tuple | list) and len(self.reg) and np.ndim(self.reg[0]):
                raise ValueError(
                    "`reg[0]` must be one number here, since rows to be transformed have none of "
                    f"their own; got {describe(self.reg[0])}"
                )
            rank = read_cap(self, Y.shape)
            model = run(
                self,
                Y,
                mask=mask,
                weights=weights,
                rank=rank,
                reg=self.reg,
                reg_scaling=self.reg_scaling,
                bias=self.bias,
            )
            if rank < self.rank:
                warnings.warn(
                    f"rank {self.rank} is taken as min(n_samples, n_features) = {rank}: "
                    "more factors add nothing",
                    DataWarning,
                    stacklevel=3,
                )
            components, intercept = model.X, model.mean + model.col_bias
            if self.bias:
                components = np.vstack([components, np.ones_like(intercept)])
            self.components_ = np.ascontiguousarray(components)
            self.intercept_ = intercept
            self.rank_ = rank
            self.model_ = model
            self.n_iter_ = model.n_iter
        return Y

    def _factors(self, Y: Any, mask: Any, weights: Any) -> np.ndarray:
        rows = self.model_.fold_in(Y, mask, weights=weights, n_threads=self.n_threads)
        T = [rows.W.T, rows.row_bias[:, None]] if rows.has_bias else [rows.W.T]
        return np.ascontiguousarray(np.hstack(T))

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may give it: missing values, sparse matrices, either float type."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
