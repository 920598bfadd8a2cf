"""Implicit fits of one library at many settings, for others to judge.

``python -m benchmarks.factor_files JOB``. JOB is JSON: `library`, `rank`, `threads`, `likes` (a
file: `indptr`, `indices` and `shape` of what users like), `settings` and `folder`. Factors and
seconds of setting number k go to `folder`/k.npz; the library's version is printed.

The objective is the same for all: target 1 with weight 1 + alpha where a user likes an item, 0 with
weight 1 elsewhere. implicit takes 1 + alpha as the stored value, cmfrec alpha; both have a plain
ridge, and run with conjugate gradients, their defaults (cmfrec with its exact last sweep). A
setting has `iterations`, `reg` and `alpha`; of wlrmf, whose ridge is by count, all that the
recommender knows.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from .cases import Case, Spec

OPTIONS = {"implicit": {"use_cg": True}, "cmfrec": {"use_cg": True, "finalize_chol": True}}
NONE = (np.zeros(0),) * 4


def main() -> None:
    job = json.loads(sys.argv[1])
    with np.load(job["likes"], allow_pickle=False) as a:
        ones = np.ones(a["indices"].size, np.float32)
        likes = sp.csr_matrix((ones, a["indices"], a["indptr"]), shape=tuple(a["shape"]))
    fit = ours if job["library"] == "wlrmf" else peer(job["library"])
    fit(likes, job["rank"], job["threads"], job["settings"][0])  # imports and compiles
    for k, setting in enumerate(job["settings"]):
        seconds, W, X = fit(likes, job["rank"], job["threads"], setting)
        np.savez(Path(job["folder"]) / f"{k}.npz", W=W, X=X, seconds=seconds)
    print(version(job["library"]))


def ours(likes, rank, threads, setting):
    from wlrmf import Stop
    from wlrmf.recommender import Recommender

    options = dict(setting)
    stop = Stop(gtol=0, ftol=0, max_iter=options.pop("iterations"))
    model = Recommender(rank, "implicit", stop=stop, n_threads=threads, **options)
    begin = time.perf_counter()
    users, items = model.fit(likes).to_ann()
    return time.perf_counter() - begin, users, items


def peer(library):
    """A fit by the adapter that the other benchmarks use."""
    adapter = import_module(f".peers.{library}", __package__)

    def fit(likes, rank, threads, setting):
        weights = np.full(likes.nnz, 1 + setting["alpha"], np.float32)
        case = Case(Spec("likes", "likes", "implicit", setting["reg"]), likes, weights, NONE)
        data, iterations = adapter.prepare(case, threads), setting["iterations"]
        begin = time.perf_counter()
        W, X = adapter.fit(data, case, rank, iterations, threads, 0, **OPTIONS[library])
        return time.perf_counter() - begin, W, X

    return fit


if __name__ == "__main__":
    main()
