"""cmfrec: squared errors weighed by W, ridge plain or by count (`scale_lam`), as here.

Its `finalize_chol`, an exact last sweep after sweeps of conjugate gradients, is off unless asked.
Dense arrays take its own path: where weights differ it solves row by row whatever `use_cg` says.
After Cholesky the factors of an id without ratings are what the memory held before; they are set
to 0 here. Its implicit model with conjugate gradients settles at a point that is not the minimum
its Cholesky finds: the residual that they start from counts stored cells with one weight more.
"""

SETTINGS = {"cholesky": {"use_cg": False}, "cg": {"use_cg": True}}
DTYPE = "float32"


def cannot(spec):
    if spec.kind == "implicit" and spec.scaled:
        return "its implicit model has a plain ridge only"
    return ""


def prepare(case, threads):
    if case.spec.kind == "dense":
        return {"X": case.Y, "W": case.weights}
    if case.spec.kind == "implicit":
        return {"X": case.confidence_minus_one().tocoo()}
    return {"X": case.Y.tocoo()}


def fit(data, case, rank, iterations, threads, seed, use_cg, finalize_chol=False):
    import numpy as np
    from cmfrec import CMF, CMF_implicit

    options = {
        "k": rank,
        "lambda_": case.spec.reg,
        "use_cg": use_cg,
        "finalize_chol": finalize_chol,
        "niter": iterations,
        "use_float": case.Y.dtype == "float32",
        "precompute_for_predictions": False,
        "random_state": seed + 1,
        "nthreads": threads,
        "verbose": False,
    }
    if case.spec.kind == "implicit":
        model = CMF_implicit(alpha=1.0, **options)
    else:
        model = CMF(
            center=False,
            user_bias=False,
            item_bias=False,
            scale_lam=case.spec.scaled,
            **options,
        )
    model.fit(**data)
    if case.spec.kind == "dense":
        return model.A_, model.B_
    seen = (case.Y.getnnz(axis)[:, None] > 0 for axis in (1, 0))
    return [np.where(some, F, 0) for some, F in zip(seen, (model.A_, model.B_), strict=True)]
