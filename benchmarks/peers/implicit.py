"""implicit: confidence c = the stored value with target 1, and 1 with target 0 elsewhere."""

from . import implicit_only

SETTINGS = {"cholesky": {"use_cg": False}, "cg": {"use_cg": True}}
DTYPE = "float32"
cannot = implicit_only


def prepare(case, threads):
    from ..cases import with_values

    return with_values(case.Y, case.weights)


def fit(data, case, rank, iterations, threads, seed, use_cg):
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=rank,
        regularization=case.spec.reg,
        use_cg=use_cg,
        iterations=iterations,
        num_threads=threads,
        random_state=seed,
    )
    model.fit(data, show_progress=False)
    return model.user_factors, model.item_factors
