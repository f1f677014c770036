"""A response's bytes, limited as received and again when decompressed."""

import zlib
from collections.abc import Iterator
from typing import cast

import httpx

from greenapi_async._http.failures import abandon
from greenapi_async._threads import in_thread
from greenapi_async._turn import Turn
from greenapi_async.errors import BodyTooLargeError, DecodeError, TransportError

_GZIP = 16 + zlib.MAX_WBITS
_COMPRESSIONS = {"gzip", "x-gzip", "br", "deflate", "compress", "x-compress", "zstd", "dcb", "dcz"}
_STEP = 256 * 1024
_LARGE = 1024 * 1024
_LONGEST_REFUSAL = 65_536
_TINY = 4096  # Objects for a few bytes take ten times as much memory as the bytes.


class Body:
    """Collects the chunks of a body, up to `limit` bytes in total. It is fed; it does not read.

    Attributes:
        chunks: what has arrived so far, decompressed, in pieces of any size.
        room: how many more bytes may come.

    Raises:
        BodyTooLargeError: there is more, compressed or decompressed (a gzip bomb stops at the limit).
        DecodeError: the content encoding is not one we accept, or the body is not gzip.
        TransportError: the gzip stream ends in the middle.
    """

    def __init__(self, content_encoding: str, limit: int) -> None:
        self.chunks: list[bytes] = []
        self._limit = self.room = limit
        self._received = 0
        packed = _compressions(content_encoding)
        self._gzip = zlib.decompressobj(_GZIP) if packed else None

        if packed not in ([], ["gzip"], ["x-gzip"]):
            raise DecodeError("the response has a content encoding that was not requested: only gzip is")

    def feed(self, chunk: bytes) -> Iterator[None]:
        """Take the next received chunk, in steps, between which other tasks can run."""
        self._received += len(chunk)
        if self._gzip is None:
            self._keep(chunk)
        else:
            yield from self._unpack(chunk)

        if self._received > self._limit:
            raise BodyTooLargeError(self._limit)

    def finish(self) -> None:
        """Note that the stream has ended."""
        if self._gzip is not None and self._received and not self._gzip.eof:
            raise TransportError("the response was cut off in the middle")

    def _unpack(self, chunk: bytes) -> Iterator[None]:
        full = False
        while (chunk or full) and self._gzip is not None:
            if self._gzip.eof:  # A gzip body may be several gzip streams in a row, and zeros that pad it.
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    return

                self._gzip = zlib.decompressobj(_GZIP)

            try:
                unpacked = self._gzip.decompress(chunk, _STEP)
            except zlib.error:
                unpacked = None

            if unpacked is None:
                raise DecodeError("the response claims to be gzip but is not")

            self._keep(unpacked)
            full = len(unpacked) == _STEP
            chunk = self._gzip.unconsumed_tail or self._gzip.unused_data
            yield

    def _keep(self, unpacked: bytes) -> None:
        fitting = unpacked[: self.room]
        self.room -= len(fitting)
        if self.chunks and len(self.chunks[-1]) + len(fitting) <= _TINY:
            self.chunks[-1] += fitting
        else:
            self.chunks.append(fitting)

        if len(unpacked) > len(fitting):
            raise BodyTooLargeError(self._limit)


def _compressions(content_encoding: str) -> list[str]:
    """Return the compressions in a header; some servers put a charset or `none` there."""
    names = (name.strip() for name in content_encoding.split(","))
    return [name for name in names if name.partition(";")[0] in _COMPRESSIONS]


async def whole_body(response: httpx.Response, limit: int) -> bytes:
    """Return the body of a streamed response; raises what `Body` and the stream raise."""
    # A mock transport's response is already read and decompressed.
    packed = "" if response.is_stream_consumed else response.headers.get("content-encoding", "")
    body = Body(packed.lower(), limit)
    await _feed(body, response)
    if limit - body.room < _LARGE or len(body.chunks) == 1:  # A single chunk is not copied.
        return b"".join(body.chunks)

    # Joining that much releases the GIL, so the event loop keeps running.
    return await in_thread(b"".join, body.chunks)


async def refusal_body(response: httpx.Response) -> bytes:
    """Return the body of a refusal, or nothing if it cannot be read completely: half a token is not redacted."""
    try:
        return await whole_body(response, _LONGEST_REFUSAL)
    except Exception:  # noqa: BLE001 - whether httpx's, httpcore's or ours: the code alone is enough.
        return b""


async def _feed(body: Body, response: httpx.Response) -> None:
    turn = Turn()
    if response.is_stream_consumed:
        for _ in body.feed(response.content):
            await turn.pause()
        return

    chunks = aiter(cast("httpx.AsyncByteStream", response.stream))
    try:
        async for chunk in chunks:
            for _ in body.feed(chunk):
                await turn.pause()

            await turn.pause()  # One read may bring thousands of tiny chunks.
    except BaseException:
        await abandon(chunks)
        raise

    body.finish()
