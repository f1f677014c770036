"""The simulator over real sockets."""

import json
import math
import re
import struct
import time

import anyio
import httpx
import pytest
from versions import ANYIO

from greenapi_async.simulator import (
    Answer,
    Bomb,
    Delay,
    Drip,
    Endless,
    Fault,
    Media,
    Refuse,
    Reset,
    Simulator,
    Truncate,
)

pytestmark = pytest.mark.anyio


def target(api):
    return f"/waInstance{api.id_instance}/getIncomingStatuses/{api.token}"


def address(api):
    return api.url + target(api)


def http(**arguments):
    return httpx.AsyncClient(**{"trust_env": False, "timeout": 5} | arguments)


async def connect(api):
    url = httpx.URL(api.url)
    return await anyio.connect_tcp(url.host, url.port)


async def read_all(stream):
    parts = []

    with anyio.fail_after(5):
        while True:
            try:
                parts.append(await stream.receive())
            except anyio.EndOfStream:
                return b"".join(parts)


async def settle(api, connections=0):
    with anyio.fail_after(5):
        while api.connections != connections:
            await anyio.sleep(0.001)


# Serving


async def test_statuses_come_over_one_connection():
    async with Simulator(max_rate=None) as api, http() as client:
        item = api.post(text="Прекрасное утро! 🌅")

        answers = [await client.get(address(api), params={"minutes": 5}) for _ in range(3)]

        assert [answer.json() for answer in answers] == [[item]] * 3
        assert answers[0].http_version == "HTTP/1.1"
        assert api.connections == 1

    assert api.connections == 0


async def test_the_answer_is_decoded_where_it_is_gzipped():
    async with Simulator() as api, http() as client:
        item = api.post("image")

        answer = await client.get(address(api))

        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.json() == [item]


@pytest.mark.parametrize("kind", ["image", "video", "audio"])
async def test_media_is_downloaded_and_resumed(kind):
    async with Simulator() as api, http() as client:
        url = api.post(kind)["downloadUrl"]

        whole = await client.get(url)
        rest = await client.get(url, headers={"Range": "bytes=1000-"})
        head = await client.head(url)

        assert rest.http_version == "HTTP/1.1"
        assert rest.status_code == 206
        assert rest.content == whole.content[1000:]
        assert rest.headers["Content-Range"] == f"bytes 1000-{len(whole.content) - 1}/{len(whole.content)}"
        assert head.headers["Content-Length"] == str(len(whole.content))
        assert api.connections == 1


async def test_codes_without_a_standard_name_are_sent():
    async with Simulator(max_rate=None) as api, http() as client:
        api.faults.extend([Refuse(466), Refuse(499)])

        codes = [(await client.get(address(api))).status_code for _ in range(3)]

        assert codes == [466, 499, 200]


async def test_pipelined_requests_are_answered_in_order():
    async with Simulator(max_rate=None) as api, await connect(api) as stream:
        request = f"GET {target(api)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        last = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        api.faults.extend([None, Refuse(502)])

        await stream.send(request + request + last)
        codes = re.findall(rb"HTTP/1.1 (\d+)", await read_all(stream))

        assert codes == [b"200", b"502", b"200"]


async def test_http_1_0_is_answered_and_closed():
    async with Simulator() as api, await connect(api) as stream:
        await stream.send(f"GET {target(api)} HTTP/1.0\r\n\r\n".encode())

        answer = await read_all(stream)

        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\n[]")


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 65_536, b"431"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65600\r\n\r\n" + b"x" * 65_600, b"413"),
    ],
)
async def test_a_bad_request_is_refused_and_the_connection_closed(request_, code):
    async with Simulator() as api, await connect(api) as stream:
        await stream.send(request_)

        answer = await read_all(stream)

        assert answer.startswith(b"HTTP/1.1 " + code)
        await settle(api)


async def test_a_request_with_a_body_is_read_and_the_connection_kept():
    async with Simulator() as api, http() as client:
        codes = [(await client.post(address(api), content=b"x" * 60_000)).status_code for _ in range(2)]

        assert codes == [404, 404]
        assert api.connections == 1


async def test_head_of_another_path_has_no_body():
    async with Simulator() as api, http() as client:
        assert (await client.head(address(api))).status_code == 404
        assert (await client.get(address(api))).json() == []
        assert api.connections == 1


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"]
)
async def test_a_client_that_goes_away_is_no_error(sent):
    async with Simulator() as api, http() as client:
        stream = await connect(api)
        await settle(api, 1)
        await stream.send(sent) if sent else None

        await stream.aclose()
        await settle(api)

        assert (await client.get(address(api))).status_code == 200


async def test_a_thousand_requests_are_no_burden():
    """Tests of long polling make ten thousand; the bound leaves room for a slow machine."""
    async with Simulator(max_rate=None) as api, await connect(api) as stream:
        request = f"GET {target(api)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        begun = time.perf_counter()

        for _ in range(1000):
            await stream.send(request)
            await stream.receive()

        assert len(api.requests) == 1000
        assert time.perf_counter() - begun < 10


# Starting and stopping


@pytest.mark.parametrize(
    ("host", "begin"),
    [("127.0.0.1", "http://127.0.0.1:"), ("localhost", "http://localhost:"), ("::1", "http://[::1]:")],
)
async def test_every_loopback_host_serves(host, begin):
    try:
        async with Simulator(host=host, base_path="/v3") as api, http() as client:
            assert api.url.startswith(begin)
            assert api.url.endswith("/v3")
            assert (await client.get(address(api))).status_code == 200
    except OSError:
        pytest.skip("this machine has no such address")


async def test_leaving_closes_every_connection_and_the_port():
    async with Simulator() as api:
        idle = await connect(api)
        waiting = await connect(api)
        api.faults.append(Delay(math.inf))
        await waiting.send(f"GET {target(api)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await settle(api, 2)

    assert api.connections == 0
    for stream in (idle, waiting):
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()
        await stream.aclose()
    with pytest.raises(OSError, match="connect"):
        await connect(api)


async def test_entered_again_it_serves_the_same_feed_at_the_same_address():
    """That is how a test takes the API down for a while."""
    api = Simulator(max_rate=None)
    async with api, http() as client:
        url = api.url
        item = api.post()
        await client.get(address(api))

    async with api, http() as client:
        assert api.url == url
        assert (await client.get(address(api))).json() == [item]


async def test_what_the_body_raises_comes_out_as_it_is():
    with pytest.raises(KeyError, match="mine"):
        async with Simulator():
            raise KeyError("mine")


async def test_cancellation_passes():
    with anyio.move_on_after(0.01) as scope:
        async with Simulator():
            await anyio.sleep_forever()

    assert scope.cancelled_caught


# Faults of sending


async def test_delay_waits_and_then_does_what_follows():
    async with Simulator() as api, http() as client:
        api.faults.append(Delay(0.05, Refuse(503)))
        begun = anyio.current_time()

        answer = await client.get(address(api))

        assert answer.status_code == 503
        assert anyio.current_time() - begun >= 0.05


async def test_drip_sends_a_byte_at_a_time():
    async with Simulator() as api, await connect(api) as stream:
        api.faults.append(Drip(seconds_per_byte=0.01))
        await stream.send(f"GET {target(api)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())

        head = await stream.receive()
        parts = [await stream.receive(), await stream.receive()]

        assert head.endswith(b"\r\n\r\n")
        assert parts == [b"[", b"]"]


async def test_drip_lasts_until_the_client_goes_away():
    async with Simulator() as api, http(timeout=httpx.Timeout(5, read=0.05)) as client:
        api.faults.append(Delay(0, Drip(seconds_per_byte=0.2)))

        with pytest.raises(httpx.ReadTimeout):
            await client.get(address(api))

        await settle(api)


# Before 4.16 anyio told an asyncio program of a reset as if it were an end.
RESET = anyio.BrokenResourceError if ANYIO >= (4, 16) else (anyio.BrokenResourceError, anyio.EndOfStream)


@pytest.mark.parametrize("after_headers", [False, True])
async def test_reset_is_a_real_reset(after_headers):
    async with Simulator() as api, await connect(api) as stream:
        api.faults.append(Reset(after_headers=after_headers))
        await stream.send(f"GET {target(api)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

        head = await stream.receive() if after_headers else b""

        assert head.endswith(b"\r\n\r\n" if after_headers else b"")
        with pytest.raises(RESET) as caught:
            await stream.receive()
        assert ANYIO < (4, 16) or isinstance(caught.value.__cause__, ConnectionResetError)
        await settle(api)


@pytest.mark.parametrize(("keep", "kept"), [(0.5, 5), (0.0, 0), (0.95, 9)])
async def test_truncate_promises_more_than_it_sends(keep, kept):
    async with Simulator() as api, await connect(api) as stream:
        api.media["file"] = Media(content=b"0123456789", content_type="video/mp4")
        api.media_faults.append(Truncate(keep))
        await stream.send(b"GET /media/file HTTP/1.1\r\nHost: x\r\n\r\n")

        head, _, body = (await read_all(stream)).partition(b"\r\n\r\n")

        assert b"Content-Length: 10" in head
        assert body == b"0123456789"[:kept]


async def test_a_truncated_answer_is_a_clients_protocol_error():
    async with Simulator() as api, http() as client:
        api.faults.append(Truncate())

        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(address(api))


async def test_a_rechunked_body_looks_whole():
    async with Simulator() as api, http() as client:
        api.media["file"] = Media(content=b"0123456789", content_type="video/mp4")
        api.media_faults.append(Truncate(framing="rechunked"))

        response = await client.get(f"{api.origin}/media/file")

        assert response.content == b"01234"
        assert response.headers["Transfer-Encoding"] == "chunked"


@pytest.mark.parametrize("what", ["headers", "body"])
async def test_endless_sends_until_the_client_goes_away(what):
    async with Simulator() as api, await connect(api) as stream:
        api.faults.append(Endless(what))
        await stream.send(f"GET {target(api)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

        received = b""
        while len(received) < 1_000_000:
            received += await stream.receive()

        assert (b"\r\n\r\n" in received) == (what == "body")
        await stream.aclose()
        await settle(api)


async def test_a_bomb_goes_off_in_the_client():
    async with Simulator() as api, http() as client:
        api.faults.append(Bomb(2**20))

        answer = await client.get(address(api))

        assert len(answer.content) == 2**20
        assert answer.json() == []


@pytest.mark.parametrize(
    ("headers", "body"),
    [({"Content-Length": "9"}, b"[]"), ({"Content-Length": "1"}, b"[]"), ({"Age": "7"}, b"[]")],
)
async def test_headers_may_lie(headers, body):
    """A Content-Length that does not fit ends the connection."""
    async with Simulator() as api, await connect(api) as stream:
        api.faults.append(Answer([], headers))
        await stream.send(f"GET {target(api)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())

        head, _, got = (await read_all(stream)).partition(b"\r\n\r\n")

        assert got == body
        for name, value in headers.items():
            assert f"{name}: {value}".encode() in head


async def test_an_answer_without_a_length_is_chunked():
    async with Simulator() as api, http() as client:
        api.faults.append(Answer([1], {"Content-Length": None, "Date": None}))

        answer = await client.get(address(api))

        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert "Date" not in answer.headers
        assert answer.json() == [1]


async def test_an_answer_that_cannot_be_sent_says_so():
    async with Simulator() as api, http() as client:
        api.faults.append(Answer([], {"X": "a\r\nb"}))

        answer = await client.get(address(api))

        assert answer.status_code == 500
        assert answer.text.startswith("The simulator cannot send this response: ")


async def test_a_fault_of_ones_own_is_one_small_class():
    class Garbage(Fault):
        async def send(self, wire):
            await wire.send(struct.pack("!I", 0xDEADBEEF))
            wire.close()

    async with Simulator() as api, await connect(api) as stream:
        api.faults.append(Garbage())
        await stream.send(f"GET {target(api)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

        assert await read_all(stream) == b"\xde\xad\xbe\xef"


async def test_error_json_echoes_the_token():
    async with Simulator() as api, http() as client:
        body = json.loads((await client.get(address(api), params={"minutes": "0"})).content)

        assert body["path"] == target(api)
