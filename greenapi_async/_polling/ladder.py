"""The ladder: which minutes to ask for, whether the answer reached back far enough, and the marks then.

A mark is a server time: everything that had shown up by then, and was late by the rung's span at most, is
recorded. Lower marks are always true; only a complete answer raises them. Pure: no await, no clock.
"""

import math
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

import attrs

RETENTION = timedelta(days=30).total_seconds()
MOST_MINUTES = 43_200

_SLACK_UNDATED = 300.0  # How far the wall clock may be from the server's where an answer has no Date.
_ROUNDING = 60.0  # What the API may do with a minute is not documented.
_JITTER = 1.0
_FIRST_EXTRA = 600.0  # Beyond what later questions overshoot by, so that none brings an old status as new.

Marks: TypeAlias = tuple[float, ...]
Verdict: TypeAlias = Literal["fits", "too narrow", "too wide", "backwards"]
Start: TypeAlias = timedelta | datetime | Literal["now"] | None
"""How far back a first run yields: the deepest rung, a time, or nothing of the past."""


# Each rung looks back a span, as often as the span before it is long: so nothing waits longer than it was late.
SPANS = (10 * 60.0, 50 * 60.0, 250 * 60.0, 25 * 3600.0)
_EVERY = (0.0, *SPANS[:-1])
DEEPEST = len(SPANS) - 1


@attrs.frozen(kw_only=True)
class Reading:
    """The server's time when it looked up an answer: no earlier than this, no later than that."""

    earliest: float
    latest: float


@attrs.frozen(kw_only=True)
class Plan:
    """A question: the rung it is for, and the minutes it asks for."""

    rung: int
    minutes: int


@attrs.frozen(kw_only=True, eq=False)
class Anchor:
    """One moment read on three clocks: the server's, the monotonic one and the wall's."""

    server: float
    monotonic: float
    wall: float

    def server_now(self, monotonic: float, wall: float) -> float:
        """Return the server's time now.

        The monotonic clock stands while a laptop sleeps, and the wall clock can be set back: the one that
        saw more time pass is right, and a question that is too wide by it is noticed.
        """
        return self.server + max(monotonic - self.monotonic, wall - self.wall)


def read(*, date: float | None, duration: float, wall: float) -> Reading:
    """Return the bounds of the server's time, from the answer's `Date` or else from the wall clock."""
    stamp, slack = (wall, _SLACK_UNDATED) if date is None else (date, 0.0)
    uncertain = slack + duration + 1.0  # Date counts whole seconds.
    return Reading(earliest=stamp - uncertain, latest=stamp + uncertain)


@attrs.frozen(kw_only=True, eq=False)
class Ladder:
    """Plans the questions of one poller.

    Attributes:
        interval: seconds between two questions.
        start: where a first run begins to yield; a relative one counts from its first attempt.
        waited: seconds since that attempt: what shows up before the first answer is new, too.
        limit: minutes that the API takes.
    """

    interval: float
    start: Start = None
    waited: float = 0.0
    limit: int = MOST_MINUTES

    def ask(self, marks: Marks | None, now: float, *, deepest: bool = False) -> Plan:
        """Return the next question, `now` being the latest that the server's clock can show."""
        rung = DEEPEST if deepest or marks is None else self._due(marks, now)
        return Plan(rung=rung, minutes=self._minutes(rung, marks, now))

    def judge(self, plan: Plan, marks: Marks | None, reading: Reading) -> Verdict:
        """Tell by the answer's own time whether the question was right.

        Too wide a question may bring statuses that are older than the first run. A `Date` before the marks is a
        clock that went backwards, and tells nothing.
        """
        if marks is not None and reading.latest < marks[0]:
            return "backwards"

        if not self._is_enough(plan, marks, reading):
            return "too narrow"

        spare = plan.minutes - self._minutes(plan.rung, marks, reading.latest)
        return "too wide" if spare > _FIRST_EXTRA / 60 else "fits"

    def record(self, plan: Plan, marks: Marks | None, reading: Reading) -> Marks:
        """Return the marks after a complete answer, all of which is recorded; none ever moves back."""
        if marks is None:
            return (reading.earliest,) * len(SPANS)

        return tuple(
            max(mark, reading.earliest) if rung <= plan.rung else mark for rung, mark in enumerate(marks)
        )

    def first(self, reading: Reading) -> Marks:
        """Return the marks of a first answer that is not recorded yet, so that a restart asks for it again."""
        return (min(reading.earliest, self._oldest(reading.latest) + SPANS[DEEPEST]),) * len(SPANS)

    def wants(self, timestamp: int, reading: Reading) -> bool:
        """Tell whether a first run yields a status or only records it; 0 is a time that was not told."""
        if self.start is None or not timestamp:
            return self.start != "now"

        if self.start == "now":
            return self.waited > 0 and timestamp >= reading.earliest - self.waited

        return timestamp >= self._moment(self.start, reading.latest)

    def gap(self, marks: Marks | None, reading: Reading) -> tuple[float, float] | None:
        """Return from when to when statuses may have expired unseen, or None.

        That a span reaches less far back than it should is no gap: what is not late was seen.
        """
        reach = self.limit * 60.0
        if marks is None or reading.earliest - marks[0] <= reach:
            return None

        return marks[0], reading.latest - reach

    def _is_enough(self, plan: Plan, marks: Marks | None, reading: Reading) -> bool:
        needed = reading.latest - self._reach(plan.rung, marks, reading.latest) + _ROUNDING
        return plan.minutes >= min(self.limit, needed / 60)

    def _due(self, marks: Marks, now: float) -> int:
        ahead = now + self.interval  # What is due before the next tick would be late by then.
        due = (rung for rung, mark in enumerate(marks) if ahead - mark >= _EVERY[rung])
        return max(due, default=0)

    def _reach(self, rung: int, marks: Marks | None, now: float) -> float:
        """Return the server time back to which everything must be seen."""
        return self._oldest(now) - _FIRST_EXTRA if marks is None else marks[rung] - SPANS[rung]

    def _minutes(self, rung: int, marks: Marks | None, now: float) -> int:
        needed = now - self._reach(rung, marks, now) + _ROUNDING + _JITTER
        return min(self.limit, max(1, math.ceil(needed / 60)))

    def _oldest(self, now: float) -> float:
        oldest = now - self.waited - SPANS[DEEPEST]
        if isinstance(self.start, timedelta | datetime):
            oldest = min(oldest, self._moment(self.start, now))

        return max(oldest, now - RETENTION)

    def _moment(self, start: timedelta | datetime, now: float) -> float:
        if isinstance(start, datetime):
            return start.timestamp()

        return now - self.waited - start.total_seconds()


def fitted(marks: Marks) -> Marks:
    """Return marks for this ladder, where those that were kept are of one with other rungs."""
    return marks if len(marks) == len(SPANS) else (min(marks),) * len(SPANS)


def from_the_future(marks: Marks | None, reading: Reading) -> bool:
    """Tell whether marks that were kept lie so far ahead that no clock's slack explains it."""
    return marks is not None and reading.latest + _SLACK_UNDATED < marks[0]


def unknown(reading: Reading) -> Marks:
    """Return the marks of one who knows nothing but that the API keeps 30 days."""
    return (reading.latest - RETENTION,) * len(SPANS)
