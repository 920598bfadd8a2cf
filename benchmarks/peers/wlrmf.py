"""This library. `als` is its default solver, `als-plain` the same without acceleration."""

SETTINGS = {"als": {"acceleration": "ncg"}, "als-plain": {"acceleration": None}}
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


def fit(data, case, rank, iterations, threads, seed, acceleration):
    import wlrmf

    # "auto" is the closed form of complete cases, where iterations say nothing.
    solver = "auto" if case.spec.complete else wlrmf.solvers.ALS(acceleration=acceleration)
    model = wlrmf.fit(
        case.Y,
        rank=rank,
        solver=solver,
        stop=wlrmf.Stop(gtol=0, ftol=0, max_iter=iterations),
        seed=seed,
        n_threads=threads,
        **data,
    )
    return model.W.T, model.X.T
