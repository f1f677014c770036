"""Proxies of the environment: whatever goes wrong with one, the same client works once it is well again."""

import gc
from pathlib import Path

import anyio
import httpx
import pytest
from loopback import trusting_context
from proxies import Proxy

from greenapi_async import AsyncStatusesClient, ConfigurationError, GreenApiError, TransportError
from greenapi_async._http import transport
from greenapi_async._http.proxy import Proxies
from greenapi_async.simulator import Simulator

pytestmark = pytest.mark.anyio

PHASES = [
    "connect refused",
    "silent",
    "closes",
    "refuses",
    "wants a password",
    "sends garbage",
    "TLS silent",
    "TLS closes",
]
KINDS = ["http", "https", "socks5"]


@pytest.fixture(autouse=True)
def any_host_is_trusted(monkeypatch):
    """Every host is this machine, whose certificate is the tests' own."""
    context = trusting_context()
    context.check_hostname = False
    monkeypatch.setattr(transport, "ssl_context", lambda: context)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def port_of(api):
    return httpx.URL(api.url).port


def client_of(api, **options):
    usual = {"api_url": "https://api.test", "retries": 0, "max_rate": None, "timeout": 10.0}
    return AsyncStatusesClient(api.id_instance, api.token, **usual | options)


async def failures_at_once(client, count):
    failures = []

    async def fail():
        try:
            await client.fetch()
        except GreenApiError as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(fail)

    return failures


def count_open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


async def open_files(expected):
    """Return how many files are open, once those that are being closed are."""
    for _ in range(200):
        gc.collect()
        await anyio.sleep(0.01)
        if count_open_files() <= expected:
            break

    return count_open_files()


# A connect that is cancelled at a bad moment leaves its socket to the garbage collector in anyio before 4.16.
@pytest.mark.usefixtures("nothing_left_to_collect")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("kind", "times"),
    [
        ("http", 110),
        ("socks5", 20),
        pytest.param("socks5", 110, marks=pytest.mark.long),
        pytest.param("https", 110, marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("phase", PHASES)
async def test_client_works_again_after_any_number_of_failed_set_ups(kind, times, phase, monkeypatch):
    """The proxy is well, the API behind it closes or is silent, 110 times: httpcore kept a place for each, for ever."""
    async with Simulator(max_rate=None) as api:
        proxy = Proxy(kind, port_of(api), phase)
        async with proxy.running():
            before = count_open_files()
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            client = client_of(api, timeout=0.1)
            if phase != "connect refused":
                failures = await failures_at_once(client, times)
                after = await open_files(before)

        if phase == "connect refused":
            before = count_open_files()
            failures = await failures_at_once(client, times)
            after = await open_files(before)

        proxy.phase = "works"
        async with proxy.running(), client_of(api) as patient:
            statuses = await patient.fetch()
            with anyio.fail_after(20):
                again = await fetched(client)
            await client.aclose()

    assert len(failures) == times
    assert {type(failure) for failure in failures} == {TransportError}
    assert all(str(failure).partition(":")[2].strip() or failure.timeout for failure in failures)
    assert after <= before
    assert statuses == again == []


async def fetched(client):
    """Fetch until it works: 0.1 seconds is little for two handshakes on a busy machine."""
    while True:
        try:
            return await client.fetch()
        except TransportError as error:
            assert error.timeout  # noqa: PT017 - it goes on.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("phase", ["works", "replies in pieces"])
async def test_proxy_is_used_and_its_connection_kept(kind, phase, monkeypatch):
    """A reply may come in any number of pieces, and a poll costs no new tunnel."""
    async with Simulator(max_rate=None) as api:
        proxy = Proxy(kind, port_of(api), phase)
        async with proxy.running():
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            async with client_of(api) as client:
                for _ in range(3):
                    assert await client.fetch() == []

                assert proxy.connections == 1

    assert len(proxy.targets) == 1
    assert proxy.targets[0].startswith("api.test")
    assert len(api.requests) == 3


@pytest.mark.parametrize("kind", ["http", "socks5"])
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
async def test_refused_password_is_final_and_names_the_variable(kind, variable, monkeypatch):
    """No try will be let in, and whoever reads it has to know where the password stands."""
    async with Simulator(max_rate=None) as api:
        proxy = Proxy(kind, port_of(api), "wants a password")
        async with proxy.running():
            monkeypatch.setenv(variable, proxy.url)
            async with client_of(api, retries=2) as client:
                with pytest.raises(TransportError, match=variable) as caught:
                    await client.fetch()

    assert (caught.value.refused, caught.value.retryable) == ("proxy", False)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "no_proxy", ["api.test", "api.test:443", ".test", "*", "fd07::/64, [::1], [::1]:8080, api.test"]
)
async def test_exceptions_are_minded(no_proxy, monkeypatch):
    """An entry that cannot be read matches nothing, and ends nothing."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", no_proxy)

    assert Proxies().proxy_for("https", "api.test", 443) is None
    if no_proxy != "*":
        assert Proxies().proxy_for("https", "api.example", 443).port == 9


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
async def test_loopback_is_never_proxied(host, monkeypatch):
    """The proxy's loopback is another machine's."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    assert Proxies().proxy_for("https", host, 443) is None
    assert Proxies().proxy_for("http", host, 80) is None


@pytest.mark.parametrize(
    ("variables", "variable"),
    [
        ({"HTTPS_PROXY": "http://good:3128", "ALL_PROXY": "socks://bad:1080"}, "HTTPS_PROXY"),
        ({"ALL_PROXY": "socks5h://good:1080", "HTTP_PROXY": "nonsense://"}, "ALL_PROXY"),
        ({"HTTPS_PROXY": "good", "FTP_PROXY": "ftp://x"}, "HTTPS_PROXY"),
        ({"HTTP_PROXY": "nonsense://", "FTP_PROXY": "ftp://x"}, None),
        ({"HTTPS_PROXY": ""}, None),
    ],
)
async def test_only_the_variable_that_applies_counts(variables, variable, monkeypatch):
    """A bad variable beside a good one, or for another scheme, ended every program at its start."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    async with AsyncStatusesClient("1", "secret"):
        proxy = Proxies().proxy_for("https", "api.test", 443)

    assert variable == (proxy and proxy.variable)
    assert proxy is None or proxy.host == "good"


@pytest.mark.parametrize(
    "url",
    [
        *("gopher://host:1", "socks://host:1080", "http://", "http://user:se/cret@host"),
        *(
            "http://host:70000",
            "http://пароль:secret@host",
            f"socks5://u:{'secret' * 99}@host",
            "http://[::1",
        ),
    ],
)
def test_proxy_that_cannot_be_read_is_told_where_it_is_needed(url, monkeypatch):
    """Without quoting it, for it may hold a password; and not to whom it does not concern."""
    monkeypatch.setenv("HTTPS_PROXY", url)

    AsyncStatusesClient("1", "t", api_url="http://127.0.0.1:8800")
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY") as caught:
        AsyncStatusesClient("1", "t")

    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


async def test_plain_http_to_loopback_minds_no_proxy(monkeypatch):
    """Its request line would show the token to the proxy."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")

    async with Simulator(max_rate=None) as api, client_of(api, api_url=api.url) as client:
        assert await client.fetch() == []
