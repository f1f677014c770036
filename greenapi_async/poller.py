"""The one loop: asks again on an interval and yields what is new, recording it when it was handled."""

import math
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, Self, TypeAlias

import anyio
import attrs

from greenapi_async import _backoff, _window
from greenapi_async._journal import Journal
from greenapi_async.errors import GreenApiError
from greenapi_async.events import Event, Health, Polled
from greenapi_async.models import Status
from greenapi_async.stores import Checkpoint, Store

_KEPT = 31 * 86_400.0  # The API keeps a status for 30 days, so its id must be known a little longer.
_MOST_QUESTIONS = 3  # In one tick. The second is wide enough, unless it took much longer than the first.

Delivery: TypeAlias = Literal["at-least-once", "at-most-once"]


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Answer:
    """What the poller needs of an answer.

    Attributes:
        statuses: oldest first; None where the API sent nothing or `null`, which may be "none" or a hiccup.
        date: the server's `Date` in UNIX seconds, or None.
        cached: whether it is older than it looks.
        duration: seconds that it took.
    """

    statuses: Sequence[Status] | None
    date: float | None
    cached: bool
    duration: float


@attrs.frozen(kw_only=True, eq=False, repr=False)
class _Tick:
    """One question that was answered, seen from the marks it was asked from."""

    marks: _window.Marks | None
    plan: _window.Plan
    answer: Answer
    reading: _window.Reading
    complete: bool

    @property
    def statuses(self) -> Sequence[Status]:
        return self.answer.statuses or ()


@attrs.frozen(kw_only=True, eq=False)
class Batch:
    """The new statuses of one question, oldest first; nothing of it is recorded before `commit`.

    Attributes:
        statuses: may be empty.
        checkpoint: how far polling got once they are handled, or None where the answer does not tell.
    """

    statuses: Sequence[Status]
    checkpoint: Checkpoint | None = attrs.field(repr=False)
    _deliver: Callable[[Sequence[Status], Checkpoint | None], Awaitable[None]] = attrs.field(repr=False)

    async def commit(self) -> None:
        """Record the statuses as handled, and that polling got this far: both or neither.

        Raises:
            StoreError: the store failed, and nothing is recorded.
        """
        await self._deliver(self.statuses, self.checkpoint)


class StatusPoller:
    """An async iterator over every new status; `AsyncStatusesClient.poll` makes it.

    At-least-once, the default: asking for the next status records the one before as handled, so what an
    exception, a `break` or a cancellation interrupts comes again: from the next loop over this poller, or from
    the next poller on the same store. At-most-once records a status before it yields it.

    Whatever time can heal is asked again for as long as it takes. Iterating raises:
        GreenApiError: what time cannot heal, at once before the first answer, the third time in a row later.
        StoreError: at once.
        RuntimeError: two tasks ask for the next at the same time.
    """

    def __init__(
        self,
        ask: Callable[[int], Awaitable[Answer]],
        *,
        scope: str,
        store: Store,
        ladder: _window.Ladder,
        delivery: Delivery,
        on_event: Callable[[Event], None] | None,
        clock: Callable[[], float],
    ) -> None:
        self._ask = ask
        self._scope = scope
        self._store = store
        self._ladder = ladder
        self._delivery = delivery
        self._clock = clock
        self._journal = Journal(scope, clock, on_event)

        self._busy = False
        self._ended = False
        self._next_at = -math.inf
        self._began: _window.Anchor | None = None
        self._anchor: _window.Anchor | None = None
        self._covered_until: float | None = None
        self._queue: deque[Status] = deque()
        self._yielded: Sequence[Status] = ()
        self._checkpoint: Checkpoint | None = None

    @property
    def health(self) -> Health:
        """How the poller fares now."""
        if self._anchor is None or self._covered_until is None:
            return self._journal.health

        server_now = self._anchor.server_now(self._anchor.monotonic, self._clock())
        return attrs.evolve(self._journal.health, lag=server_now - self._covered_until)

    def __aiter__(self) -> Self:
        """Begin a loop: what an earlier one left unhandled comes again."""
        self._put_back()
        return self

    async def __anext__(self) -> Status:
        with self._alone():
            await self._record_yielded()
            await self._fill_queue()
            [status] = await self._take(1)
            return status

    def batches(self) -> "StatusBatches":
        """Return an async iterator over lists of new statuses, each recorded as a whole; none is empty."""
        return StatusBatches(self._put_back, self._next_batch)

    async def poll_once(self) -> Batch:
        """Ask once, without waiting, for a scheduler that owns the loop. State lives in the store alone.

        Raises:
            GreenApiError: whatever went wrong; when to ask again is the scheduler's to decide.
        """
        with self._alone():
            await self._record_yielded()
            self._queue.clear()  # What was not yielded is not recorded, and comes with this answer.
            try:
                return await self._poll()
            except GreenApiError as error:
                self._journal.failed(error)
                self._journal.waits(None)
                raise

    async def commit(self) -> None:
        """Record what was last yielded as handled, now: before a `break`, for instance.

        Raises:
            StoreError: the store failed.
        """
        with self._alone():
            await self._record_yielded()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended = True
        self._journal.stopped()

    def __repr__(self) -> str:
        return f"<StatusPoller of {self._scope}, {self._journal.health.state}>"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._busy:
            raise RuntimeError("this poller is being asked already: give each task a poller of its own")

        if self._ended:
            raise RuntimeError("this poller's `async with` block has ended: make a new poller")

        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    async def _next_batch(self) -> list[Status]:
        with self._alone():
            await self._record_yielded()
            await self._fill_queue()
            return await self._take(len(self._queue))

    def _put_back(self) -> None:
        self._queue.extendleft(reversed(self._yielded))
        self._yielded = ()

    async def _take(self, count: int) -> list[Status]:
        """Take statuses from the queue, where they stay if recording them first fails."""
        taken = list(self._queue)[:count]
        if self._delivery == "at-most-once":
            await self._deliver(taken, self._checkpoint if count == len(self._queue) else None)
        else:
            self._yielded = taken

        for _ in taken:
            self._queue.popleft()

        return taken

    async def _record_yielded(self) -> None:
        if self._yielded:
            await self._deliver(self._yielded, None if self._queue else self._checkpoint)
            self._yielded = ()

    async def _deliver(self, statuses: Sequence[Status], checkpoint: Checkpoint | None) -> None:
        await self._record(statuses, checkpoint)
        self._journal.delivered(len(statuses))

    async def _record(self, statuses: Sequence[Status], checkpoint: Checkpoint | None) -> None:
        now = max(self._server_now(), self._clock())
        with anyio.CancelScope(shield=True):
            await self._store.record(self._scope, [status.key for status in statuses], checkpoint, now)

        if checkpoint is not None:
            self._covered_until = checkpoint.marks[0]

    async def _fill_queue(self) -> None:
        while not self._queue:
            await anyio.sleep_until(self._next_at)
            began = anyio.current_time()
            try:
                batch = await self._poll()
            except GreenApiError as error:
                self._next_at = anyio.current_time() + self._wait_after(error)
            else:
                self._next_at = began + self._ladder.interval
                self._queue.extend(batch.statuses)
                self._checkpoint = batch.checkpoint

    def _wait_after(self, error: GreenApiError) -> float:
        """Return the seconds until the next try, or raise the error where there is none."""
        succeeded = self._journal.succeeded
        self._journal.failed(error)

        if _backoff.is_final(error, refusals=self._journal.refusals, succeeded=succeeded):
            self._journal.stopped()
            self._journal.waits(None)
            raise error

        jitter = random.random()  # noqa: S311 - spreads retries, guards nothing.
        seconds = _backoff.delay(error, self._journal.health.consecutive_failures, jitter)
        self._journal.waits(seconds)
        return seconds

    async def _poll(self) -> Batch:
        kept = await self._store.load(self._scope)
        if kept is None:
            self._ladder = attrs.evolve(self._ladder, waited=self._waited())

        tick = await self._ask_wide_enough(kept)
        new = await self._unseen(tick.statuses)
        self._journal.polled(Polled(tick.plan.minutes, len(tick.statuses), len(new), tick.answer.duration))

        checkpoint = self._checkpoint_after(tick)
        if kept is None:
            new = await self._begin(new, tick)

        if not new and checkpoint not in {None, kept}:
            await self._record((), checkpoint)

        if tick.complete and (lost := _window.gap(tick.marks, tick.reading)):
            self._journal.gap(*lost)

        if tick.plan.rung == _window.DEEPEST:
            await self._store.forget(self._scope, min(self._server_now(), self._clock()) - _KEPT)

        return Batch(statuses=new, checkpoint=checkpoint, deliver=self._deliver)

    def _waited(self) -> float:
        """Return the seconds since a first run's first attempt."""
        monotonic, wall = anyio.current_time(), self._clock()
        if self._began is None:
            self._began = _window.Anchor(server=0.0, monotonic=monotonic, wall=wall)

        return self._began.server_now(monotonic, wall)

    async def _ask_wide_enough(self, kept: Checkpoint | None) -> _Tick:
        """Ask, and where the answer's own time shows that the question was too narrow or wide, ask again."""
        marks = None if kept is None else kept.marks
        now = self._server_now()
        questions = 0

        while True:
            plan = self._ladder.ask(marks, now, deepest=kept is not None and kept.catching_up)
            self._journal.asking(plan.minutes, resumed=kept is not None)
            answer = await self._ask(plan.minutes)
            reading = _window.read(date=answer.date, duration=answer.duration, wall=self._clock())
            questions += 1

            if self._anchor is None and not answer.cached and _window.from_the_future(marks, reading):
                self._journal.future_checkpoint()
                marks = _window.unknown(reading)

            backwards = _window.went_backwards(marks, reading)
            enough = self._ladder.enough(plan, marks, reading)
            fits = enough and (backwards or not self._ladder.too_wide(plan, marks, reading))
            if fits or answer.cached or questions == _MOST_QUESTIONS:
                break

            now = reading.latest + answer.duration

        timely = enough and not answer.cached and not backwards
        if timely:
            # The next answer will take about as long, and is judged by when it ends.
            self._anchor = _window.Anchor(
                server=reading.latest + answer.duration, monotonic=anyio.current_time(), wall=self._clock()
            )

        complete = timely and answer.statuses is not None
        return _Tick(marks=marks, plan=plan, answer=answer, reading=reading, complete=complete)

    async def _unseen(self, statuses: Sequence[Status]) -> list[Status]:
        by_key: dict[str, Status] = {}
        for status in statuses:
            by_key.setdefault(status.key, status)

        unseen = await self._store.unseen(self._scope, by_key)
        return [status for key, status in by_key.items() if key in unseen]

    async def _begin(self, new: list[Status], tick: _Tick) -> list[Status]:
        """Record what a first run does not yield, and where it began; return what it yields."""
        wanted: list[Status] = []
        others: list[Status] = []
        for status in new:
            (wanted if self._ladder.wants(status.timestamp, tick.reading) else others).append(status)

        first = Checkpoint(marks=self._ladder.first(tick.reading), catching_up=True)
        await self._record(others, first if tick.complete else None)
        return wanted

    def _checkpoint_after(self, tick: _Tick) -> Checkpoint | None:
        if not tick.complete:
            return None

        return Checkpoint(marks=self._ladder.record(tick.plan, tick.marks, tick.reading))

    def _server_now(self) -> float:
        """Return the latest that the server's clock can show."""
        if self._anchor is None:
            return self._clock()

        return self._anchor.server_now(anyio.current_time(), self._clock())


class StatusBatches:
    """An async iterator over lists of new statuses; asking for the next records the one before as handled."""

    def __init__(
        self, put_back: Callable[[], None], next_batch: Callable[[], Awaitable[list[Status]]]
    ) -> None:
        self._put_back = put_back
        self._next_batch = next_batch

    def __aiter__(self) -> Self:
        """Begin a loop: what an earlier one left unhandled comes again."""
        self._put_back()
        return self

    async def __anext__(self) -> list[Status]:
        return await self._next_batch()
