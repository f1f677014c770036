"""What clients share: connections, settings and files; and the checks of what their users give."""

import inspect
import math
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from greenapi_async._api.token import Secret, is_token
from greenapi_async._http.exchange import Http, HttpxClient
from greenapi_async._polling.ladder import Ladder
from greenapi_async._polling.origin import Start
from greenapi_async.errors import ConfigurationError
from greenapi_async.stores import MemoryStore, SQLiteStore, Store

if TYPE_CHECKING:
    from pathlib import Path

_LONGEST_INTERVAL: Final = 86_400
_Hook = TypeVar("_Hook", bound=Callable[..., None])


class Family:
    """What the clients of one family have in common; its owner closes it.

    Attributes:
        period: seconds from one request of an instance to the next.
    """

    def __init__(
        self,
        *,
        http_client: HttpxClient | None,
        timeout: float | timedelta,
        retries: int,
        max_rate: float | None,
        max_body: int,
        clock: Callable[[], float],
    ) -> None:
        """Check what a user gave.

        Raises:
            ConfigurationError: an argument is wrong; the message names it.
        """
        self.period: float = 0.0 if max_rate is None else 1.0 / positive("max_rate", max_rate)
        self.timeout: float = seconds("timeout", timeout)
        self.retries: int = at_least(0, "retries", retries)
        self.clock = clock
        self.http: Http = Http(http_client, timeout=self.timeout, max_body=at_least(1, "max_body", max_body))
        self._stores: dict[Path, SQLiteStore] = {}

    def opened(self, store: Store | str | os.PathLike[str] | None) -> Store:
        """Return the store that a user means; a file is opened once, and closed with the family."""
        if store is None:
            return MemoryStore()

        if isinstance(store, str | os.PathLike):
            opened = SQLiteStore(store)
            return self._stores.setdefault(opened.path, opened)

        if isinstance(store, type):
            raise ConfigurationError(f"store must be an object, not the class {store.__name__}: call it")

        if isinstance(store, Store):
            return store

        raise ConfigurationError("store must be a path or an object with the methods of greenapi_async.Store")

    async def aclose(self) -> None:
        """Close the connections, unless they are somebody else's, and the files."""
        try:
            await self.http.aclose()
        finally:
            for store in self._stores.values():
                await store.aclose()


def hidden(token: object) -> Secret:
    """Return the token in what does not show it; one that cannot be a token is not even spelled."""
    return Secret(token if isinstance(token, str) and is_token(token) else "")


def ladder(interval: float | timedelta, start: Start) -> Ladder:
    """Return the ladder of a poller."""
    every = seconds("interval", interval)
    if every > _LONGEST_INTERVAL:
        raise ConfigurationError("interval must be at most 86400 seconds: a status is up for one day")

    return Ladder(interval=every, start=_checked_start(start))


def checked_hook(on_event: _Hook | None) -> _Hook | None:
    """Return `on_event`, if it can be called."""
    if on_event is not None and (not callable(on_event) or inspect.iscoroutinefunction(on_event)):
        raise ConfigurationError("on_event must be a plain function, not an async one")

    return on_event


def seconds(name: str, value: object) -> float:
    """Return a positive number of seconds."""
    number = value.total_seconds() if isinstance(value, timedelta) else value
    return positive(name, number, "a positive number of seconds, or a timedelta")


def positive(name: str, value: object, what: str = "a positive number") -> float:
    """Return a positive number; the error says `what` it must be."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return value

    raise ConfigurationError(f"{name} must be {what}")


def at_least(least: int, name: str, value: object) -> int:
    """Return an integer that is not too small."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value

    raise ConfigurationError(f"{name} must be an integer of {least} or more")


def _checked_start(start: Start) -> Start:
    if start is None or start == "now":
        return start

    if isinstance(start, timedelta) and start > timedelta(0):
        return start

    if isinstance(start, datetime) and start.tzinfo is not None:
        return start

    raise ConfigurationError('start must be None, "now", a positive timedelta or a datetime with a time zone')
