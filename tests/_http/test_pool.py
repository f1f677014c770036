"""The pool: connections are kept, found again, and never trusted too far."""

import asyncio
import random
import sys
from contextlib import AsyncExitStack, aclosing

import anyio
import httpx
import pytest
import respx
from loopback import tls_in_front_of, trusting_context

from greenapi_async import AsyncStatusesClient, TransportError
from greenapi_async._http.network import Connection, Network
from greenapi_async._http.pool import ConnectionPool
from greenapi_async.simulator import Answer, Delay, Fault, Reset, Simulator, Truncate

pytestmark = pytest.mark.anyio


def pool(ssl_context=None, *, keepalive=60.0, most_idle=10):
    def connect(origin):
        return Connection(
            origin, ssl_context=ssl_context, keepalive_expiry=keepalive, network_backend=Network()
        )

    return aclosing(ConnectionPool(connect, most_idle=most_idle))


async def get(pool, url):
    """Request once, and return the whole body."""
    response = await pool.send(httpx.Request("GET", url))
    try:
        assert response.status_code == 200
        return b"".join([chunk async for chunk in response.stream])
    finally:
        await response.aclose()


def kept(connections):
    """Return what the pool keeps for this event loop."""
    return connections._loops.get()


class _Twice(Fault):
    """Send the answer, and once more what nobody asked for."""

    async def send(self, wire):
        await wire.send((wire.head + wire.body) * 2)


def url_of(api):
    return f"{api.url}/waInstance{api.id_instance}/getIncomingStatuses/{api.token}"


async def ask_at_once(connections, url, times):
    async with anyio.create_task_group() as tasks:
        for _ in range(times):
            tasks.start_soon(get, connections, url)


async def test_connection_is_used_again():
    """A poll costs no new connection."""
    async with Simulator(max_rate=None) as api, pool() as connections:
        for _ in range(5):
            await get(connections, url_of(api))

        assert api.connections == 1


async def test_last_in_is_first_out():
    """The freshest connection serves, so that the others can grow old."""
    async with Simulator(max_rate=None) as api, pool() as connections:
        api.faults.extend([Delay(0.05), Delay(0.1)])
        await ask_at_once(connections, url_of(api), 2)
        [idle] = kept(connections)._idle.values()
        freshest = idle[-1]

        await get(connections, url_of(api))

        assert idle[-1] is freshest
        assert freshest.info().endswith("Request Count: 2")


async def test_no_more_than_the_most_lie_idle():
    """What comes back beyond the cap is closed."""
    async with Simulator(max_rate=None) as api, pool(most_idle=2) as connections:
        api.faults.extend([Delay(0.05)] * 5)
        await ask_at_once(connections, url_of(api), 5)
        await anyio.wait_all_tasks_blocked()

        assert api.connections == 2


@pytest.mark.skipif(sys.platform == "win32", reason="sockets are no files there")
@pytest.mark.parametrize(("most_files", "most"), [(256, 128), (1_048_576, 1000), ("infinity", 1000)])
async def test_idle_connections_leave_files_for_others(most_files, most, monkeypatch):
    """A process may open 256 files on macOS, and one that may open more keeps a connection for each of many hosts."""
    import resource

    limit = resource.RLIM_INFINITY if most_files == "infinity" else most_files
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, resource.RLIM_INFINITY))

    async with AsyncStatusesClient("1", "secret") as client:
        assert kept(client.http_client._transport._pool)._room == most


async def test_expired_connections_are_closed():
    """Neither the one on top nor the ones that lie below it for ever stay open."""
    async with Simulator(max_rate=None) as api, pool(keepalive=0.05) as connections:
        api.faults.extend([Delay(0.05)] * 3)
        await ask_at_once(connections, url_of(api), 3)
        await anyio.sleep(0.1)

        await get(connections, url_of(api))
        await anyio.wait_all_tasks_blocked()

        assert api.connections == 1


async def test_bottom_of_the_stack_does_not_lie_for_ever():
    """A connection that no request takes any more is closed when its time is over."""
    async with Simulator(max_rate=None) as api, pool(keepalive=0.15) as connections:
        api.faults.extend([Delay(0.02)] * 2)
        await ask_at_once(connections, url_of(api), 2)

        for _ in range(6):
            await anyio.sleep(0.05)
            await get(connections, url_of(api))

        assert api.connections == 1


async def test_connections_of_hosts_that_nobody_asks_any_more_make_room():
    async with AsyncExitStack() as stack:
        first, second, third = [await stack.enter_async_context(Simulator(max_rate=None)) for _ in range(3)]
        connections = await stack.enter_async_context(pool(keepalive=0.1, most_idle=2))
        await get(connections, url_of(first))
        await get(connections, url_of(second))
        await anyio.sleep(0.2)

        for _ in range(4):
            await get(connections, url_of(third))
        await anyio.wait_all_tasks_blocked()

        assert [each.connections for each in (first, second, third)] == [0, 0, 1]


async def test_what_comes_beyond_an_answer_is_nobodys():
    """It would be taken for the answer to the next question, which may be another instance's."""
    async with Simulator(max_rate=None) as api, pool() as connections:
        api.faults.append(_Twice())
        first = await get(connections, url_of(api))
        api.post("image")
        second = await get(connections, url_of(api))

    assert first == b"[]"
    assert b"idMessage" in second


async def test_connection_that_the_server_closed_is_noticed():
    """A server that restarts costs no failed poll."""
    api = Simulator(max_rate=None)
    async with pool() as connections:
        async with api:
            await get(connections, url_of(api))

        async with api:
            assert await get(connections, url_of(api)) == b"[]"


async def test_request_that_the_server_cuts_off_is_sent_once_more():
    """The server may close an idle connection just when a request is under way: asking again is harmless."""
    async with Simulator(max_rate=None) as api, pool() as connections:
        await get(connections, url_of(api))
        api.faults.append(Reset())

        assert await get(connections, url_of(api)) == b"[]"
        assert len(api.requests) == 3


async def test_new_connection_is_not_tried_again():
    """Only what lay idle can be stale; everything else is a failure that the caller must know."""
    async with AsyncStatusesClient(
        "1", "t", api_url="http://127.0.0.1:9", max_rate=None, retries=0
    ) as client:
        with pytest.raises(Exception, match="ConnectError"):
            await client.fetch()


# Nobody can close the connections of an event loop that is over but the garbage collector, which warns.
@pytest.mark.usefixtures("nothing_left_to_collect")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_client_serves_one_event_loop_after_another(backend):
    """A scheduler that runs every job in a loop of its own can keep its client."""
    api = Simulator(token="t" * 50, max_rate=None)
    statuses = []

    async def job(client):
        async with api:
            with anyio.fail_after(5):
                statuses.append(
                    await client.for_instance(api.id_instance, api.token, api_url=api.url).fetch()
                )

    async def main():
        return AsyncStatusesClient(api.id_instance, api.token, api_url="http://127.0.0.1:1", retries=0)

    client = anyio.run(main, backend=backend)
    for _ in range(3):
        anyio.run(job, client, backend=backend)
    anyio.run(client.aclose, backend=backend)

    assert statuses == [[], [], []]


async def test_closing_closes_busy_connections_too():
    """After `aclose` nothing stays open, and who was still asking is told at once."""
    async with Simulator(max_rate=None) as api, pool() as connections:
        api.faults.append(Delay(5.0))

        async def ask():
            with pytest.raises(httpx.TransportError):
                await get(connections, url_of(api))

        with anyio.fail_after(2):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await anyio.sleep(0.05)
                await connections.aclose()

        assert kept(connections).busy == set()


async def test_connection_that_comes_back_after_closing_is_closed():
    """Who was just dropping those that had expired makes one more."""
    async with Simulator(max_rate=None) as api, pool(keepalive=0.05) as connections:
        api.faults.extend([Delay(0.02)] * 2)
        await ask_at_once(connections, url_of(api), 2)
        [[_, expired]] = kept(connections)._idle.values()
        await anyio.sleep(0.1)
        dropping, closed = anyio.Event(), anyio.Event()
        drop = expired.aclose

        async def drop_slowly():
            dropping.set()
            await closed.wait()
            await drop()

        expired.aclose = drop_slowly
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get, connections, url_of(api))
            await dropping.wait()
            await connections.aclose()
            closed.set()

        await anyio.wait_all_tasks_blocked()
        assert api.connections == 0


def test_cancellation_while_closing_closes_all():
    """Nobody else has them any more."""

    async def main():
        async with Simulator(max_rate=None) as api, pool() as connections:
            api.faults.extend([Delay(0.05)] * 5)
            await ask_at_once(connections, url_of(api), 5)

            closing = asyncio.create_task(connections.aclose())
            await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing

            await anyio.wait_all_tasks_blocked()
            assert api.connections == 0

    asyncio.run(main())


async def test_connection_over_tls_is_used_again():
    """A poll costs no new handshake."""
    async with (
        Simulator(max_rate=None) as api,
        tls_in_front_of(api) as url,
        pool(trusting_context()) as connections,
    ):
        for _ in range(3):
            await get(connections, url_of(api).replace(api.url, url))

        assert len(api.requests) == 3
        assert api.connections <= 1


async def test_large_answer_over_tls_is_whole():
    """It comes in records of 16 KB, of which a read takes all that are there."""
    body = random.Random(0).randbytes(3_000_000)

    async with (
        Simulator(max_rate=None) as api,
        tls_in_front_of(api) as url,
        pool(trusting_context()) as connections,
    ):
        api.faults.extend([Answer(body)] * 2)
        for _ in range(2):
            assert await get(connections, url_of(api).replace(api.url, url)) == body


@pytest.mark.parametrize("fault", [Truncate(), Reset(), Reset(after_headers=True)], ids=repr)
async def test_broken_answer_over_tls_is_an_error_and_the_next_is_whole(fault):
    """What ends in the midst of a record or between two is no answer."""
    body = b"x" * 300_000

    async with (
        Simulator(max_rate=None) as api,
        tls_in_front_of(api) as url,
        pool(trusting_context()) as connections,
    ):
        api.faults.extend([fault, Answer(body)])
        with pytest.raises(httpx.TransportError):
            await get(connections, url_of(api).replace(api.url, url))

        assert await get(connections, url_of(api).replace(api.url, url)) == body


async def test_refused_certificate_is_no_matter_of_time():
    """Whoever answers with a wrong certificate is not the API, and asking again does not make it so."""
    async with (
        Simulator(max_rate=None) as api,
        tls_in_front_of(api) as url,
        AsyncStatusesClient("1", "t", api_url=url, max_rate=None) as client,
    ):
        with pytest.raises(TransportError, match="certificate was rejected") as caught:
            await client.fetch()

    assert not caught.value.retryable
    assert api.requests == []


async def test_respx_intercepts_the_pool():
    """Tests of users that mock httpx go on working."""
    async with respx.mock:
        route = respx.get(url__regex="/waInstance1/getIncomingStatuses/secret").respond(json=[])
        async with AsyncStatusesClient("1", "secret", api_url="https://api.example") as client:
            assert await client.fetch() == []

    assert route.call_count == 1
