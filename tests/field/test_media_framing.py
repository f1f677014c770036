"""Servers between us and a file that frame it anew, and rests that belong to something else."""

import re
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute
from clients import client_of
from media_world import JPEG, Seen, posted, tree

from greenapi_async import MediaError, TransportError
from greenapi_async.simulator import Answer, Refuse, Reset, Simulator, Truncate

pytestmark = pytest.mark.anyio

HALF = len(JPEG) // 2
ETAG = 'ETag: "a"\r\n'


@pytest.fixture
async def api():
    async with Simulator(max_rate=None) as api:
        yield api


class Origin:
    """An old server: it tells no length, ends each body by closing, and ends some too early.

    Args:
        cuts: how many bytes the bodies have, one after the other; then they are whole.
        ranges: whether it knows them.
        headers: further lines of each head.
    """

    def __init__(self, *cuts, ranges=True, headers=""):
        self.cuts = list(cuts)
        self.ranges = ranges
        self.headers = headers
        self.requests = []

    def respond(self, request):
        self.requests.append(request)
        asked = re.search(rb"(?i)\r\nrange: bytes=(\d+)-", request)
        start = int(asked[1]) if asked and self.ranges else None
        if start is not None and start >= len(JPEG):
            return f"HTTP/1.0 416 No\r\nContent-Range: bytes */{len(JPEG)}\r\n{self.headers}\r\n".encode()

        place = f"Content-Range: bytes {start}-{len(JPEG) - 1}/{len(JPEG)}\r\n" if start is not None else ""
        code = "206 Partial" if start is not None else "200 OK"
        body = JPEG[start or 0 :]
        if self.cuts:
            body = body[: self.cuts.pop(0)]
        return f"HTTP/1.0 {code}\r\n{place}{self.headers}\r\n".encode() + body


@asynccontextmanager
async def listening(respond):
    async def serve(client):
        async with client:
            request = b""
            while b"\r\n\r\n" not in request:
                request += await client.receive()
            await client.send(await respond(request))

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, serve)
        yield listener.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def served(origin, *, by_proxy=True):
    """Serve a file by the origin, behind a proxy that frames whatever comes as chunks; yields its address."""

    async def answer(request):
        return origin.respond(request)

    async with listening(answer) as port:

        async def pass_on(request):
            async with await anyio.connect_tcp("127.0.0.1", port) as server:
                await server.send(request)
                response = b"".join([chunk async for chunk in server])
            head, _, body = response.partition(b"\r\n\r\n")
            chunks = b"".join(
                b"%x\r\n%b\r\n" % (len(part), part)
                for part in (body[start : start + 65_536] for start in range(0, len(body), 65_536))
            )
            head = head.replace(b"HTTP/1.0", b"HTTP/1.1") + b"\r\nTransfer-Encoding: chunked"
            return head + b"\r\n\r\n" + chunks + b"0\r\n\r\n"

        if not by_proxy:
            yield f"http://127.0.0.1:{port}/photo"
            return

        async with listening(pass_on) as in_front:
            yield f"http://127.0.0.1:{in_front}/photo"


def saving(api, directory, **settings):
    client = client_of(api, **settings)
    return lambda status: client.save_media(status, directory, allow_loopback=True)


# Where no length was told


@pytest.mark.parametrize("by_proxy", [True, False], ids=["rechunked", "closed"])
@pytest.mark.parametrize("headers", ["", ETAG, 'ETag: W/"a"\r\n'])
@pytest.mark.parametrize("cut", [0, 1, HALF, len(JPEG)])
async def test_body_that_ends_by_closing_is_made_whole(cut, headers, by_proxy, api, tmp_path):
    """An origin died in the middle of a photo, and the proxy before it framed what came as a whole body."""
    origin = Origin(cut, headers=headers)

    async with served(origin, by_proxy=by_proxy) as url:
        path = await saving(api, tmp_path)(posted(api, downloadUrl=url))

    assert path.read_bytes() == JPEG
    assert len(origin.requests) == 2
    assert f"bytes={cut}-".encode() in origin.requests[1]
    assert len(tree(tmp_path)) == 2


async def test_server_without_ranges_is_believed(api, tmp_path):
    """It sends no length, its chunks end as they should, and there is nobody else to say how long the file is."""
    origin = Origin(ranges=False)

    async with served(origin) as url:
        path = await saving(api, tmp_path)(posted(api, downloadUrl=url))

    assert path.read_bytes() == JPEG
    assert len(origin.requests) == 2


async def test_server_without_ranges_and_chunks_is_not(api, tmp_path):
    """Nothing says that what came is all of it."""
    async with served(Origin(HALF, ranges=False), by_proxy=False) as url:
        with pytest.raises(MediaError, match="neither a length nor chunks") as caught:
            await saving(api, tmp_path)(posted(api, downloadUrl=url))

    assert caught.value.retryable
    assert not list(tmp_path.glob("*.jpg"))


async def test_server_that_tells_the_length_later_is_believed(api, tmp_path):
    """It knows no ranges, and its second response says that the first was half of it."""
    api.media_faults.extend([Truncate(framing="rechunked"), Answer(JPEG)])

    with pytest.raises(TransportError, match="truncated"):
        await saving(api, tmp_path)(posted(api))

    assert not list(tmp_path.glob("*.jpg"))


@pytest.mark.parametrize(
    "fault", [Refuse(500), Refuse(404), Refuse(403), Reset(), Answer("", http_code=302)], ids=str
)
async def test_other_response_for_the_rest_is_retried(fault, api, tmp_path):
    """Half of it is there, so the other half is, too."""
    status, save = posted(api, late=7200), saving(api, tmp_path)
    api.media_faults.extend([Truncate(framing="rechunked"), fault])

    with pytest.raises((MediaError, TransportError)) as caught:
        await save(status)

    assert caught.value.retryable
    assert not list(tmp_path.glob("*.jpg"))
    assert (await save(status)).read_bytes() == JPEG


async def test_rest_that_is_cut_as_well_is_gone_on_with(api, tmp_path):
    """Again and again, but each time a little farther."""
    origin = Origin(HALF, 100, 200, headers=ETAG)

    async with served(origin) as url:
        path = await saving(api, tmp_path, retries=2)(posted(api, downloadUrl=url))

    assert path.read_bytes() == JPEG
    assert f"bytes={HALF + 100}-".encode() in origin.requests[2]


@pytest.mark.parametrize("size", [HALF - 1, HALF + 1, len(JPEG)])
async def test_other_length_is_another_file(size, api, tmp_path):
    """416 says how long the file is."""
    api.media_faults.extend(
        [Truncate(framing="rechunked"), Answer(b"", {"Content-Range": f"bytes */{size}"}, 416)]
    )

    with pytest.raises(MediaError, match="changed") as caught:
        await saving(api, tmp_path)(posted(api))

    assert caught.value.retryable
    assert not list(tmp_path.glob("*.jpg"))


async def test_bound_holds_for_the_rest(api, tmp_path):
    """And for what its head says."""
    api.media_faults.append(Truncate(framing="rechunked"))

    with pytest.raises(MediaError, match="larger than"):
        await client_of(api).save_media(posted(api), tmp_path, allow_loopback=True, max_bytes=HALF + 10)


# Rests of something else


def rest(start, total, etag):
    body = JPEG[start:]
    headers = {"Content-Range": f"bytes {start}-{total - 1}/{total}"}
    return Answer(body, headers | ({"ETag": etag} if etag else {}), 206)


@pytest.mark.parametrize("etag", [None, '"other"', 'W/"other"'])
async def test_rest_with_another_etag_is_not_put_to_what_came(etag, api, tmp_path):
    """Within one call, too."""
    api.media_faults.extend([Truncate(framing="rechunked"), rest(HALF, len(JPEG), etag)])

    with pytest.raises(MediaError, match="changed") as caught:
        await saving(api, tmp_path)(posted(api))

    assert caught.value.retryable
    assert not list(tmp_path.glob("*.jpg"))


async def test_rest_with_another_total_is_not_put_to_a_part(api, tmp_path):
    """The ETag of the day, or of the inode: the server has another file under it by now."""
    status, save = posted(api), saving(api, tmp_path, retries=1)
    api.media_faults.append(Truncate())
    with pytest.raises(TransportError):
        await saving(api, tmp_path)(status)
    [etag] = tmp_path.glob("*.etag")
    other, seen = rest(HALF, len(JPEG) + 7, etag.read_text().splitlines()[0]), Seen()
    api.media_faults.extend([Answer(other.body + b"x" * 7, other.headers, 206), seen])

    path = await save(status)

    assert seen.requests[0].header("Range") == ""
    assert path.read_bytes() == JPEG


async def test_part_that_is_whole_already_is_taken_as_it_is(api, tmp_path):
    """A process was killed after the last byte: nothing has to come again."""
    status, save, seen = posted(api), saving(api, tmp_path), Seen()
    api.media_faults.append(Truncate())
    with pytest.raises(TransportError):
        await save(status)
    [part] = tmp_path.glob("*.part")
    part.write_bytes(JPEG)
    api.media_faults.append(seen)

    path = await save(status)

    assert path.read_bytes() == JPEG
    assert [request.header("Range") for request in seen.requests] == [f"bytes={len(JPEG)}-"]
