"""The scikit-learn transformer."""

import pytest

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn.utils.estimator_checks import parametrize_with_checks

from wlrmf.estimator import MatrixFactorization


@parametrize_with_checks([MatrixFactorization(), MatrixFactorization(bias=True)])
@pytest.mark.filterwarnings("ignore::wlrmf.DataWarning")
def test_scikit_learn_checks(estimator, check):
    check(estimator)
