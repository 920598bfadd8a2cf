"""Block stores for tests."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

import wlrmf.distributed as wd

COLUMNS = {"user": "user", "item": "item", "value": "rating"}


def cells(m=300, n=80, share=0.3, rank=4, seed=0):
    """Rows, columns, values and weights of a noisy matrix of low rank, in no order."""
    chance = np.random.default_rng(seed)
    W, X = chance.standard_normal((m, rank)), chance.standard_normal((n, rank))
    Y = W @ X.T + 0.3 * chance.standard_normal((m, n)) + 2
    i, j = np.nonzero(chance.random((m, n)) < share)
    order = chance.permutation(i.size)
    i, j = i[order], j[order]
    return i, j, Y[i, j], chance.uniform(0.5, 2, i.size)


def write(path, i, j, y, c, rows=1000):
    """A parquet file, with texts as ids of items."""
    names = np.array([f"item {k:04}" for k in j])
    table = pa.table({"user": i, "item": names, "rating": y, "weight": c})
    pq.write_table(table, path, row_group_size=rows)
    return str(path)


def store(directory, blocks=(2, 3), *, weighted=False, dtype="float32", client=None, **about):
    """A store of `cells`, and the same as sparse matrices: values and weights."""
    i, j, y, c = cells(**about)
    source = write(directory / "cells.parquet", i, j, y, c)
    name = f"store-{blocks[0]}-{blocks[1]}-{dtype}-{weighted}"
    opened = wd.ingest(
        source,
        directory / name,
        **COLUMNS,
        weight="weight" if weighted else None,
        dtype=dtype,
        n_user_blocks=blocks[0],
        n_item_blocks=blocks[1],
        client=client,
    )
    Y, C = (sp.csr_array((x, (i, j)), shape=opened.shape).astype(dtype) for x in (y, c))
    return opened, Y, C if weighted else None
