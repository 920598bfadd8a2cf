"""Refuse what cannot fit before anything is allocated."""

from __future__ import annotations

import os

import numpy as np

GRAMS = 4  # rank x rank matrices a thread
COPIES = 8  # of the factors: the point, the sweep, the direction and gradients


def available_bytes() -> int | None:
    """Memory that can be had where the system tells, otherwise None."""
    try:
        with open("/proc/meminfo") as lines:  # counts what the page cache would give back
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def check_memory(
    rank: int, shape: tuple[int, int], columns: int, dtype: np.dtype, n_threads: int
) -> None:
    """MemoryError naming both sizes if the factors and the threads' Gram matrices cannot fit."""
    need = (COPIES * sum(shape) + GRAMS * n_threads * columns) * columns * dtype.itemsize
    free = available_bytes()
    if free is not None and need > free:
        raise MemoryError(
            f"rank {rank} for shape {shape} needs {need / 2**30:.3g} GiB for the factors; "
            f"{free / 2**30:.3g} GiB are available"
        )


def check_size(shape: tuple[int, int], name: str) -> None:
    """MemoryError if not even one number a row and column of a sparse matrix can be worked with.

    The index arrays of empty rows and columns can be larger than all that is stored.
    """
    need, free = COPIES * sum(shape) * 8, available_bytes()
    if free is not None and need > free:
        raise MemoryError(
            f"`{name}` of shape {shape} needs {need / 2**30:.3g} GiB at least, for its rows and "
            f"columns alone; {free / 2**30:.3g} GiB are available"
        )
