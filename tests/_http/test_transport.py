"""Our own client is an httpx client: whatever watches or mocks httpx sees its requests, and none sees the token."""

import logging

import anyio
import httpx
import pytest
import respx
from clients import client_of
from loopback import tls_in_front_of
from media_world import Seen
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from greenapi_async import AsyncStatusesClient
from greenapi_async.simulator import Answer, Simulator

pytestmark = pytest.mark.anyio

TOKEN = "d75b3a66374942c5b3c019c698abc2067e151558acbd412345"


@pytest.fixture
async def api():
    async with Simulator(token=TOKEN, max_rate=None) as api:
        yield api


async def test_client_in_use_is_to_be_had(api):
    """The one that was injected, or one of our own."""
    async with httpx.AsyncClient() as injected, client_of(api) as own:
        assert client_of(api, http_client=injected).http_client is injected
        assert isinstance(own.http_client, httpx.AsyncClient)
        assert own.for_instance("2", "t").http_client is own.http_client


async def test_event_hooks_see_each_request_without_the_token(api):
    seen = []

    async def on_request(request):
        seen.append(str(request.url))

    async def on_response(response):
        seen.append(f"{response.status_code} {response.request.url!r}")

    async with client_of(api) as client:
        client.http_client.event_hooks = {"request": [on_request], "response": [on_response]}
        await client.fetch(minutes=7)

    assert len(seen) == 2
    assert seen[0].endswith("/getIncomingStatuses/***?minutes=7")
    assert TOKEN not in "".join(seen)


@pytest.mark.parametrize("using", ["httpx", "httpcore"])
async def test_respx_mocks_it_either_way(using):
    """Tests of users that mock httpx go on working."""
    async with respx.mock(using=using) as mock:
        route = mock.get(url__regex="/waInstance1/getIncomingStatuses/").respond(json=[])
        async with AsyncStatusesClient("1", TOKEN, api_url="https://api.example") as client:
            assert await client.fetch() == []

    assert route.call_count == 1


async def test_httpx_logs_a_line_for_each_request(api, caplog):
    caplog.set_level(logging.INFO)

    async with client_of(api) as client:
        await client.fetch()

    [line] = [record.getMessage() for record in caplog.records if record.name == "httpx"]
    assert line.startswith("HTTP Request: GET http://127.0.0.1")
    assert "/getIncomingStatuses/*** " in line
    assert TOKEN not in caplog.text


async def test_no_cookie_is_kept_or_sent(api):
    """A cookie of one response went out with the next request, be it another instance's."""
    seen = Seen()
    api.faults.extend([Answer("[]", {"Set-Cookie": "id=1; Path=/"}), seen])

    async with client_of(api) as client:
        await client.fetch()
        client.http_client.cookies.set("id", "2")
        client.http_client.cookies = {"id": "3"}
        await client.fetch()

    [request] = seen.requests
    assert request.header("Cookie") == ""
    assert not client.http_client.cookies


async def test_opentelemetry_sees_clients_that_it_is_told_of(api):
    """And no token in their spans."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    async with client_of(api) as client:
        HTTPXClientInstrumentor.instrument_client(client.http_client, tracer_provider=provider)
        await client.fetch(minutes=7)

    [span] = exporter.get_finished_spans()
    assert "***" in span.attributes.get("http.url", span.attributes.get("url.full"))
    assert TOKEN not in span.to_json()


async def test_request_of_ours_has_few_headers(api):
    """Each costs its time, and tells something."""
    seen = Seen()
    api.faults.append(seen)

    async with client_of(api) as client:
        await client.fetch()

    [request] = seen.requests
    assert {name.lower() for name, _ in request.headers} == {
        *("host", "accept", "accept-encoding", "cache-control", "user-agent"),
    }


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_request_that_may_not_be_repeated_is_not(api, method):
    """Only what reads is sent once more where an idle connection was closed."""
    async with client_of(api) as client:
        await client.fetch()
        before = len(api.requests)

        async def closes(_):
            raise httpx.ReadError("closed")

        [[connection]] = client.http_client._transport._pool._loops.get()._idle.values()
        connection._connection._network_stream.read = lambda *_, **__: closes(None)
        with pytest.raises(httpx.TransportError):
            await client.http_client.request(method, f"{api.url}/waInstance1/x/y")

    assert len(api.requests) <= before + 1


async def test_no_tls_context_is_made_where_none_is_needed(monkeypatch):
    """It takes 20 ms, and a certificate file that is missing does not concern http."""
    made = []
    monkeypatch.setattr("greenapi_async._http.transport.ssl_context", lambda: made.append(1))
    monkeypatch.setattr("greenapi_async._http.exchange.ssl_context", lambda: made.append(2))

    async with Simulator(max_rate=None) as api, client_of(api) as client:
        await client.fetch()
        assert made == []

        client.for_instance("1", "t", api_url="https://api.example")
        assert made == [2]


async def test_tls_alert_has_a_text(api):
    """`TransportError: ConnectError` said nothing."""
    async with (
        tls_in_front_of(api) as url,
        AsyncStatusesClient("1", TOKEN, api_url=url, retries=0) as client,
    ):
        with pytest.raises(Exception, match="certificate verify failed"):
            await client.fetch()


# Nobody can close the connections of an event loop that is over but the garbage collector, which warns.
@pytest.mark.usefixtures("nothing_left_to_collect")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_threads_with_loops_of_their_own_share_a_client(api):
    """A connection of one loop was handed to another: three of three hundred requests failed."""
    failures = []

    async def fetches(client):
        for _ in range(30):
            try:
                await client.fetch()
            except Exception as error:  # noqa: BLE001 - whatever it is.
                failures.append(error)

    async with client_of(api) as client:
        async with anyio.create_task_group() as tasks:
            for backend in ("asyncio", "asyncio", "trio"):
                run = lambda backend=backend: anyio.run(fetches, client, backend=backend)  # noqa: E731
                tasks.start_soon(anyio.to_thread.run_sync, run)

        assert await client.fetch() == []

    assert failures == []
    assert len(api.requests) == 91
