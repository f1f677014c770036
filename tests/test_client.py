"""A client's making, sharing and closing."""

import math
import subprocess
import sys
from datetime import datetime, timedelta

import anyio
import httpx
import pytest
import respx
from clients import client_of, injected
from fake_api import ID, TOKEN, FakeApi

from greenapi_async import AsyncStatusesClient, StatusPoller, errors
from greenapi_async.simulator import Delay, Simulator

VARIABLES = [
    "GREEN_API_ID_INSTANCE",
    "GREEN_API_TOKEN_INSTANCE",
    "GREEN_API_TOKEN_INSTANCE_FILE",
    "GREEN_API_URL",
]


def client(**changes):
    arguments = {"id_instance": ID, "api_token_instance": TOKEN} | changes
    return AsyncStatusesClient(arguments.pop("id_instance"), arguments.pop("api_token_instance"), **arguments)


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Sets the variables to these, and to nothing else; `token_file` writes one."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def set_to(*, token_file=None, **variables):
        if token_file is not None:
            path = tmp_path / "token"
            path.write_bytes(token_file)
            variables["GREEN_API_TOKEN_INSTANCE_FILE"] = str(path)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_to


@pytest.fixture
def api():
    """The general address, at the level of httpcore; answers that there are no statuses."""
    with respx.mock(assert_all_called=False) as router:
        yield router.route().respond(200, content=b"[]")


def urls(route):
    return [f"https://{call.request.url.host}{call.request.url.raw_path.decode()}" for call in route.calls]


# Arguments


@pytest.mark.parametrize("id_instance", [ID, int(ID), "110100000112", "1", 7, "0042"])
@pytest.mark.anyio
async def test_an_id_is_digits_of_any_length(id_instance):
    """Ids have 10 digits, since July 2026 also 12; the API may go on."""
    api = FakeApi()

    await client(id_instance=id_instance, http_client=injected(api)).fetch()

    assert api.urls == [f"https://api.green-api.com/waInstance{id_instance}/getIncomingStatuses/{TOKEN}"]


NOT_POSITIVE = [0, -1, math.inf, -math.inf, math.nan, True, False, "60", b"60"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            ("id_instance", value)
            for value in ["", " ", "abc", "1101x", " 1101", "1101\n", "-1", "1.5", "1/2"]
        ],
        *[
            ("id_instance", value)
            for value in ["\uff11\uff10", "\u0663", "\u00b2", True, False, None, 1.5, -5, b"1101", [1]]
        ],
        *[
            ("api_token_instance", value)
            for value in ["", " ", "a b", "a\n", "\ta", "a\x00", "a\u00a0b", "a\u202e"]
        ],
        *[("api_token_instance", value) for value in [None, 5, b"abc", ["abc"]]],
        *[("timeout", value) for value in [*NOT_POSITIVE, None]],
        *[("max_rate", value) for value in NOT_POSITIVE],
        *[("retries", value) for value in [-1, True, False, 1.0, "2", None, math.inf]],
        *[("max_body", value) for value in [0, -1, True, 1.0, "1", None]],
    ],
)
def test_a_wrong_argument_is_named_at_construction(name, value):
    with pytest.raises(errors.ConfigurationError, match=f"^{name} must be ") as caught:
        client(**{name: value})

    assert isinstance(caught.value, ValueError)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "settings",
    [
        {"timeout": 0.001},
        {"timeout": 1, "retries": 0, "max_rate": 1000, "max_body": 1},
        {"retries": 100, "max_rate": 0.001},
        {"max_rate": None},
    ],
)
def test_unusual_but_possible_settings_are_taken(settings):
    client(**settings, http_client=injected())


@pytest.mark.parametrize("token", ["a b", "secret\n"])
def test_a_wrong_token_is_not_told(token):
    with pytest.raises(errors.ConfigurationError) as caught:
        client(api_token_instance=token)

    assert token.strip() not in str(caught.value)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("api_url", "begin"),
    [
        ("https://1101.api.green-api.com", "https://1101.api.green-api.com/wa"),
        ("https://7103.api.greenapi.com/", "https://7103.api.greenapi.com/wa"),
        ("https://proxy.example:8443/green/v3/", "https://proxy.example:8443/green/v3/wa"),
        ("https://proxy.example/v3//", "https://proxy.example/v3/wa"),
        ("HTTPS://API.GREEN-API.COM", "https://api.green-api.com/wa"),
        ("https://10.0.0.5", "https://10.0.0.5/wa"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/wa"),
        ("http://127.0.0.2/v3", "http://127.0.0.2/v3/wa"),
        ("http://localhost:8000/", "http://localhost:8000/wa"),
        ("http://[::1]:8000", "http://[::1]:8000/wa"),
        ("https://пример.рф", "https://xn--e1afmkfd.xn--p1ai/wa"),
    ],
)
async def test_the_address_is_kept_as_given(api_url, begin):
    """Each instance has its own, shown in the console; it may hold a path and end in a slash."""
    api = FakeApi()

    await client(api_url=api_url, http_client=injected(api)).fetch()

    assert api.urls[0].startswith(f"{begin}Instance{ID}/")


@pytest.mark.parametrize(
    "api_url",
    [
        "",
        " ",
        "api.green-api.com",
        "//api.green-api.com",
        "https://",
        "https:///v3",
        "https://user:pw@api.green-api.com",
        "https://user@api.green-api.com",
        "https://api.green-api.com?x=1",
        "https://api.green-api.com/v3?",
        "https://api.green-api.com#top",
        "https://api.green-api.com#",
        "https://[::1",
        "https://api.green-api.com:port",
        "https://api.green-api.com:65536",
        "https://xn--",
        "https://api.green-api.com\n",
        "ftp://api.green-api.com",
        "file:///etc/passwd",
        "http://api.green-api.com",
        "http://10.0.0.5",
        "http://0.0.0.0",
        "http://localhost.example.org",
        "http://127.0.0.1.example.org",
        "http://127.0.0.1@example.org",
        None,
        5,
        b"https://api.green-api.com",
    ],
)
def test_an_address_that_cannot_be_asked_is_refused(api_url):
    """https, or http for loopback: the token stands in the path and would travel in the clear."""
    with pytest.raises(errors.ConfigurationError, match=r"^api_url must "):
        client(api_url=api_url)


def test_a_password_in_the_address_is_not_told():
    with pytest.raises(errors.ConfigurationError) as caught:
        client(api_url="https://user:hunter2@api.green-api.com")

    assert "hunter2" not in str(caught.value)


def test_settings_are_keywords():
    with pytest.raises(TypeError):
        AsyncStatusesClient(ID, TOKEN, "https://api.green-api.com")


def test_repr_tells_where_and_not_the_token():
    shown = repr(client(api_url="https://1101.api.green-api.com/v3/"))

    assert shown == "<AsyncStatusesClient of 1101000001 at https://1101.api.green-api.com/v3>"


# The arguments of poll()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("interval", value) for value in [*NOT_POSITIVE, None, 86_401, timedelta(0), timedelta(days=2)]],
        *[
            ("delivery", value)
            for value in ["", "exactly-once", "AT-LEAST-ONCE", None, True, ["at-least-once"]]
        ],
        *[("start", value) for value in ["", "Now", "later", 0, 3600, True]],
        *[("start", value) for value in [timedelta(0), timedelta(hours=-1), datetime(2024, 3, 12)]],  # noqa: DTZ001
    ],
)
def test_a_wrong_argument_of_poll_is_named(name, value):
    """At the call, not at the first question: that may be in a task where nobody looks."""
    with pytest.raises(errors.ConfigurationError, match=f"^{name} must be "):
        client(http_client=injected()).poll(**{name: value})


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"interval": 86_400},
        {"interval": 1, "delivery": "at-most-once", "start": "now"},
        {"start": timedelta(days=3)},
        {"start": datetime.fromisoformat("2024-03-12T08:36:35+03:00")},
    ],
)
def test_poll_makes_a_poller_and_asks_nothing(arguments):
    api = FakeApi()

    poller = client(http_client=injected(api)).poll(**arguments)

    assert isinstance(poller, StatusPoller)
    assert poller.health.state == "starting"
    assert api.asked == []


# The environment


@pytest.mark.anyio
async def test_the_environment_configures(environment, api):
    environment(
        GREEN_API_ID_INSTANCE=ID,
        GREEN_API_TOKEN_INSTANCE=TOKEN,
        GREEN_API_URL="https://1101.api.green-api.com/",
    )

    async with AsyncStatusesClient.from_env() as configured:
        await configured.fetch()

    assert urls(api) == [f"https://1101.api.green-api.com/waInstance{ID}/getIncomingStatuses/{TOKEN}"]


@pytest.mark.anyio
@pytest.mark.parametrize("nothing", [{}, {"GREEN_API_URL": ""}, {"GREEN_API_URL": " "}])
async def test_the_address_of_the_environment_is_optional(environment, api, nothing):
    environment(GREEN_API_ID_INSTANCE=f" {ID}\n", GREEN_API_TOKEN_INSTANCE=f"{TOKEN}\n", **nothing)

    async with AsyncStatusesClient.from_env() as configured:
        await configured.fetch()

    assert urls(api) == [f"https://api.green-api.com/waInstance{ID}/getIncomingStatuses/{TOKEN}"]


@pytest.mark.anyio
@pytest.mark.parametrize("content", [TOKEN.encode(), f" {TOKEN}\r\n".encode()])
async def test_the_token_can_come_from_a_file(environment, api, content):
    """Docker and Kubernetes hand secrets over like that; editors end files with a line break."""
    environment(GREEN_API_ID_INSTANCE=ID, token_file=content)

    async with AsyncStatusesClient.from_env() as configured:
        await configured.fetch()

    assert urls(api)[0].endswith(f"/{TOKEN}")


@pytest.mark.anyio
async def test_the_token_itself_goes_before_the_file(environment, api):
    environment(GREEN_API_ID_INSTANCE=ID, GREEN_API_TOKEN_INSTANCE=TOKEN, token_file=b"other")

    async with AsyncStatusesClient.from_env() as configured:
        await configured.fetch()

    assert urls(api)[0].endswith(f"/{TOKEN}")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, "GREEN_API_ID_INSTANCE is not set"),
        ({"GREEN_API_TOKEN_INSTANCE": TOKEN}, "GREEN_API_ID_INSTANCE is not set"),
        (
            {"GREEN_API_ID_INSTANCE": "", "GREEN_API_TOKEN_INSTANCE": TOKEN},
            "GREEN_API_ID_INSTANCE is not set",
        ),
        ({"GREEN_API_ID_INSTANCE": ID}, "GREEN_API_TOKEN_INSTANCE is not set"),
        (
            {"GREEN_API_ID_INSTANCE": ID, "GREEN_API_TOKEN_INSTANCE": " "},
            "GREEN_API_TOKEN_INSTANCE is not set",
        ),
        (
            {"GREEN_API_ID_INSTANCE": ID, "GREEN_API_TOKEN_INSTANCE_FILE": "/nowhere/token"},
            "GREEN_API_TOKEN_INSTANCE_FILE names a file that cannot be read",
        ),
        (
            {"GREEN_API_ID_INSTANCE": ID, "GREEN_API_TOKEN_INSTANCE_FILE": "/"},
            "GREEN_API_TOKEN_INSTANCE_FILE",
        ),
        ({"GREEN_API_ID_INSTANCE": "mine", "GREEN_API_TOKEN_INSTANCE": TOKEN}, "id_instance"),
        ({"GREEN_API_ID_INSTANCE": ID, "GREEN_API_TOKEN_INSTANCE": "a b"}, "api_token_instance"),
        (
            {
                "GREEN_API_ID_INSTANCE": ID,
                "GREEN_API_TOKEN_INSTANCE": TOKEN,
                "GREEN_API_URL": "http://x.example",
            },
            "api_url",
        ),
    ],
)
def test_what_is_missing_in_the_environment_is_named(environment, variables, named):
    environment(**variables)

    with pytest.raises(errors.ConfigurationError, match=f"^{named}") as caught:
        AsyncStatusesClient.from_env()

    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00", b"two words"])
def test_a_file_without_a_token_is_refused(environment, content):
    environment(GREEN_API_ID_INSTANCE=ID, token_file=content)

    with pytest.raises(errors.ConfigurationError):
        AsyncStatusesClient.from_env()


def test_no_env_file_is_read(environment, tmp_path, monkeypatch):
    """Who has one loads it, and knows that it was."""
    (tmp_path / ".env").write_text(f"GREEN_API_ID_INSTANCE={ID}\nGREEN_API_TOKEN_INSTANCE={TOKEN}\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(errors.ConfigurationError, match="GREEN_API_ID_INSTANCE"):
        AsyncStatusesClient.from_env()


# Other instances


@pytest.mark.anyio
async def test_another_instance_asks_with_its_own_id_and_token():
    api = FakeApi()
    first = client(api_url="https://1101.api.green-api.com/v3", http_client=injected(api))

    await first.for_instance(7103000002, "t2").fetch(5)
    await first.for_instance("7103000003", "t3", api_url="https://7103.api.greenapi.com/").fetch(5)
    await first.fetch(5)

    assert api.urls == [
        "https://1101.api.green-api.com/v3/waInstance7103000002/getIncomingStatuses/t2?minutes=5",
        "https://7103.api.greenapi.com/waInstance7103000003/getIncomingStatuses/t3?minutes=5",
        f"https://1101.api.green-api.com/v3/waInstance{ID}/getIncomingStatuses/{TOKEN}?minutes=5",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [("id_instance", "x"), ("api_token_instance", "a b"), ("api_url", "http://x.example"), ("api_url", "")],
)
def test_a_wrong_argument_for_another_instance_is_named(name, value):
    arguments = {"id_instance": 2, "api_token_instance": "t2", name: value}

    with pytest.raises(errors.ConfigurationError, match=f"^{name} must "):
        client().for_instance(**arguments)


@pytest.mark.anyio
async def test_instances_share_settings_and_connections():
    async with Simulator(max_rate=None) as api, client_of(api, max_body=1) as first:
        for _ in range(3):
            other = first.for_instance(api.id_instance, api.token)
            with pytest.raises(errors.BodyTooLargeError):
                await other.fetch()

    async with Simulator(max_rate=None) as api, client_of(api) as first:
        for _ in range(3):
            await first.for_instance(api.id_instance, api.token).fetch()
        await first.fetch()

        assert api.connections == 1


# Closing


async def closed_by_itself(client):
    await client.aclose()
    return client


async def closed_by_async_with(client):
    async with client:
        pass
    return client


async def child_of_a_closed_client(client):
    child = client.for_instance(2, "t2")
    await client.aclose()
    return child


async def child_made_of_a_closed_client(client):
    await client.aclose()
    return client.for_instance(2, "t2")


async def grandchild_of_a_closed_client(client):
    grandchild = client.for_instance(2, "t2").for_instance(3, "t3")
    await client.aclose()
    return grandchild


async def closed_child(client):
    child = client.for_instance(2, "t2")
    await child.aclose()
    return child


@pytest.mark.anyio
@pytest.mark.parametrize("own", [True, False], ids=["its own connections", "an injected client"])
@pytest.mark.parametrize(
    "close",
    [
        closed_by_itself,
        closed_by_async_with,
        child_of_a_closed_client,
        child_made_of_a_closed_client,
        grandchild_of_a_closed_client,
        closed_child,
    ],
)
async def test_a_closed_client_says_so(close, own):
    """Whether it was closed, or the one it shares connections with; nothing is sent."""
    api = FakeApi()
    closed = await close(client(http_client=None if own else injected(api), retries=2, max_rate=None))

    with pytest.raises(errors.ClientClosedError, match="closed") as caught:
        await closed.fetch()

    assert not caught.value.retryable
    assert api.asked == []


@pytest.mark.anyio
async def test_an_injected_client_that_its_owner_closed_says_so():
    http_client = injected()
    await http_client.aclose()

    with pytest.raises(errors.ClientClosedError, match="closed"):
        await client(http_client=http_client).fetch()


@pytest.mark.anyio
async def test_the_poller_of_a_closed_client_says_so():
    closed = await closed_by_itself(client())

    with pytest.raises(errors.ClientClosedError):
        await anext(closed.poll())


@pytest.mark.anyio
async def test_closing_twice_is_closing_once():
    twice = client()

    await twice.aclose()
    await twice.aclose()
    async with twice:
        pass


@pytest.mark.anyio
async def test_an_injected_client_stays_its_owners_to_close():
    """It may serve the rest of the program."""
    http_client = injected()

    async with client(http_client=http_client) as first:
        await first.fetch()
        await first.for_instance(2, "t2").aclose()

    assert not http_client.is_closed
    assert (await http_client.get("https://example.org")).status_code == 200


@pytest.mark.anyio
async def test_closing_closes_the_connections_of_ones_own():
    async with Simulator(max_rate=None) as api:
        async with client_of(api) as own:
            await own.fetch()
            assert api.connections == 1

        with anyio.fail_after(5):
            while api.connections:
                await anyio.sleep(0.001)


@pytest.mark.anyio
async def test_closing_a_child_leaves_the_others_open():
    async with Simulator(max_rate=None) as api, client_of(api) as first:
        child, sibling = (first.for_instance(api.id_instance, api.token) for _ in range(2))

        async with child:
            await child.fetch()

        assert await first.fetch() == await sibling.fetch() == []


@pytest.mark.anyio
async def test_a_body_that_fails_closes_as_well_and_its_error_passes():
    with pytest.raises(KeyError, match="mine"):
        async with client() as failing:
            raise KeyError("mine")

    with pytest.raises(errors.ClientClosedError):
        await failing.fetch()


@pytest.mark.anyio
async def test_a_question_that_is_open_while_the_client_closes_fails_at_once():
    """After `aclose` nothing is left open: the question does not wait for its answer or its timeout."""
    failures = []

    async def asks(closing):
        with pytest.raises(errors.GreenApiError) as caught:
            await closing.fetch()
        failures.append(caught.value)

    async with Simulator(max_rate=None) as api, anyio.create_task_group() as tasks:
        api.faults.append(Delay(60))
        async with client_of(api, timeout=2) as closing:
            tasks.start_soon(asks, closing)
            with anyio.fail_after(5):
                while not api.requests:
                    await anyio.sleep(0.001)

    assert [getattr(failure, "timeout", False) for failure in failures] == [False]


@pytest.mark.anyio
@pytest.mark.parametrize("own", [True, False], ids=["its own connections", "an injected client"])
async def test_nothing_is_sent_once_a_client_is_closed(own):
    """A question under way on a kept connection is not asked again, though that looks closed by the server."""
    http_client = None if own else httpx.AsyncClient()

    async with Simulator(max_rate=None) as api:
        closing = client_of(api, http_client=http_client)
        await closing.fetch()
        api.faults.append(Delay(60))

        async def asks():
            with pytest.raises(errors.ClientClosedError, match="meanwhile"):
                await closing.fetch()

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(asks)
                while len(api.requests) < 2:
                    await anyio.sleep(0.001)
                await closing.aclose()

        await anyio.sleep(0.05)
        assert len(api.requests) == 2

    if http_client is not None:
        await http_client.aclose()


def test_a_client_closes_though_its_event_loop_died_over_a_question():
    """A process of its own, for the task that nobody can end any more is complained of when it is collected."""
    script = """if True:
        import asyncio, httpx
        from greenapi_async import AsyncStatusesClient

        async def never(request):
            await asyncio.sleep(60)

        async def begin():
            http_client = httpx.AsyncClient(transport=httpx.MockTransport(never))
            client = AsyncStatusesClient(1, "token", http_client=http_client)
            task = asyncio.create_task(client.fetch())
            await asyncio.sleep(0.01)
            return client, task

        loop = asyncio.new_event_loop()
        client, task = loop.run_until_complete(begin())
        loop.close()
        asyncio.run(client.aclose())
        print("closed")
        """
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )

    assert ended.stdout == "closed\n", ended.stderr


# All of it


@pytest.mark.anyio
async def test_the_main_job_end_to_end(environment):
    async with Simulator(max_rate=None) as api:
        posted = [api.post("text"), api.post("image"), api.post("audio")]
        environment(
            GREEN_API_ID_INSTANCE=api.id_instance, GREEN_API_TOKEN_INSTANCE=api.token, GREEN_API_URL=api.url
        )

        async with AsyncStatusesClient.from_env() as configured:
            statuses = await configured.fetch(minutes=60)

    assert [status.id_message for status in statuses] == [item["idMessage"] for item in posted]
    assert [status.kind for status in statuses] == ["text", "image", "audio"]
    assert api.requests[0].minutes == 60
