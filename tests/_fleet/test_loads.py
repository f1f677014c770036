"""A fleet under load, in virtual time: hosts that hang, poison, consumers that are slow, and no herd."""

import gc
import itertools
import logging
from collections import Counter

import anyio
import pytest
import trio
from fleet_world import EPOCH, MINUTE, TOKEN, FleetApi, fleet_of, host, ids_of
from virtual_time import in_virtual_time

from greenapi_async import MemoryStore

INTERVAL = 60.0


async def consume(fleet, seconds=0.0, seen=None):
    async for batch in fleet:
        async with batch:
            await anyio.sleep(seconds)
            if seen is not None:
                seen.extend(ids_of(batch))


@in_virtual_time
async def test_polls_spread_over_the_interval_and_stay_so():
    """All at once would stay so for ever: the first turn comes at a random moment, even where tokens are renewed."""
    api = FleetApi(takes=0.1)
    async with fleet_of(api, interval=INTERVAL) as fleet:
        for number in range(600):
            fleet.add(number, TOKEN, api_url=host(number % 8))
        await anyio.sleep(3 * INTERVAL)
        for number in range(600):
            fleet.add(number, TOKEN, api_url=host(number % 8))
        await anyio.sleep(3 * INTERVAL)

    by_five_seconds = Counter(int(at // 5) for polls in api.requests.values() for at in polls)
    mean = sum(by_five_seconds.values()) / len(by_five_seconds)
    assert len(by_five_seconds) >= 6 * INTERVAL / 5
    assert max(by_five_seconds.values()) <= 1.8 * mean  # Six standard deviations above what is even.
    for polls in api.requests.values():
        assert max(later - earlier for earlier, later in itertools.pairwise(polls)) <= 1.1 * INTERVAL


@in_virtual_time
async def test_a_program_that_held_up_the_loop_makes_no_herd():
    """To add ten thousand instances takes seconds: those whose turn came meanwhile begin at once, and only then."""
    api = FleetApi(takes=0.1)
    async with fleet_of(api, interval=INTERVAL) as fleet:
        for number in range(600):
            fleet.add(number, TOKEN, api_url=host(number % 8))
        trio.lowlevel.current_clock().jump(20.0)
        await anyio.sleep(4 * INTERVAL)

    by_five_seconds = Counter(
        int(at // 5) for polls in api.requests.values() for at in polls if at > 1.5 * INTERVAL
    )
    assert max(by_five_seconds.values()) <= 2 * 600 / 12


@in_virtual_time
async def test_four_of_eight_hosts_hang_and_the_others_keep_their_polls():
    """Nobody knows at first which will hang; later each has a single request under way."""
    api = FleetApi(takes=0.1)
    api.hosts = {host(number): 3600.0 for number in range(4)}
    async with fleet_of(api, interval=INTERVAL) as fleet:
        for number in range(240):
            fleet.add(number, TOKEN, api_url=host(number % 8))
        await anyio.sleep(12 * MINUTE)
        assert all(api.under_way[host(number)] <= 1 for number in range(4))
        polls = sum(len(polls) for number, polls in api.requests.items() if int(number) % 8 >= 4)
        assert polls >= 0.98 * 120 * 12

        api.hosts.clear()
        await anyio.sleep(5 * MINUTE)
        assert {health.state for health in fleet.health.values()} == {"ok"}


@in_virtual_time
async def test_thirty_poison_instances_on_one_host_starve_nobody():
    """What fails gives its slot back at once, and is polled again after a wait that grows."""
    api, seen = FleetApi(takes=0.1), []
    attempts = Counter()

    async def stumble(fleet):
        async for batch in fleet:
            try:
                async with batch:
                    attempts[batch.id_instance] = batch.attempt
                    1 / (int(batch.id_instance) >= 30)
                    seen.extend(ids_of(batch))
            except ZeroDivisionError:
                continue

    async with fleet_of(api, interval=INTERVAL, slots=10) as fleet, anyio.create_task_group() as tasks:
        for number in range(60):
            api.posts[str(number)] = [(0.0, f"{number}")]
            fleet.add(number, TOKEN)
        for _ in range(4):
            tasks.start_soon(stumble, fleet)
        await anyio.sleep(20 * MINUTE)
        tasks.cancel_scope.cancel()

    assert sorted(seen) == sorted(str(number) for number in range(30, 60))
    assert all(len(api.requests[str(number)]) >= 19 for number in range(30, 60))
    assert min(attempts[str(number)] for number in range(30)) >= 15
    assert max(len(api.requests[str(number)]) for number in range(30)) <= 60


@in_virtual_time
async def test_a_slow_consumer_slows_polling_and_loses_nothing():
    """Slots bound what is in memory; `lag` shows it, windows widen, and all of it comes in the end."""
    api, seen = FleetApi(takes=0.1), []
    async with fleet_of(api, interval=INTERVAL, slots=5) as fleet, anyio.create_task_group() as tasks:
        for number in range(20):
            api.posts[str(number)] = [(minute * MINUTE, f"{number}-{minute}") for minute in range(60)]
            fleet.add(number, TOKEN)
        tasks.start_soon(consume, fleet, 30.0, seen)
        await anyio.sleep(40 * MINUTE)
        assert max(health.lag or 0.0 for health in fleet.health.values()) > 5 * MINUTE
        assert len(fleet._ready) <= 5
        assert fleet._roster._free == 0

        tasks.cancel_scope.cancel()
    async with (
        fleet_of(api, interval=INTERVAL, store=fleet._store) as later,
        anyio.create_task_group() as tasks,
    ):
        for number in range(20):
            later.add(number, TOKEN)
        tasks.start_soon(consume, later, 0.0, seen)
        await anyio.sleep(40 * MINUTE)
        tasks.cancel_scope.cancel()

    assert sorted(seen) == sorted(f"{number}-{minute}" for number in range(20) for minute in range(60))


@in_virtual_time
async def test_handlers_that_wait_for_a_full_host_stop_nothing():
    """Whoever holds a batch waits for HTTP; whoever holds a place in HTTP waits for nobody."""
    api, fetched = FleetApi(takes=10.0), []

    async def fetch(fleet):
        async for batch in fleet:
            async with batch:
                fetched.append(len(await batch.client.fetch(5)))

    async with fleet_of(api, interval=INTERVAL) as fleet, anyio.create_task_group() as tasks:
        for number in range(120):
            api.posts[str(number)] = [(minute * MINUTE, f"{number}-{minute}") for minute in range(5)]
            fleet.add(number, TOKEN)
        for _ in range(100):
            tasks.start_soon(fetch, fleet)
        await anyio.sleep(12 * MINUTE)
        assert api.busiest[host(1101)] == 25
        assert sum(health.delivered for health in fleet.health.values()) == 600
        tasks.cancel_scope.cancel()

    assert len(fetched) >= 120


@in_virtual_time
async def test_a_share_is_given_back_with_the_response():
    """What follows, in the store for example, holds up no other request of that host."""
    api = FleetApi()

    class SlowStore(MemoryStore):
        async def unseen(self, scope, ids):
            await anyio.sleep(3600)

    async with fleet_of(api, interval=INTERVAL, store=SlowStore()) as fleet:
        for number in range(50):
            fleet.add(number, TOKEN)
        await anyio.sleep(2 * INTERVAL)
        assert len(api.requests) == 50
        assert fleet._roster._free == 50


@in_virtual_time
async def test_those_who_come_and_go_leave_nothing_behind(caplog):
    """Instances that come and go are forgotten, with their hosts and what the log keeps of them."""
    caplog.set_level(logging.CRITICAL, "greenapi_async")  # A record keeps the error that it tells of.
    api = FleetApi()
    api.hosts = {host(number): 503 for number in range(0, 100, 2)}
    async with fleet_of(api, interval=INTERVAL) as fleet:
        for number in range(100):
            fleet.add(number, TOKEN, api_url=host(number))
            await anyio.sleep(INTERVAL)
            fleet.remove(number)
        await anyio.sleep(INTERVAL)
        fleet.add(100, TOKEN)
        await anyio.sleep(2 * INTERVAL)
        gc.collect()  # An error knows where it was raised, and so who keeps it.
        assert (len(fleet._members), len(fleet._roster._hosts), len(fleet._logs)) == (1, 1, 1)
        assert len(fleet._roster._turns) == 1


@pytest.mark.anyio
async def test_handlers_that_fetch_from_their_own_full_host(anyio_backend_name):
    """The same without virtual time, on both event loops."""
    api, done = FleetApi(takes=0.05), []

    async def fetch(fleet):
        async for batch in fleet:
            async with batch:
                await batch.client.fetch(5)
                done.append(batch.id_instance)

    async with anyio.create_task_group() as tasks, fleet_of(api, slots=40) as fleet:
        for number in range(60):
            api.post(number, f"{number}")
            fleet.add(number, TOKEN)
        for _ in range(40):
            tasks.start_soon(fetch, fleet)
        with anyio.fail_after(30):
            while len(done) < 60:
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()

    assert sorted(done) == sorted(map(str, range(60)))
    assert api.now() > EPOCH
