"""scikit-learn estimators: `MatrixFactorization`, a transformer, and `LowRankImputer`.

    from wlrmf.estimator import LowRankImputer
    pipeline = make_pipeline(LowRankImputer(), Ridge())

They need scikit-learn, which ``import wlrmf`` alone does not: ``pip install 'wlrmf[sklearn]'``.
"""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        "the estimators need scikit-learn, which is not installed: pip install 'wlrmf[sklearn]'"
    ) from error

from .factorization import MatrixFactorization
from .file import load, save
from .fitting import ConvergenceWarning
from .imputer import LowRankImputer

__all__ = ["ConvergenceWarning", "LowRankImputer", "MatrixFactorization", "load", "save"]
