"""A server on loopback, in a process of its own, that sends prepared responses.

The instance's id says how many statuses its response has: `waInstance500` has 500, `waInstance0` none. Only the
last six digits count, so that there are many instances of each kind.
"""

import asyncio
import functools
import multiprocessing
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from multiprocessing.connection import Connection
from pathlib import Path

import attrs

from benchmarks import pages

CERTIFICATE = Path(__file__).parent.parent / "tests" / "tls" / "localhost.pem"

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


@attrs.frozen
class Addresses:
    """Where the server listens: plain, with TLS, at many origins that respond alike, and at some that never do."""

    plain: str
    tls: str
    origins: list[str]
    silent: list[str]


@contextmanager
def running(*, origins: int = 0, silent: int = 0) -> Iterator[Addresses]:
    """Run a server until the block ends."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_main, args=[there, origins, silent], daemon=True
    )
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()


def _main(pipe: Connection, origins: int, silent: int) -> None:
    asyncio.run(_serve(pipe, origins, silent))


async def _serve(pipe: Connection, origins: int, silent: int) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE, CERTIFICATE.with_suffix(".key"))

    plain = await _listen(None)
    tls = await _listen(context)
    others = [await _listen(None) for _ in range(origins)]
    silent_ones = [await _listen(None, asyncio.Protocol) for _ in range(silent)]
    pipe.send(
        Addresses(
            plain=f"http://127.0.0.1:{plain}",
            tls=f"https://localhost:{tls}",
            origins=[f"http://127.0.0.1:{port}" for port in others],
            silent=[f"http://127.0.0.1:{port}" for port in silent_ones],
        )
    )
    await asyncio.Event().wait()


async def _listen(context: ssl.SSLContext | None, protocol: type[asyncio.Protocol] | None = None) -> int:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol or _Exchange, "127.0.0.1", 0, ssl=context, backlog=1024)
    port: int = server.sockets[0].getsockname()[1]
    return port


class _Exchange(asyncio.Protocol):
    """Responds to the requests of one connection, one after the other."""

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        length = _CONTENT_LENGTH.search(head)
        if not end or len(rest) < int(length[1] if length else 0):
            return

        self._received = b""
        self._transport.write(_answer(head))
        if _CLOSE.search(head):
            self._transport.close()


def _answer(head: bytes) -> bytes:
    path = head.split(b" ", 2)[1]
    instance = re.search(rb"/waInstance(\d+)/", path)
    body = _page(int(instance[1][-6:] if instance else 0))
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
        b"Date: %b\r\nContent-Length: %d\r\n\r\n%b"
    ) % (formatdate(usegmt=True).encode(), len(body), body)


@functools.cache
def _page(count: int) -> bytes:
    return pages.body(count)
