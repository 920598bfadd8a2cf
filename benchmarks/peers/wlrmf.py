"""This library. `als` is its default solver, `als-plain` the same without acceleration."""

SETTINGS = {"als": {"acceleration": "ncg"}, "als-plain": {"acceleration": None}}
DTYPE = "float32"


def cannot(spec):
    return ""


def prepare(case, threads):
    return {
        "weights": case.weights,
        "baseline": 1.0 if case.spec.kind == "implicit" else None,
        "reg": case.ridges(),
    }


def fit(data, case, rank, iterations, threads, seed, acceleration):
    import wlrmf

    if case.spec.complete:
        solver = "auto"  # the closed form; iterations say nothing
    else:
        solver = wlrmf.solvers.ALS(acceleration=acceleration)
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
