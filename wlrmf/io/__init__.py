"""Users' data files: matrices and triplets in npz, npy, csv, parquet and Matrix Market.

Reading and writing csv and parquet needs pyarrow, the extra ``wlrmf[io]``.
"""

from __future__ import annotations

from wlrmf.io.matrix import read_matrix
from wlrmf.io.table import DataFileError, Pairs, Table, Triplets
from wlrmf.io.triplets import read_pairs, read_triplets
from wlrmf.io.write import write_columns, write_matrix

__all__ = [
    "DataFileError",
    "Pairs",
    "Table",
    "Triplets",
    "read_matrix",
    "read_pairs",
    "read_triplets",
    "write_columns",
    "write_matrix",
]
