"""The bytes of one answer, and their bounds."""

import gzip
import itertools
import tracemalloc
import zlib

import anyio
import anyio.lowlevel
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenapi_async import _turn
from greenapi_async._http.body import Body, whole_body
from greenapi_async.errors import BodyTooLargeError, DecodeError, TransportError

PLENTY = 2**20
MIB = 2**20


def feed(body, chunk):
    """Feed a chunk, with all its steps."""
    for _ in body.feed(chunk):
        pass


def content(body):
    return b"".join(body.chunks)


def received(chunks, content_encoding="", limit=PLENTY):
    body = Body(content_encoding, limit)
    for chunk in chunks:
        feed(body, chunk)

    body.finish()
    return content(body)


def cut(data, at):
    """The data in pieces, cut at these places."""
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[start:stop] for start, stop in itertools.pairwise(places)]


def bomb(size):
    """Gzip of `size` blanks, a thousandth of it on the wire."""
    packer = zlib.compressobj(wbits=31)
    blank = b" " * MIB
    return b"".join([*(packer.compress(blank) for _ in range(size // MIB)), packer.flush()])


def refused(body, chunks):
    """Whether the body turns out too large, the chunks being fed until then."""
    try:
        for chunk in chunks:
            feed(body, chunk)
    except BodyTooLargeError:
        return True

    return False


places = st.lists(st.integers(0, 10_000), max_size=8)


@given(st.binary(), places)
def test_chunks_make_the_body(data, at):
    assert received(cut(data, at)) == data


@given(st.binary(), places, st.sampled_from(["gzip", "x-gzip"]))
def test_chunks_of_gzip_make_the_unpacked_body(data, at, content_encoding):
    """The wire may cut anywhere, in the middle of the gzip header too."""
    assert received(cut(gzip.compress(data), at), content_encoding) == data


@given(st.lists(st.binary(), min_size=1, max_size=4), places)
def test_several_gzip_streams_in_a_row_are_one_body(parts, at):
    data = b"".join(gzip.compress(part) for part in parts)

    assert received(cut(data, at), "gzip") == b"".join(parts)


@pytest.mark.parametrize("at", [[], [-3], [-2, -1]])
def test_zeros_that_pad_a_gzip_stream_are_no_part_of_it(at):
    """They end with the chunk, and with it the search for another stream: it went on for ever once."""
    data = gzip.compress(b"[]") + bytes(3)

    assert received(cut(data, [len(data) + place for place in at]), "gzip") == b"[]"


@given(st.binary(min_size=1, max_size=200), st.integers(1, 200), places, st.sampled_from(["", "gzip"]))
def test_the_content_never_grows_beyond_the_limit(data, limit, at, content_encoding):
    """For every limit and every cut: all of the body within it, or the error."""
    wire = gzip.compress(data) if content_encoding else data
    body = Body(content_encoding, limit)

    too_large = refused(body, cut(wire, at))

    assert too_large == (len(data) > limit or len(wire) > limit)
    assert len(content(body)) <= limit
    assert data.startswith(content(body))
    assert too_large or content(body) == data


@pytest.mark.parametrize("content_encoding", ["", "identity"])
def test_the_limit_itself_is_allowed(content_encoding):
    assert received([b"12345", b"67890"], content_encoding, limit=10) == b"1234567890"
    with pytest.raises(BodyTooLargeError) as caught:
        received([b"12345", b"678901"], content_encoding, limit=10)
    assert caught.value.limit == 10


def test_the_limit_itself_is_allowed_unpacked():
    assert len(received([gzip.compress(b" " * 10_000)], "gzip", limit=10_000)) == 10_000
    with pytest.raises(BodyTooLargeError):
        received([gzip.compress(b" " * 10_001)], "gzip", limit=10_000)


def test_gzip_that_unpacks_to_nothing_is_bounded_on_the_wire():
    """Empty streams in a row would otherwise be read for ever."""
    empty = gzip.compress(b"")
    body = Body("gzip", 1000)

    assert refused(body, [empty] * 1000)
    assert content(body) == b""


def test_tiny_chunks_take_little_more_than_their_bytes():
    """A server may send its answer byte by byte."""
    size = MIB // 8
    body = Body("", MIB)
    tracemalloc.start()

    for _ in range(size):
        feed(body, b" ")

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(content(body)) == size
    assert peak < 1.3 * size


@pytest.mark.parametrize("chunk_size", [100, 64 * 1024, 10**9])
def test_a_gzip_bomb_stops_at_the_limit(chunk_size):
    """64 MiB wait in 64 KiB: no more than the limit is ever unpacked."""
    data = bomb(64 * MIB)
    chunks = [data[start : start + chunk_size] for start in range(0, len(data), chunk_size)]
    body = Body("gzip", MIB)
    tracemalloc.start()

    too_large = refused(body, chunks)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert too_large
    assert len(content(body)) == MIB
    assert peak < 6 * MIB


@pytest.mark.parametrize("size", [256 * 1024, 512 * 1024, 512 * 1024 + 1, MIB - 1])
def test_what_unpacks_to_much_more_is_whole(size):
    """It comes in steps of 256 KB, and a step that is just full may not be the last."""
    body = Body("gzip", MIB)
    steps = list(body.feed(gzip.compress(b" " * size)))

    body.finish()
    assert content(body) == b" " * size
    assert len(steps) >= size // (256 * 1024)


def test_a_bomb_of_many_streams_stops_as_well():
    body = Body("gzip", MIB)

    assert refused(body, [bomb(MIB) * 64])
    assert len(content(body)) == MIB


@given(st.binary(), st.integers(1, 10_000), places)
def test_gzip_that_ends_in_the_middle_was_cut_in_transport(data, missing, at):
    """Half an answer is no answer, and asking again may bring the whole."""
    wire = gzip.compress(data)
    wire = wire[: max(1, len(wire) - missing)]

    with pytest.raises(TransportError, match="cut off in the middle") as caught:
        received(cut(wire, at), "gzip")

    assert caught.value.retryable


def test_the_second_of_two_streams_must_be_whole_too():
    with pytest.raises(TransportError):
        received([gzip.compress(b"[1"), gzip.compress(b",2]")[:-1]], "gzip")


@pytest.mark.parametrize(
    "data",
    [b"[]", b"\x1f\x8b\x08", b"\x1f\x8bnonsense", gzip.compress(b"[]") + b"[]", zlib.compress(b"[]")],
    ids=["JSON", "a header only", "a header and nonsense", "something after it", "zlib"],
)
def test_what_says_it_is_gzip_and_is_not_is_an_error(data):
    with pytest.raises((DecodeError, TransportError)):
        received([data], "gzip")


def test_gzip_with_a_wrong_checksum_is_refused():
    data = bytearray(gzip.compress(b"[]"))
    data[-8] ^= 1

    with pytest.raises(DecodeError, match="gzip") as caught:
        received([bytes(data)], "gzip")

    assert caught.value.__context__ is None


@pytest.mark.parametrize("content_encoding", ["br", "deflate", "zstd", "gzip, gzip", "gzip;q=1", "gzip, br"])
def test_a_packing_that_was_not_asked_for_is_refused(content_encoding):
    """Only what can be bounded while it unpacks is asked for."""
    with pytest.raises(DecodeError, match="not requested"):
        Body(content_encoding, PLENTY)


@pytest.mark.parametrize("content_encoding", ["", "identity", "gzip"])
def test_an_empty_body_is_empty(content_encoding):
    """A 401 says gzip over nothing at all."""
    assert received([], content_encoding) == received([b"", b""], content_encoding) == b""


class OneByteEach(httpx.AsyncByteStream):
    """A body whose chunks have all arrived with one read."""

    def __init__(self, content):
        self._content = content

    async def __aiter__(self):
        for byte in self._content:
            yield bytes([byte])


@pytest.mark.anyio
@pytest.mark.parametrize("content_encoding", ["", "gzip"])
async def test_others_have_their_turn_between_tiny_chunks(content_encoding, monkeypatch):
    """A server that sent byte by byte held up the event loop for a second with every read."""
    monkeypatch.setattr(_turn, "_SECONDS", 0.0)
    content = b"[%b]" % (b" " * 1000)
    wire = gzip.compress(content, mtime=0) if content_encoding else content
    response = httpx.Response(200, headers={"content-encoding": content_encoding}, stream=OneByteEach(wire))
    turns = 0

    async with anyio.create_task_group() as tasks:

        async def other():
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        tasks.start_soon(other)
        assert await whole_body(response, PLENTY) == content
        tasks.cancel_scope.cancel()

    assert turns > 0.9 * len(wire)
