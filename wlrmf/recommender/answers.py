"""What a fitted recommender can be asked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..model import Factorization
from ..validation.errors import NotFittedError
from . import evaluating, retrieval
from .explaining import Explanation, explain
from .fitted import Fitted
from .ids import read_policy
from .lists import RankedLists
from .ratings import has_labels, read_ratings
from .settings import Explicit, Implicit


class Vectors(NamedTuple):
    """Users and items as vectors whose inner products are the predictions."""

    users: np.ndarray
    items: np.ndarray


class Answers:
    """Predictions, lists, likeness and scores; a base of `Recommender`, which says how to fit."""

    feedback: str
    duplicates: str
    unknown: str
    n_threads: int | None
    _fitted: Fitted | None

    def _meaning(self) -> Explicit | Implicit:
        raise NotImplementedError

    def _known(self) -> Fitted:
        if self._fitted is None:
            raise NotFittedError("this Recommender has not been fitted: call `fit` first")
        return self._fitted

    @property
    def model(self) -> Factorization:
        """The factorization of users × items."""
        return self._known().model

    @property
    def user_ids(self) -> np.ndarray:
        """Ids in the order of the model's rows."""
        return self._known().users.labels

    @property
    def item_ids(self) -> np.ndarray:
        """Ids in the order of the model's columns."""
        return self._known().items.labels

    @property
    def n_ratings(self) -> int:
        """Number of ratings that the rows were fitted to."""
        return int(self._known().ratings.values.nnz)

    def predict(self, users: Any, items: Any, *, unknown: str | None = None) -> Any:
        """Predictions for pairs of a user and an item.

        Parameters
        ----------
        users, items : id or array of ids
            Broadcast against each other.
        unknown : {"error", "mean", "zero", "nan"}, optional
            As in the settings.

        Returns
        -------
        ndarray or number
            Ratings (explicit), or how near to 1 (implicit).
        """
        fitted, policy = self._known(), self._policy(unknown)
        i = fitted.users.places(users, policy, fitted.items)
        j = fitted.items.places(items, policy, fitted.users)
        i, j = np.broadcast_arrays(i, j)
        out = fitted.predict(i, j)
        if policy in ("zero", "nan"):
            out[(i < 0) | (j < 0)] = 0 if policy == "zero" else np.nan
        return out[()]

    def _policy(self, unknown: Any) -> str:
        return read_policy(self.unknown if unknown is None else unknown)

    def recommend(
        self,
        users: Any = None,
        n: int = 10,
        *,
        filter_seen: bool = True,
        exclude: Any = None,
        include: Any = None,
        unknown: str | None = None,
    ) -> RankedLists:
        """The items of the largest predictions for each user.

        Parameters
        ----------
        users : id or vector of ids, optional
            Default: all users of the fit.
        n : int
            Length of a list; a user with fewer candidates gets a shorter one.
        filter_seen : bool
            Leave out the items that the user has ratings of.
        exclude, include : ids of items, optional
            Leave these out; take no others than these.
        unknown : {"error", "mean", "zero", "nan"}, optional
            As in the settings: "mean" gives unknown users the list of the average user, "zero" and
            "nan" an empty one.

        Returns
        -------
        RankedLists
        """
        return retrieval.recommend(
            self._known(),
            users,
            n,
            filter_seen=filter_seen,
            exclude=exclude,
            include=include,
            unknown=self._policy(unknown),
            n_threads=self.n_threads,
        )

    def similar_items(self, items: Any, n: int = 10) -> RankedLists:
        """The items whose factors have the least angle with each given item's; scores are cosines.

        Biases play no part. An item without ratings is similar to none: its cosines are 0.
        """
        return retrieval.similar(self._known(), "item", items, n, self.n_threads)

    def similar_users(self, users: Any, n: int = 10) -> RankedLists:
        """The users whose factors have the least angle with each given user's."""
        return retrieval.similar(self._known(), "user", users, n, self.n_threads)

    def explain(self, user: Any, item: Any) -> Explanation:
        """Which of the user's own ratings carry the prediction for an item, and how much.

        A user's row is linear in the user's ratings, so the prediction is a sum over them.
        """
        fitted = self._known()
        i = fitted.users.places(user, other=fitted.items)
        j = fitted.items.places(item, other=fitted.users)
        if i.ndim or j.ndim:
            raise ValueError("`user` and `item` must be one id each")
        problem = self._meaning().problem(fitted.ratings.of_user(int(i)))
        return explain(fitted, problem, int(i), int(j))

    def to_ann(self) -> Vectors:
        """Vectors for an index of inner products (faiss, usearch, hnswlib).

        Returns
        -------
        Vectors
            ``users`` (users, columns) and ``items`` (items, columns), float32 or float64 and
            contiguous, in the order of `user_ids` and `item_ids`. Their inner products are the
            predictions, biases and mean included, so the nearest items of a user's vector by inner
            product are `recommend`'s without `filter_seen`.
        """
        model = self.model
        return Vectors(np.ascontiguousarray(model.left), np.ascontiguousarray(model.right))

    def evaluate(
        self,
        test: Any,
        user: Any = "user",
        item: Any = "item",
        value: str | None = None,
        weight: Any = None,
        *,
        metrics: Any = None,
        at: Any = 10,
        relevant_from: float | None = None,
        filter_seen: bool = True,
        unknown: str | None = None,
    ) -> dict[str, float]:
        """Hold predictions and lists against ratings that the fit did not see.

        Parameters
        ----------
        test, user, item, value, weight
            As in `fit`; a sparse matrix without ids has the rows and columns of the fit.
        metrics : str or iterable of str, optional
            Of "rmse" and "mae" (default, explicit), "precision", "recall", "map", "ndcg", "auc"
            (default, implicit), "hit", "mrr" and "coverage"; see `wlrmf.metrics` for the formulas.
        at : int or iterable of int
            Lengths of the lists.
        relevant_from : float, optional
            For lists: the least rating of a relevant item. Default: all in `test` are relevant.
        filter_seen : bool
            Leave the items out of a user's list that the user has in the fit.
        unknown : {"error", "mean", "zero", "nan"}, optional
            As in the settings. Predictions of "nan" are left out, and lists are judged without
            the ratings of unknown users and items.

        Returns
        -------
        dict of str to float
            ``"rmse"``, ``"ndcg@10"``, …; ``"n_pairs"`` and ``"n_users"`` that they are means over.
        """
        fitted, policy = self._known(), self._policy(unknown)
        names, cuts = evaluating.read_metrics(metrics, at, self.feedback)
        cells = [name for name in names if name in evaluating.CELLS]
        needs = f"{cells[0]} compares with it" if cells else ""
        if relevant_from is not None:
            needs = needs or "`relevant_from` is one of them"
        ratings = read_ratings(
            test, user, item, value, weight, duplicates=self.duplicates, needs_value=needs
        )
        return evaluating.evaluate(
            fitted,
            evaluating.held_out(
                ratings,
                fitted.ratings,
                policy,
                named=(has_labels(test, user), has_labels(test, item)),
            ),
            names,
            cuts,
            policy=policy,
            relevant_from=relevant_from,
            filter_seen=filter_seen,
            n_threads=self.n_threads,
        )
