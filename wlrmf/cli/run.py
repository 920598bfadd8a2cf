"""One call of the command line: whatever happens, one line and an exit status."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import warnings
from collections.abc import Sequence

import click
from click.shell_completion import shell_complete

from ..validation.errors import ClusterError, ConvergenceWarning, DataWarning
from .app import app

BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 2, 130, 141
COMPLETION = "_WLRMF_COMPLETE"  # set by the shell's completion script
TRACEBACK = "WLRMF_TRACEBACK"  # set by whoever wants to see where an error comes from


def run(argv: Sequence[str]) -> int:
    """Run a command and return its exit status; errors and warnings are lines on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        # The command says itself how its fit ended.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.showwarning = lambda message, *_, **__: _say(f"warning: {message}")
        try:
            status = _call(argv)
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where a full disk or a closed pipe can still be told
            return status
        except KeyboardInterrupt:
            _say("interrupted")
            return INTERRUPTED
        except BrokenPipeError:
            _drop_output()
            return BROKEN_PIPE
        except Exception as error:
            if os.environ.get(TRACEBACK):
                raise
            _drop_output()
            _say(f"error: {_reason(error)}")
            return BAD_INPUT


def _call(argv: Sequence[str]) -> int:
    """What ``app.main`` does, but for its own ways of ending on Ctrl-C and closed pipes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # "×" where the terminal has no such letter
    if os.environ.get(COMPLETION):
        return shell_complete(app, {}, "wlrmf", COMPLETION, os.environ[COMPLETION])
    try:
        with app.make_context("wlrmf", list(argv)) as context:
            return int(app.invoke(context) or 0)
    except click.exceptions.Exit as end:  # of --help and --version
        return int(end.exit_code)


def _reason(error: Exception) -> str:
    if isinstance(error, click.UsageError):
        hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        return error.format_message().rstrip(".") + hint
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, MemoryError):
        return str(error) or "out of memory"
    if isinstance(error, OSError) and error.strerror:
        name = error.filename if error.filename2 is None else error.filename2
        return error.strerror if name is None else f"{os.fspath(name)}: {error.strerror}"
    if isinstance(error, ValueError | TypeError | ImportError | OSError | ClusterError):
        return _with_options(str(error))
    return f"internal error, {type(error).__name__}: {error} ({TRACEBACK}=1 shows where)"


def _with_options(message: str) -> str:
    """The library names its arguments as `n_starts`; here they are called --n-starts.

    And what is typed here has no .T.
    """
    options = {
        parameter.name: parameter.opts[0]
        for command in app.commands.values()
        for parameter in command.params
        if isinstance(parameter, click.Option)
    }
    message = re.sub(r" Try \w+\.T$", "", message)
    return re.sub(r"`(\w+)`", lambda found: options.get(found[1], found[0]), message)


def _say(text: str) -> None:
    """One line on stderr, whatever letters a file's name or content brought in."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(f"wlrmf: {text}".split()))
    with contextlib.suppress(OSError):
        click.echo(line, err=True)


def _drop_output() -> None:
    """Point stdout at nothing if what it still holds cannot be written.

    Python would try again at exit, and complain.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
