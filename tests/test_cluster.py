"""Fits on real clusters of processes, some of which are killed: `fit_local` is the oracle.

Every test ends by a hard timeout if it hangs.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import wlrmf

pytest.importorskip("distributed")
import distributed
from stores import COLUMNS, cells, store, write

import wlrmf.distributed as wd
from wlrmf.validation.errors import ClusterError

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.thread_unsafe(reason="starts processes"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
FEW = wlrmf.Stop(max_iter=6, ftol=0, gtol=0)


class Killer(distributed.WorkerPlugin):
    """SIGKILL of the worker when a task of this name gets into a state, so many times in all."""

    name = "killer"
    idempotent = False

    def __init__(self, folder, what, state, times=1):
        self.folder, self.what, self.state, self.times = str(folder), what, state, times

    def setup(self, worker):
        self.mine = 0

    def transition(self, key, start, finish, **_):
        if finish != self.state or not str(key).startswith(self.what):
            return
        for k in range(self.times):
            try:
                os.close(os.open(f"{self.folder}/killed-{k}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)


def killed(folder):
    return len(list(Path(folder).glob("killed-*")))


def new_cluster():
    return distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    )


@pytest.fixture(scope="module")
def clusters():
    """The cluster of these tests, in a list: another takes its place if a kill was too much."""
    found = [new_cluster()]
    yield found
    found[0].close()


@pytest.fixture
def cluster(clusters):
    """Two workers, the same ones or started again."""
    until = time.monotonic() + 30
    while len(clusters[0].scheduler_info["workers"]) != 2 and time.monotonic() < until:
        time.sleep(0.1)
    if len(clusters[0].scheduler_info["workers"]) != 2:
        clusters[0].close()
        clusters[0] = new_cluster()
    return clusters[0]


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster, set_as_default=False) as found, found.as_current():
        found.wait_for_workers(2, timeout=60)
        yield found
        check_clean(found)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return store(tmp_path_factory.mktemp("cluster"), (4, 3))[0]


@pytest.fixture(scope="module")
def twin(opened):
    return wd.fit_local(opened, 3, reg=1.0, stop=FEW)


def keys_left(client):
    return client.run_on_scheduler(
        lambda dask_scheduler: [str(key) for key in dask_scheduler.tasks]
    )


def check_clean(client):
    """No key is left; releases take a moment to arrive."""
    until = time.monotonic() + 20
    while keys_left(client) and time.monotonic() < until:
        time.sleep(0.1)
    assert keys_left(client) == []


def same(model, twin):
    assert model.value == twin.value
    assert np.array_equal(model.right, twin.right)
    assert model.n_iter == twin.n_iter
    assert model.trace.value == twin.trace.value


@pytest.mark.parametrize("blocks", [1, 2, 7, 50])
@pytest.mark.parametrize("exchange", ["full", "routed"])
def test_bits_are_those_of_fit_local(client, tmp_path, blocks, exchange):
    # R78: also more workers than blocks, and with 50 some empty ones
    here = store(tmp_path, (blocks, blocks), weighted=True, m=120, n=40, client=client)[0]
    start = np.random.default_rng(0).standard_normal((3, 40))
    for kind in ({"start": start}, {"bias": True, "baseline": 0.3}):
        if blocks == 50 and "start" not in kind:
            continue  # 2500 pairs of blocks, each a task
        about = {"reg": 1.0, "stop": wlrmf.Stop(max_iter=1)} | kind
        same(wd.fit(here, 3, exchange=exchange, **about), wd.fit_local(here, 3, **about))


def test_ingest_on_a_cluster_writes_the_same_files(client, tmp_path):
    i, j, y, c = cells()
    path = write(tmp_path / "a.parquet", i, j, y, c)
    one, two = (
        wd.ingest(path, tmp_path / f"s{k}", **COLUMNS, client=each)
        for k, each in enumerate((client, None))
    )
    assert [p.crc for p in (*one.rows, *one.cols)] == [p.crc for p in (*two.rows, *two.cols)]
    assert one.sums == two.sums


@pytest.mark.parametrize("what", ["scan", "spill", "build_rows", "build_cols"])
def test_worker_killed_while_blocks_are_built(client, tmp_path, what):
    # R73
    i, j, y, c = cells()
    path = write(tmp_path / "a.parquet", i, j, y, c)
    with plugin(client, Killer(tmp_path, what, "executing")):
        one = wd.ingest(path, tmp_path / "one", **COLUMNS, client=client)
    assert killed(tmp_path) == 1
    two = wd.ingest(path, tmp_path / "two", **COLUMNS)
    assert [p.crc for p in (*one.rows, *one.cols)] == [p.crc for p in (*two.rows, *two.cols)]


PHASES = [
    ("solve-rows-00001", "executing", 1),  # in the middle of the users' half-sweep
    ("solve-rows-00003", "memory", 1),  # between the two
    ("improve-cols-00001", "executing", 1),  # in the middle of the items'
    ("improve-cols-00002", "memory", 1),  # while it is gathered
    ("line-rows-00002", "executing", 1),
    ("times-rows-00000", "memory", 1),  # at the start
    ("improve-cols-0000", "executing", 2),  # both workers
    ("solve-rows-00000", "executing", 2),  # twice
]


@pytest.mark.parametrize("exchange", ["full", "routed"])
@pytest.mark.parametrize(("what", "state", "times"), PHASES)
def test_worker_killed(client, opened, twin, tmp_path, exchange, what, state, times):
    # R74
    with plugin(client, Killer(tmp_path, what, state, times)):
        model = wd.fit(opened, 3, reg=1.0, stop=FEW, exchange=exchange)
    same(model, twin)
    assert killed(tmp_path) == times


def test_worker_killed_while_rows_are_routed(client, opened, twin, tmp_path):
    # R74
    with plugin(client, Killer(tmp_path, "route-rows-00002", "executing")):
        same(wd.fit(opened, 3, reg=1.0, stop=FEW, exchange="routed"), twin)
    assert killed(tmp_path) == 1


def test_a_dead_worker_costs_its_own_blocks_not_the_history(client, opened, tmp_path):
    # R74: solves are counted on the scheduler
    counts = []
    for times in (0, 1):
        folder = tmp_path / str(times)
        folder.mkdir()
        client.run_on_scheduler(count_transitions)
        with plugin(client, Killer(folder, "improve-cols-00001", "executing", times)):
            wd.fit(opened, 3, reg=1.0, stop=FEW)
        assert killed(folder) == times
        counts.append(client.run_on_scheduler(counted))
    print("solves of blocks without and with a killed worker:", counts)
    assert counts[0] <= counts[1] <= counts[0] + 4 + 3 + 4


def test_tasks_on_the_scheduler_do_not_grow_with_sweeps(client, opened):
    # R82
    seen = []

    def look(state):
        seen.append(len(keys_left(client)))

    wd.fit(opened, 3, reg=1.0, stop=wlrmf.Stop(max_iter=15, ftol=0, gtol=0), callback=look)
    assert max(seen[8:]) <= max(seen[1:6]) + 4


CLUSTER = """
import sys, time
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        print(cluster.scheduler_address, flush=True)
        time.sleep(150)
"""


def test_scheduler_lost_and_the_run_resumed(client, opened, twin, tmp_path):
    # R75
    (tmp_path / "cluster.py").write_text(CLUSTER)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "cluster.py"], stdout=subprocess.PIPE, text=True
    )
    path = tmp_path / "fit.npz"

    def kill(state):
        if state.iteration == 3:
            process.kill()

    about = {"reg": 1.0, "checkpoint": path}
    try:
        address = process.stdout.readline().strip()
        with (
            distributed.Client(address, set_as_default=False, timeout=5) as lost,
            pytest.raises(ClusterError, match=r"scheduler is gone.*resume=True"),
        ):
            wd.fit(opened, 3, stop=FEW, callback=kill, client=lost, **about)
    finally:
        process.kill()
        process.wait()
    assert wlrmf.Checkpoint(path).latest().iteration == 3
    rest = wlrmf.Stop(max_iter=3, ftol=0, gtol=0)
    same(wd.fit(opened, 3, stop=rest, client=client, resume=True, **about), twin)


def test_poison_block_is_named(opened, tmp_path):
    # R76: on a cluster of its own, whose workers may be killed too often to start again
    poison = Killer(tmp_path, "solve-rows-00002", "executing", 100)
    message = r"solve-rows-00002: the workers .* died 4 times"
    with new_cluster() as cluster, distributed.Client(cluster, set_as_default=False) as client:
        client.register_plugin(poison)
        with pytest.raises(ClusterError, match=message):
            wd.fit(opened, 3, reg=1.0, stop=FEW, client=client)
        client.unregister_worker_plugin("killer")
        check_clean(client)


@pytest.mark.parametrize("how", ["block", "missing"])
def test_block_that_changes_when_it_is_read_again(client, tmp_path, how):
    # R77
    here = store(tmp_path, (2, 2))[0]
    path = here.rows[1].path

    def spoil(state):
        if state.iteration == 2 and how == "block":
            data = path.read_bytes()
            path.write_bytes(data[:-70] + bytes(70))
        elif state.iteration == 2:
            path.unlink()

    with pytest.raises(wlrmf.io.DataFileError, match=r"rows-00001\.block"):
        wd.fit(here, 3, reg=1.0, stop=FEW, callback=spoil)


def test_worker_joins_and_another_retires(cluster, client, opened, twin):
    # R79
    def change(state):
        if state.iteration == 2:
            cluster.scale(3)
            client.wait_for_workers(3, timeout=60)
        if state.iteration == 4:
            client.retire_workers([sorted(client.scheduler_info(n_workers=-1)["workers"])[0]])

    same(wd.fit(opened, 3, reg=1.0, stop=FEW, callback=change), twin)
    cluster.scale(2)


def test_two_fits_at_once(client, opened, twin):
    # R80
    from concurrent.futures import ThreadPoolExecutor

    other = wd.fit_local(opened, 2, reg=3.0, stop=FEW)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(wd.fit, opened, 3, reg=1.0, stop=FEW, client=client)
        second = pool.submit(wd.fit, opened, 2, reg=3.0, stop=FEW, client=client)
        same(first.result(150), twin)
        same(second.result(150), other)


def test_mixed_versions(client, opened, twin):
    # R81
    some = sorted(client.scheduler_info(n_workers=-1)["workers"])[:1]

    def pretend(release):
        from distributed import versions

        found = versions.get_package_info.__globals__
        kept = found.setdefault("_kept", found["_version_cached"])
        found["_version_cached"] = lambda name: release if name == "wlrmf" else kept(name)

    client.run(pretend, "0.0.9", workers=some)
    try:
        with pytest.raises(ClusterError, match=r"has wlrmf 0\.0\.9, the client"):
            wd.fit(opened, 3, reg=1.0, stop=FEW)
    finally:
        client.run(pretend, wlrmf.__version__, workers=some)

    def pretend_later(release):
        from wlrmf.distributed import store

        store.RELEASE = release

    client.run(pretend_later, "0.0.9", workers=some)  # a worker that joins while a fit runs
    try:
        with pytest.raises(ClusterError, match=r"wlrmf 0\.0\.9 here was asked"):
            wd.fit(opened, 3, reg=1.0, stop=FEW)
    finally:
        client.run(pretend_later, wlrmf.__version__, workers=some)
    same(wd.fit(opened, 3, reg=1.0, stop=FEW), twin)


def test_no_key_is_left_after_an_error_or_ctrl_c(client, opened):
    # R82
    def fail(state):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        wd.fit(opened, 3, reg=1.0, stop=FEW, callback=fail)
    check_clean(client)

    def press(state):
        if state.iteration == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        wd.fit(opened, 3, reg=1.0, stop=FEW, callback=press)
    assert caught.value.partial_result.n_iter == 2
    check_clean(client)


INTERRUPTED = """
import sys, threading, time, _thread, os, signal
import wlrmf, wlrmf.distributed as wd
from distributed import Client
client = Client(sys.argv[1])
blocks = wd.open_blocks(sys.argv[2])
def later():
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGINT)
def begin(state):
    if state.iteration == 1:
        threading.Thread(target=later).start()
try:
    wd.fit(blocks, 3, reg=1.0, stop=wlrmf.Stop(max_iter=10**6, ftol=0, gtol=0), callback=begin)
except KeyboardInterrupt as end:
    print(type(end.partial_result).__name__, end.partial_result.n_iter >= 1)
time.sleep(1)
print(client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))
"""


def test_ctrl_c_in_the_middle(client, opened):
    # R82
    address = client.scheduler.address
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, address, opened.path],
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.stdout.split() == ["BlockModel", "True", "0"], done.stderr


def test_cluster_without_workers_is_no_hang(opened, monkeypatch):
    from wlrmf.distributed import cluster as module

    monkeypatch.setattr(module, "PATIENCE", 1.0)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as none,
        distributed.Client(none, set_as_default=False) as lonely,
        pytest.raises(ClusterError, match="no worker"),
    ):
        wd.fit(opened, 3, reg=1.0, client=lonely)


def test_user_factors_by_workers(client, opened, tmp_path):
    import pyarrow.parquet as pq

    model = wd.fit(opened, 3, reg=1.0, stop=FEW)
    theirs, ours = (
        model.user_factors.to_parquet(tmp_path / str(k), client=each)
        for k, each in enumerate((client, None))
    )
    for one, two in zip(theirs, ours, strict=True):
        assert pq.read_table(one).equals(pq.read_table(two))


def test_fit_refuses(client, opened):
    with pytest.raises(ValueError, match="`exchange`"):
        wd.fit(opened, 3, reg=1.0, exchange="some")
    with pytest.raises(ValueError, match="`max_restarts`"):
        wd.fit(opened, 3, reg=1.0, max_restarts=-1)
    with pytest.raises(TypeError, match="`client`"):
        wd.fit(opened, 3, reg=1.0, client="tcp://here")


def test_fit_without_a_client_says_so(opened):
    with pytest.raises(ValueError, match=r"`client` must be given.*fit_local"):
        wd.fit(opened, 3, reg=1.0)


class plugin:
    """A worker plugin for as long as the block lasts, on workers that start meanwhile too."""

    def __init__(self, client, which):
        self.client, self.which = client, which

    def __enter__(self):
        self.client.register_plugin(self.which)

    def __exit__(self, *_):
        self.client.unregister_worker_plugin("killer")


def count_transitions(dask_scheduler):
    class Counter(distributed.SchedulerPlugin):
        name = "counter"
        solves = 0

        def transition(self, key, start, finish, *_, **__):
            if start == "processing" and finish == "memory" and str(key).startswith("solve-"):
                self.solves += 1

    dask_scheduler.add_plugin(Counter(), name="counter", idempotent=False)


def counted(dask_scheduler):
    solves = dask_scheduler.plugins["counter"].solves
    dask_scheduler.remove_plugin("counter")
    return solves
