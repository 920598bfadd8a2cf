"""`fit`: the one place that wires data, objective, solver and answer together."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from .growth import grow
from .kernels.chunks import available_threads, one_blas_thread
from .model import Factorization, assemble
from .objective import Objective
from .problem import build
from .progress import progress_bar
from .result import Status
from .runs import run_all
from .solvers import SOLVERS, choose, get_solver
from .solvers.base import End, Solver, State, Stop
from .start import read_pins, starts
from .validation.arrays import read_names
from .validation.cells import Cells, read_cells
from .validation.errors import ConvergenceWarning, NotConvergedError, describe
from .validation.memory import check_memory
from .validation.options import (
    read_grows,
    read_int,
    read_rank,
    read_reg,
    read_seed,
    read_starts,
    spread_reg,
)

logger = logging.getLogger("wlrmf")


def fit(
    Y: Any,
    mask: Any = None,
    rank: int | str | None = None,
    *,
    weights: Any = None,
    baseline: Any = None,
    reg: Any = 0.0,
    reg_scaling: str = "none",
    bias: bool = False,
    pinned_W: Any = None,
    pinned_X: Any = None,
    solver: Any = "auto",
    start: Any = None,
    n_starts: int | str = 1,
    stop: Stop | None = None,
    seed: Any = None,
    dtype: Any = None,
    n_threads: int | None = None,
    callback: Callable[[State], Any] | None = None,
    progress: bool = False,
    throw: bool = False,
    on_interrupt: str = "raise",
) -> Factorization:
    """Find W (rank × m) and X (rank × n) with Y ≈ WᵀX, every cell weighed on its own.

    Minimises ``F = ‖A∘(Y − WᵀX)‖_F² + Σ_i reg_i ‖w_i‖² + Σ_j reg_j ‖x_j‖²``.

    Parameters
    ----------
    Y : matrix, shape (m, n)
        An array (NaN = missing; a masked array's masked cells too), a pandas or polars frame
        (null = missing), or a scipy sparse matrix: a stored entry is observed, a stored zero too,
        and what is not stored is missing.
    mask : matrix, shape (m, n), optional
        The A of the formula. Boolean (or 0 and 1): which cells count; a NaN among them is an
        error, also where this is 1/σ and every σ is 1: give 0 there. Real: multiplies the residual,
        so it acts *squared*: give 1/σ for noise of standard deviation σ; a NaN in Y is missing all
        the same, one in σ is an error.
    rank : int or "auto"
        Number of factors. With ``bias=True`` or pinned rows it may be 0. ``"auto"``, with a ridge:
        as many as the optimum over all ranks has; they join until that is certified to a relative
        gap of `stop.gap` (default 1e-4), and the fit ends as `Status.GAP`; see `wlrmf.growth.grow`.
    weights : matrix, shape (m, n), optional
        Weights of the *squared* residuals, as scikit-learn means it: A∘A = mask² · weights.
        0 says missing; a NaN is an error, even where Y is missing.
    baseline : number or pair (u, v), optional
        Weight of the squared residual of the cells that a sparse Y does not store, whose target is
        then 0; a pair of vectors (m,), (n,) gives cell (i, j) the weight u_i v_j. The model of
        implicit feedback.
    reg : number, or pair (rows, columns) of numbers or vectors
        Ridge. Vectors have one number a row (m,) and one a column (n,).
    reg_scaling : {"none", "count"}
        ``"count"`` multiplies each ridge by the row's (column's) number of observed cells.
    bias : bool
        Fit Y ≈ mean + row_bias + col_bias + WᵀX. The mean is the weighted mean of Y; the biases
        are found with the factors and bear the same ridge.
    pinned_W : array, shape (p, m), optional
        Rows of W with given values (what is known of each row of Y, say); their coefficients, one
        a column of Y, are found. They bear the columns' ridge, the given values none.
    pinned_X : array, shape (q, n), optional
        Rows of X with given values, the other way round.
    solver : str or object
        ``"auto"``, ``"svd"``, ``"als"``, ``"gd"``, ``"scaled-gd"``, ``"lbfgs"``, ``"varpro"``, or a
        solver such as ``wlrmf.solvers.ALS(acceleration=None)``. ``"auto"`` is ``"svd"`` where the
        optimum has a closed form, ``"varpro"`` on small problems with hardly any ridge, where
        other methods end in worse optima, and otherwise ``"als"``; see `wlrmf.solvers.choose`.
    start : pair (W, X), Factorization or State, optional
        Where to begin; a State (``model.state``) goes on as if the fit had not stopped (but for
        ``"lbfgs"``, whose memory is SciPy's and begins anew). Default:
        the leading singular vectors of the weighted data, missing cells as 0; for ``"varpro"`` a
        path on which factors join one by one while a ridge falls, see `wlrmf.path.Path`.
    n_starts : int or "repeat"
        Number of starts, the default one and then others, most of them random; the model with the
        least value is returned, and its `optima` tells what was found. ``"repeat"``: until the
        least value has been met from two random ones (100 starts at most), see
        `wlrmf.runs.run_all`. Without a callback they run side by side on `n_threads`.
    stop : Stop, optional
        Tolerances, iterations and seconds; see `Stop`.
    seed : int, numpy Generator, RandomState or SeedSequence, optional
        Of all random numbers. None is the same as 0: calls repeat.
    dtype : float32 or float64, optional
        Default: float32 for float32 data, otherwise float64. Losses are summed in float64.
    n_threads : int, optional
        Default: the processors this process may use. The result is the same, to the bit, for any.
    callback : callable, optional
        Called with the `State` after each iteration from each start, not on the path to one; with
        ``rank="auto"`` at ranks that change, in float64.
        Raising StopIteration ends the fit with the best point so far, ``StopIteration(state)`` with
        that earlier state (the best by a measure of the caller's); any other exception passes.
    progress : bool
        Show a progress bar (on a terminal, for fits longer than a second).
    throw : bool
        Raise `NotConvergedError` where the fit ends without success.
    on_interrupt : {"raise", "return"}
        After Ctrl-C, which is heard between iterations and between chunks of rows: raise
        KeyboardInterrupt, whose ``partial_result`` is the model of the best point so far, or
        return that model. Before the first point there is none: ``partial_result`` is None. With
        ``rank="auto"`` it has the rank that was reached; to go on, give that rank.

    Returns
    -------
    Factorization
        It remembers the data and the last state of the fit, for `Factorization.certificate` and to
        go on from; ``model.released()`` is without them.

    Raises
    ------
    TypeError, ValueError
        For input that makes no sense; the message names the argument, what it got and wanted.
    MemoryError
        If the factors would not fit the memory that is free, before anything is allocated.
    NotConvergedError
        With ``throw=True``.

    Warns
    -----
    ConvergenceWarning
        If a value that is not finite was met, no way down was found, a gap could not be certified,
        or `max_iter` was reached with the default `stop`.
    DataWarning
        If the rank is above min(m, n), one factor alone has a ridge, integers lose digits, or the
        weights differ by more than float32 can solve for.

    Notes
    -----
    With factors of s bytes a number a fit of sparse data takes, beside its arguments, at most
    2 (s + 4) bytes a cell (4 s + 8 with weights) and 15 s (rank + columns pinned) (m + n).

    Examples
    --------
    >>> import numpy as np, wlrmf
    >>> Y = np.outer([1.0, 2, 3], [2.0, 1, 4, 3])
    >>> Y[0, 2] = np.nan
    >>> model = wlrmf.fit(Y, rank=1)
    >>> print(model.success, round(float(model.predict(0, 2)), 3))
    True 4.0
    """
    model: Factorization | None = None
    try:
        _check_plain(bias, callback, stop, on_interrupt)
        number = read_starts(n_starts)
        cells = read_cells(Y, mask, weights, baseline, dtype)
        threads = available_threads() if n_threads is None else read_int(n_threads, "n_threads", 1)
        row_reg, col_reg = read_reg(reg, cells.shape)
        with one_blas_thread():
            problem = build(cells, threads)
            pins = read_pins(problem, pinned_W, pinned_X, bool(bias))
            grows = read_grows(rank, start, number)
            rank = 0 if grows else read_rank(rank, cells.shape, pins.pinned)
            layout = replace(pins.layout, rank=rank)
            check_memory(rank, cells.shape, layout.columns, cells.Y.dtype, threads)
            objective = Objective(
                problem,
                spread_reg(row_reg, reg_scaling, problem.row_counts(), problem.dtype),
                spread_reg(col_reg, reg_scaling, problem.col_counts(), problem.dtype),
                layout,
            )
            chosen = _chosen(solver, objective, grows)
            with progress_bar(progress, callback) as watch:
                tests = stop or Stop()
                if grows:
                    chance = read_seed(seed)
                    objective, end = grow(objective, pins, chosen, tests, chance, watch)
                    ends = [end]
                else:
                    begins = starts(objective, pins, start, number, seed, chosen)
                    ends = run_all(objective, chosen, begins, tests, watch, number is None)
            model = _finish(
                objective,
                _best(ends),
                has_bias=bool(bias),
                solver=chosen.name,
                start_values=tuple(end.best.value for end in ends),
                row_reg=row_reg,
                col_reg=col_reg,
                reg_scaling=reg_scaling,
                **_baseline_of(cells),
                **dict(zip(("row_names", "col_names"), read_names(Y), strict=True)),
            )
        _raise_if_interrupted(model)
        tell(model, default_stop=stop is None, throw=throw)
    except KeyboardInterrupt as interrupt:
        interrupt.partial_result = model  # type: ignore[attr-defined]
        if model is None or on_interrupt == "raise":
            raise
    return model


def _check_plain(bias: Any, callback: Any, stop: Any, on_interrupt: Any) -> None:
    """The arguments that no other function reads."""
    if not isinstance(bias, bool | np.bool_):
        raise TypeError(f"`bias` must be True or False; got {describe(bias)}")
    if callback is not None and not callable(callback):
        raise TypeError(f"`callback` must be callable; got {describe(callback)}")
    if stop is not None and not isinstance(stop, Stop):
        raise TypeError(f"`stop` must be a wlrmf.Stop; got {describe(stop)}")
    if on_interrupt not in ("raise", "return"):
        raise ValueError(
            f'`on_interrupt` must be "raise" or "return"; got {describe(on_interrupt)}'
        )


def _chosen(solver: Any, objective: Objective, grows: bool) -> Solver:
    if isinstance(solver, str) and solver == "auto":
        return SOLVERS["als"] if grows else choose(objective)
    return get_solver(solver)


def _best(ends: list[End]) -> End:
    """The end that the callback chose, otherwise that of the least value."""
    if ends[-1].chosen:
        return ends[-1]
    values = [end.best.value for end in ends]
    best = ends[int(np.nanargmin(values)) if np.isfinite(values).any() else 0]
    stopped = ends[-1].status is Status.INTERRUPTED
    return best._replace(status=Status.INTERRUPTED) if stopped else best


def _finish(objective: Objective, end: End, **about: Any) -> Factorization:
    """End on a row solve, so that folding in a training row gives that row.

    Not after an interrupt, when there is no more time.
    """
    point, deficient, status = end.best, 0, end.status
    if status not in (Status.NOT_STARTED, Status.EXACT, Status.NOT_FINITE, Status.INTERRUPTED):
        try:
            left, deficient = objective.best_W(point.W, point.X)
            with np.errstate(over="ignore", invalid="ignore"):  # looked for below
                solved = State.start(objective, left, point.X)
            if np.isfinite(solved.value):
                point = replace(solved, first_norm=point.first_norm)
        except KeyboardInterrupt:
            status = Status.INTERRUPTED
    status = status if np.isfinite(point.value) else Status.NOT_FINITE
    return assemble(
        objective,
        point.W,
        point.X,
        point.value,
        status=status,
        optimality=point.optimality,
        n_iter=end.last.iteration,
        trace=end.last.trace,
        n_regularized=deficient,
        state=end.last,
        problem=replace(objective.problem),  # type: ignore[type-var]  # without what it derived
        **about,
    )


def _baseline_of(cells: Cells) -> dict[str, Any]:
    """The baseline as the model keeps it: u as one number where it is one."""
    if cells.u.size == 0:
        return {}
    uniform = bool((cells.u == cells.u[0]).all())
    return {"base_u": float(cells.u[0]) if uniform else cells.u, "base_v": cells.v}


def _raise_if_interrupted(model: Factorization) -> None:
    if model.status is Status.INTERRUPTED:
        raise KeyboardInterrupt(model.message)


def tell(model: Any, *, default_stop: bool, throw: bool) -> None:
    """Nothing about an end without success is silent, unless the caller set the budget."""
    logger.info("%r", model)
    if model.success:
        return
    if throw:
        raise NotConvergedError(model.message, model)
    broken = model.status in (Status.NOT_FINITE, Status.STUCK, Status.UNCERTIFIED)
    if broken or (default_stop and model.status is Status.MAX_ITER):
        warnings.warn(model.message, ConvergenceWarning, stacklevel=3)
