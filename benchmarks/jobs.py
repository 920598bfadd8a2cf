"""A plan and its jobs: one library, setting, case and rank in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import click

from .cases import SPECS
from .environments import ENVIRONMENTS, install, interpreter
from .processes import run_module

GRACE = 120.0  # seconds for imports and data; evaluations may take as long as the fits again


@dataclass(frozen=True)
class Plan:
    """What is asked for; `output` is the file of results."""

    run: str
    cases: list[str]
    libraries: list[str]
    ranks: list[int]
    threads: int
    repeats: int
    seconds: float
    data: Path
    output: Path

    def write(self, **line) -> None:
        with self.output.open("a") as file:
            file.write(json.dumps({"run": self.run, "threads": self.threads} | line) + "\n")
        if "reason" in line:
            who = " ".join(filter(None, (line.get("library"), line.get("setting"))))
            click.echo(f"{line['case']} {who} {line['status']}: {line['reason']}")


def adapter(library: str):
    return import_module(f".peers.{library}", __package__)


def measure(plan: Plan) -> None:
    """Do all that a plan asks for; what fails is written down too."""
    python = interpreter("wlrmf")
    machine, reason = run_module(python, ["benchmarks.machine"], plan.threads)
    if reason:
        raise click.ClickException(f"the machine's rates: {reason}")
    plan.write(**json.loads(machine))
    missing = {}
    for library in plan.libraries:
        click.echo(f"environment: {library}")
        missing[library] = install(library)
    for case in plan.cases:
        arguments = ["benchmarks.datasets", SPECS[case].source, str(plan.data.resolve())]
        _, reason = run_module(python, arguments, plan.threads)
        if reason:
            plan.write(case=case, status="no data", reason=reason)
            continue
        for library in plan.libraries:
            if reason := adapter(library).cannot(SPECS[case]):
                plan.write(case=case, library=library, status="cannot", reason=reason)
            elif reason := missing[library]:
                plan.write(case=case, library=library, status="not installed", reason=reason)
            else:
                for job in jobs(plan, library, case):
                    perform(plan, job)


def jobs(plan: Plan, library: str, case: str) -> Iterator[dict]:
    """What identifies each measurement. Ranks beyond a case's own limit become that limit."""
    ranks = sorted({min(rank, SPECS[case].most_rank) for rank in plan.ranks})
    for rank in ranks:
        for setting in settings(adapter(library), SPECS[case]):
            for seed in range(plan.repeats):
                yield {
                    "case": case,
                    "rank": rank,
                    "library": library,
                    "setting": setting,
                    "seed": seed,
                }


def settings(peer, spec) -> list[str]:
    """Those of a library's settings that serve the case."""
    return peer.settings(spec) if hasattr(peer, "settings") else list(peer.SETTINGS)


def perform(plan: Plan, job: dict) -> None:
    """Run one job; its worker writes its own lines as it goes."""
    click.echo(" ".join(map(str, job.values())))
    order = job | {
        "run": plan.run,
        "threads": plan.threads,
        "seconds_limit": plan.seconds,
        "output": str(plan.output),
    }
    _, reason = run_module(
        interpreter(job["library"]),
        ["benchmarks.worker", json.dumps(order)],
        plan.threads,
        one_blas_thread=ENVIRONMENTS[job["library"]].one_blas_thread,
        limit=3 * plan.seconds + GRACE,
    )
    if reason:
        plan.write(**job, status="failed", reason=reason)
