"""`select`: the one function that reads, searches, chooses and fits once more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..fit import fit
from ..kernels.chunks import available_threads, one_blas_thread
from ..progress import progress_bar
from ..solvers import get_solver
from ..solvers.base import Stop
from ..validation.cells import read_cells
from ..validation.errors import describe
from ..validation.options import read_int, spread_reg
from .errors import Metric
from .grid import default_regs, read_ranks, read_regs
from .parts import Fold, Observations, read_parts
from .result import COMPLETE, HOPELESS, RISING, SKIPPED, Selection, Trial
from .search import Pair, Record, Setting, loosened, search

RULES = ("one-se", "best")


def select(
    Y: Any,
    mask: Any = None,
    ranks: Sequence[int] | None = None,
    regs: Sequence[float] | None = None,
    *,
    weights: Any = None,
    baseline: None = None,
    folds: Any = None,
    holdout: Any = None,
    metric: Any = "rmse",
    rule: str = "one-se",
    reg_scaling: str = "none",
    bias: bool = False,
    pinned_W: Any = None,
    pinned_X: Any = None,
    solver: Any = "auto",
    n_starts: int | str = 1,
    stop: Stop | None = None,
    seed: Any = None,
    dtype: Any = None,
    n_threads: int | None = None,
    refit: bool = True,
    progress: bool = False,
) -> Selection:
    """Choose rank and ridge by the error on cells that no fit has seen.

    Observed cells are dealt to folds (`wlrmf.splits.folds`); each pair of a rank and a ridge is
    fitted to the cells outside a fold and judged on those in it, with the weights A∘A. Pairs that
    cannot be chosen are left on the way, and the table says so of each: after a fold, those whose
    mean error is more than four standard errors above the least; in the first fold, a rank's
    weaker ridges once the error is as far above the least and has risen for two ridges in a row.
    Should the folds turn out to differ so much that the rule could have chosen one of them after
    all, it is run in full.

    Parameters
    ----------
    Y : matrix, shape (m, n)
        As in `wlrmf.fit`: NaN, or what a sparse matrix does not store, is missing.
    mask : matrix, shape (m, n), optional
        The A of the formula, as in `wlrmf.fit`: boolean, or real and acting squared.
    ranks : sequence of int, optional
        At most min(m, n). Default: 1, 2, 4, 8, 16 as far as half of that.
    regs : sequence of float, optional
        Ridges. Default: σ₁/2, σ₁/4, …, σ₁/256. σ₁ is the least ridge at which all factors of the
        first fold's training cells vanish: the largest singular value of A∘A∘R, where R is what
        mean, biases and pinned rows leave of Y; with ``reg_scaling="count"`` of
        D^-½ (A∘A∘R) E^-½, D and E being the numbers of observed cells of rows and columns.
    weights : matrix, shape (m, n), optional
        Weights of the *squared* residuals: A∘A = mask² · weights.
    baseline : None
        Not supported: of implicit feedback the ranking is judged, not the error of a cell.
    folds : int or array, optional
        Number of folds, at least 2; default 5. Or the fold of each observed cell, in row-major
        order, −1 for one that is never held out.
    holdout : float or array, optional
        Instead of folds a single share to hold out, or a boolean for each observed cell.
    metric : {"rmse", "mae"} or callable
        Weighted root mean square or mean absolute error, or ``metric(y, predicted, weights)``, a
        number, the less the better.
    rule : {"one-se", "best"}
        ``"one-se"``: the smallest rank, and of it the largest ridge, whose error is within one
        standard error of the least. The standard error is over folds, or over cells with `holdout`.
    reg_scaling, bias, pinned_W, pinned_X, solver, n_threads
        As in `wlrmf.fit`.
    n_starts, stop : optional
        As in `wlrmf.fit`, for the last fit. The search has one start a fit and looser tests,
        ``Stop(gtol=1e-3, ftol=1e-5, max_iter=200)`` at the most.
    seed : optional
        As in `wlrmf.fit`; of the folds too.
    dtype : float32 or float64, optional
        As in `wlrmf.fit`. By default the search works in float32 where every ridge is above 0 and
        the data do not need more digits.
    refit : bool
        Fit all cells at the chosen rank and ridge.
    progress : bool
        Show a progress bar, an iteration a step.

    Returns
    -------
    Selection

    Raises
    ------
    TypeError, ValueError
        For input that makes no sense; the message names the argument, what it got and wanted.

    References
    ----------
    Breiman, Friedman, Olshen & Stone (1984), Classification and Regression Trees, section 3.4.3
    (one standard error); Owen & Perry (2009), doi:10.1214/08-AOAS227 (held-out cells of a matrix).

    Examples
    --------
    >>> import numpy as np, wlrmf
    >>> rng = np.random.default_rng(0)
    >>> Y = rng.standard_normal((60, 2)) @ rng.standard_normal((2, 40))
    >>> Y += 0.5 * rng.standard_normal(Y.shape)
    >>> wlrmf.select(Y, ranks=[1, 2, 3, 4], regs=[16, 8, 4, 2]).rank
    2
    """
    begin = time.perf_counter()
    if baseline is not None:
        raise ValueError(
            "`baseline` is not supported: the cells that it weighs are no held-out truth. Judge "
            "the ranking instead, with wlrmf.recommender.Recommender.evaluate"
        )
    _check_options(rule, bias, refit, stop, reg_scaling)
    judge, method = Metric.read(metric), _read_solver(solver)
    data = Observations.of(read_cells(Y, mask, weights, None, dtype))
    ridges = None if regs is None else read_regs(regs)
    pinned = {"pinned_W": pinned_W, "pinned_X": pinned_X, "bias": bool(bias)}
    free = bool(bias) or pinned_W is not None or pinned_X is not None
    tried = read_ranks(ranks, data.cells.shape, free)
    parts = read_parts(data, folds, holdout, seed)
    if dtype is None and (ridges is None or ridges[-1] > 0):
        data = data.in_float32()
    threads = available_threads() if n_threads is None else read_int(n_threads, "n_threads", 1)

    def fold(k: int) -> Fold:
        return first if k == 0 else data.split(parts[k], threads, pinned)

    with one_blas_thread(), progress_bar(progress, None) as watch:
        first = data.split(parts[0], threads, pinned)
        if ridges is None:
            ridges = default_regs(first, reg_scaling)
        record = Record(tried, ridges, len(parts))
        setting = Setting(judge, reg_scaling, method, loosened(stop or Stop()), watch)
        search(fold, record, setting)
    options = {"weights": weights, "reg_scaling": reg_scaling, "solver": solver, "dtype": dtype}
    options |= pinned | {"n_starts": n_starts, "stop": stop, "seed": seed, "n_threads": n_threads}
    found = chosen(record, rule)
    seconds = time.perf_counter() - begin
    (rank, reg), model = found["choice"], None
    if refit:
        model = fit(Y, mask, rank, reg=reg, progress=progress, **options)
    return Selection(
        table=rows(record),
        rank=rank,
        reg=reg,
        best_rank=found["best"][0],
        best_reg=found["best"][1],
        limit=found["limit"],
        metric=judge.name,
        rule=rule,
        n_folds=len(parts),
        seconds=seconds,
        model=model,
    )


def chosen(record: Record, rule: str) -> dict[str, Any]:
    """The pair of the least error, the rule's choice and the largest error that it accepted."""
    standing = {pair: record.standing(pair) for pair in record.complete()}
    best = record.best()
    limit = standing[best][0] + (standing[best][1] if rule == "one-se" else 0.0)
    near = [pair for pair, (error, _) in standing.items() if error <= limit]
    choice = min(near, key=_simplicity) if rule == "one-se" else best
    return {"best": best, "choice": choice, "limit": limit}


def _simplicity(pair: Pair) -> tuple[int, float]:
    return pair[0], -pair[1]


def rows(record: Record) -> tuple[Trial, ...]:
    """One a pair, run or not."""
    return tuple(_row(record, (rank, reg)) for rank in record.ranks for reg in record.regs)


def _row(record: Record, pair: Pair) -> Trial:
    own = record.outcomes.get(pair, {})
    errors = tuple(own[k].error if k in own else np.nan for k in range(record.n_folds))
    if len(record.errors(pair)) == record.n_folds:
        status = COMPLETE
    elif not own:
        status = SKIPPED
    else:
        status = HOPELESS if all(o.finished for o in own.values()) else RISING
    return Trial(
        rank=pair[0],
        reg=pair[1],
        error=record.estimate(pair) if own else np.nan,
        se=record.standing(pair)[1] if status == COMPLETE else np.nan,
        errors=errors,
        value=float(np.mean([o.value for o in own.values()])) if own else np.nan,
        n_iter=sum(o.n_iter for o in own.values()),
        seconds=sum(o.seconds for o in own.values()),
        status=status,
    )


def _check_options(rule: Any, bias: Any, refit: Any, stop: Any, reg_scaling: Any) -> None:
    if rule not in RULES:
        raise ValueError(f'`rule` must be "one-se" or "best"; got {describe(rule)}')
    for value, name in ((bias, "bias"), (refit, "refit")):
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"`{name}` must be True or False; got {describe(value)}")
    if stop is not None and not isinstance(stop, Stop):
        raise TypeError(f"`stop` must be a wlrmf.Stop; got {describe(stop)}")
    spread_reg(0.0, reg_scaling, np.ones(1), np.dtype(np.float64))


def _read_solver(solver: Any) -> Any:
    """The search's: with cells held out there is no closed form."""
    method = get_solver("als" if isinstance(solver, str) and solver == "auto" else solver)
    if "svd" in method.needs:
        raise ValueError(
            "`solver` must work with missing cells, which held-out ones are; got 'svd'"
        )
    return method
