"""The two clocks of this machine, of which the monotonic one goes on from one event loop to the next."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
import attrs

if TYPE_CHECKING:
    from anyio.lowlevel import RunVar


@attrs.frozen(kw_only=True, eq=False)
class Moment:
    """One moment on both clocks, in seconds."""

    monotonic: float
    wall: float

    def elapsed(self, later: "Moment") -> float:
        """Return the most that can have passed until a later moment, as far as the two clocks tell.

        The monotonic clock stands while a laptop sleeps, and the wall clock can be set back: the one that saw more
        time pass is right.
        """
        return max(later.monotonic - self.monotonic, later.wall - self.wall)


class Clocks:
    """Reads the clocks for one poller.

    Each run of trio, and asyncio beside it, has a monotonic clock of its own. This one never falls back or leaps where
    a poller goes on in another event loop: of the time between two loops it sees nothing.

    Attributes:
        wall: the wall clock, in seconds since the epoch.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self.wall = wall
        self._loop: object = None
        self._offset = self._latest = 0.0

    def monotonic(self) -> float:
        """Return the seconds that passed within event loops since the first call."""
        loop, now = _event_loop(), anyio.current_time()
        if loop is not self._loop:
            self._loop, self._offset = loop, self._latest - now

        self._latest = now + self._offset
        return self._latest

    def now(self) -> Moment:
        """Return this moment."""
        return Moment(monotonic=self.monotonic(), wall=self.wall())


def _event_loop() -> object:
    """Return what stands for the running event loop, and for no other."""
    loop = _variable().get(None)
    if loop is None:
        loop = object()
        _variable().set(loop)

    return loop


@functools.cache
def _variable() -> "RunVar[object | None]":
    from anyio.lowlevel import RunVar  # noqa: PLC0415 - an import more, for those who poll.

    return RunVar("the event loop")
