"""One question over HTTP: a body with the server's time, or one of our errors; the token stays inside."""

import functools
import ipaddress
import math
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, cast
from urllib.parse import quote

import anyio
import attrs
import httpx

from greenapi_async._api.refusals import printable, refusal
from greenapi_async._api.token import MASK, Secret, on_the_wire, watch_loggers
from greenapi_async._http.body import Body
from greenapi_async._http.transport import MOST_AT_ONCE, sender
from greenapi_async._turn import Turn
from greenapi_async.errors import ClientClosedError, ConfigurationError, TransportError, sealed

_LAST_PORT = 65_535
_LONGEST_REFUSAL = 65_536
_LARGE = 1024 * 1024
NO_ANSWER: Final = (httpx.HTTPError, httpx.InvalidURL, OSError, anyio.ClosedResourceError, UnicodeError)
"""What is raised where no whole answer comes."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Endpoint:
    """Where an instance is asked: its address, its id and its token."""

    api_url: str
    id_instance: str
    token: Secret

    def url(self, minutes: int | None) -> str:
        """Return the address of a question, with `***` where the token belongs."""
        query = "" if minutes is None else f"?minutes={minutes}"
        return f"{self.api_url}/waInstance{self.id_instance}/getIncomingStatuses/{MASK}{query}"


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Answer:
    """A complete 200: its body, free of the token, and what it tells of the server's time.

    Attributes:
        date: UNIX seconds of the `Date` header, or None without a usable one.
        cached: whether it comes from a cache (`Age` above 0), so that its time is not the server's now.
        duration: seconds from sending the question to the body's last byte.
    """

    body: bytes = attrs.field(repr=False)
    date: float | None
    cached: bool
    duration: float


class Gate:
    """Lets the questions of one instance leave one after the other, `period` seconds apart."""

    def __init__(self, period: float) -> None:
        self._period = period
        self._lock = anyio.Lock(fast_acquire=True)
        self._next_at = -math.inf

    async def take_turn(self, places: "anyio.Semaphore") -> None:
        """Wait for the turn and for a place, which the caller gives back.

        Who is cancelled while waiting takes no turn.
        """
        if not self._period:
            await places.acquire()
            return

        async with self._lock:
            # Never longer than a period: another event loop's clock may be far behind.
            wait = min(self._next_at - anyio.current_time(), self._period)
            if wait > 0:
                await anyio.sleep(wait)

            await places.acquire()
            self._next_at = anyio.current_time() + self._period


class Http:
    """The HTTP machinery that clients share: who sends, and as many places as an httpx client's pool has."""

    def __init__(self, http_client: httpx.AsyncClient | None, *, timeout: float, max_body: int) -> None:
        watch_loggers()
        self.places = anyio.Semaphore(MOST_AT_ONCE, fast_acquire=True)
        self._sender = sender(http_client)
        self._asking: set[anyio.CancelScope] = set()
        self._closed = False
        self._timeout = timeout
        self._max_body = max_body

    @property
    def closed(self) -> bool:
        """Whether it was closed, or the client underneath by its owner."""
        return self._closed or self._sender.closed

    async def aclose(self) -> None:
        """Take no more questions, end those under way, and close the client underneath unless it was injected."""
        self._closed = True
        for scope in self._asking:
            with suppress(RuntimeError):  # Of an event loop that is over.
                scope.cancel()

        await self._sender.aclose()

    async def get(self, endpoint: Endpoint, gate: Gate, minutes: int | None) -> Answer:
        """Ask once.

        Raises:
            ClientClosedError: the client underneath is closed.
            TransportError: no whole answer came within the timeout.
            ResponseError: the answer refuses.
            BodyTooLargeError: the answer is larger than `max_body`.
            DecodeError: the answer is packed wrongly.
        """
        await gate.take_turn(self.places)
        try:
            with on_the_wire(endpoint.token):
                return await self._exchange(endpoint, minutes)
        except BaseException as error:  # noqa: BLE001 - it goes on as it is.
            # The frames below show the URL to whoever prints a traceback with locals, be it of a Ctrl-C.
            raise sealed(error)  # noqa: B904 - it is the same exception.
        finally:
            self.places.release()

    async def _exchange(self, endpoint: Endpoint, minutes: int | None) -> Answer:
        if self.closed:
            raise ClientClosedError("the HTTP client is closed: make a new AsyncStatusesClient")

        failure: TransportError | None = None
        started = anyio.current_time()

        with anyio.CancelScope(deadline=started + self._timeout) as scope:
            self._asking.add(scope)
            try:
                http_code, headers, body = await self._send(endpoint, minutes)
            except NO_ANSWER as error:
                failure = transport_error(error, endpoint.token.redact_text)
            finally:
                self._asking.discard(scope)

        if self.closed and (scope.cancelled_caught or failure is not None):
            raise ClientClosedError("the client was closed while it was asking")

        if scope.cancelled_caught:
            raise TransportError(f"no whole answer within {self._timeout:g} s", timeout=True)

        if failure is not None:
            raise failure

        if http_code != 200:
            raise refusal(http_code, headers, body)

        return Answer(
            body=body,
            date=_date(headers.get("date", "")),
            cached=headers.get("age", "0").strip() not in {"", "0"},
            duration=anyio.current_time() - started,
        )

    async def _send(self, endpoint: Endpoint, minutes: int | None) -> tuple[int, Mapping[str, str], bytes]:
        url = _MaskedURL(endpoint.url(minutes), endpoint.token)
        http_code, headers, body = await self._sender.get(url, self._read)

        # A short made-up token may be a word of somebody's text; of an answer's own words it is none.
        if http_code != 200 or endpoint.token.is_distinctive or body.lstrip()[:1] != b"[":
            body = await _redacted(body, endpoint.token)

        return http_code, headers, body

    async def _read(self, response: httpx.Response) -> tuple[int, Mapping[str, str], bytes]:
        if response.status_code == 200:
            body = await _whole_body(response, self._max_body)
        else:
            body = await _refusal_body(response, _LONGEST_REFUSAL)

        return response.status_code, response.headers, body


def checked_api_url(api_url: object) -> str:
    """Return the address without a trailing slash, or raise `ConfigurationError`.

    https only, and http for loopback; a path is kept.
    """
    url = parsed_url(api_url) if isinstance(api_url, str) and not {"?", "#", "@"} & set(api_url) else None
    if url is None:
        raise ConfigurationError("api_url must look like https://1101.api.green-api.com (GREEN_API_URL)")

    if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(url.host)):
        raise ConfigurationError(
            "api_url must begin with https://, for the token travels in it (GREEN_API_URL)"
        )

    return str(url).rstrip("/")


def parsed_url(text: str) -> httpx.URL | None:
    """Return the URL, or None where it names no host or no port that there can be."""
    with suppress(httpx.InvalidURL, UnicodeError):  # httpx decodes a host's name only when asked for it.
        url = httpx.URL(text)
        if url.host and (url.port or 0) <= _LAST_PORT:
            return url

    return None


def transport_error(error: BaseException, redact: Callable[[str], str] = str) -> TransportError:
    """Return our error for one of `NO_ANSWER`."""
    said = printable(redact(str(error)))
    message = f"{type(error).__name__}: {said}" if said else type(error).__name__
    if _is_refused_certificate(error):
        return TransportError(f"the server's TLS certificate was refused: {message}", retryable=False)

    return TransportError(message)


_parsed = functools.lru_cache(maxsize=1024)(httpx.URL)  # Most questions are asked again, minute by minute.


class _MaskedURL(httpx.URL):
    """A URL that reads as `…/***` wherever it is shown, and holds the token only in what goes on the wire.

    httpx logs every URL at INFO, and the token stands in its path.
    """

    def __init__(self, url: str, token: Secret) -> None:
        super().__init__(_parsed(url))
        self._token = token

    @property
    def raw_path(self) -> bytes:
        before, _, after = super().raw_path.rpartition(MASK.encode())
        return before + quote(self._token.reveal(), safe="").encode() + after


async def abandon(chunks: AsyncIterator[bytes]) -> None:
    """End httpx's nested generators by a cancellation: trio warns of each that is left half-read."""
    # What else is wrong with the rest does not matter any more.
    with anyio.CancelScope() as scope, suppress(Exception):
        scope.cancel()
        async for _ in chunks:
            pass


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _whole_body(response: httpx.Response, limit: int) -> bytes:
    # A mock transport's answer comes read and unpacked.
    packed = "" if response.is_stream_consumed else response.headers.get("content-encoding", "")
    body = Body(packed.lower(), limit)
    await _feed(body, response)
    if limit - body.room < _LARGE or len(body.chunks) == 1:  # Of a single one no copy is made.
        return b"".join(body.chunks)

    import anyio.to_thread  # noqa: PLC0415 - most answers are small, and most clients need no threads.

    # Joining so much lets go of the GIL: the event loop goes on meanwhile.
    return await anyio.to_thread.run_sync(b"".join, body.chunks)


async def _refusal_body(response: httpx.Response, limit: int) -> bytes:
    """Return what a refusal says, or nothing where it cannot be read whole: half a token is not redacted."""
    try:
        return await _whole_body(response, limit)
    except Exception:  # noqa: BLE001 - be it httpx's, httpcore's or ours: the code alone refuses.
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
    except BaseException:
        await abandon(chunks)
        raise

    body.finish()


async def _redacted(body: bytes, token: Secret) -> bytes:
    """Return the body without the token, after looking for it slice by slice."""
    turn = Turn()
    for start in range(0, len(body), _LARGE):
        if token.occurs(body, start, start + _LARGE):
            return token.redact(body)

        await turn.pause()

    return body


def _is_refused_certificate(error: BaseException | None) -> bool:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True

        seen.add(id(error))
        error = error.__cause__ or error.__context__

    return False


@functools.lru_cache(maxsize=16)
def _date(header: str) -> float | None:
    try:
        moment = parsedate_to_datetime(header)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None
