"""wpca's EMPCA: weights multiply the residual, so they are the roots of ours; no ridge.

It takes out column means before all else, which cannot be turned off. They are a component of
their own here: rank - 1 components are asked for, and the means beside a column of ones.
"""

SETTINGS = {"empca": {}}
DTYPE = "float64"


def cannot(spec):
    if spec.kind != "dense":
        return "takes arrays, not ratings"
    return "has no ridge" if spec.reg else ""


def prepare(case, threads):
    import numpy as np

    weights = None if case.weights is None else np.sqrt(case.weights)
    return {"X": np.nan_to_num(case.Y), "weights": weights}


def fit(data, case, rank, iterations, threads, seed):
    import numpy as np
    from wpca import EMPCA

    model = EMPCA(n_components=rank - 1, max_iter=iterations, random_state=seed)
    coefficients = model.fit_transform(**data)
    W = np.column_stack([np.ones(len(coefficients)), coefficients])
    return W, np.vstack([model.mean_, model.components_]).T
