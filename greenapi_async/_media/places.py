"""How many downloads are under way at once: each needs a socket and a file, which are scarce."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio

from greenapi_async._http.limiter import Origin, Slots
from greenapi_async._http.loops import PerLoop
from greenapi_async.errors import TransportError

_MOST: Final = 32
_MOST_OF_AN_ORIGIN: Final = 8


@asynccontextmanager
async def place(origin: str, timeout: float) -> AsyncGenerator[Callable[[], None]]:  # noqa: ASYNC109 - it limits a stall.
    """Wait for a slot, and hold it; yields a function to call whenever the download makes progress.

    The wait may be as long as many large files take, but not longer than `timeout` without progress by any of the
    origin's downloads.

    Raises:
        TransportError: none made progress.
    """
    downloads = _of_the_loop.get()
    slot = await downloads.acquire(origin, timeout)
    try:
        yield lambda: downloads.move(origin)
    finally:
        slot.release(hangs=None)


class _Downloads:
    """The downloads of one event loop, whichever client began them."""

    def __init__(self) -> None:
        self._slots = Slots(_MOST, _MOST_OF_AN_ORIGIN)
        self._moved_at: dict[str, float] = defaultdict(float)

    def move(self, origin: str) -> None:
        self._moved_at[origin] = anyio.current_time()

    async def acquire(self, origin: str, timeout: float) -> Origin:  # noqa: ASYNC109 - the same.
        arrived = anyio.current_time()
        while (deadline := max(arrived, self._moved_at[origin]) + timeout) > anyio.current_time():
            with anyio.CancelScope(deadline=deadline):
                return await self._slots.acquire(origin)

        raise TransportError(
            f"its turn did not come: other downloads from this host made no progress for {timeout:g} s",
            timeout=True,
        )


_of_the_loop = PerLoop(_Downloads)
