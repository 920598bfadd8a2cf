"""`fit` over blocks on a Dask cluster, and `fit_local`, the same without Dask."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..checkpoint import Checkpoint
from ..fit import tell
from ..kernels.chunks import available_threads
from ..objective import Layout, Objective
from ..result import Status
from ..solvers import get_solver
from ..solvers.base import End, State, Stop, minimise
from ..start import WORDS, is_same
from ..validation.errors import describe
from ..validation.options import (
    check_scaling,
    read_int,
    read_rank,
    read_real,
    read_reg,
    read_seed,
    read_vector,
)
from . import start as starts
from .engine import Local
from .half import Terms
from .model import BlockModel
from .objective import ItemsObjective, total_weight
from .store import Blocks

EXCHANGES = "auto", "full", "routed"


def fit(
    blocks: Blocks,
    rank: int,
    *,
    reg: Any,
    reg_scaling: str = "none",
    baseline: Any = None,
    bias: bool = False,
    solver: Any = "als",
    start: Any = None,
    stop: Stop | None = None,
    seed: Any = 0,
    exchange: str = "auto",
    checkpoint: Any = None,
    resume: bool = False,
    max_restarts: int = 3,
    callback: Callable[[State], Any] | None = None,
    throw: bool = False,
    client: Any = None,
) -> BlockModel:
    """Fit a block store on a Dask cluster: the same F as `wlrmf.fit`, the same bits as `fit_local`.

    Minimises ``F = Σ c_ij (y_ij − w_i·x_j)² + Σ_i reg_i ‖w_i‖² + Σ_j reg_j ‖x_j‖²`` over the cells
    of the store (with `baseline`, over all cells). The users' factors are eliminated: F is a
    function of the items, and each block of users is solved where it is. A worker that dies costs
    its own blocks, which others take over; the items of the last whole iteration are here.

    Parameters
    ----------
    blocks : Blocks
        Of `ingest` or `open_blocks`. All workers must see the store at the same path.
    rank : int
        Number of factors; 0 is allowed with ``bias=True``.
    reg : number or pair (users, items) of numbers
        Ridge.
    reg_scaling : {"none", "count"}
        ``"count"`` multiplies the ridge of a user or item by its number of cells (ALS-WR).
    baseline : number or pair (u, v), optional
        Weight of the squared residual of the cells that are not stored, whose target is 0: the
        model of implicit feedback. u is a number, v a number or a vector of one number an item.
    bias : bool
        Fit Y ≈ mean + user bias + item bias + WᵀX.
    solver : "als" or object
        ``"als"`` is accelerated; ``wlrmf.solvers.ALS(acceleration=None)`` is plain.
    start : array, shape (rank, n), optional
        Items to begin from. Default: the leading singular vectors of the weighted data.
    stop : Stop, optional
        As in `wlrmf.fit`, without `gap`.
    seed : int, numpy Generator, RandomState or SeedSequence
        Of the start's random numbers.
    exchange : {"auto", "full", "routed"}
        What blocks of items are given of the users: all of them, or only the rows they need, as
        that moves less, at one small task for each pair of blocks. The result is the same, to the
        bit. ``"auto"``: whichever `plan` expects to move less than half.
    checkpoint : path or Checkpoint, optional
        A file that holds the items of the last iteration, replaced once a minute (a `Checkpoint`
        says how often) and when the fit ends, by an error too.
    resume : bool
        Go on from the file of `checkpoint`, if there is one.
    max_restarts : int
        How many times in one half-sweep what the cluster lost is computed anew.
    callback : callable, optional
        Called with the `State` after each iteration; its W is empty. Raising StopIteration ends
        the fit as in `wlrmf.fit`.
    throw : bool
        Raise `NotConvergedError` where the fit ends without success.
    client : dask.distributed.Client, optional
        Default: the current one.

    Returns
    -------
    BlockModel

    Raises
    ------
    TypeError, ValueError
        For input that makes no sense; for a checkpoint of other data, rank or ridge, naming it.
    DataFileError
        If a block is not what was ingested.
    ClusterError
        If the scheduler is gone, no worker is left, a block kills its workers, or the versions of
        wlrmf, NumPy or Numba differ. The items so far are in the checkpoint.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is the model so far.

    References
    ----------
    De Sterck & Winlaw (2015), doi:10.1002/nla.1963 (acceleration); Golub & Pereyra (1973),
    doi:10.1137/0710036 (elimination); Zhou, Wilkinson, Schreiber & Pan (2008),
    doi:10.1007/978-3-540-68880-8_32 (blocks of users and items in turn, ridges by count).
    """
    from .cluster import Cluster, current_client

    if exchange not in EXCHANGES:
        raise ValueError(f"`exchange` must be one of {EXCHANGES}; got {describe(exchange)}")
    restarts = read_int(max_restarts, "max_restarts", 0)
    terms, v = _read(blocks, rank, reg, reg_scaling, baseline, bias, n_threads=1)
    with Cluster(current_client(client), blocks, terms.layout.columns, exchange) as engine:
        objective = ItemsObjective(blocks, terms, v, engine, restarts)
        return _run(objective, solver, start, stop, seed, checkpoint, resume, callback, throw)


def fit_local(
    blocks: Blocks,
    rank: int,
    *,
    reg: Any,
    reg_scaling: str = "none",
    baseline: Any = None,
    bias: bool = False,
    solver: Any = "als",
    start: Any = None,
    stop: Stop | None = None,
    seed: Any = 0,
    checkpoint: Any = None,
    resume: bool = False,
    callback: Callable[[State], Any] | None = None,
    throw: bool = False,
    n_threads: int | None = None,
) -> BlockModel:
    """Fit a block store in this process, one block after the other, without Dask.

    The blocks are memory-mapped: the store may be larger than the memory. What has to fit is what
    `plan` gives as `local_memory`: the users' and items' factors and one block. The result is that
    of `fit`, to the bit, whatever the cluster.

    Parameters
    ----------
    blocks, rank, reg, reg_scaling, baseline, bias, solver, start, stop, seed
        As in `fit`.
    checkpoint, resume, callback, throw
        As in `fit`.
    n_threads : int, optional
        Default: the processors this process may use. The result is the same for any.

    Returns
    -------
    BlockModel
    """
    threads = available_threads() if n_threads is None else read_int(n_threads, "n_threads", 1)
    terms, v = _read(blocks, rank, reg, reg_scaling, baseline, bias, threads)
    objective = ItemsObjective(blocks, terms, v, Local(), 0)
    return _run(objective, solver, start, stop, seed, checkpoint, resume, callback, throw)


def _read(
    blocks: Any, rank: Any, reg: Any, reg_scaling: Any, baseline: Any, bias: Any, n_threads: int
) -> tuple[Terms, np.ndarray | None]:
    """Judge what is to be minimised."""
    if not isinstance(blocks, Blocks):
        raise TypeError(
            "`blocks` must be a block store, of wlrmf.distributed.ingest or open_blocks; got "
            f"{describe(blocks)}"
        )
    if not isinstance(bias, bool | np.bool_):
        raise TypeError(f"`bias` must be True or False; got {describe(bias)}")
    if isinstance(rank, str):
        raise TypeError(f"`rank` must be an int: the rank is not chosen over blocks; got {rank!r}")
    number = read_rank(rank, blocks.shape, bool(bias))
    check_scaling(reg_scaling)
    ridges = read_reg(reg, blocks.shape)
    if any(np.ndim(each) for each in ridges):
        raise ValueError("`reg` must be a number or a pair of numbers (users, items) over blocks")
    u, v = _baseline(baseline, blocks)
    mean = blocks.sums["values"] / total_weight(blocks, u, v) if bias else None
    one = int(bool(bias))
    layout = Layout(one, number, one, one)
    ridge = float(ridges[0]), float(ridges[1])
    return Terms(layout, ridge, reg_scaling, mean, u, blocks.dtype, n_threads), v


def _baseline(baseline: Any, blocks: Blocks) -> tuple[float | None, np.ndarray | None]:
    """u, and one v an item."""
    if baseline is None:
        return None, None
    u, v = baseline if isinstance(baseline, tuple | list) and len(baseline) == 2 else (baseline, 1)
    if np.ndim(u):
        raise ValueError(
            "`baseline` must be a number or a pair (number, one number an item) over blocks; "
            f"got {describe(u)} for the users"
        )
    n, dtype = blocks.shape[1], np.dtype(blocks.dtype)
    if np.ndim(v) == 0:
        v = np.full(n, read_real(v, "baseline[1]"))
    v = read_vector(v, "baseline[1]")
    if v.shape != (n,) or not (np.isfinite(v).all() and (v >= 0).all()):
        raise ValueError(f"`baseline[1]` must be {n} finite numbers, none negative")
    return read_real(u, "baseline"), v.astype(dtype)


def _run(
    objective: ItemsObjective,
    solver: Any,
    start: Any,
    stop: Any,
    seed: Any,
    checkpoint: Any,
    resume: Any,
    callback: Any,
    throw: bool,
) -> BlockModel:
    """Begin, iterate, and keep what was reached whatever happens."""
    chosen = get_solver(solver)
    missing = chosen.needs - objective.provides
    if missing:
        raise ValueError(f'solver {chosen.name!r} does not run over blocks; give "als"')
    if stop is not None and not isinstance(stop, Stop):
        raise TypeError(f"`stop` must be a wlrmf.Stop; got {describe(stop)}")
    tests = stop or Stop()
    if tests.gap is not None:
        raise ValueError("`stop` must have no gap over blocks: no bound is computed there")
    keeper = _Keeper(checkpoint, callback)
    state = _first(objective, keeper, start, seed, resume)
    try:
        end = minimise(_as_objective(objective), chosen, state, tests, keeper)
    except KeyboardInterrupt as interrupt:
        keeper.write()
        end = getattr(interrupt, "end", None) or End(state, state, Status.INTERRUPTED)
        interrupt.partial_result = _model(objective, end, chosen.name)  # type: ignore[attr-defined]
        raise
    except BaseException:
        keeper.write()
        raise
    keeper.write()
    model = _model(objective, end, chosen.name)
    objective.release()
    tell(model, default_stop=stop is None, throw=throw)
    return model


def _as_objective(objective: Any) -> Objective:
    """For the type checker: it has what the loop and the solvers call."""
    smooth: Objective = objective
    return smooth


class _Keeper:
    """The callback of a fit: the last state, for the checkpoint, and the caller's own callback."""

    def __init__(self, checkpoint: Any, callback: Any):
        if callback is not None and not callable(callback):
            raise TypeError(f"`callback` must be callable; got {describe(callback)}")
        if isinstance(checkpoint, str | os.PathLike):
            checkpoint = Checkpoint(checkpoint)
        if not (checkpoint is None or isinstance(checkpoint, Checkpoint)):
            raise TypeError(f"`checkpoint` must be a path or a Checkpoint; got {checkpoint!r}")
        self.checkpoint: Checkpoint | None = checkpoint
        self.callback = callback
        self.last: State | None = None

    def __call__(self, state: State) -> None:
        self.last = state
        if self.checkpoint is not None:
            self.checkpoint(state)
        if self.callback is not None:
            self.callback(state)

    def write(self) -> None:
        """The last state, now."""
        if self.checkpoint is not None and self.last is not None:
            self.checkpoint.write(self.last)


def _first(objective: ItemsObjective, keeper: _Keeper, start: Any, seed: Any, resume: Any) -> State:
    """The state to begin from."""
    if not isinstance(resume, bool | np.bool_):
        raise TypeError(f"`resume` must be True or False; got {describe(resume)}")
    if resume and keeper.checkpoint is None:
        raise ValueError("`resume` needs `checkpoint`, the file to go on from")
    if resume and keeper.checkpoint is not None:
        found = keeper.checkpoint.latest()
        if found is not None:
            _check_resumed(objective, found, keeper.checkpoint.path)
            return found
    chance = read_seed(seed)
    given = start is not None
    X = starts.given(objective, start) if given else starts.spectral(objective, chance)
    none = np.zeros((0, objective.layout.columns), objective.dtype)
    return State.start(_as_objective(objective), none, X)


def _check_resumed(objective: ItemsObjective, state: State, path: str) -> None:
    """A checkpoint of another fit is an error that names what differs."""
    compared = {
        "number of items": (len(state.X), objective.blocks.shape[1]),
        "number of rows of W (no checkpoint of a fit over blocks)": (len(state.W), 0),
        "rank": (state.layout.rank, objective.layout.rank),
        "biases": (state.layout, objective.layout),
        "dtype": (str(state.X.dtype), objective.blocks.dtype),
    } | {WORDS[name]: (state.marks.get(name), mark) for name, mark in objective.marks.items()}
    for what, (its, ours) in compared.items():
        if its is None or not is_same(its, ours):
            raise _stranger(path, what, its, ours)
    value, _, _ = objective.value_and_grad(state.W, state.X)
    if not np.isclose(value, state.value, rtol=1e-9 if state.X.dtype == np.float64 else 1e-5):
        raise _stranger(path, "value with these cells", state.value, value)


def _stranger(path: str, what: str, its: Any, ours: Any) -> ValueError:
    return ValueError(
        f"`checkpoint` {path} is of another fit: its {what} is {its}, here it is {ours}"
    )


def _model(objective: ItemsObjective, end: End, solver: str) -> BlockModel:
    best = end.best
    loss, deficient = objective.met[best.value]
    return BlockModel(
        blocks=objective.blocks,
        terms=objective.terms,
        right=best.X,
        v=objective.v,
        value=best.value,
        loss=loss,
        optimality=best.optimality,
        rounding=objective.rounding,
        n_iter=end.last.iteration,
        status=end.status,
        trace=end.last.trace,
        solver=solver,
        counts=replace(objective.counts),
        n_regularized=deficient,
        state=end.last,
    )
