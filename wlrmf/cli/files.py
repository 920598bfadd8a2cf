"""Where results go, and where they must not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import click


def check_out(out: Path, *inputs: Path | None, force: bool = True) -> None:
    """Refuse a place that cannot be written, or should not be, before any work is done."""
    if out.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(out))
    if not out.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such directory", str(out.parent))
    if not os.access(out.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(out))
    if not out.exists():
        return
    if not out.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(out))
    if any(path is not None and path.exists() and out.samefile(path) for path in inputs):
        raise click.ClickException(f"{out}: is read by this command, so it cannot be --out")
    if not force:
        raise click.ClickException(f"{out}: exists; --force replaces it, --out names another")


def size_of(path: Path) -> str:
    """``1.2 MB``."""
    size = float(path.stat().st_size)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
