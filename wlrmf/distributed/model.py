"""What a fit over blocks returns: the items' factors, and the users' when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..files import replacing
from ..io.arrow import pyarrow
from ..model import Factorization
from ..objective import predicted
from ..result import Counts, Status, Trace
from ..solvers.base import State
from ..validation.memory import check_memory
from ..validation.options import read_index
from . import half
from .engine import Local
from .half import Items, Terms
from .store import Blocks, Part


class UserBlock(NamedTuple):
    """Some users."""

    ids: np.ndarray
    factors: np.ndarray  # (users, rank)
    bias: np.ndarray | None

    @classmethod
    def of(cls, ids: np.ndarray, left: np.ndarray, terms: Terms) -> UserBlock:
        """From factors in storage form."""
        layout = terms.layout
        bias = None if terms.mean is None else left[:, layout.pinned_X - 1]
        return cls(ids, left[:, layout.shared], bias)


@dataclass(frozen=True, eq=False, repr=False)
class BlockModel:
    """Y ≈ mean + user bias + item bias + WᵀX, fitted to a block store.

    Attributes
    ----------
    blocks : Blocks
        The store, which the users' factors are found from: they are the best ones for the items.
    right : ndarray, shape (n, columns)
        The items' factors in storage form, biases included.
    v : ndarray, shape (n,), or None
        The items' part of the baseline weight.
    value, loss : float
        F, and its first term without the ridge.
    optimality : float
        Norm of the gradient of F relative to its size at the start.
    n_iter : int
    status : Status
        How it ended, in words that advise.
    trace : Trace
    solver : str
    counts : Counts
    n_regularized : int
        Users whose system was singular, or close to it: solved for the minimum norm.
    state : State
        Where the fit ended.
    """

    blocks: Blocks
    terms: Terms
    right: np.ndarray
    v: np.ndarray | None
    value: float
    loss: float
    optimality: float
    rounding: float
    n_iter: int
    status: Status
    trace: Trace
    solver: str
    counts: Counts
    n_regularized: int
    state: State

    @property
    def rank(self) -> int:
        """Number of factors."""
        return self.terms.layout.rank

    @property
    def shape(self) -> tuple[int, int]:
        """Users and items."""
        return self.blocks.shape

    @property
    def success(self) -> bool:
        """Whether a stopping test on the solution was met."""
        return self.status.success

    @property
    def message(self) -> str:
        """The status in words."""
        return self.status.value

    @property
    def mean(self) -> float:
        """Constant term; 0 without biases."""
        return self.terms.mean or 0.0

    @property
    def item_ids(self) -> np.ndarray:
        """Ids of the items, in the order of their factors."""
        return self.blocks.item_ids

    @property
    def item_factors(self) -> np.ndarray:
        """Factors of the items, a row an item: shape (n, rank)."""
        return self.right[:, self.terms.layout.shared]

    @property
    def item_bias(self) -> np.ndarray:
        """Biases of the items, shape (n,); zeros without biases."""
        if self.terms.mean is None:
            return np.zeros(self.shape[1], self.right.dtype)
        return self.right[:, self.terms.layout.free_X.stop - 1]

    @property
    def user_factors(self) -> UserFactors:
        """Factors of the users, computed block by block when they are looped over."""
        return UserFactors(self)

    def predict(self, i: Any, j: Any) -> Any:
        """Predictions of the cells (i, j): places of users and items from 0, broadcast.

        Each block with one of these users is solved once.

        Raises
        ------
        IndexError, TypeError
            If an index is out of range, or not an integer.
        """
        rows = read_index(i, "i", self.shape[0])
        cols = read_index(j, "j", self.shape[1])
        rows, cols = np.broadcast_arrays(rows, cols)
        flat, items = rows.reshape(-1), cols.reshape(-1)
        out = np.empty(flat.size, self.right.dtype)
        for part in self.blocks.rows:
            here = np.flatnonzero((flat >= part.lo) & (flat < part.hi))
            if here.size:
                left = self.left_of(part)
                out[here] = predicted(left, self.right, flat[here] - part.lo, items[here])
        return out.reshape(rows.shape)[()]

    @cached_property
    def items(self) -> Items:
        """What every block of users is solved from."""
        return Items.of(self.right, self.v)

    def left_of(self, part: Part) -> np.ndarray:
        """The users' factors of one block in storage form, biases included."""
        return half.solve(part, self.terms, self.items)[0]

    def to_local(self) -> Factorization:
        """The model as `wlrmf.fit` would return it, with the factors of all users.

        Raises
        ------
        MemoryError
            If they would not fit the memory that is free.
        """
        blocks, layout = self.blocks, self.terms.layout
        threads = self.terms.n_threads
        check_memory(layout.rank, blocks.shape, layout.columns, self.right.dtype, threads)
        left = np.concatenate([self.left_of(part) for part in blocks.rows])
        v = self.v
        return Factorization(
            left=left,
            right=self.right.copy(),
            layout=layout,
            has_bias=self.terms.mean is not None,
            value=self.value,
            loss=self.loss,
            optimality=self.optimality,
            rounding=self.rounding,
            n_iter=self.n_iter,
            status=self.status,
            trace=self.trace,
            solver=self.solver,
            counts=self.counts,
            n_regularized=self.n_regularized,
            empty_rows=np.flatnonzero(blocks.row_counts == 0),
            empty_cols=np.flatnonzero(blocks.col_counts == 0),
            start_values=(self.value,),
            row_reg=self.terms.reg[0],
            col_reg=self.terms.reg[1],
            reg_scaling=self.terms.reg_scaling,
            base_u=self.terms.baseline if v is not None else None,
            base_v=v,
            row_names=blocks.user_ids.astype(np.str_),
            col_names=blocks.item_ids.astype(np.str_),
        )

    def __repr__(self) -> str:
        m, n = self.shape
        return (
            f"<BlockModel {m} × {n}, rank {self.rank}: value {self.value:.6g} after {self.n_iter} "
            f"iterations; {self.message}>"
        )


class UserFactors:
    """The users' factors of a model by blocks: a sequence of `UserBlock`, each made when asked."""

    def __init__(self, model: BlockModel):
        self.model = model

    def __len__(self) -> int:
        return len(self.model.blocks.rows)

    def __getitem__(self, number: int) -> UserBlock:
        part = self.model.blocks.rows[number]
        ids = self.model.blocks.user_ids[part.lo : part.hi]
        return UserBlock.of(ids, self.model.left_of(part), self.model.terms)

    def __iter__(self) -> Iterator[UserBlock]:
        return (self[number] for number in range(len(self)))

    def to_parquet(self, directory: str | os.PathLike[str], *, client: Any = None) -> list[str]:
        """Write a file a block, ``users-00000.parquet`` ..., and return their paths.

        The columns are `id`, `factors` (a list of rank numbers) and, with biases, `bias`.

        Parameters
        ----------
        directory : path
            It is made if it is not there; the workers of a client must see it at this path.
        client : dask.distributed.Client, optional
            Whose workers solve and write the blocks. Default: this process.
        """
        directory = Path(directory).resolve()
        directory.mkdir(parents=True, exist_ok=True)
        model, ids = self.model, self.model.blocks.user_ids
        with engine_of(client) as engine:
            engine.begin()
            items = engine.share(model.items)
            return engine.gather(
                [
                    engine.submit(
                        write_users, part, model.terms, items, ids[part.lo : part.hi], directory
                    )
                    for part in model.blocks.rows
                ]
            )


def write_users(part: Part, terms: Terms, items: Items, ids: np.ndarray, directory: Path) -> str:
    """Solve one block of users and write it."""
    left, _ = half.solve(part, terms, items)
    path = directory / f"users-{part.number:05}.parquet"
    write_factors(path, *UserBlock.of(ids, left, terms))
    return str(path)


def write_factors(
    path: Path, ids: np.ndarray, factors: np.ndarray, bias: np.ndarray | None
) -> None:
    """Ids, factors and biases as a parquet file, a row an entity."""
    pa = pyarrow()
    flat = pa.array(np.ascontiguousarray(factors).reshape(-1))
    columns = {"id": ids, "factors": pa.FixedSizeListArray.from_arrays(flat, factors.shape[1])}
    if bias is not None:
        columns["bias"] = np.ascontiguousarray(bias)
    with replacing(path) as stream:
        pyarrow("pyarrow.parquet").write_table(pa.table(columns), stream)


def engine_of(client: Any) -> Any:
    """A context of the engine of a client, or of this process."""
    if client is None:
        return nullcontext(Local())
    from .cluster import Cluster

    return Cluster(client)
