"""The canary: whatever happens, the token is nowhere that anybody could print, log, pickle or trace."""

import asyncio
import html
import json
import logging
import pickle
import re
import traceback
from urllib.parse import quote, unquote

import anyio
import httpx
import pytest
from clients import client_of
from loopback import connect_proxy, plain_proxy, trusting_context
from media_world import Raw
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from greenapi_async import AsyncStatusesClient, ConfigurationError, GreenApiError, cli, to_dict
from greenapi_async._api.token import Secret
from greenapi_async.simulator import (
    Answer,
    Delay,
    Drip,
    Endless,
    Refuse,
    Reset,
    Simulator,
    Truncate,
)

TOKEN = "canary/+d75b3a66374942c5b3c019c698abc2067e151558acbd412345"
SPELLINGS = {
    TOKEN,
    quote(TOKEN, safe=""),
    quote(TOKEN),
    quote(TOKEN, safe="").lower(),
    json.dumps(TOKEN)[1:-1],
}
ECHO = f"/waInstance1101000001/getIncomingStatuses/{TOKEN}?minutes=5"
ENCODED_ECHO = f"https://portal.example/?from={quote(ECHO, safe='')}"

# What nobody would look for, and a gateway or a login page does write.
ODD = {
    "doubly percent-encoded": quote(quote(TOKEN, safe=""), safe=""),
    "percent-encoded four times": quote(quote(quote(quote(TOKEN, safe=""), safe=""), safe=""), safe=""),
    "percent-encoded throughout": "".join(f"%{ord(char):02x}" for char in TOKEN),
    "in HTML's decimal": "".join(f"&#{ord(char)};" for char in TOKEN),
    "in HTML's hexadecimal": "".join(f"&#x{ord(char):X};" for char in TOKEN),
    "in HTML of HTML": "".join(f"&amp;#{ord(char)};" for char in TOKEN),
    "in JSON's escapes": "".join(f"\\u{ord(char):04x}" for char in TOKEN),
    "in Python's escapes": "".join(f"\\x{ord(char):02x}" for char in TOKEN),
    "in upper case": TOKEN.upper(),
    "in JSON in HTML in percent": quote(json.dumps(TOKEN)).replace("%", "&#37;"),
}

FAULTS = {
    "success": None,
    "echoed in an array": Answer(json.dumps([{"path": ECHO}, TOKEN, {"message": ENCODED_ECHO}])),
    "echoed in an object": Answer(json.dumps({"reason": f"Cannot GET {ECHO}"})),
    "echoed in a page": Answer(f"<html>{ECHO}</html>"),
    "echoed in half a JSON": Answer(f'[{{"path": "{ECHO}"'),
    "echoed in headers": Answer("[]", {"X-Request-Path": quote(ECHO), "Set-Cookie": f"t={quote(TOKEN)}"}),
    "redirect": Answer("", {"Location": quote(ECHO)}, 302),
    "redirect elsewhere": Answer("", {"Location": ENCODED_ECHO}, 301),
    "broken header": Answer("[]", {"Age": f"x {quote(TOKEN)}"}),
    **{
        f"refused with {code}": Refuse(code)
        for code in (400, 401, 403, 404, 429, 466, 499, 500, 502, 503, 504)
    },
    "refused in plain text": Refuse(500, f"no luck with {ECHO} and {quote(TOKEN, safe='')}"),
    **{
        f"{place}, {name}": fault
        for name, odd in ODD.items()
        for place, fault in {
            "refused in plain text": Refuse(500, f"no luck with {odd}"),
            "refused in JSON": Refuse(400, {"message": f"no luck with {odd}"}),
            "refused in raw JSON": Refuse(404, f'{{"message": "no luck with {odd}"}}'.encode()),
            "quota": Refuse(466, {"invokeStatus": {"description": odd, "method": odd}}),
            "a page's title": Refuse(502, f"<html><title>{odd}</title></html>"),
            "a login page's title": Refuse(401, f"<html><title>Log in to {odd}</title></html>"),
            "a login": Answer("", {"WWW-Authenticate": f'Basic realm="{odd}"'}, 401),
            "a portal's title": Answer(f"<html><title>{odd}</title>"),
            "a reason": Answer(json.dumps({"reason": odd})),
            "a Location": Answer("", {"Location": f"https://x.example/?from={odd}"}, 302),
            "a Location's host": Answer("", {"Location": f"https://{odd}.example/"}, 302),
            "a header": Answer("[]", {"X-Request-Path": odd}),
            "a broken header": Raw(f"HTTP/1.1 200 OK\r\nAge {odd}: x\r\n\r\n".encode()),
            "a reason phrase": Raw(f"HTTP/1.1 500 {odd}\r\nContent-Length: 0\r\n\r\n".encode()),
        }.items()
    },
    "reset": Reset(),
    "reset after headers": Reset(after_headers=True),
    "truncated": Truncate(),
    "a byte a second": Drip(),
    "too slow": Delay(5.0),
    "endless body": Endless(),
    "endless headers": Endless("headers"),
}


def said_about(error):
    """Everything that a program could show of an error and what led to it."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield str(error)
        yield repr(error)
        yield repr(vars(error))
        yield "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        if isinstance(error, GreenApiError):
            yield repr(pickle.dumps(error))
            assert error.__cause__ is None
            assert error.__context__ is None
        error = error.__cause__ or error.__context__


def assert_clean(*texts):
    """No text holds the token in any spelling, be it decoded ever so often."""
    for text in texts:
        assert not [spelling for spelling in SPELLINGS if spelling in text], text
        for _ in range(6):
            assert TOKEN.lower() not in text.lower()
            text = html.unescape(unquote(re.sub(r"\\\\*(?:x|u00)(..)", r"%\1", text)))  # noqa: PLW2901 - level by level.


@pytest.fixture
def records(caplog):
    """Every record of every logger, as it would be printed."""
    caplog.set_level(logging.DEBUG)
    return lambda: [logging.Formatter("%(name)s %(message)s").format(record) for record in caplog.records]


def canary_client(api, **options):
    """A client that soon gives up, with the canary for a token, whatever the simulator's is."""
    usual = {"api_token_instance": TOKEN, "timeout": 0.5, "max_body": 100_000}
    return client_of(api, **usual | options)


@pytest.mark.anyio
@pytest.mark.parametrize("name", FAULTS)
async def test_token_is_nowhere_whatever_the_answer(name, records):
    """Success and every failure: in no log, error, cause, traceback with locals, repr or status."""
    said = []

    async with Simulator(token=TOKEN, max_rate=None) as api, canary_client(api) as client:
        api.post("text", text="hello")
        api.faults.extend([FAULTS[name]] * 2)
        poller = client.poll(on_event=lambda event: said.append(repr(event)))
        for question in (lambda: client.fetch(minutes=5), poller.poll_once):
            try:
                answer = await question()
            except GreenApiError as error:
                said += said_about(error)
            else:
                statuses = answer if isinstance(answer, list) else answer.statuses
                said += [repr(answer), *(json.dumps(to_dict(status)) for status in statuses)]

        said += [repr(client), repr(vars(client)), repr(poller), repr(vars(poller)), repr(poller.health)]

    assert [request.minutes for request in api.requests][:1] == [5]
    assert said
    assert_clean(*said, *records())


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["success", "redirect", "refused with 404", "reset", "too slow"])
async def test_token_is_nowhere_through_a_plain_proxy(name, records):
    """Such a proxy gets the whole URL in the request line: the token is on that wire, and nowhere else."""
    async with Simulator(token=TOKEN, max_rate=None) as api, plain_proxy() as url:
        said = await _said_through(httpx.AsyncClient(proxy=url), api, api.url, name)

    assert_clean(*said, *records())


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["success", "redirect", "refused with 404", "reset", "too slow"])
async def test_token_is_nowhere_through_a_connect_proxy(name, records):
    """Such a proxy passes TLS on, and sees nothing but the host."""
    async with Simulator(token=TOKEN, max_rate=None) as api, connect_proxy() as url:
        http_client = httpx.AsyncClient(proxy=url, verify=trusting_context())
        said = await _said_through(http_client, api, f"https://localhost:{httpx.URL(api.url).port}", name)

    assert_clean(*said, *records())


async def _said_through(http_client, api, api_url, name):
    api.post("text", text="hello")
    api.faults.append(FAULTS[name])
    async with http_client:
        try:
            statuses = await canary_client(api, http_client=http_client, api_url=api_url).fetch(minutes=5)
        except GreenApiError as error:
            said = list(said_about(error))
        else:
            said = list(map(repr, statuses))

    assert said
    assert len(api.requests) == 1
    return said


@pytest.mark.anyio
@pytest.mark.parametrize("through_proxy", [False, True])
async def test_token_is_nowhere_when_a_caller_gives_up(through_proxy, records):
    """A timeout of the caller's own carries the cancellation's traceback, and that passes through httpx."""
    said = []

    async with (
        Simulator(token=TOKEN, max_rate=None) as api,
        plain_proxy() as url,
        httpx.AsyncClient(proxy=url if through_proxy else None, trust_env=False) as http_client,
    ):
        api.faults.append(Delay(2.0))
        client = canary_client(api, http_client=http_client, timeout=5.0)
        try:
            with anyio.fail_after(0.2):
                await _noting_the_cancellation(client, said)
        except TimeoutError as error:
            said += said_about(error)

    assert len(said) > 4
    assert_clean(*said, *records())


@pytest.mark.anyio
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.75, 0.9, 0.99])
async def test_half_a_token_is_nowhere(kept):
    """A refusal cut in the middle of the echoed token is not quoted at all."""
    async with Simulator(token="0123456789abcdef" * 4, max_rate=None) as api:
        api.faults.append(Truncate(keep=kept))
        client = AsyncStatusesClient(api.id_instance, api.token, api_url=f"{api.url}/wrong", retries=0)
        async with client:
            with pytest.raises(GreenApiError) as caught:
                await client.fetch()

    assert "01234567" not in str(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_token_is_nowhere_in_what_is_no_error_of_ours(error):
    """A Ctrl-C or a bug below passes through with a clean traceback."""

    class Broken(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            target = request.url.raw_path
            raise error(len(target))

    async def main():
        async with httpx.AsyncClient(transport=Broken()) as http_client:
            await AsyncStatusesClient("1", TOKEN, http_client=http_client).fetch()

    with pytest.raises(error) as caught:
        anyio.run(main, backend="trio")

    assert_clean(*said_about(caught.value))


async def _noting_the_cancellation(client, said):
    try:
        await client.fetch()
    except BaseException as error:
        said += said_about(error)
        raise


@pytest.mark.parametrize(
    "arguments",
    [
        {"id_instance": "x"},
        {"api_url": "ftp://x"},
        {"timeout": 0},
        {"api_token_instance": f"{TOKEN}\n"},
        {"api_token_instance": f" {TOKEN}"},
    ],
    ids=str,
)
def test_token_is_nowhere_in_a_configuration_error(arguments):
    """A mistake in another argument must not show the right token, nor a nearly right one."""
    with pytest.raises(ConfigurationError) as caught:
        AsyncStatusesClient(**{"id_instance": "1", "api_token_instance": TOKEN} | arguments)

    frames = list(traceback.walk_tb(caught.value.__traceback__))[1:]
    shown = [repr(frame.f_locals) for frame, _ in frames]
    assert_clean(str(caught.value), repr(caught.value), repr(pickle.dumps(caught.value)), *shown)


@pytest.mark.parametrize(
    "arguments", [{"api_url": f"https://api.green-api.com/{ECHO}"}, {"id_instance": TOKEN}]
)
def test_message_does_not_repeat_what_was_wrong(arguments):
    """Whoever pastes the whole address, or swaps id and token, is told so without it."""
    with pytest.raises(ConfigurationError) as caught:
        AsyncStatusesClient(**{"id_instance": "1", "api_token_instance": TOKEN} | arguments)

    assert_clean(str(caught.value), repr(caught.value), repr(pickle.dumps(caught.value)))


def test_token_is_nowhere_when_the_environment_is_wrong(monkeypatch, tmp_path):
    """The same for what `from_env` reads."""
    (tmp_path / "token").write_text(TOKEN)
    monkeypatch.setenv("GREEN_API_ID_INSTANCE", "not digits")
    monkeypatch.setenv("GREEN_API_TOKEN_INSTANCE_FILE", str(tmp_path / "token"))

    with pytest.raises(ConfigurationError) as caught:
        AsyncStatusesClient.from_env()

    assert_clean(*said_about_locals(caught.value))


def said_about_locals(error):
    """What a traceback with locals shows below the test's own frame, which holds the token on purpose."""
    error.__traceback__ = error.__traceback__.tb_next
    return list(said_about(error))


def test_secret_does_not_print_or_pickle():
    """The type that holds it gives it to those who ask by name."""
    secret = Secret(TOKEN)

    assert f"{secret} {secret!r}" == "*** ***"
    assert secret.reveal() == TOKEN
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(secret)


def test_logs_of_others_are_left_as_they_are(caplog):
    """Only what holds a token is rewritten: the template and the arguments of other records stay."""
    caplog.set_level(logging.INFO)
    httpx_logger = logging.getLogger("httpx")

    async def main():
        async with Simulator(max_rate=None) as api, canary_client(api) as client:
            httpx_logger.info("plain %s", "argument")
            with pytest.raises(GreenApiError):
                await client.fetch()

    asyncio.run(main())

    assert next(record.args for record in caplog.records if record.name == "httpx") == ("argument",)


@pytest.fixture
def spans():
    """What OpenTelemetry's own instrumentation of httpx would export."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    HTTPXClientInstrumentor().instrument(tracer_provider=provider)
    yield lambda: [span.to_json() for span in exporter.get_finished_spans()]
    HTTPXClientInstrumentor().uninstrument()


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["success", "redirect", "refused with 404", "reset", "too slow"])
async def test_token_is_nowhere_in_open_telemetry(name, spans, records):
    """A span has the request's URL among its attributes, and leaves for somebody else's server."""
    async with Simulator(token=TOKEN, max_rate=None) as api:
        said = await _said_through(httpx.AsyncClient(), api, api.url, name)

    assert any("getIncomingStatuses/***" in span for span in spans())
    assert_clean(*said, *spans(), *records())


@pytest.mark.anyio
async def test_token_is_nowhere_in_what_is_kept(tmp_path, records):
    """Neither the store's file nor what is saved of a status holds it, though the API sent it as an id."""
    async with Simulator(token=TOKEN, max_rate=None) as api, canary_client(api) as client:
        photo = api.post("image") | {"idMessage": ECHO, "caption": ENCODED_ECHO, "senderId": TOKEN}
        api.faults.append(Answer(json.dumps([photo])))
        async for status in client.poll(store=tmp_path / "seen.db"):
            await client.save_media(status, tmp_path / "photos", allow_loopback=True)
            break

    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in kept} == {".db", ".jpg", ".json"}
    assert_clean(*map(str, kept), *(path.read_bytes().decode(errors="replace") for path in kept), *records())
    assert not [
        spelling for request in api.requests[1:] for spelling in SPELLINGS if spelling in repr(request)
    ]


@pytest.mark.parametrize("name", [name for name in FAULTS if ", " not in name or "doubly" in name])
def test_token_is_nowhere_in_what_the_command_prints(name, monkeypatch, capsys, records):
    """Whatever the answer, in words and as JSON."""
    with Simulator(token=TOKEN, max_rate=None) as api:
        for variable, value in api.env.items():
            monkeypatch.setenv(variable, value)
        for setting, value in {"retries": 0, "timeout": 0.5, "max_body": 100_000}.items():
            monkeypatch.setitem(AsyncStatusesClient.__init__.__kwdefaults__, setting, value)
        api.post("text", text="hello")
        api.faults.extend([FAULTS[name]] * 2)

        for argv in (["fetch"], ["fetch", "--json"]):
            cli.main(argv)

    assert len(api.requests) == 2
    assert_clean(*capsys.readouterr(), *records())
