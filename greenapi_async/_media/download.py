"""A download over a connection that leads nowhere but to the Internet: no redirects, cookies or credentials."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol, cast

import anyio
import attrs
import httpx

from greenapi_async._http.address import is_loopback, is_public, parsed_url
from greenapi_async._http.failures import NO_ANSWER, abandon, transport_error
from greenapi_async._http.proxy import Proxies
from greenapi_async._http.transport import PooledTransport
from greenapi_async.errors import MediaError, TransportError

_SLOWEST: Final = 4096
"""Bytes a second: what stays below it uses the patience up, as silence does."""

_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "greenapi-async"}
_NUMBER = re.compile(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)")


class Receiver(Protocol):
    """Who takes an answer in; what a method raises ends the download, and is raised by it."""

    async def begin(self, http_code: int, headers: Mapping[str, str]) -> None:
        """Look at the answer's head before its body comes."""

    async def take(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""


@attrs.frozen(kw_only=True)
class Source:
    """Where a file is; `loopback` allows this very machine, for the simulator."""

    url: httpx.URL
    loopback: bool


def source(url: str, *, allow_loopback: bool) -> Source:
    """Return where a download comes from.

    Raises:
        MediaError: it is no address, or none that anything is downloaded from.
    """
    parsed = parsed_url(url)
    schemes = {"https", "http"} if allow_loopback else {"https"}
    if parsed is None or parsed.scheme not in schemes or "%" in parsed.host or parsed.userinfo:
        raise MediaError("the API gave an address that is not https, or cannot be read")

    return Source(url=parsed, loopback=allow_loopback)


async def download(
    source: Source,
    headers: Mapping[str, str],
    receiver: Receiver,
    *,
    timeout: float,  # noqa: ASYNC109 - it is for a silence, not for the whole.
) -> None:
    """Ask once, and hand the answer over as it comes.

    `timeout` is how many seconds may go by without a byte. Bytes earn new patience, at `_SLOWEST` a second,
    so that a drip does not hold it for ever. The receiver's own time does not count.

    Raises:
        MediaError: the address is not on the Internet.
        TransportError: no whole answer came.
    """
    raised: Exception | None = None
    with anyio.move_on_after(timeout) as scope:
        try:
            raised = await _get(source, headers, receiver, _Patience(scope, timeout))
        except NO_ANSWER as error:
            raise transport_error(error) from None

    if scope.cancelled_caught:
        raise TransportError(f"nothing came for {timeout:g} s, or next to nothing", timeout=True)

    if raised is not None:
        raise raised


@attrs.frozen
class _Patience:
    scope: anyio.CancelScope
    longest: float

    @contextmanager
    def paused(self, earned: float = 0.0) -> Iterator[None]:
        """Stop the clock, and wind it up by so many seconds."""
        left = self.scope.deadline - anyio.current_time()
        self.scope.deadline = math.inf
        try:
            yield
        finally:
            self.scope.deadline = anyio.current_time() + min(self.longest, left + earned)


async def _hand_over(response: httpx.Response, receiver: Receiver, patience: _Patience) -> Exception | None:
    """Return what the receiver raised: that is not to be taken for the connection's."""
    try:
        with patience.paused():
            await receiver.begin(response.status_code, response.headers)
    except Exception as error:  # noqa: BLE001 - raised again by `download`.
        return error

    chunks = aiter(cast("httpx.AsyncByteStream", response.stream))
    async for chunk in chunks:
        try:
            with patience.paused(len(chunk) / _SLOWEST):
                await receiver.take(chunk)
        except BaseException as error:
            await abandon(chunks)
            if not isinstance(error, Exception):
                raise

            return error

    return None


async def _get(
    source: Source, headers: Mapping[str, str], receiver: Receiver, patience: _Patience
) -> Exception | None:
    """Request without httpx's client: so nothing brings cookies or credentials along, or logs the URL."""
    url = source.url
    if not _may_be_public(url.host) and not (source.loopback and is_loopback(url.host)):
        raise _not_public()

    addresses = _Addresses(loopback=source.loopback, public=url.scheme == "https")
    transport = PooledTransport(Proxies(), check=addresses.check, keepalive=0.0)
    request = httpx.Request("GET", url, headers={**_HEADERS, **headers})
    response = await transport.handle_async_request(request)
    try:
        return await _hand_over(response, receiver, patience)
    finally:
        await response.aclose()


@attrs.frozen(kw_only=True)
class _Addresses:
    """Which addresses a download may lead to."""

    loopback: bool
    public: bool

    def check(self, address: str) -> None:
        """Raise `MediaError` for any other."""
        public, loopback = self.public and is_public(address), self.loopback and is_loopback(address)
        if not (public or loopback):
            raise _not_public()


def _may_be_public(host: str) -> bool:
    """Return whether a host may be on the Internet: where a name leads, only whoever connects can look."""
    host = host.rstrip(".")
    if ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]):
        return is_public(host)  # Other notations of an IPv4 address are no address to `is_public`.

    return host != "localhost" and not host.endswith(".localhost")


def _not_public() -> MediaError:
    return MediaError("the download leads to an address that is not on the Internet")
