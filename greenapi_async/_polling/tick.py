"""One tick: the question is asked until its answer, by its own time, reaches back far enough and no further."""

from collections.abc import Callable, Sequence
from contextlib import suppress

import anyio
import attrs

from greenapi_async._api.instance import Answer, Instance
from greenapi_async._polling import ladder as _window
from greenapi_async._polling.journal import Journal
from greenapi_async._polling.width import Width
from greenapi_async.errors import BadRequestError, GreenApiError
from greenapi_async.models import Status
from greenapi_async.stores import Checkpoint

_MOST_QUESTIONS = 3  # The second fits, unless the clocks and the API disagree about everything.


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Tick:
    """One question that was answered.

    Attributes:
        plan: the question.
        answer: what came.
        reading: the server's time then.
        checkpoint: how far polling got once the statuses are recorded; None where the answer does not tell.
        gap: from when to when statuses may have expired unseen, or None.
        ladder: what planned it.
    """

    plan: _window.Plan
    answer: Answer
    reading: _window.Reading
    checkpoint: Checkpoint | None
    gap: tuple[float, float] | None
    ladder: _window.Ladder

    @property
    def keys(self) -> Sequence[str]:
        """The keys of the statuses that came, new or not."""
        return () if self.answer.page is None else self.answer.page.keys

    async def statuses(self, wanted: set[str]) -> list[Status]:
        """Return those of the statuses that are wanted; raises what `Page.statuses` raises."""
        return [] if self.answer.page is None else await self.answer.page.statuses(wanted)


class Questioner:
    """Asks one instance, and keeps what it learned of the server's clock."""

    def __init__(
        self,
        instance: Instance,
        *,
        ladder: _window.Ladder,
        clock: Callable[[], float],
        journal: Journal,
    ) -> None:
        self._instance = instance
        self._ladder = ladder
        self._clock = clock
        self._journal = journal
        self._began: _window.Anchor | None = None
        self._anchor: _window.Anchor | None = None
        self._width = Width()

    async def tick(self, kept: Checkpoint | None) -> Tick:
        """Ask what follows from the checkpoint; raises what `Instance.page` raises."""
        ladder = attrs.evolve(
            self._ladder, waited=self._waited() if kept is None else 0.0, limit=self._width.limit
        )
        marks = None if kept is None else _window.fitted(kept.marks)
        now = self.server_now()

        for _ in range(_MOST_QUESTIONS):
            plan = ladder.ask(marks, now, deepest=kept is not None and kept.catching_up)
            self._journal.asking(plan.minutes, resumed=kept is not None)
            minutes, answer, complete = await self._response(plan.minutes)
            plan = attrs.evolve(plan, minutes=minutes)
            ladder = attrs.evolve(ladder, limit=self._width.limit)
            reading = _window.read(date=answer.date, duration=answer.duration, wall=self._clock())

            if self._anchor is None and not answer.cached and _window.from_the_future(marks, reading):
                self._journal.future_checkpoint()
                marks = _window.unknown(reading)

            verdict = ladder.judge(plan, marks, reading)
            if not complete or answer.cached or verdict in {"fits", "backwards"}:
                break

            now = reading.latest + answer.duration

        timely = complete and not answer.cached and verdict in {"fits", "too wide"}
        if timely:
            self._drop_anchor(reading, answer.duration)

        if not timely or answer.page is None:
            return Tick(plan=plan, answer=answer, reading=reading, checkpoint=None, gap=None, ladder=ladder)

        checkpoint = Checkpoint(marks=ladder.record(plan, marks, reading))
        gap = ladder.gap(marks, reading)
        return Tick(plan=plan, answer=answer, reading=reading, checkpoint=checkpoint, gap=gap, ladder=ladder)

    async def _response(self, minutes: int) -> tuple[int, Answer, bool]:
        """Return the minutes that were answered, the response, and whether no wider one is to be had."""
        try:
            return minutes, await self._page(minutes), True
        except BadRequestError as error:
            narrower = self._width.narrower(minutes, error)
            if not narrower:
                raise

        answered, response = await self._widest_of(narrower)
        try:
            return minutes, await self._page(minutes), True
        except GreenApiError as error:
            is_limit = self._width.is_too_wide(minutes, error)

        self._width.limit = answered if is_limit else self._width.limit
        return answered, response, is_limit

    async def _widest_of(self, windows: Sequence[int]) -> tuple[int, Answer]:
        *wider, narrowest = windows
        for minutes in wider:
            with suppress(BadRequestError):
                return minutes, await self._page(minutes)

        return narrowest, await self._page(narrowest)

    async def _page(self, minutes: int) -> Answer:
        response = await self._instance.page(minutes)
        self._width.answered(minutes)
        return response

    def server_now(self) -> float:
        """Return the latest that the server's clock can show when the next answer comes."""
        if self._anchor is None:
            return self._clock()

        return self._anchor.server_now(anyio.current_time(), self._clock())

    def lag(self, covered_until: float | None) -> float | None:
        """Return the seconds of the server's time since a mark; needs no event loop."""
        if self._anchor is None or covered_until is None:
            return None

        return self._anchor.server_now(self._anchor.monotonic, self._clock()) - covered_until

    def _waited(self) -> float:
        """Return the seconds since a first run's first attempt."""
        monotonic, wall = anyio.current_time(), self._clock()
        if self._began is None:
            self._began = _window.Anchor(server=0.0, monotonic=monotonic, wall=wall)

        return self._began.server_now(monotonic, wall)

    def _drop_anchor(self, reading: _window.Reading, duration: float) -> None:
        # The next answer will take about as long, and is judged by when it ends.
        server = reading.latest + duration
        self._anchor = _window.Anchor(server=server, monotonic=anyio.current_time(), wall=self._clock())
