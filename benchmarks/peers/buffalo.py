"""buffalo: confidence 1 + alpha * value, target 1, and 1 with target 0 elsewhere; plain ridge.

It reads its data from a file that it makes itself, which is not timed. Its `ialspp` is not here: it
finds the minimum for targets of (c - 1) / c, another model.
"""

import tempfile
from pathlib import Path

from . import implicit_only

SETTINGS = {
    "cholesky": {"optimizer": "llt"},
    "cg": {"optimizer": "manual_cg"},
}
DTYPE = "float32"
cannot = implicit_only


def prepare(case, threads):
    import buffalo.data
    from buffalo.data.mm import MatrixMarketOptions
    from buffalo.misc import log

    log.set_log_level(log.WARN)
    folder = Path(tempfile.mkdtemp())
    options = MatrixMarketOptions().get_default_option()
    options.input.main = case.confidence_minus_one()
    options.data.path = str(folder / "ratings.h5py")
    options.data.tmp_dir = str(folder)
    options.data.validation = {}
    data = buffalo.data.load(options)
    data.create()
    return data


def fit(data, case, rank, iterations, threads, seed, optimizer):
    import numpy as np
    from buffalo import ALS, ALSOption

    options = ALSOption().get_default_option()
    options.update(
        d=rank,
        num_iters=iterations,
        num_workers=threads,
        reg_u=float(case.spec.reg),
        reg_i=float(case.spec.reg),
        alpha=1.0,
        optimizer=optimizer,
        compute_loss_on_training=False,
        evaluation_on_learning=False,
        validation={},
    )
    np.random.seed(seed)  # noqa: NPY002 - what the library draws from
    model = ALS(options, data=data)
    model.initialize()
    model.train()
    return model.P, model.Q
