"""This machine's two clocks; the monotonic one continues from one event loop to the next."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
import attrs

if TYPE_CHECKING:
    from anyio.lowlevel import RunVar


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Moment:
    """One moment on both clocks, in seconds."""

    monotonic: float
    wall: float

    def elapsed(self, later: "Moment") -> float:
        """Return the most time that can have passed until a later moment, by the two clocks.

        The monotonic clock stands still while a laptop sleeps, and the wall clock can be set back: the one that saw
        more time pass is right.
        """
        return max(later.monotonic - self.monotonic, later.wall - self.wall)


class Clocks:
    """Reads the clocks for one poller.

    Each run of trio, and asyncio, has its own monotonic clock. This one never jumps when a poller continues in another
    event loop: it does not count the time between two loops.

    Attributes:
        wall: the wall clock, in seconds since the epoch.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self.wall = wall
        self._loop: object = None
        self._offset = self._latest = 0.0

    def monotonic(self) -> float:
        """Return the seconds spent within event loops since the first call."""
        loop, now = _event_loop(), anyio.current_time()
        if loop is not self._loop:
            self._loop, self._offset = loop, self._latest - now

        self._latest = now + self._offset
        return self._latest

    def now(self) -> Moment:
        """Return this moment."""
        return Moment(monotonic=self.monotonic(), wall=self.wall())


def _event_loop() -> object:
    """Return an object that identifies the running event loop."""
    loop = _variable().get(None)
    if loop is None:
        loop = object()
        _variable().set(loop)

    return loop


@functools.cache
def _variable() -> "RunVar[object | None]":
    from anyio.lowlevel import RunVar  # noqa: PLC0415 - one more import, needed only for polling.

    return RunVar("the event loop")
