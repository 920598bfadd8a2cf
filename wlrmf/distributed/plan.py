"""What a fit over blocks will take: memory, bytes moved and seconds, before anything runs."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.chunks import one_blas_thread
from ..problem import Observed
from ..validation.errors import describe
from ..validation.options import read_int, read_real
from .store import Blocks

SOLVES = 3  # row solves of all cells in an accelerated iteration: two of the users, one of items
VECTORS = 8  # arrays of the items' size that the driver holds at most
TASK = 2e-3  # seconds of the scheduler for a task, as measured on a local cluster
HALF = 0.5  # of the bytes below which routing is worth its tasks
PROBE = 1 << 17  # cells that are solved to see how fast this machine is


@dataclass(frozen=True)
class Plan:
    """Expected, not measured, but for `cell_seconds`. Bytes and seconds.

    Attributes
    ----------
    exchange : str
        What ``exchange="auto"`` takes.
    worker_memory, driver_memory, local_memory : float
        Of one worker with one thread, of the process that calls `fit`, and of `fit_local`.
    disk : float
        The block store.
    full_bytes, routed_bytes : float
        Moved in an iteration by each exchange, between all processes together.
    tasks : int
        In an iteration.
    cell_seconds : float
        One row solve, a cell, one thread, timed on this machine at this rank.
    compute_seconds, transfer_seconds, task_seconds, iteration_seconds : float
        In an iteration, and their sum.
    """

    exchange: str
    worker_memory: float
    driver_memory: float
    local_memory: float
    disk: float
    full_bytes: float
    routed_bytes: float
    tasks: int
    cell_seconds: float
    compute_seconds: float
    transfer_seconds: float
    task_seconds: float

    @property
    def iteration_seconds(self) -> float:
        """Of one accelerated iteration."""
        return self.compute_seconds + self.transfer_seconds + self.task_seconds

    def __str__(self) -> str:
        rows = [
            ("memory of a worker", _bytes(self.worker_memory)),
            ("memory of the driver", _bytes(self.driver_memory)),
            ("memory of fit_local", _bytes(self.local_memory)),
            ("block store", _bytes(self.disk)),
            ("moved an iteration, full", _bytes(self.full_bytes)),
            ("moved an iteration, routed", _bytes(self.routed_bytes)),
            ("exchange", self.exchange),
            ("tasks an iteration", f"{self.tasks}"),
            ("computing", f"{self.compute_seconds:.3g} s"),
            ("moving", f"{self.transfer_seconds:.3g} s"),
            ("scheduling", f"{self.task_seconds:.3g} s"),
            ("an iteration", f"{self.iteration_seconds:.3g} s, expected"),
        ]
        return "\n".join(f"{name:<28}{value:>18}" for name, value in rows)


@dataclass(frozen=True)
class Sizes:
    """A matrix and its blocks, in numbers."""

    m: int
    n: int
    nnz: int
    row_blocks: int
    col_blocks: int
    needed: float  # rows of users that the blocks of items need, together
    largest: float  # bytes of the largest block
    itemsize: int
    disk: float

    @classmethod
    def of(cls, given: Any) -> Sizes:
        """Of a store; or of users, items and cells, with a float32 value each, evenly spread."""
        if isinstance(given, Blocks):
            parts = (*given.rows, *given.cols)
            return cls(
                *given.shape,
                given.nnz,
                len(given.rows),
                len(given.cols),
                sum(part.columns for part in given.cols),
                max(part.nbytes for part in parts),
                np.dtype(given.dtype).itemsize,
                sum(part.nbytes for part in parts),
            )
        if not (isinstance(given, tuple | list) and len(given) == 3):
            raise TypeError(
                "`blocks` must be a block store or (users, items, cells); got " + describe(given)
            )
        m, n, nnz = (read_int(int(size), "blocks", 1) for size in given)
        rows, cols = default_blocks(nnz), default_blocks(nnz)
        needed = cols * m * -math.expm1(-nnz / cols / m)
        return cls(m, n, nnz, rows, cols, needed, 8 * nnz / min(rows, cols), 4, 16 * nnz)


def default_blocks(nnz: int) -> int:
    """Blocks of a side: four million cells each, 4 at least and 1024 at most."""
    return int(min(1024, max(4, -(-nnz // (1 << 22)))))


def plan(blocks: Any, rank: int, workers: int = 1, bandwidth: float = 1.25e9) -> Plan:
    """Memory, bytes moved and seconds of a fit, expected.

    Parameters
    ----------
    blocks : Blocks or (users, items, cells)
        The store, or the size of what may become one, with cells evenly spread.
    rank : int
    workers : int
        Processes of one thread each.
    bandwidth : float
        Bytes a second that one process receives; the default is 10 Gbit/s.

    Returns
    -------
    Plan
        ``print(plan(...))`` shows it as a table.

    Notes
    -----
    With m users, n items, N cells, k = rank, K workers, P and Q blocks of users and items, s bytes
    a number, and R rows of users that the blocks of items need, together, an iteration moves

        full:    2 K n k s  +  (K − 1) m k s      +  2 n k s
        routed:  2 K n k s  +  (1 − 1/K) R k s    +  2 n k s

    bytes (the items and their direction to all workers, the users to who needs them, new items and
    their gradient back), computes for 3 N t / K seconds, where t is the time of one row solve a
    cell, which is measured here, and has 3 P + Q tasks, P Q more if routed, of 2 ms each.
    A worker holds 2 n k s + m k s / K of factors, and of the exchange 2 m k s (full) or 2 R k s / Q
    (routed), beside one block; the driver 8 n k s; `fit_local` 8 n k s + m k s + 3 R k s / Q and
    one block.

    Examples
    --------
    >>> import wlrmf.distributed as wd
    >>> expected = wd.plan((10_000, 1_000, 1_000_000), rank=8, workers=2)
    >>> print(expected.exchange, expected.full_bytes)
    full 512000.0
    """
    sizes = Sizes.of(blocks)
    k = read_int(rank, "rank", 1)
    K = read_int(workers, "workers", 1)
    speed = read_real(bandwidth, "bandwidth", positive=True)
    users, items = sizes.m * k * sizes.itemsize, sizes.n * k * sizes.itemsize
    full, routed = (2 * (K + 1) * items + moved for moved in _moved(sizes, k, K))
    exchange = "routed" if routed < HALF * full else "full"
    cell = _cell_seconds(k, sizes)
    P, Q = sizes.row_blocks, sizes.col_blocks
    tasks = 3 * P + Q + (P * Q if exchange == "routed" else 0)
    needed = sizes.needed / Q * k * sizes.itemsize
    received = 2 * users if exchange == "full" else 2 * needed
    arriving = (full if exchange == "full" else routed) / K
    return Plan(
        exchange=exchange,
        worker_memory=2 * items + users / K + received + sizes.largest,
        driver_memory=VECTORS * items,
        local_memory=VECTORS * items + users + 3 * needed + sizes.largest,
        disk=sizes.disk,
        full_bytes=float(full),
        routed_bytes=float(routed),
        tasks=tasks,
        cell_seconds=cell,
        compute_seconds=SOLVES * sizes.nnz * cell / K,
        transfer_seconds=arriving / speed,
        task_seconds=tasks * TASK,
    )


def exchange_of(blocks: Blocks, columns: int, workers: int) -> str:
    """The exchange of "auto"."""
    full, routed = _moved(Sizes.of(blocks), columns, workers)
    return "routed" if routed < HALF * full else "full"


def _moved(sizes: Sizes, k: int, workers: int) -> tuple[float, float]:
    """Bytes of users' factors that an iteration moves: full, routed."""
    row = k * sizes.itemsize
    return (workers - 1) * sizes.m * row, (1 - 1 / workers) * sizes.needed * row


def _cell_seconds(rank: int, sizes: Sizes) -> float:
    """A row solve, a cell, by one thread of this machine; rows of the mean length."""
    length = min(1024, max(1, sizes.nnz // max(sizes.m, sizes.n)))
    rows, columns = max(8, PROBE // length // max(1, rank // 32)), max(length, 1 << 10)
    chance = np.random.default_rng(0)
    indptr = np.arange(rows + 1) * length
    indices = chance.integers(columns, size=rows * length, dtype=np.int32)
    dtype, none = np.dtype(f"f{sizes.itemsize}"), np.empty(0, f"f{sizes.itemsize}")
    y = chance.standard_normal(indices.size).astype(dtype)
    X = chance.standard_normal((columns, rank)).astype(dtype)
    problem = Observed((rows, columns), indptr, indices, y, none, none, none)
    reg, times = np.ones(rows, dtype), []
    with one_blas_thread():
        for _ in range(3):
            begin = time.perf_counter()
            problem.best_rows(X, reg)
            times.append(time.perf_counter() - begin)
    return min(times) / indices.size


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
