"""Slow, obvious twins of the kernels: dense float64, one formula a line.

Everything is written for a dense target T and dense weights C (C = A∘A, 0 where missing), which
every weight structure can be turned into: see `dense_twin`.
"""

from fractions import Fraction

import numpy as np


def dense_twin(problem):
    """Target and weights of all cells, by their definition."""
    m, n = problem.shape
    if not hasattr(problem, "indptr"):
        C = problem.A2 if problem.A2.size else np.ones((m, n))
        return np.array(problem.Y, np.float64), np.array(C, np.float64)
    u = problem.u if problem.u.size else np.zeros(m)
    v = problem.v if problem.v.size else np.zeros(n)
    T, C = np.zeros((m, n)), np.outer(u.astype(float), v.astype(float))
    for i in range(m):
        for e in range(problem.indptr[i], problem.indptr[i + 1]):
            T[i, problem.indices[e]] = problem.y[e]
            C[i, problem.indices[e]] = problem.c[e] if problem.c.size else 1
    return T, C


def loss(T, C, W, X):
    return float(np.sum(C * (T - W @ X.T) ** 2))


def residual(T, C, W, X):
    return C * (T - W @ X.T)


def gradient(T, C, W, X):
    R = residual(T, C, W, X)
    return -2 * R @ X, -2 * R.T @ W


def ranking_scores(recommended, gains, k):
    """Ranking metrics of one user: a list of items, best first, and a dict of gain by item."""
    hits = [item in gains for item in recommended[:k]]
    dcg = sum(gains.get(item, 0) / np.log2(p + 2) for p, item in enumerate(recommended[:k]))
    best = sorted(gains.values(), reverse=True)[:k]
    ideal = sum(gain / np.log2(p + 2) for p, gain in enumerate(best))
    precisions = [sum(hits[: p + 1]) / (p + 1) for p in range(len(hits)) if hits[p]]
    return {
        "precision": sum(hits) / k,
        "recall": sum(hits) / len(gains),
        "map": sum(precisions) / min(k, len(gains)),
        "ndcg": dcg / ideal,
        "hit": float(any(hits)),
        "mrr": 1 / (hits.index(True) + 1) if any(hits) else 0.0,
    }


def line(T, C, W, X, dW, dX):
    """Coefficients of a quartic, from its values at five points."""
    t = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    values = [loss(T, C, W + s * dW, X + s * dX) for s in t]
    return np.linalg.solve(np.vander(t, 5, increasing=True), values)


def gauss_newton(C, W, X, dW, dX):
    B = C * (dW @ X.T + W @ dX.T)
    return B @ X, B.T @ W


def best_rows(T, C, X, reg, fixed=None):
    """Row by row, the minimum-norm least-squares solution of [a∘X; √reg I] w = [a∘t; 0]."""
    target = T if fixed is None else T - fixed.W.astype(float) @ fixed.X.T
    rank = X.shape[1]
    rows = []
    for i in range(len(T)):
        a = np.sqrt(C[i])
        B = np.vstack([a[:, None] * X, np.sqrt(float(reg[i])) * np.eye(rank)])
        t = np.concatenate([a * target[i], np.zeros(rank)])
        rows.append(np.linalg.lstsq(B, t, rcond=None)[0])
    return np.array(rows)


def exact_row(c, y, X, reg):
    """The minimiser of sum c (y - X w)^2 + reg |w|^2 in rational numbers, without any rounding."""
    k, c, y = X.shape[1], [Fraction(float(v)) for v in c], [Fraction(float(v)) for v in y]
    x = [[Fraction(float(v)) for v in row] for row in X]
    rows = [
        [sum(w * r[a] * r[b] for w, r in zip(c, x, strict=True)) for b in range(k)]
        + [sum(w * r[a] * t for w, r, t in zip(c, x, y, strict=True))]
        for a in range(k)
    ]
    for a in range(k):
        rows[a][a] += Fraction(float(reg))
    for p in range(k):
        best = max(range(p, k), key=lambda r: abs(rows[r][p]))
        rows[p], rows[best] = rows[best], rows[p]
        for r in set(range(k)) - {p}:
            f = rows[r][p] / rows[p][p]
            rows[r] = [a - f * b for a, b in zip(rows[r], rows[p], strict=True)]
    return np.array([float(rows[p][k] / rows[p][p]) for p in range(k)])


def near_rows(C, average, extra, X, reg, gradient, most, enough):
    """Row by row, preconditioned conjugate gradients from 0 for (X' C_i X + reg_i I) d = -g_i / 2.

    The preconditioner is (row i's weight / all of it) X' diag(average) X + reg_i I; `extra` is the
    weight that the average ones do not count.
    """
    out, G = [], (X * average[:, None]).T @ X
    for i, g in enumerate(gradient):
        A = (X * C[i][:, None]).T @ X + reg[i] * np.eye(X.shape[1])
        M = (extra[i] + max(0, C[i].sum() - extra[i] * average.sum()) / average.sum()) * G
        M = M + reg[i] * np.eye(X.shape[1])
        r, d = -g / 2, np.zeros(len(g))
        z = p = np.linalg.solve(M, r)
        first = r @ z
        for _ in range(most):
            if not r @ z > enough * first:
                break
            step, before = (r @ z) / (p @ A @ p), r @ z
            d, r = d + step * p, r - step * (A @ p)
            z = np.linalg.solve(M, r)
            p = z + (r @ z) / before * p
        out.append(d)
    return np.array(out)


def reduced_hessian(C, W, X, reg_W, reg_X):
    """Half of the Gauss-Newton matrix in W once X is eliminated: the joint one's Schur complement.

    The joint Jacobian of the weighted predictions is built a cell at a time.
    """
    (m, k), n = W.shape, len(X)
    J = np.zeros((m * n, (m + n) * k))
    for i in range(m):
        for j in range(n):
            J[i * n + j, i * k : (i + 1) * k] = np.sqrt(C[i, j]) * X[j]
            J[i * n + j, (m + j) * k : (m + j + 1) * k] = np.sqrt(C[i, j]) * W[i]
    H = J.T @ J + np.diag(np.repeat(np.concatenate([reg_W, reg_X]), k))
    a, b, c = H[: m * k, : m * k], H[: m * k, m * k :], H[m * k :, m * k :]
    return a - b @ np.linalg.pinv(c, rcond=1e-12) @ b.T


def jacobian(layout, left, right):
    """Derivatives of all predictions in the free columns of W and of X, cell by cell."""
    (m, _), n = left.shape, len(right)
    free_W, free_X = (np.arange(left.shape[1])[f] for f in (layout.free_W, layout.free_X))
    J = np.zeros((m * n, m * len(free_W) + n * len(free_X)))
    for i in range(m):
        for j in range(n):
            J[i * n + j, i * len(free_W) + np.arange(len(free_W))] = right[j, free_W]
            at = m * len(free_W) + j * len(free_X)
            J[i * n + j, at + np.arange(len(free_X))] = left[i, free_X]
    return J


def gauge(layout, left, right):
    """An orthonormal basis of the null space of the Jacobian of all cells."""
    J = jacobian(layout, left, right)
    s, Vt = np.linalg.svd(J)[1:]
    return Vt[np.sum(s > 1e-10 * s[0]) :].T


def covariance(C, layout, left, right, reg_W, reg_X):
    """J of all cells, H = J'CJ + ridges and its pseudo-inverse."""
    J = jacobian(layout, left, right)
    counts = [f.stop - f.start for f in (layout.free_W, layout.free_X)]
    ridge = np.concatenate([np.repeat(r, k) for r, k in zip((reg_W, reg_X), counts, strict=True)])
    H = J.T @ (C.reshape(-1, 1) * J) + np.diag(ridge)
    return J, H, np.linalg.pinv(H, rcond=1e-11, hermitian=True)


def objective(T, C, W, X, reg_W, reg_X):
    """F without pinned columns."""
    ridge = np.sum(reg_W[:, None] * W**2) + np.sum(reg_X[:, None] * X**2)
    return loss(T, C, W, X) + float(ridge)


def convex_value(T, C, r, c, P=None, Q=None, iterations=20000, tol=1e-13):
    """Least value over N, a, b of the convex problem behind factors of any rank.

    ‖√C∘(T − N − aP' − Qb')‖² + 2‖diag(r)^½ N diag(c)^½‖_* + Σ r_i |a_i|² + Σ c_j |b_j|², by
    accelerated proximal gradients with restarts, in variables scaled by the roots of the ridges.
    """
    m, n = T.shape
    P, Q = np.zeros((n, 0)) if P is None else P, np.zeros((m, 0)) if Q is None else Q
    p, q = 1 / np.sqrt(r)[:, None], 1 / np.sqrt(c)[None, :]

    def value(N, a, b):
        return np.sum(C * error(N, a, b) ** 2) + 2 * np.linalg.norm(N, "nuc") + ridge(a, b)

    def error(N, a, b):
        return T - p * N * q - (p * a) @ P.T - Q @ (q.T * b).T

    def ridge(a, b):
        return np.sum(a**2) + np.sum(b**2)

    size = 1 / (r.min() * c.min())
    size += np.linalg.norm(P, 2) ** 2 / r.min() if P.size else 0
    size += np.linalg.norm(Q, 2) ** 2 / c.min() if Q.size else 0
    step = 0.5 / (1 + C.max() * size)
    x = [np.zeros((m, n)), np.zeros((m, P.shape[1])), np.zeros((n, Q.shape[1]))]
    y, t, before = [part.copy() for part in x], 1.0, np.inf
    for k in range(iterations):
        R = C * error(*y)
        grads = -2 * p * R * q, -2 * (p * R) @ P + 2 * y[1], -2 * (q.T * R.T) @ Q + 2 * y[2]
        new = [part - step * grad for part, grad in zip(y, grads, strict=True)]
        U, s, Vt = np.linalg.svd(new[0], full_matrices=False)
        new[0] = (U * np.maximum(s - 2 * step, 0)) @ Vt
        uphill = sum(np.sum((a - b) * (b - o)) for a, b, o in zip(y, new, x, strict=True)) > 0
        t_new = 1.0 if uphill else (1 + np.sqrt(1 + 4 * t * t)) / 2
        carry = 0.0 if uphill else (t - 1) / t_new
        y = [b + carry * (b - o) for b, o in zip(new, x, strict=True)]
        x, t = new, t_new
        if k % 50 == 49:
            now = value(*x)
            if abs(before - now) <= tol * abs(now):
                break
            before = now
    return float(value(*x))
