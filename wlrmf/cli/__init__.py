"""The command line: arguments in, text out.

click and rich come with the extra ``wlrmf[cli]``; nothing is imported that needs them before it is
known that they are there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the program's name; default: those of this process.

    Returns
    -------
    int
        The exit status: 0 success, 1 a fit that ended without success, 2 bad input, 130 stopped by
        Ctrl-C.
    """
    try:
        import click  # noqa: F401
        import rich  # noqa: F401
    except ImportError:
        sys.stderr.write("the command line needs click and rich: pip install 'wlrmf[cli]'\n")
        return 2
    from .run import run

    return run(sys.argv[1:] if argv is None else argv)
