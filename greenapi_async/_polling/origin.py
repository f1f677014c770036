"""Where a tick starts from: the beginning of a first run, or the checkpoint of the last response. Pure."""

import math
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

import attrs

from greenapi_async._polling.clocks import Moment
from greenapi_async._polling.ladder import RETENTION, Ladder, Marks, Plan
from greenapi_async._polling.servertime import SLACK, Heard, Reading
from greenapi_async.stores import Checkpoint

_DAY = 86_400.0
_EXTRA = 600.0  # More than later windows overshoot by, so none yields an old status as new.

Start: TypeAlias = timedelta | datetime | Literal["now"] | None
"""How far back a first run yields: the deepest rung, a time, or nothing from the past."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Response:
    """What an origin needs to know of a complete response.

    Attributes:
        heard: what it says about the server's time.
        wall: the wall clock on arrival.
        is_empty: whether it contains no statuses.
    """

    heard: Heard
    wall: float
    is_empty: bool


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Outcome:
    """The outcome of a complete response.

    Attributes:
        checkpoint: how far polling got once its statuses are recorded.
        unfinished: what to record at once when polling begins, so that a restart looks back as far.
        gap: from when to when statuses may have expired unseen, or None.
    """

    checkpoint: Checkpoint
    unfinished: Checkpoint | None = None
    gap: tuple[float, float] | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class FirstRun:
    """No checkpoint: polling begins.

    Statuses from before the beginning are recorded but not yielded. The same goes for ones that show up later: from
    before the first window, if a later window reaches back that far, and from before the start, if the first response
    was empty, because a newly authorized API shows its past a little later.

    Attributes:
        start: where to begin yielding; a relative time counts from the first attempt.
        span: how many seconds the deepest rung looks back.
        waited: seconds since the first attempt.
        instead: the checkpoint that this replaces, because it is in the future and does not say what was seen; then
            everything that the API keeps is recorded.
    """

    start: Start
    span: float
    waited: float = 0.0
    instead: Checkpoint | None = None

    @property
    def is_deepest(self) -> bool:
        """Whether the deepest rung has its turn, due or not."""
        return True

    def marks(self, ladder: Ladder, now: float) -> Marks:
        """Return marks that make the deepest rung look back as far as a first run has to."""
        oldest = min(now - self.waited - self.span, self._moment(now))
        if self.instead is not None:
            oldest = 0.0

        return ladder.all_at(max(oldest, now - RETENTION) - _EXTRA + self.span)

    def since(self, _plan: Plan, heard: Heard) -> float | None:
        """Return the server's time from which statuses are new, or None if all in the window are.

        It is in whole seconds, like timestamps. The vendor's are sometimes wrong, so without a start they do not count.
        """
        is_all = self.start is None and self.instead is None
        return None if is_all else math.floor(self._moment(heard.now))

    def wants(self, timestamp: int, since: float) -> bool:
        """Return whether a status is yielded; a timestamp of 0 is unknown."""
        return timestamp >= since if timestamp else self.start != "now"

    def outcome(self, ladder: Ladder, plan: Plan, response: Response) -> Outcome:
        """Return what follows from a complete response."""
        heard, reading = response.heard, response.heard.reading
        told = self.since(plan, heard)
        since = self._reach(ladder, reading.earliest) if told is None else told
        kept = reading.latest - RETENTION
        unfinished = min(reading.earliest, max(since, kept) + self.span)
        begins = min(since, self._past(ladder, response))

        return Outcome(
            checkpoint=Checkpoint(marks=ladder.all_at(reading.earliest), begins=begins),
            unfinished=Checkpoint(marks=ladder.all_at(unfinished), catching_up=True, begins=begins),
            gap=None if self.instead is None else (kept, since),
        )

    def _past(self, ladder: Ladder, response: Response) -> float:
        """Return the time before which late statuses belong to the past, by both clocks: one may be wrong."""
        if response.is_empty and self.start is not None:
            return min(math.floor(self._moment(now)) for now in (response.heard.now, response.wall))

        return min(self._reach(ladder, now) for now in (response.heard.reading.earliest, response.wall))

    def _reach(self, ladder: Ladder, now: float) -> float:
        return math.floor(self.marks(ladder, now)[-1] - self.span)

    def after(self, began: Moment, at: Moment) -> "FirstRun":
        """Return this first run as of one moment, with its first attempt at another.

        A wall clock that jumps by a day or more was set, as after booting without a clock battery.
        """
        monotonic, most = at.monotonic - began.monotonic, began.elapsed(at)
        return attrs.evolve(self, waited=most if most - monotonic < _DAY else monotonic)

    def _moment(self, now: float) -> float:
        match self.start:
            case datetime():
                return self.start.timestamp()
            case timedelta():
                return now - self.waited - self.start.total_seconds()
            case "now":
                return now - self.waited
            case _:
                return now - self.waited - self.span


@attrs.frozen(kw_only=True, eq=False, repr=False)
class GoingOn:
    """Polling continues from a checkpoint."""

    kept: Checkpoint

    @property
    def is_deepest(self) -> bool:
        """Whether the deepest rung has its turn, due or not."""
        return self.kept.catching_up

    def marks(self, ladder: Ladder, _now: float) -> Marks:
        """Return the marks that were kept."""
        return ladder.fitted(self.kept.marks)

    def since(self, plan: Plan, heard: Heard) -> float | None:
        """Return where the first run began, if the window reaches back further; else everything in it is new."""
        begins = self.kept.begins
        return begins if begins is not None and heard.reading.earliest - plan.minutes * 60 < begins else None

    def wants(self, timestamp: int, since: float) -> bool:
        """Return whether a status is yielded; a timestamp of 0 is unknown."""
        return not timestamp or timestamp >= since

    def outcome(self, ladder: Ladder, plan: Plan, response: Response) -> Outcome:
        """Return what follows from a complete response."""
        heard = response.heard
        marks = self.marks(ladder, heard.reading.latest)
        moved = ladder.record(plan, marks, heard.reading)
        return Outcome(
            checkpoint=Checkpoint(marks=moved, begins=self.kept.begins), gap=ladder.gap(marks, heard.reading)
        )

    def is_impossible(self, reading: Reading) -> bool:
        """Return whether the checkpoint is further in the future than inexact clocks explain."""
        return reading.latest + SLACK < self.kept.marks[0]

    def anew(self, span: float) -> FirstRun:
        """Return a first run that replaces an impossible checkpoint."""
        return FirstRun(start=None, span=span, instead=self.kept)


Origin: TypeAlias = FirstRun | GoingOn
