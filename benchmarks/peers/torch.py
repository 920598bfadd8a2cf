"""PyTorch: the objective written down, its gradient by autograd, all entries at once.

Adam's rate falls with a cosine to nought at the last step; its height, 0.2, is the best of 0.05,
0.1, 0.2 and 0.4 after 50 steps on `ml1m`, rank 16. An iteration of L-BFGS is one of its steps.
"""

SETTINGS = {"l-bfgs": {"optimizer": "l-bfgs"}, "adam": {"optimizer": "adam"}}
DTYPE = "float32"
RATE = 0.2


def cannot(spec):
    if spec.source in ("ratings_25m", "ratings_100m"):
        return "all entries at once, with what autograd keeps, do not fit"
    return ""


def prepare(case, threads):
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    if case.spec.kind == "dense":
        absent = np.isnan(case.Y)
        weights = np.ones_like(case.Y) if case.weights is None else case.weights
        arrays = [np.where(absent, 0, case.Y), np.where(absent, 0, weights)]
    else:
        entries = case.Y.tocoo()
        arrays = [entries.row.astype(np.int64), entries.col.astype(np.int64), entries.data]
        if case.weights is not None:
            arrays.append(case.weights)
    ridges = [ridge.astype(case.Y.dtype)[:, None] for ridge in case.ridges()]
    return [torch.from_numpy(array) for array in (*arrays, *ridges)]


def objective(kind, data, W, X):
    *cells, W_ridge, X_ridge = data
    ridge = (W_ridge * W**2).sum() + (X_ridge * X**2).sum()
    if kind == "dense":
        Y, weights = cells
        return (weights * (Y - W @ X.T) ** 2).sum() + ridge
    i, j, y = cells[:3]
    predicted = (W[i] * X[j]).sum(1)
    if kind == "explicit":
        return ((y - predicted) ** 2).sum() + ridge
    stored = (cells[3] * (y - predicted) ** 2 - predicted**2).sum()
    return ((W.T @ W) * (X.T @ X)).sum() + stored + ridge


def fit(data, case, rank, iterations, threads, seed, optimizer):
    import torch

    generator = torch.Generator().manual_seed(seed)
    dtype = data[-1].dtype
    factors = [
        (0.1 * torch.randn(size, rank, generator=generator, dtype=dtype)).requires_grad_()
        for size in case.Y.shape
    ]

    def closure():
        method.zero_grad()
        value = objective(case.spec.kind, data, *factors)
        value.backward()
        return value

    if optimizer == "adam":
        method = torch.optim.Adam(factors, lr=RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(method, iterations)
        for _ in range(iterations):
            method.step(closure)
            schedule.step()
    else:
        method = torch.optim.LBFGS(
            factors,
            max_iter=iterations,
            max_eval=4 * iterations,
            tolerance_grad=0,
            tolerance_change=0,
            line_search_fn="strong_wolfe",
        )
        method.step(closure)
    return [factor.detach().numpy() for factor in factors]
