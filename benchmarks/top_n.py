"""Top-n lists without the items a user has seen: seconds beside those of other libraries.

    python -m benchmarks.top_n [--rank 64] [-n 10] [--threads 1 2] [--libraries wlrmf implicit ...]

Factors are normal random numbers in float32, seen items a power law (`generate.active_pairs`), at
the shapes of MovieLens 1M and 10M. Each library, shape and number of threads has a process of its
own, and the least of some seconds counts; rounds over the libraries are made twice, so that an idle
or busy minute of the machine is nobody's alone. Lists are made for all users at once. The sum of
their scores, in float64, tells whether they agree.

A line of the results has the rate of the products, 2 x users x items x rank operations, beside that
of a product of two square matrices with as many threads, in the same run.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from .environments import ENVIRONMENTS, install, interpreter
from .generate import active_pairs
from .machine import least_seconds
from .processes import run_module

SIZES = {"1m": ((6040, 3706), 1_000_000), "10m": ((69_878, 10_677), 9_000_000)}
ROUNDS, REPEATS = 2, 3
BLOCK = 1024  # queries whose scores NumPy and torch hold at once
RESULTS = Path(__file__).parent / "results"
Lists = tuple[np.ndarray, np.ndarray]  # items and scores, (m, n)


def wlrmf(left, right, indptr, indices, n, threads) -> Callable[[], Lists]:
    top_n = importlib.import_module("wlrmf.top").top_n

    def lists():
        found = top_n(left, right, n, skip=(indptr, indices), n_threads=threads)
        return found.items, found.scores

    return lists


def implicit(left, right, indptr, indices, n, threads) -> Callable[[], Lists]:
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    model = AlternatingLeastSquares(factors=left.shape[1], num_threads=threads)
    model.user_factors, model.item_factors = left, right
    seen = csr_matrix(
        (np.ones(indices.size, np.float32), indices, indptr), shape=(len(left), len(right))
    )
    users = np.arange(len(left))
    return lambda: model.recommend(users, seen, N=n, filter_already_liked_items=True)


def numpy(left, right, indptr, indices, n, threads) -> Callable[[], Lists]:
    """BLAS with the threads that the environment gives it, and a partial sort."""

    def block(lo, hi):
        scores = left[lo:hi] @ right.T
        rows, seen = _seen(indptr, indices, lo, hi)
        scores[rows, seen] = -np.inf
        items = np.argpartition(scores, -n, axis=1)[:, -n:]
        best = np.take_along_axis(scores, items, axis=1)
        order = np.argsort(-best, axis=1)
        return tuple(np.take_along_axis(part, order, axis=1) for part in (items, best))

    return lambda: _in_blocks(block, len(left))


def torch(left, right, indptr, indices, n, threads) -> Callable[[], Lists]:
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    W, XT = torch.from_numpy(left), torch.from_numpy(right).T

    def block(lo, hi):
        scores = W[lo:hi] @ XT
        rows, seen = map(torch.from_numpy, _seen(indptr, indices, lo, hi))
        scores[rows, seen] = -torch.inf
        best, items = torch.topk(scores, n)
        return items.numpy(), best.numpy()

    return lambda: _in_blocks(block, len(left))


def _seen(indptr, indices, lo, hi) -> tuple[np.ndarray, np.ndarray]:
    rows = np.repeat(np.arange(hi - lo), np.diff(indptr[lo : hi + 1]))
    return rows, indices[indptr[lo] : indptr[hi]].astype(np.int64)


def _in_blocks(block: Callable[[int, int], Lists], m: int) -> Lists:
    parts = [block(lo, min(lo + BLOCK, m)) for lo in range(0, m, BLOCK)]
    items, scores = zip(*parts, strict=True)
    return np.concatenate(items), np.concatenate(scores)


LIBRARIES = {function.__name__: function for function in (wlrmf, implicit, numpy, torch)}
HOMES = {"numpy": "wlrmf"}  # libraries measured in another's environment


def measure(library: str, size: str, rank: int, n: int, threads: int) -> dict:
    """Least seconds and the sum of scores."""
    shape, count = SIZES[size]
    generator = np.random.default_rng(0)
    left, right = (generator.standard_normal((s, rank)).astype(np.float32) for s in shape)
    rows, columns = active_pairs(generator, shape, count)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
    task = LIBRARIES[library](left, right, indptr, columns.astype(np.int32), n, threads)
    seconds = least_seconds(task, REPEATS)
    _, scores = task()
    return {"seconds": seconds, "sum": float(np.sum(scores, dtype=np.float64))}


def run(library: str, options: list[str], threads: int) -> tuple[dict, str]:
    """What a process of its own measured, or why it could not."""
    home = HOMES.get(library, library)
    if reason := install(home):
        return {}, reason
    printed, reason = run_module(
        interpreter(home),
        ["benchmarks.top_n", "--one", library, "--threads", str(threads), *options],
        threads,
        one_blas_thread=ENVIRONMENTS[home].one_blas_thread,
    )
    return ({}, reason) if reason else (json.loads(printed), "")


def least(lines: list[dict]) -> dict:
    """Of the rounds of one library, size and number of threads the one with the least seconds."""
    return min(lines, key=lambda line: line.get("seconds", np.inf))


def compare(arguments: argparse.Namespace) -> list[dict]:
    """A line a size, number of threads and library, after one with the machine's rates."""
    lines = []
    for threads in arguments.threads:
        printed, reason = run_module(Path(sys.executable), ["benchmarks.machine"], threads)
        if reason:
            raise SystemExit(reason)
        machine = json.loads(printed) | {"threads": threads}
        lines.append(machine)
        for size in arguments.sizes:
            options = ["--sizes", size, "--rank", str(arguments.rank), "-n", str(arguments.n)]
            shape, count = SIZES[size]
            about = {"status": "top_n", "shape": shape, "seen": count, "rank": arguments.rank}
            found: dict[str, list[dict]] = {library: [] for library in arguments.libraries}
            for _, library in itertools.product(range(ROUNDS), arguments.libraries):
                measured, reason = run(library, options, threads)
                found[library].append(measured or {"reason": reason})
            for library, rounds in found.items():
                line = about | {"n": arguments.n, "threads": threads, "library": library}
                line |= least(rounds)
                if "seconds" in line:
                    rate = 2 * shape[0] * shape[1] * arguments.rank / line["seconds"] / 1e9
                    line["of_sgemm"] = rate / machine["sgemm"]
                lines.append(line)
                show(line)
    return lines


def show(line: dict) -> None:
    name = f"{line['shape'][0]:6d} x {line['shape'][1]:6d}  {line['threads']} threads"
    if "reason" in line:
        print(f"{name}  {line['library']:8s}  {line['reason']}")
    else:
        print(
            f"{name}  {line['library']:8s}  {line['seconds']:8.4f} s  "
            f"{line['of_sgemm']:4.0%} of sgemm  sum {line['sum']:.6g}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Top-n lists beside other libraries.")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("-n", type=int, default=10)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory")
    parser.add_argument("--one", choices=LIBRARIES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        size, threads = arguments.sizes[0], arguments.threads[0]
        print(json.dumps(measure(arguments.one, size, arguments.rank, arguments.n, threads)))
        return
    lines = compare(arguments)
    name = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    text = "".join(json.dumps({"run": name} | line) + "\n" for line in lines)
    (arguments.results / f"{name}.jsonl").write_text(text)


if __name__ == "__main__":
    main()
