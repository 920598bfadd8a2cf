"""What the machine can do at best, measured in the run it is compared with.

``python -m benchmarks.machine`` prints one line of JSON: the processor, the rate of a matrix
product in either precision and the rate of copying memory, with the threads that the environment
allows.
"""

from __future__ import annotations

import json
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

REPEATS = 5
ORDER = 2000  # of the matrices
COPIED = 1 << 25  # doubles, 256 MiB: beyond any cache


def main() -> None:
    measured = {
        "status": "machine",
        "cpu": processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "sgemm": product_rate(np.float32),
        "dgemm": product_rate(np.float64),
        "copy": copy_rate(),
    }
    print(json.dumps(measured))


def least_seconds(task: Callable[[], object], repeats: int = REPEATS) -> float:
    """Least time of some runs, after one that is not counted."""
    task()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        task()
        times.append(time.perf_counter() - begin)
    return min(times)


def product_rate(dtype: type) -> float:
    """GFLOP/s of a square matrix product."""
    square = np.random.default_rng(0).standard_normal((ORDER, ORDER)).astype(dtype)
    return 2 * ORDER**3 / least_seconds(lambda: square @ square) / 1e9


def copy_rate() -> float:
    """GB/s read and written by a copy."""
    source = np.ones(COPIED)
    target = np.empty_like(source)
    return 2 * source.nbytes / least_seconds(lambda: np.copyto(target, source)) / 1e9


def processor() -> str:
    """The model's name, where the system tells it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def peak_memory() -> int:
    """Bytes that this process and its living children have held at most."""
    if Path("/proc/self/status").exists():  # getrusage begins at what the parent held
        return _high_water("self") + children_memory()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def children_memory() -> int:
    """The same of the children alone, on Linux; Spark does its work in one."""
    listings = Path("/proc/self/task").glob("*/children")
    return sum(_high_water(child) for listing in listings for child in listing.read_text().split())


def _high_water(process: str) -> int:
    for line in Path("/proc", process, "status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return 1024 * int(line.split()[1])
    return 0


if __name__ == "__main__":
    main()
