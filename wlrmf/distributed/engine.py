"""Where the functions of `half` run: here, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from ..validation.errors import ClusterError

Answer = TypeVar("Answer")


class Lost(RuntimeError):
    """Results or shared values are gone; what is made anew from the last committed side is not."""


class Engine(Protocol):
    """What a fit over blocks asks for. A handle stands for a value that may be elsewhere.

    The arguments of `submit` may be handles, or lists of them.
    """

    exchange: str

    def begin(self) -> None:
        """A new half-sweep."""

    def share(self, value: Any) -> Any:
        """A handle of a value that all tasks may need."""

    def submit(self, function: Callable[..., Any], part: Any, *arguments: Any) -> Any:
        """A handle of ``function(part, *arguments)``; part.name names the task."""

    def take(self, handle: Any, place: int) -> Any:
        """A handle of ``value[place]``, so that not all of the value need be fetched."""

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        """The values, in order.

        Raises
        ------
        Lost
            If they must be computed anew, from values that are shared anew.
        """


def persistently(
    ask: Callable[[], Answer], restarts: int, forget: Callable[[], None] = lambda: None
) -> Answer:
    """What `ask` returns; when what it needs is lost, `forget` all handles and ask again."""
    while True:
        try:
            return ask()
        except Lost as loss:
            forget()
            if restarts == 0:
                raise ClusterError(f"{loss}; nothing could be computed anew any more") from loss
            restarts -= 1


class Local:
    """One block after the other in this process: the oracle of all other engines."""

    exchange = "routed"  # nothing travels, and only what a block needs is copied

    def begin(self) -> None:
        """Nothing to prepare."""

    def share(self, value: Any) -> Any:
        """The value itself."""
        return value

    def submit(self, function: Callable[..., Any], part: Any, *arguments: Any) -> Any:
        """The answer, at once."""
        return function(part, *arguments)

    def take(self, handle: Any, place: int) -> Any:
        """One entry."""
        return handle[place]

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        """The values are here."""
        return list(handles)
