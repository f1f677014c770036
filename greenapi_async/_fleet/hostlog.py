"""The log of many instances: one line for a host and a failure, not one for each instance."""

import logging
from collections.abc import Callable

import attrs

from greenapi_async._polling.journal import HOUR, Failures, has_failed
from greenapi_async.errors import GreenApiError, StoreError

_log = logging.getLogger("greenapi_async")


class _Failure(Failures):
    """Failures of one kind, and which instances they befell."""

    def __init__(self, now: float) -> None:
        super().__init__(now)
        self.scopes: set[str] = set()


@attrs.define(eq=False, repr=False)
class HostLog:
    """Logs a kind of failure at a host when it begins, after an hour, daily, and once it is over for all.

    Attributes:
        place: the host, or what else fails.
        clock: monotonic, and the same for all instances.
        store: the log of what they all record in.
    """

    place: str
    clock: Callable[[], float]
    store: "HostLog | None" = None
    _failures: dict[str, _Failure] = attrs.field(factory=dict)
    _doubted_at: dict[str, float] = attrs.field(factory=dict)

    def begins(self, scope: str, minutes: int, *, resumed: bool) -> None:
        """Say nothing: that would be a line for each instance."""

    def fails(self, scope: str, error: GreenApiError, now: float) -> None:
        """Tell of a failure, if it is time to."""
        if self.store is not None and isinstance(error, StoreError):
            self.store.fails(scope, error, now)
            return

        hours = self._hours_to_tell(type(error).__name__, scope)
        if hours is not None:
            fails = has_failed(hours)
            _log.warning("%s %s, e.g. for instance %s: %s; retrying", self.place, fails, scope, error)

    def works(self, scope: str, now: float) -> None:
        """Log the end of each kind of failure that no longer affects any instance."""
        for failure in self._dropped(scope):
            _log.info("%s works again after %.0f s", self.place, self.clock() - failure.since)

        if self.store is not None:
            self.store.works(scope, now)

    def doubts(self, scope: str, message: str, _now: float) -> None:
        """Tell of what cannot be true; the same of another instance is told an hour later at the earliest."""
        now = self.clock()
        if now >= self._doubted_at.get(message, now):
            self._doubted_at[message] = now + HOUR
            _log.warning(message, scope)

    def ended(self, scope: str, error: GreenApiError) -> None:
        """Log that an instance stopped, if a line is due; no recovery of it is awaited."""
        self.forget(scope)
        if self._hours_to_tell(f"ended: {type(error).__name__}", scope) is not None:
            _log.error(
                "polling instance %s at %s ended: %s; `Fleet.health` lists them all",
                *(scope, self.place, error),
            )

    def forget(self, scope: str) -> None:
        """Remove an instance that is no longer polled, or has new credentials."""
        self._dropped(scope)
        if self.store is not None:
            self.store.forget(scope)

    def _hours_to_tell(self, kind: str, scope: str) -> float | None:
        """Note a failure; return for how many hours its kind has lasted, if a log line is due."""
        now = self.clock()
        failure = self._failures.setdefault(kind, _Failure(now))
        failure.scopes.add(scope)
        return failure.hours_to_tell(now)

    def _dropped(self, scope: str) -> list[_Failure]:
        """Take an instance out, and return the failures that befall none any more."""
        for failure in self._failures.values():
            failure.scopes.discard(scope)

        over = [kind for kind, failure in self._failures.items() if not failure.scopes]
        return [self._failures.pop(kind) for kind in over]
