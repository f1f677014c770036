"""A store that is busy or full for a while: the poller waits for it, and loses and repeats nothing."""

import sqlite3
import time
from contextlib import closing

import anyio
import anyio.to_thread
import pytest
from scripted import (
    HOUR,
    MINUTE,
    NOW,
    ScriptedApi,
    in_virtual_time,
    now,
    passed,
    poller_of,
    response,
    seen_within,
    text,
)

from greenapi_async import MemoryStore, PollFailed, SQLiteStore, StoreError
from greenapi_async.stores import Checkpoint

SCOPE = "1101000001"
METHODS = ["load", "unseen", "record", "forget"]


class BusyStore(MemoryStore):
    """Fails in one of its methods from one time to another."""

    def __init__(self, method, begins, ends, *, retryable=True):
        super().__init__()
        original = getattr(self, method)

        async def busy(*arguments):
            if begins <= passed() < ends:
                raise StoreError("is locked", retryable=retryable)
            return await original(*arguments)

        setattr(self, method, busy)


def posting(every=5 * MINUTE, until=4 * HOUR):
    """Return an instance to which a status is posted every five minutes, from before the start on."""

    def respond(minutes):
        posted = [(n, NOW + n * every) for n in range(-3, int(until / every) + 1)]
        return response(
            *(text(str(n), at=at) for n, at in posted if now() - minutes * MINUTE <= at <= now()),
        )

    return ScriptedApi(respond)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("delivery", ["at-least-once", "at-most-once"])
@pytest.mark.parametrize("begins", [0.0, MINUTE / 2])
def test_an_hour_of_a_busy_store_is_waited_for(method, delivery, begins):
    """Another program copies the file, or the disk is full until somebody wakes up: it ended the bot."""

    async def main():
        events = []
        store = BusyStore(method, begins, begins + HOUR)
        api = posting()
        poller = poller_of(api, store=store, delivery=delivery, on_event=events.append)
        seen = await seen_within(4 * HOUR + MINUTE, poller)
        return seen, poller.health, events, len(api.minutes)

    seen, health, events, requests = in_virtual_time(main)
    assert seen == [str(n) for n in range(-3, 49)]
    assert (health.state, health.gaps) == ("ok", ())
    assert requests < 4 * 60 + 150
    failed = [event for event in events if isinstance(event, PollFailed)]
    assert method == "forget" or failed
    assert all(event.retry_in for event in failed)


def test_a_store_that_is_busy_is_seen_in_health():
    """The waiting is the poller's, and not hidden in the store."""

    async def main():
        poller = poller_of(posting(), store=BusyStore("record", MINUTE / 2, HOUR))
        await seen_within(30 * MINUTE, poller)
        return poller.health

    health = in_virtual_time(main)
    assert health.state == "degraded"
    assert health.consecutive_failures > 5
    assert isinstance(health.last_error, StoreError)


def test_warning_of_a_busy_store_is_not_repeated_with_each_response(caplog):
    """The API responds while nothing can be recorded: that is no recovery."""

    async def main():
        await seen_within(
            30 * MINUTE, poller_of(ScriptedApi(lambda _: response()), store=BusyStore("record", 90, HOUR))
        )

    in_virtual_time(main)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_at_most_once_yields_after_recording_only():
    """What comes unrecorded would come again after a crash."""

    async def main():
        store = BusyStore("record", 0.0, 10 * MINUTE)
        api = posting()
        recorded = []
        with anyio.move_on_after(20 * MINUTE):
            async for status in poller_of(api, store=store, delivery="at-most-once"):
                recorded.append((passed(), await store.unseen(SCOPE, [status.key])))  # noqa: PERF401 - as above.
        return recorded

    recorded = in_virtual_time(main)
    assert recorded[0][0] >= 10 * MINUTE
    assert all(unseen == set() for _, unseen in recorded)


@pytest.mark.parametrize("method", METHODS)
def test_cancelled_while_it_waits_it_loses_nothing(method):
    """Cancellation passes at once, and the next loop, or process, goes on."""

    async def main():
        store, api = BusyStore(method, MINUTE / 2, 20 * MINUTE), posting(until=HOUR)
        handled, poller = [], poller_of(api, store=store)
        while passed() < 2 * HOUR:
            with anyio.move_on_after(97):
                async for status in poller:
                    handled.append(status.id_message)  # noqa: PERF401 - what came before the end counts.
            if passed() > HOUR / 2:
                poller = poller_of(api, store=store)
        return handled

    handled = in_virtual_time(main)
    assert list(dict.fromkeys(handled)) == [str(n) for n in range(-3, 13)]
    repeats = len(handled) - len(set(handled))
    assert repeats <= 2 * HOUR / 97


def test_what_a_caller_calls_raises_what_may_be_retried():
    """`poll_once()`, `Batch.commit()` and `commit()` do not wait: when to call again is the caller's to decide."""

    async def main():
        store, api = BusyStore("record", 10.0, HOUR), ScriptedApi(lambda _: response(text("a", at=NOW - 5)))
        poller = poller_of(api, store=store)
        batch = await poller.poll_once()
        await anyio.sleep(20)
        with pytest.raises(StoreError) as committing:
            await batch.commit()
        fresh = poller_of(api, store=BusyStore("load", 0.0, HOUR))
        with pytest.raises(StoreError) as polling:
            await fresh.poll_once()
        await anext(poller)
        with pytest.raises(StoreError) as handled:
            await poller.commit()
        await anyio.sleep(HOUR)
        await poller.commit()
        return [caught.value.retryable for caught in (committing, polling, handled)], await store.unseen(
            SCOPE, "a"
        )

    assert in_virtual_time(main) == ([True, True, True], set())


def test_a_store_that_is_broken_raises_at_once():
    """Damage is nothing to wait for."""

    async def main():
        poller = poller_of(posting(), store=BusyStore("record", MINUTE / 2, HOUR, retryable=False))
        with pytest.raises(StoreError):
            await seen_within(HOUR, poller)
        return passed()

    assert in_virtual_time(main) <= 5 * MINUTE


@pytest.fixture
def locked(tmp_path):
    """The path of a store's file that another program holds."""
    path = tmp_path / "seen.db"
    anyio.run(_fill, path)
    with closing(sqlite3.connect(path, check_same_thread=False)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield path, holder


async def _fill(path):
    store = SQLiteStore(path)
    await store.record(SCOPE, ["x"], Checkpoint(marks=(1.0,) * 4), 1.0)
    await store.aclose()


@pytest.mark.anyio
async def test_a_locked_file_is_told_in_seconds(locked):
    """The thread is patient for two seconds; a stop of the program took thirty."""
    path, _ = locked
    store, began = SQLiteStore(path), time.monotonic()

    with pytest.raises(StoreError, match="locked by another program for 2 seconds") as caught:
        await store.record(SCOPE, ["a"], None, 5.0)

    assert caught.value.retryable
    assert time.monotonic() - began < 5
    await store.aclose()


@pytest.mark.anyio
async def test_sixty_instances_on_a_locked_file_stop_within_seconds(locked):
    """One thread works for all of them, and each waits from when it came, not from when its turn came."""
    path, _ = locked
    store, began, refused = SQLiteStore(path), time.monotonic(), []

    async def record(number):
        with anyio.CancelScope(shield=True):
            try:
                await store.record(SCOPE, [str(number)], None, 5.0)
            except StoreError as error:
                refused.append(error.retryable)

    async with anyio.create_task_group() as tasks:
        for number in range(60):
            tasks.start_soon(record, number)
        await anyio.sleep(0.1)
        tasks.cancel_scope.cancel()

    assert refused == [True] * 60
    assert time.monotonic() - began < 6
    await store.aclose()


@pytest.mark.anyio
async def test_a_full_disk_may_be_retried(tmp_path, monkeypatch):
    """Somebody frees some space."""
    original = sqlite3.connect

    def small(*arguments, **options):
        database = original(*arguments, **options)
        database.execute("PRAGMA max_page_count = 8")
        return database

    monkeypatch.setattr(sqlite3, "connect", small)
    store = SQLiteStore(tmp_path / "seen.db")

    with pytest.raises(StoreError, match="disk is full") as caught:
        await store.record(SCOPE, [f"{n:01000}" for n in range(1000)], None, 5.0)

    assert caught.value.retryable
    await store.aclose()
