"""libmf: stochastic gradients on a grid of blocks; the ridge acts at each rating, so by count.

Chosen by the error on a twentieth of the training part of `ml1m_count` and `ratings_1m_count`, rank
64, among rates of 0.02, 0.05, 0.1, 0.2 and the ridge of the case or half of it: 0.1, the fastest of
the best with the case's ridge; with half of it the error is least after about five passes and then
rises. The objective is always that of the case. Its memory grows from fit to fit: the package does
not free its copy of the ratings.
"""

SETTINGS = {"sgd": {"ridge_share": 1.0}, "sgd-half-ridge": {"ridge_share": 0.5}}
RATE = 0.1
DTYPE = "float32"


def cannot(spec):
    if spec.kind != "explicit":
        return "its loss here is that of explicit ratings"
    return "" if spec.scaled else "its ridge is by count"


def prepare(case, threads):
    import numpy as np

    entries = case.Y.tocoo()
    return np.column_stack([entries.row, entries.col, entries.data]).astype(np.float32)


def fit(data, case, rank, iterations, threads, seed, ridge_share):
    import numpy as np
    from libmf.mf import MF

    reg = ridge_share * case.spec.reg
    model = MF(
        k=rank,
        nr_iters=iterations,
        nr_threads=threads,
        nr_bins=max(2 * threads + 1, 20),
        lambda_p1=0.0,
        lambda_q1=0.0,
        lambda_p2=reg,
        lambda_q2=reg,
        eta=RATE,
        quiet=True,
    )
    model.fit(data)
    factors = []
    for factor, size in zip((model.p_factors(), model.q_factors()), case.Y.shape, strict=True):
        whole = np.zeros((size, rank), np.float32)  # its tables end at the last id with a rating
        whole[: len(factor)] = np.nan_to_num(factor)  # NaN: ids without ratings
        factors.append(whole)
    return factors
