"""What belongs to one event loop, and ends with it: locks, slots, connections."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


class PerLoop(Generic[_T]):
    """One value for each event loop that uses it; threads may run several loops at once."""

    def __init__(self, make: Callable[[], _T]) -> None:
        self._make = make
        self._values: dict[Any, _T] = {}

    def get(self) -> _T:
        """Return the value for the running event loop, made when first needed."""
        loop = running_loop()
        value = self._values.get(loop)
        if value is None:
            self._forget_the_dead()
            value = self._values[loop] = self._make()

        return value

    def others(self) -> list[tuple[Any, _T]]:
        """Return the other loops that still run, each with its value."""
        self._forget_the_dead()
        here = running_loop()
        return [(loop, value) for loop, value in [*self._values.items()] if loop != here]

    def _forget_the_dead(self) -> None:
        """Leave what a finished loop had to the garbage collector: nobody else can close it."""
        for loop in [*self._values]:
            if not call_soon(loop, _nothing):
                self._values.pop(loop, None)


def call_soon(loop: Any, call: Callable[[], object]) -> bool:
    """Make an event loop call a function at its next step, from any thread; return whether it still runs."""
    # asyncio's loops have the first, trio's tokens the second.
    soon = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon
    try:
        soon(call)
    except RuntimeError:
        return False

    return True


def running_loop() -> Any:
    """Return the running event loop, as `call_soon` takes it."""
    import anyio.lowlevel  # noqa: PLC0415 - anyio loads it late, too.

    token = anyio.lowlevel.current_token()
    return getattr(token, "native_token", token)  # anyio wraps it since 4.11.


def _nothing() -> None:
    pass
