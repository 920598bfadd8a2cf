"""Files are replaced whole: an error leaves the old one and nothing else."""

import builtins
import errno
import io
import itertools
import os
import stat

import numpy as np
import pytest

from wlrmf import Checkpoint, archive, files, fit
from wlrmf.io import write_matrix

HEADER = {"rank": 3}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"


def some_arrays():
    return {"W": np.arange(6.0).reshape(2, 3), "ids": np.array(["a", "bc"])}


def assert_same(read, written):
    assert set(read) == set(written)
    for name, array in written.items():
        np.testing.assert_array_equal(read[name], array)


def test_an_array_larger_than_one_chunk(path, monkeypatch):
    monkeypatch.setattr(files, "CHUNK", 1000)
    array = np.random.default_rng(0).random((123, 45))
    archive.write(path, {"a": array}, {})
    np.testing.assert_array_equal(archive.read(path)[0]["a"], array)


# R65: failing writes.


class FailingFile(io.FileIO):
    """A disk that is full after so many writes."""

    left = 0

    def write(self, data):
        if type(self).left == 0:
            raise OSError(errno.ENOSPC, "no space left on device")
        type(self).left -= 1
        return super().write(data)


def save_model(path):
    archive.write(path, some_arrays(), HEADER)


def save_checkpoint(path):
    fit(np.outer([1.0, 2, 3], [2.0, 1]), rank=1, reg=0.1, callback=Checkpoint(path, seconds=0))


def save_matrix(path):
    write_matrix(path, np.arange(6.0).reshape(2, 3), row_names="ab")


@pytest.mark.parametrize("existed", [False, True])
@pytest.mark.parametrize(
    ("save", "name"),
    [
        (save_model, "model.npz"),
        (save_checkpoint, "fit.npz"),
        (save_matrix, "y.csv"),
        (save_matrix, "y.parquet"),
        (save_matrix, "y.npy"),
    ],
    ids=["model", "checkpoint", "csv", "parquet", "npy"],
)
def test_r65_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, save, name, existed):
    if name.endswith(("csv", "parquet")):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    if existed:
        path.write_bytes(b"old")
    monkeypatch.setattr(files, "open", lambda name, mode: FailingFile(name, mode), raising=False)
    for writes in itertools.count():  # each in its turn is the one that fails
        monkeypatch.setattr(FailingFile, "left", writes)
        try:
            save(path)
        except OSError as error:
            assert "no space left" in str(error)  # noqa: PT017
            assert [p.name for p in tmp_path.iterdir()] == [name] * existed
            assert not existed or path.read_bytes() == b"old"
        else:
            break
    assert writes > 0
    assert path.read_bytes() != b"old"


@pytest.mark.parametrize("function", ["replace", "fsync"])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "input/output error"), KeyboardInterrupt()])
def test_r65_a_failing_commit_leaves_the_old_file(path, monkeypatch, function, error):
    def fail(*args):
        raise error

    archive.write(path, some_arrays(), HEADER)
    monkeypatch.setattr(os, function, fail)
    with pytest.raises(type(error)):
        archive.write(path, {"W": np.zeros(100)}, {})
    monkeypatch.undo()
    assert [p.name for p in path.parent.iterdir()] == ["model.npz"]
    assert_same(archive.read(path)[0], some_arrays())


@pytest.mark.parametrize(("code", "raises"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_r65_a_directory_that_cannot_be_synced(path, monkeypatch, code, raises):
    real = os.fsync

    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, "no")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    if raises:
        with pytest.raises(OSError, match="no"):
            archive.write(path, some_arrays(), HEADER)
    else:
        archive.write(path, some_arrays(), HEADER)
    assert_same(archive.read(path)[0], some_arrays())  # the new file is there, whole


def test_r65_a_read_error_is_not_called_a_format_error(path, monkeypatch):
    class Broken(io.FileIO):
        def read(self, size=-1):
            raise OSError(errno.EIO, "input/output error")

    archive.write(path, some_arrays(), HEADER)
    monkeypatch.setattr(builtins, "open", lambda name, mode: Broken(name, mode))
    with pytest.raises(OSError, match="input/output error"):
        archive.read(path)


# Where a file may go.


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such directory.*absent"):
        archive.write(tmp_path / "absent" / "model.npz", {}, {})


def test_a_directory_or_a_device_is_not_replaced(tmp_path):
    with pytest.raises(IsADirectoryError):
        archive.write(tmp_path, {}, {})
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(OSError, match="not a regular file"):
        archive.write(fifo, {}, {})
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_permissions_and_links_are_kept(tmp_path):
    old, link = tmp_path / "old", tmp_path / "link"
    old.touch()
    old.chmod(0o640)
    link.symlink_to(old)
    archive.write(link, some_arrays(), HEADER)
    assert link.is_symlink()
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert_same(archive.read(old)[0], some_arrays())


def test_a_forbidden_directory_is_reported_under_the_asked_name(tmp_path, monkeypatch):
    def deny(name, mode):
        raise PermissionError(errno.EACCES, "permission denied", str(name))

    monkeypatch.setattr(files, "open", deny, raising=False)
    with pytest.raises(PermissionError) as caught:
        archive.write(tmp_path / "model.npz", {}, {})
    assert caught.value.filename == str(tmp_path / "model.npz")
