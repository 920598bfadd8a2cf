"""Tables on the terminal; plain lines where the output is a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

UNBOUNDED = 10_000  # columns of a line that no terminal has to hold


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Print names and what is to be said of each, in two columns."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in pairs:
        table.add_row(Text(name, style="bold"), Text(text))
    _print(table)


def numbers(header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a table whose first column names the rows."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place, name in enumerate(header):
        table.add_column(Text(name), justify="right" if place else "left")
    for line in lines:
        table.add_row(*map(Text, line))
    _print(table)


def paragraph(text: str) -> None:
    """Print text, broken into lines on a terminal."""
    _print(Text(text))


def _print(content: Any) -> None:
    terminal = sys.stdout is not None and sys.stdout.isatty()
    console = Console(width=None if terminal else UNBOUNDED, highlight=False)
    with console.capture() as capture:
        console.print(content)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def count(number: int, thing: str) -> str:
    """``1 cell``, ``2 cells``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
