"""Python modules run in processes of their own, with a number of threads and a time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from pathlib import Path

from .environments import ROOT, WORK, why

THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_module(
    python: Path,
    arguments: list[str],
    threads: int,
    *,
    one_blas_thread: bool = False,
    limit: float | None = None,
) -> tuple[str, str]:
    """What ``python -m ARGUMENTS`` prints, and the reason if it fails, or ''."""
    WORK.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK, ignore_cleanup_errors=True) as scratch:
        process = subprocess.Popen(
            [str(python), "-m", *arguments],
            cwd=scratch,
            env=environment(threads, 1 if one_blas_thread else threads) | {"TMPDIR": scratch},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # so that what it starts can be ended with it
        )
        return result_of(process, limit)


def result_of(process: subprocess.Popen, limit: float | None) -> tuple[str, str]:
    """What a process prints, and the reason if it fails; it is ended after the limit."""
    try:
        printed, errors = process.communicate(timeout=limit)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            return "", f"stopped after {limit:.0f} s"
        raise
    if process.returncode < 0:
        return printed, f"ended by {signal.Signals(-process.returncode).name}"
    return printed, why(errors) if process.returncode else ""


def environment(threads: int, blas_threads: int) -> dict[str, str]:
    """This process's variables, with this tree's modules and the numbers of threads."""
    return (
        dict(os.environ)
        | {"PYTHONPATH": str(ROOT)}
        | dict.fromkeys(THREADS, str(threads))
        | dict.fromkeys(BLAS_THREADS, str(blas_threads))
    )
