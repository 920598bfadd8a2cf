"""`Checkpoint`: the state of a fit in a file, to go on from after a crash."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import archive
from .model_file import check_factors, refusing_parts, unpack_layout, unpack_trace
from .solvers.base import State
from .validation.errors import describe
from .validation.options import read_real

SCHEMA = "wlrmf-checkpoint"
FACTORS = ("W", "X", "dW", "dX")
NUMBERS = ("value", "first_norm")
MEMORY, MARK = "memory_", "mark_"  # what their arrays' names begin with


class Checkpoint:
    """A callback of `fit` that writes the state to a file from time to time.

    Whenever the process ends, the file is that of one whole state, an older or a newer one; a fit
    that goes on from it takes the steps that it would have taken (see `start` of `fit`).

    Parameters
    ----------
    path : str or path-like
        The file, an npz without pickled objects. An existing one is replaced.
    seconds : float
        The least time between two states that are written; 0: each is.

    Raises
    ------
    ValueError
        If the solver, one of the caller's own, carries what is neither number nor array.
    OSError
        If writing fails; the fit ends with it, and the last file is intact.

    Examples
    --------
    The same lines begin a fit and go on with it:

    >>> import tempfile, numpy as np, wlrmf
    >>> Y = np.random.default_rng(0).standard_normal((30, 20))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for _ in range(2):
    ...         keep = wlrmf.Checkpoint(f"{folder}/fit.npz", seconds=0)
    ...         few = wlrmf.Stop(max_iter=3, ftol=0)
    ...         again = {"start": keep.latest(), "callback": keep, "stop": few}
    ...         model = wlrmf.fit(Y, rank=2, solver="als", **again)
    ...         print(model.n_iter)
    3
    6
    """

    def __init__(self, path: str | os.PathLike[str], seconds: float = 60.0):
        self.path = os.fspath(path)
        self.seconds = read_real(seconds, "seconds")
        self._due = time.monotonic() + self.seconds

    def __call__(self, state: State) -> None:
        """Write the state if it is time."""
        if time.monotonic() >= self._due:
            self.write(state)

    def write(self, state: State) -> None:
        """Write the state now."""
        archive.write(self.path, *_pack(state), schema=SCHEMA)
        self._due = time.monotonic() + self.seconds

    def latest(self) -> State | None:
        """The state in the file; None if there is no file yet.

        Raises
        ------
        ModelFormatError
            If the file is no checkpoint, is damaged, or is of a newer version.
        """
        try:
            arrays, header = archive.read(self.path, schema=SCHEMA)
        except FileNotFoundError:
            return None
        with refusing_parts(self.path):
            return _unpack(arrays, header)

    def __repr__(self) -> str:
        return f"Checkpoint({self.path!r}, seconds={self.seconds:g})"


def _pack(state: State) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays = {name: getattr(state, name) for name in FACTORS}
    # numbers as arrays: JSON has no infinity
    arrays |= {name: np.float64(getattr(state, name)) for name in NUMBERS}
    arrays |= {f"{MARK}{name}": np.asarray(mark) for name, mark in state.marks.items()}
    arrays |= {f"trace_{name}": column for name, column in state.trace.to_dict().items()}
    pairs = {}
    for name, value in state.memory.items():
        if isinstance(value, tuple):
            pairs[name] = len(value)
            arrays |= {f"{MEMORY}{name}_{k}": part for k, part in enumerate(value)}
        elif isinstance(value, bool | int | float | np.ndarray | np.generic):
            arrays[f"{MEMORY}{name}"] = np.asarray(value)
        else:
            raise ValueError(f"cannot store the solver's {name!r}: {describe(value)}")
    return arrays, {"layout": vars(state.layout), "iteration": state.iteration, "tuples": pairs}


def _unpack(arrays: dict[str, np.ndarray], header: Mapping[str, Any]) -> State:
    layout = unpack_layout(header["layout"])
    # a fit over blocks keeps no row of W
    check_factors({name: arrays[name] for name in FACTORS}, layout.columns, least=0)
    for name in ("W", "X"):
        if len(arrays[name]) != len(arrays[f"d{name}"]):
            raise ValueError(f"{name} and its gradient have different numbers of rows")
    if type(header["iteration"]) is not int or header["iteration"] < 0:
        raise ValueError(f"iteration is {header['iteration']!r}")
    numbers = [arrays[name] for name in NUMBERS]
    if any(n.dtype != np.float64 or n.shape != () or not np.isfinite(n) for n in numbers):
        raise ValueError(f"{' or '.join(NUMBERS)} is no finite number")
    value, first_norm = map(float, numbers)
    return State(
        W=arrays["W"],
        X=arrays["X"],
        value=value,
        dW=arrays["dW"],
        dX=arrays["dX"],
        first_norm=first_norm,
        layout=layout,
        iteration=header["iteration"],
        trace=unpack_trace(arrays),
        memory=_memory(arrays, header["tuples"]),
        marks={name: mark.tolist() for name, mark in _under(MARK, arrays).items()},
    )


def _memory(arrays: Mapping[str, np.ndarray], tuples: Mapping[str, int]) -> dict[str, Any]:
    parts: dict[str, Any] = {
        name: part if part.ndim else part.item() for name, part in _under(MEMORY, arrays).items()
    }
    for name, size in tuples.items():
        parts[name] = tuple(parts.pop(f"{name}_{k}") for k in range(size))
    return parts


def _under(beginning: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(beginning): array
        for name, array in arrays.items()
        if name.startswith(beginning)
    }
