"""Fits beyond one machine's memory: block stores, and Dask clusters that work on them.

    import wlrmf.distributed as wd
    blocks = wd.ingest("ratings/*.parquet", "store", user="user", item="item", value="rating")
    model = wd.fit_local(blocks, rank=32, reg=5.0)      # here, the store memory-mapped
    model = wd.fit(blocks, rank=32, reg=5.0)            # on the current dask.distributed.Client

The fit is that of `wlrmf.fit`; its users are eliminated, so that all that a cluster may lose is
found again from the items (see `half`). Below a few hundred million cells one machine is faster.
"""

from .fit import fit, fit_local
from .ingest import ingest
from .model import BlockModel, UserBlock, UserFactors
from .plan import Plan, plan
from .store import Blocks, open_blocks

__all__ = [
    "BlockModel",
    "Blocks",
    "Plan",
    "UserBlock",
    "UserFactors",
    "fit",
    "fit_local",
    "ingest",
    "open_blocks",
    "plan",
]
