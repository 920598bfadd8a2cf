"""The one decorator behind every compiled kernel.

Flags are declared here once. ``nnan`` and ``ninf`` are left out on purpose: with them the compiler
may assume that no NaN exists and folds ``np.isnan`` to False.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

FASTMATH = {"nsz", "arcp", "contract", "reassoc", "afn"}


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` at its first call: without the GIL, cached on disk where there is a place.

    A kernel allocates nothing and counts no references: numba counts them atomically wherever an
    array is handed on, which in the row solves costs as much as the arithmetic.

    A numba cache entry is renewed when the kernel's own file changes, not when a file it calls
    into does. So a kernel calls jitted helpers of its own file only (a test reads the imports).
    """
    try:
        compiled = _compiled(function, cache=True)
    except RuntimeError:  # a read-only install and no home: nowhere to keep a cache
        return _compiled(function)
    if hasattr(compiled, "_cache"):  # not with the JIT off
        _drop_unreadable(compiled._cache)
    return compiled


def _drop_unreadable(cache: Any) -> None:
    """Renew a cache whose index names types that are no longer there, as after an upgrade.

    numba reads the index before it compares the date of the file, and would raise.
    """
    load = cache.load_overload

    def load_or_drop(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except (AttributeError, ImportError):
            cache.flush()
            return None

    cache.load_overload = load_or_drop


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` into the kernels that call it: a call that hands on arrays is slow."""
    return _compiled(function, inline="always")


def _compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    options = {"nogil": True, "_nrt": False, "error_model": "numpy", **options}
    return numba.njit(fastmath=FASTMATH, **options)(function)
