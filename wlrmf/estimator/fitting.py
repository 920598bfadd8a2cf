"""What both estimators do around a fit: read tables, keep what was, warn once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import sklearn.exceptions
from sklearn.utils.validation import validate_data

from ..fit import fit
from ..model import Factorization
from ..result import Status
from ..solvers.base import Stop
from ..validation import errors
from ..validation.arrays import check_names, read_names
from ..validation.options import read_int

FLOATS = (np.float64, np.float32)
ADVICE = {
    Status.MAX_ITER: "stopped at max_iter={max_iter} before converging; give it more",
    Status.MAX_SECONDS: "stopped at max_seconds={max_seconds} before converging; give it more",
}


class ConvergenceWarning(errors.ConvergenceWarning, sklearn.exceptions.ConvergenceWarning):
    """An estimator's fit ended before its stopping test was met.

    It is wlrmf's ConvergenceWarning and scikit-learn's, so a filter for either meets it.
    """


@contextmanager
def kept_on_error(estimator: Any) -> Iterator[None]:
    """An exception leaves the estimator, and so an earlier fit, as it was."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def read_table(
    estimator: Any, Y: Any, *, reset: bool, finite: bool | str = False, **options: Any
) -> Any:
    """Y as scikit-learn judges it, in float64 or float32; masked cells are NaN.

    With ``finite=False`` it is left to the library's own gate, which knows what cells count, to
    refuse what is not.
    """
    if isinstance(Y, np.ma.MaskedArray):
        wide = Y.dtype if Y.dtype in FLOATS else np.dtype(np.float64)
        Y = np.ma.filled(Y.astype(wide), np.nan)
    return validate_data(
        estimator, Y, reset=reset, dtype=FLOATS, ensure_all_finite=finite, **options
    )


def check_companions(Y: Any, **companions: Any) -> None:
    """Frames of masks and weights must have the names of the frame Y, in its order."""
    names = read_names(Y)
    for name, given in companions.items():
        for axis, own, wanted in zip(("rows", "columns"), read_names(given), names, strict=True):
            check_names(name, axis, own, wanted, "Y")


def run(estimator: Any, Y: Any, **options: Any) -> Factorization:
    """`wlrmf.fit` with the estimator's own options; an end without success is a warning.

    The model is without its `state`, which would be most of a pickle and serves only to go on.
    """
    stop = Stop(estimator.gtol, estimator.ftol, estimator.max_iter, estimator.max_seconds)
    read_int(estimator.max_iter, "max_iter", 1)
    try:
        model = fit(
            Y,
            solver=estimator.solver,
            n_starts=estimator.n_starts,
            stop=stop,
            seed=estimator.random_state,
            n_threads=estimator.n_threads,
            throw=True,
            **options,
        )
    except errors.NotConvergedError as error:
        model = error.result
        message = ADVICE.get(model.status, model.message).format_map(vars(estimator))
        warnings.warn(message, ConvergenceWarning, stacklevel=4)
    return model.released()


def read_cap(estimator: Any, shape: tuple[int, int]) -> int:
    """The rank, at most min(shape): more factors would add nothing."""
    return min(read_int(estimator.rank, "rank", 0), *shape)
