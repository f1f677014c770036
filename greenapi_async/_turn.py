"""Turns on the event loop, for work that would otherwise block other tasks until it is done."""

from time import perf_counter
from typing import Final

import anyio

_SECONDS: Final = 0.001


class Turn:
    """One task's turn: after a millisecond, other tasks get theirs."""

    def __init__(self) -> None:
        self._ends = perf_counter() + _SECONDS

    async def pause(self) -> None:
        """Let other tasks run, if this turn is over."""
        if perf_counter() > self._ends:
            await anyio.sleep(0)  # noqa: ASYNC115 - `anyio.lowlevel` is one more import.
            self._ends = perf_counter() + _SECONDS
