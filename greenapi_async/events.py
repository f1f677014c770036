"""What a poller tells about itself: its health, and the events that `on_event` gets."""

from datetime import datetime
from typing import Literal, TypeAlias

import attrs

from greenapi_async.errors import GreenApiError, RetentionGapError


@attrs.frozen(kw_only=True)
class Health:
    """How a poller fares; a snapshot.

    Attributes:
        state: `"starting"` until the first answer, then `"ok"`, `"degraded"` while questions fail, and `"stopped"`
            after the poller gave up or its `async with` block ended.
        last_success_at: when the last answer came, by the local clock (aware, UTC).
        lag: seconds of the server's time not yet covered, or None before the first complete answer.
        consecutive_failures: failed questions since the last answer.
        last_error: the latest failure, kept after recovery.
        polls: answers so far.
        delivered: statuses recorded as handled so far.
        gaps: times whose statuses may have expired unseen.
    """

    state: Literal["starting", "ok", "degraded", "stopped"] = "starting"
    last_success_at: datetime | None = None
    lag: float | None = None
    consecutive_failures: int = 0
    last_error: GreenApiError | None = None
    polls: int = 0
    delivered: int = 0
    gaps: tuple[RetentionGapError, ...] = ()


@attrs.frozen
class Polled:
    """An answer came: how many minutes were asked for, statuses received and new, and the seconds it took."""

    minutes: int
    received: int
    new: int
    seconds: float


@attrs.frozen
class PollFailed:
    """A question failed and is asked again in `retry_in` seconds (None: the poller gives up)."""

    error: GreenApiError
    retry_in: float | None
    consecutive: int


@attrs.frozen
class Recovered:
    """An answer came again, `after` seconds of failures."""

    after: float


@attrs.frozen
class GapDetected:
    """Polling paused for longer than the API keeps statuses; both ends are aware UTC datetimes."""

    lost_from: datetime
    lost_to: datetime


Event: TypeAlias = Polled | PollFailed | Recovered | GapDetected
