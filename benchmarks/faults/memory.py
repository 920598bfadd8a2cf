"""Fits, loads and reads with too little memory: MemoryError, and the next try succeeds."""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

import wlrmf

from .interrupts import blas

MIB = 1 << 20


def dense(rng: np.random.Generator) -> dict[str, Any]:
    """Arrays of 46 MiB each: malloc keeps what is freed below 32 and would give it out again."""
    Y = rng.standard_normal((3000, 2000))
    return {"Y": Y, "weights": rng.uniform(0.5, 2, Y.shape), "mask": rng.random(Y.shape) < 0.7}


def listed(rng: np.random.Generator) -> dict[str, Any]:
    """Five million entries."""
    return {"Y": sparse.random_array((20000, 6000), density=1 / 24, rng=rng).tocsr()}


KINDS = {"dense": (dense, "als"), "sparse": (listed, "als"), "lbfgs": (dense, "lbfgs")}


def _mapped() -> int:
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[0]) * resource.getpagesize()


def _try(given: dict[str, Any], spare: int, send: Any) -> None:
    """A fit within a bound on the address space, and the same one without."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    before = blas()
    resource.setrlimit(resource.RLIMIT_AS, (_mapped() + spare, hard))
    try:
        wlrmf.fit(**given)
        end = "done"
    except MemoryError as error:
        end = "MemoryError" if str(error) else "MemoryError without words"
    except Exception as error:
        end = f"{type(error).__name__}: {error}"[:200]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    after, threads = blas(), threading.active_count()
    if after != before or threads > 1:
        end = f"{threads} threads, BLAS {before} is {after} after {end}"
    send.send((end, wlrmf.fit(**given).left))


def run(kind: str, spares: list[int]) -> Counter[str]:
    """How fits ended with so many bytes to spare, each in a fork.

    Raises
    ------
    AssertionError
        If the next fit, with all the memory, does not give the bits that it gives elsewhere.
    """
    make, solver = KINDS[kind]
    given = make(np.random.default_rng(0)) | {"rank": 8, "reg": 1.0, "solver": solver}
    given |= {"stop": wlrmf.Stop(max_iter=3), "n_threads": 2}
    whole = wlrmf.fit(**given).left
    context, ends = multiprocessing.get_context("fork"), Counter[str]()
    for spare in spares:
        receive, send = context.Pipe(duplex=False)
        process = context.Process(target=_try, args=(given, spare, send))
        process.start()
        send.close()
        try:
            end, left = receive.recv()
            np.testing.assert_array_equal(left, whole)
        except EOFError:
            end = "crash"
        process.join()
        ends[end if end != "crash" else f"crash: exit code {process.exitcode}"] += 1
    return ends


def load_within(spare: int) -> str:
    """How reading a model of 32 MiB ends with so many bytes to spare."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.npz"
        Y = np.ones((1 << 19, 2))
        wlrmf.fit(Y, rank=4, reg=1.0, stop=wlrmf.Stop(max_iter=1)).save(path)
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (_mapped() + spare, hard))
        try:
            wlrmf.load(path)
            return "done"
        except MemoryError:
            return "MemoryError"
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
