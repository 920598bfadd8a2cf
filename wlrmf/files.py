"""What all readers and writers of files share: judged ``.npy`` streams, files replaced whole."""

from __future__ import annotations

import errno
import math
import os
import secrets
import shutil
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["NpyHeader", "plain_dtype", "read_npy", "read_npy_header", "refusing", "replacing"]

CHUNK = 1 << 20
MAX_NPY_HEADER = 10_000
FRESH = 60.0  # seconds for which an empty file may be one that is not locked yet
TEMPORARY = ".wlrmf-{}.tmp"


class NpyHeader(NamedTuple):
    """What a ``.npy`` stream says of the array behind it."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]


def plain_dtype(dtype: np.dtype[Any]) -> bool:
    """Whether arrays of this type are stored here: bool, int, uint, float and text.

    Objects (which are pickles on disk), structures, complex numbers, dates and the floats whose
    width depends on the machine are not.
    """
    if dtype.kind == "U":
        # numpy widens a text of width 0 to 1, so its size in memory would not be its size on disk.
        return dtype.itemsize > 0
    return dtype.kind in "biuf" and dtype.itemsize <= 8


def read_npy_header(stream: IO[bytes], size: int) -> NpyHeader:
    """Read the header of a ``.npy`` stream and hold it against the stream's size.

    Parameters
    ----------
    stream : binary file
        Positioned at the start of the ``.npy`` data; afterwards at the array's first byte.
    size : int
        Length of the ``.npy`` data in bytes, header included.

    Returns
    -------
    NpyHeader
        Shape, order and type. The type may be one that :func:`read_npy` refuses.

    Raises
    ------
    ValueError
        If the header cannot be read, or does not fit the size.
    """
    start = stream.tell()
    try:
        version = npy.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"npy version {version} is not supported")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran_order, dtype = read(stream, max_header_size=MAX_NPY_HEADER)
    except OSError:
        raise
    except Exception as error:
        # numpy hands the text to Python's own parser: on garbage anything may be raised, warnings
        # that were turned into errors included.
        raise ValueError(f"unreadable npy header ({_one_line(error)})") from error
    if min(shape, default=0) < 0:
        raise ValueError(f"negative dimension in shape {shape}")
    held = size - (stream.tell() - start)
    promised = math.prod(shape) * dtype.itemsize
    if promised != held and not dtype.hasobject:
        raise ValueError(f"shape {shape} of {dtype} needs {promised} bytes, the file holds {held}")
    return NpyHeader(shape, fortran_order, dtype)


def read_npy(stream: IO[bytes], size: int) -> NDArray[Any]:
    """Read an array of plain numbers or text; nothing is allocated before the header is judged.

    Parameters
    ----------
    stream, size
        As in :func:`read_npy_header`.

    Returns
    -------
    ndarray
        A new, writable array in the machine's byte order.

    Raises
    ------
    ValueError
        If the header is refused, the type is not a plain one, or the data end early.
    """
    shape, fortran_order, dtype = read_npy_header(stream, size)
    if dtype.hasobject:
        raise ValueError("holds Python objects, which are never unpickled")
    if not plain_dtype(dtype):
        raise ValueError(f"arrays of {dtype} are not read")
    array: NDArray[Any] = np.empty(shape[::-1] if fortran_order else shape, dtype)
    buffer = array.reshape(-1).view(np.uint8).data
    filled = 0
    while filled < len(buffer):
        # Zip members copy what they read: by chunks, so that it is never the whole.
        got = stream.readinto(buffer[filled : filled + CHUNK])  # type: ignore[attr-defined]
        if not got:
            raise ValueError(f"ends after {filled} of {len(buffer)} bytes")
        filled += got
    stream.read(1)  # lets a zip member see its end and check its sum
    native = array.astype(dtype.newbyteorder("="), copy=False)
    return native.T if fortran_order else native


@contextmanager
def refusing(path: str | os.PathLike[str], refusal: type[ValueError]) -> Iterator[None]:
    """Turn whatever a bad file provokes into one error, which names the file.

    Parameters
    ----------
    path : str or path-like
        The file that the block reads.
    refusal : type of ValueError
        What to raise in place of the errors of numpy, zipfile, gzip and of `refusal` itself.
        Faults of the disk (OSError) pass through.
    """
    try:
        yield
    except OSError as error:
        # A false offset makes zipfile seek out of the file; gzip's own error has no number.
        if error.errno not in (errno.EINVAL, None):
            raise
        raise refusal(f"{os.fspath(path)}: damaged ({_one_line(error)})") from error
    except (
        ValueError,  # also undecodable text
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OverflowError,
        struct.error,
    ) as error:
        raise refusal(f"{os.fspath(path)}: {_one_line(error)}") from error


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path` once the block has ended well.

    Until then the bytes go to a file of a unique name in the same directory, which is removed
    after an error; whoever reads `path` sees the old file or the new one, whole. What a process
    that was killed left behind is removed by the next writer there.

    Parameters
    ----------
    path : str or path-like
        The file to write; nothing is appended to its name. A symbolic link is followed.

    Yields
    ------
    binary file
        To be written to, and left open.

    Raises
    ------
    FileNotFoundError
        If the directory of `path` does not exist.
    OSError
        If `path` is a directory or a device, or writing fails.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such directory", str(target.parent))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    existed = target.exists()
    if existed and not target.is_file():
        # A rename would put a file in the place of, say, /dev/null.
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    _remove_abandoned(target.parent)
    temporary = target.parent / TEMPORARY.format(secrets.token_hex(8))
    try:
        with open(temporary, "xb") as stream:
            _lock(stream.fileno())
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if existed:
                shutil.copymode(target, temporary)
            if os.name == "nt":
                stream.close()
            os.replace(temporary, target)  # before the lock ends with the stream
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename == str(temporary):
            error.filename = str(path)
        raise
    _sync_directory(target.parent)


def _lock(handle: int) -> None:
    """Say that this file is being written, for as long as it is open and the process lives."""
    if fcntl is not None:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)


def _remove_abandoned(directory: Path) -> None:
    """Remove files that were being written by processes that are no more."""
    for path in directory.glob(TEMPORARY.format("*")):
        remove_abandoned(path, path.unlink)


def remove_abandoned(path: Path, remove: Callable[[], object]) -> None:
    """Call `remove` if no process that lives holds this file open as `locked` or `replacing` do.

    A file that is empty and young may be one that is not locked yet. Nothing is done where there
    are no locks.
    """
    if fcntl is not None:
        with suppress(OSError):
            handle = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                about = os.fstat(handle)
                if about.st_size or time.time() - about.st_mtime > FRESH:
                    remove()
            finally:
                os.close(handle)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """A new file that says, for as long as the block lasts, that its directory is in use."""
    with open(path, "xb") as stream:
        _lock(stream.fileno())
        stream.write(b"in use\n")
        stream.flush()
        yield


def _sync_directory(directory: Path) -> None:
    """Make the rename last, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems cannot sync a directory; a failing disk is reported.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:400] or type(error).__name__
