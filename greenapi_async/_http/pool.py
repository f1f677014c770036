"""Connections kept for each origin, last in first out, capped and safe under any cancellation."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import TypeAlias, TypeVar

import anyio.lowlevel
import httpcore
import httpx

_CLOSED_BY_SERVER = (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError)
_BROKEN = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)
_Connection: TypeAlias = httpcore.AsyncHTTPConnection
_Exchange: TypeAlias = tuple[_Connection, httpcore.Response]
_T = TypeVar("_T")
Read: TypeAlias = Callable[[httpx.Response], Awaitable[_T]]


class ConnectionPool:
    """Hands out idle connections, or makes one: a request never waits for another.

    httpcore's own pool counts places, and loses one for ever where asyncio cancels at a bad moment
    (encode/httpcore#1093). Here only what lies idle is counted, `most_idle` at most, until it expires: who is
    cancelled takes the connection along. How many requests run at once is the caller's to limit.
    """

    def __init__(self, connect: Callable[[httpcore.Origin], _Connection], *, most_idle: int) -> None:
        self._connect = connect
        self._most_idle = self._room = most_idle
        self._closed = False
        self._event_loop: object = None
        self._idle: defaultdict[bytes, list[_Connection]] = defaultdict(list)
        self._busy: set[_Connection] = set()

    async def get(self, url: httpx.URL, headers: list[tuple[bytes, bytes]], read: Read[_T]) -> _T:
        """Send a GET, once more where an idle connection was closed, and return what `read` makes of the answer.

        Raises:
            httpx.TransportError: no whole answer came.
        """
        self._forget_other_event_loops()
        origin = b"%b://%b" % (url.raw_scheme, url.netloc)
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        request = httpcore.Request("GET", target, headers=[(b"Host", url.netloc), *headers])

        try:
            connection, reply = await self._send(request, origin)
            try:
                result = await read(httpx.Response(reply.status, headers=reply.headers, stream=reply.stream))  # type: ignore[arg-type]  # It is one but in name.
                await reply.aclose()
            except BaseException:
                await self._close(connection)
                raise
        except _BROKEN as error:
            raise getattr(httpx, type(error).__name__)(str(error)) from error

        await self._put_back(connection, origin)
        return result

    async def aclose(self) -> None:
        """Close every connection, the busy ones too: their requests fail."""
        self._forget_other_event_loops()
        self._closed = True
        async with AsyncExitStack() as stack:  # A cancellation ends one's closing, and the others' goes on.
            for connection in (*self._busy, *(each for idle in self._idle.values() for each in idle)):
                stack.push_async_callback(connection.aclose)

    def _forget_other_event_loops(self) -> None:
        """Leave the connections of a loop that is over to the garbage collector: nobody else can close them."""
        if self._event_loop != (event_loop := anyio.lowlevel.current_token()):
            self._event_loop, self._room = event_loop, self._most_idle
            self._idle.clear()
            self._busy.clear()

    async def _send(self, request: httpcore.Request, origin: bytes) -> _Exchange:
        if kept := await self._take(origin):
            with suppress(*_CLOSED_BY_SERVER):
                return await self._exchange(kept, request)

        return await self._exchange(self._connect(request.url.origin), request)

    async def _exchange(self, connection: _Connection, request: httpcore.Request) -> _Exchange:
        self._busy.add(connection)
        try:
            return connection, await connection.handle_async_request(request)
        except BaseException:
            await self._close(connection)
            raise

    async def _take(self, origin: bytes) -> _Connection | None:
        while idle := self._idle[origin]:
            self._room += 1
            if not (connection := idle.pop()).has_expired():
                return connection

            await connection.aclose()

        return None

    async def _put_back(self, connection: _Connection, origin: bytes) -> None:
        self._busy.discard(connection)
        idle = self._idle[origin]
        if connection.is_idle() and self._room > 0 and not self._closed:
            self._room -= 1
            idle.append(connection)
        else:
            await connection.aclose()

        longest_unseen = next(iter(self._idle))  # Some origins are never asked again.
        idle = self._idle[longest_unseen] = self._idle.pop(longest_unseen)
        if idle and idle[0].has_expired():
            self._room += 1
            await idle.pop(0).aclose()

    async def _close(self, connection: _Connection) -> None:
        self._busy.discard(connection)
        with anyio.CancelScope(shield=True):
            await connection.aclose()
