"""libmf: stochastic gradients on a grid of blocks; the ridge acts at each rating, so by count.

The learning rate is the only free number: ETA is the one of 0.02, 0.05, 0.1 and 0.2 with the least
error on the validation part of MovieLens 1M at rank 64 and its ridge by count.
"""

SETTINGS = {"sgd": {"eta": 0.1}}
DTYPE = "float32"


def cannot(spec):
    if spec.kind != "explicit":
        return "its loss here is that of explicit ratings"
    return "" if spec.scaled else "its ridge is by count"


def prepare(case, threads):
    import numpy as np

    entries = case.Y.tocoo()
    return np.column_stack([entries.row, entries.col, entries.data]).astype(np.float32)


def fit(data, case, rank, iterations, threads, seed, eta):
    import numpy as np
    from libmf.mf import MF

    model = MF(
        k=rank,
        nr_iters=iterations,
        nr_threads=threads,
        nr_bins=max(2 * threads + 1, 20),
        lambda_p1=0.0,
        lambda_q1=0.0,
        lambda_p2=case.spec.reg,
        lambda_q2=case.spec.reg,
        eta=eta,
        quiet=True,
    )
    model.fit(data)
    factors = []
    for factor, size in zip((model.p_factors(), model.q_factors()), case.Y.shape, strict=True):
        whole = np.zeros((size, rank), np.float32)  # its tables end at the last id with a rating
        whole[: len(factor)] = np.nan_to_num(factor)  # NaN: ids without ratings
        factors.append(whole)
    return factors
