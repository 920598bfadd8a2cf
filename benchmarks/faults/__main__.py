"""`python -m benchmarks.faults`: interrupts, kills, little memory and spoilt files, in numbers."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from . import doors, interrupts, kills, memory


def of_interrupts(count: int, seed: int) -> None:
    """One line a kind of fit."""
    print("\n| fit | interrupted | with a result | latest, s |\n|---|---|---|---|")
    for kind in interrupts.KINDS:
        found = interrupts.run(kind, count, seed)
        line = f"| {kind} | {found.interrupted} | {found.with_result} | {found.latest:.3f} |"
        print(line, flush=True)


def of_kills(count: int, seed: int) -> None:
    """By one writer and by two."""
    print("\n| writers | kills | while writing | newer states |\n|---|---|---|---|")
    for writers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            found = kills.run(Path(folder), count, seed, writers)
        line = f"| {writers} | {found.kills} | {found.in_the_middle} | {found.newer} |"
        print(line, flush=True)


def of_memory(count: int, seed: int) -> None:
    """Bytes to spare from none to 400 MiB."""
    print("\n| fit | ends |\n|---|---|")
    for kind in memory.KINDS:
        spares = [k * 400 * memory.MIB // count for k in range(count)]
        print(f"| {kind} | {dict(memory.run(kind, spares))} |", flush=True)


def of_files(count: int, seed: int) -> None:
    """A thousand spoilt files of each kind for each of `count`."""
    print("\n| file | inputs | taken | findings |\n|---|---|---|---|")
    for name in doors.DOORS:
        found = doors.fuzz(name, 1000 * count, seed)
        print(f"| {name} | {found.inputs} | {found.taken} | {found.findings} |", flush=True)


PARTS: dict[str, Callable[[int, int], None]] = {
    "interrupts": of_interrupts,
    "kills": of_kills,
    "memory": of_memory,
    "files": of_files,
}


def main() -> None:
    """Read the arguments and run the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--count", type=int, default=100, help="faults of each kind")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for part in given.parts or PARTS:
        if part not in PARTS:
            parser.error(f"no part {part!r}; there are {', '.join(PARTS)}")
        PARTS[part](given.count, given.seed)


if __name__ == "__main__":
    main()
