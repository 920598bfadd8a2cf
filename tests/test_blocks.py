"""Block stores and fits over them in one process: `wlrmf.fit` is the oracle."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import wlrmf
from wlrmf.io import DataFileError
from wlrmf.solvers import ALS

pytest.importorskip("pyarrow")
import pyarrow as pa
import pyarrow.parquet as pq
from stores import COLUMNS, cells, store, write

import wlrmf.distributed as wd

PLAIN = ALS(acceleration=None)
KINDS = [{}, {"bias": True}, {"baseline": 0.3}, {"baseline": 0.3, "bias": True}]


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return tmp_path_factory.mktemp("blocks")


@pytest.mark.parametrize("blocks", [(1, 1), (2, 2), (7, 50), (50, 7)])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_sweeps_are_those_of_fit(room, blocks, kind):
    opened, Y, C = kept(room, blocks, weighted=True, dtype="float64")
    start = np.random.default_rng(1).standard_normal((4, Y.shape[1]))
    about = {"reg": (1.0, 2.0), "solver": PLAIN, "reg_scaling": "count"} | kind
    about["stop"] = wlrmf.Stop(max_iter=6, gtol=0, ftol=0)
    model = wd.fit_local(opened, 4, start=start, **about)
    twin = wlrmf.fit(Y, rank=4, weights=C, start=(np.ones((4, Y.shape[0])), start), **about)
    assert model.value == pytest.approx(twin.value, rel=1e-12)
    assert model.loss == pytest.approx(twin.loss, rel=1e-11)
    local = model.to_local()
    np.testing.assert_allclose(local.reconstruct(), twin.reconstruct(), rtol=1e-9, atol=1e-9)
    assert local.mean == pytest.approx(twin.mean)
    assert model.n_iter == twin.n_iter == 6


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_accelerated_fits_end_where_fit_does(room, kind):
    opened, Y, C = kept(room, (2, 3), weighted=True, dtype="float64")
    stop = wlrmf.Stop(gtol=1e-9, ftol=0, max_iter=2000)
    model = wd.fit_local(opened, 2, reg=30.0, stop=stop, **kind)
    twin = wlrmf.fit(Y, rank=2, weights=C, reg=30.0, solver="als", stop=stop, **kind)
    assert model.success
    assert model.value == pytest.approx(twin.value, rel=1e-9)
    np.testing.assert_allclose(model.to_local().reconstruct(), twin.reconstruct(), atol=1e-5)


def test_value_falls_and_acceleration_pays(room):
    opened, _, _ = kept(room, (2, 3), weighted=True, dtype="float64")
    stop = wlrmf.Stop(gtol=0, ftol=1e-7)
    fast = wd.fit_local(opened, 6, reg=1.0, stop=stop)
    plain = wd.fit_local(opened, 6, reg=1.0, solver=PLAIN, stop=stop)
    for model in (fast, plain):
        assert (np.diff(model.trace.value) <= 1e-12 * model.value).all()
    assert fast.n_iter < plain.n_iter / 2


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_gradient_by_its_taylor_slope(room, kind):
    opened, _, _ = kept(room, (2, 3), weighted=True, dtype="float64")
    model = wd.fit_local(opened, 3, reg=2.0, stop=wlrmf.Stop(max_iter=1), **kind)
    from wlrmf.distributed.engine import Local
    from wlrmf.distributed.objective import ItemsObjective

    objective = ItemsObjective(opened, model.terms, model.v, Local(), 0)
    none = np.zeros((0, model.terms.layout.columns))
    X = model.right.copy()
    value, _, dX = objective.value_and_grad(none, X)
    D = np.zeros_like(X)
    free = model.terms.layout.free_X
    D[:, free] = np.random.default_rng(0).standard_normal(D[:, free].shape)
    slope = float(np.sum(D * dX))
    errors = []
    for t in (1e-3, 5e-4):
        ahead, _, _ = objective.value_and_grad(none, X + t * D)
        errors.append(abs(ahead - value - t * slope))
    assert 3.5 < errors[0] / errors[1] < 4.5


def test_spectral_start_is_that_of_fit(room):
    opened, Y, C = kept(room, (7, 50), weighted=True, dtype="float64")
    ours = wd.fit_local(opened, 3, reg=1.0, stop=wlrmf.Stop(max_iter=0)).item_factors
    fits = wlrmf.fit(Y, rank=3, weights=C, reg=1.0, solver="als", stop=wlrmf.Stop(max_iter=0)).X.T
    angles = np.linalg.svd(np.linalg.qr(ours)[0].T @ np.linalg.qr(fits)[0])[1]
    assert angles.min() > 0.99
    assert np.linalg.norm(ours) == pytest.approx(np.linalg.norm(fits), rel=0.05)


def test_threads_do_not_change_a_bit(room):
    opened, _, _ = kept(room, (2, 3), m=3000, n=400)
    one, two = (wd.fit_local(opened, 5, reg=1.0, n_threads=k) for k in (1, 2))
    assert one.value == two.value
    assert np.array_equal(one.right, two.right)


def test_float32_fit_is_close_to_that_of_fit(room):
    opened, Y, _ = kept(room, (2, 3))
    model = wd.fit_local(opened, 2, reg=30.0)
    twin = wlrmf.fit(Y, rank=2, reg=30.0, solver="als")
    assert model.right.dtype == np.float32
    assert model.value == pytest.approx(twin.value, rel=1e-5)


def test_user_factors_and_predictions(room, tmp_path):
    opened, _, _ = kept(room, (7, 50), weighted=True, dtype="float64")
    model = wd.fit_local(opened, 3, reg=1.0, bias=True)
    local = model.to_local()
    users = np.concatenate([block.factors for block in model.user_factors])
    np.testing.assert_array_equal(users, local.W.T)
    np.testing.assert_array_equal(
        np.concatenate([block.bias for block in model.user_factors]), local.row_bias
    )
    i, j = np.array([0, 299, 5]), np.array([79, 0, 3])
    np.testing.assert_allclose(model.predict(i, j), local.predict(i, j))
    paths = model.user_factors.to_parquet(tmp_path / "users")
    tables = [pq.read_table(path) for path in paths]
    whole = pa.concat_tables(tables)
    assert whole.column("id").to_pylist() == opened.user_ids.tolist()
    np.testing.assert_array_equal(np.array(whole.column("factors").to_pylist()), users)
    assert local.row_names[7] == str(opened.user_ids[7])
    local.save(tmp_path / "model.npz")
    assert wlrmf.load(tmp_path / "model.npz").value == model.value
    assert "rank 3" in repr(model)
    with pytest.raises(IndexError, match="`i`"):
        model.predict(300, 0)


def test_resumed_fit_has_the_bits_of_a_whole_one(room, tmp_path):
    opened, _, _ = kept(room, (2, 3))
    whole = wd.fit_local(opened, 3, reg=1.0, stop=wlrmf.Stop(max_iter=9, ftol=0))
    about = {"reg": 1.0, "checkpoint": tmp_path / "fit.npz", "resume": True}
    for last in (4, 9):
        part = wd.fit_local(
            opened, 3, stop=wlrmf.Stop(max_iter=last if last == 4 else 5, ftol=0), **about
        )
        assert part.n_iter == last
    assert np.array_equal(part.right, whole.right)
    assert part.value == whole.value


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"rank": 4}, "rank"),
        ({"reg": 2.0}, "ridges"),
        ({"bias": True}, "biases"),
        ({"baseline": 0.1}, "weights"),
        ({"blocks": {"seed": 1}}, "cells"),
        ({"blocks": {"dtype": "float64"}}, "dtype"),
    ],
    ids=str,
)
def test_resuming_another_fit_names_what_differs(room, tmp_path, change, word):
    opened, _, _ = kept(room, (2, 3))
    about = {"rank": 3, "reg": 1.0, "checkpoint": tmp_path / "fit.npz"}
    wd.fit_local(opened, stop=wlrmf.Stop(max_iter=2), **about)
    other = change.pop("blocks", None)
    if other:
        opened = store(tmp_path, (2, 3), **other)[0]
    with pytest.raises(ValueError, match=f"fit.npz is of another fit: its .*{word}"):
        wd.fit_local(opened, resume=True, **(about | change))


def test_resuming_permuted_data_is_an_error(tmp_path):
    i, j, y, c = cells()
    about = {"rank": 3, "reg": 1.0, "checkpoint": tmp_path / "fit.npz"}
    for name, values in (("a", y), ("b", y[::-1])):
        write(tmp_path / f"{name}.parquet", i, j, values, c)
    first, second = (
        wd.ingest(tmp_path / f"{name}.parquet", tmp_path / name, **COLUMNS) for name in "ab"
    )
    wd.fit_local(first, **about)
    with pytest.raises(ValueError, match="of another fit"):
        wd.fit_local(second, resume=True, **about)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_empty_blocks(tmp_path, number):
    # R78
    i, j, y, c = cells(m=6, n=5, share=0.8)
    c[i == 2] = 0  # a user without cells
    path = write(tmp_path / "few.parquet", i, j, y, c)
    counts = (3, 20, 50)[number]
    opened = wd.ingest(
        path, tmp_path / "few", **COLUMNS, weight="weight", dtype="float64",
        n_user_blocks=counts, n_item_blocks=counts,
    )  # fmt: skip
    assert len(opened.rows) == counts
    assert (opened.row_counts == 0).sum() == 1
    for kind in KINDS:
        model = wd.fit_local(opened, 2, reg=1.0, **kind)
        assert model.success
        if "baseline" not in kind:
            assert not model.to_local().W[:, 2].any()


def test_many_files_csv_and_parquet_make_one_store(tmp_path):
    i, j, y, c = cells()
    folder = tmp_path / "csv"
    (folder / "deep").mkdir(parents=True)
    thirds = np.array_split(np.arange(i.size), 3)
    for k, part in enumerate(thirds):
        target = folder / ("deep" if k == 2 else "") / f"{k}.csv"
        lines = [f"{i[q]},item {j[q]:04},{float(y[q])!r},{float(c[q])!r}" for q in part.tolist()]
        target.write_text("user,item,rating,weight\n" + "\n".join(lines) + "\n")
    one = wd.ingest(
        write(tmp_path / "a.parquet", i, j, y, c), tmp_path / "one", **COLUMNS, dtype="float64"
    )
    sources = folder, str(folder / "**" / "*.csv"), sorted(map(str, folder.rglob("*.csv")))
    for k, source in enumerate(sources):
        two = wd.ingest(source, tmp_path / f"two{k}", **COLUMNS, dtype="float64")
        assert [p.crc for p in (*two.rows, *two.cols)] == [p.crc for p in (*one.rows, *one.cols)]
        assert two.user_ids.dtype == np.int64
        assert np.array_equal(two.item_ids, one.item_ids)


@pytest.mark.parametrize("duplicates", ["sum", "mean", "last"])
@pytest.mark.parametrize("weighted", [False, True])
def test_duplicates_as_read_triplets_has_them(tmp_path, duplicates, weighted):
    i, j, y, c = cells(m=40, n=30)
    i, j, y, c = (np.concatenate([a, a[::2], a[::3]]) for a in (i, j, y, c))
    y = y + np.arange(y.size)
    path = write(tmp_path / "a.parquet", i, j, y, c, rows=97)
    weight = "weight" if weighted else None
    opened = wd.ingest(
        path, tmp_path / "s", **COLUMNS, weight=weight, dtype="float64", duplicates=duplicates
    )
    table = wlrmf.io.read_triplets(
        path, rows="user", cols="item", values="rating", weights=weight, duplicates=duplicates
    )
    expected = table.matrix.tocsr()
    got = np.zeros(opened.shape)
    for part in opened.rows:
        cell = part.open()
        rows = part.lo + np.repeat(np.arange(part.rows), np.diff(cell.indptr))
        got[rows, cell.columns[cell.indices]] = cell.y
    np.testing.assert_allclose(got, expected.toarray())
    with pytest.raises(DataFileError, match=r"repeat an earlier pair.*`duplicates`"):
        wd.ingest(path, tmp_path / "t", **COLUMNS)
    assert not list(tmp_path.glob(".t*"))


def test_input_that_changes_between_readings(tmp_path, monkeypatch):
    # R77
    from wlrmf.distributed import build

    i, j, y, c = cells()
    path = write(tmp_path / "a.parquet", i, j, y, c)
    scan = build.scan

    def change_after(piece, names):
        seen = scan(piece, names)
        if piece.number == 3:
            write(tmp_path / "a.parquet", i, j, y + (np.arange(y.size) == 500), c)
        return seen

    monkeypatch.setattr(build, "scan", change_after)
    with pytest.raises(DataFileError, match=r"a.parquet: changed between two readings"):
        wd.ingest(path, tmp_path / "s", **COLUMNS)
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]


@pytest.mark.parametrize("spoil", ["change", "cut", "grow", "remove"])
def test_block_that_changes_between_sweeps(room, tmp_path, spoil):
    # R77
    first, _, _ = kept(room, (2, 3))
    shutil.copytree(first.path, tmp_path / "copy")
    opened = wd.open_blocks(tmp_path / "copy")
    path = opened.cols[1].path

    def spoil_at(state):
        data = path.read_bytes()
        if state.iteration == 2 and spoil == "change":
            path.write_bytes(data[:-70] + bytes(70))
        elif state.iteration == 2 and spoil == "remove":
            path.unlink()
        elif state.iteration == 2:
            path.write_bytes(data[:-64] if spoil == "cut" else data + bytes(64))

    with pytest.raises(DataFileError, match=r"cols-00001\.block: "):
        wd.fit_local(opened, 3, reg=1.0, callback=spoil_at)


def test_forged_indices_are_refused(room, tmp_path):
    import zlib

    first, _, _ = kept(room, (1, 1))
    shutil.copytree(first.path, tmp_path / "copy")
    path = tmp_path / "copy" / "rows-00000.block"
    part = first.rows[0]
    before = -(-8 * part.columns // 64) * 64 + -(-8 * (part.rows + 1) // 64) * 64
    data = bytearray(path.read_bytes())
    data[before : before + 4] = (2**30).to_bytes(4, "little")
    path.write_bytes(data)
    manifest = tmp_path / "copy" / "manifest.json"
    about = json.loads(manifest.read_text())
    about["rows"][0][-1] = zlib.crc32(data)
    manifest.write_text(json.dumps(about))
    with pytest.raises(DataFileError, match="out of range"):
        wd.fit_local(wd.open_blocks(tmp_path / "copy"), 2, reg=1.0)


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.pop("shape"),
        lambda about: about.update(version=99),
        lambda about: about.update(schema="other"),
        lambda about: about.update(dtype="object"),
        lambda about: about["rows"][0].__setitem__(1, 7),
        lambda about: about["rows"][0].__setitem__(2, -1),
        lambda about: about["rows"][0].__setitem__(2, 1.5),
        lambda about: about["sums"].update(weight=float("nan")),
        lambda about: about["rows"].pop(),
        lambda about: about.update(rows=None),
    ],
)
def test_damaged_manifest(room, tmp_path, change):
    first, _, _ = kept(room, (2, 3))
    about = json.loads((room / first.path / "manifest.json").read_text())
    change(about)
    (tmp_path / "manifest.json").write_text(json.dumps(about))
    with pytest.raises(DataFileError, match=r"manifest.json: no manifest"):
        wd.open_blocks(tmp_path)
    (tmp_path / "manifest.json").write_text("[[" * 10**5)
    with pytest.raises(DataFileError):
        wd.open_blocks(tmp_path)


def test_ingest_refuses(tmp_path):
    i, j, y, c = cells(m=20, n=10)
    path = write(tmp_path / "a.parquet", i, j, y, c)
    with pytest.raises(DataFileError, match=r"no column 'stars'.*'rating'"):
        wd.ingest(path, tmp_path / "s", user="user", item="item", value="stars")
    with pytest.raises(ValueError, match="columns of their own"):
        wd.ingest(path, tmp_path / "s", user="user", item="user")
    with pytest.raises(TypeError, match="`user` must be the name"):
        wd.ingest(path, tmp_path / "s", user=3, item="item")
    with pytest.raises(ValueError, match="`n_item_blocks`"):
        wd.ingest(path, tmp_path / "s", **COLUMNS, n_item_blocks=0)
    with pytest.raises(ValueError, match="`dtype`"):
        wd.ingest(path, tmp_path / "s", **COLUMNS, dtype="int8")
    with pytest.raises(DataFileError, match="no such file"):
        wd.ingest(tmp_path / "b.parquet", tmp_path / "s", **COLUMNS)
    with pytest.raises(FileExistsError, match="something already"):
        wd.ingest(path, tmp_path, **COLUMNS)
    y[3] = np.nan
    with pytest.raises(DataFileError, match=r"a.parquet: column 'rating' is missing.*row 4"):
        wd.ingest(write(path, i, j, y, c), tmp_path / "s", **COLUMNS)
    y[3], c[7] = 1e39, -1
    with pytest.raises(DataFileError, match="too large for float32"):
        wd.ingest(write(path, i, j, y, c), tmp_path / "s", **COLUMNS)
    with pytest.raises(DataFileError, match="'weight': data row 8 is -1"):
        wd.ingest(path, tmp_path / "s", **COLUMNS, weight="weight")
    (tmp_path / "empty.csv").write_text("user,item,rating\n")
    with pytest.raises(DataFileError, match="no rows"):
        wd.ingest(tmp_path / "empty.csv", tmp_path / "s", **COLUMNS)
    with pytest.raises(DataFileError, match="both csv and parquet"):
        wd.ingest(tmp_path, tmp_path.parent / "s", **COLUMNS)
    assert not list(tmp_path.glob(".s*"))


def test_fit_refuses(room):
    opened, Y, _ = kept(room, (2, 3))
    with pytest.raises(TypeError, match="`blocks` must be a block store"):
        wd.fit_local(Y, 3, reg=1.0)
    with pytest.raises(TypeError, match="`rank` must be an int"):
        wd.fit_local(opened, "auto", reg=1.0)
    with pytest.raises(ValueError, match="`rank`"):
        wd.fit_local(opened, 0, reg=1.0)
    with pytest.raises(ValueError, match="`reg` must be a number or a pair"):
        wd.fit_local(opened, 3, reg=(np.ones(300), np.ones(80)))
    with pytest.raises(ValueError, match="reg_scaling"):
        wd.fit_local(opened, 3, reg=1.0, reg_scaling="rows")
    with pytest.raises(ValueError, match="'varpro' does not run over blocks"):
        wd.fit_local(opened, 3, reg=1.0, solver="varpro")
    with pytest.raises(ValueError, match="no gap"):
        wd.fit_local(opened, 3, reg=1.0, stop=wlrmf.Stop(gap=1e-3))
    with pytest.raises(ValueError, match=r"`baseline\[1\]`"):
        wd.fit_local(opened, 3, reg=1.0, baseline=(1.0, np.ones(3)))
    with pytest.raises(ValueError, match="`start`"):
        wd.fit_local(opened, 3, reg=1.0, start=np.ones((2, 80)))
    with pytest.raises(ValueError, match="`resume` needs `checkpoint`"):
        wd.fit_local(opened, 3, reg=1.0, resume=True)
    with pytest.raises(TypeError, match="`checkpoint`"):
        wd.fit_local(opened, 3, reg=1.0, checkpoint=3)
    with pytest.raises(wlrmf.NotConvergedError):
        wd.fit_local(opened, 3, reg=1.0, stop=wlrmf.Stop(max_iter=1), throw=True)


def test_callback_ends_a_fit_and_ctrl_c_keeps_it(room, tmp_path):
    opened, _, _ = kept(room, (2, 3))

    def stop(state):
        if state.iteration == 3:
            raise StopIteration

    model = wd.fit_local(opened, 3, reg=1.0, callback=stop)
    assert (model.n_iter, model.status) == (3, wlrmf.Status.CALLBACK)

    def interrupt(state):
        if state.iteration == 3:
            raise KeyboardInterrupt

    path = tmp_path / "fit.npz"
    with pytest.raises(KeyboardInterrupt) as caught:
        wd.fit_local(opened, 3, reg=1.0, callback=interrupt, checkpoint=path)
    part = caught.value.partial_result
    assert part.n_iter == 3
    assert part.loss < part.value
    assert wlrmf.Checkpoint(path).latest().iteration == 3


def test_plan(room):
    opened, _, _ = kept(room, (7, 50), weighted=True, dtype="float64")
    expected = wd.plan(opened, 4, workers=2)
    needed = sum(part.columns for part in opened.cols)
    m, n = opened.shape
    assert expected.full_bytes == 6 * n * 32 + m * 32
    assert expected.routed_bytes == 6 * n * 32 + needed * 32 / 2
    assert expected.disk == opened.nbytes
    assert expected.tasks == 3 * 7 + 50 + (350 if expected.exchange == "routed" else 0)
    large = wd.plan((10**8, 10**6, 10**9), 64, workers=50)
    assert large.routed_bytes < large.full_bytes / 2
    assert large.exchange == "routed"
    assert large.iteration_seconds > large.compute_seconds > 0
    assert "an iteration" in str(large)
    with pytest.raises(TypeError, match="`blocks`"):
        wd.plan("store", 3)
    with pytest.raises(ValueError, match="`workers`"):
        wd.plan(opened, 3, workers=0)


OUT_OF_CORE = """
import sys, re, wlrmf, wlrmf.distributed as wd
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10
blocks = wd.open_blocks(sys.argv[1])
few = wlrmf.Stop(max_iter=2, ftol=0)
small = wd.open_blocks(sys.argv[2])
wd.fit_local(small, 4, reg=1.0, stop=few, n_threads=1)  # compiles, and fills what stays
before = peak()
wd.fit_local(blocks, 4, reg=1.0, stop=few, n_threads=1)
print(peak() - before, blocks.nbytes, wd.plan(blocks, 4).local_memory)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.thread_unsafe(reason="measures a process of its own")
def test_store_larger_than_the_memory_it_takes(tmp_path):
    chance = np.random.default_rng(0)
    m, n, each = 20_000, 2_000, 250
    i = np.repeat(np.arange(m), each)
    j = (chance.integers(0, n, m)[:, None] + 7 * np.arange(each)) % n
    table = pa.table({"user": i, "item": j.ravel(), "rating": chance.standard_normal(i.size)})
    pq.write_table(table, tmp_path / "large.parquet", row_group_size=1 << 18)
    large = wd.ingest(
        tmp_path / "large.parquet", tmp_path / "large", **COLUMNS,
        n_user_blocks=32, n_item_blocks=32,
    )  # fmt: skip
    small = store(tmp_path, (2, 2))[0]
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_CORE, large.path, small.path],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    grown, size, stated = map(float, done.stdout.split())
    assert size > 8e7
    assert grown < stated + 1e7 < size / 4


def kept(room, blocks, **about):
    """A store of this room, made once."""
    key = (blocks, *sorted(about.items()))
    if key not in KEPT:
        place = room / str(len(KEPT))
        place.mkdir()
        KEPT[key] = store(place, blocks, **about)
    return KEPT[key]


KEPT = {}
