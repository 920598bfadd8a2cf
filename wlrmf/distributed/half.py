"""Half-sweeps: pure functions over one block, which any engine may run wherever the block is.

Rows are users here and columns items; a fit eliminates the users: for given items X each block of
rows finds its own best W, so that nothing of W has to outlive a sweep. F is then a function of X
alone, whose gradient is ∂F/∂X at the best W (Golub & Pereyra 1973, doi:10.1137/0710036).

Every function returns plain arrays; sums over blocks are left to the caller, who adds them in the
blocks' order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import Any, NamedTuple

import numpy as np

from ..kernels.chunks import one_blas_thread
from ..objective import Layout, best_rows
from ..problem import Baseline, Observed
from ..validation.options import spread_reg
from .store import Cells, Part


@dataclass(frozen=True)
class Terms:
    """What a fit minimises, but for the data."""

    layout: Layout
    reg: tuple[float, float]
    reg_scaling: str
    mean: float | None  # None: no biases
    baseline: float | None  # u of the weight u v'; v goes with the items
    dtype: str
    n_threads: int

    def ridge(self, part: Part, cells: Cells) -> np.ndarray:
        """Of each row of the block."""
        reg = self.reg[part.side == "cols"]
        return spread_reg(reg, self.reg_scaling, np.diff(cells.indptr), np.dtype(part.dtype))

    def free(self, part: Part) -> slice:
        """Columns of the factor that the block's rows are of."""
        return self.layout.free_W if part.side == "rows" else self.layout.free_X

    def bare(self, side: str, rows: int) -> np.ndarray:
        """Whole factors of so many rows of a side, with given values and zeros elsewhere."""
        layout = self.layout
        out = np.zeros((rows, layout.columns), self.dtype)
        if self.mean is not None:
            given = slice(layout.free_W.stop, layout.free_X.stop)
            out[:, given if side == "rows" else slice(layout.pinned_X)] = 1
            out[:, -1] = 1 if side == "rows" else self.mean
        return out


class Items(NamedTuple):
    """What of the items every block of rows needs: sent once a half-sweep."""

    X: np.ndarray  # (n, columns), whole factors or a direction
    v: np.ndarray | None  # (n,), weights of the baseline
    gram: np.ndarray | None  # Σ_j v_j x_j x_j', in float64; for a line, of both (X, dX)

    @classmethod
    def of(cls, X: np.ndarray, v: np.ndarray | None) -> Items:
        """With their Gram matrix, if there is a baseline."""
        return cls(X, v, None if v is None else gram_of(X, v))


class Users(NamedTuple):
    """What the best rows of a block come to."""

    loss: float
    ridge: float
    gram: np.ndarray | None  # Σ_i u_i w_i w_i'
    deficient: int


def _alone(task: Any) -> Any:
    """Each task has its own threads, if any: BLAS has one."""

    @wraps(task)
    def alone(*arguments: Any) -> Any:
        with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
            return task(*arguments)

    return alone


@_alone
def solve(part: Part, terms: Terms, items: Items) -> tuple[np.ndarray, Users]:
    """The best rows of W for these items, and what they come to."""
    cells = part.open()
    problem, X = _problem(part, terms, cells, items.v), items.X[cells.columns]
    W, deficient = _best(part, terms, cells, problem, terms.bare("rows", part.rows), X, items.gram)
    loss = Observed.loss(problem, W, X)
    gram = None
    if items.gram is not None:
        gram = gram_of(W, problem.u)
        loss += float(np.sum(gram * items.gram))
    w = W[:, terms.free(part)]
    return W, Users(loss, _ridge(terms.ridge(part, cells), w, w), gram, deficient)


@_alone
def improve(
    part: Part, terms: Terms, items: Items, gram: np.ndarray | None, users: Any
) -> tuple[np.ndarray, np.ndarray, int]:
    """The best rows of X for these users, and the gradient of F at the rows as they are."""
    cells = part.open()
    X, W = items.X[part.lo : part.hi], _gathered(part, cells, users)
    problem = _problem(part, terms, cells, items.v)
    best, deficient = _best(part, terms, cells, problem, X, W, gram)
    gradient = Observed.row_grad(problem, X, W)
    if gram is not None:
        gradient += 2 * problem.u[:, None] * (X @ gram.astype(X.dtype))
    free = terms.free(part)
    gradient[:, : free.start] = 0
    gradient[:, free.stop :] = 0
    gradient[:, free] += 2 * terms.ridge(part, cells)[:, None] * X[:, free]
    return best, gradient, deficient


@_alone
def line(
    part: Part, terms: Terms, here: Items, ahead: Items, solved: tuple[np.ndarray, Users]
) -> np.ndarray:
    """The block's share of F(W + t dW, X + t dX) as a quartic in t.

    W is best for X = `here.X`, and W + dW for X + dX, with dX = `ahead.X`; `ahead.gram` is that of
    (X, dX), side by side.
    """
    cells = part.open()
    problem = _problem(part, terms, cells, here.v)
    X, dX = here.X[cells.columns], ahead.X[cells.columns]
    there = None if ahead.gram is None else _summed_gram(ahead.gram)
    W = solved[0]
    end, _ = _best(part, terms, cells, problem, W, X + dX, there)
    return _quartic(part, terms, cells, problem, (W, end - W), (X, dX), ahead.gram)


@_alone
def start_line(
    part: Part, terms: Terms, bare: Items, ahead: Items, right: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """As `line`, from factors with nothing but given values in the direction of a start.

    There dX has the columns of `right` times their share, and dW those of the residuals times
    `right`: the singular vectors of the residuals, by singular values.
    """
    cells = part.open()
    problem = _problem(part, terms, cells, bare.v)
    W, X, dX = terms.bare("rows", part.rows), bare.X[cells.columns], ahead.X[cells.columns]
    dW = np.zeros_like(W)
    dW[:, terms.layout.shared] = _residuals_times(terms, cells, problem, W, bare, right) * share
    return _quartic(part, terms, cells, problem, (W, dW), (X, dX), ahead.gram)


@_alone
def times(
    part: Part, terms: Terms, bare: Items, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """The block of A∘A∘(Y − given) times `right`, and its share of (given W)' diag(u) of that."""
    cells = part.open()
    problem, W = _problem(part, terms, cells, bare.v), terms.bare("rows", part.rows)
    out = _residuals_times(terms, cells, problem, W, bare, right)
    return out, None if bare.v is None else W.T @ (problem.u[:, None] * out)


@_alone
def transposed_times(
    part: Part, terms: Terms, bare: Items, shared: np.ndarray | None, products: Any
) -> np.ndarray:
    """The transpose of A∘A∘(Y − given) times what `times` gave for all blocks of rows."""
    cells = part.open()
    problem, left = _problem(part, terms, cells, bare.v), _gathered(part, cells, products)
    given, X = terms.bare("rows", part.columns), bare.X[part.lo : part.hi]
    out = np.array(Observed._residual_side(problem, X, given).times(left))
    if shared is not None:
        out -= problem.u[:, None] * (X @ shared)
    return out


def route(part: Part, solved: tuple[np.ndarray, Any], number: int) -> np.ndarray:
    """The rows of a block of rows that block `number` of columns needs."""
    cells = part.open()
    lo, hi = cells.route_ends[number : number + 2]
    return solved[0][cells.routes[lo:hi]]


def gram_of(factor: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Σ_i weight_i f_i f_i', in float64."""
    wide = factor.astype(np.float64)
    return np.asarray((wide * weight[:, None]).T @ wide)


def _gathered(part: Part, cells: Cells, given: Any) -> np.ndarray:
    """The rows of the other side that the block has cells in.

    They are given by blocks: routed here, each an array, or as answers with all rows first.
    """
    if isinstance(given[0], np.ndarray):
        return np.concatenate(given)
    return np.concatenate([rows for rows, _ in given])[cells.columns]


def _summed_gram(both: np.ndarray) -> np.ndarray:
    """The Gram matrix of X + dX from that of (X, dX)."""
    k = len(both) // 2
    return both[:k, :k] + both[:k, k:] + both[k:, :k] + both[k:, k:]


def _problem(part: Part, terms: Terms, cells: Cells, v: np.ndarray | None) -> Observed:
    """The block as a problem of its own, whose columns are those it has cells in."""
    none = np.empty(0, cells.y.dtype)
    shape, arrays = (part.rows, part.columns), (cells.indptr, cells.indices, cells.y, cells.c)
    if v is None:
        return Observed(shape, *arrays, none, none, terms.n_threads)
    base = v.dtype.type(terms.baseline)
    if part.side == "rows":
        u, v = np.full(part.rows, base), v[cells.columns]
    else:
        u, v = v[part.lo : part.hi], np.full(part.columns, base)
    return Baseline(shape, *arrays, u, v, terms.n_threads)


def _best(
    part: Part,
    terms: Terms,
    cells: Cells,
    problem: Observed,
    W: np.ndarray,
    X: np.ndarray,
    gram: np.ndarray | None,
) -> tuple[np.ndarray, int]:
    """W with its free columns at their exact minimiser, and how many rows were deficient."""
    if part.rows == 0:
        return W, 0
    return best_rows(problem, W, X, terms.ridge(part, cells), terms.free(part), gram)


def _quartic(
    part: Part,
    terms: Terms,
    cells: Cells,
    problem: Observed,
    left: tuple[np.ndarray, np.ndarray],
    right: tuple[np.ndarray, np.ndarray],
    gram: np.ndarray | None,
) -> np.ndarray:
    (W, dW), (X, dX) = left, right
    q = Observed.line(problem, W, X, dW, dX)
    if gram is not None:
        q = q + Baseline.line_of_grams(gram_of(np.hstack(left), problem.u), gram)
    reg, free = terms.ridge(part, cells), terms.free(part)
    w, d = W[:, free], dW[:, free]
    return q + np.array([_ridge(reg, w, w), 2 * _ridge(reg, w, d), _ridge(reg, d, d), 0, 0])


def _residuals_times(
    terms: Terms, cells: Cells, problem: Observed, W: np.ndarray, bare: Items, right: np.ndarray
) -> np.ndarray:
    """A∘A∘(Y − given) times `right`, of the rows of the block, whose given W this is."""
    stored = Observed._residual_side(problem, W, bare.X[cells.columns])
    out = np.array(stored.times(right[cells.columns]))
    if bare.v is not None:
        out -= problem.u[:, None] * (W @ (bare.X.T @ (bare.v[:, None] * right)))
    return out


def _ridge(reg: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    return float(np.dot(reg.astype(np.float64), np.einsum("ik,ik->i", a, b, dtype=np.float64)))
