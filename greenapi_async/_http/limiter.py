"""How often an instance's requests are sent, and how many are under way at once."""

import math
from collections import deque
from typing import Final

import anyio

from greenapi_async._http.loops import PerLoop

MOST: Final = 100  # httpx's own default: an injected client's pool is not smaller unless it was made so.
MOST_OF_AN_ORIGIN: Final = 25
_TRUSTED = 5  # Requests that are sent before the first has a response.


class RateLimiter:
    """Sends the requests of one instance one after another, `period` seconds apart.

    Args:
        origin: scheme, host and port that they are sent to.
    """

    def __init__(self, period: float, origin: str) -> None:
        self._period = period
        self._origin = origin
        self._loops = PerLoop(_Queue)

    async def acquire(self, slots: "Slots") -> "Origin":
        """Wait for the turn and for a slot, and return the slot for the caller to release.

        A caller that is cancelled while waiting takes no turn.
        """
        if not self._period:
            return await slots.acquire(self._origin)

        queue = self._loops.get()
        async with queue.lock:
            await anyio.sleep_until(queue.next_at)
            origin = await slots.acquire(self._origin)
            queue.next_at = anyio.current_time() + self._period
            return origin


class _Queue:
    """The callers in one event loop, one after the other."""

    def __init__(self) -> None:
        self.lock = anyio.Lock(fast_acquire=True)
        self.next_at = -math.inf


class Slots:
    """The slots of one event loop: limited in total and per origin, so that no origin starves the others.

    A slot is held only during a request, and nobody waits for anything while holding one. An origin that does not
    respond takes no more slots than it leaves for all the others, and one whose last request timed out gets a single
    slot until it responds, so several hanging origins cannot take them all.

    Attributes:
        free: how many are left.
    """

    def __init__(self, most: int = MOST, of_an_origin: int = MOST_OF_AN_ORIGIN) -> None:
        self.free: int = most
        self.of_an_origin = of_an_origin
        self._origins: dict[str, Origin] = {}
        self._waiting: dict[Origin, deque[anyio.Event]] = {}  # In the order of their next turns.

    async def acquire(self, name: str) -> "Origin":
        """Wait for a slot for an origin; the caller releases it."""
        origin = self._origins.get(name) or self._origins.setdefault(name, Origin(self))
        if origin.has_room:
            self._take(origin)
        else:
            await self._wait(origin)

        return origin

    def give_back(self, origin: "Origin") -> None:
        """Take a slot back, and pass it to whoever is waiting."""
        self.free += 1
        origin.under_way -= 1
        for each in [*self._waiting]:
            if each.has_room:
                self._wake(each)

    async def _wait(self, origin: "Origin") -> None:
        granted = anyio.Event()
        self._waiting.setdefault(origin, deque()).append(granted)
        try:
            await granted.wait()
        except BaseException:
            if granted.is_set():  # At the very moment of a cancellation.
                self.give_back(origin)
            else:
                self._leave(origin, granted)
            raise

    def _wake(self, origin: "Origin") -> None:
        waiting = self._waiting.pop(origin)
        self._take(origin)
        waiting.popleft().set()
        if waiting:
            self._waiting[origin] = waiting

    def _leave(self, origin: "Origin", granted: "anyio.Event") -> None:
        self._waiting[origin].remove(granted)
        if not self._waiting[origin]:
            del self._waiting[origin]

    def _take(self, origin: "Origin") -> None:
        self.free -= 1
        origin.under_way += 1
        origin.since_response += 1


class Origin:
    """A scheme, host and port; how many requests to it are under way, and whether it hangs.

    Attributes:
        since_response: how many requests were sent since its last response.
    """

    def __init__(self, slots: Slots) -> None:
        self.under_way: int = 0
        self.since_response: int = 0
        self.hangs: bool = False
        self._slots = slots

    @property
    def has_room(self) -> bool:
        """Whether one more request may be sent."""
        most = 1 if self.hangs else self._slots.of_an_origin
        others = self._slots.free if self.since_response >= _TRUSTED else most
        return self._slots.free > 0 and self.under_way < min(most, others)

    def release(self, *, hangs: bool | None) -> None:
        """Give a slot back; `hangs` is whether the request timed out, or None if that is not known."""
        self.hangs = self.hangs if hangs is None else hangs
        if hangs is False:
            self.since_response = 0

        self._slots.give_back(self)
