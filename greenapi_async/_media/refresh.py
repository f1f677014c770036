"""Statuses as the API has them now: one response, shared for a minute by all who need one."""

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import anyio
import attrs

from greenapi_async._http.loops import PerLoop
from greenapi_async.errors import ClientClosedError, GreenApiError
from greenapi_async.models import Status

_SHARED_FOR: Final = 60.0
_SLACK_MINUTES: Final = 10
_MOST_MINUTES: Final = 1440


class Refresher:
    """Requests statuses again.

    Args:
        statuses: returns the statuses of the given minutes.
        clock: the wall clock in seconds since the epoch.
    """

    def __init__(
        self, statuses: Callable[[int], Awaitable[list[Status]]], clock: Callable[[], float]
    ) -> None:
        self._statuses = statuses
        self._clock = clock
        self._loops = PerLoop(_Shared)

    async def refreshed(self, status: Status) -> Status | None:
        """Return the status as the API has it now, or None if it no longer does, or the request fails.

        Raises:
            ClientClosedError: the client was closed meanwhile.
        """
        shared = self._loops.get()
        failures = shared.failures
        shared.wanted.append(status.timestamp)
        try:
            async with shared.lock:
                if shared.failures == failures and not shared.serves(status):
                    await self._request(shared)

                return shared.statuses.get(status.key) if shared.serves(status) else None
        finally:
            shared.wanted.remove(status.timestamp)

    async def _request(self, shared: "_Shared") -> None:
        """Request as many minutes as all who wait need; twice as many as a moment ago, if those were too few."""
        now = self._clock()
        age = max(0.0, now - min(shared.wanted))
        least = 2 * shared.minutes if anyio.current_time() < shared.until else 0
        minutes = min(_MOST_MINUTES, max(int(age / 60) + _SLACK_MINUTES, least))
        try:
            statuses = await self._statuses(minutes)
        except ClientClosedError:
            raise
        except GreenApiError:
            shared.failures += 1
            return

        shared.statuses = {each.key: each for each in statuses}
        shared.minutes, shared.since = minutes, now - minutes * 60
        shared.until = anyio.current_time() + _SHARED_FOR


@attrs.define(eq=False)
class _Shared:
    """The last response in an event loop; a failure is shared only by those who waited for it."""

    lock: anyio.Lock = attrs.field(factory=anyio.Lock)
    wanted: list[int] = attrs.field(factory=list)
    statuses: Mapping[str, Status] = attrs.field(factory=dict)
    minutes: int = 0
    since: float = math.inf
    until: float = -math.inf
    failures: int = 0

    def serves(self, status: Status) -> bool:
        """Return whether the response is fresh, and reaches back to the status."""
        return anyio.current_time() < self.until and self.since <= status.timestamp
