"""How often requests leave, and how many are under way at once."""

import math

import anyio

from greenapi_async._http.loops import PerLoop


class RateLimiter:
    """Lets the requests of one instance leave one after the other, `period` seconds apart."""

    def __init__(self, period: float) -> None:
        self._period = period
        self._loops = PerLoop(_Queue)

    async def acquire(self, slots: "anyio.Semaphore") -> None:
        """Wait for the turn and for a slot, which the caller releases.

        A caller that is cancelled while it waits takes no turn.
        """
        if not self._period:
            await slots.acquire()
            return

        queue = self._loops.get()
        async with queue.lock:
            await anyio.sleep_until(queue.next_at)
            await slots.acquire()
            queue.next_at = anyio.current_time() + self._period


class _Queue:
    """The callers of one event loop, one after the other."""

    def __init__(self) -> None:
        self.lock = anyio.Lock(fast_acquire=True)
        self.next_at = -math.inf
