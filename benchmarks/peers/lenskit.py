"""LensKit: ridge by count in its explicit model, plain in its implicit one, whose c is 1 + value.

Damping without end makes the biases of the explicit model nought.
"""

SETTINGS = {"cholesky": {}}
DTYPE = "float32"


def cannot(spec):
    if spec.kind == "dense":
        return "takes ratings, not arrays"
    if spec.kind == "explicit" and not spec.scaled:
        return "its explicit ridge is by count"
    if spec.kind == "implicit" and spec.scaled:
        return "its implicit ridge is plain"
    return ""


def prepare(case, threads):
    import pandas as pd
    from lenskit.data import from_interactions_df
    from lenskit.parallel import initialize

    initialize(processes=1, threads=threads, backend_threads=1)
    Y = case.confidence_minus_one() if case.spec.kind == "implicit" else case.Y
    Y = Y.tocoo()
    return from_interactions_df(pd.DataFrame({"user": Y.row, "item": Y.col, "rating": Y.data}))


def fit(data, case, rank, iterations, threads, seed):
    import numpy as np
    from lenskit.als import BiasedMFScorer, ImplicitMFScorer
    from lenskit.training import TrainingOptions

    options = {"embedding_size": rank, "epochs": iterations, "regularization": case.spec.reg}
    if case.spec.kind == "implicit":
        model = ImplicitMFScorer(use_ratings=True, weight=1.0, **options)
    else:
        model = BiasedMFScorer(damping=1e12, **options)
    model.train(data, TrainingOptions(rng=seed))
    m, n = case.Y.shape
    W, X = np.zeros((m, rank)), np.zeros((n, rank))  # who has no ratings is not in its tables
    W[data.users.ids()] = model.user_embeddings
    X[data.items.ids()] = model.item_embeddings
    return W, X
