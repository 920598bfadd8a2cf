"""How good recommendations are: errors of predicted ratings, and lists beside those of peers.

    python -m benchmarks.recommendation --data DIR [--parts ml100k,ml1m,jester,lists]

DIR has ml100k_u1_u5.npz, ml1m.npz and jester1.npz. Results are lines of JSON in a new file of
results/recommendation; the tables are printed at the end, and of stored files with --report FILE.
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
@click.option("--ranks", cls=Default, type=Numbers(), default="32,64", help="Of the lists.")
@click.option("--threads", cls=Default, type=click.IntRange(1), default=2)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Directory.")
@click.option("--report", type=click.Path(path_type=Path, exists=True), multiple=True)
def main(data, parts, ranks, threads, results, report):
    """Measure, store and print; with --report only print what files of results say."""
    if not report:
        if data is None:
            raise click.UsageError("--data is wanted: the directory of the data sets' files")
        run = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        results.mkdir(parents=True, exist_ok=True)
        report = (results / f"{run}.jsonl",)
        with report[0].open("a") as file:
            for line in measured(data, parts, ranks, threads):
                file.write(json.dumps({"run": run, "threads": threads} | line) + "\n")
                file.flush()
                tell(line)
    found = [json.loads(text) for path in report for text in path.read_text().splitlines()]
    click.echo("\n" + "\n".join(rating_table(found)) + "\n\n" + "\n".join(list_table(found)))


def measured(data: Path, parts: list[str], ranks: list[int], threads: int) -> Iterator[dict]:
    machine, reason = run_module(interpreter("wlrmf"), ["benchmarks.machine"], threads)
    if reason:
        raise click.ClickException(f"the machine's rates: {reason}")
    yield json.loads(machine)
    for part in parts:
        if part == "lists":
            yield from recommendation_lists.lines(data, ranks, threads)
        else:
            yield from recommendation_ratings.lines(part, data, threads)


def tell(line: dict) -> None:
    if line["status"] not in ("machine", "validation"):
        click.echo(" ".join(f"{k}={v}" for k, v in line.items()))


def rating_table(found: list[dict]) -> list[str]:
    """Markdown: a row a data set; of several splits the mean of the errors."""
    rows = ["| data | settings | RMSE | RMSE of the defaults |", "| --- | --- | --- | --- |"]
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
    """Markdown: a row a library and rank."""
    rows = ["| rank | library | setting | NDCG@10 | recall@20 | seconds |", "| --- " * 6 + "|"]
    for line in found:
        if line.get("feedback") == "implicit" and line["status"] in ("test", "defaults"):
            setting = " ".join(f"{k} {v:g}" for k, v in line.get("setting", {}).items())
            seconds = f"{line['seconds']:.2f}" if "seconds" in line else "–"
            scores = f"{line['ndcg@10']:.4f} | {line['recall@20']:.4f} | {seconds} |"
            who = f"{line['library']} | {setting or 'defaults'}"
            rows.append(f"| {line['rank']} | {who} | {scores}")
    return rows


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.recommendation")
