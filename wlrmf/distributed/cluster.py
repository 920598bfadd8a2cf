"""The engine of a Dask cluster: a thin layer over the futures of `dask.distributed`."""

from __future__ import annotations

import time
import uuid
import warnings
import weakref
from asyncio import CancelledError as AsyncioCancelled
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack
from operator import getitem
from typing import Any

from ..kernels.interrupts import held, released
from ..validation.errors import ClusterError, describe
from .engine import Lost
from .plan import exchange_of
from .store import Blocks

PATIENCE = 60.0  # seconds to wait for a worker when there is none
LOOK = 2.0  # seconds between two looks at who is there
CANCELLED = CancelledError, AsyncioCancelled
SAME = "wlrmf", "numpy", "numba"  # packages whose version decides the bits


def dask() -> Any:
    """Import dask.distributed, or say how to get it."""
    try:
        import distributed
    except ImportError as error:
        raise ImportError(
            "fits on a cluster need dask.distributed: pip install 'wlrmf[dask]'", name=error.name
        ) from error
    return distributed


def current_client(client: Any) -> Any:
    """The client that was given, or the current one."""
    module = dask()
    if client is None:
        try:
            return module.default_client()
        except ValueError as error:
            raise ValueError(
                "`client` must be given: there is no current dask.distributed.Client "
                "(without a cluster: wlrmf.distributed.fit_local)"
            ) from error
    if not isinstance(client, module.Client) or client.asynchronous:
        raise TypeError(
            f"`client` must be a dask.distributed.Client, not asynchronous; got {describe(client)}"
        )
    return client


class Cluster:
    """A context: when it is left, well or by an error, no key of the fit is on the scheduler.

    Blocks have workers of their own, as long as these are there, so that each reads its blocks'
    files once; whoever is free may take over. Values to share are scattered to all workers.

    Dask suspects every task that a dead worker had, also those that waited there. So when one has
    been suspected too often, tasks are run one after the other from then on: only what kills its
    workers then is at fault, and named.

    Interrupts are heard while it waits for answers and between iterations: a future that is let go
    sends a message from its ``__del__``, where Python drops them, and one that is on its way when
    `scatter` is left is known to nobody who could cancel it.
    """

    def __init__(
        self, client: Any, blocks: Blocks | None = None, columns: int = 0, exchange: str = "full"
    ):
        self.client, self.blocks = client, blocks
        self.distributed = dask()
        self.name = f"wlrmf-{uuid.uuid4().hex[:12]}"
        self.number = 0  # of the next task
        self.careful = self.alone = False
        self.workers: list[str] = []
        self.homes: dict[str, str] = {}  # the worker of each block, by the block's name
        self.live: weakref.WeakSet[Any] = weakref.WeakSet()
        self.begin()
        self._check_versions()
        self.exchange = exchange
        if exchange == "auto":
            self.exchange = exchange_of(blocks, columns, len(self.workers)) if blocks else "full"

    def __enter__(self) -> Cluster:
        self.hold = ExitStack()
        self.hold.enter_context(held())
        return self

    def __exit__(self, *error: Any) -> None:
        with self.hold:
            left = list(self.live)
            if left and self.client.status == "running":
                self.client.cancel(left, force=True)
            self.live.clear()

    def begin(self) -> None:
        """Look at who is there; blocks stay with their workers while these are the same."""
        workers = self._wait_for_workers()
        if workers != self.workers:
            self.workers = workers
            self.homes = _homes(self.blocks, workers)

    def share(self, value: Any) -> Any:
        """Scatter to all workers, under a name that is used once.

        Once values were lost, with all workers that had them, the scheduler keeps what is shared:
        a block that kills every worker is then found out, and not the values it took along.
        """
        if self.careful:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
                return self._submit("share", _same, value)
        try:
            (future,) = self.client.scatter([value], broadcast=True, hash=False)
        except (OSError, TimeoutError, ValueError, KeyError) as error:  # some worker died meanwhile
            raise self._lost(error) from error
        self.live.add(future)
        return future

    def submit(self, function: Callable[..., Any], part: Any, *arguments: Any) -> Any:
        """A future, at the block's own worker if that is free."""
        home = self.homes.get(part.name)
        where = {"workers": [home], "allow_other_workers": True} if home else {}
        return self._submit(f"{function.__name__}-{part.name}", function, part, *arguments, **where)

    def take(self, handle: Any, place: int) -> Any:
        """A future of one entry."""
        return self._submit("take", getitem, handle, place)

    def _submit(self, what: str, function: Any, *arguments: Any, **where: Any) -> Any:
        self.number += 1
        key = f"{what}-{self.name}-{self.number}"
        future = self.client.submit(function, *arguments, key=key, pure=False, **where)
        self.live.add(future)
        if self.alone:
            self._finish([future])
        return future

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        """The values; meanwhile it looks whether anybody is still there to find them."""
        return self._finish(handles, fetch=True)

    def _finish(self, handles: Sequence[Any], *, fetch: bool = False) -> list[Any]:
        """Wait for the handles; their values, or the error that one of them met."""
        lost = (*CANCELLED, ConnectionError, self.distributed.comm.CommClosedError)
        try:
            self._wait(handles)
            if fetch:
                with released():
                    return list(self.client.gather(handles))
            for handle in handles:
                if handle.status == "error":
                    raise handle.exception()
            return []
        except self.distributed.KilledWorker as error:
            if self.alone:
                raise ClusterError(_poison(error)) from error
            self.alone = True
            raise self._lost(error) from error
        except lost as error:
            raise self._lost(error) from error

    def _wait(self, handles: Sequence[Any]) -> None:
        """Until all are done; an error if there is nobody to do them."""
        lonely = 0.0
        while True:
            try:
                with self.client.as_current(), released():
                    self.distributed.wait(handles, timeout=LOOK)
            except TimeoutError:
                lonely = 0.0 if self._present() else lonely + LOOK
                if lonely > PATIENCE:
                    raise ClusterError(_nobody(self.client)) from None
            else:
                return

    def _lost(self, error: BaseException) -> Lost:
        self._check_running()
        self.careful = True
        return Lost(" ".join(str(error).split())[:400])

    def _present(self) -> list[str]:
        """Addresses of the workers that are there."""
        self._check_running()
        try:
            return sorted(self.client.scheduler_info(n_workers=-1)["workers"])
        except (OSError, TimeoutError) as error:
            raise ClusterError(_gone(self.client)) from error

    def _wait_for_workers(self) -> list[str]:
        until = time.monotonic() + PATIENCE
        while not (found := self._present()):
            if time.monotonic() > until:
                raise ClusterError(_nobody(self.client))
            time.sleep(LOOK / 10)
        return found

    def _check_running(self) -> None:
        if self.client.status != "running":
            raise ClusterError(_gone(self.client))

    def _check_versions(self) -> None:
        """What decides the bits must be the same everywhere."""
        found = self.client.get_versions(check=False, packages=list(SAME))
        ours = {name: found["client"]["packages"].get(name) for name in SAME}
        for address, worker in found["workers"].items():
            for name in SAME:
                theirs = worker["packages"].get(name)
                if theirs != ours[name]:
                    raise ClusterError(
                        f"worker {address} has {name} {theirs}, the client {ours[name]}: install "
                        "one version everywhere"
                    )


def _same(value: Any) -> Any:
    return value


def _homes(blocks: Blocks | None, workers: list[str]) -> dict[str, str]:
    """Neighbouring blocks with a worker each, of about as many cells for all."""
    homes = {}
    for parts in (blocks.rows, blocks.cols) if blocks else ():
        total, before = max(1, sum(part.nnz for part in parts)), 0.0
        for part in parts:
            place = int((before + part.nnz / 2) / total * len(workers))
            homes[part.name] = workers[min(place, len(workers) - 1)]
            before += part.nnz
    return homes


def _gone(client: Any) -> str:
    return (
        f"the scheduler is gone (the client is {client.status}); start a cluster, and go on with "
        "checkpoint=..., resume=True"
    )


def _nobody(client: Any) -> str:
    return f"the cluster has had no worker for {PATIENCE:.0f} s"


def _poison(error: Any) -> str:
    what, _, _ = str(error.task).partition("-wlrmf-")
    return (
        f"{what}: the workers that ran it died {error.allowed_failures + 1} times; too little "
        "memory for this block, or something in it ends the process; see the workers' logs"
    )
