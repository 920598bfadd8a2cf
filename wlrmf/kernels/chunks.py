"""Serial kernels over fixed chunks of rows, spread over threads.

The chunks depend on the data alone, never on the number of threads, and partial results are
combined in the order of the chunks. So any number of threads returns the same bits.
"""

from __future__ import annotations

import _thread
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import OpenBLASController, ThreadpoolController

from .interrupts import check, held

Result = TypeVar("Result")

MAX_CHUNKS = 64
_lock = threading.Lock()
_holders = 0
_limiter: Any = None


def available_threads() -> int:
    """Processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def even_edges(work: np.ndarray, target: int) -> np.ndarray:
    """Edges of at most `MAX_CHUNKS` chunks of rows of about equal work.

    Parameters
    ----------
    work : ndarray, shape (rows + 1,)
        Cumulated work before each row; a CSR ``indptr`` is one.
    target : int
        Work below which a chunk is not worth its overhead.

    Returns
    -------
    edges : ndarray of int64
        ``edges[0] = 0 < ... < edges[-1] = rows``.
    """
    rows = len(work) - 1
    total = int(work[-1])
    chunks = int(min(MAX_CHUNKS, rows, max(1, total // max(1, target))))
    if chunks <= 1:
        return np.array([0, rows])
    cuts = np.searchsorted(work, np.arange(1, chunks) * (total / chunks))
    return np.unique(np.concatenate(([0], cuts, [rows]))).astype(np.int64)


def run(task: Callable[[int, int], Result], edges: np.ndarray, n_threads: int) -> list[Result]:
    """``[task(lo, hi) for each chunk]``, computed by `n_threads` threads.

    The caller's is one of them; the others live for this call alone: nothing is left behind for a
    fork to break. After an exception or Ctrl-C each thread ends with the chunk it is in, and all
    have ended when it is raised.
    """
    return run_with(lambda: None, lambda lo, hi, _: task(lo, hi), edges, n_threads)


def run_with(
    room: Callable[[], Any],
    task: Callable[[int, int, Any], Result],
    edges: np.ndarray,
    n_threads: int,
) -> list[Result]:
    """``[task(lo, hi, room) for each chunk]``, where each thread has a ``room()`` of its own."""
    spans = [(int(lo), int(hi)) for lo, hi in itertools.pairwise(edges)]
    n_threads = max(1, min(n_threads, len(spans)))
    results: list[Any] = [None] * len(spans)
    failures: list[BaseException | None] = [None] * n_threads
    queue = iter(range(len(spans)))
    turn = threading.Lock()
    cancelled = False

    def work(me: int) -> None:
        nonlocal cancelled
        try:
            own = room()
            while not cancelled:
                check()
                with turn:
                    k = next(queue, None)
                if k is None:
                    return
                results[k] = task(*spans[k], own)
        except BaseException as failure:
            failures[me], cancelled = failure, True

    with held():
        _together(work, n_threads, turn)
    failure = next(filter(None, failures), None)
    if failure is not None:
        try:
            raise failure
        finally:
            # the error's frames hold the list and itself: a ring that would keep arrays
            failures.clear()
            del failure
    return results


def _together(work: Callable[[int], None], n_threads: int, turn: threading.Lock) -> None:
    """``work(0)`` here and ``work(1)``, ... in threads that have ended when this returns.

    By the low-level calls: `threading.Thread.start` waits for ever for a thread that dies of
    hunger in its first lines. Here such a thread, and one that the system refuses, is done without.
    """
    begun: list[threading.Lock] = []
    over = False

    def helper(me: int, done: threading.Lock) -> None:
        with turn:
            if over:
                return
            begun.append(done)
        try:
            work(me)
        finally:
            done.release()

    try:
        for me in range(1, n_threads):
            done = threading.Lock()
            done.acquire()
            _thread.start_new_thread(helper, (me, done))
    except (RuntimeError, MemoryError):
        pass  # no memory for a stack, or the interpreter is about to end
    try:
        work(0)
    finally:
        with turn:
            over = True
        for done in begun:
            done.acquire()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread: our own threads call it, and its sums depend on its thread count.

    The limit is the whole process's, so holders are counted: the first sets it, the last restores
    what was there before, in whatever order two fits in two threads come and go. Ctrl-C is held
    too, and raised between chunks and iterations.

    What other code sets while it is held has no effect, or ends with it. Where a BLAS has a count
    for each thread (MKL, OpenBLAS on OpenMP), only the first holder's thread is held.
    """
    global _holders, _limiter
    with held():
        with _lock:
            if _holders == 0:
                _take_blas()
                _limiter = ThreadpoolController().limit(limits=1, user_api="blas")
            _holders += 1
        try:
            yield
        finally:
            with _lock:
                _holders -= 1
                if _holders == 0:
                    _take_blas()
                    _limiter.restore_original_limits()
                    _limiter = None
                    _take_blas()  # for whichever thread is next


def _take_blas() -> None:
    """Let this thread set the thread count of OpenBLAS.

    From threadpoolctl 3.8 on, the first thread to set it is the only one that can, for as long as
    it lives: what others set is ignored without a word. Here it is the lock that keeps order.
    """
    release = getattr(OpenBLASController, "clear_controlling_thread", None)
    if release is not None:
        release(force=True)


def _forget_lock() -> None:
    """A process that was forked has none of the threads that may have held the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)
