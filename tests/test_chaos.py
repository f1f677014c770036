"""The poller among everything that can go wrong, all of it at once."""

import json
from collections import Counter

import anyio
import pytest
import trio
from memory import connect_in_memory
from virtual_time import run_in_virtual_time

from greenapi_async import AsyncStatusesClient, UnknownStatus, from_dict
from greenapi_async._polling import backoff as _backoff
from greenapi_async.simulator import Simulator, _chaos, chaos
from greenapi_async.simulator._queue import FaultQueue

EPOCH = 1_800_000_000.25
MINUTE = 60
HOUR = 3600
MIB = 2**20
long = pytest.mark.long


class Met(FaultQueue):
    """The faults to come, and a tally of those that were met."""

    def __init__(self):
        super().__init__()
        self.tally = Counter()
        self._names = {
            id(fault): name for name, spell in _chaos.SCENARIOS.items() for fault in spell if fault
        }

    def popleft(self):
        fault = super().popleft()
        self.tally[self._names.get(id(fault), "nothing")] += 1
        return fault


class Run:
    """A simulator in trouble, a poller, and what it yielded."""

    def __init__(self, api):
        self.api = api
        self.api.faults = Met()
        self.seen = []
        self.health = None

    async def poll(self, client, interval):
        poller = client.poll(interval)
        async for status in poller:
            self.seen.append((status.key, type(status)))
            self.health = poller.health

    async def trouble(self, seed, *, every, ticks):
        """Make trouble until the poller has asked so often."""
        longest = 5 * every * (ticks - len(self.api.requests))
        with anyio.fail_after(longest):
            await self._trouble_until(seed, every=every, ticks=ticks)

        self.api.faults.clear()

    async def _trouble_until(self, seed, *, every, ticks):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: chaos(self.api, seed, every=every))
            while len(self.api.requests) < ticks:
                await anyio.sleep(every)

            tasks.cancel_scope.cancel()

    @property
    def lost(self):
        """What should have been yielded and was not, or too often."""
        posted, seen = Counter(self.posted), Counter(self.seen)
        return (posted - seen) | (seen - posted)

    @property
    def posted(self):
        """What the poller has to yield, once each."""
        everything = self.api._feed.json_array(10**9, now=0.0, contacts=None)
        statuses = map(from_dict, json.loads(everything.decode(errors="replace")))
        return [(status.key, type(status)) for status in statuses]


@pytest.mark.parametrize(
    ("ticks", "each"),
    [(2_000, 1), pytest.param(20_000, 50, marks=long), pytest.param(60_000, 150, marks=long)],
)
def test_ticks_among_all_faults_lose_nothing_and_repeat_nothing(ticks, each, caplog):
    """20,000 ticks are two weeks in which most answers go wrong: every status comes once, malformed as unknown."""
    caplog.set_level("ERROR", "greenapi_async")

    def now():
        return EPOCH + trio.current_time()

    async def play():
        run = Run(Simulator(clock=now))
        lost = []
        async with (
            trio.open_nursery() as tasks,
            AsyncStatusesClient(
                run.api.id_instance,
                run.api.token,
                api_url=run.api.url,
                max_body=MIB,
                clock=now,
            ) as client,
        ):
            connect_in_memory(client, run.api, tasks)
            tasks.start_soon(run.poll, client, 1.0 * MINUTE)

            for until in (ticks * 3 // 4, ticks):
                with pytest.MonkeyPatch.context() as patch:
                    if until < ticks:  # Too wide an answer would bring what was lost.
                        patch.delitem(_chaos.SCENARIOS, "minutes ignored")
                    await run.trouble(seed=until, every=10.0 * MINUTE, ticks=until)

                # What is a day late is asked for every four hours and ten minutes.
                await trio.sleep(5 * HOUR)
                lost.append(run.lost)

            tasks.cancel_scope.cancel()

        return run, lost

    run, lost = run_in_virtual_time(play)

    assert not any(lost)
    assert len(run.posted) > ticks / 20
    assert Counter(kind for _, kind in run.seen)[UnknownStatus] > ticks / 100
    assert len(run.api.requests) > ticks
    assert run.api.faults.tally.keys() == {*_chaos.SCENARIOS, "nothing"}
    assert min(run.api.faults.tally.values()) > each
    assert (run.health.gaps, run.health.state) == ((), "ok")
    assert not caplog.records


@pytest.mark.anyio
@pytest.mark.parametrize("ticks", [150, *(pytest.param(ticks, marks=long) for ticks in (300, 1_500))])
async def test_the_same_over_real_sockets(ticks, monkeypatch, caplog):
    """A few hundred ticks within a few seconds, for which the quickest rung is enough: what is late waits."""
    caplog.set_level("ERROR", "greenapi_async")
    monkeypatch.setattr(_backoff, "delay", lambda *_: 0.0)
    run = Run(Simulator(max_rate=None))

    async with (
        run.api,
        AsyncStatusesClient(
            run.api.id_instance, run.api.token, api_url=run.api.url, timeout=0.2, max_rate=None, max_body=MIB
        ) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(run.poll, client, 0.005)
        with anyio.fail_after(max(30, ticks / 10)):
            await run.trouble(seed=2, every=0.02, ticks=ticks)
            timely = {status.key for status in await client.fetch(minutes=10)}
            while not timely <= {key for key, _ in run.seen}:
                await anyio.sleep(0.02)

        tasks.cancel_scope.cancel()

    assert not Counter(run.seen) - Counter(run.posted)
    assert len(timely) > 50
    assert len(run.api.faults.tally) > 30
