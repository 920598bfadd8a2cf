"""Files that several tests read, and how many examples hypothesis draws."""

import os

import numba
import pytest
from hypothesis import HealthCheck, settings

slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
few = 2 if numba.config.DISABLE_JIT else 20
settings.register_profile("all", deadline=None, suppress_health_check=slow)
settings.register_profile("suite", settings.get_profile("all"), max_examples=few, derandomize=True)
examples = int(os.environ.get("FUZZ_EXAMPLES", "4000"))
settings.register_profile("fuzz", settings.get_profile("all"), max_examples=examples)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


def pytest_collection_modifyitems(items):
    """Kernels as plain Python take hours where compiled ones take a second."""
    if numba.config.DISABLE_JIT:
        for item in items:
            if item.get_closest_marker("large"):
                item.add_marker(pytest.mark.skip(reason="too large for kernels as plain Python"))


@pytest.fixture
def pyarrow():
    return pytest.importorskip("pyarrow", reason="csv and parquet files need pyarrow")


@pytest.fixture
def csv(tmp_path, pyarrow):
    """Write a text to a csv file and return its path."""

    def write(text):
        path = tmp_path / "data.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def parquet(tmp_path, pyarrow):
    """Write columns to a parquet file and return its path."""
    from pyarrow import parquet

    def write(columns):
        path = tmp_path / "data.parquet"
        table = columns if isinstance(columns, pyarrow.Table) else pyarrow.table(columns)
        parquet.write_table(table, path)
        return path

    return write
