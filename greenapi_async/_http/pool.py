"""Connections kept for each origin, last in first out, capped and safe under any cancellation."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import TypeAlias

import anyio
import httpcore
import httpx

from greenapi_async._http.address import WIRE_URL
from greenapi_async._http.loops import PerLoop

_ERRORS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.NetworkError, httpx.NetworkError),
    (httpcore.ProxyError, httpx.ProxyError),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
    (httpcore.ProtocolError, httpx.ProtocolError),
    (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
)
_BROKEN = tuple(theirs for theirs, _ in _ERRORS)
_CLOSED_BY_SERVER = (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError)
_REPEATABLE = {"GET", "HEAD"}
_Connection: TypeAlias = httpcore.AsyncHTTPConnection
_Origin: TypeAlias = tuple[bytes, bytes, int | None]


class ConnectionPool:
    """Hands out idle connections, or makes one: a request never waits for another.

    httpcore's own pool counts slots, and loses one for ever if asyncio cancels at a bad moment (encode/httpcore#1093)
    or a tunnel cannot be set up. Here only idle connections are counted, at most `most_idle`, until they expire: a
    cancelled request takes its connection with it. Limiting how many run at once is up to the caller.
    """

    def __init__(self, connect: Callable[[httpcore.Origin], _Connection], *, most_idle: int) -> None:
        self._connect = connect
        self._loops = PerLoop(lambda: _Kept(most_idle))

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request, again if an idle connection turned out closed; closing the response returns the connection.

        Raises:
            httpx.TransportError: no response headers arrived; reading the body raises it, too.
        """
        kept = self._loops.get()
        sent = _for_httpcore(request)
        origin = (sent.url.scheme, sent.url.host, sent.url.port)

        try:
            if connection := await kept.take(origin):
                try:
                    return await _exchange(connection, sent, kept, origin)
                except _CLOSED_BY_SERVER:
                    if request.method not in _REPEATABLE or kept.closed:
                        raise

            return await _exchange(self._connect(sent.url.origin), sent, kept, origin)
        except _BROKEN as error:
            raise _httpx_error(error) from error

    async def aclose(self) -> None:
        """Close every connection of this event loop, even busy ones, whose requests then fail."""
        await self._loops.get().aclose()


def _for_httpcore(request: httpx.Request) -> httpcore.Request:
    url, path = request.url, request.extensions.get(WIRE_URL, request.url).raw_path
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=path)
    return httpcore.Request(request.method, target, headers=request.headers.raw, content=request.stream)


def _httpx_error(error: Exception) -> httpx.TransportError:
    ours = next(ours for theirs, ours in _ERRORS if isinstance(error, theirs))
    return ours(str(error))


async def _exchange(
    connection: _Connection, request: httpcore.Request, kept: "_Kept", origin: _Origin
) -> httpx.Response:
    kept.busy.add(connection)
    try:
        response = await connection.handle_async_request(request)
    except BaseException:
        await kept.close(connection)
        raise

    content = _Content(response, connection, kept, origin)
    return httpx.Response(
        response.status, headers=response.headers, stream=content, extensions=response.extensions
    )


class _Content(httpx.AsyncByteStream):
    """A response's body; closing it returns its connection."""

    def __init__(
        self, response: httpcore.Response, connection: _Connection, kept: "_Kept", origin: _Origin
    ) -> None:
        self._response = response
        self._connection = connection
        self._kept = kept
        self._origin = origin

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.stream:  # type: ignore[union-attr]  # httpcore's are sync or async.
                yield chunk
        except _BROKEN as error:
            raise _httpx_error(error) from error

    async def aclose(self) -> None:
        """Return the connection to the pool, or close it if the body was not read to its end."""
        try:
            await self._response.aclose()
        except BaseException:
            await self._kept.close(self._connection)
            raise

        await self._kept.put_back(self._connection, self._origin)


class _Kept:
    """The connections of one event loop."""

    def __init__(self, most_idle: int) -> None:
        self.busy: set[_Connection] = set()
        self.closed = False
        self._room = most_idle
        self._idle: defaultdict[_Origin, list[_Connection]] = defaultdict(list)

    async def take(self, origin: _Origin) -> _Connection | None:
        """Return an idle connection, or None."""
        while idle := self._idle[origin]:
            self._room += 1
            if not (connection := idle.pop()).has_expired():
                return connection

            await connection.aclose()

        return None

    async def put_back(self, connection: _Connection, origin: _Origin) -> None:
        """Keep a connection that was taken, if it can be reused."""
        self.busy.discard(connection)
        if connection.is_idle() and self._room > 0 and not self.closed:
            self._room -= 1
            self._idle[origin].append(connection)
        else:
            await connection.aclose()

        await self._close_longest_unseen()

    async def close(self, connection: _Connection) -> None:
        """Close a connection that was taken, even if cancelled meanwhile."""
        self.busy.discard(connection)
        with anyio.CancelScope(shield=True):
            await connection.aclose()

    async def aclose(self) -> None:
        """Close them all, and keep none from now on."""
        self.closed = True
        idle = [connection for each in self._idle.values() for connection in each]
        async with AsyncExitStack() as stack:  # A cancellation ends closing one, not the others.
            for connection in (*self.busy, *idle):
                stack.push_async_callback(connection.aclose)

    async def _close_longest_unseen(self) -> None:
        longest_unseen = next(iter(self._idle))  # Some origins are never requested again.
        idle = self._idle[longest_unseen] = self._idle.pop(longest_unseen)
        if idle and idle[0].has_expired():
            self._room += 1
            await idle.pop(0).aclose()
