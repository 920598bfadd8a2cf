"""Faults brought about on purpose, in short; `benchmarks/faults` has the harness."""

import contextlib
import multiprocessing
import signal
import threading
from collections import Counter

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import wlrmf
from benchmarks.faults import doors, interrupts, kills, memory
from wlrmf import runs
from wlrmf.kernels import chunks
from wlrmf.kernels import interrupts as holding
from wlrmf.solvers import base
from wlrmf.uncertainty.joint import Joint

FEW = wlrmf.Stop(max_iter=4, gtol=0, ftol=0)


@pytest.fixture(scope="module")
def given():
    rng = np.random.default_rng(0)
    Y = rng.standard_normal((300, 200))
    return {"Y": Y, "mask": rng.random(Y.shape) < 0.6, "rank": 3, "reg": 0.5, "n_threads": 2}


# R57, R58: threads and processes.


def test_r57_two_fits_in_two_threads(given):
    whole, found, before = wlrmf.fit(**given, stop=FEW).left, [], interrupts.blas()
    fit = threading.Thread(target=lambda: found.append(wlrmf.fit(**given, stop=FEW).left))
    fit.start()
    found.append(wlrmf.fit(**given, stop=FEW).left)
    fit.join(60)
    assert interrupts.blas() == before
    assert [np.array_equal(left, whole) for left in found] == [True, True]


class Holder(threading.Thread):
    """A thread that holds BLAS until it is told to leave."""

    def __init__(self):
        super().__init__()
        self.entered, self.leave = threading.Event(), threading.Event()
        self.start()
        assert self.entered.wait(60)

    def run(self):
        with chunks.one_blas_thread():
            self.entered.set()
            self.leave.wait(60)

    def end(self):
        self.leave.set()
        self.join(60)


def counts():
    """The thread counts of all BLAS libraries."""
    return {threads for _, threads in interrupts.blas()}


@pytest.fixture
def two():
    """BLAS has two threads, by a limit of the caller's: threadpoolctl lets nobody else set any."""
    with threadpool_limits(limits=2, user_api="blas"):
        if counts() != {2}:
            pytest.skip("no BLAS here whose threads can be set")
        yield


@pytest.mark.parametrize("main_enters_first", [True, False])
@pytest.mark.parametrize("main_leaves_first", [True, False])
def test_r57_r58_the_last_holder_gives_blas_its_threads_back(
    two, main_enters_first, main_leaves_first
):
    with contextlib.ExitStack() as main:
        if main_enters_first:
            main.enter_context(chunks.one_blas_thread())
        worker = Holder()
        if not main_enters_first:
            main.enter_context(chunks.one_blas_thread())
        assert counts() == {1}
        for leave in (main.close, worker.end) if main_leaves_first else (worker.end, main.close):
            assert counts() == {1}
            leave()
    assert counts() == {2}


def test_r58_a_fit_holds_blas_in_any_thread_after_one_in_another(two):
    wlrmf.fit(np.eye(3), rank=1)
    worker = Holder()
    assert counts() == {1}
    worker.end()
    assert counts() == {2}


def test_r58_other_code_in_any_thread_may_set_the_threads_of_blas_after_a_fit(two):
    seen = []

    def other():
        with threadpool_limits(limits=1, user_api="blas"):
            seen.append(counts())

    wlrmf.fit(np.eye(3), rank=1)
    thread = threading.Thread(target=other)
    thread.start()
    thread.join(60)
    assert seen == [{1}]
    assert counts() == {2}


def test_r57_a_fit_in_a_fork_after_a_fit_and_within_one(given):
    whole, answers = wlrmf.fit(**given, stop=FEW).left, []
    context = multiprocessing.get_context("fork")

    def fork(_=None):
        receive, send = context.Pipe(duplex=False)
        task = context.Process(target=lambda: send.send(wlrmf.fit(**given, stop=FEW).left))
        task.start()
        assert receive.poll(60)
        answers.append(receive.recv())
        task.join(60)

    fork()
    wlrmf.fit(**given, stop=wlrmf.Stop(max_iter=1), callback=fork)
    assert [np.array_equal(left, whole) for left in answers] == [True, True]


def test_r57_threads_that_cannot_be_had_are_done_without(monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(chunks._thread, "start_new_thread", refuse)
    edges = np.arange(6)
    assert chunks.run(lambda lo, hi: lo, edges, 4) == [0, 1, 2, 3, 4]


def test_r63_a_thread_that_dies_before_its_first_line_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(chunks._thread, "start_new_thread", lambda *arguments: None)
    assert chunks.run(lambda lo, hi: lo, np.arange(6), 4) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("n_threads", [1, 4])
def test_r58_an_error_in_one_chunk_passes_and_blas_has_its_threads_back(n_threads):
    def task(lo, hi):
        if lo == 3:
            raise ZeroDivisionError
        return lo

    before = interrupts.blas()
    with pytest.raises(ZeroDivisionError), chunks.one_blas_thread():
        chunks.run(task, np.arange(9), n_threads)
    assert interrupts.blas() == before


# R59, R60: interrupts and callbacks.


@pytest.mark.parametrize("kind", interrupts.KINDS)
def test_r59_interrupts_at_random_moments(kind):
    found = interrupts.run(kind, count=5)
    assert found.interrupted == 5
    assert found.latest < 5  # seconds: a chunk, on a busy machine


def interrupt(state):
    if state.iteration == 2:
        raise KeyboardInterrupt


def test_r59_the_best_point_is_raised_or_returned(given):
    with pytest.raises(KeyboardInterrupt, match="best point") as caught:
        wlrmf.fit(**given, stop=FEW, callback=interrupt)
    part = caught.value.partial_result
    model = wlrmf.fit(**given, stop=FEW, callback=interrupt, on_interrupt="return")
    assert model.status is part.status is wlrmf.Status.INTERRUPTED
    assert model.n_iter == 2
    assert model.value == part.value == min(model.trace.value)
    rest = wlrmf.fit(**given, start=part.state, stop=wlrmf.Stop(max_iter=2, gtol=0, ftol=0))
    np.testing.assert_array_equal(rest.left, wlrmf.fit(**given, stop=FEW).left)
    with pytest.raises(ValueError, match='"raise" or "return"; got \'stop\''):
        wlrmf.fit(**given, on_interrupt="stop")


@pytest.fixture
def signalled(monkeypatch):
    """Ctrl-C at the k-th point of all runs together; the points that there were, in the end."""

    def at(k):
        seen, record = [], base._Report.record

        def recorded(report, state):
            record(report, state)
            seen.append(state)
            if len(seen) == k:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(base._Report, "record", recorded)
        return seen

    return at


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("k", [3, 120])  # of 101 points each
def test_r59_the_best_point_of_all_starts(given, signalled, monkeypatch, n_threads, k):
    monkeypatch.setattr(runs, "HEARD", 1e-3)
    seen = signalled(k)
    arguments = given | {"n_starts": 3, "n_threads": n_threads, "solver": "gd"}
    model = wlrmf.fit(
        **arguments, stop=wlrmf.Stop(max_iter=100, gtol=0, ftol=0), on_interrupt="return"
    )
    assert model.status is wlrmf.Status.INTERRUPTED
    assert model.value == min(state.value for state in seen)
    assert len(seen) < 303  # the runs were left


@pytest.mark.parametrize("k", [1, 8])
def test_r59_on_the_path_of_variable_projection(given, signalled, k):
    seen = signalled(k)
    arguments = given | {"rank": 3, "solver": "varpro"}
    model = wlrmf.fit(**arguments, stop=FEW, on_interrupt="return")
    assert model.status is wlrmf.Status.INTERRUPTED
    assert model.n_iter == 0  # the path is before the first of them
    assert seen[-1].layout.rank < 3
    last = seen[-1].W
    np.testing.assert_array_equal(np.abs(model.left).max(axis=0) > 0, np.arange(3) < last.shape[1])
    np.testing.assert_allclose(model.left[:, : last.shape[1]], last)
    signalled(10**9)
    rest = wlrmf.fit(**arguments, start=model.state, stop=wlrmf.Stop(max_iter=20))
    assert np.linalg.matrix_rank(rest.left) == 3


@pytest.mark.parametrize("k", [1, 4])
def test_r59_while_a_rank_grows(given, signalled, k):
    seen = signalled(k)
    arguments = given | {"rank": "auto", "reg": 8.0}
    with pytest.raises(KeyboardInterrupt) as caught:
        wlrmf.fit(**arguments)
    part = caught.value.partial_result
    assert part.status is wlrmf.Status.INTERRUPTED
    assert part.value <= min(state.value for state in seen) * (1 + 1e-12)
    assert len(seen) == k
    assert part.rank == seen[-1].layout.rank


def test_r59_before_the_first_point_there_is_no_result(given, monkeypatch):
    def build(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setitem(wlrmf.fit.__globals__, "build", build)  # wlrmf.fit is the function
    with pytest.raises(KeyboardInterrupt) as caught:
        wlrmf.fit(**given, on_interrupt="return")
    assert caught.value.partial_result is None


def test_r59_an_interrupt_that_is_held_is_raised_once():
    seen = []

    @holding.held()
    def twice():
        signal.raise_signal(signal.SIGINT)
        seen.append("held")
        with pytest.raises(KeyboardInterrupt):
            holding.check()
        signal.raise_signal(signal.SIGINT)
        holding.check()
        seen.append("once")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        twice()
    assert seen == ["held", "once"]
    with pytest.raises(KeyboardInterrupt), holding.held(), holding.released():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_r59_a_second_interrupt_does_not_stop_the_end_of_the_first():
    @holding.held()
    def heard():
        signal.raise_signal(signal.SIGINT)
        holding.check()

    @holding.held()
    def twice():
        with pytest.raises(KeyboardInterrupt), holding.released():
            raise KeyboardInterrupt  # by a callback, or a fit of its own
        signal.raise_signal(signal.SIGINT)
        holding.check()
        with holding.released(), contextlib.suppress(KeyboardInterrupt):
            heard()  # a fit of its own that returned its best point
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            holding.check()

    twice()


def test_r59_error_bars_hear_it(given, monkeypatch):
    rows, row = [], Joint._row

    def signalled(joint, j):
        rows.append(j)
        if len(rows) == 2:
            signal.raise_signal(signal.SIGINT)
        return row(joint, j)

    bars = wlrmf.fit(**given, stop=FEW).error_bars(kind="joint")
    monkeypatch.setattr(Joint, "_row", signalled)
    with pytest.raises(KeyboardInterrupt):
        bars.std(np.arange(200), np.arange(200))
    assert rows == [0, 1]


def test_r60_another_error_of_a_callback_passes_and_its_state_is_whole(given):
    kept = []

    def fail(state):
        kept.append(state)
        if state.iteration == 2:
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        wlrmf.fit(**given, stop=FEW, callback=fail)
    rest = wlrmf.fit(**given, start=kept[-1], stop=wlrmf.Stop(max_iter=2, gtol=0, ftol=0))
    np.testing.assert_array_equal(rest.left, wlrmf.fit(**given, stop=FEW).left)


# R63: memory.


def test_r63_too_little_memory():
    ends = memory.run("dense", [0, 60 * memory.MIB, 120 * memory.MIB])
    assert set(ends) <= {"done", "MemoryError"}
    assert ends["MemoryError"]


# R66, R72: kills. R67, R68: doors. R71: checkpoints.


@pytest.mark.parametrize("writers", [1, 2])
def test_r66_r72_killed_while_checkpoints_are_written(tmp_path, writers):
    found = kills.run(tmp_path, kills=12, writers=writers)
    assert found.newer
    assert found.left_at_the_end == 0


@pytest.mark.parametrize("name", doors.DOORS)
def test_r67_r68_spoilt_files(name, tmp_path, pyarrow):
    found = doors.work(name, tmp_path, seed=0, lo=0, hi=120)
    assert found.findings == []
    assert 0 < found.taken < found.inputs == 120


@pytest.mark.parametrize("solver", ["als", "gd", "varpro"])
def test_r71_a_fit_goes_on_from_its_checkpoint(tmp_path, solver):
    rng = np.random.default_rng(1)
    Y = np.where(rng.random((40, 30)) < 0.7, rng.standard_normal((40, 30)), np.nan)
    keep = wlrmf.Checkpoint(tmp_path / "fit.npz", seconds=0)
    assert keep.latest() is None
    arguments = {"rank": 2, "reg": 0.1, "solver": solver, "bias": True}
    half = wlrmf.Stop(max_iter=2, gtol=0, ftol=0)
    wlrmf.fit(Y, **arguments, stop=half, callback=keep)
    rest = wlrmf.fit(Y, **arguments, stop=half, start=keep.latest())
    whole = wlrmf.fit(Y, **arguments, stop=FEW)
    np.testing.assert_array_equal(rest.left, whole.left)
    assert rest.trace.value == whole.trace.value


def test_r71_what_a_checkpoint_is_not_of_is_named(tmp_path):
    Y = np.random.default_rng(1).standard_normal((12, 9))
    keep = wlrmf.Checkpoint(tmp_path / "fit.npz", seconds=0)
    arguments = {"rank": 2, "reg": 0.1, "solver": "als", "stop": FEW}
    wlrmf.fit(Y, **arguments, callback=keep)
    state, holes = keep.latest(), np.ones(Y.shape, bool)
    holes[0, 0] = False
    for change, words in (
        ({"Y": Y[:-1]}, "its shape is"),
        ({"rank": 3}, "its rank is 2, here it is 3"),
        ({"bias": True}, "its pinned rows or biases"),
        ({"dtype": np.float32}, "its dtype is float64"),
        ({"mask": holes}, "its number of observed cells"),
        ({"weights": 2 * np.ones(Y.shape)}, "its sum of weights"),
        ({"Y": 2 * Y}, "its weighted sum of squares of Y"),
        ({"Y": Y[::-1]}, "its value with these Y"),
        ({"reg": 0.2}, "its sum of ridges"),
    ):
        with pytest.raises(ValueError, match=words):
            wlrmf.fit(**{"Y": Y} | arguments | change, start=state)


def test_r71_a_checkpoint_that_cannot_be_stored(tmp_path):
    keep = wlrmf.Checkpoint(tmp_path / "fit.npz", seconds=0)
    state = kills.state(1)
    state.memory["table"] = {}
    with pytest.raises(ValueError, match="cannot store the solver's 'table'"):
        keep(state)
    assert Counter(tmp_path.iterdir()) == Counter()
