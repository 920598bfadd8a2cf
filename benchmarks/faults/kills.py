"""SIGKILL while checkpoints are written: what is on disk is one whole state, never an older one."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import wlrmf
from wlrmf.objective import Layout
from wlrmf.solvers.base import State

SHAPE = (400, 300, 16)


@dataclass
class Kills:
    """What was found after each kill."""

    kills: int = 0
    in_the_middle: int = 0  # a file that was being written was left behind
    newer: int = 0  # the file had changed since the last kill
    left_at_the_end: int = 0


def state(number: int) -> State:
    """A state all of whose entries are one number."""
    m, n, rank = SHAPE
    W, X = np.full((m, rank), float(number)), np.full((n, rank), float(number))
    return State(W, X, float(number), W, X, 1.0, Layout(0, rank, 0), iteration=number)


def number_of(found: State) -> int:
    """The number of a whole state."""
    for array in (found.W, found.X, found.dW, found.dX, np.array([found.value, found.iteration])):
        if not (array == found.iteration).all():
            raise AssertionError(f"a mixture: {found.iteration} and {array.flat[0]}")
    return found.iteration


def write_on(path: str, first: int, step: int) -> None:
    """Write state after state, until killed."""
    keep = wlrmf.Checkpoint(path, seconds=0)
    for number in range(first, 10**9, step):
        keep(state(number))


def _killed(context: Any, path: Path, firsts: list[int], delay: float) -> None:
    """Writers to one path, killed after a while."""
    step = len(firsts)
    writers = [
        context.Process(target=write_on, args=(os.fspath(path), k, step), daemon=True)
        for k in firsts
    ]
    for writer in writers:
        writer.start()
    time.sleep(delay)
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()


def run(folder: Path, kills: int, seed: int = 0, writers: int = 1) -> Kills:
    """Kill writers after a random time, and read what is there, again and again.

    With one writer, the state that is read is never older than the one read before.
    """
    context, rng = multiprocessing.get_context("fork"), random.Random(seed)
    path, out, last = folder / "fit.npz", Kills(), -1
    wlrmf.Checkpoint(path, seconds=0)(state(0))
    for _ in range(kills):
        _killed(context, path, [last + 1 + k for k in range(writers)], 0.005 + 0.05 * rng.random())
        found = wlrmf.Checkpoint(path).latest()
        number = number_of(found)
        if writers == 1 and number < last:
            raise AssertionError(f"{number} after {last}")
        left = list(folder.glob(".wlrmf-*.tmp"))
        out.kills += 1
        out.in_the_middle += any(each.stat().st_size for each in left)
        out.newer += number != last
        last = number
    wlrmf.Checkpoint(path, seconds=0)(state(last))
    out.left_at_the_end = sum(1 for each in folder.glob(".wlrmf-*.tmp") if each.stat().st_size)
    return out
