"""What one host does to the requests of others: a hanging one must not starve them."""

from contextlib import AsyncExitStack

import anyio
import pytest
from clients import client_of

from greenapi_async import TransportError
from greenapi_async.simulator import Delay, Simulator

# A connect that is cancelled leaves its socket to the garbage collector, which warns: before anyio 4.16 often.
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.usefixtures("nothing_left_to_collect"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
async def hosts():
    """Six hosts, of which all but the first hang until the test is over."""
    async with AsyncExitStack() as stack:
        healthy, *hanging = [await stack.enter_async_context(Simulator(max_rate=None)) for _ in range(6)]
        for api in hanging:
            api.faults.extend([Delay(60)] * 1000)
        yield healthy, hanging


async def test_healthy_host_is_polled_beside_a_hanging_one(hosts):
    """A hundred places for all hosts in one queue: the healthy one's instances got two thirds of their polls."""
    healthy, [hanging, *_] = hosts

    async with client_of(healthy, timeout=30.0) as client, anyio.create_task_group() as tasks:
        stuck = client.for_instance(hanging.id_instance, hanging.token, api_url=hanging.url)
        for _ in range(150):
            tasks.start_soon(stuck.fetch)
        await anyio.sleep(0.1)

        with anyio.fail_after(5):
            for _ in range(20):
                assert await client.fetch() == []

        tasks.cancel_scope.cancel()


async def test_hosts_that_begin_to_hang_at_once_leave_places(hosts):
    """Until their first timeout, four times twenty-five were all of them: one poll in four was missed."""
    healthy, hanging = hosts

    async with client_of(healthy, timeout=30.0) as client, anyio.create_task_group() as tasks:
        for api in hanging:
            stuck = client.for_instance(api.id_instance, api.token, api_url=api.url)
            for _ in range(30):
                tasks.start_soon(stuck.fetch)
        await anyio.sleep(0.5)

        with anyio.fail_after(5):
            for _ in range(20):
                assert await client.fetch() == []

        tasks.cancel_scope.cancel()


async def test_several_hanging_hosts_cannot_fill_all_places(hosts):
    """Five times twenty-five would be all of them: a host that timed out has one place until it responds."""
    healthy, hanging = hosts

    async with client_of(healthy, timeout=1.0) as client:
        stuck = [client.for_instance(api.id_instance, api.token, api_url=api.url) for api in hanging]

        async def polls(instance):
            while True:
                with pytest.raises(TransportError):
                    await instance.fetch()

        async with anyio.create_task_group() as tasks:
            for instance in stuck:
                for _ in range(26):
                    tasks.start_soon(polls, instance)
            await anyio.sleep(2.5)

            sent = {api: len(api.requests) for api in hanging}
            with anyio.fail_after(5):
                for _ in range(20):
                    assert await client.fetch() == []

            tasks.cancel_scope.cancel()

    assert all(count <= 40 for count in sent.values()), sent


async def test_host_that_responds_again_has_all_its_places_back(hosts):
    """Its instances would be polled one after the other for ever."""
    _, [host, *_] = hosts

    async with client_of(host, timeout=1.0) as client:
        with pytest.raises(TransportError):
            await client.fetch()
        host.faults.clear()
        assert await client.fetch() == []

        host.faults.extend([Delay(60)] * 25)
        async with anyio.create_task_group() as tasks:
            for _ in range(25):
                tasks.start_soon(client.fetch)
            with anyio.fail_after(0.9):
                while host.connections < 25:
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()


async def test_wait_for_a_place_is_inside_the_timeout(hosts):
    """It was outside: `fetch` hung for as long as others did."""
    _, [hanging, *_] = hosts

    async with client_of(hanging, timeout=0.3) as client, anyio.create_task_group() as tasks:

        async def fails():
            with anyio.fail_after(1.5), pytest.raises(TransportError) as caught:
                await client.fetch()
            assert caught.value.timeout

        for _ in range(80):
            tasks.start_soon(fails)


async def test_wait_for_its_turn_is_inside_the_timeout():
    """At one request a second the tenth waits nine."""
    async with Simulator(max_rate=None) as api, client_of(api, timeout=0.5, max_rate=1.0) as client:
        assert await client.fetch() == []
        with anyio.fail_after(2), pytest.raises(TransportError) as caught:
            await client.fetch()

    assert caught.value.timeout
    assert len(api.requests) == 1


async def test_clients_of_one_family_for_one_instance_share_its_rate():
    """A web app made one for each request: each kept the rate, and together they were refused."""
    async with Simulator(max_rate=5.0) as api, client_of(api, max_rate=4.0) as first:
        same = [first.for_instance(api.id_instance, api.token) for _ in range(4)]
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for each in (first, *same):
                tasks.start_soon(each.fetch)

        assert anyio.current_time() - began >= 4 * 0.25
