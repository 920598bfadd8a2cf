"""The two closed forms, literally.

Masked:      F = ‖A∘(Y − WᵀX)‖_F²,   ∂F/∂W = −2X(A∘A∘(Y − WᵀX))ᵀ,   ∂F/∂X = −2W(A∘A∘(Y − WᵀX))
Dictionary:  L = ½‖DW − X‖_F²,       ∂L/∂D = (DW − X)Wᵀ,             ∂L/∂W = DᵀDW − DᵀX

The ½ of the second cancels the 2 that the derivative brings. With A = 1, D = Wᵀ and W = X the two
are the same function but for that factor 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .problem import build
from .validation.arrays import as_matrix
from .validation.cells import read_cells
from .validation.options import read_dense, read_factor

BLOCK = 1 << 18  # cells of the residual that are formed at a time


def masked(Y: Any, A: Any, W: Any, X: Any) -> tuple[float, np.ndarray, np.ndarray]:
    """Value and gradients of the masked, weighted problem.

    Parameters
    ----------
    Y : matrix, shape (m, n)
        Dense (NaN = missing where A is None), or sparse (cells not stored are missing).
    A : matrix, shape (m, n), or None
        Mask or weights of the residual, so acting squared (not A²); None: every observed cell 1.
    W : array, shape (rank, m)
    X : array, shape (rank, n)

    Returns
    -------
    value : float
        F = ‖A∘(Y − WᵀX)‖_F², summed in float64.
    dW : ndarray, shape (rank, m)
    dX : ndarray, shape (rank, n)
        float32 if Y, W and X are all float32, otherwise float64.

    Raises
    ------
    ValueError
        If shapes clash (both are named), or a cell with A > 0 is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from wlrmf.gradients import masked
    >>> value, dW, dX = masked([[1.0, 2.0]], [[1, 3]], W=[[1.0]], X=[[3.0, 4.0]])
    >>> value, dW.tolist(), dX.tolist()
    (40.0, [[156.0]], [[4.0, 36.0]])
    """
    W, X = read_dense(W, "W"), read_dense(X, "X")
    given = as_matrix(Y, "Y")
    dtype = _common_dtype(given, W, X)
    problem = build(read_cells(given, A, dtype=dtype, allow_empty=True))
    m, n = problem.shape
    rank = W.shape[1] if W.shape[0] == m else W.shape[0]  # W may be transposed: say so
    left = read_factor(W, "W", rank, m, dtype)
    right = read_factor(X, "X", rank, n, dtype)
    value, dW, dX = problem.loss_grad(left, right)
    return value, dW.T, dX.T


def dictionary(X: Any, D: Any, W: Any) -> tuple[float, np.ndarray, np.ndarray]:
    """Value and gradients of the complete dictionary problem.

    Through the rank × rank Gram matrices DᵀD and WWᵀ where that takes fewer operations, so that
    the d × n residual is not formed; block by block where the residual is so small that the sums
    would cancel, or the rank so large that it is cheaper.

    Parameters
    ----------
    X : array, shape (d, n)
        Data, complete.
    D : array, shape (d, rank)
        Dictionary.
    W : array, shape (rank, n)
        Codes.

    Returns
    -------
    value : float
        L = ½‖DW − X‖_F².
    dD : ndarray, shape (d, rank)
        (DW − X)Wᵀ.
    dW : ndarray, shape (rank, n)
        DᵀDW − DᵀX.

    Raises
    ------
    ValueError
        If shapes clash or an entry is not finite.

    Examples
    --------
    >>> from wlrmf.gradients import dictionary
    >>> value, dD, dW = dictionary([[1.0], [2.0]], D=[[1.0], [1.0]], W=[[2.0]])
    >>> value, dD.tolist(), dW.tolist()
    (0.5, [[2.0], [0.0]], [[1.0]])
    """
    X, D, W = (read_dense(a, name) for a, name in ((X, "X"), (D, "D"), (W, "W")))
    dtype = _common_dtype(X, D, W)
    X, D, W = (a.astype(dtype, copy=False) for a in (X, D, W))
    (d, n), rank = X.shape, D.shape[1]
    if D.shape[0] != d or W.shape != (rank, n):
        raise ValueError(
            f"DW must have the shape of X, {X.shape}; got D of shape {D.shape} "
            f"and W of shape {W.shape}"
        )
    if 2 * rank * (d + n) < d * n:  # operations of the Gram path beyond XWᵀ and DᵀX, against DW
        XWt, DtX, DtD, WWt = X @ W.T, D.T @ X, D.T @ D, W @ W.T
        square = float(np.sum(np.square(X, dtype=np.float64)))
        cross, model = float(np.vdot(D, XWt)), float(np.vdot(DtD, WWt))
        value = 0.5 * (square - 2 * cross + model)
        # of the sum's digits, those that cancel are lost; keep half of them
        if value > np.sqrt(np.finfo(dtype).eps) * (square + model):
            return value, D @ WWt - XWt, DtD @ W - DtX
    return _by_blocks(X, D, W)


def _by_blocks(X: np.ndarray, D: np.ndarray, W: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    value, dD, dW = 0.0, np.empty_like(D), np.zeros_like(W)
    step = max(1, BLOCK // X.shape[1])
    for at in range(0, X.shape[0], step):
        rows = slice(at, at + step)
        R = D[rows] @ W - X[rows]
        value += 0.5 * float(np.sum(np.square(R, dtype=np.float64)))
        dD[rows] = R @ W.T
        dW += D[rows].T @ R
    return value, dD, dW


def _common_dtype(*arrays: Any) -> np.dtype:
    single = all(a.dtype == np.float32 for a in arrays)
    return np.dtype(np.float32 if single else np.float64)
