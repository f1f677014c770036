"""One tick: a window is requested until its response, by its own time, reaches back far enough."""

from collections.abc import Sequence
from contextlib import suppress

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

_MOST_REQUESTS = 3  # The second is wide enough, unless the clocks and the API disagree about everything.


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Tick:
    """One request that was answered.

    Attributes:
        plan: the request.
        response: what came.
        origin: where it started from.
        since: the server's time before which a status is of the past; None where none in this window is.
        outcome: how far polling got once the statuses are recorded; None where the response does not tell.
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
    def checkpoint(self) -> Checkpoint | None:
        """How far polling got once the statuses are recorded; None where the response does not tell."""
        return None if self.outcome is None else self.outcome.checkpoint

    async def statuses(self, wanted: set[str]) -> list[Status]:
        """Return those of the statuses that are wanted; raises what `Page.statuses` raises."""
        return [] if self.response.page is None else await self.response.page.statuses(wanted)

    def is_new(self, status: Status) -> bool:
        """Return whether a status that was never recorded is yielded, for it is not of the past."""
        return self.since is None or self.origin.wants(status.timestamp, self.since)

    def beside(self, other: Checkpoint) -> "Tick":
        """Return a first run as one beside another process, which recorded the past meanwhile: the rest is new."""
        outcome = self.outcome
        if outcome is not None:
            outcome = Outcome(checkpoint=attrs.evolve(outcome.checkpoint, begins=other.begins))

        return attrs.evolve(self, origin=GoingOn(kept=other), since=None, outcome=outcome)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class _Received:
    """A response, when it came, and whether no wider window is to be had."""

    minutes: int
    response: Answer
    at: Moment
    is_widest: bool = True


class Ticker:
    """Requests one instance's windows, and keeps what it learned of the server's clock and of the width."""

    def __init__(self, instance: Instance, *, ladder: Ladder, clocks: Clocks, journal: Journal) -> None:
        self._instance = instance
        self._ladder = ladder
        self._clocks = clocks
        self._journal = journal
        self._began: Moment | None = None
        self._time = ServerTime()
        self._width = Width()

    async def tick(self, kept: Checkpoint | None) -> Tick:
        """Request what follows from the checkpoint; raises what `Instance.page` raises."""
        origin: Origin = self._first_run() if kept is None else GoingOn(kept=kept)
        now, in_doubt = self.server_now(), False

        for _ in range(_MOST_REQUESTS):
            marks = origin.marks(self._ladder, now)
            plan = self._ladder.plan(marks, now, deepest=origin.is_deepest)
            self._journal.requests(plan.minutes, resumed=kept is not None)
            received = await self._received(plan.minutes)
            plan = attrs.evolve(plan, minutes=received.minutes)
            heard = self._heard(received)
            now = max(now, heard.reading.latest + received.response.duration)

            if heard.needs_another and not in_doubt:
                in_doubt = True
                continue

            is_certain = heard.is_believed and received.is_widest and not received.response.cached
            if not is_certain:
                break

            if isinstance(origin, GoingOn) and origin.is_impossible(heard.reading):
                self._journal.future_checkpoint()
                origin = FirstRun(start=None, span=self._ladder.spans[-1], instead=origin.kept)
                continue

            if self._ladder.is_wide_enough(
                plan, origin.marks(self._ladder, heard.reading.latest), heard.reading
            ):
                return self._ticked(origin, plan, received, heard, is_complete=True)

        return self._ticked(origin, plan, received, heard, is_complete=False)

    def server_now(self) -> float:
        """Return the latest that the server's clock can show when the next response comes."""
        return self._time.now(self._clocks.now())

    def lag(self, covered_until: float | None) -> float | None:
        """Return the seconds of the server's time since a mark; needs no event loop."""
        if covered_until is None:
            return None

        return self._time.now_by_the_wall(self._clocks.wall()) - covered_until

    def _ticked(
        self, origin: Origin, plan: Plan, received: _Received, heard: Heard, *, is_complete: bool
    ) -> Tick:
        """Return the tick that a response ends; nothing of a first one counts whose time is not believed."""
        response = received.response
        if isinstance(origin, FirstRun):
            origin = attrs.evolve(origin, waited=self._waited(received.at))
            if not heard.is_believed:
                response = attrs.evolve(response, page=None)

        outcome = None
        if is_complete and response.page is not None:
            complete = Response(heard=heard, wall=received.at.wall, is_empty=not response.page.keys)
            outcome = origin.outcome(self._ladder, plan, complete)

        since = origin.since(plan, heard)
        return Tick(plan=plan, response=response, origin=origin, since=since, outcome=outcome)

    def _first_run(self) -> FirstRun:
        waited = self._waited(self._clocks.now())
        return FirstRun(start=self._ladder.start, span=self._ladder.spans[-1], waited=waited)

    def _waited(self, at: Moment) -> float:
        """Return the seconds since a first run's first attempt."""
        self._began = self._began or at
        return self._began.elapsed(at)

    def _heard(self, received: _Received) -> Heard:
        """Take note of what a response tells of the server's time; one from a cache tells nothing."""
        response, was_distrusted = received.response, self._time.is_distrusted
        if response.cached:
            return self._time.undated(response.duration, received.at)

        heard = self._time.hear(date=response.date, duration=response.duration, at=received.at)
        if self._time.is_distrusted and not was_distrusted:
            self._journal.date_contradicts()

        return heard

    async def _received(self, minutes: int) -> _Received:
        """Request a window, and a narrower one where the API may refuse it for its width."""
        try:
            return await self._page(minutes)
        except BadRequestError as error:
            narrower = self._width.narrower(minutes, error)
            if not narrower:
                raise

        received = await self._widest_of(narrower)
        try:
            return await self._page(minutes)
        except GreenApiError as error:
            is_limit = self._width.is_too_wide(minutes, error)

        if is_limit:
            self._ladder = attrs.evolve(self._ladder, limit=received.minutes)

        return attrs.evolve(received, is_widest=is_limit)

    async def _widest_of(self, windows: Sequence[int]) -> _Received:
        *wider, narrowest = windows
        for minutes in wider:
            with suppress(BadRequestError):
                return await self._page(minutes)

        return await self._page(narrowest)

    async def _page(self, minutes: int) -> _Received:
        response = await self._instance.page(minutes)
        self._width.answered(minutes)
        return _Received(minutes=minutes, response=response, at=self._clocks.now())
