"""Transports: an httpx client of our own over the connection pool, direct or through a proxy."""

import functools
import os
import ssl
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx

from greenapi_async._http.proxy import Proxies
from greenapi_async.errors import ConfigurationError

if TYPE_CHECKING:
    import httpcore

_TLS_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
_MOST_IDLE = 1000  # Enough for one per host of many instances.
HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "Cache-Control": "no-store"}
_KEEPALIVE = 300.0  # Longer than the usual interval, so that a poll costs no new TLS handshake.


class PooledTransport(httpx.AsyncBaseTransport):
    """Sends httpx's requests over our pool.

    Args:
        proxies: what the environment says about proxies.
        check: called with the address that a direct connection leads to; raises if that is not allowed.
        keepalive: seconds that a connection may be idle; 0 keeps none.
    """

    def __init__(
        self,
        proxies: Proxies,
        *,
        check: Callable[[str], None] | None = None,
        keepalive: float = _KEEPALIVE,
    ) -> None:
        # httpx loads httpcore only when needed, and so do we: it is a third of the import time.
        from greenapi_async._http.network import Guard, Network  # noqa: PLC0415
        from greenapi_async._http.pool import ConnectionPool  # noqa: PLC0415

        self._proxies = proxies
        self._keepalive = keepalive
        self._direct = Network() if check is None else Guard(check)
        self._pool = ConnectionPool(self._connection, most_idle=_most_idle() if keepalive else 0)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the response body is a stream, and closing the response returns the connection.

        Raises:
            httpx.TransportError: no response arrived.
        """
        return await self._pool.send(request)

    async def aclose(self) -> None:
        """Close the connections of this event loop, even busy ones, whose requests then fail."""
        await self._pool.aclose()

    def _connection(self, origin: "httpcore.Origin") -> "httpcore.AsyncHTTPConnection":
        from greenapi_async._http.network import Connection  # noqa: PLC0415

        secure = origin.scheme == b"https"
        return Connection(
            origin,
            ssl_context=ssl_context() if secure else None,
            keepalive_expiry=self._keepalive,
            network_backend=self._network_to(origin),
        )

    def _network_to(self, origin: "httpcore.Origin") -> "httpcore.AsyncNetworkBackend":
        proxy = self._proxies.proxy_for(origin.scheme.decode(), origin.host.decode(), origin.port)
        if proxy is None:
            return self._direct

        from greenapi_async._http.tunnel import Tunnel  # noqa: PLC0415 - few have a proxy.

        return Tunnel(proxy, ssl_context())


class _NoCookies(httpx.Cookies):
    """Keeps nothing: a cookie from one response would be sent with the next request, even of another instance."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Ignore them."""


class _Client(httpx.AsyncClient):
    """An httpx client without cookies."""

    @property
    def cookies(self) -> httpx.Cookies:
        """A new, empty jar: nothing stays in it."""
        return _NoCookies()

    @cookies.setter
    def cookies(self, _: object) -> None:
        """Keep none."""


def make_client(proxies: Proxies) -> httpx.AsyncClient:
    """Return an httpx client of our own."""
    # With its own transport, httpx ignores the environment.
    client = _Client(
        transport=PooledTransport(proxies),
        headers={**HEADERS, "User-Agent": "greenapi-async"},
        timeout=None,
    )
    del client.headers["Connection"]  # HTTP/1.1 keeps connections alive by default.
    return client


@functools.cache
def ssl_context() -> ssl.SSLContext:
    """Return the process's TLS context.

    Raises:
        ConfigurationError: the environment names a certificate file or a key log that cannot be used.
    """
    try:
        return httpx.create_ssl_context()  # Takes about 20 ms and 1 MB, so one serves the process.
    except OSError as error:
        reason = error.strerror or str(error)

    named = " and ".join(filter(os.environ.get, _TLS_VARIABLES))
    raise ConfigurationError(
        f"TLS cannot be set up: {reason}: check the files that {named or 'the system'} names"
    )


def _most_idle() -> int:
    """Return how many connections may be idle: if files are scarce, half of what the process may open."""
    if sys.platform == "win32":  # Sockets are not files there.
        return _MOST_IDLE

    import resource  # noqa: PLC0415 - not everywhere.

    most_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_IDLE if most_files == resource.RLIM_INFINITY else min(_MOST_IDLE, most_files // 2)
