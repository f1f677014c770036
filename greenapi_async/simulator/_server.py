"""HTTP/1.1 over one socket: h11 parses and frames, a fault sends."""

import socket
import struct
from collections.abc import Callable

import anyio
import attrs
import h11
from anyio.abc import SocketAttribute, SocketStream

from greenapi_async.simulator._messages import TEXT, Request, Response, build_response
from greenapi_async.simulator._refusals import phrase
from greenapi_async.simulator.faults import Fault

_MAX_REQUEST = 64 * 1024
_NO_LINGER = struct.pack("ii", 1, 0)

Decide = Callable[[Request], tuple[Response, Fault]]


async def serve(stream: SocketStream, decide: Decide) -> None:
    """Respond to the requests of one connection until either side ends it; the caller closes it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_REQUEST)

    try:
        while await _handle_request(connection, stream, decide):
            connection.start_next_cycle()

    except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        return  # The client disconnected, which is not an error.


@attrs.define
class _Wire:
    stream: SocketStream
    head: bytes
    body: bytes
    closed: bool = False

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    def close(self) -> None:
        self.closed = True

    def reset(self) -> None:
        raw = self.stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - anyio's `extra`, not Django's.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.closed = True


async def _handle_request(connection: h11.Connection, stream: SocketStream, decide: Decide) -> bool:
    """Read a request and respond to it; return whether the connection can be reused."""
    try:
        request = await _read(connection, stream)
    except h11.RemoteProtocolError as error:
        await stream.send(b"".join(_framed(connection, _error(error.error_status_hint, str(error)))))
        return False

    if request is None:
        return False

    response, fault = decide(request)
    wire = _Wire(stream, *_framed(connection, response))
    await fault.send(wire)

    return not wire.closed and connection.our_state is connection.their_state is h11.DONE


async def _read(connection: h11.Connection, stream: SocketStream) -> Request | None:
    request, body = None, bytearray()

    while True:
        event = connection.next_event()

        if event is h11.NEED_DATA:
            connection.receive_data(await _receive(stream))

        elif isinstance(event, h11.Request):
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers]
            request = Request(event.method.decode("ascii"), event.target.decode("latin-1"), headers)

        elif isinstance(event, h11.Data):
            body += event.data

            if len(body) > _MAX_REQUEST:
                raise h11.RemoteProtocolError("The request body is too large", error_status_hint=413)

        else:
            return request and attrs.evolve(request, body=bytes(body))


async def _receive(stream: SocketStream) -> bytes:
    try:
        return await stream.receive()
    except anyio.EndOfStream:
        return b""


def _framed(connection: h11.Connection, response: Response) -> tuple[bytes, bytes]:
    try:
        event = h11.Response(
            status_code=response.http_code, headers=response.headers, reason=phrase(response.http_code)
        )
    except h11.LocalProtocolError as error:
        return _framed(connection, _error(500, f"The simulator cannot send this response: {error}"))

    head = connection.send(event) or b""

    try:
        body = (connection.send(h11.Data(data=response.body)) or b"") + (
            connection.send(h11.EndOfMessage()) or b""
        )
    except h11.LocalProtocolError:
        # The Content-Length is wrong: it is sent as it is, and h11 allows no further response.
        return head, response.body

    return head, body


def _error(http_code: int, message: str) -> Response:
    return build_response(http_code, message.encode(), content_type=TEXT, now=0.0)
