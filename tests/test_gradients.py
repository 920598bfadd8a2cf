"""The two closed forms: Taylor slope, finite differences, and against each other."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import approx_fprime

from wlrmf.diagnostics import taylor_slope
from wlrmf.gradients import dictionary, masked

m, n, rank = 9, 7, 3
rng = np.random.default_rng(0)
Y, W, X = (
    rng.standard_normal((m, n)),
    rng.standard_normal((rank, m)),
    rng.standard_normal((rank, n)),
)
A = rng.uniform(0, 2, (m, n)) * (rng.random((m, n)) < 0.6)
ROW, COL = np.nonzero(A)
SPARSE = sp.csr_array((Y[ROW, COL], (ROW, COL)), shape=(m, n))
SPARSE_A = sp.csr_array((A[ROW, COL], (ROW, COL)), shape=(m, n))


def flat_masked(z):
    value, dW, dX = masked(Y, A, z[: W.size].reshape(W.shape), z[W.size :].reshape(X.shape))
    return value, np.concatenate([dW.ravel(), dX.ravel()])


def flat_dictionary(z, data=Y):
    (d, k), (_, c) = (data.shape[0], rank), data.shape
    value, dD, dC = dictionary(data, z[: d * k].reshape(d, k), z[d * k :].reshape(k, c))
    return value, np.concatenate([dD.ravel(), dC.ravel()])


def test_masked_is_its_formula():
    value, dW, dX = masked(Y, A, W, X)
    E = A * A * (Y - W.T @ X)
    assert value == pytest.approx(np.sum((A * (Y - W.T @ X)) ** 2))
    np.testing.assert_allclose(dW, -2 * X @ E.T)
    np.testing.assert_allclose(dX, -2 * W @ E)
    assert (dW.shape, dX.shape) == (W.shape, X.shape)


def test_masked_sparse_is_the_dense_one():
    for got, wanted in zip(masked(SPARSE, SPARSE_A, W, X), masked(Y, A, W, X), strict=True):
        np.testing.assert_allclose(got, wanted)


@pytest.mark.parametrize("function", [flat_masked, flat_dictionary])
def test_taylor_slope_and_finite_differences(function):
    z = rng.standard_normal(rank * (m + n))
    direction = rng.standard_normal(z.size)
    assert taylor_slope(function, z, direction) == pytest.approx(2, abs=0.1)
    numeric = approx_fprime(z, lambda point: function(point)[0], 1e-7)
    np.testing.assert_allclose(function(z)[1], numeric, rtol=1e-4, atol=1e-4)


def test_the_taylor_slope_of_a_wrong_gradient_is_one():
    wrong = lambda z: (flat_masked(z)[0], 1.01 * flat_masked(z)[1])  # noqa: E731
    z, direction = rng.standard_normal((2, rank * (m + n)))
    assert taylor_slope(wrong, z, direction, np.logspace(-6, -4, 5)) == pytest.approx(1, abs=0.1)


def test_the_two_agree_but_for_the_half():
    F, dW, dX = masked(Y, np.ones((m, n)), W, X)
    L, dD, dC = dictionary(Y, W.T, X)
    assert pytest.approx(2 * L) == F
    np.testing.assert_allclose(dW.T, 2 * dD)
    np.testing.assert_allclose(dX, 2 * dC)


@pytest.mark.parametrize("shape", [(400, 300), (4000, 40), (12, 10)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dictionary_on_every_path(shape, dtype, monkeypatch):
    """Through the Gram matrices (large), block by block (small); float64 formula as oracle."""
    d, c = shape
    data, D, C = (
        rng.standard_normal(size).astype(dtype) for size in ((d, c), (d, rank), (rank, c))
    )
    R = D.astype(float) @ C - data
    value, dD, dC = dictionary(data, D, C)
    tolerance = 1e-4 if dtype == np.float32 else 1e-11
    assert value == pytest.approx(0.5 * np.sum(R**2), rel=tolerance)
    np.testing.assert_allclose(dD, R @ C.T, atol=tolerance * np.abs(R @ C.T).max())
    np.testing.assert_allclose(dC, D.T @ R, atol=tolerance * np.abs(D.T @ R).max())
    assert dD.dtype == dC.dtype == dtype


def test_dictionary_never_forms_the_residual_of_a_tall_matrix(monkeypatch):
    from wlrmf import gradients

    def refuse(*arguments):
        raise AssertionError("the residual was formed")

    monkeypatch.setattr(gradients, "_by_blocks", refuse)
    data, D, C = (rng.standard_normal(s) for s in ((5000, 60), (5000, rank), (rank, 60)))
    dictionary(data, D, C)


def test_dictionary_keeps_its_digits_where_the_fit_is_close():
    D, C = rng.standard_normal((500, rank)), rng.standard_normal((rank, 400))
    noise = 1e-9 * rng.standard_normal((500, 400))
    value, dD, _ = dictionary(D @ C - noise, D, C)
    assert value == pytest.approx(0.5 * np.sum(noise**2), rel=1e-5)
    np.testing.assert_allclose(dD, noise @ C.T, rtol=1e-3, atol=1e-12)


def test_shapes_that_clash_are_both_named():
    with pytest.raises(
        ValueError, match=r"`mask` must have the shape of Y, \(9, 7\); got \(7, 9\)"
    ):
        masked(Y, A.T, W, X)
    with pytest.raises(ValueError, match=r"`W` must have shape \(3, 9\); got \(9, 3\).*W\.T"):
        masked(Y, A, W.T, X)
    with pytest.raises(ValueError, match=r"`X` must have shape \(2, 7\); got \(3, 7\)"):
        masked(Y, A, W[:2], X)
    with pytest.raises(ValueError, match=r"shape of X, \(9, 7\); got D of shape \(3, 9\)"):
        dictionary(Y, W, X)
    with pytest.raises(ValueError, match="finite everywhere"):
        dictionary(np.full((2, 2), np.nan), np.ones((2, 1)), np.ones((1, 2)))


def test_dtype_is_float32_only_if_all_are():
    single = [a.astype(np.float32) for a in (Y, A, W, X)]
    assert masked(*single)[1].dtype == np.float32
    assert masked(Y, *single[1:])[1].dtype == np.float64
