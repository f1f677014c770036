"""What can go wrong with a response, as one small class each.

A new fault subclasses `Fault` and overrides what it changes: `ask`, `answer` or `send`.
"""

import re
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, Protocol

import anyio
import attrs
from attrs import validators

from greenapi_async.simulator._json import decode, encode
from greenapi_async.simulator._messages import JSON, TEXT, Request, Response, build_response, replace_headers
from greenapi_async.simulator._refusals import refusal

_NUMBER: Any = validators.and_(validators.instance_of((int, float)), validators.ge(0))
_INTEGER: Any = validators.and_(validators.instance_of(int), validators.ge(1))
_HTTP_CODE: Any = validators.and_(validators.instance_of(int), validators.ge(200), validators.le(999))
_CONTENT_LENGTH = re.compile(rb"(?i)\r\ncontent-length: \d+")


class Wire(Protocol):
    """The connection on which a response is sent, and the response as bytes.

    Attributes:
        head: the status line and headers, with the blank line that ends them.
        body: the body, framed as the headers say.
    """

    head: bytes
    body: bytes

    async def send(self, data: bytes) -> None:
        """Send bytes unchanged."""

    def close(self) -> None:
        """Close the connection after the fault's `send` returns."""

    def reset(self) -> None:
        """Close the connection after the fault's `send` returns, with a TCP RST in place of a FIN."""


@attrs.frozen(kw_only=True)
class Exchange:
    """A request and the regular response to it.

    Attributes:
        request: the request as received.
        regular: the response without any fault.
        now: the simulator's time, in seconds since the epoch.
    """

    request: Request
    regular: Response
    now: float


def _is_json(_: object, __: object, value: Any) -> None:
    encode(value)


def _is_header(_: object, field: "attrs.Attribute[Any]", text: Any) -> None:
    if not (isinstance(text, str) and text.isascii()):
        raise TypeError(f"{field.name} must be ASCII strings, not {text!r}")


_HEADERS = validators.deep_mapping(_is_header, validators.optional(_is_header))


@attrs.frozen
class Fault:
    """Change nothing; base class of all faults."""

    def ask(self, request: Request) -> Request:
        """Return the request to respond to, in place of the one received."""
        return request

    def answer(self, exchange: Exchange) -> Response:
        """Return the response to send, in place of the regular one."""
        return exchange.regular

    async def send(self, wire: Wire) -> None:
        """Send the response. The connection stays open for the next request, unless `wire` was closed."""
        await wire.send(wire.head + wire.body)


@attrs.frozen
class Refuse(Fault):
    """Respond with an error code, as the real API does.

    Attributes:
        code: the HTTP status code.
        body: text, bytes or a JSON object in place of the API's body; None keeps that.
        content_type: a Content-Type in place of the body's usual one; None keeps that.
    """

    code: int = attrs.field(validator=_HTTP_CODE)
    body: str | bytes | Mapping[str, Any] | None = attrs.field(default=None, validator=_is_json)
    content_type: str | None = attrs.field(default=None, validator=validators.optional(_is_header))

    def answer(self, exchange: Exchange) -> Response:
        """Build the error response."""
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
    """Respond with this body.

    Attributes:
        body: text or bytes are sent unchanged, anything else as JSON (None as `null`).
        headers: replace or add to the usual headers; a value of None removes one.
        http_code: the HTTP status code.
    """

    body: Any = attrs.field(validator=_is_json)
    headers: Mapping[str, str | None] = attrs.field(factory=dict, validator=_HEADERS)
    http_code: int = attrs.field(default=200, validator=_HTTP_CODE)

    def answer(self, exchange: Exchange) -> Response:
        """Build the response."""
        body = _encoded(self.body)[0]
        usual = build_response(self.http_code, body, content_type=JSON, now=exchange.now)

        return attrs.evolve(usual, headers=replace_headers(usual.headers, dict(self.headers)))


@attrs.frozen
class Spoil(Fault):
    """Send the regular response with other headers or items.

    Attributes:
        headers: replace or add to the regular headers; a value of None removes one.
        items: called with the list of items of a 200, returns any JSON value to send in its place; None keeps them.
    """

    headers: Mapping[str, str | None] = attrs.field(factory=dict, validator=_HEADERS)
    items: Callable[[list[Any]], Any] | None = attrs.field(
        default=None, kw_only=True, validator=validators.optional(validators.is_callable())
    )

    def ask(self, request: Request) -> Request:
        """Request an uncompressed response."""
        kept = [(name, value) for name, value in request.headers if name.lower() != "accept-encoding"]
        return attrs.evolve(request, headers=kept)

    def answer(self, exchange: Exchange) -> Response:
        """Change the response; only a 200 has items."""
        regular, body = exchange.regular, exchange.regular.body

        if self.items is not None and regular.http_code == 200:
            body = encode(self.items(decode(body)))

        changes = {"Content-Length": str(len(body)), **self.headers}
        return Response(regular.http_code, replace_headers(regular.headers, changes), body)


@attrs.frozen
class IgnoreMinutes(Fault):
    """Respond as if other `minutes` had been requested.

    Attributes:
        instead: the minutes to use.
    """

    instead: int = attrs.field(default=1440, validator=_INTEGER)

    def ask(self, request: Request) -> Request:
        """Replace the query."""
        return attrs.evolve(request, target=f"{request.path}?minutes={self.instead}")


@attrs.frozen
class Bomb(Fault):
    """Respond with a valid JSON array, small as sent but huge once decompressed.

    Attributes:
        size: bytes after decompression, at most 4 GiB.
    """

    size: int = attrs.field(default=256 * 2**20, validator=(_INTEGER, validators.le(2**32)))

    def answer(self, exchange: Exchange) -> Response:
        """Build the bomb."""
        extra = [("Content-Encoding", "gzip")]
        return build_response(200, _bomb(self.size), content_type=JSON, now=exchange.now, extra=extra)


@attrs.frozen
class Delay(Fault):
    """Wait before the first byte.

    Attributes:
        seconds: how long to wait.
        then: the fault to apply next, or None for a regular response.
    """

    seconds: float = attrs.field(validator=_NUMBER)
    then: Fault | None = attrs.field(
        default=None, validator=validators.optional(validators.instance_of(Fault))
    )

    def ask(self, request: Request) -> Request:
        """Delegate to `then`."""
        return self.then.ask(request) if self.then else request

    def answer(self, exchange: Exchange) -> Response:
        """Delegate to `then`."""
        return self.then.answer(exchange) if self.then else exchange.regular

    async def send(self, wire: Wire) -> None:
        """Wait, then send."""
        await anyio.sleep(self.seconds)
        await (self.then or Fault()).send(wire)


@attrs.frozen
class Drip(Fault):
    """Send the headers at once and the body byte by byte.

    Attributes:
        seconds_per_byte: the pause before each byte.
    """

    seconds_per_byte: float = attrs.field(default=1.0, validator=_NUMBER)

    async def send(self, wire: Wire) -> None:
        """Send slowly."""
        await wire.send(wire.head)

        for byte in wire.body:
            await anyio.sleep(self.seconds_per_byte)
            await wire.send(bytes([byte]))


@attrs.frozen
class Reset(Fault):
    """Reset the connection (TCP RST) in place of a response or its body.

    Attributes:
        after_headers: whether to send the headers first.
    """

    after_headers: bool = attrs.field(default=False, validator=validators.instance_of(bool))

    async def send(self, wire: Wire) -> None:
        """Send the headers or nothing, then reset."""
        if self.after_headers:
            await wire.send(wire.head)

        wire.reset()


@attrs.frozen
class Truncate(Fault):
    """Send only part of the body, then close the connection.

    Attributes:
        keep: the fraction of the body to send; 1.0 sends all of it, then closes the connection unannounced.
        framing: what marks the end of the body: Content-Length, chunks, or only the close, which makes a truncated
            body look complete; so does `"rechunked"`: complete chunks, as from a proxy whose origin closed.
    """

    keep: float = attrs.field(default=0.5, validator=(_NUMBER, validators.le(1)))
    framing: Literal["length", "chunked", "close", "rechunked"] = attrs.field(
        default="length", validator=validators.in_(("length", "chunked", "close", "rechunked"))
    )

    def answer(self, exchange: Exchange) -> Response:
        """Drop Content-Length if the body is chunked."""
        regular = exchange.regular
        if self.framing not in {"chunked", "rechunked"}:
            return regular

        headers = replace_headers(regular.headers, {"Content-Length": None})
        kept = self._kept(regular.body) if self.framing == "rechunked" else regular.body
        return attrs.evolve(regular, headers=headers, body=kept)

    async def send(self, wire: Wire) -> None:
        """Send part of the body, then close."""
        if self.framing == "rechunked":
            await wire.send(wire.head + wire.body)
            return

        head = _CONTENT_LENGTH.sub(b"", wire.head) if self.framing == "close" else wire.head
        await wire.send(head + self._kept(wire.body))
        wire.close()

    def _kept(self, body: bytes) -> bytes:
        return body[: int(len(body) * self.keep)]


@attrs.frozen
class Endless(Fault):
    """Send headers or a body until the client disconnects.

    Attributes:
        what: which of the two never ends.
    """

    what: Literal["headers", "body"] = attrs.field(
        default="body", validator=validators.in_(("headers", "body"))
    )

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
