"""The checkpoint that a loop keeps instead of loading it: with every deeper request it is loaded again."""

import logging

import anyio
import attrs
import pytest
from scripted import (
    EPOCH,
    HOUR,
    MINUTE,
    NOW,
    ScriptedApi,
    hourly,
    hours,
    in_virtual_time,
    now,
    passed,
    poller_of,
    response,
    seen_within,
)

from greenapi_async import MemoryStore, StoreError
from greenapi_async.stores import Checkpoint

SCOPE = "1101000001"
GONE = "the checkpoint of instance 1101000001 is gone from the store: starting over"


class WatchedStore(MemoryStore):
    """Keeps when it was called, and fails where it is told to."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.fails = None

    async def load(self, scope):
        self._note("load")
        return await super().load(scope)

    async def unseen(self, scope, ids):
        self._note("unseen")
        return await super().unseen(scope, ids)

    async def record(self, scope, ids, checkpoint, now):
        self._note("record")
        await super().record(scope, ids, checkpoint, now)

    def calls_of(self, name):
        return [at for each, at in self.calls if each == name]

    def _note(self, name):
        self.calls.append((name, passed()))
        if name == self.fails:
            self.fails = None
            raise StoreError("is locked", retryable=True)


def silent():
    return ScriptedApi(lambda _: response())


def test_an_idle_tick_looks_up_and_nothing_else():
    """That is all it needs of the store; each window beyond the narrowest loads what is there, and records."""

    async def main():
        store, api = WatchedStore(), silent()
        await seen_within(HOUR - 1, poller_of(api, store=store))
        return store, api

    store, api = in_virtual_time(main)
    deeper = [at for at, minutes in zip(api.requested_at, api.minutes, strict=True) if minutes > 15]
    assert len(api.minutes) == 60
    assert len(store.calls_of("unseen")) == 60
    assert sorted({at + EPOCH[0] for at in store.calls_of("load")}) == deeper
    assert sorted({at + EPOCH[0] for at in store.calls_of("record")}) == deeper
    assert 6 <= len(deeper) <= 8


def test_what_is_not_recorded_yet_shows_in_health():
    """`lag` tells how far polling got, in memory or in the store; a restart looks back ten minutes more."""

    async def main():
        store = MemoryStore()
        poller = poller_of(silent(), store=store)
        await seen_within(8.5 * MINUTE, poller)
        stored = await store.load(SCOPE)
        return poller.health.lag, now() - stored.marks[0]

    lag, behind = in_virtual_time(main)
    assert lag < 35
    assert MINUTE < behind < 11 * MINUTE


@pytest.mark.parametrize("method", ["load", "unseen", "record"])
def test_it_is_loaded_after_every_failure_of_the_store(method):
    """Whatever made it fail may have changed what is in it."""

    async def main():
        store = WatchedStore()
        poller = poller_of(silent(), store=store)
        await seen_within(3 * MINUTE + 1, poller)
        before = len(store.calls_of("load"))
        store.fails = method
        if method != "unseen":
            with pytest.raises(StoreError):
                await poller.poll_once()
        before = len(store.calls_of("load"))
        await seen_within(2.5 * MINUTE, poller)
        return len(store.calls_of("load")) - before

    assert in_virtual_time(main) == 1


def test_poll_once_always_loads():
    """Its state lives in the store alone: between two calls another process may have gone on."""

    async def main():
        store = WatchedStore()
        poller = poller_of(silent(), store=store)
        for _ in range(5):
            await (await poller.poll_once()).commit()
            await anyio.sleep(MINUTE)
        return set(store.calls_of("load"))

    assert len(in_virtual_time(main)) == 5


def test_one_that_is_gone_makes_it_begin_anew_and_is_logged(caplog):
    """Somebody emptied the store: what is still up comes again, within ten minutes, and the log says why."""

    async def main():
        store, api = MemoryStore(), ScriptedApi(lambda minutes: response(*hourly(minutes)))
        poller = poller_of(api, store=store)
        first = await seen_within(5.5 * MINUTE, poller)
        store._checkpoints.clear()
        store._seen.clear()
        return first, await seen_within(12 * MINUTE, poller)

    with caplog.at_level(logging.WARNING, "greenapi_async"):
        first, again = in_virtual_time(main)

    assert set(again) == set(first) >= hours(-24, 0)
    assert [record.getMessage() for record in caplog.records] == [GONE]


def test_a_first_run_is_not_logged_as_gone(caplog):
    async def main():
        await seen_within(HOUR, poller_of(silent()))
        poller = poller_of(ScriptedApi(lambda _: response(date=None)))
        await poller.poll_once()
        await poller.poll_once()

    with caplog.at_level(logging.WARNING, "greenapi_async"):
        in_virtual_time(main)

    assert not caplog.records


def test_from_a_lower_one_it_goes_on():
    """A store that lost its tail says where it is now, and the next window reaches back to there."""

    async def main():
        store, api = MemoryStore(), silent()
        poller = poller_of(api, store=store)
        await seen_within(65 * MINUTE, poller)
        kept = await store.load(SCOPE)
        lower = attrs.evolve(kept, marks=tuple(mark - 30 * MINUTE for mark in kept.marks))
        store._checkpoints[SCOPE] = lower
        before = len(api.minutes)
        await seen_within(11 * MINUTE, poller)
        return api.minutes[before:]

    minutes = in_virtual_time(main)
    assert any(each >= 10 + 50 + 30 for each in minutes)


def test_one_that_another_process_moved_on_does_no_harm():
    """A mark that is lower is true as well: no window is missing, none is wider, and nothing is requested twice."""

    async def main():
        store, api = MemoryStore(), silent()
        poller = poller_of(api, store=store)
        await seen_within(9 * MINUTE, poller)
        store._checkpoints[SCOPE] = Checkpoint(marks=(now() - 1,) * 4)
        await seen_within(30 * MINUTE, poller)
        return await store.load(SCOPE), api.minutes

    stored, minutes = in_virtual_time(main)
    assert stored.marks[0] > NOW + 30 * MINUTE
    assert len(minutes) <= 40
    assert max(minutes[1:]) < 75


def test_after_a_sleep_it_is_loaded_though_the_window_was_narrow():
    """The wall clock shows the sleep only with the response; the wider request starts from what the store has."""

    async def main():
        slept = [0.0]
        store = WatchedStore()
        api = ScriptedApi(lambda _: response(date=float(int(now() + slept[0]))))
        poller = poller_of(api, store=store, clock=now)
        await seen_within(3.5 * MINUTE, poller)
        loads = len(store.calls_of("load"))
        slept[0] = 20 * MINUTE
        await seen_within(MINUTE, poller)
        return api.minutes[4:], len(store.calls_of("load")) - loads

    minutes, loads = in_virtual_time(main)
    assert max(minutes) > 60
    assert loads == 1
