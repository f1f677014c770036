"""One instance's feed: requests the window that is due, finds what is new in it, and records what was handled."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import anyio

from greenapi_async._api.instance import Instance
from greenapi_async._polling.backoff import Backoff
from greenapi_async._polling.clocks import Clocks
from greenapi_async._polling.journal import InstanceLog, Journal
from greenapi_async._polling.ladder import Ladder
from greenapi_async._polling.tick import Tick, Ticker
from greenapi_async.errors import ConfigurationError, GreenApiError, StoreError
from greenapi_async.events import Event, Health, Polled
from greenapi_async.models import Status
from greenapi_async.stores import Checkpoint, Store
from greenapi_async.stores.base import Record

if TYPE_CHECKING:
    from greenapi_async._polling.journal import Log

_KEPT = 31 * 86_400.0  # The API keeps a status for 30 days, so its id must be known a little longer.


_T = TypeVar("_T")
Found: TypeAlias = tuple[list[Status], Checkpoint | None]
"""What is new, oldest first, and how far polling got once it is handled, or None where the response does not tell."""


class Feed:
    """Polls one instance, a step at a time, for whoever owns the loop.

    If nothing is new, the narrowest window costs only a look-up in the store: the feed keeps its progress in memory, and
    the stored checkpoint lags behind, which is safe. Before anything is recorded, and with every deeper window, the
    checkpoint is loaded; if it does not reach as far as it should, the feed polls again from there. So an emptied store,
    or one restored from an older copy, is noticed within ten minutes.
    """

    def __init__(
        self,
        instance: Instance,
        *,
        store: Store,
        ladder: Ladder,
        on_event: Callable[[Event], None] | None,
        clock: Callable[[], float],
        log: "Log | None" = None,
    ) -> None:
        self.clocks: Clocks = Clocks(clock)
        self.journal: Journal = Journal(
            instance.id_instance, self.clocks, on_event, ladder.interval, log=log or InstanceLog()
        )
        self._instance = instance
        self._scope = instance.id_instance
        self._store = store
        self._deepest = ladder.deepest
        self._backoff = Backoff(interval=ladder.interval)
        self._ticker = Ticker(instance, ladder=ladder, clocks=self.clocks, journal=self.journal)
        self._kept: Checkpoint | None = None
        self._has_begun = False
        self._covered_until: float | None = None

    @property
    def health(self) -> Health:
        """The feed's health now."""
        return self.journal.current(lag=self._ticker.lag(self._covered_until))

    def use(self, instance: Instance, log: "Log") -> None:
        """Go on with other credentials, after as much patience as with the first where those worked."""
        self._instance = instance
        self._ticker.use(instance)
        self.journal.log = log
        self._backoff.forgive()

    async def poll(self, *, loads: bool = False, responded: Callable[[], object] = lambda: None) -> Found:
        """Poll once.

        Args:
            loads: whether to start from what the store has and record how far polling got, whatever is kept.
            responded: called when the response has come.
        """
        kept = None if loads else self._kept
        is_loaded = kept is None
        tick = await self._ticker.tick(await self._loaded() if is_loaded else kept)
        responded()

        with self._watching_the_store():
            # Another process may have begun meanwhile, and what it does not know yet is new.
            if tick.kept is None and (other := await self._store.load(self._scope)) is not None:
                tick = tick.beside(other)

            unseen = await self._unseen(tick)
            if not is_loaded and (unseen or tick.plan.rung):
                if not _reaches(await self._loaded(), kept):
                    return await self.poll(loads=True)

                is_loaded = True

            new = await self._sifted(tick, unseen, records=is_loaded)

        self._backoff.succeed()  # Not before: a response that cannot be recorded is no success.
        self._tell(tick, len(unseen))
        return new, tick.checkpoint

    async def deliver(
        self, statuses: Sequence[Status], checkpoint: Checkpoint | None, record: Record | None = None
    ) -> None:
        """Record statuses as handled, and a checkpoint: both or neither."""
        await self.record(statuses, checkpoint, record)
        self.journal.delivered(len(statuses))

    async def record(
        self, statuses: Sequence[Status], checkpoint: Checkpoint | None, record: Record | None = None
    ) -> None:
        """Record statuses and a checkpoint, both or neither; anyio's cancellation does not interrupt it.

        `record`, if given, is called instead of the store's own.
        """
        keys = [status.key for status in statuses]
        with self._watching_the_store(), anyio.CancelScope(shield=True):
            await (record or self._store.record)(self._scope, keys, checkpoint, self.server_now())

        if checkpoint is not None:
            self._keep(checkpoint)

    def server_now(self) -> float:
        """Return the server time to record statuses with: never before this machine's, so that none is forgotten early."""
        return max(self._ticker.server_now(), self.clocks.wall())

    def check_store(self, store: Store) -> None:
        """Refuse a store that is not this feed's."""
        if store is not self._store:
            raise ConfigurationError(
                "this batch has another store: make its poller or fleet with the one that publishes"
            )

    async def patiently(self, step: Callable[[], Awaitable[_T]], jitter: Callable[[], float]) -> _T:
        """Take a step that needs only the store, and repeat it while the store is busy or full."""
        while True:
            try:
                return await step()
            except StoreError as error:
                seconds = self.wait_after(error, jitter())

            with self._instance.until_closed():
                await anyio.sleep(seconds)

    def wait_after(self, error: GreenApiError, jitter: float) -> float:
        """Return the seconds until the next try, or raise the error where there is none."""
        self.journal.failed(error)
        seconds = self._backoff.fail(error, now=self.clocks.monotonic(), jitter=jitter)
        if seconds is None:
            raise error

        self.journal.waits(error, seconds)
        return seconds

    def _keep(self, checkpoint: Checkpoint) -> None:
        self._kept, self._has_begun = checkpoint, True
        self._covered_until = checkpoint.marks[0]

    @contextmanager
    def _watching_the_store(self) -> Iterator[None]:
        try:
            yield
        except StoreError:
            self._kept = None
            raise

    async def _loaded(self) -> Checkpoint | None:
        with self._watching_the_store():
            stored = await self._store.load(self._scope)

        if stored is None and self._has_begun:
            self.journal.checkpoint_gone()

        self._has_begun = stored is not None
        return stored

    async def _sifted(self, tick: Tick, unseen: Sequence[Status], *, records: bool) -> list[Status]:
        """Return what is new, and record the rest; where nothing is, record how far polling got, or only keep it."""
        new = [status for status in unseen if tick.is_new(status)]
        await self._record_past([status for status in unseen if not tick.is_new(status)], tick)
        if not new and tick.checkpoint is not None and tick.checkpoint != tick.kept:
            await self.record((), tick.checkpoint) if records else self._keep(tick.checkpoint)

        if tick.plan.rung == self._deepest:
            server_now = min(self._ticker.server_now(), self.clocks.wall())
            await self._store.forget(self._scope, server_now - _KEPT)

        return new

    async def _unseen(self, tick: Tick) -> list[Status]:
        by_key: dict[str, Status] = {}
        for status in await tick.statuses(await self._store.unseen(self._scope, tick.keys)):
            by_key.setdefault(status.key, status)

        return list(by_key.values())

    async def _record_past(self, past: Sequence[Status], tick: Tick) -> None:
        """Record what was posted before the feed began, and where it begins."""
        unfinished = None if tick.outcome is None else tick.outcome.unfinished
        if (past and tick.tells_the_past) or unfinished is not None:
            await self.record(past, unfinished)

    def _tell(self, tick: Tick, unseen: int) -> None:
        self.journal.polled(Polled(tick.plan.minutes, len(tick.keys), unseen, tick.response.duration))
        if tick.outcome is not None and tick.outcome.gap is not None:
            self.journal.gap(*tick.outcome.gap)


def _reaches(stored: Checkpoint | None, kept: Checkpoint | None) -> bool:
    """Return whether a store has what was kept: the first mark moves in memory, so the store's may be lower."""
    if stored is None or kept is None or len(stored.marks) != len(kept.marks):
        return False

    return all(there >= here for there, here in zip(stored.marks[1:], kept.marks[1:], strict=True))
