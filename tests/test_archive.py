"""Model files: what goes in comes out, and nothing else is let in."""

import io
import json
import struct
import warnings
import zipfile

import numpy as np
import pytest

from wlrmf import archive
from wlrmf.archive import ModelFormatError

HEADER = {"rank": 3, "reg": [0.1, 2], "solver": "als", "nothing": None}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"


def some_arrays():
    return {"W": np.arange(6.0).reshape(2, 3), "ids": np.array(["a", "bc"]), "k": np.array(4)}


def assert_same(read, written):
    assert set(read) == set(written)
    for name, array in written.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].shape == np.shape(array)


def members_of(path):
    with zipfile.ZipFile(path) as file:
        return {info.filename: file.read(info) for info in file.infolist()}


def rewrite(path, members, compression=zipfile.ZIP_STORED):
    """Write a zip file of ``(name, bytes)`` pairs, the same name twice if so asked."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as file:
        warnings.simplefilter("ignore", UserWarning)  # of duplicate names
        for name, data in members:
            file.writestr(name, data)


def npy_bytes(array, allow_pickle=False):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


def header_bytes(table):
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return npy_bytes(np.frombuffer(text, dtype=np.uint8))


def header_of(path):
    return json.loads(np.load(path)["header"].tobytes())


# What is written is read.


@pytest.mark.parametrize(
    "array",
    [
        np.array([True, False]),
        np.arange(5, dtype=np.int8),
        np.array([2**64 - 1], dtype=np.uint64),
        np.array([1.5, np.nan, -0.0, np.inf], dtype=np.float16),
        np.linspace(0, 1, 7, dtype=np.float32).reshape(7, 1),
        np.array(3.25),
        np.array("text"),
        np.array(["", "é", "long text"]),
        np.zeros((0, 5)),
        np.zeros((3, 0, 2), dtype=np.int32),
        np.array([], dtype=str),
        np.arange(24.0).reshape(2, 3, 4),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_round_trip_keeps_type_shape_and_bits(path, array):
    archive.write(path, {"a": array}, {})
    read = archive.read(path)[0]["a"]
    assert read.dtype == array.dtype
    assert read.shape == array.shape
    assert read.tobytes() == array.tobytes()
    assert read.flags.c_contiguous
    assert read.flags.writeable
    assert read.flags.owndata


def read_only():
    array = np.arange(12.0).reshape(3, 4)
    array.flags.writeable = False
    return array


def unaligned():
    return np.frombuffer(b"x" + np.arange(6.0).tobytes(), dtype=np.float64, offset=1)


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(24.0).reshape(4, 6)[::2, ::3],
        np.arange(12.0)[::-1],
        np.broadcast_to(np.arange(3.0), (4, 3)),
        np.arange(6, dtype=">f8"),
        np.arange(6, dtype=">i4").reshape(2, 3).T,
        np.array(["a", "é"], dtype=">U3"),
        read_only(),
        unaligned(),
    ],
    ids=["fortran", "strided", "backwards", "broadcast", ">f8", ">i4.T", ">U", "ro", "unaligned"],
)
def test_r69_any_layout_is_saved_right(path, array):
    archive.write(path, {"a": array}, {})
    read = archive.read(path)[0]["a"]
    np.testing.assert_array_equal(read, array)
    assert read.dtype.isnative
    assert read.flags.c_contiguous


def test_header_round_trip(path):
    fields = {**HEADER, "n": np.int64(7), "x": np.float32(0.5), "pair": (1, 2), "é": {"a": [True]}}
    archive.write(str(path), some_arrays(), fields)
    arrays, header = archive.read(str(path))
    assert_same(arrays, some_arrays())
    assert header == {**fields, "pair": [1, 2]}


def test_numpy_opens_the_file_without_pickle(path):
    archive.write(path, some_arrays(), HEADER)
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["W"], some_arrays()["W"])
        assert sorted(file.files) == ["W", "header", "ids", "k"]


def test_equal_models_are_equal_files(tmp_path):
    for name in "ab":
        archive.write(tmp_path / name, some_arrays(), HEADER)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]  # no ending is appended


@pytest.mark.parametrize("name", ["header", "a/b", "../a", "a.b", "", "1a", "a\n", "é", 3])
def test_names_that_are_not_identifiers_are_not_written(path, name):
    with pytest.raises(ValueError, match="identifiers other than"):
        archive.write(path, {name: np.zeros(1)}, {})
    assert not path.exists()


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}], dtype=object),
        np.zeros(1, dtype=complex),
        np.zeros(1, dtype="datetime64[D]"),
        np.zeros(1, dtype="i4,f4"),
        np.zeros(1, dtype="S3"),
    ],
    ids=lambda a: a.dtype.kind,
)
def test_types_that_are_not_plain_are_not_written(path, array):
    with pytest.raises(ValueError, match=r"`arrays\['a'\]` must hold"):
        archive.write(path, {"a": array}, {})


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"x": float("nan")}, "not JSON compliant"),
        ({"x": {1, 2}}, "set has no JSON form"),
        ({"x": "a" * archive.MAX_HEADER}, "at most 1048576"),
    ],
)
def test_headers_that_json_cannot_hold_are_not_written(path, header, reason):
    with pytest.raises(ValueError, match=reason):
        archive.write(path, {}, header)


@pytest.mark.parametrize(
    "laid_out",
    [
        np.asfortranarray,
        lambda W: np.repeat(W, 3, axis=1)[:, ::3],
        lambda W: W[::-1][::-1],
        lambda W: W.astype(W.dtype.newbyteorder()),
    ],
    ids=["fortran", "strided", "reversed", "swapped"],
)
def test_arrays_of_any_layout_are_read_back_equal(path, laid_out):  # R69
    W = np.random.default_rng(0).standard_normal((7, 5))
    given = laid_out(W)
    np.testing.assert_array_equal(given, W)
    archive.write(path, {"W": given}, HEADER)
    read = archive.read(path)[0]["W"]
    np.testing.assert_array_equal(read, W)
    assert read.dtype == np.float64
    assert read.dtype.isnative


# R67: files that are not sound.


@pytest.mark.parametrize(
    "data", [b"", b"P", b"not a zip file", b"\x93NUMPY\x01\x00", b"PK\x03\x04"]
)
def test_r67_other_files_are_refused_by_name(path, data):
    path.write_bytes(data)
    with pytest.raises(ModelFormatError, match=r"model\.npz: "):
        archive.read(path)


def test_r67_every_truncation_is_refused(path):
    archive.write(path, some_arrays(), HEADER)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ModelFormatError, match=r"model\.npz: "):
            archive.read(path)


@pytest.mark.parametrize("flip", [0x01, 0x10, 0x80, 0xFF])
def test_r67_every_flipped_byte_is_refused_or_harmless(path, flip):
    archive.write(path, some_arrays(), HEADER)
    data = bytearray(path.read_bytes())
    refused = 0
    for at in range(len(data)):
        data[at] ^= flip
        path.write_bytes(data)
        data[at] ^= flip
        try:
            arrays, header = archive.read(path)
        except ModelFormatError:
            refused += 1
        else:
            assert_same(arrays, some_arrays())
            assert header == HEADER
    assert refused > len(data) // 2


def test_r67_newer_version(path, monkeypatch):
    monkeypatch.setattr(archive, "VERSION", 2)
    archive.write(path, some_arrays(), HEADER)
    monkeypatch.undo()
    with pytest.raises(
        ModelFormatError, match="version 2 by a newer wlrmf; this one reads up to 1"
    ):
        archive.read(path)


def test_another_schema_is_refused(path):
    archive.write(path, {}, {}, schema="wlrmf-checkpoint")
    assert archive.read(path, schema="wlrmf-checkpoint") == ({}, {})
    with pytest.raises(ModelFormatError, match="'wlrmf-checkpoint'; 'wlrmf-model' is wanted"):
        archive.read(path)


def test_a_file_that_is_not_there_is_an_os_error(path):
    with pytest.raises(FileNotFoundError):
        archive.read(path)


# R68: files made to harm.


def test_r68_pickled_objects_are_never_loaded(path):
    archive.write(path, some_arrays(), HEADER)
    members = members_of(path)
    members["W.npy"] = npy_bytes(np.array([Bomb()], dtype=object), allow_pickle=True)
    rewrite(path, members.items())
    with pytest.raises(ModelFormatError, match="never unpickled"):
        archive.read(path)


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize(
    "name", ["../W.npy", "/W.npy", "a/W.npy", "a\\W.npy", "W.txt", ".npy", "C:.npy"]
)
def test_r68_names_with_path_parts(path, name):
    archive.write(path, some_arrays(), HEADER)
    rewrite(path, [*members_of(path).items(), (name, npy_bytes(np.zeros(1)))])
    with pytest.raises(ModelFormatError, match="unexpected member"):
        archive.read(path)


def test_r68_duplicate_members(path):
    archive.write(path, some_arrays(), HEADER)
    rewrite(path, [*members_of(path).items(), ("W.npy", npy_bytes(np.zeros((2, 3))))])
    with pytest.raises(ModelFormatError, match=r"'W\.npy' is there twice"):
        archive.read(path)


def test_r68_compressed_members(path):
    archive.write(path, some_arrays(), HEADER)
    rewrite(path, members_of(path).items(), zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelFormatError, match="compressed or encrypted"):
        archive.read(path)


def test_r68_overlapping_members(path):
    """Two entries of the directory share one member's bytes."""
    data = npy_bytes(np.zeros(1000))
    rewrite(path, [("header.npy", data), ("aaaaaa.npy", data)])
    raw = bytearray(path.read_bytes())
    second = raw.rindex(b"aaaaaa.npy")
    struct.pack_into("<L", raw, second - 4, 0)  # the offset of its local header
    start = raw.index(b"aaaaaa.npy") - 30
    del raw[start : start + 30 + 10 + len(data)]
    struct.pack_into("<L", raw, len(raw) - 6, raw.index(b"PK\x01\x02"))
    path.write_bytes(raw)
    with pytest.raises(ModelFormatError, match="members of 16256 bytes in a file of"):
        archive.read(path)


def lying_header(descr, shape, data=b"", order=False):
    stream = io.BytesIO()
    text = f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    text += b" " * (-(10 + len(text) + 1) % 64) + b"\n"
    stream.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (lying_header("<f8", "(1000000000000, 1000)", bytes(48)), "the file holds 48"),
        (lying_header("<f8", "(2, 2)", bytes(48)), "needs 32 bytes, the file holds 48"),
        (lying_header("<f8", "(-2, -3)", bytes(48)), "negative dimension"),
        (lying_header("<f8", "(0, 100000000000000000000)"), "member 'W.npy'"),
        (lying_header("<f8", "(1, " * 300 + ")" * 300, bytes(48)), "unreadable npy header"),
        (lying_header("<f8", "(2.0, 3)", bytes(48)), "unreadable npy header"),
        (lying_header("<f8", "(2L, 3L)", bytes(48)), "unreadable npy header|not the array"),
        (lying_header("<U0", "(1000000000000,)"), "arrays of <U0 are not read"),
        (lying_header("|O", "(6,)", bytes(48)), "never unpickled"),
        (lying_header("<M8[D]", "(2, 3)", bytes(48)), "are not read"),
        (lying_header("<c16", "(3,)", bytes(48)), "are not read"),
        (lying_header("nonsense", "(2, 3)", bytes(48)), "unreadable npy header"),
        (lying_header([("a", "<f8")], "(2, 3)", bytes(48)), "are not read"),
        (lying_header("<i8", "(2, 3)", bytes(48)), "not the array that the header describes"),
        (lying_header("<f8", "(3, 2)", bytes(48)), "not the array that the header describes"),
        (lying_header("<f8", "(2, 3)", bytes(48), order=True), "not the array that"),
        (b"\x93NUMPY\x07\x00" + bytes(100), "version"),
        (b"\x93NUMPY\x01\x00\xff\xff" + bytes(100), "unreadable npy header"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b" " * 70000, "unreadable npy header"),
        (b"", "unreadable npy header"),
    ],
)
def test_r68_npy_headers_that_lie(path, member, reason):
    archive.write(path, some_arrays(), HEADER)
    members = members_of(path)
    members["W.npy"] = member
    rewrite(path, members.items())
    with pytest.raises(ModelFormatError, match=reason):
        archive.read(path)


def test_r68_other_values_under_the_same_header(path):
    archive.write(path, some_arrays(), HEADER)
    members = members_of(path)
    members["W.npy"] = npy_bytes(some_arrays()["W"] + 1)
    rewrite(path, members.items())
    with pytest.raises(ModelFormatError, match="altered"):
        archive.read(path)


@pytest.mark.parametrize("change", ["drop", "add"])
def test_members_and_header_must_agree(path, change):
    archive.write(path, some_arrays(), HEADER)
    members = members_of(path)
    if change == "drop":
        del members["W.npy"]
    else:
        members["extra.npy"] = npy_bytes(np.zeros(2))
    rewrite(path, members.items())
    with pytest.raises(ModelFormatError, match=r"disagree about the arrays: (W|extra)$"):
        archive.read(path)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"format": NaN}', "NaN is not JSON"),
        (b"[]", "not a table of fields"),
        ({"format": "other"}, "names the format 'other'"),
        ({"format": "wlrmf-model"}, "version is None"),
        ({"format": "wlrmf-model", "version": True}, "version is True"),
        ({"format": "wlrmf-model", "version": "1"}, "version is '1'"),
        ({"format": "wlrmf-model", "version": 0}, "version is 0"),
        ({"format": "wlrmf-model", "version": 1}, "lacks its fields"),
        ({"format": "wlrmf-model", "version": 1, "fields": [], "arrays": {}}, "lacks its fields"),
        (b" " * (archive.MAX_HEADER + 5000), "at most 1048576 are read"),
    ],
)
def test_headers_that_are_refused(path, table, reason):
    rewrite(path, [("header.npy", header_bytes(table))])
    with pytest.raises(ModelFormatError, match=reason):
        archive.read(path)


def test_a_plain_npz_file_is_not_a_model(path):
    np.savez(path, a=np.zeros(3))
    with pytest.raises(ModelFormatError, match=r"no member 'header\.npy'"):
        archive.read(path)
    np.savez(path, header=np.zeros(3))
    with pytest.raises(ModelFormatError, match="header is not a text"):
        archive.read(path)
