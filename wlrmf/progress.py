"""A progress bar around the caller's callback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress_bar(
    show: bool, callback: Callable[[Any], Any] | None
) -> Iterator[Callable[[Any], Any] | None]:
    """The callback to hand to `minimise`; with `show`, one that also moves a bar.

    The bar is drawn on a terminal only, and only if the fit takes longer than a second.
    """
    if not show:
        yield callback
        return
    from tqdm import tqdm  # not needed otherwise

    with tqdm(unit="it", disable=None, delay=1, leave=False, dynamic_ncols=True) as bar:

        def watch(state: Any) -> None:
            bar.set_postfix_str(
                f"value {state.value:.6g}, gradient {state.optimality:.1e}", refresh=False
            )
            bar.update()
            if callback is not None:
                callback(state)

        yield watch
