"""`wlrmf ingest`, and `wlrmf fit` of block stores."""

import numpy as np
import pytest

import wlrmf
from wlrmf.cli import main

pytest.importorskip("pyarrow")
pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("rich", reason="the command line needs rich")
import pyarrow.parquet as pq
from stores import cells, write

import wlrmf.distributed as wd

pytestmark = pytest.mark.thread_unsafe(reason="changes directory, captures output")
NAMES = ("--rows", "user", "--cols", "item", "--values", "rating")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "cells.parquet", *cells())
    return tmp_path


def test_store_and_model(place, capsys):
    assert main(["ingest", "cells.parquet", *NAMES, "--out", "store", "--row-blocks", "3"]) == 0
    assert "300 × 80, 7194 observed cells" in capsys.readouterr().out
    blocks = wd.open_blocks("store")
    assert len(blocks.rows) == 3
    assert main(["fit", "store", "--rank", "3", "--reg", "1", "--bias"]) == 0
    out = capsys.readouterr().out
    assert "rank 3 + biases, float32" in out
    model = wlrmf.load("store.wlrmf.npz")
    twin = wd.fit_local(blocks, 3, reg=1.0, bias=True)
    assert model.value == twin.value
    assert main(["predict", "store.wlrmf.npz", "--row", "17", "--col", "item 0003"]) == 0
    assert float(capsys.readouterr().out) == pytest.approx(model.predict(17, 3))


def test_factors_and_checkpoint(place, capsys):
    assert main(["ingest", "cells.parquet", *NAMES, "--out", "store", "--quiet"]) == 0
    about = ["fit", "store", "--rank", "3", "--reg", "1,2", "--reg-scaling", "count"]
    about += ["--factors", "factors", "--checkpoint", "fit.npz", "--quiet"]
    assert main([*about, "--max-iter", "3"]) == 0
    assert main([*about, "--resume"]) == 0
    assert not (place / "store.wlrmf.npz").exists()
    twin = wd.fit_local(wd.open_blocks("store"), 3, reg=(1.0, 2.0), reg_scaling="count")
    items = pq.read_table("factors/items.parquet")
    np.testing.assert_array_equal(np.array(items["factors"].to_pylist()), twin.item_factors)
    users = sorted(place.glob("factors/users-*.parquet"))
    assert sum(pq.read_metadata(path).num_rows for path in users) == 300
    assert main([*about[:-1], "--resume", "--baseline", "1"]) == 2
    assert "is of another fit: its sum of weights" in capsys.readouterr().err


@pytest.mark.timeout(120)
def test_local_cluster(place, capfd):
    pytest.importorskip("distributed")
    local = ["--local-cluster", "2", "--quiet"]
    assert main(["ingest", "cells.parquet", *NAMES, "--out", "store", *local]) == 0
    assert main(["fit", "store", "--rank", "3", "--reg", "1", "--factors", "f", *local]) == 0
    items = pq.read_table("f/items.parquet")
    twin = wd.fit_local(wd.open_blocks("store"), 3, reg=1.0)
    np.testing.assert_array_equal(np.array(items["factors"].to_pylist()), twin.item_factors)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["ingest", "cells.parquet", *NAMES], "Missing option '--out'"),
        (["ingest", "cells.parquet", *NAMES, "--out", "store"], "something already"),
        (["ingest", "none/*.csv", *NAMES, "--out", "s"], "none/*.csv: no such file"),
        (["ingest", "cells.parquet", "--rows", "u", "--cols", "item", "--out", "s"], "no column"),
        (["ingest", "cells.parquet", *NAMES, "--out", "s", "--row-blocks", "0"], "n_user_blocks"),
        (["fit", "store", "--rank", "3", "--mask", "m.npy"], "--mask is not for a block store"),
        (["fit", "store", "--rank", "auto"], "--rank must be an int"),
        (["fit", "store", "--rank", "3", "--solver", "svd"], "--solver over blocks is als"),
        (["fit", "store", "--rank", "3", "--resume"], "--resume needs --checkpoint"),
        (["fit", ".", "--rank", "3"], "no block store: see wlrmf ingest"),
        (["fit", "cells.parquet", *NAMES, "--rank", "3", "--local-cluster", "2"], "block store"),
        (["fit", "cells.parquet", *NAMES, "--rank", "3", "--checkpoint", "c"], "block store"),
        (
            ["fit", "store", "--rank", "3", "--local-cluster", "2", "--distributed", "tcp://a:1"],
            "give one of them",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_arguments(place, capsys, words, reason):
    assert main(["ingest", "cells.parquet", *NAMES, "--out", "store", "--quiet"]) == 0
    assert main(words) == 2
    err = capsys.readouterr().err
    assert reason in err
    assert err.count("\n") == 1
