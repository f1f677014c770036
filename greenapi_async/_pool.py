"""Connections kept for each origin, last in first out, capped and safe under any cancellation."""

import functools
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from typing import TypeAlias

import anyio
import anyio.lowlevel
import httpcore
import httpx

from greenapi_async._network import Network

_CLOSED_BY_SERVER = (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError)
_Origin: TypeAlias = tuple[bytes, bytes, int | None]


class ConnectionPool(httpx.AsyncBaseTransport):
    """A transport for httpx that hands out idle connections and never makes a request wait.

    httpcore's own pool counts places, and loses one for ever where asyncio cancels at a bad moment
    (encode/httpcore#1093). Here only what lies idle is counted, `most_idle` at most, each for `keepalive`
    seconds: who is cancelled takes the connection along. How many requests run at once is the caller's to limit.
    `network_backend` makes the connections, `Network` without one.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        *,
        keepalive: float,
        most_idle: int,
        network_backend: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._connect = functools.partial(
            httpcore.AsyncHTTPConnection,
            ssl_context=ssl_context,
            keepalive_expiry=keepalive,
            network_backend=network_backend or Network(),
        )
        self._most_idle = self._room = most_idle
        self._event_loop: object = None
        self._idle: defaultdict[_Origin, list[httpcore.AsyncHTTPConnection]] = defaultdict(list)
        self._busy: set[httpcore.AsyncHTTPConnection] = set()
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; where the server had closed an idle connection, once more on a new one."""
        self._forget_other_event_loops()
        origin = (request.url.raw_scheme, request.url.raw_host, request.url.port)
        url = httpcore.URL(scheme=origin[0], host=origin[1], port=origin[2], target=request.url.raw_path)
        outgoing = httpcore.Request(
            request.method,
            url,
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )

        with _in_terms_of_httpx():
            if kept := await self._take(origin):
                with suppress(*_CLOSED_BY_SERVER):
                    return await self._send(kept, outgoing, origin)

            return await self._send(self._connect(url.origin), outgoing, origin)

    async def aclose(self) -> None:
        """Close every connection, the busy ones too: their requests fail."""
        self._forget_other_event_loops()
        self._closed = True
        for connection in (*self._busy, *chain.from_iterable(self._idle.values())):
            await connection.aclose()

    def _forget_other_event_loops(self) -> None:
        """Leave the connections of a loop that is over to the garbage collector: nobody else can close them."""
        event_loop = anyio.lowlevel.current_token()
        if event_loop != self._event_loop:
            self._event_loop = event_loop
            self._room = self._most_idle
            self._idle.clear()
            self._busy.clear()

    async def _take(self, origin: _Origin) -> httpcore.AsyncHTTPConnection | None:
        idle = self._idle[origin]
        while idle:
            self._room += 1
            connection = idle.pop()
            if not connection.has_expired():
                return connection

            await connection.aclose()

        return None

    async def _send(
        self, connection: httpcore.AsyncHTTPConnection, outgoing: httpcore.Request, origin: _Origin
    ) -> httpx.Response:
        self._busy.add(connection)
        try:
            response = await connection.handle_async_request(outgoing)
        except BaseException:
            self._busy.discard(connection)
            with anyio.CancelScope(shield=True):
                await connection.aclose()
            raise

        stream = _Body(response, lambda: self._put_back(connection, origin))
        return httpx.Response(
            response.status, headers=response.headers, stream=stream, extensions=response.extensions
        )

    async def _put_back(self, connection: httpcore.AsyncHTTPConnection, origin: _Origin) -> None:
        self._busy.discard(connection)
        idle = self._idle[origin]
        if connection.is_idle() and self._room > 0 and not self._closed:
            self._room -= 1
            idle.append(connection)
        else:
            await connection.aclose()

        if idle and idle[0].has_expired():  # What lies at the bottom may never be taken.
            self._room += 1
            await idle.pop(0).aclose()


class _Body(httpx.AsyncByteStream):
    """The body of an answer; closing it gives the connection back."""

    def __init__(self, response: httpcore.Response, give_back: Callable[[], Awaitable[None]]) -> None:
        self._response = response
        self._give_back = give_back

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _in_terms_of_httpx():
            async for chunk in self._response.aiter_stream():
                yield chunk

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await self._response.aclose()
            finally:
                await self._give_back()


@contextmanager
def _in_terms_of_httpx() -> Iterator[None]:
    try:
        yield
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error
