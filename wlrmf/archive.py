"""The one writer and the one reader of model files.

A model file is an ordinary ``.npz`` that ``numpy.load(path, allow_pickle=False)`` opens: a zip
file whose members are stored as they are, each array a ``name.npy``, and ``header.npy`` a JSON
text with the caller's fields and the shape, type and sha256 of every array. It is judged before
anything of its size is allocated, and no part of it is ever unpickled or run.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from wlrmf.files import plain_dtype, read_npy, refusing, replacing

__all__ = ["VERSION", "ModelFormatError", "read", "schema_of", "write"]

VERSION = 1
MODEL = "wlrmf-model"
MAX_HEADER = 1 << 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_ENCRYPTED = 0x1


class ModelFormatError(ValueError):
    """A file is not a model file, or not a sound one; the message names the file and the reason."""


def write(
    path: str | os.PathLike[str],
    arrays: Mapping[str, NDArray[Any]],
    header: Mapping[str, Any],
    *,
    schema: str = MODEL,
) -> None:
    """Write arrays and a header to a model file, whole or not at all.

    Parameters
    ----------
    path : str or path-like
        Where to; an existing file is replaced, and nothing is appended to the name.
    arrays : mapping of str to ndarray
        Bool, int, uint, float (16 to 64 bits) or fixed-width text, in any layout and byte order;
        stored in C order, little-endian. Names are identifiers other than "header".
    header : mapping of str to JSON values
        Anything JSON holds, numpy scalars too; tuples come back as lists. NaN and infinity have
        no JSON form: store None, or an array.
    schema : str
        What kind of file this is; :func:`read` asks for it again.

    Raises
    ------
    ValueError
        If a name, an array's type or a header's value cannot be stored.
    FileNotFoundError
        If the directory does not exist.
    OSError
        If writing fails; an old file at `path` is then intact.
    """
    stored = {name: _storable(name, array) for name, array in arrays.items()}
    text = _header_text(stored, header, schema)
    members = {"header": np.frombuffer(text, dtype=np.uint8), **stored}
    with replacing(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in members.items():
            # The fixed date of ZipInfo makes equal models equal files.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                npy.write_array(member, array, allow_pickle=False)


def read(
    path: str | os.PathLike[str], *, schema: str = MODEL
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what :func:`write` wrote.

    Parameters
    ----------
    path : str or path-like
        The file.
    schema : str
        The kind of file that is expected.

    Returns
    -------
    arrays : dict of str to ndarray
        New, writable, C-contiguous arrays in the machine's byte order.
    header : dict
        The caller's fields.

    Raises
    ------
    ModelFormatError
        If the file is empty, cut off, altered, of another kind or from a newer version.
    OSError
        If there is no such file, or it cannot be read.
    """
    with open(path, "rb") as stream, refusing(path, ModelFormatError):
        size = os.fstat(stream.fileno()).st_size
        if size == 0:
            raise ModelFormatError("the file is empty")
        if stream.read(4) != b"PK\x03\x04":
            raise ModelFormatError("not a model file (it does not start as a zip file does)")
        with zipfile.ZipFile(stream) as archive:
            members = _judge_members(archive, size)
            header, listed = _read_header(archive, members.pop("header"), schema)
            if set(listed) != set(members):
                odd = ", ".join(sorted(set(listed) ^ set(members)))
                raise ModelFormatError(f"header and content disagree about the arrays: {odd}")
            arrays = {n: _read_array(archive, members[n], listed[n]) for n in listed}
    return arrays, header


def schema_of(path: str | os.PathLike[str]) -> str | None:
    """What kind of file this is, in its own words; None if it is no sound model file."""
    try:
        with open(path, "rb") as stream, refusing(path, ModelFormatError):
            size = os.fstat(stream.fileno()).st_size
            with zipfile.ZipFile(stream) as archive:
                members = _judge_members(archive, size)
                found = _read_table(archive, members["header"]).get("format")
    except ModelFormatError:
        return None
    return found if isinstance(found, str) else None


def _storable(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return the array in C order and little-endian, or refuse it."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "header":
        raise ValueError(f'`arrays` wants identifiers other than "header" as names; got {name!r}')
    array = np.asarray(array)
    if not plain_dtype(array.dtype):
        raise ValueError(f"`arrays[{name!r}]` must hold bool, int, float or str; got {array.dtype}")
    return _as_stored(array)


def _as_stored(array: NDArray[Any]) -> NDArray[Any]:
    # np.ascontiguousarray would turn a scalar into a vector.
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _header_text(
    arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any], schema: str
) -> bytes:
    table = {
        "format": schema,
        "version": VERSION,
        "fields": dict(header),
        "arrays": {name: _description(array) for name, array in arrays.items()},
    }
    try:
        text = json.dumps(table, allow_nan=False, default=_plain).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(f"`header` must hold what JSON can hold, without NaN: {error}") from error
    if len(text) > MAX_HEADER:
        raise ValueError(f"`header` takes {len(text)} bytes; at most {MAX_HEADER} are stored")
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def _description(array: NDArray[Any]) -> dict[str, Any]:
    """Shape, type and sha256 of an array as it is stored."""
    array = _as_stored(array)
    digest = hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest()
    return {"dtype": array.dtype.str, "shape": list(array.shape), "sha256": digest}


def _judge_members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the members by array name, after all that can be said without reading them."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name == info.filename or not _NAME.fullmatch(name):
            raise ModelFormatError(f"unexpected member {info.filename!r}")
        if name in members:
            raise ModelFormatError(f"member {info.filename!r} is there twice")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
            raise ModelFormatError(f"member {info.filename!r} is compressed or encrypted")
        if info.compress_size != info.file_size:
            raise ModelFormatError(f"member {info.filename!r} has two sizes")
        members[name] = info
    # Members may be made to overlap, so that each fits and all together do not.
    total = sum(info.file_size for info in members.values())
    if total > size:
        raise ModelFormatError(f"members of {total} bytes in a file of {size} bytes")
    if "header" not in members:
        raise ModelFormatError("not a model file (it has no member 'header.npy')")
    return members


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    member: IO[bytes]
    with archive.open(info) as member:
        try:
            return read_npy(member, info.file_size)
        except ValueError as error:
            raise ModelFormatError(f"member {info.filename!r}: {error}") from error


def _read_header(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, schema: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the caller's fields and the list of arrays."""
    table = _read_table(archive, info)
    if table.get("format") != schema:
        found = table.get("format")
        raise ModelFormatError(f"the header names the format {found!r}; {schema!r} is wanted")
    version = table.get("version")
    if type(version) is not int or version < 1:
        raise ModelFormatError(f"the header's version is {version!r}")
    if version > VERSION:
        raise ModelFormatError(
            f"written in format version {version} by a newer wlrmf; this one reads up to {VERSION}"
        )
    fields, listed = table.get("fields"), table.get("arrays")
    if not isinstance(fields, dict) or not isinstance(listed, dict):
        raise ModelFormatError("the header lacks its fields or its list of arrays")
    return fields, listed


def _read_table(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> dict[str, Any]:
    """The whole header."""
    if info.file_size > MAX_HEADER + 4096:
        raise ModelFormatError(f"header of {info.file_size} bytes; at most {MAX_HEADER} are read")
    text = _read_member(archive, info)
    if text.dtype != np.uint8 or text.ndim != 1:
        raise ModelFormatError("the header is not a text")
    try:
        table = json.loads(text.tobytes(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"the header is not JSON ({error})") from error
    if not isinstance(table, dict):
        raise ModelFormatError("the header is not a table of fields")
    return table


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, listed: object) -> NDArray[Any]:
    array = np.asarray(_read_member(archive, info), order="C")
    if _description(array) != listed:
        raise ModelFormatError(
            f"member {info.filename!r} is not the array that the header describes (altered?)"
        )
    return array
