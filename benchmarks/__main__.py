"""Time to quality of this library and its peers: ``python -m benchmarks --help``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from . import listing, report
from .cases import QUICK, SPECS
from .environments import ENVIRONMENTS, WORK
from .jobs import Plan, measure

RESULTS = Path(__file__).parent / "results"


class Names(click.ParamType):
    """Some of the known names, with commas between, or `all`."""

    name = "names"

    def __init__(self, known):
        self.known = list(known)

    def convert(self, value, param, ctx):
        names = self.known if value == "all" else value.split(",")
        for name in names:
            if name not in self.known:
                self.fail(f"{name!r} is none of: all, {', '.join(self.known)}", param, ctx)
        return names


class Numbers(click.ParamType):
    """Positive whole numbers with commas between."""

    name = "numbers"

    def convert(self, value, param, ctx):
        parts = value.split(",")
        if not all(part.isdecimal() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is not a list of positive whole numbers, as 16,64", param, ctx)
        return [int(part) for part in parts]


class Default(click.Option):
    """An option that shows its default."""

    def __init__(self, *names, **options):
        super().__init__(*names, show_default=True, **options)


@click.command()
@click.option("--cases", cls=Default, type=Names(SPECS), default=",".join(QUICK))
@click.option("--libraries", cls=Default, type=Names(ENVIRONMENTS), default="all")
@click.option("--ranks", cls=Default, type=Numbers(), default="16,64")
@click.option("--threads", cls=Default, type=click.IntRange(1), default=2)
@click.option("--repeats", cls=Default, type=click.IntRange(1), default=1, help="Seeds 0, 1, ...")
@click.option(
    "--seconds",
    cls=Default,
    type=click.FloatRange(0, min_open=True),
    default=8,
    help="For all fits of one library, setting, case and rank.",
)
@click.option(
    "--data",
    cls=Default,
    type=click.Path(path_type=Path),
    default=WORK / "data",
    help="Where the data sets are that do not come with this project.",
)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Directory.")
@click.option("--report-only", is_flag=True, help="Measure nothing; write the report anew.")
@click.option("--list", "only_list", is_flag=True, help="Show cases and libraries, and stop.")
def main(cases, libraries, report_only, results, only_list, **options):
    """Measure wlrmf and its peers on the same data and objective, and write a report.

    Results are lines of JSON in a new file of the directory of results; the report, README.md
    beside them, is made of all of them, the last run of each measurement.
    """
    if only_list:
        listing.show(cases, libraries)
        return
    if not report_only:
        run = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        results.mkdir(parents=True, exist_ok=True)
        measure(Plan(run, cases, libraries, output=results.resolve() / f"{run}.jsonl", **options))
    click.echo(f"report: {report.write(results)}")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
