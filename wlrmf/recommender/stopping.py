"""Early stopping: a fit ends with the factors that are best on held-out ratings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .. import metrics as measures
from ..objective import predicted
from ..solvers.base import State
from .evaluating import CELLS, HeldOut, list_scores
from .ratings import Ratings


@dataclass(eq=False)
class EarlyStopping:
    """A callback of `fit`: remembers the best state, and ends the fit once it has aged.

    Attributes
    ----------
    metric : str
        "rmse", "mae", "auc", or another metric with its cut-off, "ndcg@10".
    patience : int
        Iterations without a better score before the fit ends.
    best : State or None
    scores : list of float
        One an iteration.
    """

    metric: str
    train: Ratings
    test: HeldOut
    patience: int
    n_threads: int | None
    callback: Callable[[State], Any] | None = None
    best: State | None = None
    last: State | None = None
    scores: list[float] = field(default_factory=list)
    patient_no_more: bool = False

    def __call__(self, state: State) -> None:
        """Score the state; raise StopIteration with the best one when patience is over."""
        score = self.score(state)
        sign = -1 if self.metric in CELLS else 1
        if not self.scores or sign * score > max(sign * old for old in self.scores):
            self.best = state
        self.scores.append(score)
        self.last = state
        if self.callback is not None:
            try:
                self.callback(state)
            except StopIteration:
                self._end()
        if self.best is not None and state.iteration - self.best.iteration >= self.patience:
            self.patient_no_more = True
            self._end()

    def _end(self) -> None:
        self.last = self.best
        raise StopIteration(self.best)

    @property
    def overtaken(self) -> bool:
        """Whether the fit went on past its best state and ended by another test."""
        return self.best is not self.last

    def end_with_best(self, _: State) -> None:
        """Another callback: end at once, with the best state of the fit before."""
        raise StopIteration(self.best)

    def score(self, state: State) -> float:
        """The metric of a state's factors on the held-out ratings."""
        test = self.test
        if self.metric in CELLS:
            found = predicted(state.W, state.X, test.users, test.items)
            return float(getattr(measures, self.metric)(test.values, found, test.weights))
        name, _, k = self.metric.partition("@")
        at = (int(k or 1),)
        scores = list_scores(state.W, state.X, self.train, test, (name,), at, self.n_threads)
        return scores[self.metric]


def read_metric(metric: Any) -> str:
    """A metric's name, with a cut-off where it has one."""
    name, at, k = metric.partition("@") if isinstance(metric, str) else ("", "", "")
    plain = name in (*CELLS, "auc") and not at
    cut = name in ("precision", "recall", "map", "ndcg", "hit", "mrr") and k.isdigit() and int(k)
    if not (plain or cut):
        raise ValueError(
            '`metric` must be "rmse", "mae", "auc", or "precision", "recall", "map", "ndcg", '
            f'"hit" or "mrr" with a cut-off, such as "ndcg@10"; got {metric!r}'
        )
    return str(metric)
