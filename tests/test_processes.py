"""Fits in other processes: how they are started, where caches may be, and the memory they take."""

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import joblib
import numba
import numpy as np
import pytest

import wlrmf

ROOT = Path(__file__).parent.parent
PLAIN = """
import json, sys, time
begin = time.perf_counter()
import numpy as np, threading, threadpoolctl
import scipy.linalg
before = [lib["num_threads"] for lib in threadpoolctl.threadpool_info()]
import wlrmf
after = [lib["num_threads"] for lib in threadpoolctl.threadpool_info()]
threads = threading.active_count()
model = wlrmf.fit(np.outer([1.0, 2, 3], [2.0, 1]), rank=1, reg=0.1)
same = before == after[:len(before)]
print(json.dumps({"same": same, "threads": threads, "value": model.value}))
"""
LARGE = """
import json, sys
import numpy as np, scipy.sparse as sp, wlrmf

def peak():  # not getrusage: a child's begins at what its parent holds
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return 1024 * int(line.split()[1])

dtype, rank, (m, n), count = np.dtype(sys.argv[1]), 32, (60_000, 20_000), 1_500_000
stop = wlrmf.Stop(gtol=0, ftol=0, max_iter=3)
# a fit before it, so that neither compiled kernels nor libraries count
few = sp.random_array((300, 200), density=0.1, format="csr", dtype=dtype, rng=0)
wlrmf.fit(few, rank=rank, reg=1.0, stop=stop)
if sys.argv[2:]:
    sys.exit(print("null"))
rng = np.random.default_rng(0)
indptr = np.arange(m + 1) * (count // m)
indices = (rng.integers(0, n - 800, m)[:, None] + np.arange(25) * 31).ravel().astype(np.int32)
Y = sp.csr_array((rng.standard_normal(count).astype(dtype), indices, indptr), shape=(m, n))
held = peak()
wlrmf.fit(Y, rank=rank, reg=1.0, stop=stop)
size = dtype.itemsize
print(json.dumps([peak() - held, 2 * (size + 4) * count + 15 * size * rank * (m + n)]))
"""


@pytest.fixture
def given():
    rng = np.random.default_rng(0)
    Y = rng.standard_normal((60, 40))
    Y[rng.random(Y.shape) < 0.3] = np.nan
    return {"Y": Y, "rank": 3, "reg": 0.5, "stop": wlrmf.Stop(max_iter=5, gtol=0, ftol=0)}


def run(code, *arguments, **environment):
    """What a new interpreter prints, read as JSON."""
    given = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={name: value for name, value in given.items() if value is not None},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def left_of(given):
    return wlrmf.fit(**given).left


def test_fits_in_spawned_processes_and_in_loky(given):  # R57
    wanted = left_of(given)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply_async(left_of, (given,)).get(120), wanted)
    task = joblib.delayed(left_of)
    for found in joblib.Parallel(n_jobs=2, timeout=120)([task(given), task(given)]):
        np.testing.assert_array_equal(found, wanted)


def test_an_import_starts_and_changes_nothing():  # R62
    found = run(PLAIN)
    assert found["same"]
    assert found["threads"] == 1


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is cached without the JIT")
def test_no_home_and_no_place_for_a_cache(tmp_path):  # R62
    file = tmp_path / "a file"
    file.touch()
    wanted = run(PLAIN)["value"]
    places = {"NUMBA_CACHE_DIR": str(file / "below"), "HOME": None, "XDG_CACHE_HOME": None}
    assert run(PLAIN, **places)["value"] == wanted


@pytest.mark.large
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak memory")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fit_takes_the_memory_that_is_stated(dtype):  # R64
    run(LARGE, dtype, "few")  # compiles, which takes more memory than the fit
    taken, stated = run(LARGE, dtype)
    assert 0.3 * stated < taken <= 1.05 * stated
