"""The ladder: which window to request next, and how far polling got once it arrived. Pure: no await, no clock.

The API returns the statuses of the last `minutes`. A status may show up late: posted while the account's phone was
offline, it appears hours later with its original timestamp. Requesting a whole day each time would find everything, at
45 times the traffic. So windows of four widths take turns, like the rungs of a ladder:

    rung   looks back (span)   every
    0      10 min              poll, which is a tick
    1      50 min              10 min
    2      250 min             50 min
    3      25 h                250 min

Each rung's turn comes once per span of the rung before it. So **a late status waits at most as long as it was already
late**: what was too late for one rung is still within the next.

Each rung has a **mark**, a time by the server's clock. It means that what had shown up by then, and was late by no more
than the rung's span, is recorded. Everything else follows from that:

- A window reaches from the server's now back to `mark - span`. In an ordinary tick that is the span plus a minute;
after three days of downtime it is three days and 25 hours, because marks are kept in the store.
- The time of a response is judged once it has arrived (`servertime`). If the window was too narrow for it, for example
because the machine slept, a wider one is requested in the same tick.
- Marks move when a complete response is recorded: those of its rung, and of the quicker ones, which it covers. They
move to the earliest time at which the server can have looked it up, and never back. Status timestamps do not move them,
because the API's are sometimes wrong, and neither does the mere passing of time.
- Nothing uncertain moves a mark: `null`, an old response from a cache, a clock that is not believed. Its statuses are
still delivered, and the next window covers that time again.

Repeats are recognized by the store, which keeps ids for longer than the API keeps statuses. So a window may be too
wide, but must never be too narrow: in any doubt, the wider one is requested.

Three modules complete the ladder: where a tick starts from (`origin`), what is believed of the server's clock
(`servertime`), and how wide a window the API accepts (`width`). If that, or the API's 30 days, does not reach back to
the last complete response, the time in between is reported as a gap.
"""

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from greenapi_async._polling.servertime import Reading

if TYPE_CHECKING:
    from greenapi_async._polling.origin import Start

MOST_MINUTES: Final = 43_200
RETENTION: Final = timedelta(minutes=MOST_MINUTES).total_seconds()
SPANS: Final = (10 * 60.0, 50 * 60.0, 250 * 60.0, 25 * 3600.0)

_ROUNDING = 60.0  # How the API rounds minutes is not documented.
_JITTER = 1.0

Marks: TypeAlias = tuple[float, ...]


@attrs.frozen(kw_only=True, repr=False)
class Plan:
    """A request: the rung it is for, and the minutes of its window."""

    rung: int
    minutes: int


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Ladder:
    """Plans the requests of one poller.

    Attributes:
        interval: seconds between two ticks.
        start: where a first run begins to yield.
        spans: how many seconds each rung looks back, the quickest first.
        limit: minutes that the API takes.
    """

    interval: float
    start: "Start" = None
    spans: tuple[float, ...] = SPANS
    limit: int = MOST_MINUTES

    @property
    def deepest(self) -> int:
        """The number of the deepest rung."""
        return len(self.spans) - 1

    def plan(self, marks: Marks, now: float, *, deepest: bool = False) -> Plan:
        """Return the next request; `now` is the latest that the server's clock can show."""
        rung = self.deepest if deepest else self._due(marks, now)
        needed = self._needed(rung, marks, now) + _JITTER
        return Plan(rung=rung, minutes=min(self.limit, max(1, math.ceil(needed / 60))))

    def is_wide_enough(self, plan: Plan, marks: Marks, reading: Reading) -> bool:
        """Return whether the window reached back far enough, by the response's own time."""
        return plan.minutes >= min(self.limit, self._needed(plan.rung, marks, reading.latest) / 60)

    def record(self, plan: Plan, marks: Marks, reading: Reading) -> Marks:
        """Return the marks after a complete response was recorded; none ever moves back."""
        return tuple(
            max(mark, reading.earliest) if rung <= plan.rung else mark for rung, mark in enumerate(marks)
        )

    def gap(self, marks: Marks, reading: Reading) -> tuple[float, float] | None:
        """Return from when to when statuses may have expired unseen, or None.

        A span that reaches less far back than it should is not a gap: what was not late was seen.
        """
        reach = self.limit * 60.0
        if reading.earliest - marks[0] <= reach:
            return None

        return marks[0], reading.latest - reach

    def all_at(self, mark: float) -> Marks:
        """Return marks that are the same for every rung."""
        return (mark,) * len(self.spans)

    def fitted(self, marks: Marks) -> Marks:
        """Return marks for this ladder, even if the kept ones are from a ladder with other rungs."""
        return marks if len(marks) == len(self.spans) else self.all_at(min(marks))

    def _due(self, marks: Marks, now: float) -> int:
        ahead = now + self.interval  # A rung that is due before the next tick would be late by then.
        every = (0.0, *self.spans[:-1])
        return max((rung for rung, mark in enumerate(marks) if ahead - mark >= every[rung]), default=0)

    def _needed(self, rung: int, marks: Marks, now: float) -> float:
        return now - (marks[rung] - self.spans[rung]) + _ROUNDING
