"""The peers: which packages, which versions, and a virtual environment for each.

A peer that does not install is no error: the reason goes into the results.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
WORK = ROOT / ".bench"
NUMPY = ("numpy==2.4.6", "scipy==1.17.1")
TORCH = "torch==2.13.0"  # before LensKit, which would take any


@dataclass(frozen=True)
class Environment:
    """What one peer needs.

    `steps` are calls of pip, in order; `options` go to all of them; `build` are variables of a
    build from sources. `one_blas_thread` says that the library runs threads of its own over rows
    and asks its users to hold BLAS to one.
    """

    steps: tuple[tuple[str, ...], ...] = ()
    options: tuple[str, ...] = ()
    build: dict[str, str] = field(default_factory=dict)
    one_blas_thread: bool = False


ENVIRONMENTS = {
    "wlrmf": Environment(),  # runs in the interpreter that runs the benchmark
    # Sources only: its build tunes itself to this processor and calls SciPy's BLAS.
    "cmfrec": Environment(((*NUMPY, "threadpoolctl==3.8.0", "cmfrec==3.5.1.post14"),)),
    "implicit": Environment(((*NUMPY, "implicit==0.7.3"),), one_blas_thread=True),
    # The flags of its own Makefile; without them the package is built without AVX.
    "libmf": Environment(
        ((*NUMPY, "libmf==0.9.2"),),
        options=("--no-binary", "libmf", "--no-cache-dir"),
        build={"CFLAGS": "-O3 -march=native -DUSEAVX"},
    ),
    "lenskit": Environment(((TORCH,), ("lenskit==2025.8.1",)), one_blas_thread=True),
    "buffalo": Environment((("buffalo==2.0.6",),), one_blas_thread=True),
    "spark": Environment(((*NUMPY, "pandas==2.3.3", "pyarrow==26.0.1", "pyspark==4.1.4"),)),
    "sklearn": Environment(((*NUMPY, "scikit-learn==1.9.1"),)),
    # These two call scikit-learn with an argument that newer versions do not know.
    "wpca": Environment((("numpy<2", "scikit-learn==1.5.2", "wpca==0.1"),)),
    "fancyimpute": Environment((("numpy<2", "scikit-learn==1.5.2", "fancyimpute==0.7.0"),)),
    "torch": Environment(((*NUMPY, TORCH),)),
}


def interpreter(name: str) -> Path:
    """The Python that a peer runs in."""
    if not ENVIRONMENTS[name].steps:
        return Path(sys.executable)
    return WORK / "venvs" / name / "bin" / "python"


def install(name: str) -> str:
    """Make a peer's environment unless it is there; the reason if that fails, or ''."""
    environment = ENVIRONMENTS[name]
    if not environment.steps:
        return ""
    home = WORK / "venvs" / name
    stamp = home / "installed.txt"
    wanted = repr(environment)
    if stamp.exists() and stamp.read_text() == wanted:
        return ""
    venv.create(home, with_pip=True, clear=True)
    pip = [str(interpreter(name)), "-m", "pip", "install", "-q", *environment.options]
    for packages in environment.steps:
        done = subprocess.run(
            [*pip, *packages],
            capture_output=True,
            text=True,
            env={**os.environ, **environment.build},
        )
        if done.returncode:
            return why(done.stderr)
    stamp.write_text(wanted)
    return ""


def why(output: str) -> str:
    """The line of a program's errors that says most: the last that names an error."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["no message"])[-1][:300]
