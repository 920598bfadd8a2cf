"""This library: its default solver, and alternating least squares without acceleration.

The default is accelerated alternating least squares; of complete cases it is the closed form, where
the number of iterations says nothing. `bias` has levels of rows and columns too, as one would fit
ratings for prediction.
"""

SETTINGS = {
    "default": {"plain": False},
    "plain": {"plain": True},
    "bias": {"plain": False, "bias": True},
}
DTYPE = "float32"


def cannot(spec):
    return ""


def settings(spec):
    return [
        name for name in SETTINGS if name != "bias" or (spec.kind == "explicit" and spec.scaled)
    ]


def prepare(case, threads):
    from ..cases import with_values

    weights = case.weights
    if case.spec.kind == "implicit":
        weights = with_values(case.Y, weights)
    return {
        "weights": weights,
        "baseline": 1.0 if case.spec.kind == "implicit" else None,
        "reg": case.ridges(),
    }


def fit(data, case, rank, iterations, threads, seed, plain, bias=False):
    import numpy as np

    import wlrmf

    model = wlrmf.fit(
        case.Y,
        rank=rank,
        solver=wlrmf.solvers.ALS(acceleration=None) if plain else "auto",
        stop=wlrmf.Stop(gtol=0, ftol=0, max_iter=iterations),
        seed=seed,
        n_threads=threads,
        bias=bias,
        **data,
    )
    W, X = model.W.T, model.X.T
    if not bias:
        return W, X
    row_level, column_level = model.row_bias[:, None], (model.col_bias + model.mean)[:, None]
    W = np.hstack([W, row_level, np.ones_like(row_level)])
    return W, np.hstack([X, np.ones_like(column_level), column_level])
