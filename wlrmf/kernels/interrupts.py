"""Ctrl-C heard at chosen places: between chunks and between iterations, never within one.

Python raises KeyboardInterrupt between any two instructions of the main thread: also after threads
were started and before anybody waits for them, after a setting was changed and before the old one
was noted. While interrupts are held, the signal is only written down, and `check` raises.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import currentframe
from typing import Any

_before: Callable[..., Any] = signal.default_int_handler  # the handler that is held
_noted = False  # the signal came
_raised = False  # once is enough: what follows is the end of this hold


def _note(signum: int, frame: Any) -> None:
    global _noted
    _noted = True


def _in_main_thread() -> bool:
    # not by current_thread, which would note the threads of `chunks` for ever
    return threading.get_ident() == threading.main_thread().ident


@contextmanager
def held() -> Iterator[None]:
    """Hold interrupts; one that `check` has not raised is raised at the end.

    In other threads than the main one, which no interrupt reaches, within another hold, and where
    the signal is not Python's to handle, this does nothing.
    """
    global _before, _noted, _raised
    handler = signal.getsignal(signal.SIGINT)
    if handler is _note or not callable(handler) or not _in_main_thread():
        yield
        return
    _before, _noted, _raised = handler, False, False
    signal.signal(signal.SIGINT, _note)
    try:
        yield
    except KeyboardInterrupt:
        _raised = True
        raise
    finally:
        late, _noted = _noted and not _raised, False
        signal.signal(signal.SIGINT, _before)
        if late:
            _before(signal.SIGINT, currentframe())


def check() -> None:
    """Raise the interrupt that came while it was held."""
    global _noted, _raised
    if _noted and not _raised and _in_main_thread():
        _noted, _raised = False, True
        _before(signal.SIGINT, currentframe())
        _raised = False  # a handler of the caller's that raises nothing


class released:
    """Hear interrupts at once, while the caller's own code runs within a hold."""

    def __enter__(self) -> None:
        self.held = signal.getsignal(signal.SIGINT) is _note and _in_main_thread()
        if self.held:
            check()
            signal.signal(signal.SIGINT, _before)

    def __exit__(self, kind: type | None, *error: object) -> None:
        global _before, _raised
        handler = signal.getsignal(signal.SIGINT)
        if self.held and callable(handler):
            _before = handler
            signal.signal(signal.SIGINT, _note)
            _raised = kind is not None and issubclass(kind, KeyboardInterrupt)
