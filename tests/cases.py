"""Problems of every weight structure, for the tests that run over all of them."""

import numpy as np
import scipy.sparse as sp

from wlrmf.problem import build
from wlrmf.validation import read_cells

STRUCTURES = ("complete", "dense", "observed", "weighted", "baseline", "rank-one")


def arguments(structure, m=23, n=17, rank=3, noise=0.1, share=0.5, seed=0, dtype=np.float64):
    """Keyword arguments of `fit` for a planted problem of this structure, and the plant."""
    rng = np.random.default_rng(seed)
    W, X = rng.standard_normal((m, rank)), rng.standard_normal((n, rank))
    truth = W @ X.T
    Y = truth + noise * rng.standard_normal((m, n))
    seen = rng.random((m, n)) < share
    weights = rng.uniform(0.2, 3, (m, n))
    if structure == "complete":
        given = {"Y": Y}
    elif structure == "dense":
        given = {"Y": np.where(seen, Y, np.nan), "weights": weights}
    else:
        row, col = np.nonzero(seen)
        given = {"Y": sp.coo_array((Y[row, col], (row, col)), shape=(m, n))}
        if structure in ("weighted", "baseline", "rank-one"):
            given["weights"] = sp.coo_array((weights[row, col], (row, col)), shape=(m, n))
        if structure == "baseline":
            given["baseline"] = 0.3
        if structure == "rank-one":
            given["baseline"] = (rng.uniform(0.05, 0.3, m), rng.uniform(0.2, 1, n))
    return given | {"dtype": dtype}, truth


def problem(structure, n_threads=1, **options):
    given, _ = arguments(structure, **options)
    return build(read_cells(**given), n_threads)


def factors(shape, rank=4, seed=1, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal((size, rank)).astype(dtype) for size in shape)
