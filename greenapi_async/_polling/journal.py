"""A poller's reports: keeps its health, calls `on_event`, and logs changes of state."""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import attrs

from greenapi_async._polling.clocks import Clocks
from greenapi_async.errors import GreenApiError, RetentionGapError
from greenapi_async.events import Event, GapDetected, Health, Polled, PollFailed, Recovered
from greenapi_async.models import Status

if TYPE_CHECKING:
    from typing import Protocol

    class Log(Protocol):
        """Says in the log what lasts; `now` is monotonic, and `scope` the instance's id."""

        def begins(self, scope: str, minutes: int, *, resumed: bool) -> None:
            """Tell of the first request."""

        def fails(self, scope: str, error: GreenApiError, now: float) -> None:
            """Tell of a failure, after which polling goes on."""

        def works(self, scope: str, now: float) -> None:
            """Tell that polling works again."""

        def doubts(self, scope: str, message: str, now: float) -> None:
            """Tell of what cannot be true; the message has a place for the scope."""


HOUR: Final = 3600.0
_DAY = 24 * HOUR
_MOST_GAPS = 16
_PATIENCE = 300.0  # A video that takes longer is better downloaded in its own task.
_log = logging.getLogger("greenapi_async")


class InstanceLog:
    """The log of a single instance: when failures begin, after an hour of them, then daily, and when they end."""

    def __init__(self) -> None:
        self._failures: Failures | None = None

    def begins(self, scope: str, minutes: int, *, resumed: bool) -> None:
        """Tell of the first request."""
        origin = "its checkpoint" if resumed else "the beginning"
        _log.info("polling instance %s from %s: looking back %d minutes", scope, origin, minutes)

    def fails(self, scope: str, error: GreenApiError, now: float) -> None:
        """Tell of a failure, if it is time to."""
        self._failures = self._failures or Failures(now)
        hours = self._failures.hours_to_tell(now)
        if hours is not None:
            _log.warning("polling instance %s %s: %s; retrying", scope, has_failed(hours), error)

    def works(self, scope: str, now: float) -> None:
        """Tell that polling works again, if it was told to fail."""
        if self._failures is not None:
            _log.info("polling instance %s works again after %.0f s", scope, now - self._failures.since)
            self._failures = None

    def doubts(self, scope: str, message: str, _now: float) -> None:
        """Tell of what cannot be true."""
        _log.warning(message, scope)


class Failures:
    """Failures that last: the log tells of them when they begin, after an hour, and then daily.

    Attributes:
        since: the monotonic time of the first.
    """

    def __init__(self, now: float) -> None:
        self.since: float = now
        self._warns_at = now

    def hours_to_tell(self, now: float) -> float | None:
        """Return for how many hours they have lasted, if it is time for a line."""
        if now < self._warns_at:
            return None

        hours = (now - self.since) / HOUR
        self._warns_at = now + (_DAY if hours >= 1 else HOUR)
        return hours


def has_failed(hours: float) -> str:
    """Return the words for failures that have lasted that long."""
    return f"has failed for {hours:.0f} h" if hours >= 1 else "fails"


@attrs.define(eq=False, repr=False)
class Journal:
    """Records what happens to the poller of one instance."""

    scope: str
    clocks: Clocks
    on_event: Callable[[Event], None] | None
    interval: float
    log: "Log" = attrs.field(factory=InstanceLog)
    health: Health = attrs.field(factory=Health)
    _handed_out_at: float | None = None
    _announced: bool = False
    _failing_since: float = 0.0
    _told_gap_from: float | None = None

    def current(self, *, lag: float | None) -> Health:
        """Return the current health; needs no event loop."""
        stalled = self.health.state == "ok" and self._is_abandoned()
        return attrs.evolve(self.health, lag=lag, state="stalled" if stalled else self.health.state)

    def requests(self, minutes: int, *, resumed: bool) -> None:
        """Log the first request."""
        if not self._announced:
            self.log.begins(self.scope, minutes, resumed=resumed)
            self._announced = True

    def polled(self, event: Polled) -> None:
        """Record a response."""
        failed_before = self.health.consecutive_failures > 0
        self._change(
            state="ok",
            last_success_at=datetime.fromtimestamp(self.clocks.wall(), UTC),
            consecutive_failures=0,
            polls=self.health.polls + 1,
        )

        if failed_before:
            now = self.clocks.monotonic()
            self.log.works(self.scope, now)
            self._tell(Recovered(after=now - self._failing_since))

        self._tell(event)

    def failed(self, error: GreenApiError) -> None:
        """Record a failure."""
        if self.health.consecutive_failures == 0:
            self._failing_since = self.clocks.monotonic()

        self._change(
            state="degraded",
            consecutive_failures=self.health.consecutive_failures + 1,
            last_error=error,
        )

    def waits(self, error: GreenApiError, seconds: float | None) -> None:
        """Report the failure just recorded, and when polling retries (None: the caller gets the error)."""
        if seconds is not None:
            self.log.fails(self.scope, error, self.clocks.monotonic())

        self._tell(PollFailed(error, seconds, self.health.consecutive_failures))

    def gap(self, lost_from: float, lost_to: float) -> None:
        """Record a period whose statuses may be lost, once: until recorded, each response shows it."""
        if lost_from == self._told_gap_from:
            return

        self._told_gap_from = lost_from
        gap = RetentionGapError(datetime.fromtimestamp(lost_from, UTC), datetime.fromtimestamp(lost_to, UTC))
        _log.error("polling instance %s: %s", self.scope, gap)
        self._change(gaps=(*self.health.gaps, gap)[-_MOST_GAPS:])
        self._tell(GapDetected(gap.lost_from, gap.lost_to))

    def future_checkpoint(self) -> None:
        """Log that the checkpoint is impossible."""
        self._doubt(
            "the checkpoint of instance %s is in the future: starting over, with everything that the API keeps"
        )

    def checkpoint_gone(self) -> None:
        """Log that the store has no checkpoint any more."""
        self._doubt("the checkpoint of instance %s is gone from the store: starting over")

    def date_contradicts(self) -> None:
        """Log that the responses' `Date` is impossible."""
        self._doubt(
            "the Date of the responses for instance %s contradicts both clocks of this machine: ignoring it "
            "until it agrees again"
        )

    def handed_out(self) -> None:
        """Record that the consumer has a status now, whatever stopped polling before."""
        self._handed_out_at = self.clocks.wall()
        if self.health.state == "stopped":
            self._change(state="ok")

    def handled(self) -> None:
        """Record that the consumer is done with what it had."""
        self._handed_out_at = None

    def delivered(self, count: int) -> None:
        """Count statuses that were recorded as handled."""
        self._change(delivered=self.health.delivered + count)

    def gave_up(self, error: GreenApiError) -> None:
        """Record and report the failure that ends polling."""
        if self.health.last_error is not error:
            self.failed(error)

        self.stopped()
        self.waits(error, None)

    def attempt_failed(self, status: Status, error: Exception, attempt: int, attempts: int) -> None:
        """Log that a handler failed, without the error's text, which may be a stranger's."""
        _log.warning(
            "instance %s: attempt %d of %d to handle %r failed: %s",
            *(self.scope, attempt, attempts, status, type(error).__name__),
        )

    def run_ended(self, error: Exception, statuses: Sequence[Status]) -> None:
        """Record the error that ends `run`, and log it with the status that was being handled, if any."""
        self._change(last_error=error)
        at = f" at {statuses[0]!r}" if statuses else ""
        _log.error("polling instance %s ended%s: %s", self.scope, at, type(error).__name__)

    def stopped(self) -> None:
        """Record the end."""
        self._change(state="stopped")

    def _is_abandoned(self) -> bool:
        if self._handed_out_at is None:
            return False

        return self.clocks.wall() - self._handed_out_at >= max(3 * self.interval, _PATIENCE)

    def _doubt(self, message: str) -> None:
        self.log.doubts(self.scope, message, self.clocks.monotonic())

    def _change(self, **changes: Any) -> None:
        self.health = attrs.evolve(self.health, **changes)

    def _tell(self, event: Event) -> None:
        if self.on_event is None:
            return

        try:
            self.on_event(event)
        except Exception:  # noqa: BLE001 - whatever a hook raises, polling continues.
            _log.exception("on_event failed; polling continues")
