"""What a pair of factors is worth: the common objective and the error on held-out cells.

Both are computed here, in float64 and in parts, whatever a library says of itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from .cases import Case

PART = 1 << 14  # entries or cells a step: few, so that the peak of memory is the library's
MOST_RANKED = 1000  # held-out cells whose place among all columns is looked up


def objective(case: Case, W: np.ndarray, X: np.ndarray) -> float:
    """Σ c (y - w·x)² and the ridge; an implicit case adds the absent cells: target 0, weight 1."""
    W, X = W.astype(np.float64), X.astype(np.float64)
    loss = dense_loss(case, W, X) if case.spec.kind == "dense" else sparse_loss(case, W, X)
    sizes = (np.einsum("ik,ik->i", F, F) for F in (W, X))
    return float(loss + sum(reg @ size for reg, size in zip(case.ridges(), sizes, strict=True)))


def sparse_loss(case: Case, W: np.ndarray, X: np.ndarray) -> float:
    implicit = case.spec.kind == "implicit"
    # All cells as if absent, from the two Gram matrices; stored ones are put right below.
    loss = np.sum((W.T @ W) * (X.T @ X)) if implicit else 0.0
    for part, i, j in entries(case.Y):
        predicted = np.einsum("ek,ek->e", W[i], X[j])
        squares = (case.Y.data[part] - predicted) ** 2
        if implicit:
            squares = case.weights[part] * squares - predicted**2
        loss += squares.sum(dtype=np.float64)
    return loss


def entries(Y: sp.csr_matrix) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """The stored entries, some at a time, with their rows and columns."""
    for begin in range(0, Y.nnz, PART):
        part = slice(begin, min(begin + PART, Y.nnz))
        rows = np.searchsorted(Y.indptr, np.arange(part.start, part.stop), side="right") - 1
        yield part, rows, Y.indices[part]


def dense_loss(case: Case, W: np.ndarray, X: np.ndarray) -> float:
    loss = 0.0
    step = max(PART // len(X), 1)
    for begin in range(0, len(W), step):
        part = slice(begin, begin + step)
        squares = (case.Y[part] - W[part] @ X.T) ** 2
        if case.weights is not None:
            squares *= case.weights[part]
        loss += np.nansum(squares)
    return loss


def held_out_error(case: Case, W: np.ndarray, X: np.ndarray) -> float | None:
    """Root of the mean weighted squared error: 1 at best where weights are 1/σ².

    Of implicit cases it is the mean percentile rank: the share of columns that the model puts
    before a held-out cell.
    """
    i, j, y, weights = case.held_out
    if not i.size:
        return None
    W, X = W.astype(np.float64), X.astype(np.float64)
    if case.spec.kind == "implicit":
        some = np.random.default_rng(0).permutation(i.size)[:MOST_RANKED]
        return float(np.mean([percentile(W[i[e]] @ X.T, j[e]) for e in some]))
    predicted = np.concatenate(
        [
            np.einsum("ek,ek->e", W[i[b : b + PART]], X[j[b : b + PART]])
            for b in range(0, i.size, PART)
        ]
    )
    return float(np.sqrt(np.mean(weights * (y - predicted) ** 2)))


def percentile(scores: np.ndarray, j: int) -> float:
    return float(np.mean(scores > scores[j]))
