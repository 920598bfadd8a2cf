"""From lines of results to curves: quality against seconds, and numbers read off them."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

NEAR = 1e-3  # of the best known objective, relative
NEAR_ERROR = 1e-2  # of the least held-out error, relative


def read(results: Path) -> list[dict]:
    """All lines, in the order of the runs."""
    return [
        json.loads(line)
        for path in sorted(results.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def last_runs(lines: list[dict]) -> list[dict]:
    """Of each measurement the lines of its last run; what a later run could do is no failure."""
    lines = [line for line in lines if "case" in line]
    last = {}
    for line in lines:
        case, library = line["case"], line.get("library")
        for key in (identity(line), (case, library), (case, None)):
            last[key] = line["run"]
    return [
        line
        for line in lines
        if line["run"] == last[identity(line)]
        and ("rank" in line or line["run"] == last[line["case"], line.get("library")])
    ]


def identity(line: dict) -> tuple:
    names = "case", "library", "setting", "rank", "threads", "seed"
    return tuple(line.get(name) for name in names)


@dataclass(frozen=True)
class Curve:
    """The ladder of one library, setting, case, rank and seed.

    `gap` is the objective relative to the best known one, minus 1.
    """

    library: str
    setting: str
    iterations: np.ndarray
    seconds: np.ndarray
    gap: np.ndarray
    error: np.ndarray
    memory: float

    @property
    def name(self) -> str:
        return f"{self.library} {self.setting}"

    @property
    def sweep(self) -> float:
        """Seconds an iteration: the slope, free of what a fit costs once.

        Not a number where the seconds hardly grow: closed forms.
        """
        if np.ptp(self.seconds) < 0.1 * self.seconds.max():
            return float("nan")
        return float(np.polyfit(self.iterations, self.seconds, 1)[0])

    def seconds_to_gap(self, gap: float) -> float:
        return crossing(self.seconds, np.log(np.maximum(self.gap, 1e-12)), np.log(gap))

    def seconds_to_error(self, error: float) -> float:
        return crossing(self.seconds, self.error, error)


def crossing(seconds: np.ndarray, heights: np.ndarray, level: float) -> float:
    """When a curve first comes down to a level, straight lines between its points; or infinity."""
    below = np.flatnonzero(heights <= level)
    if not below.size:
        return float("inf")
    k = below[0]
    if k == 0:
        return float(seconds[0])
    share = (heights[k - 1] - level) / (heights[k - 1] - heights[k])
    return float(seconds[k - 1] + share * (seconds[k] - seconds[k - 1]))


@dataclass(frozen=True)
class Group:
    """All curves of a case, rank and number of threads, and the best that any of them reached."""

    case: str
    rank: int
    threads: int
    best: float
    curves: list[Curve]

    @property
    def least_error(self) -> float:
        return min(float(np.min(c.error)) for c in self.curves)

    def by_name(self) -> dict[str, list[Curve]]:
        """The curves of each library and setting, one a seed."""
        found = defaultdict(list)
        for curve in self.curves:
            found[curve.name].append(curve)
        return dict(found)


def groups(lines: list[dict]) -> list[Group]:
    """The curves of all lines; the best known objective is the least of any line, older too."""
    ladders = defaultdict(lambda: defaultdict(list))
    best = defaultdict(lambda: float("inf"))
    for line in lines:
        if line["status"] == "ok" and line["objective"] is not None:
            best[line["case"], line["rank"]] = min(
                best[line["case"], line["rank"]], line["objective"]
            )
    for line in last_runs(lines):
        if line["status"] == "ok":
            key = line["case"], line["rank"], line["threads"]
            ladders[key][line["library"], line["setting"], line["seed"]].append(line)
    return [
        Group(*key, best[key[:2]], [curve(rungs, best[key[:2]]) for rungs in found.values()])
        for key, found in ladders.items()
    ]


def curve(rungs: list[dict], best: float) -> Curve:
    columns = {
        name: np.array([np.nan if rung[name] is None else rung[name] for rung in rungs], float)
        for name in ("iterations", "seconds", "objective", "held_out", "memory")
    }
    return Curve(
        rungs[0]["library"],
        rungs[0]["setting"],
        columns["iterations"],
        columns["seconds"],
        columns["objective"] / best - 1,
        columns["held_out"],
        float(columns["memory"].max()),
    )


def middle(numbers) -> float:
    """The median over seeds; what was never reached is infinite, nothing is not a number."""
    return float(median(list(numbers) or [np.nan]))
