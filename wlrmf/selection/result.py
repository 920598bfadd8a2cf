"""`Selection`: what was tried, what was chosen and why."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Self

import numpy as np

from ..model import Factorization
from . import file

COMPLETE = "complete"
HOPELESS = "hopeless"
RISING = "rising"
SKIPPED = "skipped"


@dataclass(frozen=True)
class Trial:
    """A rank and a ridge, and how they did.

    Attributes
    ----------
    rank : int
    reg : float
    error : float
        Mean over the folds of the error on their held-out cells. Where not all were run, the least
        mean error plus the mean difference to that pair on the folds that were; NaN if none was.
    se : float
        Its standard error: over folds, or over cells where there is a single holdout. NaN unless
        the status is "complete".
    errors : tuple of float
        One a fold; NaN where it was not run.
    value : float
        F at the end of the fits, mean over the folds that were run.
    n_iter : int
        Iterations of all folds.
    seconds : float
        Of all folds.
    status : str
        ``"complete"``: run on all folds; only such a pair can be chosen. ``"hopeless"``: not run
        on all, because its error was clearly above the least one. ``"rising"``: the same, and its
        last fit was ended because the error rose. ``"skipped"``: not run, because the error had
        risen clearly for two stronger ridges in a row.
    """

    rank: int
    reg: float
    error: float
    se: float
    errors: tuple[float, ...]
    value: float
    n_iter: int
    seconds: float
    status: str


@dataclass(frozen=True, eq=False, repr=False)
class Selection:
    """The rank and the ridge that were chosen, all that were tried, and the model.

    Attributes
    ----------
    table : tuple of Trial
        One a pair, by rank and falling ridge.
    rank, reg : int, float
        The choice of the rule.
    best_rank, best_reg : int, float
        The pair of the least error.
    limit : float
        The largest error that the rule accepted: the least one, for "one-se" with its standard
        error added.
    metric, rule : str
    n_folds : int
        1 for a single holdout.
    seconds : float
        Of the search, without the last fit.
    model : Factorization or None
        Fitted to all cells at the choice.
    """

    table: tuple[Trial, ...]
    rank: int
    reg: float
    best_rank: int
    best_reg: float
    limit: float
    metric: str
    rule: str
    n_folds: int
    seconds: float
    model: Factorization | None = field(default=None)

    @property
    def chosen(self) -> Trial:
        """The row of the choice."""
        return self._row(self.rank, self.reg)

    @property
    def best(self) -> Trial:
        """The row of the least error."""
        return self._row(self.best_rank, self.best_reg)

    def _row(self, rank: int, reg: float) -> Trial:
        return next(trial for trial in self.table if (trial.rank, trial.reg) == (rank, reg))

    @property
    def ranks(self) -> list[int]:
        """Ranks tried, rising."""
        return sorted({trial.rank for trial in self.table})

    @property
    def regs(self) -> list[float]:
        """Ridges tried, falling."""
        return sorted({trial.reg for trial in self.table}, reverse=True)

    @property
    def at_edge(self) -> tuple[str, ...]:
        """Which of "rank" and "reg" are the outermost of several tried, so that more may do better.

        The smallest rank counts only where there is a smaller one, and is then no edge: it is what
        the rule looks for.
        """
        edges = []
        if len(self.ranks) > 1 and self.best_rank == self.ranks[-1]:
            edges.append("rank")
        if len(self.regs) > 1 and self.best_reg in (self.regs[0], self.regs[-1]):
            edges.append("reg")
        return tuple(edges)

    def to_dict(self) -> dict[str, np.ndarray]:
        """Columns by name, ready for a data frame: one row a pair.

        rank, reg, error, se, fold 0, fold 1, …, value, n_iter, seconds, status, chosen.

        Examples
        --------
        >>> import numpy as np, wlrmf
        >>> Y = np.random.default_rng(0).standard_normal((20, 15))
        >>> found = wlrmf.select(Y, ranks=[1, 2], regs=[4.0, 1.0], folds=2)
        >>> found.to_dict()["rank"].tolist()
        [1, 1, 2, 2]
        """
        rows = self.table
        names = ("rank", "reg", "error", "se")
        columns = {name: np.array([getattr(row, name) for row in rows]) for name in names}
        for k in range(self.n_folds):
            columns[f"fold {k}"] = np.array([row.errors[k] for row in rows])
        for name in ("value", "n_iter", "seconds", "status"):
            columns[name] = np.array([getattr(row, name) for row in rows])
        columns["chosen"] = np.array([(r.rank, r.reg) == (self.rank, self.reg) for r in rows])
        return columns

    def plot(self, ax: Any = None) -> Any:
        """Draw the held-out error against the ridge, a line a rank: `wlrmf.plot.selection`.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; default: a new figure.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            Without matplotlib and without `ax`.
        """
        from ..plot import selection

        return selection(self.to_dict(), ax, metric=self.metric, limit=self.limit)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the table, the choice and the model to `path`: an npz without pickled objects."""
        file.write(path, vars(self))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        ModelFormatError
            If the file is not a selection's, is damaged, or is of a newer version.
        """
        fields, rows = file.read(path)
        return cls(table=tuple(Trial(**row) for row in rows), **fields)

    def __repr__(self) -> str:
        over = f"{self.n_folds} folds" if self.n_folds > 1 else "one holdout"
        chosen, best = self.chosen, self.best
        tried = sum(trial.status == COMPLETE for trial in self.table)
        edge = "".join(f"; the best {name} is at the edge of those tried" for name in self.at_edge)
        return (
            f"Selection(rank {self.rank}, reg {self.reg:g}: {self.metric} {chosen.error:.5g} ± "
            f"{chosen.se:.2g} over {over}; least {best.error:.5g} at rank {self.best_rank}, reg "
            f"{self.best_reg:g}; {tried} of {len(self.table)} pairs run in full{edge})"
        )

    def _repr_html_(self) -> str:
        """The line above, and errors by ridge (rows) and rank (columns)."""
        head = "".join(f"<th>rank {rank}</th>" for rank in self.ranks)
        lines = []
        for reg in self.regs:
            cells = "".join(self._html_cell(self._row(rank, reg)) for rank in self.ranks)
            lines.append(f"<tr><th>reg {reg:g}</th>{cells}</tr>")
        return (
            f"<div><p><code>{html.escape(repr(self))}</code></p>"
            f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
            "<p>Bold: chosen. Underlined: the least. In brackets: not run on all folds.</p></div>"
        )

    def _html_cell(self, trial: Trial) -> str:
        if trial.status == SKIPPED:
            return "<td>–</td>"
        text = f"{trial.error:.5g}"
        if trial.status != COMPLETE:
            return f"<td>({text})</td>"
        text += f" ± {trial.se:.2g}"
        if trial is self.best:
            text = f"<u>{text}</u>"
        return f"<td><b>{text}</b></td>" if trial is self.chosen else f"<td>{text}</td>"
