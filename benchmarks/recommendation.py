"""How good recommendations are: errors of predicted ratings, and lists beside those of peers.

    python -m benchmarks.recommendation --data DIR [--parts ml100k,ml1m,jester,lists]

    python -m benchmarks.recommendation --data DIR --times FILE [--times FILE ...]
    python -m benchmarks.recommendation --report FILE [--report FILE ...]

DIR has ml100k_u1_u5.npz, ml1m.npz and jester1.npz. Results are lines of JSON in a new file of
results/recommendation, and tables are printed at the end. Seconds are measured by a run of its own,
which fits the settings again that stand in the files of earlier runs, and does nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np

from . import recommendation_lists, recommendation_ratings
from .__main__ import Default, Names, Numbers
from .environments import interpreter
from .processes import run_module

RESULTS = Path(__file__).parent / "results" / "recommendation"
PARTS = (*recommendation_ratings.SETS, "lists")


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), help="Where the files are.")
@click.option("--parts", cls=Default, type=Names(PARTS), default="all")
@click.option("--libraries", cls=Default, type=Names(recommendation_lists.GRIDS), default="all")
@click.option("--ranks", cls=Default, type=Numbers(), default="32,64", help="Of the lists.")
@click.option("--threads", cls=Default, type=click.IntRange(1), default=2)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Directory.")
@click.option("--times", type=click.Path(path_type=Path, exists=True), multiple=True)
@click.option("--report", type=click.Path(path_type=Path, exists=True), multiple=True)
def main(data, parts, threads, results, times, report, **of_lists):
    """Measure, store and print; with --report only print what files of results say."""
    if not report:
        if data is None:
            raise click.UsageError("--data is wanted: the directory of the data sets' files")
        run = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        results.mkdir(parents=True, exist_ok=True)
        report = (results / f"{run}.jsonl",)
        chosen = [line for path in times for line in read(path) if is_test_of_lists(line)]
        with report[0].open("a") as file:
            for line in measured(data, [] if times else parts, chosen, threads, **of_lists):
                file.write(json.dumps({"run": run, "threads": threads} | line) + "\n")
                file.flush()
                tell(line)
    found = [line for path in report for line in read(path)]
    for table in (rating_table(found), list_table(found)):
        if len(table) > 2:
            click.echo("\n" + "\n".join(table))


def read(path: Path) -> list[dict]:
    return [json.loads(text) for text in path.read_text().splitlines()]


def is_test_of_lists(line: dict) -> bool:
    return line["status"] == "test" and line["feedback"] == "implicit"


def measured(
    data: Path, parts: list[str], chosen: list[dict], threads: int, **of_lists: list
) -> Iterator[dict]:
    machine, reason = run_module(interpreter("wlrmf"), ["benchmarks.machine"], threads)
    if reason:
        raise click.ClickException(f"the machine's rates: {reason}")
    yield json.loads(machine)
    for part in parts:
        if part == "lists":
            yield from recommendation_lists.lines(data, threads=threads, **of_lists)
        else:
            yield from recommendation_ratings.lines(part, data, threads)
    yield from recommendation_lists.times(data, chosen, threads)


def tell(line: dict) -> None:
    if line["status"] not in ("machine", "validation"):
        click.echo(" ".join(f"{k}={v}" for k, v in line.items()))


def rating_table(found: list[dict]) -> list[str]:
    """Markdown: a row a data set; of several splits the mean of the errors."""
    rows = [
        "| data | rank, ridge, scaling | RMSE | RMSE of the defaults |",
        "| --- | --- | --- | --- |",
    ]
    own = [line for line in found if line.get("feedback") == "explicit"]
    groups: dict[str, list[dict]] = {}
    for line in own:
        name = line["data"] if line["data"] == "ml100k" else f"{line['data']} {line['split']}"
        groups.setdefault(name, []).append(line)
    for name, lines in groups.items():
        mean = {
            status: np.mean([line["rmse"] for line in lines if line["status"] == status])
            for status in ("test", "defaults")
        }
        settings = {" ".join(map(str, line["setting"].values())) for line in lines
                    if line["status"] == "test"}  # fmt: skip
        texts = ", ".join(sorted(settings)), f"{mean['test']:.4f}", f"{mean['defaults']:.4f}"
        rows.append("| " + " | ".join((name, *texts)) + " |")
    return rows


def list_table(found: list[dict]) -> list[str]:
    """Markdown: a row a library and rank, with the seconds of the timed run if there is one."""
    rows = ["| rank | library | setting | NDCG@10 | recall@20 | seconds |", "| --- " * 6 + "|"]
    seconds = {
        (line["rank"], line["library"]): line["seconds"]
        for line in found
        if line["status"] == "timed"
    }
    for line in sorted(found, key=lambda line: line.get("rank", 0)):
        if line.get("feedback") == "implicit" and line["status"] in ("test", "defaults"):
            setting = " ".join(f"{k} {v:g}" for k, v in line.get("setting", {}).items())
            own = seconds.get((line["rank"], line["library"])) if setting else None
            scores = f"{line['ndcg@10']:.4f} | {line['recall@20']:.4f}"
            who = f"{line['rank']} | {line['library']} | {setting or 'defaults'}"
            rows.append(f"| {who} | {scores} | {'–' if own is None else format(own, '.2f')} |")
    return list(dict.fromkeys(rows))  # the defaults stand in each run


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.recommendation")
