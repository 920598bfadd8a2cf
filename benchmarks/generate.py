"""The made-up data: ratings with power-law activity, and dense matrices with weights.

Both plant factors of a rank, the k-th of them shrinking like k^-0.75, and add noise. Everything
follows from the shape, the number of ratings and the seed.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

PLANTED_RANK = 24
EXPONENT = 0.7  # the k-th most active user or item has k^-0.7 of the draws
PART = 1 << 20  # entries a step: what is computed at once stays small


def planted_factors(
    generator: np.random.Generator, shape: tuple[int, int], deviation: float
) -> tuple[np.ndarray, np.ndarray]:
    """Factors (m, 24) and (n, 24) whose product has cells of this standard deviation."""
    scale = np.arange(1.0, PLANTED_RANK + 1) ** -0.75
    scale *= np.sqrt(deviation / np.linalg.norm(scale**2))
    W, X = (
        (generator.standard_normal((size, PLANTED_RANK)) * scale).astype(np.float32)
        for size in shape
    )
    return W, X


def active_pairs(
    generator: np.random.Generator, shape: tuple[int, int], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct pairs (i, j), sorted, users and items drawn with power-law frequencies.

    The density k^-0.7 on [1, size + 1] has an inverse in closed form. Repeated pairs are dropped,
    so the most active users and items saturate, as they do in life. Ids do not follow activity.
    """
    names = [generator.permutation(size) for size in shape]
    pairs = np.empty(0, np.int64)
    while pairs.size < count:
        draws = count - pairs.size // 2
        rows, columns = (
            name[power_law(generator, size, draws)] for name, size in zip(names, shape, strict=True)
        )
        pairs = np.concatenate([pairs, rows * shape[1] + columns])
        pairs.sort()  # np.unique would go through a hash table, ten times slower
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    surplus = generator.choice(pairs.size, pairs.size - count, replace=False)
    pairs = np.delete(pairs, surplus)
    return pairs // shape[1], pairs % shape[1]


def power_law(generator: np.random.Generator, size: int, draws: int) -> np.ndarray:
    """Indices 0..size-1, index k with probability about proportional to (k + 1)^-0.7."""
    power = 1 - EXPONENT
    points = generator.random(draws) * ((size + 1) ** power - 1) + 1
    return np.minimum((points ** (1 / power)).astype(np.int64) - 1, size - 1)


def ratings(shape: tuple[int, int], count: int, seed: int = 0) -> sp.csr_matrix:
    """`count` ratings around 3.5: levels of users and items, 24 planted factors, noise.

    The deviations are 0.35 for either level, 0.6 for the factors and 0.8 for the noise: the scale
    of five stars, and no model can have a held-out error below 0.8.
    """
    generator = np.random.default_rng(seed)
    rows, columns = active_pairs(generator, shape, count)
    W, X = planted_factors(generator, shape, 0.6)
    row_level, column_level = (0.35 * generator.standard_normal(size) for size in shape)
    values = np.empty(count, np.float32)
    for begin in range(0, count, PART):
        part = slice(begin, begin + PART)
        i, j = rows[part], columns[part]
        signal = np.einsum("ek,ek->e", W[i], X[j]) + row_level[i] + column_level[j]
        values[part] = 3.5 + signal + 0.8 * generator.standard_normal(i.size)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
    return sp.csr_matrix((values, columns.astype(np.int32), indptr), shape=shape)


def measurements(
    shape: tuple[int, int], missing: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A matrix (NaN = missing) of 24 planted factors, and the weights 1/σ² of its cells.

    Signal and noise have deviation 1 on the average; each cell's σ is log-normal, so that weights
    span about four orders of magnitude.
    """
    generator = np.random.default_rng(seed)
    W, X = planted_factors(generator, shape, 1.0)
    sigma = np.exp(0.7 * generator.standard_normal(shape, np.float32))
    Y = W @ X.T + sigma * generator.standard_normal(shape, np.float32)
    absent = generator.random(shape, np.float32) < missing
    Y[absent] = np.nan
    return Y, np.where(absent, 0, sigma**-2.0).astype(np.float32)
