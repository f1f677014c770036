"""Networks that forget connections, make addresses up and put labels on what passes; hooks that raise; quoted tokens."""

import socket

import httpx
import pytest
from anyio.abc import SocketAttribute
from clients import client, client_of, failure_of
from fake_api import FakeApi, reply
from loopback import tls_in_front_of

from greenapi_async import AsyncStatusesClient, ConfigurationError, MediaError, errors, from_dict
from greenapi_async._http import network
from greenapi_async.simulator import Answer, Refuse, Simulator

TOKEN = "d75b3a66374942c5b3c019c698abc2067e151558acbd412345"


@pytest.mark.anyio
@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://localhost:9"])
@pytest.mark.parametrize("injected", [False, True])
async def test_a_refused_connection_says_what_refused_it(url, injected):
    """ "All connection attempts failed" is what half of a forum's threads are called: no network, no server, no port?"""
    http_client = httpx.AsyncClient() if injected else None

    failure = await failure_of(client(api_url=url, http_client=http_client))
    if http_client is not None:
        await http_client.aclose()

    assert "refused" in str(failure) or "Errno" in str(failure)
    assert "All connection attempts failed" not in str(failure)


@pytest.mark.anyio
@pytest.mark.parametrize("label", ["utf-8", "UTF-8", "none", "binary", "aws-chunked", "identity, utf-8", "*"])
async def test_a_content_encoding_that_names_no_compression_is_none(label):
    """A gateway labelled what it passed on with a charset, which every browser ignores: not one poll worked."""
    async with Simulator(max_rate=None) as api:
        api.faults.append(Answer([], {"Content-Encoding": label}))

        async with client_of(api) as asking:
            assert await asking.fetch() == []


@pytest.mark.anyio
async def test_idle_connections_say_something_once_a_minute():
    """Azure's NAT forgets in silence what was idle for four minutes: every poll of a slow poller hung to its timeout."""
    async with Simulator() as api:
        stream = await network.connect("localhost", httpx.URL(api.url).port)
        async with stream:
            raw = stream.extra(SocketAttribute.raw_socket)
            options = [
                raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            ]

    assert options == [1, 60]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "addresses", [["::1", "127.0.0.1"], ["127.0.0.1", "::1"], ["127.0.0.2", "127.0.0.3", "127.0.0.1"]]
)
async def test_whatever_address_accepts_is_taken(addresses, monkeypatch):
    """A host has an IPv6 address that leads nowhere."""
    real = socket.getaddrinfo

    def found(host, port, *options, **others):
        if host != "many.test":
            return real(host, port, *options, **others)

        return [(socket.AF_UNSPEC, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    async with Simulator(max_rate=None) as api:
        listens_at = httpx.URL(api.url).port
        monkeypatch.setattr(socket, "getaddrinfo", found)
        async with await network.connect("many.test", listens_at) as stream:
            assert stream.extra(SocketAttribute.remote_address)[0] in addresses


@pytest.mark.anyio
async def test_no_address_accepts(monkeypatch):
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", (f"127.0.0.{each}", 9)) for each in (1, 2, 3)]
    )

    with pytest.raises(OSError, match="refused"):
        await network.connect("many.test", 9)


def image(url):
    return from_dict(
        {
            "idMessage": "1",
            "timestamp": 1710232595,
            "typeMessage": "imageMessage",
            "chatId": "1@c.us",
            "mimeType": "image/jpeg",
            "downloadUrl": url,
        }
    )


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("host", "refused"), [("media.example", False), ("198.18.0.5", True), ("198.19.255.255", True)]
)
async def test_an_address_that_a_proxy_of_the_machine_made_up_is_admitted_for_a_name(
    host, refused, monkeypatch, tmp_path
):
    """Clash and sing-box let every name lead to 198.18.0.0/15, and go on by the name: no picture was ever saved."""
    real = network.Stream.get_extra_info
    monkeypatch.setattr(
        network.Stream,
        "get_extra_info",
        lambda self, info: ("198.18.0.5", 443) if info == "server_addr" else real(self, info),
    )
    async with Simulator(max_rate=None) as api:
        port = httpx.URL(api.url).port
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))],
        )
        async with client_of(api) as asking:
            with pytest.raises(errors.GreenApiError) as caught:
                await asking.save_media(image(f"https://{host}:{port}/x.jpg"), tmp_path)

    assert ("not public" in str(caught.value)) is refused
    assert isinstance(caught.value, MediaError) is refused  # The simulator speaks no TLS.


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Refuse(401), errors.AuthenticationError),
        (Refuse(403), errors.AccessDeniedError),
        (Answer("", {"Retry-After": "7"}, 429), errors.RateLimitedError),
        (Refuse(500), errors.ServerError),
        (Answer("", {"Location": "https://portal.example"}, 302), errors.UnexpectedRedirectError),
    ],
)
@pytest.mark.parametrize("reads", [False, True])
async def test_a_hook_that_raises_for_a_status_tells_the_status(fault, error, reads):
    """httpx's documentation has that hook. A wrong token became a `TransportError`, and was retried for ever."""

    async def hook(response):
        if reads:
            await response.aread()
        response.raise_for_status()

    async with (
        Simulator(max_rate=None) as api,
        httpx.AsyncClient(event_hooks={"response": [hook]}) as http_client,
    ):
        api.faults.append(fault)
        refused = await failure_of(client_of(api, http_client=http_client))

    assert type(refused) is error
    assert getattr(refused, "retry_after", None) in {None, 7.0}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("date", "retry_after", "seconds"),
    [
        ("Tue, 12 Mar 2024 08:36:35 GMT", "Tue, 12 Mar 2024 08:37:35 GMT", 60.0),
        ("Tue, 12 Mar 2024 08:36:35 GMT", "Tuesday, 12-Mar-24 08:36:45 GMT", 10.0),
        ("Tue, 12 Mar 2024 08:36:35 GMT", "Tue, 12 Mar 2024 08:36:30 GMT", None),
        ("Tue, 12 Mar 2024 08:36:35 GMT", "Tue, 12 Mar 2024 25:99:30 GMT", None),
        ("Tue, 12 Mar 2024 08:36:35 GMT", "Tue, 12 Mar 99999999999 08:36:30", None),
        ("", "Tue, 12 Mar 2024 08:37:35 GMT", None),
        ("yesterday", "tomorrow", None),
    ],
)
async def test_a_wait_that_is_told_as_a_date_is_waited(date, retry_after, seconds):
    """Sonarr was told so, came again at once, and was locked out. The date counts from the response's own."""
    told = reply(429, b"", date=date, retry_after=retry_after)

    refused = await failure_of(client(FakeApi(told)))

    assert refused.retry_after == seconds


@pytest.mark.anyio
async def test_a_certificate_that_the_network_made_itself_says_what_helps():
    """Behind a company's proxy every request fails so, and a hundred threads ask what to do."""
    async with Simulator(max_rate=None) as api, tls_in_front_of(api) as url:
        failure = await failure_of(client_of(api, api_url=url))

    assert failure.refused == "certificate"
    assert "SSL_CERT_FILE" in str(failure)


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("name", ["GREEN_API_ID_INSTANCE", "GREEN_API_TOKEN_INSTANCE", "GREEN_API_URL"])
def test_a_variable_in_quotes_is_told(quote, name, monkeypatch):
    """`docker run --env-file` keeps them: the API did not know that token, which was right but for its quotes."""
    values = {
        "GREEN_API_ID_INSTANCE": "1101000001",
        "GREEN_API_TOKEN_INSTANCE": TOKEN,
        "GREEN_API_URL": "https://1101.api.green-api.com",
    }
    for each, value in values.items():
        monkeypatch.setenv(each, f"{quote}{value}{quote}" if each == name else value)

    with pytest.raises(ConfigurationError, match=f"{name} is in quotes") as caught:
        AsyncStatusesClient.from_env()

    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("placeholder", ["${TOKEN}", "$(cat token)", "{{apiTokenInstance}}"])
def test_a_placeholder_is_told(placeholder, monkeypatch):
    """systemd and cron replace none, and the API did not know that "token"."""
    monkeypatch.setenv("GREEN_API_ID_INSTANCE", "1101000001")
    monkeypatch.setenv("GREEN_API_TOKEN_INSTANCE", placeholder)

    with pytest.raises(ConfigurationError, match="GREEN_API_TOKEN_INSTANCE"):
        AsyncStatusesClient.from_env()


def test_a_token_file_in_quotes_is_told(monkeypatch, tmp_path):
    (tmp_path / "token").write_text(f'"{TOKEN}"\n')
    monkeypatch.setenv("GREEN_API_ID_INSTANCE", "1101000001")
    monkeypatch.setenv("GREEN_API_TOKEN_INSTANCE_FILE", str(tmp_path / "token"))
    monkeypatch.delenv("GREEN_API_TOKEN_INSTANCE", raising=False)

    with pytest.raises(ConfigurationError, match="GREEN_API_TOKEN_INSTANCE_FILE names is in quotes"):
        AsyncStatusesClient.from_env()
