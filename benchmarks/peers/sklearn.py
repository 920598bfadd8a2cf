"""scikit-learn: the truncated SVD of a complete matrix, by Lanczos or at random.

A sparse zero is a zero for it, there are no weights and no ridge, so complete cases without a ridge
are all it can do. Its NMF has non-negative factors: another problem, which is not measured here.
"""

SETTINGS = {"arpack": {"algorithm": "arpack"}, "randomized": {"algorithm": "randomized"}}
DTYPE = "float32"


def cannot(spec):
    return "" if spec.complete and not spec.reg else "takes no missing cells, weights or ridge"


def prepare(case, threads):
    return None


def fit(data, case, rank, iterations, threads, seed, algorithm):
    from sklearn.decomposition import TruncatedSVD

    model = TruncatedSVD(rank, algorithm=algorithm, n_iter=iterations, random_state=seed)
    return model.fit_transform(case.Y), model.components_.T
