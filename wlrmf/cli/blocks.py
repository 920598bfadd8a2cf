"""``wlrmf ingest``, and ``wlrmf fit`` of what it made: block stores, here or on a cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from .. import distributed as wd
from ..distributed.model import write_factors
from ..distributed.store import MANIFEST
from ..solvers.base import Stop
from . import text
from .files import check_out, size_of
from .fitting import STOP, ending, exit_status

CLUSTER = "distributed", "local_cluster"
STORES = ("checkpoint", "resume", "factors", *CLUSTER)  # options of a store alone
FITS = ("reg", "reg_scaling", "bias", "baseline", "seed")
TAKEN = (*FITS, *STOP, *STORES, "rank", "solver", "n_threads", "out", "force", "quiet")


def is_store(file: Path) -> bool:
    """Whether FILE is a block store, complete or not."""
    return file.is_dir()


def ingest(source: tuple[str, ...], options: dict[str, Any]) -> int:
    """Write a block store and say what is in it."""
    begin = time.perf_counter()
    with cluster_of(options) as client:
        blocks = wd.ingest(
            source[0] if len(source) == 1 else list(source),
            options["out"],
            user=options["rows"],
            item=options["cols"],
            value=options["values"],
            weight=options["weights"],
            duplicates=options["duplicates"] or "error",
            dtype=options["dtype"] or "float32",
            n_user_blocks=options["row_blocks"],
            n_item_blocks=options["col_blocks"],
            client=client,
        )
    if not options["quiet"]:
        seconds = time.perf_counter() - begin
        text.facts([*_described(blocks), ("written", f"{blocks.path}, in {seconds:.2f} s")])
    return 0


def fit_store(store: Path, options: dict[str, Any]) -> int:
    """Fit, write model or factors, print the summary; the exit status."""
    others = [
        name for name, value in options.items() if name not in TAKEN and value not in (None, False)
    ]
    if others:
        raise click.UsageError(f"--{others[0].replace('_', '-')} is not for a block store")
    if not (store / MANIFEST).exists():
        raise click.UsageError(f"{store} is a directory and no block store: see wlrmf ingest")
    some = {name: options[name] for name in TAKEN if options[name] is not None}
    if some.get("solver", "auto") not in ("auto", "als"):
        raise click.UsageError("--solver over blocks is als")
    factors = options["factors"]
    out = options["out"] or (None if factors else Path(f"{store.name}.wlrmf.npz"))
    if out is not None:
        check_out(out, force=options["force"])
    blocks = wd.open_blocks(store)
    about = {name: some[name] for name in (*FITS, "checkpoint", "resume") if name in some}
    about |= {"reg": some.get("reg", 0.0), "bias": some.get("bias", False)}
    about["stop"] = Stop(**{name: some[name] for name in STOP if name in some})
    begin = time.perf_counter()
    with cluster_of(options) as client:
        if client is None:
            model = wd.fit_local(blocks, some["rank"], n_threads=some.get("n_threads"), **about)
        else:
            model = wd.fit(blocks, some["rank"], client=client, **about)
        seconds = time.perf_counter() - begin
        written = _write(model, out, factors, client)
    if not options["quiet"]:
        biases = " + biases" if model.terms.mean is not None else ""
        text.facts(
            [
                *_described(blocks),
                ("model", f"rank {model.rank}{biases}, {model.right.dtype}"),
                ("solver", f"{model.solver}, {model.n_iter} iterations, {seconds:.2f} s"),
                ("value", f"{model.value:.6g}, of which loss {model.loss:.6g}"),
                ("status", ending(model.status)),
                ("written", written),
            ]
        )
    return exit_status(model, options)


def _write(model: wd.BlockModel, out: Path | None, factors: Path | None, client: Any) -> str:
    """The model as one file, or factors by blocks; what was written."""
    written = []
    if factors is not None:
        paths = model.user_factors.to_parquet(factors, client=client)
        bias = None if model.terms.mean is None else model.item_bias
        write_factors(factors / "items.parquet", model.item_ids, model.item_factors, bias)
        written.append(f"{factors} ({len(paths) + 1} files)")
    if out is not None:
        model.to_local().save(out)
        written.append(f"{out} ({size_of(out)})")
    return ", ".join(written)


def _described(blocks: wd.Blocks) -> list[tuple[str, str]]:
    (m, n), count = blocks.shape, len(blocks.rows) + len(blocks.cols)
    cells = text.count(blocks.nnz, "observed cell")
    return [
        ("data", f"{blocks.path}: {m} × {n}, {cells} ({100 * blocks.nnz / (m * n):.3g} %)"),
        ("store", f"{count} blocks, {blocks.nbytes / 1e6:.3g} MB, {blocks.dtype}"),
    ]


@contextmanager
def cluster_of(options: dict[str, Any]) -> Iterator[Any]:
    """A client of the cluster that the options name; None without one."""
    address, workers = (options[name] for name in CLUSTER)
    if address is not None and workers is not None:
        raise click.UsageError("--distributed and --local-cluster: give one of them")
    if address is None and workers is None:
        yield None
        return
    from ..distributed.cluster import dask

    module = dask()
    if address is not None:
        with module.Client(address, set_as_default=False, timeout=10) as client:
            yield client
        return
    with (
        module.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs=50
        ) as cluster,
        module.Client(cluster, set_as_default=False) as client,
    ):
        yield client
