"""This library: its default solver, and alternating least squares without acceleration.

The default is accelerated alternating least squares; of complete cases it is the closed form, where
the number of iterations says nothing.
"""

SETTINGS = {"default": {"plain": False}, "plain": {"plain": True}}
DTYPE = "float32"


def cannot(spec):
    return ""


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


def fit(data, case, rank, iterations, threads, seed, plain):
    import wlrmf

    model = wlrmf.fit(
        case.Y,
        rank=rank,
        solver=wlrmf.solvers.ALS(acceleration=None) if plain else "auto",
        stop=wlrmf.Stop(gtol=0, ftol=0, max_iter=iterations),
        seed=seed,
        n_threads=threads,
        **data,
    )
    return model.W.T, model.X.T
