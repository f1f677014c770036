"""What gateways, hooks, tracers and pasted addresses do with the token: it is sent, and shown nowhere."""

import copy
import json
import logging
import pickle
from urllib.parse import quote, unquote

import anyio
import anyio.abc
import httpx
import pytest
from clients import client, client_of, failure_of
from fake_api import TOKEN, FakeApi, reply

from greenapi_async import AsyncStatusesClient, ConfigurationError, GreenApiError, errors
from greenapi_async.simulator import Answer, Simulator

DOUBLY = quote(quote(f"/waInstance1/getIncomingStatuses/{TOKEN}", safe=""), safe="")
CHECK_THE_TOKEN = "check it (GREEN_API_TOKEN_INSTANCE)"


# What others echo


@pytest.mark.anyio
async def test_a_token_that_is_echoed_in_any_spelling_is_not_quoted(caplog):
    """A gateway's error page named the address, percent-encoded twice; our error quoted it, and a log kept it."""
    caplog.set_level(logging.DEBUG)
    spellings = [
        DOUBLY,
        quote(DOUBLY, safe=""),
        TOKEN.upper(),
        "".join(f"&#{ord(char)};" for char in TOKEN),
        "".join(f"&amp;#x{ord(char):x};" for char in TOKEN),
        "".join(f"%25{ord(char):02x}" for char in TOKEN),
        "".join(f"\\u{ord(char):04X}" for char in TOKEN),
        "".join(f"\\\\x{ord(char):02x}" for char in TOKEN),
    ]
    for spelling in spellings:
        refused = await failure_of(client(FakeApi(reply(500, f"no luck with {spelling}".encode()))))

        assert refused.message == "the API did not say why"


@pytest.mark.anyio
async def test_a_body_that_unfolds_for_ever_is_not_quoted():
    """`%2525…` gains one level a round: who unfolded all of 64 KB would hold the event loop for a minute."""
    refused = await failure_of(client(FakeApi(reply(500, b"%" + b"25" * 30_000 + b"41"))))

    assert refused.message == "the API did not say why"


@pytest.mark.anyio
async def test_what_holds_no_token_is_quoted_as_it_came():
    """Percent signs, entities and backslashes alone hide nothing."""
    for said in ("100 % sure", "Tom &amp; Jerry", r"C:\temp", "&#99999999999999999999;", "&#" + "9" * 5000):
        refused = await failure_of(client(FakeApi(reply(500, said.encode()))))

        assert refused.message == said[:512]


@pytest.mark.anyio
@pytest.mark.parametrize(("http_code", "as_json"), [(200, True), (400, True), (400, False)])
async def test_what_is_not_quoted_is_understood_all_the_same(http_code, as_json):
    """An instance that starts was refused for good where its words named the address, too."""
    said = f"instance in starting process: {DOUBLY}"
    body = json.dumps({"message": said}) if as_json else said
    refused = await failure_of(client(FakeApi(reply(http_code, body.encode()))))

    assert (type(refused), refused.reason) == (errors.InstanceNotReadyError, "starting")
    assert refused.retryable
    assert TOKEN[:12] not in str(refused)


# Pages of others


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "error", "title"),
    [
        (
            reply(401, b"<!doctype html><title>Staging\n login</title>"),
            errors.AuthenticationError,
            "Staging login",
        ),
        (reply(401, b"", www_authenticate='Basic realm="Staging"'), errors.AuthenticationError, "Staging"),
        (reply(401, b"Unauthorized", www_authenticate="Negotiate"), errors.AuthenticationError, "Negotiate"),
        (
            reply(
                403,
                "<title>Доступ ограничен</title>".encode("cp1251"),
                content_type="text/html; charset=windows-1251",
            ),
            errors.AccessDeniedError,
            "Доступ ограничен",
        ),
        (reply(404, b"<html><head><TITLE lang=en>Not here</TITLE>"), errors.NotFoundError, "Not here"),
        (reply(400, b"<title>Instance starting</title>"), errors.BadRequestError, "Instance starting"),
        (reply(429, b"<title>Slow down &amp; wait</title>"), errors.RateLimitedError, "Slow down & wait"),
        (reply(502, b"\xef\xbb\xbf <title>Bad gateway</title>"), errors.ServerError, "Bad gateway"),
        (
            reply(200, b"<html><title>Welcome to Hotel Wi-Fi</title>"),
            errors.DecodeError,
            "Welcome to Hotel Wi-Fi",
        ),
    ],
)
async def test_a_page_is_told_by_its_title_and_is_not_the_apis(answer, error, title):
    """A reverse proxy wanted its own password, and the poller ended with "check the token", which was right."""
    refused = await failure_of(client(FakeApi(answer)))

    assert type(refused) is error
    assert title in str(refused)
    assert "does not know this token" not in str(refused)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "page",
    [
        f"<title>Cannot GET {DOUBLY}</title>",
        f"<title>{TOKEN}</title>",
        f"<title>{'x' * 500}{TOKEN}{'x' * 500}</title>",
        f"<title>{'x' * 500}{TOKEN}",
        "<title" * 10_000,
    ],
)
@pytest.mark.parametrize("http_code", [200, 401, 403, 404, 429, 502])
async def test_a_title_that_holds_the_token_is_not_quoted(page, http_code):
    refused = await failure_of(client(FakeApi(reply(http_code, page.encode()))))

    assert TOKEN[:12] not in f"{refused} {vars(refused)}"
    assert "page" in str(refused)


# Addresses that were pasted


@pytest.mark.parametrize(
    "address",
    [
        "https://api.green-api.com/waInstance1101000001/getIncomingStatuses/",
        "https://api.green-api.com/WAINSTANCE{{idInstance}}",
        "https://api.green-api.com/%77aInstance1101000001",
        f"https://api.green-api.com/{TOKEN}",
        f"https://api.green-api.com/x{quote(TOKEN.upper())}x/",
        f"https://api.green-api.com/{''.join(f'%{ord(char):x}' for char in TOKEN)}",
        f"https://{TOKEN}.example",
    ],
)
@pytest.mark.parametrize("as_url", [str, httpx.URL], ids=["text", "URL"])
def test_a_pasted_address_that_holds_the_token_is_refused(address, as_url):
    """The console offers a whole request to copy; `repr(client)` and every span showed what was pasted."""
    with pytest.raises(ConfigurationError, match="GREEN_API_URL") as caught:
        AsyncStatusesClient("1101000001", TOKEN, api_url=as_url(address))

    assert TOKEN not in str(caught.value).lower()


def test_an_address_with_a_path_of_its_own_is_kept():
    """A short made-up token is a word like any other."""
    assert "gateway/test" in repr(AsyncStatusesClient("1", "test", api_url="https://x.example/gateway/test/"))


# Clients that were injected


class Rebuilding(httpx.AsyncHTTPTransport):
    """A transport that sends a request of its own making."""

    def __init__(self, rebuilt):
        super().__init__()
        self._rebuilt = rebuilt

    async def handle_async_request(self, request):
        return await super().handle_async_request(self._rebuilt(request))


def with_url(url):
    """Return what makes a request anew, with another URL."""
    return lambda request: httpx.Request("GET", url(request.url), headers=request.headers)


def with_url_set(url):
    """Return what changes the request's URL in place."""

    def change(request):
        request.url = url(request.url)
        return request

    return change


KEPT = {
    "copy_with": lambda url: url.copy_with(scheme="http"),
    "copy_with fragment and query": lambda url: url.copy_with(fragment="x", query=b"minutes=7"),
    "copy_with path": lambda url: url.copy_with(path=url.path),
    "copy_with raw_path": lambda url: url.copy_with(raw_path=url.raw_path + b"&x=1"),
    "copy_set_param": lambda url: url.copy_set_param("trace", "***"),
    "join": lambda url: url.join("?minutes=9"),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "twice": lambda url: copy.deepcopy(url.copy_with(port=url.port)).copy_add_param("a", "b"),
}
LOST = {
    "URL": with_url_set(httpx.URL),
    "URL of text": with_url_set(lambda url: httpx.URL(str(url))),
    "Request": with_url(lambda url: url),
    "Request of text": with_url(str),
    "Request of a copy": with_url(lambda url: url.copy_with(fragment="x")),
}


async def shown_by(api, http_client, records):
    """Fetch once, and return whatever somebody could have read of it."""
    shown = []

    async def look(request):
        shown.extend(
            [str(request.url), repr(request.url), f"{request.url}", repr(request), repr(vars(request.url))]
        )

    http_client.event_hooks = {"request": [*http_client.event_hooks["request"], look], "response": []}
    async with http_client, client_of(api, http_client=http_client) as asking:
        try:
            shown.append(repr(await asking.fetch(minutes=5)))
        except GreenApiError as error:
            shown.append(str(error))

    assert not [text for text in (*shown, *records.messages) if api.token in text]
    return shown


@pytest.mark.anyio
@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("place", ["transport", "hook"])
async def test_a_copy_of_the_url_keeps_the_token(name, place, caplog):
    """A transport that adds a parameter sent `***` for the token, and the poller ended: "check the token"."""
    caplog.set_level(logging.DEBUG)
    change = with_url_set(KEPT[name])

    async def hook(request):
        change(request)

    async with Simulator(max_rate=None) as api:
        if place == "hook":
            http_client = httpx.AsyncClient(event_hooks={"request": [hook]})
        else:
            http_client = httpx.AsyncClient(transport=Rebuilding(change))

        shown = await shown_by(api, http_client, caplog)

    assert shown[-1] == "[]"
    assert [request.http_code for request in api.requests] == [200]


@pytest.mark.anyio
@pytest.mark.parametrize("name", LOST)
async def test_a_transport_that_sends_no_token_is_told(name, caplog):
    """What it does to the URL is its own affair; that the token is wrong is not what one wants to hear then."""
    caplog.set_level(logging.DEBUG)
    async with Simulator(max_rate=None) as api:
        *_, said = await shown_by(api, httpx.AsyncClient(transport=Rebuilding(LOST[name])), caplog)

    assert "http_client" in said
    assert "raw_path" in said
    assert CHECK_THE_TOKEN not in said
    assert [request.http_code for request in api.requests] == [401]


@pytest.mark.anyio
async def test_a_wrong_token_that_was_sent_is_told_as_before():
    async with Simulator(max_rate=None) as api, httpx.AsyncClient() as http_client:
        refused = await failure_of(client_of(api, http_client=http_client, api_token_instance="wrong"))

    assert CHECK_THE_TOKEN in str(refused)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "pickled", [lambda request: request, lambda request: request.url], ids=["request", "URL"]
)
async def test_a_hook_that_pickles_a_url_is_told_what_to_pickle(pickled):
    """A cache that pickles requests must not keep the token on a disk."""

    async def hook(request):
        pickle.dumps(pickled(request))

    async with httpx.AsyncClient(event_hooks={"request": [hook]}) as http_client:
        asking = client_of(Simulator(), http_client=http_client, api_url="http://127.0.0.1:9")
        with pytest.raises(TypeError, match=r"str\(url\)"):
            await asking.fetch()


# Tracers


@pytest.mark.anyio
async def test_the_clients_own_url_shows_no_token_to_a_tracer(caplog):
    """Datadog's tracer builds its tag `http.url` of `raw_path`, not of the text: the token went to its servers."""
    seen = []

    async def hook(request):
        seen.append(request.url.raw_path + repr(request.extensions).encode() + repr(vars(request)).encode())

    async with Simulator(max_rate=None) as api, client_of(api) as asking:
        asking.http_client.event_hooks = {"request": [hook]}
        assert await asking.fetch(minutes=5) == []

    assert seen[0].startswith(b"/waInstance1101000001/getIncomingStatuses/***?minutes=5")
    assert api.token.encode() not in seen[0]


@pytest.mark.anyio
async def test_a_log_of_headers_that_echo_the_token_is_cut(caplog):
    """httpcore logs what comes, and a `Location` that goes round a login page is encoded twice."""
    caplog.set_level(logging.DEBUG)
    async with Simulator(max_rate=None) as api, client_of(api) as asking:
        echo = quote(quote(json.dumps(api.token), safe=""), safe="").swapcase()
        api.faults.append(
            Answer("", {"Location": f"https://portal.example/?from={echo}", "X-From": echo}, 302)
        )
        with pytest.raises(errors.UnexpectedRedirectError):
            await asking.fetch()

    assert any("receive_response_headers" in text for text in caplog.messages)
    assert not [text for text in caplog.messages if api.token[8:].lower() in text.lower()]


@pytest.mark.anyio
@pytest.mark.parametrize(("http_code", "retryable"), [(407, False), (502, True)])
async def test_a_proxys_words_that_hold_the_token_are_not_quoted(http_code, retryable, monkeypatch):
    """It sees the host alone, but stands before the API's own gateway, which knows more and says so in its words."""
    words = f"HTTP/1.1 {http_code} {DOUBLY}\r\nContent-Length: 0\r\n\r\n"

    async def serve(stream):
        async with stream:
            await stream.receive()
            await stream.send(words.encode())

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, serve)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        failure = await failure_of(client(api_url="https://api.test"))
        tasks.cancel_scope.cancel()

    assert type(failure) is errors.TransportError
    assert failure.retryable is retryable
    assert failure.refused == (None if retryable else "proxy")
    assert TOKEN not in unquote(unquote(str(failure)))


@pytest.mark.anyio
async def test_a_proxy_that_refuses_is_told_with_its_variable(monkeypatch):
    async def serve(stream):
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 407 Who are you\x07?\r\nContent-Length: 0\r\n\r\n")

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, serve)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        failure = await failure_of(client(api_url="https://api.test"))
        tasks.cancel_scope.cancel()

    assert (failure.refused, failure.retryable) == ("proxy", False)
    assert "HTTPS_PROXY" in str(failure)
    assert str(failure).isprintable()
