"""One request and its whole response, within a deadline, as long as nobody closes what sends it."""

from collections.abc import Callable, Mapping
from contextlib import suppress

import anyio
import attrs
import httpx

from greenapi_async._http.body import refusal_body, whole_body
from greenapi_async._http.failures import NO_ANSWER, transport_error
from greenapi_async._http.transport import MOST_AT_ONCE, sender
from greenapi_async.errors import ClientClosedError, TransportError


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Response:
    """A whole response.

    Attributes:
        body: unpacked; of a refusal that could not be read whole, nothing.
        duration: seconds from sending the request to the body's last byte.
    """

    http_code: int
    headers: Mapping[str, str]
    body: bytes
    duration: float


class Http:
    """The HTTP machinery that instances share.

    Attributes:
        slots: as many as an httpx client's pool has; who sends holds one.
    """

    def __init__(self, http_client: httpx.AsyncClient | None, *, timeout: float, max_body: int) -> None:
        self.slots = anyio.Semaphore(MOST_AT_ONCE, fast_acquire=True)
        self._sender = sender(http_client)
        self._sending: set[anyio.CancelScope] = set()
        self._closed = False
        self._timeout = timeout
        self._max_body = max_body

    @property
    def closed(self) -> bool:
        """Whether it was closed, or the client underneath by its owner."""
        return self._closed or self._sender.closed

    async def aclose(self) -> None:
        """Take no more requests, end those under way, and close the client underneath unless it was injected."""
        self._closed = True
        for scope in self._sending:
            with suppress(RuntimeError):  # Of an event loop that is over.
                scope.cancel()

        await self._sender.aclose()

    async def get(self, url: httpx.URL, redact: Callable[[str], str]) -> Response:
        """Send one GET, and read the response; `redact` cleans what an error says.

        Raises:
            ClientClosedError: the client underneath is closed, or was meanwhile.
            TransportError: no whole response came within the timeout.
            BodyTooLargeError: a 200 is larger than `max_body`.
            DecodeError: a 200 is packed wrongly.
        """
        if self.closed:
            raise ClientClosedError("the HTTP client is closed: make a new AsyncStatusesClient")

        failure: TransportError | None = None
        started = anyio.current_time()

        with anyio.CancelScope(deadline=started + self._timeout) as scope:
            self._sending.add(scope)
            try:
                http_code, headers, body = await self._sender.get(url, self._read)
            except NO_ANSWER as error:
                failure = transport_error(error, redact)
            finally:
                self._sending.discard(scope)

        if self.closed and (scope.cancelled_caught or failure is not None):
            raise ClientClosedError("the client was closed while it was asking")

        if scope.cancelled_caught:
            raise TransportError(f"no whole answer within {self._timeout:g} s", timeout=True)

        if failure is not None:
            raise failure

        duration = anyio.current_time() - started
        return Response(http_code=http_code, headers=headers, body=body, duration=duration)

    async def _read(self, response: httpx.Response) -> tuple[int, Mapping[str, str], bytes]:
        if response.status_code == 200:
            body = await whole_body(response, self._max_body)
        else:
            body = await refusal_body(response)

        return response.status_code, response.headers, body
