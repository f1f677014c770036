"""What is believed of the server's clock: each response's `Date`, checked against this machine's two clocks. Pure.

No clock outvotes the other two:

- Time that the monotonic clock saw pass has passed. A `Date` earlier than the last believed one plus that time stands
still, runs slow or went backwards, and is not believed.
- A `Date` further ahead than either clock can explain needs a second response that agrees: a paused machine looks like
that, and so does one wrong header.
- At the start there is only the wall clock to compare with. If the two differ, a second response decides as well.
- A `Date` that is not believed three times in a row counts as absent until it agrees again. The server's time then lies
  between the last believed one plus the monotonic time since, and that plus the most that either clock saw pass.
"""

from typing import Final

import attrs

from greenapi_async._polling.clocks import Moment

SLACK: Final = 300.0  # How far off this machine's clocks may be if no `Date` is believed.
_JITTER: Final = 1.0  # `Date` counts whole seconds.
_DRIFT: Final = 0.001
_CONTRADICTIONS: Final = 3


@attrs.frozen(kw_only=True, repr=False)
class Reading:
    """The server's time when it looked up a response: no earlier than this, no later than that."""

    earliest: float
    latest: float


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Heard:
    """What a response says about the server's time.

    Attributes:
        reading: when it was looked up.
        now: the earliest server time at which it can have arrived.
        is_believed: whether marks may move to it; if not, `reading` and `now` are what was believed before.
        suspected: the latest time that the `Date` means, if one more response, requested at once, confirms it.
    """

    reading: Reading
    now: float
    is_believed: bool = True
    suspected: float | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Anchor:
    """Bounds of the server's time at one moment on this machine."""

    earliest: float
    latest: float
    at: Moment

    def later(self, moment: Moment) -> "Anchor":
        """Return the bounds at a later moment."""
        monotonic = moment.monotonic - self.at.monotonic
        return Anchor(
            earliest=self.earliest + monotonic * (1 - _DRIFT),
            latest=self.latest + self.at.elapsed(moment) * (1 + _DRIFT),
            at=moment,
        )

    def is_before(self, other: "Anchor") -> bool:
        """Return whether two bounds of one moment exclude each other, these being the earlier."""
        return self.latest + _JITTER < other.earliest

    def agrees(self, other: "Anchor") -> bool:
        """Return whether two bounds of one moment may both be true."""
        return not (self.is_before(other) or other.is_before(self))


@attrs.define(eq=False, repr=False)
class ServerTime:
    """Keeps what one poller believes of the server's time."""

    _first: Moment | None = None
    _anchor: Anchor | None = None
    _doubted: Anchor | None = None
    _contradictions: int = 0
    _duration: float = 0.0
    _goes_without: bool = False

    @property
    def is_distrusted(self) -> bool:
        """Whether `Date` counts as absent because it contradicts the clocks."""
        return self._contradictions >= _CONTRADICTIONS

    def hear(self, *, date: float | None, duration: float, at: Moment) -> Heard:
        """Record a response that arrived at that moment, `duration` seconds after it was requested."""
        self._duration = duration
        if date is None:
            self._doubted = None  # Only the next `Date` can confirm a doubted one.
            return self._without(duration, at)

        told = Anchor(earliest=date, latest=date + duration + _JITTER, at=at)
        if self._agrees(told, duration) or self._confirms(told):
            return self._believe(told, duration)

        return self._doubt(told, duration)

    def undated(self, duration: float, at: Moment) -> Heard:
        """Return what a response without a usable `Date` says."""
        if self._anchor is None:
            wall = self._by_the_wall(at)
            return _heard(wall - SLACK, wall + SLACK, duration)

        bounds = self._anchor.later(at)
        return _heard(bounds.earliest, bounds.latest, duration)

    def now(self, at: Moment) -> float:
        """Return the latest time that the next response can show, if it takes about as long as the last."""
        if self._goes_without:
            return self.undated(self._duration, at).reading.latest + self._duration + SLACK

        if self._anchor is None:
            return self._by_the_wall(at)

        return self._anchor.earliest + self._anchor.at.elapsed(at) + 2 * self._duration + _JITTER

    def now_by_the_wall(self, wall: float) -> float:
        """Return the server's time without an event loop, and so without a monotonic clock."""
        if self._anchor is None:
            return wall

        return self._anchor.earliest + max(0.0, wall - self._anchor.at.wall)

    def _by_the_wall(self, at: Moment) -> float:
        """Return the wall clock's first reading plus the most that passed since: it may be set back."""
        self._first = self._first or at
        return self._first.wall + self._first.elapsed(at)

    def _agrees(self, told: Anchor, duration: float) -> bool:
        if self._anchor is None:
            return abs(told.earliest - told.at.wall) <= SLACK + duration

        return told.agrees(self._anchor.later(told.at))

    def _confirms(self, told: Anchor) -> bool:
        return (
            self._doubted is not None
            and told.agrees(self._doubted.later(told.at))
            and not self._is_behind(told)
        )

    def _is_behind(self, told: Anchor) -> bool:
        return self._anchor is not None and told.is_before(self._anchor.later(told.at))

    def _believe(self, told: Anchor, duration: float) -> Heard:
        # It may be a little behind and still agree; many such must not add up.
        proven = told.earliest if self._anchor is None else self._anchor.later(told.at).earliest
        earliest = max(proven, told.earliest)
        self._anchor = Anchor(earliest=earliest, latest=max(earliest, told.latest), at=told.at)
        self._doubted, self._contradictions, self._goes_without = None, 0, False
        return _heard(told.earliest, told.earliest, duration)

    def _doubt(self, told: Anchor, duration: float) -> Heard:
        self._contradictions += 1
        is_behind = self._is_behind(told)
        if not is_behind:
            self._doubted = told

        if self.is_distrusted:
            return self._without(duration, told.at)

        is_first = self._contradictions == 1 and not is_behind
        suspected = _heard(told.earliest, told.earliest, duration).reading.latest if is_first else None
        return attrs.evolve(self.undated(duration, told.at), is_believed=False, suspected=suspected)

    def _without(self, duration: float, at: Moment) -> Heard:
        self._goes_without = True
        return self.undated(duration, at)


def _heard(earliest: float, latest: float, duration: float) -> Heard:
    """Return what follows from the server's time on arrival; the lookup happened while the response was under way."""
    uncertain = duration + _JITTER
    return Heard(reading=Reading(earliest=earliest - uncertain, latest=latest + uncertain), now=earliest)
