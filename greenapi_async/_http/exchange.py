"""One request and its complete response, within a deadline, unless its client is closed meanwhile."""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

import anyio
import attrs
import httpx

from greenapi_async._http.address import WIRE_URL
from greenapi_async._http.body import refusal_body, whole_body
from greenapi_async._http.failures import NO_ANSWER, transport_error
from greenapi_async._http.limiter import Origin, RateLimiter, Slots
from greenapi_async._http.loops import PerLoop, call_soon
from greenapi_async._http.proxy import Proxies
from greenapi_async._http.transport import HEADERS, make_client, ssl_context
from greenapi_async.errors import ClientClosedError, ConfigurationError, TransportError

HttpxClient: TypeAlias = httpx.AsyncClient
"""For modules that pass it on without importing httpx."""
_CLOSED: Final = "the client was closed meanwhile: make a new one"


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Response:
    """A complete response.

    Attributes:
        body: decompressed; empty for a refusal that could not be read completely.
        duration: seconds from sending the request to the body's last byte.
    """

    http_code: int
    headers: Mapping[str, str]
    body: bytes
    duration: float


class Http:
    """The HTTP machinery that instances share; it works on several event loops, one after another or at the same time.

    Attributes:
        client: the httpx client that sends every request, injected or our own.
    """

    def __init__(self, http_client: httpx.AsyncClient | None, *, timeout: float, max_body: int) -> None:
        """Use the client given, or make one.

        Raises:
            ConfigurationError: `http_client` is not an httpx client.
        """
        if not isinstance(http_client, httpx.AsyncClient | None):
            raise ConfigurationError("http_client must be an httpx.AsyncClient")

        self._proxies = Proxies()
        self._owned = http_client is None
        self.client: httpx.AsyncClient = make_client(self._proxies) if http_client is None else http_client
        self._loops = PerLoop(_Running)
        self._limiters: WeakValueDictionary[str, RateLimiter] = WeakValueDictionary()
        self._closed = False
        self._timeout = timeout
        self._max_body = max_body

    def check(self, url: httpx.URL) -> None:
        """Raise now what every request to that address would raise.

        Raises:
            ConfigurationError: the proxy that applies to it cannot be read.
        """
        if self._owned and url.scheme == "https":
            self._proxies.proxy_for(url.scheme, url.host, url.port or 443)
            ssl_context()  # Takes 20 ms, which should not delay a request.

    def limiter(self, period: float, origin: str, name: str) -> RateLimiter:
        """Return the rate limiter for that name at an origin: all users of one share its rate."""
        return self._limiters.setdefault(f"{origin} {name}", RateLimiter(period, origin))

    @property
    def closed(self) -> bool:
        """Whether it is closed, or the client underneath was closed by its owner."""
        return self._closed or self.client.is_closed

    async def aclose(self) -> None:
        """Accept no more requests, end all waits, and close the client underneath unless it was injected."""
        self._closed = True
        self.end_waits()
        if self._owned:
            await self.client.aclose()

    def end_waits(self, owner: object = None) -> None:
        """End the waits of one owner, or of all: at once in this event loop, at the next step in others."""
        self._loops.get().end(owner)
        for loop, running in self._loops.others():
            call_soon(loop, functools.partial(running.end, owner))

    @contextmanager
    def until_closed(self, owner: object) -> Iterator[None]:
        """End the body when its owner, or everything, is closed.

        Raises:
            ClientClosedError: it was ended.
        """
        owners = self._loops.get().owners
        with anyio.CancelScope() as scope:
            owners[scope] = owner
            try:
                yield
            finally:
                del owners[scope]

        if scope.cancelled_caught:
            raise ClientClosedError(_CLOSED)

    async def get(
        self, url: httpx.URL, limiter: RateLimiter, *, owner: object, quotable: Callable[[str], str]
    ) -> Response:
        """Send one GET when its turn comes, and read the response; an error quotes what `quotable` leaves.

        Raises:
            ClientClosedError: the client underneath is closed, or the owner closed meanwhile.
            TransportError: no complete response arrived within the timeout.
                BodyTooLargeError: a 200 is larger than `max_body`.
                DecodeError: a 200 is wrongly compressed.
        """
        if self.closed:
            raise ClientClosedError("the HTTP client is closed: make a new AsyncStatusesClient")

        running = self._loops.get()
        deadline = anyio.current_time() + self._timeout
        origin: Origin | None = None
        with anyio.CancelScope(deadline=deadline) as scope:
            running.owners[scope] = owner
            try:
                origin = await limiter.acquire(running.slots)
                return await self._exchange(url, origin, scope)
            except NO_ANSWER as error:
                if self.closed:
                    raise ClientClosedError(_CLOSED) from None

                raise transport_error(error, quotable) from None
            finally:
                del running.owners[scope]

        if anyio.current_time() < deadline:
            raise ClientClosedError(_CLOSED)

        late = "no complete response" if origin else "its turn did not come (max_rate, or hanging requests)"
        raise TransportError(f"{late} within {self._timeout:g} s", timeout=True)

    async def _exchange(self, url: httpx.URL, origin: Origin, scope: "anyio.CancelScope") -> Response:
        started = anyio.current_time()
        hangs: bool | None = None
        try:
            http_code, headers, body = await self._send(url)
            hangs = False
        finally:
            origin.release(hangs=True if scope.cancel_called else hangs)

        duration = anyio.current_time() - started
        return Response(http_code=http_code, headers=headers, body=body, duration=duration)

    async def _send(self, url: httpx.URL) -> tuple[int, Mapping[str, str], bytes]:
        # Our own has nothing to merge except its headers; only its transport sees more than a masked copy.
        if self._owned:
            request = httpx.Request("GET", url, headers=self.client.headers, extensions={WIRE_URL: url})
        else:
            request = self.client.build_request("GET", url, headers=HEADERS, timeout=None)
            request.url = url  # Without the client's params, and with its own URL to send.

        response = await self._response(request)
        try:
            if response.status_code == 200:
                body = await whole_body(response, self._max_body)
            else:
                body = await refusal_body(response)
        finally:
            await response.aclose()

        return response.status_code, response.headers, body

    async def _response(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self.client.send(request, stream=True, follow_redirects=False)
        except httpx.HTTPStatusError as error:  # A hook of an injected client has called `raise_for_status`.
            if error.response.is_success:
                raise

            return error.response


class _Running:
    """What is under way in one event loop: the request slots, and the owner of each wait."""

    def __init__(self) -> None:
        self.slots = Slots()
        self.owners: dict[anyio.CancelScope, object] = {}

    def end(self, owner: object) -> None:
        for scope, each in self.owners.items():
            if owner is None or each is owner:
                scope.cancel()
