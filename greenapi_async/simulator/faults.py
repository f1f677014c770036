"""What can go wrong with an answer, one small class each.

A new fault is a subclass of `Fault` with the one method that it changes: `ask`, `answer` or `send`.
"""

import re
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, Protocol

import anyio
import attrs

from greenapi_async.simulator._json import decode, encode
from greenapi_async.simulator._messages import JSON, TEXT, Request, Response, replace_headers, response
from greenapi_async.simulator._refusals import refusal

_CONTENT_LENGTH = re.compile(rb"(?i)\r\ncontent-length: \d+")


class Wire(Protocol):
    """The connection that an answer goes out on, and the answer as bytes."""

    head: bytes
    body: bytes

    async def send(self, data: bytes) -> None:
        """Send these bytes as they are."""

    def close(self) -> None:
        """Close the connection when the fault is through."""

    def reset(self) -> None:
        """Close the connection when the fault is through, with a TCP RST in place of a FIN."""


@attrs.frozen(kw_only=True)
class Exchange:
    """The request that came, its regular answer, and the simulator's clock."""

    request: Request
    regular: Response
    now: float


@attrs.frozen
class Fault:
    """Change nothing; the base of all faults."""

    def ask(self, request: Request) -> Request:
        """Return the request that is answered in place of the one that came."""
        return request

    def answer(self, exchange: Exchange) -> Response:
        """Return the answer that is sent in place of the regular one."""
        return exchange.regular

    async def send(self, wire: Wire) -> None:
        """Send the answer. The connection is kept for the next request, unless `wire` was closed."""
        await wire.send(wire.head + wire.body)


@attrs.frozen
class Refuse(Fault):
    """Refuse with the API's real answer for the code.

    `body` replaces that answer's: text, bytes or a JSON object; `content_type` its Content-Type.
    """

    code: int
    body: str | bytes | Mapping[str, Any] | None = None
    content_type: str | None = None

    def answer(self, exchange: Exchange) -> Response:
        """Build the refusal."""
        real = refusal(self.code, path=exchange.request.path, now=exchange.now)
        changes: dict[str, str | None] = {}
        body = real.body

        if self.body is not None:
            body, changes["Content-Type"] = _encoded(self.body)
            changes["Content-Length"] = str(len(body))

        if self.content_type is not None:
            changes["Content-Type"] = self.content_type

        return Response(self.code, replace_headers(real.headers, changes), body)


@attrs.frozen
class Answer(Fault):
    """Answer with this body: text or bytes as they are, anything else as JSON (None is `null`).

    `headers` replace the usual ones or add to them; a value of None removes the header.
    """

    body: Any
    headers: Mapping[str, str | None] = attrs.field(factory=dict)
    http_code: int = 200

    def answer(self, exchange: Exchange) -> Response:
        """Build the answer."""
        body = _encoded(self.body)[0]
        usual = response(self.http_code, body, content_type=JSON, now=exchange.now)

        return attrs.evolve(usual, headers=replace_headers(usual.headers, dict(self.headers)))


@attrs.frozen
class Spoil(Fault):
    """Answer as usual, but with other headers or other items.

    `headers` replace the usual ones or add to them; a value of None removes the header. `items` gets the list
    of items and returns what is sent in its place, any JSON value.
    """

    headers: Mapping[str, str | None] = attrs.field(factory=dict)
    items: Callable[[list[Any]], Any] | None = attrs.field(default=None, kw_only=True)

    def ask(self, request: Request) -> Request:
        """Ask for an answer that is not packed."""
        kept = [(name, value) for name, value in request.headers if name.lower() != "accept-encoding"]
        return attrs.evolve(request, headers=kept)

    def answer(self, exchange: Exchange) -> Response:
        """Change the answer; a refusal has no items."""
        regular, body = exchange.regular, exchange.regular.body

        if self.items is not None and regular.http_code == 200:
            body = encode(self.items(decode(body)))

        changes = {"Content-Length": str(len(body)), **self.headers}
        return Response(regular.http_code, replace_headers(regular.headers, changes), body)


@attrs.frozen
class IgnoreMinutes(Fault):
    """Answer as if the request had asked for so many minutes."""

    instead: int = 1440

    def ask(self, request: Request) -> Request:
        """Change the request's query."""
        return attrs.evolve(request, target=f"{request.path}?minutes={self.instead}")


@attrs.frozen
class Bomb(Fault):
    """Answer with a valid JSON array that is small on the wire and `size` bytes after gzip."""

    size: int = 256 * 2**20

    def answer(self, exchange: Exchange) -> Response:
        """Build the bomb."""
        extra = [("Content-Encoding", "gzip")]
        return response(200, _bomb(self.size), content_type=JSON, now=exchange.now, extra=extra)


@attrs.frozen
class Delay(Fault):
    """Wait before the first byte; `then` is the fault that follows."""

    seconds: float
    then: Fault | None = None

    def ask(self, request: Request) -> Request:
        """Leave it to the next fault."""
        return self.then.ask(request) if self.then else request

    def answer(self, exchange: Exchange) -> Response:
        """Leave it to the next fault."""
        return self.then.answer(exchange) if self.then else exchange.regular

    async def send(self, wire: Wire) -> None:
        """Wait, then send."""
        await anyio.sleep(self.seconds)
        await (self.then or Fault()).send(wire)


@attrs.frozen
class Drip(Fault):
    """Send the headers at once and the body a byte at a time."""

    seconds_per_byte: float = 1.0

    async def send(self, wire: Wire) -> None:
        """Send slowly."""
        await wire.send(wire.head)

        for byte in wire.body:
            await anyio.sleep(self.seconds_per_byte)
            await wire.send(bytes([byte]))


@attrs.frozen
class Reset(Fault):
    """Reset the connection (TCP RST) in place of an answer, or of its body."""

    after_headers: bool = False

    async def send(self, wire: Wire) -> None:
        """Send the headers or nothing, and reset."""
        if self.after_headers:
            await wire.send(wire.head)

        wire.reset()


@attrs.frozen
class Truncate(Fault):
    """Send the part `keep` of the body and close the connection; after all of it, 1.0, without a word.

    `framing` is how the client is told where the body ends: by its length, by chunks, or by the closing alone,
    which makes half a body look whole.
    """

    keep: float = 0.5
    framing: Literal["length", "chunked", "close"] = "length"

    def answer(self, exchange: Exchange) -> Response:
        """Leave out the length where chunks are to stand for it."""
        if self.framing != "chunked":
            return exchange.regular

        headers = replace_headers(exchange.regular.headers, {"Content-Length": None})
        return attrs.evolve(exchange.regular, headers=headers)

    async def send(self, wire: Wire) -> None:
        """Send a part, and close."""
        head = _CONTENT_LENGTH.sub(b"", wire.head) if self.framing == "close" else wire.head
        await wire.send(head + wire.body[: int(len(wire.body) * self.keep)])
        wire.close()


@attrs.frozen
class Endless(Fault):
    """Send header lines, or a body, until the client goes away."""

    what: Literal["headers", "body"] = "body"

    async def send(self, wire: Wire) -> None:
        """Send for ever."""
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")

        if self.what == "body":
            await wire.send(b"Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n")

        line = (
            b"10000\r\n%b\r\n" % (b" " * 65_536)
            if self.what == "body"
            else b"X-Endless: %b\r\n" % (b"x" * 4096)
        )

        while True:
            await wire.send(line)


def _encoded(body: Any) -> tuple[bytes, str]:
    if isinstance(body, bytes):
        return body, TEXT

    if isinstance(body, str):
        return body.encode(), TEXT

    return encode(body), JSON


@cache
def _bomb(size: int) -> bytes:
    gzip = zlib.compressobj(wbits=31)
    blanks, block = size - 2, b" " * 2**20
    parts = [gzip.compress(b"[")]
    parts += [gzip.compress(block) for _ in range(blanks // len(block))]
    parts += [gzip.compress(block[: blanks % len(block)] + b"]"), gzip.flush()]

    return b"".join(parts)
