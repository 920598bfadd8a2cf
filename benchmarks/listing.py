"""What there is to measure, and who can do what."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from .cases import SPECS
from .environments import ENVIRONMENTS
from .jobs import adapter


def show(cases: list[str], libraries: list[str]) -> None:
    console = Console()
    console.print(case_table(cases))
    console.print(library_table(libraries))
    for library in libraries:
        for case in cases:
            if reason := adapter(library).cannot(SPECS[case]):
                console.print(f"{library} not on {case}: {reason}")


def case_table(cases: list[str]) -> Table:
    table = Table("case", "kind", "ridge", "times the count", "weights", title="Cases")
    for name in cases:
        spec = SPECS[name]
        weighted = spec.weighted or spec.kind == "implicit"
        table.add_row(name, spec.kind, f"{spec.reg:g}", *map(yes, (spec.scaled, weighted)))
    return table


def library_table(libraries: list[str]) -> Table:
    table = Table("library", "settings", "packages", title="Libraries")
    for name in libraries:
        packages = [package for step in ENVIRONMENTS[name].steps for package in step]
        table.add_row(name, " ".join(adapter(name).SETTINGS), " ".join(packages))
    return table


def yes(fact: bool) -> str:
    return "yes" if fact else "no"
