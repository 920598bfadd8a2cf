"""Fits over blocks, here and on local Dask clusters, beside `wlrmf.fit` and Spark's ALS.

    python -m benchmarks.beyond [--cases ratings_10m_count,ratings_25m_count] [--rank 32]

One process after the other, on generated ratings, float32, ridges by count as Spark has them:

    ingest     a parquet file of (user, item, rating) becomes a block store
    fit        `wlrmf.fit(solver="als")`, two threads
    local      `wlrmf.distributed.fit_local`, two threads
    1, 2       `wlrmf.distributed.fit` on a LocalCluster of one and two processes of one thread
    spark      ALS in local[2], several fits of 5, 10, 20 iterations, from a cached data frame

For each: seconds until the objective is within 0.1 % of the best that any of them found, of which
the start; seconds of an iteration; and what went over the loopback interface, in all processes.
The clock of Dask starts with a running cluster, whose workers have compiled, and whose files are in
the page cache; that of Spark with a cached frame, after a fit of one iteration.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from .cases import SPECS
from .environments import WORK, install, interpreter
from .machine import peak_memory
from .processes import run_module

NEAR = 1e-3
RUNS = "ingest", "fit", "local", "1", "2", "spark"
COLUMNS = {"user": "user", "item": "item", "value": "rating"}
ITERATIONS = 5, 10, 20


def place(case: str) -> Path:
    """Where a case's parquet file and store are."""
    return WORK / "beyond" / case


def moved() -> int:
    """Bytes that the loopback interface has received."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "lo":
            return int(numbers.split()[0])
    return 0


def traced(fit: Any) -> dict[str, Any]:
    """A fit's trace, its seconds in all, and what moved."""
    before, begin = moved(), time.perf_counter()
    model = fit()
    seconds = time.perf_counter() - begin
    return {
        "seconds": seconds,
        "start": seconds - model.trace.seconds[-1],
        "trace": [model.trace.seconds, model.trace.value],
        "iterations": model.n_iter,
        "moved": moved() - before,
        "memory": peak_memory(),
    }


def ingest(name: str) -> dict[str, Any]:
    """Write the ratings as parquet, off the clock; then the store."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    import wlrmf.distributed as wd

    case, home = SPECS[name].load(), place(name)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    Y = case.Y
    user = np.repeat(np.arange(Y.shape[0], dtype=np.int32), np.diff(Y.indptr))
    table = pa.table({"user": user, "item": Y.indices, "rating": Y.data.astype(np.float32)})
    pq.write_table(table, home / "ratings.parquet")
    begin = time.perf_counter()
    blocks = wd.ingest(home / "ratings.parquet", home / "store", **COLUMNS)
    return {"seconds": time.perf_counter() - begin, "cells": blocks.nnz, "store": blocks.nbytes}


def measure(name: str, run: str, rank: int) -> dict[str, Any]:
    """One run, in this process; Spark's interpreter has no wlrmf."""
    if run == "spark":
        return spark(name, rank)
    import wlrmf
    import wlrmf.distributed as wd

    if run == "ingest":
        return ingest(name)
    spec = SPECS[name]
    about: dict[str, Any] = {"reg": spec.reg, "reg_scaling": "count"}
    if run == "fit":
        case = spec.load()
        about |= {"rank": rank, "solver": "als"}
        wlrmf.fit(case.Y[:200], stop=wlrmf.Stop(max_iter=2), **about)  # compiles
        return traced(lambda: wlrmf.fit(case.Y, n_threads=2, **about))
    blocks = wd.open_blocks(place(name) / "store")
    few = wlrmf.Stop(max_iter=1)
    if run == "local":
        wd.fit_local(blocks, rank, stop=few, **about)
        return traced(lambda: wd.fit_local(blocks, rank, n_threads=2, **about))
    from distributed import Client, LocalCluster

    with (
        LocalCluster(int(run), threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        wd.fit(blocks, rank, stop=few, client=client, **about)
        found = traced(lambda: wd.fit(blocks, rank, client=client, **about))
        workers = client.run(peak_memory)
        return found | {"workers": max(workers.values())}


def spark(name: str, rank: int) -> dict[str, Any]:
    """Spark's ALS: fits of some numbers of iterations, and their objectives."""
    from .peers import spark as peer
    from .quality import objective

    case = SPECS[name].load()
    data = peer.prepare(case, 2)
    peer.fit(data, case, rank, 1, 2, 0)
    seconds, values = [], []
    for iterations in ITERATIONS:
        begin = time.perf_counter()
        W, X = peer.fit(data, case, rank, iterations, 2, 0)
        seconds.append(time.perf_counter() - begin)
        values.append(objective(case, W, X))
    return {"seconds": seconds[-1], "start": 0.0, "trace": [seconds, values], "iterations": 20}


def report(found: dict[str, dict[str, Any]]) -> None:
    """Print a table of one case."""
    traces = {run: row["trace"] for run, row in found.items() if "trace" in row}
    best = min(min(values) for _, values in traces.values())
    print(
        f"{'':8}{'within 0.1 %':>14}{'start':>8}{'an iteration':>14}{'F':>14}{'moved':>10}{'GB':>7}"
    )
    for run, (seconds, values) in traces.items():
        row = found[run]
        near = [s for s, value in zip(seconds, values, strict=True) if value <= best * (1 + NEAR)]
        reached = f"{near[0] + row['start']:.1f}" if near else "not"
        each = (row["seconds"] - row["start"]) / row["iterations"]
        gigabytes = f"{row['moved'] / 1e9:.2f}" if "moved" in row else ""
        memory = row.get("workers", row.get("memory"))
        print(
            f"{run:8}{reached:>14}{row['start']:>8.1f}{each:>14.2f}{min(values):>14.8g}"
            f"{gigabytes:>10}{'' if memory is None else f'{memory / 1e9:.1f}':>7}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Fits over blocks beside fits of the whole.")
    parser.add_argument("--cases", default="ratings_10m_count,ratings_25m_count")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--runs", default=",".join(RUNS))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        found = measure(arguments.cases, arguments.one, arguments.rank)
        print("FOUND " + json.dumps(found))
        return
    for name in arguments.cases.split(","):
        load = ["benchmarks.datasets", SPECS[name].source, str(WORK / "data")]
        _, reason = run_module(Path(sys.executable), load, 2)
        if reason:
            raise SystemExit(reason)
        found = {}
        for run in arguments.runs.split(","):
            peer = "spark" if run == "spark" else "wlrmf"
            reason = install(peer)
            options = ["benchmarks.beyond", "--one", run, "--cases", name]
            if not reason:
                options += ["--rank", str(arguments.rank)]
                printed, reason = run_module(interpreter(peer), options, 2)
            if reason:
                print(f"{run}: {reason}", flush=True)
                continue
            line = next(x for x in printed.splitlines() if x.startswith("FOUND "))
            found[run] = json.loads(line.removeprefix("FOUND "))
        print(f"{name}, rank {arguments.rank}: {found.get('ingest')}")
        report(found)


if __name__ == "__main__":
    main()
