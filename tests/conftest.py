"""Files that several tests read."""

import pytest


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
