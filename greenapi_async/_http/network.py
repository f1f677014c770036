"""Sockets for httpcore, over anyio: a read takes everything that has arrived, and opens no scope."""

import errno
import os
import select
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import httpcore
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

from greenapi_async._http.address import is_address
from greenapi_async._threads import until_cancelled

_HEAD_START = 0.25  # seconds before the next address is tried in parallel (RFC 8305).
_KEEPALIVE = {  # NATs silently drop connections that are quiet for minutes, Azure's after four.
    "SO_KEEPALIVE": 1,
    "TCP_KEEPIDLE": 60,
    "TCP_KEEPINTVL": 15,
    "TCP_KEEPCNT": 4,
}
_BROKEN = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError)
_MOST = 256 * 1024  # httpcore reads a quarter of it at a time, and each read is a turn of the loop.


class Connection(httpcore.AsyncHTTPConnection):
    """A connection that is not reused if that could mix responses up."""

    def is_idle(self) -> bool:
        """Return whether it can be reused: data beyond a response would pass for the next response."""
        # Nothing public shows what is left over; a rename must fail here, not disable the guard.
        return super().is_idle() and not self._connection._h11_state.trailing_data[0]  # type: ignore[union-attr]  # noqa: SLF001


class Network(httpcore.AsyncNetworkBackend):
    """Opens connections. Per-step timeouts are ignored: the caller enforces one deadline."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to whichever address of the host accepts first."""
        with _raised_as(httpcore.ConnectError):
            return Stream(await connect(host, port, local_address))


async def connect(host: str, port: int, local_address: str | None = None) -> ByteStream:
    """Return a connection to whichever address of a host accepts first.

    The name is looked up in a thread of our own: asyncio's belong to the program, and may all be busy.

    Raises:
        OSError: there is no such name, or no address accepts; it says which and why.
    """
    try:
        stream = await _fastest(await _addresses(host, port), port, local_address)
    except OSError as error:
        raise OSError(f"{_reason(error)} ({host}:{port})") from error

    raw: socket.socket = stream.extra(SocketAttribute.raw_socket)
    for name, value in _KEEPALIVE.items():
        with suppress(OSError, AttributeError):  # Not every system has all of them.
            level = socket.SOL_SOCKET if name.startswith("SO_") else socket.IPPROTO_TCP
            raw.setsockopt(level, getattr(socket, name), value)

    return stream


async def _addresses(host: str, port: int) -> list[str]:
    """Return a host's addresses in the system's order, but with the first one of the other family second."""
    if is_address(host):
        return [host]

    found = await until_cancelled(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM)
    first, *others = dict.fromkeys(str(address[0]) for *_, address in found)
    return [first, *sorted(others, key=lambda each: (":" in each) == (":" in first))]


async def _fastest(addresses: list[str], port: int, local_address: str | None) -> ByteStream:
    if len(addresses) == 1:
        return await anyio.connect_tcp(addresses[0], port, local_host=local_address)

    streams: list[ByteStream] = []
    failures: list[OSError] = []

    async def attempt(address: str, over: anyio.Event) -> None:
        try:
            streams.append(await anyio.connect_tcp(address, port, local_host=local_address))
        except OSError as error:
            failures.append(error)
            over.set()
        else:
            tasks.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as tasks:
            for address in addresses:
                over = anyio.Event()
                tasks.start_soon(attempt, address, over)
                with anyio.move_on_after(_HEAD_START):
                    await over.wait()
    except BaseException:
        for stream in streams:
            await anyio.aclose_forcefully(stream)
        raise

    for late in streams[1:]:
        await anyio.aclose_forcefully(late)

    if not streams:
        raise failures[0]

    return streams[0]


class Guard(Network):
    """Makes connections, and closes those that lead to a forbidden address before a byte is sent.

    It checks the connected socket, so a name that changes its address in between gains nothing. `check` raises for an
    address that is not allowed.
    """

    def __init__(self, check: Callable[[str], None]) -> None:
        self._check = check

    async def connect_tcp(
        self, host: str, port: int, *others: Any, **options: Any
    ) -> httpcore.AsyncNetworkStream:
        """Connect, and check the address."""
        stream = await super().connect_tcp(host, port, *others, **options)
        try:
            self._check_peer(stream)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await stream.aclose()
            raise

        return stream

    def _check_peer(self, stream: httpcore.AsyncNetworkStream) -> None:
        address = stream.get_extra_info("server_addr")
        if address is None:
            raise httpcore.ConnectError("the connection was lost")

        self._check(address[0])


class Stream(httpcore.AsyncNetworkStream):
    """An open connection."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._tls = stream.extra(TLSAttribute.ssl_object, None)
        self._socket = stream.extra(SocketAttribute.raw_socket)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            data = await self._stream.receive(_MOST)
        except anyio.EndOfStream:
            return b""
        except _BROKEN as error:
            raise httpcore.ReadError(str(error)) from error

        return data if self._tls is None else b"".join([data, *self._decrypted(_MOST - len(data))])

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            try:
                await self._stream.send(buffer)
            except _BROKEN as error:
                raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        with _raised_as(httpcore.ConnectError):
            try:
                secured = await TLSStream.wrap(
                    self._stream,
                    ssl_context=ssl_context,
                    hostname=server_hostname,
                    standard_compatible=False,
                    server_side=False,
                )
            except BaseException:
                await anyio.aclose_forcefully(self._stream)
                raise

        return Stream(secured)

    def get_extra_info(self, info: str) -> Any:
        match info:
            case "is_readable":
                return _is_readable(self._socket.fileno())
            case "server_addr":
                return self._stream.extra(SocketAttribute.remote_address, None)
            case "ssl_object":
                return self._tls
            case _:
                return None

    def _decrypted(self, room: int) -> Iterator[bytes]:
        """Yield further records that have arrived: TLS hands over 16 KB at a time, each a turn of the loop."""
        while room > 0:
            try:
                data = self._tls.read(room)  # type: ignore[union-attr]
            except ssl.SSLError:  # Nothing more has arrived; whatever is wrong is raised by the next read.
                return

            if not data:
                return

            yield data
            room -= len(data)


def _reason(error: OSError) -> str:
    """Return what the system reported: anyio only says that all addresses failed."""
    cause = error.__cause__
    if isinstance(cause, ExceptionGroup):
        [cause, *_] = cause.exceptions
    if isinstance(cause, OSError):
        error = cause

    # EAGAIN is ours: there was no thread for the look-up.
    if error.errno in {None, errno.EAGAIN} or isinstance(error, socket.gaierror):
        return error.strerror or str(error)

    return os.strerror(error.errno)


@contextmanager
def _raised_as(error: type[Exception]) -> Iterator[None]:
    try:
        yield
    except (*_BROKEN, anyio.EndOfStream) as broken:
        raise error(str(broken)) from broken


def _is_readable(descriptor: int) -> bool:
    """Return whether a connection that should be silent is not: the server has closed it."""
    if descriptor < 0:
        return True

    if not hasattr(select, "poll"):  # Windows, where select takes any descriptor.
        return bool(select.select([descriptor], [], [], 0)[0])

    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(0))
