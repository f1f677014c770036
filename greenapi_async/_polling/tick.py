"""One tick: a window is requested until its response, by its own time, reaches back far enough."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Literal, TypeAlias

import attrs

from greenapi_async._api.instance import Answer, Instance
from greenapi_async._polling.clocks import Clocks, Moment
from greenapi_async._polling.journal import Journal
from greenapi_async._polling.ladder import Ladder, Plan
from greenapi_async._polling.origin import FirstRun, GoingOn, Origin, Outcome, Response
from greenapi_async._polling.servertime import Heard, ServerTime
from greenapi_async._polling.width import Width
from greenapi_async.errors import BadRequestError, GreenApiError
from greenapi_async.models import Status
from greenapi_async.stores import Checkpoint

Verdict: TypeAlias = Literal["complete", "incomplete", "too narrow", "suspicious", "impossible"]
_MOST_REQUESTS = 3  # The second is wide enough unless the clocks and the API disagree about everything.


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Tick:
    """One response, and what follows from it.

    Attributes:
        plan: the request.
        response: what arrived.
        origin: where it started from.
        since: the server's time before which a status is in the past; None if none in this window is.
        outcome: how far polling got once the statuses are recorded; None if the response does not say.
    """

    plan: Plan
    response: Answer
    origin: Origin
    since: float | None
    outcome: Outcome | None

    @property
    def keys(self) -> Sequence[str]:
        """The keys of the statuses that came, new or not."""
        return () if self.response.page is None else self.response.page.keys

    @property
    def kept(self) -> Checkpoint | None:
        """The checkpoint that it started from, or None."""
        return self.origin.kept if isinstance(self.origin, GoingOn) else self.origin.instead

    @property
    def checkpoint(self) -> Checkpoint | None:
        """How far polling got once the statuses are recorded; None if the response does not say."""
        return None if self.outcome is None else self.outcome.checkpoint

    @property
    def tells_the_past(self) -> bool:
        """Whether what is not new can be recorded: not if a first response's own time is uncertain."""
        return self.outcome is not None or not isinstance(self.origin, FirstRun)

    async def statuses(self, wanted: set[str]) -> list[Status]:
        """Return those of the statuses that are wanted; raises what `Page.statuses` raises."""
        return [] if self.response.page is None else await self.response.page.statuses(wanted)

    def is_new(self, status: Status) -> bool:
        """Return whether a status that was never recorded is yielded, because it is not in the past."""
        return self.since is None or self.origin.wants(status.timestamp, self.since)

    def beside(self, other: Checkpoint) -> "Tick":
        """Return this first run adjusted for another process, which recorded the past meanwhile: the rest is new."""
        outcome = self.outcome
        if outcome is not None:
            outcome = Outcome(checkpoint=attrs.evolve(outcome.checkpoint, begins=other.begins))

        return attrs.evolve(self, origin=GoingOn(kept=other), since=None, outcome=outcome)


class Ticker:
    """Requests one instance's windows, and remembers what it learned about the server's clock and the width."""

    def __init__(self, instance: Instance, *, ladder: Ladder, clocks: Clocks, journal: Journal) -> None:
        self._instance = instance
        self._ladder = ladder
        self._clocks = clocks
        self._journal = journal
        self._began: Moment | None = None
        self._time = ServerTime()
        self._width = Width()

    def use(self, instance: Instance) -> None:
        """Send later requests as another instance, or with other credentials of the same."""
        self._instance = instance

    async def tick(self, kept: Checkpoint | None) -> Tick:
        """Request what follows from the checkpoint; raises what `Instance.page` raises."""
        origin: Origin = self._first_run() if kept is None else GoingOn(kept=kept)
        now = self.server_now()

        for _ in range(_MOST_REQUESTS):
            received = await self._received(origin, now)
            verdict = self._judge(origin, received)
            if verdict in {"complete", "incomplete"}:
                break

            now = max(now, received.latest)
            if verdict == "impossible" and isinstance(origin, GoingOn):
                self._journal.future_checkpoint()
                origin = origin.anew(self._ladder.spans[-1])

        return self._ticked(origin, received, is_complete=verdict == "complete")

    def server_now(self) -> float:
        """Return the latest that the server's clock can show when the next response arrives."""
        return self._time.now(self._clocks.now())

    def lag(self, covered_until: float | None) -> float | None:
        """Return the seconds of the server's time since a mark; needs no event loop."""
        if covered_until is None:
            return None

        return self._time.now_by_the_wall(self._clocks.wall()) - covered_until

    def _first_run(self) -> FirstRun:
        at = self._clocks.now()
        self._began = self._began or at
        return FirstRun(start=self._ladder.start, span=self._ladder.spans[-1]).after(self._began, at)

    def _judge(self, origin: Origin, received: "_Received") -> Verdict:
        """Return what follows from a response, by its own time."""
        heard, plan = received.heard, received.plan
        if heard.suspected is not None:
            return "suspicious"

        if not heard.is_believed or not received.is_widest or received.response.cached:
            return "incomplete"

        if isinstance(origin, GoingOn) and origin.is_impossible(heard.reading):
            return "impossible"

        marks = origin.marks(self._ladder, heard.reading.latest)
        return "complete" if self._ladder.is_wide_enough(plan, marks, heard.reading) else "too narrow"

    def _ticked(self, origin: Origin, received: "_Received", *, is_complete: bool) -> Tick:
        """Return the tick that a response ends; a first response whose time is not believed does not count."""
        response, heard, plan = received.response, received.heard, received.plan
        if isinstance(origin, FirstRun) and self._began is not None and origin.instead is None:
            origin = origin.after(self._began, received.at)
        if isinstance(origin, FirstRun) and not heard.is_believed:
            response = attrs.evolve(response, page=None)

        outcome = None
        if is_complete and response.page is not None:
            complete = Response(heard=heard, wall=received.at.wall, is_empty=not response.page.keys)
            outcome = origin.outcome(self._ladder, plan, complete)

        since = origin.since(plan, heard)
        return Tick(plan=plan, response=response, origin=origin, since=since, outcome=outcome)

    async def _received(self, origin: Origin, now: float) -> "_Received":
        """Request the window that is due, and take in what its response says about the server's time."""
        plan = self._ladder.plan(origin.marks(self._ladder, now), now, deepest=origin.is_deepest)
        self._journal.requests(plan.minutes, resumed=isinstance(origin, GoingOn))
        given = await self._given(plan.minutes)
        heard = self._hear(given.response, given.at)
        return _Received(
            plan=attrs.evolve(plan, minutes=given.minutes),
            response=given.response,
            at=given.at,
            heard=heard,
            is_widest=given.is_widest,
        )

    def _hear(self, response: Answer, at: Moment) -> Heard:
        """Take in what a response says about the server's time; one from a cache says nothing."""
        if response.cached:
            return self._time.undated(response.duration, at)

        was_distrusted = self._time.is_distrusted
        heard = self._time.hear(date=response.date, duration=response.duration, at=at)
        if self._time.is_distrusted and not was_distrusted:
            self._journal.date_contradicts()

        return heard

    async def _given(self, minutes: int) -> "_Given":
        """Return the response to a window, or to a narrower one if the API refuses that width."""
        try:
            return await self._page(minutes)
        except BadRequestError as error:
            narrower = self._width.narrower(minutes, error)
            if not narrower:
                raise

        given = await self._widest_of(narrower)
        try:
            return await self._page(minutes)
        except GreenApiError as error:
            is_limit = self._width.is_too_wide(minutes, error)

        if is_limit:
            self._ladder = attrs.evolve(self._ladder, limit=given.minutes)

        return attrs.evolve(given, is_widest=is_limit)

    async def _widest_of(self, windows: Sequence[int]) -> "_Given":
        *wider, narrowest = windows
        for minutes in wider:
            with suppress(BadRequestError):
                return await self._page(minutes)

        return await self._page(narrowest)

    async def _page(self, minutes: int) -> "_Given":
        response = await self._instance.page(minutes)
        self._width.answered(minutes)
        return _Given(minutes=minutes, response=response, at=self._clocks.now())


@attrs.frozen(kw_only=True, eq=False, repr=False)
class _Given:
    """A response, its minutes, when it arrived, and whether no wider window can be had."""

    minutes: int
    response: Answer
    at: Moment
    is_widest: bool = True


@attrs.frozen(kw_only=True, eq=False, repr=False)
class _Received:
    """The response to a plan, when it arrived, and what it says about the server's time."""

    plan: Plan
    response: Answer
    at: Moment
    heard: Heard
    is_widest: bool

    @property
    def latest(self) -> float:
        """The latest time that the next response can show, if it takes as long and confirms this one."""
        suspected = self.heard.suspected
        latest = self.heard.reading.latest if suspected is None else suspected
        return latest + self.response.duration
