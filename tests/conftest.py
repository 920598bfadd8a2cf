"""Files that several tests read, and how many examples hypothesis draws."""

import os

import pytest
from hypothesis import HealthCheck, settings

slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile(
    "suite", max_examples=20, derandomize=True, deadline=None, suppress_health_check=slow
)
settings.register_profile(
    "fuzz",
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "4000")),
    deadline=None,
    suppress_health_check=slow,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


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
