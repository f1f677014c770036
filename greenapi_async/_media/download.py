"""Downloads from public addresses only, without redirects, cookies or credentials."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol, cast

import anyio
import attrs
import httpx

from greenapi_async._http.address import is_fake, is_loopback, is_public, parsed_url
from greenapi_async._http.failures import NO_ANSWER, abandon, transport_error
from greenapi_async._http.proxy import Proxies
from greenapi_async._http.transport import PooledTransport
from greenapi_async.errors import MediaError, TransportError

_MIN_RATE: Final = 4096
"""Bytes per second: a slower download times out, as a stalled one does."""

_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "greenapi-async"}
_NUMBER = re.compile(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)")


class Receiver(Protocol):
    """Receives a response; an exception in a method ends the download and is raised by it."""

    async def begin(self, http_code: int, headers: Mapping[str, str]) -> None:
        """Handle the status code and headers, before the body."""

    async def receive(self, chunk: bytes) -> None:
        """Handle the next bytes of the body."""


@attrs.frozen(kw_only=True)
class Source:
    """Where a file is; `loopback` also allows this machine."""

    url: httpx.URL
    loopback: bool

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return _origin(self.url)


def source(url: str, *, home: str, allow_loopback: bool) -> Source:
    """Return where a download comes from: https, or this machine if that is allowed, or if it is the origin of `home`.

    Raises:
        MediaError: the URL is invalid, or not https.
    """
    parsed = parsed_url(url)
    allow_loopback = allow_loopback or (parsed is not None and _is_at_home(parsed, home))
    schemes = {"https", "http"} if allow_loopback else {"https"}
    if parsed is None or parsed.scheme not in schemes or "%" in parsed.host or parsed.userinfo:
        raise MediaError("the API sent a download URL that is not https or is invalid")

    return Source(url=parsed, loopback=allow_loopback)


def _is_at_home(url: httpx.URL, home: str) -> bool:
    address = parsed_url(home)
    return address is not None and is_loopback(address.host) and _origin(url) == _origin(address)


def _origin(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.host}:{url.port or {'http': 80, 'https': 443}.get(url.scheme)}"


async def download(
    source: Source,
    headers: Mapping[str, str],
    receiver: Receiver,
    *,
    timeout: float,  # noqa: ASYNC109 - it limits stalls, not the whole call.
) -> None:
    """Send one request, and pass the response to the receiver as it arrives.

    `timeout` is how many seconds may pass without data. Each chunk extends the deadline by its size over
    `_MIN_RATE`, so a trickle of bytes cannot keep it open for ever. The receiver's own time does not count.

    Raises:
        MediaError: the address is not public.
        TransportError: no complete response arrived.
    """
    raised: Exception | None = None
    with anyio.move_on_after(timeout) as scope:
        try:
            raised = await _get(source, headers, receiver, _StallTimeout(scope, timeout))
        except NO_ANSWER as error:
            raise transport_error(error) from None

    if scope.cancelled_caught:
        raise TransportError(
            f"no data for {timeout:g} s, or less than {_MIN_RATE} bytes per second", timeout=True
        )

    if raised is not None:
        raise raised


@attrs.frozen
class _StallTimeout:
    scope: anyio.CancelScope
    seconds: float

    @contextmanager
    def paused(self, extra: float = 0.0) -> Iterator[None]:
        """Pause the timeout, then extend it by `extra` seconds, up to its full length."""
        left = self.scope.deadline - anyio.current_time()
        self.scope.deadline = math.inf
        try:
            yield
        finally:
            self.scope.deadline = anyio.current_time() + min(self.seconds, left + extra)


async def _deliver(
    response: httpx.Response, receiver: Receiver, stall_timeout: _StallTimeout
) -> Exception | None:
    """Return what the receiver raised, so it cannot be mistaken for a connection error."""
    try:
        with stall_timeout.paused():
            await receiver.begin(response.status_code, response.headers)
    except Exception as error:  # noqa: BLE001 - raised again by `download`.
        return error

    chunks = aiter(cast("httpx.AsyncByteStream", response.stream))
    async for chunk in chunks:
        try:
            with stall_timeout.paused(len(chunk) / _MIN_RATE):
                await receiver.receive(chunk)
        except BaseException as error:
            await abandon(chunks)
            if not isinstance(error, Exception):
                raise

            return error

    return None


async def _get(
    source: Source, headers: Mapping[str, str], receiver: Receiver, stall_timeout: _StallTimeout
) -> Exception | None:
    """Bypass httpx's client, so nothing adds cookies or credentials, or logs the URL."""
    url = source.url
    if not _may_be_public(url.host) and not (source.loopback and is_loopback(url.host)):
        raise _not_public()

    policy = _AddressPolicy(loopback=source.loopback, public=url.scheme == "https")
    transport = PooledTransport(Proxies(), check=policy.check, keepalive=0.0)
    request = httpx.Request("GET", url, headers={**_HEADERS, **headers})
    response = await transport.handle_async_request(request)
    try:
        return await _deliver(response, receiver, stall_timeout)
    finally:
        await response.aclose()


@attrs.frozen(kw_only=True)
class _AddressPolicy:
    """Which addresses a download may connect to."""

    loopback: bool
    public: bool

    def check(self, address: str) -> None:
        """Raise `MediaError` for an address that is not allowed."""
        public, loopback = (
            self.public and (is_public(address) or is_fake(address)),
            self.loopback and is_loopback(address),
        )
        if not (public or loopback):
            raise _not_public()


def _may_be_public(host: str) -> bool:
    """Return whether a host may be public: a name is only resolved when connecting."""
    host = host.rstrip(".")
    if ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]):
        return is_public(host)  # `is_public` rejects other notations of IPv4 addresses.

    return host != "localhost" and not host.endswith(".localhost")


def _not_public() -> MediaError:
    return MediaError("the download URL leads to an address that is not public")
