"""`LowRankImputer`: missing cells of a table from a low-rank model of the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.impute import MissingIndicator
from sklearn.utils.validation import check_is_fitted

from ..kernels.chunks import one_blas_thread
from ..validation.arrays import as_matrix
from ..validation.errors import at, describe, first_where
from ..validation.options import read_dense, read_real
from ..validation.ranges import check_range
from .fitting import check_companions, kept_on_error, read_cap, read_table, run
from .ridge import choose_ridge
from .scaling import Scaling


class LowRankImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Fill missing cells of a table with the predictions of a weighted low-rank model.

    Each column is centred by the mean, and divided by the standard deviation, of its observed
    cells. The scaled table Z is fitted by `wlrmf.fit`, which minimises

        Σ w_ij (z_ij − Σ_k W_ki X_kj)² + reg (‖W‖_F² + ‖X‖_F²)

    over the observed cells, w being the weights divided by the mean weight of their column, or 1;
    so neither the unit of a column nor that of its weights matters. In `transform` each row gets
    its exact best factors for the fitted X, from its observed cells; they predict the missing
    ones. Observed cells are returned as they are. A row without any gets the columns' means.

    Parameters
    ----------
    rank : int, default=32
        Largest number of factors; a table with fewer rows or columns has that many. With a ridge
        a large rank does no harm, because factors that the data do not bear out vanish; for
        large tables it costs time.
    missing_values : number, np.nan, None or pd.NA, default=np.nan
        What a missing cell holds. The last three are one and the same. Where it is a number, NaN
        is an error.
    add_indicator : bool, default=False
        Append the columns of `sklearn.impute.MissingIndicator`: one for each column that has
        missing cells in `fit`.
    keep_empty_features : bool, default=False
        Columns without an observed cell in `fit` are dropped; if True they are returned as 0.
    reg : "auto" or number, default="auto"
        Ridge of the fit and of the rows in `transform`. ``"auto"`` chooses both on a tenth of the
        observed cells, which a path of short fits with falling ridges does not see; that of the
        rows may then be the smaller one.
    scale : bool, default=True
        If False, all columns are divided by one common standard deviation, and all weights by
        their common mean: right where the columns have the same unit, their spreads say
        something, and errors are to be small in that unit.
    clip : bool, default=True
        Predict nothing outside the range of a column's observed cells in `fit`.
    solver : str or object, default="auto"
        As in `wlrmf.fit`.
    n_starts : int or "repeat", default=1
        Number of starts, of which the best model is kept; "repeat": until it has come twice.
    gtol, ftol, max_iter, max_seconds
        When to stop; see `wlrmf.Stop`. The default tolerances are wider than there: a prediction
        does not change with the digits beyond.
    n_threads : int, default=None
        Default: the processors this process may use. The result is the same, to the bit, for any.
    random_state : int, RandomState or Generator, default=None
        Of all random numbers. None is the same as 0: calls repeat.

    Attributes
    ----------
    scaling_ : Scaling
        `center`, `scale`, mean `weight`, `low` and `high` of the columns that are not empty.
    reg_, row_reg_ : float
        The ridge of the fit, and that of the rows in `transform`.
    rank_ : int
        The rank in use.
    model_ : wlrmf.Factorization
        The fitted model of Z, without its `state`.
    n_iter_ : int
        Iterations of the best start.
    indicator_ : MissingIndicator or None
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of str, shape (n_features_in_,)
        Names of the columns, where Y was a data frame with text for names.

    See Also
    --------
    sklearn.impute.KNNImputer, sklearn.impute.IterativeImputer

    References
    ----------
    Mazumder, Hastie & Tibshirani, "Spectral regularization algorithms for learning large incomplete
    matrices", JMLR 11 (2010) 2287–2322, section 8: the ridge of both factors at large enough rank
    is twice the nuclear norm of their product.

    Examples
    --------
    >>> import numpy as np
    >>> from wlrmf.estimator import LowRankImputer
    >>> Y = np.outer(np.arange(1.0, 101), [1.0, 10, 100, 1000])
    >>> Y[4, 2] = np.nan
    >>> LowRankImputer(rank=1, reg=1e-3).fit_transform(Y)[4].round().tolist()
    [5.0, 50.0, 547.0, 5000.0]

    The column's mean, of the cells that are left, is 5096, its standard deviation 2865.
    """

    def __init__(
        self,
        rank: Any = 32,
        *,
        missing_values: Any = np.nan,
        add_indicator: Any = False,
        keep_empty_features: Any = False,
        reg: Any = "auto",
        scale: Any = True,
        clip: Any = True,
        solver: Any = "auto",
        n_starts: Any = 1,
        gtol: Any = 1e-4,
        ftol: Any = 1e-5,
        max_iter: Any = 200,
        max_seconds: Any = None,
        n_threads: Any = None,
        random_state: Any = None,
    ):
        self.rank = rank
        self.missing_values = missing_values
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.reg = reg
        self.scale = scale
        self.clip = clip
        self.solver = solver
        self.n_starts = n_starts
        self.gtol = gtol
        self.ftol = ftol
        self.max_iter = max_iter
        self.max_seconds = max_seconds
        self.n_threads = n_threads
        self.random_state = random_state

    def fit(self, Y: Any, y: Any = None, *, weights: Any = None) -> LowRankImputer:
        """Find the model of the observed cells.

        Parameters
        ----------
        Y : array or data frame, shape (n_samples, n_features)
            Dense.
        y : None
            Not used.
        weights : matrix, shape (n_samples, n_features), optional
            Weights of the squared errors, finite and not negative: 1/σ², or numbers of
            observations. Their ratios count within each column (with ``scale=False``, within the
            table). Those of missing cells do not matter.

        Returns
        -------
        LowRankImputer
            Itself.

        Raises
        ------
        TypeError, ValueError
            For input that makes no sense. An earlier fit is left as it was.

        Warns
        -----
        ConvergenceWarning
            If the fit ended before a stopping test was met.
        """
        self._fit(Y, weights)
        return self

    def fit_transform(self, Y: Any, y: Any = None, *, weights: Any = None) -> np.ndarray:
        """`fit`, and then `transform` of the same table with the same weights.

        Parameters
        ----------
        Y, y, weights
            As in `fit`.

        Returns
        -------
        ndarray, shape (n_samples, n_columns)
        """
        return self._filled(*self._fit(Y, weights))

    def transform(self, Y: Any, *, weights: Any = None) -> np.ndarray:
        """Fill the missing cells of rows.

        Parameters
        ----------
        Y, weights
            As in `fit`; the weights say how much each observed cell counts for its row.

        Returns
        -------
        ndarray, shape (n_samples, n_columns)
            New memory in the dtype of Y.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If Y has other columns than in `fit`.
        """
        check_is_fitted(self)
        check_companions(Y, weights=weights)
        Y = self._read(Y, reset=False)
        return self._filled(Y, _read_weights(weights, Y))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that `transform` returns.

        Parameters
        ----------
        input_features : array of str, optional
            Names of the columns of Y; default: those of `fit`, or x0, x1, ...

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        names = super().get_feature_names_out(input_features)
        shown = names if self._keeps_empty else names[self._some]
        if self.indicator_ is not None:
            shown = np.concatenate([shown, self.indicator_.get_feature_names_out(names)])
        return np.asarray(shown, dtype=object)

    def _fit(self, Y: Any, weights: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Fit; table and weights as they were read."""
        for name in ("add_indicator", "keep_empty_features", "scale", "clip"):
            value = getattr(self, name)
            if not isinstance(value, bool | np.bool_):
                raise TypeError(f"`{name}` must be True or False; got {describe(value)}")
        with kept_on_error(self):
            check_companions(Y, weights=weights)
            Y = self._read(Y, reset=True)
            weights = _read_weights(weights, Y)
            missing = np.isnan(Y)
            some = ~missing.all(axis=0)
            if not some.any():
                raise ValueError("no observed entries: every cell of Y is missing")
            cells = Y[:, some]
            w = None if weights is None else weights[:, some]
            if w is not None and not w.any():
                raise ValueError("no observed entries: every cell of Y is missing or has weight 0")
            check_range(cells[~np.isnan(cells)], "Y")
            self.scaling_ = Scaling.of(cells, w, scale=bool(self.scale))
            self._some, self._clips = some, bool(self.clip)
            self._keeps_empty = bool(self.keep_empty_features)
            self.indicator_ = _indicator(Y) if self.add_indicator else None
            self._fit_scaled(
                self.scaling_.scaled(cells), self.scaling_.scaled_weights(w, cells.dtype)
            )
        return Y, weights

    def _fit_scaled(self, Z: np.ndarray, weights: np.ndarray | None) -> None:
        rank = read_cap(self, Z.shape)
        if isinstance(self.reg, str) and self.reg == "auto":
            with one_blas_thread():  # once for all of the short fits: finding BLAS takes longer
                reg, row_reg = choose_ridge(Z, weights, rank, self.random_state, self.n_threads)
        elif isinstance(self.reg, str):
            raise ValueError(f'`reg` must be "auto" or a number; got {describe(self.reg)}')
        else:
            reg = row_reg = read_real(self.reg, "reg")
        model = run(self, Z, rank=rank, reg=reg, weights=weights)
        self.reg_, self.row_reg_ = reg, row_reg
        self.rank_, self.model_, self.n_iter_ = rank, model, model.n_iter

    def _filled(self, Y: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        missing = np.isnan(Y)
        cells, holes = Y[:, self._some], missing[:, self._some]
        rows = np.flatnonzero(holes.any(axis=1))
        if len(rows):
            w = None if weights is None else weights[np.ix_(rows, self._some)]
            Z = self.scaling_.scaled(cells[rows])
            found = self.model_.fold_in(
                Z,
                weights=self.scaling_.scaled_weights(w, Z.dtype),
                reg=self.row_reg_,
                n_threads=self.n_threads,
            )
            predicted = self.scaling_.restored(found.reconstruct(), clip=self._clips)
            cells[rows] = np.where(holes[rows], predicted, cells[rows])
        out = cells
        if self._keeps_empty:
            out = np.zeros_like(Y)
            out[:, self._some] = cells
        if self.indicator_ is not None:
            out = np.hstack([out, self.indicator_.transform(Y).astype(Y.dtype)])
        return out

    def _read(self, Y: Any, *, reset: bool) -> np.ndarray:
        """The table as a new array with NaN where missing."""
        value = self.missing_values
        if value is None or type(value).__name__ == "NAType" or value != value:
            return np.asarray(read_table(self, Y, reset=reset, finite="allow-nan", copy=True))
        if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
            raise TypeError(
                f"`missing_values` must be a number, np.nan, None or pd.NA; got {describe(value)}"
            )
        table = read_table(self, Y, reset=reset, finite=True, copy=True)
        table[table == value] = np.nan
        return np.asarray(table)

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may give it: missing values, and either float type."""
        tags = super().__sklearn_tags__()
        value = self.missing_values
        tags.input_tags.allow_nan = not isinstance(value, int | float | np.number) or value != value
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _read_weights(weights: Any, Y: np.ndarray) -> np.ndarray | None:
    """Weights in float64, 0 where Y is missing."""
    if weights is None:
        return None
    given = as_matrix(weights, "weights")
    if given.shape != Y.shape:
        swapped = given.shape == Y.shape[::-1]
        raise ValueError(
            f"`weights` must have the shape of Y, {Y.shape}; got {given.shape}"
            + (". Are they transposed? Try weights.T" if swapped else "")
        )
    if isinstance(given, np.ndarray):
        given = np.where(np.isnan(Y), 0.0, given.astype(np.float64))
    given = read_dense(given, "weights")
    if (given < 0).any():
        where = first_where(given < 0)
        raise ValueError(f"`weights` must not be negative; weights{at(where)} is {given[where]}")
    return given


def _indicator(Y: np.ndarray) -> MissingIndicator:
    return MissingIndicator(error_on_new=False).fit(Y)
