"""Top-n lists and ranks against a full product and a sort. Also run with the JIT off."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from wlrmf.kernels import chunks
from wlrmf.kernels import top as kernels
from wlrmf.top import ranks_of, top_n

both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
WIDE = kernels.width(np.float32)  # items of a panel


def slow_lists(left, right, n, seen=None, among=None):
    """Items of each query: every score, all of them sorted."""
    scores = left @ right.T
    allowed = np.ones(scores.shape, bool) if seen is None else ~seen
    if among is not None:
        allowed &= np.isin(np.arange(len(right)), among)
    lists = []
    for row, may in zip(scores, allowed, strict=True):
        candidates = np.flatnonzero(may)
        order = np.lexsort((candidates, -row[candidates]))
        lists.append(candidates[order[:n]])
    return scores, lists


def slow_ranks(left, right, targets, seen=None):
    scores = left @ right.T
    out = targets.copy() if seen is None else targets | seen
    pairs = [
        ((row[~gone] > row[j]).sum(), (row[~gone] == row[j]).sum())
        for row, gone, wanted in zip(scores, out, targets, strict=True)
        for j in np.flatnonzero(wanted)
    ]
    return np.array(pairs, np.int64).reshape(-1, 2).T


def pair(cells):
    """The places of True as a CSR structure."""
    matrix = sp.csr_array(cells)
    return matrix.indptr, matrix.indices


def whole(shape, seed=0, dtype=np.float32, size=4):
    """Small integers: any order of summation gives the same score, and many are equal."""
    return np.random.default_rng(seed).integers(-size, size + 1, shape).astype(dtype)


def real(m, n_items, k, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal((size, k)).astype(dtype) for size in (m, n_items))


def split(lists, what="items"):
    return np.split(getattr(lists, what), lists.indptr[1:-1])


def same_bits(one, other):
    for name in ("indptr", "items", "scores"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes(), name


def check(left, right, n, seen=None, among=None, n_threads=None):
    lists = top_n(
        left,
        right,
        n,
        skip=None if seen is None else pair(seen),
        among=among,
        n_threads=n_threads,
    )
    scores, wanted = slow_lists(left, right, n, seen, among)
    assert lists.items.dtype == lists.indptr.dtype == np.int64
    assert lists.scores.dtype == np.result_type(left, right)
    assert lists.indptr[0] == 0
    np.testing.assert_array_equal(np.diff(lists.indptr), [len(row) for row in wanted])
    np.testing.assert_array_equal(lists.items, np.concatenate(wanted))
    rows = np.repeat(np.arange(len(left)), np.diff(lists.indptr))
    np.testing.assert_array_equal(lists.scores, scores[rows, lists.items])
    return lists


@st.composite
def questions(draw):
    m, n_items = draw(st.integers(1, 20)), draw(st.integers(1, 90))
    k, n = draw(st.integers(1, 20)), draw(st.integers(0, 100))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    seed, size = draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 3))
    rng = np.random.default_rng(seed)
    left, right = (whole((count, k), rng.integers(99), dtype, size) for count in (m, n_items))
    share = draw(st.sampled_from([None, 0, 0.1, 0.6, 1]))
    seen = None if share is None else rng.random((m, n_items)) < share
    part = draw(st.sampled_from([None, 0, 0.3, 1]))
    among = None if part is None else rng.permutation(n_items)[: int(part * n_items)]
    return left, right, n, seen, among


@given(questions(), st.sampled_from([1, 2, 3]))
@settings(deadline=None, max_examples=10 if numba.config.DISABLE_JIT else 300)
def test_lists_are_those_of_a_full_sort(question, n_threads):
    check(*question, n_threads=n_threads)


@given(questions(), st.sampled_from([0.05, 0.5, 1]))
@settings(deadline=None, max_examples=10 if numba.config.DISABLE_JIT else 200)
def test_ranks_are_those_of_all_scores(question, share):
    left, right, _, seen, _ = question
    targets = np.random.default_rng(0).random((len(left), len(right))) < share
    skip = None if seen is None else pair(seen)
    higher, tied = ranks_of(left, right, pair(targets), skip=skip)
    wanted = slow_ranks(left, right, targets, seen)
    assert higher.dtype == tied.dtype == np.int64
    np.testing.assert_array_equal(higher, wanted[0])
    np.testing.assert_array_equal(tied, wanted[1])


EDGES = [1, WIDE - 1, WIDE, WIDE + 1, 2 * WIDE + 3]


@both_dtypes
@pytest.mark.parametrize("n_items", EDGES)
@pytest.mark.parametrize("k", [1, 2, 7, 8, 16, 17, 31])
def test_sizes_around_panels_and_vectors(dtype, n_items, k):
    for m in (1, kernels.TALL - 1, kernels.TALL, kernels.TALL + 1):
        left, right = whole((m, k), 1, dtype), whole((n_items, k), 2, dtype)
        for n in (1, n_items):
            check(left, right, n)


@both_dtypes
def test_several_blocks_of_items_and_chunks_of_queries(dtype, monkeypatch):
    monkeypatch.setattr(kernels, "CACHE", 1 << 12)
    monkeypatch.setattr("wlrmf.top.FEW", 8)
    left, right = whole((70, 9), 1, dtype), whole((300, 9), 2, dtype)
    assert len(kernels.room(300, 9, dtype).places) < 150
    rng = np.random.default_rng(0)
    seen = rng.random((70, 300)) < np.linspace(0, 1, 70)[:, None]
    lists = check(left, right, 12, seen, n_threads=1)
    same_bits(lists, check(left, right, 12, seen, n_threads=3))
    check(left, right, 12, seen, rng.permutation(300)[:200])
    targets = rng.random((70, 300)) < 0.05
    for n_threads in (1, 3):
        found = ranks_of(left, right, pair(targets), skip=pair(seen), n_threads=n_threads)
        np.testing.assert_array_equal(found, slow_ranks(left, right, targets, seen))


@both_dtypes
@pytest.mark.parametrize("n", [1, 5, 31, 32, 33, 200])
@pytest.mark.parametrize("order", ["mixed", "rising", "falling"])
def test_short_and_long_lists_beyond_the_kept_scores(dtype, n, order, monkeypatch):
    monkeypatch.setattr(kernels, "KEPT", 2 * WIDE)
    left, right = whole((17, 3), 1, dtype), whole((260, 3), 2, dtype)
    if order != "mixed":
        left = np.abs(left) + 1
        right = np.sort(right, axis=0)[:: 1 if order == "rising" else -1]
    rng = np.random.default_rng(0)
    seen = rng.random((17, 260)) < np.linspace(0, 1, 17)[:, None]
    check(left, right, n)
    check(left, right, n, seen)
    check(left, right, n, seen, rng.permutation(260)[:190])


def test_worked_by_hand():
    left, right = [[1.0, 0], [0, -1]], [[2.0, 1], [5, 0], [2, -3], [2, 7]]
    lists = top_n(left, right, 3, skip=([0, 1, 2], [1, 0]))
    np.testing.assert_array_equal(lists.indptr, [0, 3, 6])
    np.testing.assert_array_equal(lists.items, [0, 2, 3, 2, 1, 3])
    np.testing.assert_array_equal(lists.scores, [2, 2, 2, 3, 0, -7])
    higher, tied = ranks_of(left, right, ([0, 2, 3], [0, 2, 3]), skip=([0, 0, 1], [1]))
    np.testing.assert_array_equal(higher, [1, 1, 2])
    np.testing.assert_array_equal(tied, [1, 1, 0])


def test_equal_scores_come_by_index():  # R53
    lists = top_n(np.ones((3, 2)), np.ones((100, 2)), 5)
    np.testing.assert_array_equal(lists.items, list(range(5)) * 3)
    lists = top_n(np.ones((3, 2)), np.ones((100, 2)), 5, among=np.arange(99, 0, -3))
    np.testing.assert_array_equal(lists.items, [3, 6, 9, 12, 15] * 3)


@both_dtypes
def test_real_numbers_are_near_an_exact_product(dtype):
    left, right = real(50, 700, 33, dtype)
    lists = top_n(left, right, 700)
    exact = left.astype(np.longdouble) @ right.astype(np.longdouble).T
    bound = 33 * np.finfo(dtype).eps * (np.abs(left) @ np.abs(right).T)  # of any order of sums
    for i, (items, scores) in enumerate(zip(split(lists), split(lists, "scores"), strict=True)):
        np.testing.assert_array_equal(np.sort(items), np.arange(700))
        assert (np.diff(scores) <= 0).all()
        assert (np.abs(scores - exact[i, items]) <= bound[i, items]).all()


@both_dtypes
def test_alone_and_together_the_same_bits(dtype):
    left, right = real(37, 200, 19, dtype)
    seen = np.random.default_rng(1).random((37, 200)) < 0.2
    together = top_n(left, right, 200)
    table = np.full((37, 200), np.nan, dtype)
    rows = np.repeat(np.arange(37), 200)
    table[rows, together.items] = together.scores

    def same_scores(lists, rows):
        rows = np.repeat(rows, np.diff(lists.indptr))
        assert lists.scores.tobytes() == table[rows, lists.items].tobytes()

    few = np.random.default_rng(2).permutation(200)[:77]
    for i in range(37):
        same_scores(top_n(left[i : i + 1], right, 50), [i])
    same_scores(top_n(left, right, 9, among=few, skip=pair(seen)), np.arange(37))
    same_scores(top_n(left[::-1].copy(), right, 9, n_threads=2), np.arange(37)[::-1])
    for j in (0, 3, 150, 199):
        alone = top_n(left, right[j : j + 1], 1)
        assert alone.scores.tobytes() == table[:, j].tobytes()


@both_dtypes
def test_ranks_use_the_bits_of_the_lists(dtype):
    """Items twice, far apart: a target must tie with its copy and with nothing else."""
    left, right = real(11, 90, 21, dtype)
    right = np.concatenate([right, right])
    targets = np.zeros((11, 180), bool)
    targets[:, ::7] = True
    targets[:, 90:] = False
    higher, tied = ranks_of(left, right, pair(targets))
    np.testing.assert_array_equal(tied, 1)
    lists = top_n(left, right, 180)
    for i, items in enumerate(split(lists)):
        place = {int(item): k for k, item in enumerate(items)}
        left_over = items[~targets[i][items]]
        for e, j in enumerate(np.flatnonzero(targets[i])):
            before = sum(place[int(item)] < place[int(j)] for item in left_over)
            assert higher[i * 13 + e] == before


def test_any_number_of_threads_and_kind_of_array():
    left, right = real(500, 300, 12)
    seen = np.random.default_rng(1).random((500, 300)) < 0.1
    assert len(chunks.even_edges(np.arange(501), 64)) > 2
    indptr, indices = pair(seen)
    lists = top_n(left, right, 10, skip=(indptr, indices), n_threads=1)
    for n_threads in (2, 3, 8):
        same_bits(lists, top_n(left, right, 10, skip=(indptr, indices), n_threads=n_threads))
    wide = indptr.astype(np.uint64), indices.astype(np.int64)
    same_bits(lists, top_n(np.asfortranarray(left), right[:, :], 10, skip=wide))
    odd = np.repeat(right, 2, axis=0)[::2]
    same_bits(lists, top_n(left.astype(">f4"), odd, 10, skip=[list(indptr), list(indices)]))
    both = top_n(left, right.astype(np.float64), 10)
    assert both.scores.dtype == np.float64
    same_bits(both, top_n(left.astype(np.float64), right.astype(np.float64), 10))


def test_nothing_asked_or_nothing_there():
    left, right = real(3, 20, 4)
    everything = np.ones((3, 20), bool)
    for lists in (
        top_n(left, right, 0),
        top_n(left, right[:0], 5),
        top_n(left, right, 5, among=[]),
        top_n(left, right, 5, skip=pair(everything)),
        top_n(left, right, 5, among=[3, 1], skip=pair(everything)),
    ):
        np.testing.assert_array_equal(lists.indptr, [0, 0, 0, 0])
        assert lists.items.size == lists.scores.size == 0
    lists = top_n(left[:0], right, 5)
    np.testing.assert_array_equal(lists.indptr, [0])
    lists = top_n(left[:, :0], right[:, :0], 2)
    np.testing.assert_array_equal(lists.items, [0, 1] * 3)
    assert not lists.scores.any()
    higher, tied = ranks_of(left, right, pair(~everything))
    assert higher.size == tied.size == 0
    higher, tied = ranks_of(left, right, pair(everything))
    assert not higher.any()
    assert not tied.any()


def test_scores_below_all_others_are_found_too():
    """The largest and smallest numbers that are allowed: -inf must not stand for a score."""
    far = np.array([[-1e19], [1e19], [-1e-30], [0]], np.float32)
    lists = check(np.array([[1e19], [-1e19]], np.float32), far, 4)
    assert np.isfinite(lists.scores).all()


@pytest.mark.thread_unsafe(reason="memory of other threads counts")
@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="a minute, with NumPy's memory in it")
def test_memory_does_not_grow_with_the_scores():
    import tracemalloc

    left, right = real(2000, 3000, 4)
    top_n(left[:20], right, 5)
    tracemalloc.start()
    lists = top_n(left, right, 5, n_threads=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    output = lists.items.nbytes + lists.scores.nbytes + lists.indptr.nbytes
    assert peak < output + (1 << 20)  # all scores are 24 MB
    ranks_of(left[:20], right, (np.arange(21), np.arange(20)))
    tracemalloc.start()
    ranks_of(left, right, (np.arange(2001), np.arange(2000)), n_threads=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


LEFT, RIGHT = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
SKIPS = [
    (None, TypeError, "must be"),
    (3, TypeError, "must be"),
    (([0, 0, 0],), TypeError, "got 1 things"),
    (([0, 1], [1]), ValueError, "a row for each of 2; got 1"),
    (([0, 0, 1, 1], [1]), ValueError, "a row for each of 2; got 3"),
    (([1, 1, 1], [1]), ValueError, "begin with 0"),
    (([0, 1, 0], [1]), ValueError, "must not fall"),
    (([0, 1, 3], [1, 2]), ValueError, "end with the number of items"),
    (([0, 1, 1], [1, 2]), ValueError, "end with the number of items"),
    (([0, -1, 2], [1, 2]), ValueError, "must not fall"),
    (([0, 1, 2], [1, 4]), ValueError, "from 0 to n_items - 1 = 3; got 4"),
    (([0, 1, 2], [-1, 2]), ValueError, "from 0 to n_items - 1 = 3; got -1"),
    (([0, 2, 2], [2, 1]), ValueError, "row 0 has 1 after 2"),
    (([0, 0, 2], [1, 1]), ValueError, "row 1 has item 1 twice"),
    (([0, 1, 2], [1.0, 2.0]), TypeError, "integers"),
    (([0.0, 1, 2], [1, 2]), TypeError, "integers"),
    (([0, 1, 2], [[1, 2]]), ValueError, "vector"),
    (([0, 1, 2], [[1], [1, 2]]), ValueError, "vector"),
    (([0, 1, 2], [True, False]), TypeError, "integers"),
]


@pytest.mark.parametrize(("value", "kind", "words"), SKIPS)
def test_malformed_lists_are_refused(value, kind, words):
    if value is not None:
        with pytest.raises(kind, match=f"(?s)`skip.*{words}"):
            top_n(LEFT, RIGHT, 1, skip=value)
        with pytest.raises(kind, match=f"(?s)`skip.*{words}"):
            ranks_of(LEFT, RIGHT, ([0, 0, 1], [1]), skip=value)
    with pytest.raises(kind, match=f"(?s)`targets.*{words}"):
        ranks_of(LEFT, RIGHT, value)


@pytest.mark.parametrize(
    ("among", "kind", "words"),
    [
        ([0, 4], ValueError, "`among` must hold item numbers from 0 to n_items - 1 = 3; got 4"),
        ([-1], ValueError, "`among` must hold item numbers from 0"),
        ([2, 1, 2], ValueError, "`among` must have no item twice; got 2"),
        ([0.5], TypeError, "`among` must hold integers"),
        (np.ones(4, bool), TypeError, "`among` must hold integers"),
        ([[1]], ValueError, "`among` must be a vector"),
        (2, ValueError, "`among` must be a vector"),
    ],
)
def test_malformed_among_is_refused(among, kind, words):
    with pytest.raises(kind, match=words):
        top_n(LEFT, RIGHT, 1, among=among)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"left": np.ones((2, 4))}, ValueError, r"same number of columns.*\(2, 4\).*\(4, 3\)"),
        ({"left": np.ones(3)}, ValueError, "`left` must be 2-d"),
        ({"right": "items"}, ValueError, "`right`"),
        ({"right": np.full((4, 3), np.nan)}, ValueError, "`right` must be finite"),
        ({"left": np.full((2, 3), np.inf)}, ValueError, "`left` must be finite"),
        ({"left": sp.csr_array(np.ones((2, 3)))}, TypeError, "`left` must be dense"),
        ({"left": np.full((2, 3), 1j)}, TypeError, "`left` must hold real numbers"),
        ({"left": np.full((2, 3), 2e38, np.float32)}, ValueError, "float32 cannot hold.*float64"),
        ({"left": np.full((2, 3), 1e200), "right": np.full((4, 3), 1e200)}, ValueError, "hold"),
        ({"n": -1}, ValueError, "`n` must be an int of at least 0; got -1"),
        ({"n": 2.0}, TypeError, "`n` must be an int"),
        ({"n": True}, TypeError, "`n` must be an int"),
        ({"n": None}, TypeError, "`n` must be an int"),
        ({"n_threads": 0}, ValueError, "`n_threads` must be an int of at least 1"),
    ],
)
def test_bad_arguments_are_named(change, kind, words):
    arguments = {"left": LEFT, "right": RIGHT, "n": 1} | change
    with pytest.raises(kind, match=words):
        top_n(**arguments)
    if "n" not in change:
        with pytest.raises(kind, match=words):
            ranks_of(**{k: v for k, v in arguments.items() if k != "n"}, targets=([0, 0, 0], []))


def run_again(code, *arguments, **environment):
    outcome = subprocess.run(
        [sys.executable, *code, *arguments],
        env=os.environ | environment,
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, (outcome.stdout + outcome.stderr)[-3000:]


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="this is that run")
def test_everything_with_the_jit_off():
    run_again(["-m", "pytest", "-q", "-p", "no:cacheprovider", __file__], NUMBA_DISABLE_JIT="1")


NARROW = """
import sys
import llvmlite.binding as llvm
bytes_, *without = sys.argv[1:]
features = llvm.get_host_cpu_features()
for name in features:
    features[name] &= not name.startswith(tuple(without))
llvm.get_host_cpu_features = lambda: features
sys.path.insert(0, "tests")
import numpy as np
import test_top as tests
assert tests.kernels.BYTES <= int(bytes_), tests.kernels.BYTES
for dtype in (np.float32, np.float64):
    for k in (3, 8, 17):
        tests.test_sizes_around_panels_and_vectors(dtype, 2 * tests.WIDE + 3, k)
    tests.test_alone_and_together_the_same_bits(dtype)
    tests.test_ranks_use_the_bits_of_the_lists(dtype)
"""


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="tiles are NumPy with the JIT off")
@pytest.mark.parametrize(("bytes_", "without"), [("32", ["avx512"]), ("16", ["avx", "fma"])])
def test_tiles_of_processors_with_narrower_vectors(bytes_, without, tmp_path):
    run_again(["-c", NARROW], bytes_, *without, NUMBA_CACHE_DIR=str(tmp_path))
