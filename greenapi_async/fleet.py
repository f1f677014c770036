"""Many instances in one process: every new status of each, handed out in batches to consumers of their own."""

import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self
from warnings import warn
from weakref import WeakValueDictionary

import anyio
import attrs

from greenapi_async._api.instance import Instance, UrlObject
from greenapi_async._family import Family, at_least, checked_hook, hidden, ladder
from greenapi_async._fleet.hostlog import HostLog
from greenapi_async._fleet.roster import Roster, Seat
from greenapi_async._http.exchange import HttpxClient
from greenapi_async._http.loops import call_soon, running_loop
from greenapi_async._polling.backoff import pause
from greenapi_async._polling.feed import Feed, Found
from greenapi_async._polling.origin import Start
from greenapi_async.client import AsyncStatusesClient, client_of
from greenapi_async.errors import ClientClosedError, GreenApiError, StoreError, TransportError
from greenapi_async.events import Event, Health
from greenapi_async.models import Status
from greenapi_async.stores import Checkpoint, Store
from greenapi_async.stores.base import Record

if TYPE_CHECKING:
    import os
    from typing import Any

    from anyio.abc import TaskGroup

# Seconds: turns so close to each other begin together, because each wake-up costs something.
_GRAIN: Final = 0.02


class Fleet:
    """Polls many instances, and hands out what is new in each; iterate from any number of tasks.

        async with Fleet(store="seen.db") as fleet:
            fleet.add("1101000001", token)
            async for batch in fleet:
                async with batch:
                    for status in batch.statuses: ...

    Each instance has one batch out at a time, its statuses in order and at least once, as from `StatusPoller`; different
    instances proceed concurrently. A fleet is entered once, and exited by the task that entered it; then every task that
    waits for a batch gets StopAsyncIteration. Its own tasks only poll: they run no handler of yours.

    Requests of different instances are spread over the interval; a host that hangs does not hold up the others. If
    consumers cannot keep up, polling slows down: `Health.lag` grows, later windows are wider, and nothing is lost.

    A permanent failure of one instance stops only that one: its `health` has "stopped" and the error, and `add` resumes
    it. A `StoreError` that is not `retryable` ends the fleet: the block raises it, not wrapped in a group.

    Args:
        interval: seconds, or a `timedelta`, from one request of an instance to the next, at most a day. The first comes at
            a random moment of it.
        store: where to remember what was handled: the path of a file, which the fleet opens as a `SQLiteStore` and
            closes; or a `Store`, which the caller closes. None remembers it in memory.
        start: where the very first run of an instance begins, as in `AsyncStatusesClient.poll`.
        slots: how many instances have a request under way, or statuses that are not handled yet.
        on_event: called with the instance's id and every event; what it raises is logged and stops nothing.
        api_url: the address of instances that are added without one, as text or a URL object.
        http_client: an `httpx.AsyncClient` to use as it is; it stays yours to close.
        timeout: seconds, or a `timedelta`, for one whole request, body included.
        max_rate: requests a second for each instance. The API allows 1; None: no limit.
        max_body: bytes that a response may have, on the wire and unpacked.
        clock: the wall clock in seconds since the epoch, for tests.

    Attributes:
        health: how each instance is doing, by its id; one that gave up stays, with its error.

    Raises:
        ConfigurationError: an argument is wrong; the message names it.
    """

    def __init__(
        self,
        *,
        interval: float | timedelta = 60.0,
        store: "Store | str | os.PathLike[str] | None" = None,
        start: Start = None,
        slots: int = 100,
        on_event: Callable[[str, Event], None] | None = None,
        api_url: str | UrlObject = "https://api.green-api.com",
        http_client: HttpxClient | None = None,
        timeout: float | timedelta = 60.0,
        max_rate: float | None = 1.0,
        max_body: int = 64 * 1024 * 1024,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._family = Family(
            http_client=http_client,
            timeout=timeout,
            retries=2,
            max_rate=max_rate,
            max_body=max_body,
            clock=clock,
        )
        self._ladder = ladder(interval, start)
        self._store = self._family.opened(store)
        self._on_event = checked_hook(on_event)
        self._api_url = api_url
        self._members: dict[str, _Member] = {}
        self._roster: Roster[_Member] = Roster(at_least(1, "slots", slots))
        self._logs: WeakValueDictionary[str, HostLog] = WeakValueDictionary()
        self._store_log = HostLog("the store", anyio.current_time)

        self._state: Literal["new", "open", "closed"] = "new"
        self._ready: deque[InstanceBatch] = deque()
        self._dropped: deque[_Member] = deque()
        self._error: GreenApiError | None = None
        self._wakes_at = -math.inf
        self.health: Mapping[str, Health] = _Healths(self._members)

    def add(
        self, id_instance: int | str, api_token_instance: str, *, api_url: str | UrlObject | None = None
    ) -> None:
        """Start polling an instance; one that is known, or has stopped, goes on with these credentials.

        Without `api_url`, the fleet's is used.

        Raises:
            ConfigurationError: an argument is wrong; the message names it.
            RuntimeError: the fleet is not open.
        """
        token = hidden(api_token_instance)
        del api_token_instance

        self._check_open()
        url = self._api_url if api_url is None else api_url
        period = self._family.period
        instance = Instance(self._family.http, id_instance, token, api_url=url, period=period)
        member = self._members.get(instance.id_instance)
        if member is None:
            member = self._members[instance.id_instance] = self._joined(instance)
        else:
            member.use(instance, client_of(self._family, instance), self._log(instance.origin))
            self._roster.move(member, self._roster.host(instance.origin))

        now, interval = anyio.current_time(), self._ladder.interval
        jitter = random.random()  # noqa: S311 - all at once would stay so for ever.
        # A turn within the interval is kept: the earlier of two random moments is no even spread.
        self._roster.plan(member, member.due if member.due <= now + interval else now + jitter * interval)
        self._wake()

    def remove(self, id_instance: int | str) -> None:
        """Stop polling an instance, if it is polled; its record stays in the store.

        A batch already handed out may be finished, and a later `add` resumes after it.

        Raises:
            RuntimeError: the fleet is not open.
        """
        self._check_open()
        member = self._members.get(str(id_instance))
        if member is None:
            return

        member.log.forget(member.id_instance)
        is_gone = self._roster.remove(member)
        for batch in [each for each in self._ready if each.id_instance == member.id_instance]:
            self._ready.remove(batch)
            is_gone = not self._roster.settled(member, math.inf)

        if is_gone:
            del self._members[member.id_instance]

        self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> "InstanceBatch":
        if self._state == "new":
            raise RuntimeError("a fleet is used inside its `async with` block")

        await anyio.sleep(0)  # noqa: ASYNC115 - a consumer that never waits must not stop the others.
        while not self._ready:
            if self._state == "closed":
                raise StopAsyncIteration

            await self._arrival.wait()

        batch = self._ready.popleft()
        batch._hand_out()  # noqa: SLF001 - it is this module's.
        return batch

    async def __aenter__(self) -> Self:
        if self._state != "new":
            raise RuntimeError("a fleet is entered once: make a new one")

        self._arrival = anyio.Event()
        self._alarm = anyio.Event()
        self._loop = running_loop()
        self._tasks: TaskGroup = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._dispatch)
        self._state = "open"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self._state = "closed"
        self._ready.clear()
        self._arrival.set()
        self._tasks.cancel_scope.cancel()
        try:
            return await self._tasks.__aexit__(exc_type, exc_value, traceback)
        except BaseExceptionGroup as group:
            error = _first(group, exc_value)
        finally:
            for member in self._members.values():
                member.feed.journal.stopped()
            with anyio.CancelScope(shield=True):
                await self._family.aclose()

        if error is exc_value:
            return False

        raise error from None

    def __repr__(self) -> str:
        return f"<Fleet of {len(self.health)} instances, {self._state}>"

    def _check_open(self) -> None:
        if self._state != "open":
            raise RuntimeError("a fleet is used inside its `async with` block")

    def _joined(self, instance: Instance) -> "_Member":
        log = self._log(instance.origin)
        feed = Feed(
            instance,
            store=self._store,
            ladder=self._ladder,
            on_event=self._on_event and partial(self._on_event, instance.id_instance),
            clock=self._family.clock,
            log=log,
        )
        client = client_of(self._family, instance)
        host = self._roster.host(instance.origin)
        return _Member(host=host, instance=instance, client=client, feed=feed, log=log)

    def _log(self, origin: str) -> HostLog:
        return self._logs.setdefault(origin, HostLog(origin, anyio.current_time, self._store_log))

    async def _dispatch(self) -> None:
        """Begin the poll of each whose turn has come, until the fleet ends."""
        while self._error is None:
            while self._dropped:
                self._delivered(self._dropped.popleft(), is_handled=False)

            now = anyio.current_time()
            for member in self._roster.start(now):
                self._tasks.start_soon(self._poll, member)

            self._alarm = anyio.Event()
            self._wakes_at = max(self._roster.next_at(now), now + _GRAIN)
            with anyio.CancelScope(deadline=self._wakes_at):
                await self._alarm.wait()

        raise self._error

    def _wake(self) -> None:
        """Let the dispatcher have a look, if there is something to begin before it would."""
        if self._dropped or self._error or self._roster.next_at(anyio.current_time()) < self._wakes_at:
            self._alarm.set()

    async def _poll(self, member: "_Member") -> None:
        """Poll an instance once; it keeps its slot if it finds something."""
        member.began, instance = anyio.current_time(), member.instance
        try:
            found = await member.feed.poll(responded=partial(self._responded, member, hangs=False))
        except GreenApiError as error:
            self._responded(member, hangs=_hangs(error))
            self._settle(member, self._next_try(member, error, instance))
            return

        if found[0] and member.is_wanted:
            self._ready.append(self._batch(member, found))
            self._arrival.set()
            self._arrival = anyio.Event()
        else:
            self._settle(member, self._next_turn(member))

    def _next_turn(self, member: "_Member") -> float:
        """Return when to poll again after a success: a late poll keeps its turn, or all would bunch up."""
        interval, now = self._ladder.interval, anyio.current_time()
        at = member.due + interval
        return at if at > now else max(now, member.began + interval)

    def _next_try(self, member: "_Member", error: GreenApiError, instance: Instance) -> float:
        """Return when to poll again after a failure: never, where it is final."""
        if isinstance(error, ClientClosedError):
            raise error  # The client that was injected: no instance can go on.

        now = anyio.current_time()
        if instance is not member.instance and not isinstance(error, StoreError):
            return now  # It has other credentials since.

        try:
            return now + member.feed.wait_after(error, random.random())  # noqa: S311 - spreads retries.
        except StoreError:
            raise
        except GreenApiError:
            member.feed.journal.gave_up(error)
            member.log.ended(member.id_instance, error)
            return math.inf

    def _responded(self, member: "_Member", *, hangs: bool | None) -> None:
        self._roster.responded(member, hangs=hangs)
        self._wake()

    def _settle(self, member: "_Member", next_at: float) -> None:
        if not self._roster.settled(member, next_at):
            del self._members[member.id_instance]

        self._wake()

    def _batch(self, member: "_Member", found: Found) -> "InstanceBatch":
        return InstanceBatch(
            member,
            found,
            record=partial(self._record, member),
            ended=partial(self._delivered, member),
            dropped=partial(self._drop, member),
        )

    async def _record(
        self,
        member: "_Member",
        statuses: Sequence[Status],
        checkpoint: Checkpoint | None,
        record: Record | None,
    ) -> None:
        """Record statuses as handled, retrying while the store is busy or full."""
        try:
            await member.feed.patiently(
                lambda: member.feed.deliver(statuses, checkpoint, record), random.random
            )
        except StoreError as error:
            self._error = error
            self._wake()
            raise

    def _delivered(self, member: "_Member", *, is_handled: bool) -> None:
        """Take note that a batch is done with, and poll its instance again."""
        member.feed.journal.handled()
        if self._state == "closed":
            return

        now = anyio.current_time()
        if is_handled:
            member.attempt = 0
            self._settle(member, self._next_turn(member))
        else:
            member.attempt += 1
            self._settle(member, now + pause(member.attempt, random.random()))  # noqa: S311

    def _drop(self, member: "_Member") -> None:
        """Take note of a batch that nobody has any more; the garbage collector may run anywhere."""
        self._dropped.append(member)
        call_soon(self._loop, self._wake)


class InstanceBatch:
    """New statuses of one instance, to be handled inside of `async with batch:`.

    They are recorded as handled when the block exits cleanly. If it raises or is cancelled, the exception propagates, and
    what was not committed comes again, after a growing wait; so does a batch that is dropped without being entered, with a
    ResourceWarning. Only a fleet creates batches.

    Attributes:
        id_instance: whose they are.
        scope: what the store keeps them under: the `id_instance`.
        statuses: oldest first, never empty.
        checkpoint: how far polling got once they are handled, or None if the response does not say.
        attempt: how many deliveries of this instance failed in a row, in this process.
    """

    _state: Literal["ready", "handed out", "entered", "ended"] = "ready"

    def __init__(
        self,
        member: "_Member",
        found: Found,
        *,
        record: Callable[[Sequence[Status], Checkpoint | None, Record | None], Awaitable[None]],
        ended: Callable[..., None],
        dropped: Callable[[], None],
    ) -> None:
        self.id_instance: str = member.id_instance
        self.scope: str = member.id_instance
        self.attempt: int = member.attempt
        self.statuses: Sequence[Status]
        self.checkpoint: Checkpoint | None
        self.statuses, self.checkpoint = found
        self._member = member
        self._record_now = record
        self._ended = ended
        self._dropped = dropped
        self._keys: Final = frozenset(status.key for status in self.statuses)
        self._left = set(self._keys)
        self._is_whole = False
        self._awaits_publishing = False
        self._lock = anyio.Lock(fast_acquire=True)

    @property
    def client(self) -> AsyncStatusesClient:
        """The client of that instance, with the credentials it has now: for `save_media` and `fetch`."""
        return self._member.client

    @property
    def now(self) -> float:
        """The server's time now, in UNIX seconds, to record the statuses with."""
        return self._member.feed.server_now()

    async def commit(self, *statuses: Status) -> None:
        """Record these statuses, or all, as handled now: a later failure does not repeat them.

        Waits while the store is busy or full.

        Raises:
            ValueError: one is not of this batch; nothing is recorded.
            RuntimeError: the block has not begun, or has ended.
            StoreError: the store failed for good, which ends the fleet.
        """
        self._check_entered()
        keys = {getattr(status, "key", None) for status in statuses} if statuses else self._keys
        if not keys <= self._keys:
            raise ValueError("commit takes statuses of this batch only")

        await self._record(keys)

    def _begin_publishing(self, store: Store) -> None:
        """Let nothing be recorded at the end of the block, unless `_commit_by` has."""
        self._check_entered()
        self._awaits_publishing = True
        self._member.feed.check_store(store)

    async def _commit_by(self, record: Record) -> None:
        """Commit what is left by a function of the store that does more than its `record`."""
        await self._record(self._keys, record)
        self._awaits_publishing = False

    async def __aenter__(self) -> Self:
        # No await: a cancellation delivered here, between the loop and the block, would drop the batch.
        if self._state != "handed out":
            raise RuntimeError("a batch is entered once")

        self._state = "entered"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc_type is None and not self._awaits_publishing:
                await self._record(self._keys)
        finally:
            self._state = "ended"
            self._ended(is_handled=self._is_whole)

    def __repr__(self) -> str:
        return f"<InstanceBatch of {self.id_instance}, {len(self.statuses)} statuses, {self._state}>"

    def __del__(self) -> None:
        if self._state == "handed out":
            warn(f"{self!r} was never entered: it comes again", ResourceWarning, source=self, stacklevel=2)
            self._dropped()

    def _hand_out(self) -> None:
        self._state = "handed out"
        self._member.feed.journal.handed_out()

    def _check_entered(self) -> None:
        if self._state != "entered":
            raise RuntimeError("commit or publish a batch inside its block: `async with batch:`")

    async def _record(self, keys: "frozenset[str] | set[Any]", record: Record | None = None) -> None:
        """Record those that are not yet; with the last of them, how far polling got."""
        async with self._lock:  # Of two at once, neither would be the last.
            statuses = [status for status in self.statuses if status.key in keys & self._left]
            is_last = keys >= self._left
            if self._is_whole or not (statuses or is_last):
                return

            await self._record_now(statuses, self.checkpoint if is_last else None, record)
            self._left -= keys
            self._is_whole = is_last


@attrs.define(kw_only=True, eq=False, repr=False)
class _Member(Seat):
    """An instance of the fleet."""

    instance: Instance
    client: AsyncStatusesClient
    feed: Feed
    log: HostLog
    attempt: int = 0
    began: float = 0.0

    @property
    def id_instance(self) -> str:
        return self.instance.id_instance

    def use(self, instance: Instance, client: AsyncStatusesClient, log: HostLog) -> None:
        """Go on with other credentials."""
        self.log.forget(self.id_instance)
        self.instance, self.client, self.log = instance, client, log
        self.feed.use(instance, log)


class _Healths(Mapping[str, Health]):
    """The health of each instance as it is when it is looked up."""

    def __init__(self, members: "Mapping[str, _Member]") -> None:
        self._members = members

    def __getitem__(self, id_instance: str) -> Health:
        member = self._members[id_instance]
        if not member.is_wanted:
            raise KeyError(id_instance)

        return member.feed.health

    def __iter__(self) -> Iterator[str]:
        return (name for name, member in self._members.items() if member.is_wanted)

    def __len__(self) -> int:
        return sum(member.is_wanted for member in self._members.values())


def _hangs(error: GreenApiError) -> bool | None:
    """Return whether a failed request timed out; None where the host did not respond at all."""
    if isinstance(error, StoreError):
        return None

    return isinstance(error, TransportError) and (error.timeout or None)


def _first(group: BaseExceptionGroup[BaseException], body: BaseException | None) -> BaseException:
    """Return what ended a fleet: what its block raised, or else what one of its tasks did."""
    return body if body in group.exceptions else group.exceptions[0]
