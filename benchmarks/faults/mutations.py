"""Spoilt versions of a sound file, each a function of a random number generator alone."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import zipfile
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from wlrmf import archive

BYTES = (0, 1, 0x7F, 0x80, 0xFF, 0x22, 0x27, 0x2C, 0x28, 0x2D, 0x0A, 0x0D, 0x20, 0x30, 0x39, 0x65)
SIZES = (0, 1, -1, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, -(2**31), 2**32 - 1, 2**62)
LEAVES = (
    *(None, True, False, 0, 1, -1, 2, 7, 2**31, 2**63, 10**30, -0.5, 1e308, "", "NaN", "x"),
    *([], [1], [1, 2], {}, {"a": 1}, "als", "count", "none", "EXACT"),
)
DTYPES = ("f4", "f8", "f2", "i1", "i4", "i8", "u1", "u8", "?", "U1", "U3", ">f8", ">i8")
SHAPES = ((), (0,), (1,), (2, 0), (1, 1), (3, 4), (2, 2, 2))
NUMBERS = (np.nan, np.inf, -np.inf, 0, -1, 1e300, 2**31 - 1, 2**40)


def spoil(rng: random.Random, data: bytes) -> bytes:
    """One to four changes of single bytes, numbers or stretches, anywhere."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        out = rng.choice(CHANGES)(rng, out)
    return bytes(out)


def _flip(rng: random.Random, out: bytearray) -> bytearray:
    if out:
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return out


def _byte(rng: random.Random, out: bytearray) -> bytearray:
    if out:
        out[rng.randrange(len(out))] = rng.choice(BYTES)
    return out


def _number(rng: random.Random, out: bytearray) -> bytearray:
    code = rng.choice(["<H", "<I", "<Q", ">H", ">I", ">Q"])
    width = struct.calcsize(code)
    if len(out) > width:
        at = rng.randrange(len(out) - width)
        struct.pack_into(code, out, at, rng.choice(SIZES) % (1 << 8 * width))
    return out


def _digits(rng: random.Random, out: bytearray) -> bytearray:
    """Another number in the place of a digit: of sizes and values in texts."""
    places = [k for k, byte in enumerate(out) if 0x30 <= byte <= 0x39]
    if places:
        at = rng.choice(places)
        text = rng.choice(("-", "9" * rng.randrange(1, 40), "1e400", "nan", "0x1", ".", "1,", " "))
        out[at : at + 1] = text.encode()
    return out


def _cut(rng: random.Random, out: bytearray) -> bytearray:
    return out[: rng.randrange(len(out) + 1)]


def _stretch(rng: random.Random, out: bytearray) -> tuple[int, int]:
    at = rng.randrange(len(out) + 1)
    return at, min(len(out), at + rng.choice((1, 2, 4, 16, 64, 300)))


def _drop(rng: random.Random, out: bytearray) -> bytearray:
    lo, hi = _stretch(rng, out)
    del out[lo:hi]
    return out


def _repeat(rng: random.Random, out: bytearray) -> bytearray:
    lo, hi = _stretch(rng, out)
    out[lo:lo] = out[lo:hi] * rng.choice((1, 1, 2, 20))
    return out


def _move(rng: random.Random, out: bytearray) -> bytearray:
    lo, hi = _stretch(rng, out)
    part = out[lo:hi]
    del out[lo:hi]
    at = rng.randrange(len(out) + 1)
    out[at:at] = part
    return out


def _noise(rng: random.Random, out: bytearray) -> bytearray:
    at = rng.randrange(len(out) + 1)
    out[at:at] = rng.randbytes(rng.choice((1, 2, 8, 40)))
    return out


CHANGES = (_flip, _flip, _byte, _number, _digits, _cut, _drop, _repeat, _move, _noise)


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file with sums that are right."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data, compression)
    return stream.getvalue()


@lru_cache
def members_of(data: bytes) -> MappingProxyType[str, bytes]:
    """The members of a zip file by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return MappingProxyType({info.filename: file.read(info) for info in file.infolist()})


@lru_cache
def parsed(data: bytes) -> tuple[MappingProxyType[str, np.ndarray], str]:
    """The arrays of a model file by name, and the JSON text of its header."""
    arrays = {name[:-4]: np.load(io.BytesIO(part)) for name, part in members_of(data).items()}
    text = arrays.pop("header").tobytes().decode()
    return MappingProxyType(arrays), text


def spoil_member(rng: random.Random, data: bytes) -> bytes:
    """A zip file whose sums are right around one member that is spoilt."""
    members = dict(members_of(data))
    name = rng.choice(sorted(members))
    if rng.random() < 0.1:
        members[spoil(rng, name.encode()).decode("latin-1")] = members.pop(name)
    else:
        members[name] = spoil(rng, members[name])
    return zipped(members, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def spoil_fields(rng: random.Random, data: bytes) -> bytes:
    """A model file whose digests are right around fields or arrays that do not belong there."""
    sound, text = parsed(data)
    table, arrays = json.loads(text), dict(sound)
    fields = table["fields"]
    for _ in range(rng.choice((1, 1, 2))):
        if arrays and rng.random() < 0.6:
            _spoil_array(rng, arrays)
        else:
            _spoil_leaf(rng, fields)
    stored = {
        name: np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        for name, array in arrays.items()
    }
    text = archive._header_text(stored, fields, table["format"])
    members = {"header.npy": _npy(np.frombuffer(text, np.uint8))}
    for name, array in arrays.items():
        kept = array is sound.get(name)
        members[f"{name}.npy"] = members_of(data)[f"{name}.npy"] if kept else _npy(stored[name])
    return zipped(members)


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _spoil_array(rng: random.Random, arrays: dict[str, np.ndarray]) -> None:
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    what = rng.randrange(6)
    with np.errstate(all="ignore"):
        if what == 0:
            del arrays[name]
        elif what == 1:
            arrays[name] = np.resize(array, rng.choice(SHAPES))
        elif what == 2:
            arrays[name] = _cast(array, rng.choice(DTYPES))
        elif what == 3:
            arrays[name] = array[: len(array) // 2] if array.ndim else array.reshape(1)
        elif what == 4 and array.size and array.dtype.kind in "iuf":
            arrays[name] = array = array.copy()
            number = np.float64(rng.choice(NUMBERS))
            array.flat[rng.randrange(array.size)] = _cast(np.array(number), array.dtype)
        else:
            other = rng.choice(sorted(arrays))
            arrays[name], arrays[other] = arrays[other], arrays[name]


def _cast(array: np.ndarray, dtype) -> np.ndarray:
    try:
        return array.astype(dtype)
    except ValueError:
        return np.zeros(array.shape, dtype)


def _spoil_leaf(rng: random.Random, fields: dict) -> None:
    """Another value, or none, somewhere in a tree."""
    here = fields
    while isinstance(here, dict) and here:
        key = rng.choice(sorted(here))
        if isinstance(here[key], dict) and here[key] and rng.random() < 0.8:
            here = here[key]
            continue
        if rng.random() < 0.2:
            del here[key]
        else:
            here[key] = copy.deepcopy(rng.choice(LEAVES))
        return
