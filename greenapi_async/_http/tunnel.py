"""Connections through a proxy, by CONNECT or SOCKS: python-socks does the protocol, over our streams."""

import math
import ssl
from collections.abc import Iterable
from typing import Any

import anyio
import httpcore
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream
from python_socks import ProxyError, ProxyType
from python_socks.async_.anyio.v2 import Proxy as Handshake

from greenapi_async._http.failures import ProxyRefusalError
from greenapi_async._http.network import Network, Stream, connect
from greenapi_async._http.proxy import Proxy

_BROKEN = (OSError, ValueError, anyio.BrokenResourceError, anyio.ClosedResourceError)
_LONGEST_HEAD = 65_536
_REFUSED = 407
_REFUSALS = {
    "No acceptable authentication methods were offered",
    "Username and password authentication failure",
}


class Tunnel(Network):
    """Opens connections through a proxy; TLS to the server is layered on top, as without a proxy."""

    def __init__(self, proxy: Proxy, ssl_context: ssl.SSLContext) -> None:
        self._proxy = proxy
        self._handshake = Handshake(
            ProxyType[proxy.kind.upper()],
            proxy.host,
            proxy.port,
            username=proxy.username,
            password=proxy.password,
            proxy_ssl=ssl_context if proxy.secure else None,
            forward=_FirstLeg(),  # type: ignore[arg-type]  # Only `connect` is called.
        )

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the proxy, and have it connect to the server.

        Raises:
            httpcore.ProxyError: it cannot be reached, does not connect, or rejects the username or password; then the
            cause is a `ProxyRefusalError`.
        """
        try:
            line: Any = await self._handshake.connect(host, port, timeout=math.inf)
        except ProxyError as error:
            problem, refused = str(error), _is_refusal(error)
        except _BROKEN as error:
            problem, refused = str(error) or type(error).__name__, False
        else:
            return Stream(line.stream)

        where = f"the proxy that {self._proxy.variable} names"
        if refused:
            message = f"{where} rejected the username or password: {problem}"
            raise httpcore.ProxyError(message) from ProxyRefusalError()

        raise httpcore.ProxyError(f"{where} did not connect: {problem}")


def _is_refusal(error: ProxyError) -> bool:
    return error.error_code == _REFUSED or str(error) in _REFUSALS  # SOCKS has no codes for it.


class _FirstLeg:
    """Takes the place of a proxy in front of the proxy, so that python-socks uses our streams."""

    async def connect(self, dest_host: str, dest_port: int) -> "_Line":
        return _Line(await connect(dest_host, dest_port))


class _Line:
    """A stream for python-socks that delivers the reply to CONNECT whole, however many pieces it arrives in."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream

    async def write(self, data: bytes) -> None:
        await self.stream.send(data)

    async def read(self) -> bytes:
        """Return the headers of the reply to CONNECT."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            try:
                head += await self.stream.receive()
            except anyio.EndOfStream:
                return head

            if len(head) > _LONGEST_HEAD:
                raise ValueError("its reply does not end")

        return head

    async def read_exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                data += await self.stream.receive(count - len(data))
            except anyio.EndOfStream:
                raise ValueError("it closed the connection") from None

        return data

    async def start_tls(self, hostname: str, ssl_context: ssl.SSLContext) -> "_Line":
        secured = await TLSStream.wrap(
            self.stream,
            hostname=hostname,
            ssl_context=ssl_context,
            standard_compatible=False,
            server_side=False,
        )
        return _Line(secured)

    async def close(self) -> None:
        await anyio.aclose_forcefully(self.stream)

    # Their names before python-socks 3, which aiogram's proxy support is limited to.
    write_all = write
    read_exact = read_exactly
