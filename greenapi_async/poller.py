"""The one loop: polls on an interval, yields what is new and records it once it is handled."""

import math
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, Self, TypeAlias

import anyio
import attrs

from greenapi_async._api.instance import Instance
from greenapi_async._polling import handling
from greenapi_async._polling.backoff import pause
from greenapi_async._polling.ladder import Ladder
from greenapi_async.errors import ConfigurationError, GreenApiError
from greenapi_async.events import Event, Health
from greenapi_async.models import Status
from greenapi_async.stores import Checkpoint, Store
from greenapi_async.stores.base import Record

Delivery: TypeAlias = Literal["at-least-once", "at-most-once"]


@attrs.frozen(kw_only=True, eq=False)
class Batch:
    """The new statuses of one poll, oldest first; none is recorded before `commit`.

    `commit` is `store.record(batch.scope, [status.key for status in batch.statuses], batch.checkpoint, batch.now)`. Your own
    transaction can do the same, and write elsewhere at once.

    Attributes:
        scope: what the store keeps them under: the `id_instance`.
        statuses: may be empty.
        checkpoint: how far polling got once they are handled, or None if the response does not say.
    """

    scope: str
    statuses: Sequence[Status]
    checkpoint: Checkpoint | None = attrs.field(repr=False)
    _deliver: Callable[[Sequence[Status], Checkpoint | None, Record | None], Awaitable[None]] = attrs.field(
        repr=False
    )
    _server_now: Callable[[], float] = attrs.field(repr=False)
    _check_store: Callable[[Store], None] = attrs.field(repr=False)

    @property
    def now(self) -> float:
        """The server's time now, in UNIX seconds, to record the statuses with."""
        return self._server_now()

    async def commit(self) -> None:
        """Record the statuses as handled, and that polling got this far: both or neither.

        Raises:
            StoreError: the store failed, and nothing is recorded; call it again if that is `retryable`.
        """
        await self._deliver(self.statuses, self.checkpoint, None)

    def _begin_publishing(self, store: Store) -> None:
        self._check_store(store)

    async def _commit_by(self, record: Record) -> None:
        """Commit by a function of the store that does more than its `record`."""
        await self._deliver(self.statuses, self.checkpoint, record)


class StatusPoller:
    """An async iterator over every new status; `AsyncStatusesClient.poll` returns it.

    At-least-once, the default, records a status as handled when the next one is taken. So a status that an exception, a
    `break` or a cancellation interrupts comes again: from the next loop over this poller, or from the next poller on
    the same store. At-most-once records a status before it yields it.

    Errors that may be temporary are retried for as long as it takes; iterating raises the rest.

    Raises:
        GreenApiError: a refusal by the API: at once before the first response, after it once it has lasted five minutes
            and three tries, without a success or a retryable failure in between.
        StoreError: at once, unless it is `retryable`: the poller waits for a store that is busy or full.
        RuntimeError: two tasks iterate at the same time.
    """

    def __init__(
        self,
        instance: Instance,
        *,
        store: Store,
        ladder: Ladder,
        delivery: Delivery,
        on_event: Callable[[Event], None] | None,
        clock: Callable[[], float],
    ) -> None:
        from greenapi_async._polling.feed import Feed

        self._instance = instance
        self._interval = ladder.interval
        self._delivery = delivery
        self._feed = Feed(instance, store=store, ladder=ladder, on_event=on_event, clock=clock)
        self._journal = self._feed.journal
        self._clocks = self._feed.clocks

        self._busy = False
        self._running = False
        self._ended = False
        self._next_at = -math.inf
        self._queue: deque[Status] = deque()
        self._yielded: Sequence[Status] = ()
        self._checkpoint: Checkpoint | None = None

    @property
    def health(self) -> Health:
        """How the poller is doing now."""
        return self._feed.health

    def __aiter__(self) -> Self:
        """Begin a loop: what an earlier one left unhandled comes again."""
        self._put_back()
        return self

    async def __anext__(self) -> Status:
        with self._iterating():
            await self._feed.patiently(self._record_yielded, random.random)
            await self._fill_queue()
            [status] = await self._feed.patiently(lambda: self._take(1), random.random)
            return status

    async def run(
        self,
        handler: Callable[[Status], Awaitable[object]],
        *,
        attempts: int | None = None,
        set_aside: Callable[[Status, Exception], Awaitable[object]] | None = None,
    ) -> None:
        """Await `handler(status)` for every new status, in order, in the caller's task, until an exception ends it.

        A status is recorded as handled once its handler has returned. Cancellation stops it, as it stops a loop.
        Without `attempts`, an exception from the handler ends it, and the status comes again from the next `run`. With
        `attempts`, the handler is retried after a wait that doubles from 2 up to 60 seconds, half of it random; a
        status that fails at every attempt goes to `set_aside`, and the next one follows. A new process counts attempts
        from zero.

        However it ends, `health.state` is then "stopped". An exception becomes `health.last_error`, and is logged as
        one ERROR that shows its type and the status' type and id, but no text.

        Args:
            handler: an async function.
            attempts: how often a status is tried, 1 or more; requires `set_aside`.
            set_aside: an async function that gets a status and its last error, to keep both for somebody to look at. An
                exception from it ends `run`, and the status comes again.

        Raises:
            ConfigurationError: an argument is wrong, or the poller's delivery is at-most-once.
            RuntimeError: it is already running.
            Exception: from the handler, without `attempts`; from `set_aside`; or from iterating.
        """
        handling.check(handler, attempts, set_aside)
        if self._delivery == "at-most-once":
            raise ConfigurationError(
                "delivery must be at-least-once for `run`: what fails could not come again"
            )

        with self._run_once():
            async for status in self:
                await handling.handle(
                    status,
                    handler,
                    attempts=attempts,
                    set_aside=set_aside,
                    journal=self._journal,
                    pause=self._pause,
                )

    def batches(self) -> "StatusBatches":
        """Return an async iterator over lists of new statuses, each recorded as a whole; none is empty."""
        return StatusBatches(self._put_back, self._next_batch, self.aclose)

    async def poll_once(self) -> Batch:
        """Poll once, without waiting, for a scheduler that owns the loop. All state is in the store.

        Nothing is recorded before `Batch.commit`, whatever the poller's delivery. What a loop over this poller left
        unhandled comes again.

        Raises:
            GreenApiError: whatever went wrong; when to poll again is up to the scheduler.
        """
        with self._alone():
            self._journal.handled()
            try:
                batch = await self._poll(loads=True)
            except GreenApiError as error:
                self._journal.failed(error)
                self._journal.waits(error, None)
                raise

            # What a loop left unhandled is not recorded, so it came with this response.
            self._queue.clear()
            self._yielded = ()
            return batch

    async def commit(self) -> None:
        """Record what was last yielded as handled now, for example before a `break`.

        Raises:
            StoreError: the store failed; call it again if that is `retryable`.
        """
        with self._alone():
            await self._record_yielded()
            self._journal.handled()

    async def aclose(self) -> None:
        """End the poller, as leaving its `async with` block does: it yields no more statuses. Idempotent.

        It records nothing, and leaves the client open.
        """
        self._ended = True
        self._journal.stopped()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<StatusPoller of {self._instance.id_instance}, {self.health.state}>"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._busy:
            raise RuntimeError("this poller is already in use: give each task a poller of its own")

        if self._ended:
            raise RuntimeError(
                "this poller is closed, or its `async with` block has ended: make a new poller"
            )

        self._instance.check_open()
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    @contextmanager
    def _iterating(self) -> Iterator[None]:
        with self._alone():
            self._journal.handled()
            try:
                yield
            except GreenApiError as error:
                self._journal.gave_up(error)
                raise

        self._journal.handed_out()

    @contextmanager
    def _run_once(self) -> Iterator[None]:
        if self._running:
            raise RuntimeError("this poller's `run` has not ended yet: give each task a poller of its own")

        self._running = True
        try:
            yield
        except Exception as error:
            self._journal.run_ended(error, self._yielded)
            raise
        finally:
            self._running = False
            self._journal.stopped()

    async def _next_batch(self) -> list[Status]:
        with self._iterating():
            await self._feed.patiently(self._record_yielded, random.random)
            await self._fill_queue()
            return await self._feed.patiently(lambda: self._take(len(self._queue)), random.random)

    def _put_back(self) -> None:
        if self._busy:
            return  # A second loop is refused when it takes its first.

        self._queue.extendleft(reversed(self._yielded))
        self._yielded = ()

    async def _take(self, count: int) -> list[Status]:
        """Take statuses from the queue, where they stay if recording them first fails."""
        taken = list(self._queue)[:count]
        if self._delivery == "at-most-once":
            await self._feed.deliver(taken, self._checkpoint if count == len(self._queue) else None)
        else:
            self._yielded = taken

        for _ in taken:
            self._queue.popleft()

        return taken

    async def _record_yielded(self) -> None:
        if self._yielded:
            await self._feed.deliver(self._yielded, None if self._queue else self._checkpoint)
            self._yielded = ()

    async def _sleep(self, seconds: float) -> None:
        with self._instance.until_closed():
            await anyio.sleep(seconds)

    async def _pause(self, failures: int) -> None:
        await self._sleep(pause(failures, random.random()))  # noqa: S311 - spreads attempts, guards nothing.

    async def _fill_queue(self) -> None:
        while not self._queue:
            await self._sleep(max(0.0, self._next_at - self._clocks.monotonic()))
            began = self._clocks.monotonic()
            try:
                batch = await self._poll()
            except GreenApiError as error:
                seconds = self._feed.wait_after(error, random.random())  # noqa: S311 - spreads retries.
                self._next_at = self._clocks.monotonic() + seconds
            else:
                self._next_at = began + self._interval
                self._queue.extend(batch.statuses)
                self._checkpoint = batch.checkpoint

    async def _poll(self, *, loads: bool = False) -> Batch:
        self._instance.check_open()
        statuses, checkpoint = await self._feed.poll(loads=loads)
        return Batch(
            scope=self._instance.id_instance,
            statuses=statuses,
            checkpoint=checkpoint,
            deliver=self._feed.deliver,
            server_now=self._feed.server_now,
            check_store=self._feed.check_store,
        )


class StatusBatches:
    """An async iterator over lists of new statuses; taking the next records the one before as handled."""

    def __init__(
        self,
        put_back: Callable[[], None],
        next_batch: Callable[[], Awaitable[list[Status]]],
        aclose: Callable[[], Awaitable[None]],
    ) -> None:
        self._put_back = put_back
        self._next_batch = next_batch
        self._aclose = aclose

    def __aiter__(self) -> Self:
        """Begin a loop: what an earlier one left unhandled comes again."""
        self._put_back()
        return self

    async def __anext__(self) -> list[Status]:
        return await self._next_batch()

    async def aclose(self) -> None:
        """End the poller that these batches belong to."""
        await self._aclose()
