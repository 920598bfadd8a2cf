"""The report: tables in README.md and a picture a case, from the lines of results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from . import pictures
from .cases import SPECS
from .curves import NEAR, NEAR_ERROR, Curve, Group, groups, last_runs, middle, read

MOST_DRAWN = 3  # ranks side by side in a picture

TEXT = """# Time to quality

Made by `python -m benchmarks` from the `*.jsonl` beside it. What was measured and how, what each
library's settings are and how data and ridges were chosen: `benchmarks/README.md`.

- **sweep**: seconds an iteration, the slope over fits of different lengths.
- **to {near:g}**: seconds until the objective is within {near:.1%} of the best known, which is the
  least that any library reached for the case and rank; **gap** is the least that this one reached.
- **to error**: seconds until the held-out error is within {error:.0%} of the least of any library;
  **error** is its own least. Of implicit cases the error is the mean percentile rank.
- **memory**: peak of the process over all its fits, its data included.

A dash: not reached in the time given. Medians over seeds where there are several.
"""


def write(results: Path) -> Path:
    """Write the report of a directory of results; its path."""
    lines = read(results)
    found = sorted(groups(lines), key=lambda g: (list(SPECS).index(g.case), g.rank, g.threads))
    parts = [TEXT.format(near=NEAR, error=NEAR_ERROR), *machines(lines), *versions(lines)]
    parts += summary(found)
    for case in dict.fromkeys(group.case for group in found):
        own = [group for group in found if group.case == case]
        shown = own if len(own) <= MOST_DRAWN else [own[0], own[len(own) // 2], own[-1]]
        picture = pictures.draw(case, shown, results)
        parts += [f"## {case}", describe(case), f"![{case}]({picture.name})"]
        for group in own:
            parts += [f"### {case}, rank {group.rank}, {threads(group)}", numbers(group)]
    parts += failures(lines)
    path = results / "README.md"
    path.write_text("\n\n".join(part.strip() for part in parts) + "\n")
    return path


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def threads(group: Group) -> str:
    return f"{group.threads} thread" + ("s" if group.threads > 1 else "")


def describe(case: str) -> str:
    spec = SPECS[case]
    ridge = f"ridge {spec.reg:g}" + (" times each row's and column's count" if spec.scaled else "")
    return f"{spec.kind.capitalize()}; {ridge}."


def machines(lines: list[dict]) -> list[str]:
    used = {line["run"] for line in last_runs(lines)}
    rows = [
        [
            line["run"],
            line["cpu"],
            line["threads"],
            *(f"{line[name]:.0f}" for name in ("sgemm", "dgemm", "copy")),
        ]
        for line in lines
        if line["status"] == "machine" and line["run"] in used
    ]
    head = "run", "processor", "threads", "sgemm GFLOP/s", "dgemm GFLOP/s", "copy GB/s"
    return ["## Machine", table(head, rows)]


def versions(lines: list[dict]) -> list[str]:
    used = {
        (line["library"], line["version"]) for line in last_runs(lines) if line["status"] == "ok"
    }
    return ["Versions: " + ", ".join(" ".join(pair) for pair in sorted(used)) + "."]


def summary(found: list[Group]) -> list[str]:
    """Two tables for each kind of case."""
    return [
        "## Seconds a sweep",
        overview(found, lambda curve: curve.sweep),
        f"## Seconds to within {NEAR:g} of the best known objective",
        overview(found, lambda curve: curve.seconds_to_gap(NEAR)),
    ]


def overview(found: list[Group], number: Callable[[Curve], float]) -> str:
    """A row a case and rank, a column a library and setting that any of its kind has."""
    tables = []
    for kind in dict.fromkeys(SPECS[group.case].kind for group in found):
        own = [group for group in found if SPECS[group.case].kind == kind]
        names = {name for group in own for name in group.by_name()}
        names = sorted(names, key=ours_first)
        rows = [
            [
                f"{group.case}, rank {group.rank}",
                *(short(middle(map(number, group.by_name().get(name, [])))) for name in names),
            ]
            for group in own
        ]
        tables.append(table([kind, *names], rows))
    return "\n\n".join(tables)


def ours_first(name: str) -> tuple[bool, str]:
    return not name.startswith("wlrmf"), name


def numbers(group: Group) -> str:
    """A row a library and setting, the fastest to the objective first."""
    level = group.least_error * (1 + NEAR_ERROR)
    rows = []
    for name, curves in group.by_name().items():
        to_gap = middle(c.seconds_to_gap(NEAR) for c in curves)
        to_error = middle(c.seconds_to_error(level) for c in curves)
        row = [
            f"**{name}**" if name.startswith("wlrmf") else name,
            short(middle(c.sweep for c in curves)),
            short(to_gap),
            known(middle(max(c.gap.min(), 0) for c in curves), ".1e"),
            short(to_error),
            known(middle(np.min(c.error) for c in curves), ".4f"),
            f"{max(c.memory for c in curves) / 2**30:.2f} GiB",
        ]
        rows.append((to_gap, to_error, row))
    rows.sort(key=lambda row: row[:2])
    target = "" if math.isnan(level) else f" {level:.4f}"
    head = "library", "sweep", f"to {NEAR:g}", "gap", f"to error{target}", "error", "memory"
    return table(head, (row for _, _, row in rows))


def short(seconds: float) -> str:
    """Three digits, or more; a closed form takes no seconds an iteration."""
    return known(seconds if seconds > 0 else math.nan, ".3g" if seconds < 100 else ".0f")


def known(number: float, form: str) -> str:
    """A number, or a dash for what is not there."""
    return format(number, form) if math.isfinite(number) else "–"


def failures(lines: list[dict]) -> list[str]:
    """What could not be measured and why; cases with the same reason share a row."""
    reasons = {}
    for line in last_runs(lines):
        if "reason" in line:
            who = " ".join(filter(None, [line.get("library"), line.get("setting")])) or "all"
            what = " ".join(map(str, filter(None, [line["case"], line.get("rank")])))
            reasons.setdefault((who, line["status"], line["reason"]), []).append(what)
    rows = [
        [who, status, reason.replace("|", "/"), ", ".join(dict.fromkeys(what))]
        for (who, status, reason), what in sorted(reasons.items())
    ]
    return ["## Not measured", table(("library", "status", "reason", "cases"), rows)]
