"""fancyimpute's SoftImpute: ½ of the loss plus λ times the nuclear norm.

That is the objective here with λ = reg, where the rank is large enough: the least ridge of all
factors of a matrix is twice its nuclear norm. It hands back the filled matrix, of which the adapter
takes one more step of the method to have factors; so one iteration is left to it at least.
"""

SETTINGS = {"softimpute": {}}
DTYPE = "float32"


def cannot(spec):
    if spec.kind == "implicit" or spec.weighted:
        return "has no weights"
    if spec.scaled:
        return "its ridge is plain"
    if spec.complete:
        return "a complete matrix leaves it nothing to do"
    if spec.source in ("ratings_10m", "ratings_25m", "ratings_100m"):
        return "works on the full matrix, which does not fit"
    return ""


def prepare(case, threads):
    import numpy as np

    Y = np.full(case.Y.shape, np.nan, np.float32)
    entries = case.Y.tocoo()
    Y[entries.row, entries.col] = entries.data
    return Y


def fit(data, case, rank, iterations, threads, seed):
    import numpy as np
    from fancyimpute import SoftImpute
    from sklearn.utils.extmath import randomized_svd

    np.random.seed(seed)  # noqa: NPY002 - what the library draws from
    filled = SoftImpute(
        shrinkage_value=case.spec.reg,
        max_rank=rank,
        max_iters=max(iterations - 1, 1),
        convergence_threshold=0,
        verbose=False,
    ).fit_transform(data)
    U, s, Vt = randomized_svd(filled, rank, n_iter=1, random_state=seed)
    root = np.sqrt(np.maximum(s - case.spec.reg, 0))
    return U * root, Vt.T * root
