"""Turns at the event loop, for work that would hold up all others until it is done."""

from time import perf_counter
from typing import Final

import anyio

_SECONDS: Final = 0.001


class Turn:
    """One task's turn: after a millisecond of it, the others have theirs."""

    def __init__(self) -> None:
        self._ends = perf_counter() + _SECONDS

    async def pause(self) -> None:
        """Let the others have theirs, if this one is over."""
        if perf_counter() > self._ends:
            await anyio.sleep(0)  # noqa: ASYNC115 - `anyio.lowlevel` is an import more.
            self._ends = perf_counter() + _SECONDS
