"""Durations and points in time, as written in options and shown in lines."""

import math
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Literal

from greenapi_async.models import Status

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]*\.?[0-9]+)([smhd]?)")
_KEPT = timedelta(days=30)
_YEAR_FROM = timedelta(days=300)


def seconds(text: str) -> float:
    """Return the seconds in a duration such as `90`, `1.5m`, `2h` or `1d`.

    Raises:
        ValueError: it is not a duration, or not positive.
    """
    found = _DURATION.fullmatch(text)
    value = float(found[1]) * _SECONDS[found[2]] if found else math.nan
    if 0 < value < math.inf:
        return value

    raise ValueError("must be a positive number, optionally with the unit s, m, h or d")


def since(text: str, now: datetime) -> Literal["now"] | timedelta | datetime:
    """Return where a watch begins: `now`, a duration, or an ISO date, in local time unless it has a zone.

    Raises:
        ValueError: it is none of these, in the future, or further back than the API keeps statuses.
    """
    if text == "now":
        return "now"

    start = timedelta(seconds=min(seconds(text), 1e9)) if _DURATION.fullmatch(text) else _date(text)
    back = start if isinstance(start, timedelta) else now - start
    if back > _KEPT:
        raise ValueError("must be at most 30 days back: the API keeps no older statuses")

    if back <= timedelta(0):
        raise ValueError("must not be in the future")

    return start


def shown(status: Status, now: datetime | None = None) -> str:
    """Return when a status was posted, in twelve characters: local time, or the year if it is long ago."""
    if not status.timestamp:
        return "no time"

    posted = status.posted_at
    is_far = abs((now or datetime.now(UTC)) - posted) > _YEAR_FROM
    with suppress(OverflowError, OSError):  # The last hours of the year 9999, east of Greenwich.
        posted = posted.astimezone()

    return f"{posted:%d %b  %Y}" if is_far else f"{posted:%d %b %H:%M}"


def _date(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise ValueError("must be now, a duration such as 2h, or a date such as 2026-11-22") from None
