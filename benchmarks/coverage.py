"""How often 90 % intervals hold the truth, over planted problems.

    python -m benchmarks.coverage [--problems 200] [--seconds 30]

Factors are normal of variance 1; the noise of a cell has a standard deviation drawn between a half
and one and a half times the one of the setting, and the mask is its inverse. Every fit starts at
the plant, so that a poor optimum is not taken for a poor interval. The truth of all cells is
looked at, missing ones too, but for those that the cells seen do not determine. A ridge of 1 is
the prior that the factors come from.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri
from threadpoolctl import threadpool_limits

import wlrmf

LEVEL = 0.9


class Setting(NamedTuple):
    """Planted problems of one kind."""

    shape: tuple[int, int]
    rank: int
    share: float
    noise: float
    bias: bool = False
    reg: float = 0.0

    def __str__(self) -> str:
        m, n = self.shape
        extra = ", biases" * self.bias + f", ridge {self.reg:g}" * (self.reg > 0)
        return f"{m} × {n}, rank {self.rank}, {self.share:.0%} seen, noise {self.noise:g}{extra}"


SETTINGS = (
    Setting((30, 25), 2, 1.0, 0.3),
    Setting((30, 25), 2, 0.6, 0.3),
    Setting((30, 25), 2, 0.35, 0.3),
    Setting((30, 25), 2, 0.6, 1.0),
    Setting((30, 25), 2, 0.7, 0.3, bias=True),
    Setting((30, 25), 2, 0.35, 0.3, reg=1.0),
    Setting((30, 25), 2, 0.35, 1.0, reg=1.0),
    Setting((80, 60), 5, 1.0, 0.3),
    Setting((80, 60), 5, 0.4, 0.3),
    Setting((80, 60), 5, 0.2, 0.3),
    Setting((80, 60), 5, 0.2, 0.3, reg=1.0),
    Setting((200, 25), 3, 0.5, 0.3),
)


def planted(
    setting: Setting, seed: int, stop: wlrmf.Stop
) -> tuple[wlrmf.Factorization, np.ndarray]:
    """A model and the truth."""
    rng = np.random.default_rng([seed, *setting.shape])
    W, X = (rng.standard_normal((setting.rank, size)) for size in setting.shape)
    truth = W.T @ X
    if setting.bias:
        truth += rng.standard_normal((setting.shape[0], 1)) + rng.standard_normal(setting.shape[1])
    sigma = setting.noise * rng.uniform(0.5, 1.5, setting.shape)
    Y = truth + sigma * rng.standard_normal(setting.shape)
    mask = np.where(rng.random(setting.shape) < setting.share, 1 / sigma, 0)
    about = {"bias": setting.bias, "reg": setting.reg, "stop": stop, "n_threads": 1}
    return wlrmf.fit(Y, mask, setting.rank, start=(W, X), **about), truth


def measure(setting: Setting, problems: int, stop: wlrmf.Stop) -> str:
    """One line of the table."""
    inside: dict[str, list[float]] = {"known": [], "estimate": [], "conditional": []}
    widths, chi2, lost = [], [], []
    for seed in range(problems):
        model, truth = planted(setting, seed, stop)
        cells = np.indices(truth.shape)
        joint = model.error_bars(noise="known", n_threads=1)
        other = model.error_bars(noise="known", kind="conditional", n_threads=1).std(*cells)
        std = joint.std(*cells)
        known = np.isfinite(std)
        off = np.abs(model.reconstruct() - truth)[known]
        noise = joint.reduced_chi2**0.5
        quantile = replace(joint, noise_is="estimated").quantile(LEVEL)
        for name, half in (
            ("known", ndtri((1 + LEVEL) / 2) * std[known]),
            ("estimate", quantile * noise * std[known]),
            ("conditional", ndtri((1 + LEVEL) / 2) * other[known]),
        ):
            inside[name].append(float(np.mean(off <= half)))
        widths.append(float(np.mean(other[known] / std[known])))
        chi2.append(joint.reduced_chi2)
        lost.append(1 - known.mean())
    shares = " | ".join(f"{100 * np.mean(one):.1f}" for one in inside.values())
    return (
        f"| {setting} | {shares} | {np.mean(widths):.2f} | {np.mean(chi2):.3f} "
        f"| {100 * np.mean(lost):.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of 90 % intervals.")
    parser.add_argument("--problems", type=int, default=200, help="of each setting")
    parser.add_argument("--seconds", type=float, default=30, help="of one fit, at most")
    given = parser.parse_args()
    stop = wlrmf.Stop(gtol=1e-6, max_iter=1000, max_seconds=given.seconds)
    print(
        "| planted | joint | joint, noise estimated | conditional | conditional / joint bars ",
        end="",
    )
    print("| reduced chi² | % undetermined |\n|---|---|---|---|---|---|---|")
    for setting in SETTINGS:
        print(measure(setting, given.problems, stop), flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore", wlrmf.ConvergenceWarning)
    with threadpool_limits(1):
        main()
