"""Where a fit over blocks begins: the spectral start of `wlrmf.start`, without its users."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..leading import OVERSAMPLING, ROUNDS, basis
from ..quartic import least_step
from ..start import LEAST
from ..validation.options import read_factor
from . import half
from .half import Items
from .objective import ItemsObjective, exchanged


def spectral(objective: ItemsObjective, generator: np.random.Generator) -> np.ndarray:
    """Leading right singular vectors of the weighted Y − given, scaled by the exact step from zero.

    As `wlrmf.leading.leading`, with nothing of the users' side but the product of the residuals'
    transpose with the residuals.
    """
    blocks, layout, dtype = objective.blocks, objective.layout, objective.dtype
    n, rank = blocks.shape[1], layout.rank
    X = objective.terms.bare("cols", n)
    if rank == 0:
        return X
    if rank > min(blocks.shape):
        return random(objective, generator)
    V = generator.standard_normal((n, min(rank + OVERSAMPLING, *blocks.shape))).astype(dtype)
    for _ in range(ROUNDS - 1):
        Z = squared(objective, X, V)
        V, _ = basis(Z / (np.abs(Z).max() or 1))
    Z = squared(objective, X, V)
    wide = V.astype(np.float64).T @ Z  # (R V)'(R V) with R the residuals
    lam, Q = np.linalg.eigh((wide + wide.T) / 2)
    kept = lam > 1e-10 * max(lam[-1], 0)
    root = Q[:, kept] / np.sqrt(lam[kept])
    V, upper = basis((Z @ root).astype(dtype))  # R' times an orthonormal basis of R V
    inner, s, _ = np.linalg.svd(upper)
    right, s = (V @ inner)[:, :rank].astype(dtype), s[:rank]
    missing = rank - right.shape[1]
    if missing > 0:
        return random(objective, generator)
    s = np.maximum(s, LEAST * s[0])
    dX = np.zeros_like(X)
    dX[:, layout.shared] = right * np.sqrt(s).astype(dtype)
    share = (s**-0.5).astype(dtype)
    t = least_step(_line(objective, X, dX, right, share)) or 1.0
    X += dtype.type(t) * dX
    X[blocks.col_counts == 0, layout.free_X] = 0
    return X


def random(objective: ItemsObjective, generator: np.random.Generator) -> np.ndarray:
    """Normal items: the users that fit them best are found anyway."""
    layout, n = objective.layout, objective.blocks.shape[1]
    X = objective.terms.bare("cols", n)
    X[:, layout.shared] = generator.standard_normal((n, layout.rank)) / max(1, layout.rank) ** 0.5
    X[objective.blocks.col_counts == 0, layout.free_X] = 0
    return X


def squared(objective: ItemsObjective, X: np.ndarray, V: np.ndarray) -> np.ndarray:
    """R'R V, with R = A∘A∘(Y − given)."""
    engine, blocks, terms = objective.engine, objective.blocks, objective.terms

    def ask() -> list[np.ndarray]:
        engine.begin()
        bare, right = engine.share(Items(X, objective.v, None)), engine.share(V)
        products = [engine.submit(half.times, p, terms, bare, right) for p in blocks.rows]
        shared = None
        if objective.v is not None:
            shared = np.sum(engine.gather([engine.take(each, 1) for each in products]), axis=0)
        rows = exchanged(engine, blocks, products)
        asked = [
            engine.submit(half.transposed_times, part, terms, bare, shared, given)
            for part, given in zip(blocks.cols, rows, strict=True)
        ]
        return engine.gather(asked)

    return np.concatenate(objective.persistently(ask))


def _line(
    objective: ItemsObjective,
    X: np.ndarray,
    dX: np.ndarray,
    right: np.ndarray,
    share: np.ndarray,
) -> np.ndarray:
    engine, v = objective.engine, objective.v

    def ask() -> list[np.ndarray]:
        gram = None if v is None else half.gram_of(np.hstack([X, dX]), v)
        engine.begin()
        handles = [engine.share(each) for each in (Items(X, v, None), Items(dX, None, gram), right)]
        return engine.gather(
            [
                engine.submit(half.start_line, part, objective.terms, *handles, share)
                for part in objective.blocks.rows
            ]
        )

    return np.sum(objective.persistently(ask), axis=0) + objective.ridge_line(X, dX)


def given(objective: ItemsObjective, start: Any) -> np.ndarray:
    """The caller's items, (rank, n), in whole factors."""
    layout, dtype, n = objective.layout, objective.dtype, objective.blocks.shape[1]
    X = objective.terms.bare("cols", n)
    X[:, layout.shared] = read_factor(start, "start", layout.rank, n, dtype)
    if layout.rank and not X[:, layout.shared].any():
        raise ValueError("`start` is zero: F is stationary there, and no solver can leave it")
    return X
