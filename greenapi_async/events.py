"""What a poller reports about itself: its health, and the events passed to `on_event`."""

from datetime import datetime
from typing import Literal, TypeAlias

import attrs

from greenapi_async.errors import GreenApiError, RetentionGapError


@attrs.frozen(kw_only=True)
class Health:
    """A snapshot of how a poller is doing.

    Attributes:
        state: `"starting"` until the first response or failure, then `"ok"`; `"degraded"` while polls fail, even before
            any succeeded; `"stalled"` if a loop has not taken the next status for three intervals, and at least
            five minutes; `"stopped"` after the poller gave up, or `run` or its `async with` block ended.
        last_success_at: when the last response arrived, by the local clock (aware, UTC).
        lag: seconds of the server's time not yet covered, or None before the first complete response.
        consecutive_failures: failed polls since the last response.
        last_error: the latest failure, kept after recovery: a `GreenApiError`, or whatever ended `run`.
        polls: responses so far.
        delivered: statuses recorded as handled so far.
        gaps: the latest 16 periods whose statuses may have expired unseen.
    """

    state: Literal["starting", "ok", "degraded", "stalled", "stopped"] = "starting"
    last_success_at: datetime | None = None
    lag: float | None = None
    consecutive_failures: int = 0
    last_error: Exception | None = None
    polls: int = 0
    delivered: int = 0
    gaps: tuple[RetentionGapError, ...] = ()


@attrs.frozen
class Polled:
    """A poll succeeded.

    Attributes:
        minutes: how many minutes were requested.
        received: statuses in the response.
        new: those not handled before.
        seconds: how long the request took.
    """

    minutes: int
    received: int
    new: int
    seconds: float


@attrs.frozen
class PollFailed:
    """A poll failed.

    Attributes:
        error: what went wrong.
        retry_in: seconds until the next try, or None if the poller gives up.
        consecutive: failures since the last response, this one included.
    """

    error: GreenApiError
    retry_in: float | None
    consecutive: int


@attrs.frozen
class Recovered:
    """A poll succeeded again after failures.

    Attributes:
        after: seconds since the first failure.
    """

    after: float


@attrs.frozen
class GapDetected:
    """The API no longer returns the statuses of a period that was not seen.

    Attributes:
        lost_from: start of the period (aware, UTC).
        lost_to: end of the period (aware, UTC).
    """

    lost_from: datetime
    lost_to: datetime


Event: TypeAlias = Polled | PollFailed | Recovered | GapDetected
