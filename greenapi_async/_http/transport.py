"""Who sends a question: connections of our own, or an httpx client, be it injected or one that knows proxies."""

import functools
import ssl
import sys
from typing import TYPE_CHECKING, Final, Protocol, TypeVar
from urllib.request import getproxies

import httpx

from greenapi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from greenapi_async._http.pool import Read

MOST_AT_ONCE: Final = (
    100  # httpx's own default: an injected client's pool is no smaller unless it was made so.
)
_MOST_IDLE = 1000  # One for each of many instances' hosts.
_KEEPALIVE = 300.0  # Longer than the usual interval, so that a poll costs no new TLS handshake.
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "Cache-Control": "no-store"}
_RAW_HEADERS = httpx.Headers({**_HEADERS, "User-Agent": "greenapi-async"}).raw
_T = TypeVar("_T")


class Sender(Protocol):
    """Sends questions until it is closed."""

    @property
    def closed(self) -> bool:
        """Whether it can send no more."""

    async def get(self, url: httpx.URL, read: "Read[_T]") -> _T:
        """Ask, and return what `read` makes of the answer's `stream`; raises what httpx's transports raise."""

    async def aclose(self) -> None:
        """Close what is its own."""


def sender(http_client: httpx.AsyncClient | None) -> Sender:
    """Return who sends for a client.

    Raises:
        ConfigurationError: it is no httpx client, or a proxy of the environment cannot be used.
    """
    if http_client is None:
        proxied = bool(getproxies().keys() - {"no"})
        return _ByClient(_make_proxied_client(), owned=True) if proxied else _ByPool()

    if not isinstance(http_client, httpx.AsyncClient):
        raise ConfigurationError("http_client must be an httpx.AsyncClient")

    return _ByClient(http_client, owned=False)


@functools.cache
def ssl_context() -> ssl.SSLContext:
    """Return the process's TLS context."""
    return httpx.create_ssl_context()  # Takes about 20 ms and 1 MB, so one serves the process.


def _most_idle() -> int:
    """Return how many connections may lie idle: where files are scarce, half of what the process may open."""
    if sys.platform == "win32":  # Sockets are no files there.
        return _MOST_IDLE

    import resource  # noqa: PLC0415 - not everywhere.

    most_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_IDLE if most_files == resource.RLIM_INFINITY else min(_MOST_IDLE, most_files // 2)


class _ByPool:
    """Asks the pool: httpx's client around it would cost as much again, for cookies and redirects."""

    closed = False  # Nobody else can close it.

    def __init__(self) -> None:
        # httpx loads httpcore when it is first needed, and so do we: it is a third of its import.
        from greenapi_async._http import network as _network  # noqa: PLC0415
        from greenapi_async._http import pool as _pool  # noqa: PLC0415

        connect = _network.connector(ssl_context(), keepalive=_KEEPALIVE)
        self.pool = _pool.ConnectionPool(connect, most_idle=_most_idle())

    async def get(self, url: httpx.URL, read: "Read[_T]") -> _T:
        return await self.pool.get(url, _RAW_HEADERS, read)

    async def aclose(self) -> None:
        await self.pool.aclose()


class _ByClient:
    """Sends through httpx's client, with whatever headers and hooks it has."""

    def __init__(self, client: httpx.AsyncClient, *, owned: bool) -> None:
        self.client = client
        self._owned = owned

    @property
    def closed(self) -> bool:
        return self.client.is_closed

    async def get(self, url: httpx.URL, read: "Read[_T]") -> _T:
        request = self.client.build_request("GET", url, headers=_HEADERS, timeout=None)
        request.url = url  # Without the default params of an injected client.
        response = await self.client.send(request, stream=True, follow_redirects=False)
        try:
            return await read(response)
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        if self._owned:
            await self.client.aclose()


def _make_proxied_client() -> httpx.AsyncClient:
    """Return a client over httpx's own pool, the one that speaks to proxies."""
    try:
        limits = httpx.Limits(max_connections=MOST_AT_ONCE, keepalive_expiry=_KEEPALIVE)
        # http is for loopback alone, and would show the token to the proxy.
        return httpx.AsyncClient(verify=ssl_context(), limits=limits, mounts={"http://": None})
    except (ImportError, ValueError) as error:
        problem = f": {error}"
    except httpx.InvalidURL:  # Its text quotes what may be a password.
        problem = ", or what NO_PROXY names is no address"

    raise ConfigurationError(f"the proxy that the environment names cannot be used{problem}")
