"""`Recommender`: ratings by ids in, predictions and ranked lists by ids out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from numbers import Real
from os import PathLike
from typing import Any, Self

import numpy as np

from .. import splits
from ..fit import fit
from ..model import Factorization
from ..model_file import refusing_parts
from ..result import Status
from ..solvers.base import State, Stop
from ..validation.options import read_int
from . import evaluating, file
from .answers import Answers
from .fitted import Fitted
from .ids import read_policy
from .ratings import Ratings, added, has_labels, of_known_items, read_ratings
from .settings import Explicit, Implicit, read_feedback, read_ridge
from .stopping import EarlyStopping, read_metric

SETTINGS = (
    "rank", "feedback", "reg", "reg_scaling", "bias", "alpha", "baseline", "popularity",
    "activity", "duplicates", "unknown", "dtype",
)  # fmt: skip
HISTORY = ("trace", "n_iter", "status", "solver", "optimality", "counts", "start_values")


@dataclass(eq=False, repr=False)
class Recommender(Answers):
    """Recommend items to users by what others with similar ratings liked.

    A face of `wlrmf.fit`: users are rows, items are columns, and both go by the caller's own ids.

    Parameters
    ----------
    rank : int
        Number of factors.
    feedback : {"explicit", "implicit"}
        ``"explicit"``: the values are ratings to be predicted, and cells without one are missing.
        ``"implicit"``: the values (clicks, plays; 1 without any) say how sure it is that a user
        likes an item. The target is 1 with weight ``1 + alpha·value`` where there is one, 0 with
        weight 1 where it is 0, and 0 with weight `baseline` elsewhere (Hu, Koren & Volinsky 2008,
        doi:10.1109/ICDM.2008.22).
    reg : number or pair (users, items), optional
        Ridge; default: 0.1 implicit; explicit 0.085 times the standard deviation of the ratings
        (and the mean of their weights), so that their scale plays no part.
    reg_scaling : {"none", "count"}, optional
        ``"count"`` (default) multiplies the ridge by the number of ratings of the user or item.
    bias : bool, optional
        Mean, user and item effects beside the factors; default: explicit only.
    alpha : float
        Of implicit feedback, as above.
    baseline : float
        Weight of the cells without a rating, implicit feedback only.
    popularity : float
        Power of the items' numbers of ratings by which `baseline` is scaled, its mean kept: that
        a user has not taken to a popular item says more (He et al. 2016,
        doi:10.1145/2911451.2911489).
    activity : float
        Power of the users' numbers of ratings by which `baseline` is scaled, its mean kept: what a
        user who takes to many items has not taken to says more.
    duplicates : {"error", "sum", "mean", "last"}
        What several ratings of one item by one user make.
    unknown : {"error", "mean", "zero", "nan"}
        What ids get that the fit does not know: an error; the mean of the predictions over all
        users (items); 0; NaN.
    solver, stop, seed, n_threads
        As in `wlrmf.fit`.
    dtype : float32 or float64
        Of the factors.

    Attributes
    ----------
    model : Factorization
    user_ids, item_ids : ndarray of int or str
        Ids in the order of the model's rows and columns.
    validation_scores : list of float or None
        The metric after each iteration, where the fit was stopped early.

    Examples
    --------
    >>> from wlrmf.recommender import Recommender
    >>> users = ["ann", "ann", "bob", "bob", "cat", "cat", "dan"]
    >>> items = ["tea", "milk", "tea", "milk", "rum", "gin", "rum"]
    >>> drinks = Recommender(rank=2, feedback="implicit", reg=0.1).fit((users, items))
    >>> print(drinks.recommend("dan", 1).found)
    ['gin']
    """

    rank: int = 32
    feedback: str = "explicit"
    _: KW_ONLY
    reg: Any = None
    reg_scaling: str | None = None
    bias: bool | None = None
    alpha: float = 1.0
    baseline: float = 1.0
    popularity: float = 0.0
    activity: float = 0.0
    duplicates: str = "error"
    unknown: str = "error"
    solver: Any = "auto"
    stop: Stop | None = None
    seed: Any = None
    dtype: Any = "float32"
    n_threads: int | None = None
    validation_scores: list[float] | None = field(default=None, init=False)
    _fitted: Fitted | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._meaning()
        read_policy(self.unknown)

    def _meaning(self) -> Explicit | Implicit:
        weights = self.alpha, self.baseline, self.popularity, self.activity
        return read_feedback(self.feedback, *weights)

    def fit(
        self,
        data: Any,
        user: Any = "user",
        item: Any = "item",
        value: str | None = None,
        weight: Any = None,
        *,
        validation: Any = None,
        metric: str | None = None,
        patience: int = 3,
        callback: Callable[[State], Any] | None = None,
        progress: bool = False,
    ) -> Self:
        """Fit the factors to ratings.

        Parameters
        ----------
        data : path, data frame, vectors or sparse matrix
            A csv, parquet or npz file of columns; a pandas, polars or pyarrow table, or whatever
            else hands over its columns through Arrow's C stream; a dict of vectors; a tuple of
            vectors (users, items[, values[, weights]]); a sparse matrix, users × items, or a file
            with one, scipy's npz or mtx.
        user, item : str
            Columns of the ids: integers or texts, none missing. Of a sparse matrix: the ids of its
            rows and columns; default: their numbers.
        value : str
            Column of the ratings; implicit feedback can do without.
        weight : str or sparse matrix, optional
            Column of weights of the *squared* errors, on top of all others.
        validation : float or data, optional
            Ends the fit early: a share of the ratings to hold out, or ratings in the form of
            `data`. The items' factors are those of the iteration with the best score on them; the
            users' rows are then solved for these, as at the end of every fit, and with a share
            for all of a user's ratings, those held out too.
        metric : str, optional
            Of the validation; default: "rmse" explicit, "ndcg@10" implicit.
        patience : int
            Iterations without a better score until the fit ends.
        callback, progress
            As in `wlrmf.fit`.

        Returns
        -------
        Recommender
            Itself. A rating of weight 0 is as good as none.

        Raises
        ------
        DataFileError, TypeError, ValueError
            For data or settings that make no sense; an earlier fit is kept then.
        """
        meaning = self._meaning()
        given = (user, item, value, weight)
        ratings = train = self._read(data, *given)
        meaning.look_at(ratings)
        early = None
        if validation is not None:
            train, early = self._split(ratings, given, validation, metric, patience, callback)
        model = self._fit(train, early or callback, progress)
        if early is not None and early.overtaken:
            model = self._fit(train, early.end_with_best, False, start=early.best)
        if early is not None and early.patient_no_more:
            model = replace(model, status=Status.VALIDATION)
        fitted = Fitted(model.released(), train)
        if train is not ratings:  # what was held out belongs to its users all the same
            kept = {name: getattr(model, name) for name in HISTORY}
            fitted = Fitted(replace(self._solve(fitted, ratings), **kept), ratings)
        self.validation_scores = None if early is None else early.scores
        self._fitted = fitted
        return self

    def _fit(
        self, data: Ratings, callback: Any, progress: bool, start: Any = None
    ) -> Factorization:
        meaning = self._meaning()
        problem = meaning.problem(data)
        return fit(
            problem.Y,
            rank=self.rank,
            weights=problem.weights,
            baseline=meaning.baseline(data),
            reg=meaning.reg(data) if self.reg is None else read_ridge(self.reg),
            reg_scaling=meaning.reg_scaling if self.reg_scaling is None else self.reg_scaling,
            bias=meaning.bias if self.bias is None else self.bias,
            solver=self.solver,
            start=start,
            stop=self.stop,
            seed=self.seed,
            dtype=self.dtype,
            n_threads=self.n_threads,
            callback=callback,
            progress=progress,
        )

    def _read(self, data: Any, user: Any, item: Any, value: Any, weight: Any) -> Ratings:
        why = 'without ratings, feedback="implicit" learns from which items a user has'
        needs = why if self.feedback == "explicit" else ""
        return read_ratings(
            data, user, item, value, weight, duplicates=self.duplicates, needs_value=needs
        )

    def _split(
        self, data: Ratings, names: Any, validation: Any, metric: Any, patience: Any, callback: Any
    ) -> tuple[Ratings, EarlyStopping]:
        """Ratings to train with, and the callback that watches the others."""
        default = "rmse" if self.feedback == "explicit" else "ndcg@10"
        metric = read_metric(default if metric is None else metric)
        if isinstance(validation, Real):
            i, j = data.rows(), data.indices
            splits.read_share(validation, "validation")
            out = splits.cells(i, j, data.values.shape, float(validation), self.seed or 0)
            test, data = data.where(out), data.where(~out)
        else:
            test = self._read(validation, *names)
        held = evaluating.held_out(test, data, self.unknown).known()
        if not held.values.size:
            raise ValueError("`validation` has no rating of a known user and a known item")
        patience = read_int(patience, "patience", 1)
        return data, EarlyStopping(metric, data, held, patience, self.n_threads, callback)

    def partial_fit(
        self,
        data: Any,
        user: Any = "user",
        item: Any = "item",
        value: str | None = None,
        weight: Any = None,
    ) -> Self:
        """Take in new ratings, of known users and of new ones, for the fitted items' factors.

        Every user's row is then the exact best one for all of their ratings, old and new, as a
        fit with these item factors would find it; items, their biases and the mean stay. A rating
        that is there already is treated by `duplicates`: "mean" is that of the old value and the
        new one. Ratings of unknown items are an error, or left out with a warning if `unknown` is
        not "error".

        Parameters
        ----------
        data, user, item, value, weight
            As in `fit`; of a sparse matrix `user` must be the ids of its rows.
        """
        fitted = self._known()
        if not has_labels(data, user):
            raise ValueError("`user` must be the ids of the rows of a sparse `data`")
        new = self._of_known_items(data, user, item, value, weight)
        ratings = added(fitted.ratings, new, self.duplicates)
        self._fitted = Fitted(self._solve(fitted, ratings), ratings)
        return self

    def fold_in(
        self,
        data: Any,
        user: Any = "user",
        item: Any = "item",
        value: str | None = None,
        weight: Any = None,
    ) -> Recommender:
        """A recommender for other users: their exact best rows for the fitted items' factors.

        Nothing is added to this one. Ratings of a user of the fit give that user's row again.

        Parameters
        ----------
        data, user, item, value, weight
            As in `fit`.

        Returns
        -------
        Recommender
            Of the users in `data`.
        """
        fitted = self._known()
        ratings = self._of_known_items(data, user, item, value, weight)
        other = replace(self)
        other._fitted = Fitted(self._solve(fitted, ratings), ratings)
        return other

    def _of_known_items(self, data: Any, user: Any, item: Any, value: Any, weight: Any) -> Ratings:
        fitted, new = self._known(), self._read(data, user, item, value, weight)
        named = has_labels(data, item)
        return of_known_items(new, fitted.items, fitted.users, self.unknown, named=named)

    def _solve(self, fitted: Fitted, ratings: Ratings) -> Factorization:
        meaning = self._meaning()
        problem = meaning.problem(ratings)
        return fitted.model.fold_in(
            problem.Y,
            weights=problem.weights,
            baseline=meaning.users_baseline(fitted.ratings, fitted.model.base_u, ratings),
            n_threads=self.n_threads,
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write factors, ids, ratings and settings to `path`: an npz without pickled objects."""
        settings = {name: getattr(self, name) for name in SETTINGS}
        settings["dtype"] = str(np.dtype(self.dtype))
        file.write(path, self._known(), settings)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read what `save` wrote; solver, stop and seed are the defaults again.

        Raises
        ------
        ModelFormatError
            If the file is not a recommender's, is damaged, or is of a newer version.
        """
        fitted, settings = file.read(path, SETTINGS)
        with refusing_parts(path):
            out = cls(**settings)
        out._fitted = fitted
        return out

    def __repr__(self) -> str:
        if self._fitted is None:
            return f"<Recommender: rank {self.rank}, {self.feedback} feedback, not fitted>"
        m, n = self.model.shape
        about = f"rank {self.model.rank}, {self.feedback} feedback"
        return f"<Recommender: {about}, {m} users × {n} items, {self.n_ratings} ratings>"
