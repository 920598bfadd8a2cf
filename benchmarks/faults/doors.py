"""Fuzzing the doors: spoilt files of every kind that the library reads.

An input passes if the reader returns or raises the one error that its page names, and if what it
returned can be used. Each worker has an upper bound on its memory, and a parent that looks at its
count: a crash or a hang is a finding, with the input that did it.
"""

from __future__ import annotations

import gzip
import multiprocessing
import os
import random
import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from . import mutations

SPARE = 1 << 30  # bytes that a worker may map beyond what it has before its first input
HANG = 30.0  # seconds without an input done


class Door(NamedTuple):
    """A way for a file into the library."""

    seeds: Callable[[Path], list[Path]]  # writes sound files into a folder
    read: Callable[[Path], Any]
    changes: tuple[Callable[[random.Random, bytes], bytes], ...]
    refusal: Callable[[], type[Exception]]


@dataclass
class Tally:
    """What became of a door's inputs."""

    inputs: int = 0
    taken: int = 0
    findings: list[dict[str, Any]] = field(default_factory=list)


def _model_error() -> type[Exception]:
    from wlrmf import ModelFormatError

    return ModelFormatError


def _data_error() -> type[Exception]:
    from wlrmf.io import DataFileError

    return DataFileError


def _data(seed: int = 0) -> tuple[np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    Y = rng.standard_normal((6, 2)) @ rng.standard_normal((2, 5))
    Y[rng.random(Y.shape) < 0.2] = np.nan
    return Y, rng


def _models(folder: Path) -> list[Path]:
    import wlrmf

    Y, rng = _data()
    brief = wlrmf.Stop(max_iter=3)
    wlrmf.fit(Y, rank=2, reg=0.1, bias=True, stop=brief).save(folder / "a.npz")
    R = sparse.random_array((5, 4), density=0.5, rng=rng).tocsr()
    wlrmf.fit(R, rank=1, reg=0.1, baseline=0.5, stop=brief, dtype=np.float32).save(folder / "b.npz")
    return [folder / "a.npz", folder / "b.npz"]


def _recommenders(folder: Path) -> list[Path]:
    import wlrmf
    from wlrmf.recommender import Recommender

    rng = np.random.default_rng(1)
    cells = np.unique(rng.integers(6, size=(2, 20)), axis=1)
    rating = rng.integers(1, 6, size=cells.shape[1]).astype(float)
    names = {"user": [f"u{k}" for k in cells[0]], "item": cells[1]}
    brief = wlrmf.Stop(max_iter=3)
    paths = [folder / "explicit.npz", folder / "implicit.npz"]
    Recommender(rank=2, stop=brief).fit(names | {"value": rating}, value="value").save(paths[0])
    Recommender(rank=2, feedback="implicit", stop=brief).fit(names).save(paths[1])
    return paths


def _selections(folder: Path) -> list[Path]:
    import wlrmf

    Y, _ = _data()
    found = wlrmf.select(Y, ranks=[1], regs=[1.0, 0.1], folds=2, stop=wlrmf.Stop(max_iter=3))
    found.save(folder / "selection.npz")
    return [folder / "selection.npz"]


def _estimators(folder: Path) -> list[Path]:
    from wlrmf.estimator import LowRankImputer, MatrixFactorization, save

    Y, _ = _data()
    save(LowRankImputer(rank=1, max_iter=3).fit(Y), folder / "imputer.npz")
    save(MatrixFactorization(rank=1, max_iter=3).fit(Y), folder / "factorization.npz")
    return [folder / "imputer.npz", folder / "factorization.npz"]


def _checkpoints(folder: Path) -> list[Path]:
    import wlrmf

    Y, _ = _data()
    brief = wlrmf.Stop(max_iter=3, ftol=0, gtol=0)
    for solver in ("als", "varpro"):
        keep = wlrmf.Checkpoint(folder / f"{solver}.npz", seconds=0)
        wlrmf.fit(Y, rank=2, reg=0.1, solver=solver, stop=brief, callback=keep)
    return [folder / "als.npz", folder / "varpro.npz"]


def _read_checkpoint(path: Path) -> None:
    import wlrmf

    repr(wlrmf.Checkpoint(path).latest())


def _use_model(model: Any) -> None:
    repr(model), model._repr_html_()
    model.predict(0, 0), model.reconstruct(), model.message


def _read_model(path: Path) -> None:
    import wlrmf

    _use_model(wlrmf.load(path))


def _read_recommender(path: Path) -> None:
    from wlrmf.recommender import Recommender

    likes = Recommender.load(path)
    repr(likes)
    likes.recommend(likes.user_ids[0], 2)


def _read_selection(path: Path) -> None:
    import wlrmf

    found = wlrmf.Selection.load(path)
    repr(found), str(found), found._repr_html_()


def _read_estimator(path: Path) -> None:
    from wlrmf.estimator import load

    _use_model(load(path).model_)


def _matrix(name: str, write: Callable[[Path], None]) -> Callable[[Path], list[Path]]:
    def seeds(folder: Path) -> list[Path]:
        write(folder / name)
        return [folder / name]

    return seeds


def _npz(folder: Path) -> list[Path]:
    Y, rng = _data()
    np.savez(folder / "dense.npz", Y=Y)
    np.savez_compressed(folder / "packed.npz", Y=Y, names=np.array(["a", "b"]))
    matrix = sparse.random_array((5, 4), density=0.5, rng=rng)
    kinds = [sparse.csr_array, sparse.coo_array, sparse.dia_array, sparse.bsr_array]
    paths = [folder / "dense.npz", folder / "packed.npz"]
    for kind in [*kinds, sparse.csc_array]:
        paths.append(folder / f"{kind.__name__}.npz")
        sparse.save_npz(paths[-1], kind(matrix), compressed=len(paths) % 2 == 0)
    return paths


MARKET = (
    "%%MatrixMarket matrix coordinate real general\n% note\n4 3 3\n1 1 1.5\n2 3 -2\n4 2 3e-1\n",
    "%%MatrixMarket matrix array real general\n2 3\n1\n2.5\n3\n-4\n5e2\n6\n",
    "%%MatrixMarket matrix coordinate integer symmetric\n3 3 3\n1 1 1\n2 1 5\n3 3 2\n",
    "%%MatrixMarket matrix coordinate pattern general\n3 3 2\n1 1\n3 2\n",
    "%%MatrixMarket matrix array real skew-symmetric\n3 3\n1\n2\n3\n",
)
CSV = (
    ",a,b,c\nx,1,2.5,\ny,NA,-1e3,4\nz,0.5,6,7\n",
    "1,2,3\n4,,6\n7,8,9\n",
    '"first","second, too"\n1.5,2\nnan,4\n',
)
TRIPLETS = (
    "user,item,rating\n1,10,3.5\n1,12,4\n2,10,1\n3,11,5\n",
    'user,item,rating\nann,"a, b",3\nbob,c,4.5\nann,c,1\n',
)


def _texts(ending: str, texts: tuple[str, ...]) -> Callable[[Path], list[Path]]:
    def seeds(folder: Path) -> list[Path]:
        paths = [folder / f"{k}{ending}" for k in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            data = text.encode()
            path.write_bytes(gzip.compress(data, mtime=0) if ending.endswith(".gz") else data)
        return paths

    return seeds


def _npy_files(folder: Path) -> list[Path]:
    Y, _ = _data()
    arrays = [Y, np.asfortranarray(Y.astype(">f4")), np.arange(6, dtype="i2").reshape(2, 3)]
    for k, array in enumerate(arrays):
        np.save(folder / f"{k}.npy", array)
    return [folder / f"{k}.npy" for k in range(len(arrays))]


def _parquet(folder: Path) -> list[Path]:
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table(
        {"user": [1, 1, 2, 3], "item": ["a", "b", "a", "c"], "rating": [1.5, 2, 3, 4]}
    )
    parquet.write_table(table, folder / "triplets.parquet")
    return [folder / "triplets.parquet"]


def _parquet_matrix(folder: Path) -> list[Path]:
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({"a": [1.0, None, 2.0], "b": [3.0, 4.0, 5.5]})
    parquet.write_table(table, folder / "matrix.parquet", compression="none")
    return [folder / "matrix.parquet"]


def _npz_triplets(folder: Path) -> list[Path]:
    np.savez(
        folder / "triplets.npz",
        user=np.array([1, 1, 2]), item=np.array(["a", "b", "a"]), rating=np.array([1.0, 2.0, 3.5]),
    )  # fmt: skip
    return [folder / "triplets.npz"]


def _read_matrix(path: Path) -> None:
    from wlrmf.io import read_matrix

    read_matrix(path)


def _read_triplets(path: Path) -> None:
    from wlrmf.io import read_triplets

    read_triplets(path, rows="user", cols="item", values="rating")


def _regzip(rng: random.Random, data: bytes) -> bytes:
    """Spoilt within, compressed soundly."""
    return gzip.compress(mutations.spoil(rng, gzip.decompress(data)), 1, mtime=0)


ANYWHERE = (mutations.spoil,)
IN_ZIP = (mutations.spoil, mutations.spoil_member)
MODEL = (*IN_ZIP, mutations.spoil_fields, mutations.spoil_fields)
DOORS: dict[str, Door] = {
    "load: model": Door(_models, _read_model, MODEL, _model_error),
    "load: recommender": Door(_recommenders, _read_recommender, MODEL, _model_error),
    "load: selection": Door(_selections, _read_selection, MODEL, _model_error),
    "load: estimator": Door(_estimators, _read_estimator, MODEL, _model_error),
    "load: checkpoint": Door(_checkpoints, _read_checkpoint, MODEL, _model_error),
    "read_matrix: npy": Door(_npy_files, _read_matrix, ANYWHERE, _data_error),
    "read_matrix: npz": Door(_npz, _read_matrix, IN_ZIP, _data_error),
    "read_matrix: csv": Door(_texts(".csv", CSV), _read_matrix, ANYWHERE, _data_error),
    "read_matrix: mtx": Door(_texts(".mtx", MARKET), _read_matrix, ANYWHERE, _data_error),
    "read_matrix: mtx.gz": Door(
        _texts(".mtx.gz", MARKET[:2]), _read_matrix, (mutations.spoil, _regzip), _data_error
    ),
    "read_matrix: parquet": Door(_parquet_matrix, _read_matrix, ANYWHERE, _data_error),
    "read_triplets: csv": Door(_texts(".csv", TRIPLETS), _read_triplets, ANYWHERE, _data_error),
    "read_triplets: npz": Door(_npz_triplets, _read_triplets, IN_ZIP, _data_error),
    "read_triplets: parquet": Door(_parquet, _read_triplets, ANYWHERE, _data_error),
}


def spoilt(door: Door, seeds: list[bytes], seed: int, k: int) -> bytes:
    """Input k of a door: a function of the seed and k alone."""
    rng = random.Random(f"{seed}:{k}")
    return rng.choice(door.changes)(rng, rng.choice(seeds))


def attempt(door: Door, path: Path) -> str | None:
    """ "taken", None for a refusal; anything else that is raised passes."""
    try:
        door.read(path)
    except door.refusal():
        return None
    return "taken"


def work(name: str, folder: Path, seed: int, lo: int, hi: int, beat: Any = None) -> Tally:
    """Inputs lo to hi of a door, one after the other."""
    door, tally = DOORS[name], Tally()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paths = door.seeds(folder)
    seeds = [path.read_bytes() for path in paths]
    ending = "".join(paths[0].suffixes)
    path = folder / f"input{ending}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in paths:
            if attempt(door, each) != "taken":
                raise AssertionError(f"{name}: the sound file {each.name} is refused")
        for k in range(lo, hi):
            path.write_bytes(spoilt(door, seeds, seed, k))
            if beat is not None:
                beat[0] = k
            try:
                tally.taken += attempt(door, path) == "taken"
            except Exception as error:
                where = _where(error)
                tally.findings.append(
                    {"input": k, "error": f"{type(error).__name__}: {error}"[:200], "at": where}
                )
            tally.inputs += 1
    return tally


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def _worker(name: str, seed: int, lo: int, hi: int, beat: Any, send: Any) -> None:
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # reserves nothing
    with tempfile.TemporaryDirectory(dir=_quick_folder()) as folder:
        work(name, Path(folder), seed, 0, 20)  # imports and first calls, outside of the bound
        with open("/proc/self/statm") as stream:
            mapped = int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (mapped + SPARE, mapped + SPARE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        send.send(work(name, Path(folder), seed, lo, hi, beat))


def _quick_folder() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def fuzz(name: str, count: int, seed: int, batch: int = 5000) -> Tally:
    """`count` inputs of a door in processes of their own, `batch` each."""
    context, total, at = multiprocessing.get_context("spawn"), Tally(), 0
    while at < count:
        hi = min(count, at + batch)
        beat = context.Array("q", [at], lock=False)
        receive, send = context.Pipe(duplex=False)
        process = context.Process(target=_worker, args=(name, seed, at, hi, beat, send))
        process.start()
        send.close()
        tally, end = _watch(process, receive, beat)
        if tally is None:
            done = int(beat[0])
            total.findings.append({"input": done, "error": end, "at": ""})
            total.inputs += done + 1 - at
            at = done + 1
            continue
        total.inputs += tally.inputs
        total.taken += tally.taken
        total.findings += tally.findings
        at = hi
    return total


def _watch(process: Any, receive: Any, beat: Any) -> tuple[Tally | None, str]:
    last, since = -1, time.monotonic()
    while True:
        if receive.poll(1.0):
            try:
                tally = receive.recv()
            except EOFError:
                process.join()
                return None, f"crash: exit code {process.exitcode}"
            process.join()
            return tally, ""
        if beat[0] != last:
            last, since = int(beat[0]), time.monotonic()
        elif time.monotonic() - since > HANG:
            process.kill()
            process.join()
            return None, f"hang: more than {HANG:.0f} s"
