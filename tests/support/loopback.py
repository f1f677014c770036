"""Servers of the tests' own on loopback: a plain proxy, a CONNECT proxy, and TLS in front of the simulator."""

import ssl
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSStream

_TLS = Path(__file__).parents[1] / "tls"


def trusting_context():
    """Return a client's context that trusts the tests' own certificate for localhost."""
    return ssl.create_default_context(cafile=_TLS / "localhost.pem")


@asynccontextmanager
async def plain_proxy():
    """Pass on requests whose request line holds a whole URL; yields the proxy's URL."""

    async def serve(client):
        method, target, rest = (await _head(client)).split(b" ", 2)
        url = httpx.URL(target.decode())
        async with await anyio.connect_tcp(url.host, url.port) as server:
            await server.send(b" ".join((method, url.raw_path, rest)))
            await pump_both_ways(client, server)

    async with _listening(serve) as port:
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def connect_proxy(leads_to=None, certificate="localhost"):
    """Tunnel by CONNECT, and speak TLS at the far end to a server that does not; yields the proxy's URL.

    With `leads_to`, every host is the one at that port.
    """

    async def serve(client):
        method, target, _ = (await _head(client)).split(b" ", 2)
        assert method == b"CONNECT"
        host, port = ("127.0.0.1", leads_to) if leads_to else target.decode().split(":")
        async with await anyio.connect_tcp(host, int(port)) as server:
            await client.send(b"HTTP/1.1 200 OK\r\n\r\n")
            await pump_both_ways(await with_tls(client, certificate), server)

    async with _listening(serve) as port:
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def tls_in_front_of(api, certificate="localhost"):
    """Speak TLS for the simulator, with one of the certificates in tests/tls; yields the URL."""

    async def serve(client):
        try:
            secured = await with_tls(client, certificate)
        except (anyio.BrokenResourceError, anyio.EndOfStream, ssl.SSLError):
            return  # The client did not like the certificate.

        async with await anyio.connect_tcp("127.0.0.1", httpx.URL(api.url).port) as server:
            await pump_both_ways(secured, server)

    async with _listening(serve) as port:
        yield f"https://localhost:{port}"


@asynccontextmanager
async def _listening(serve):
    async def serve_and_close(client):
        async with client:
            await serve(client)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, serve_and_close)
        yield listener.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


async def _head(client):
    head = b""
    while b"\r\n\r\n" not in head:
        head += await client.receive()
    return head


async def with_tls(client, certificate="localhost"):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    key = _TLS / f"{certificate}.key"
    context.load_cert_chain(_TLS / f"{certificate}.pem", key if key.exists() else _TLS / "localhost.key")
    return await TLSStream.wrap(client, server_side=True, ssl_context=context, standard_compatible=False)


async def pump_both_ways(client, server):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_pump, client, server)
        await _pump(server, client)
        tasks.cancel_scope.cancel()


async def _pump(source, target):
    try:
        async for chunk in source:
            await target.send(chunk)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, ssl.SSLError):
        pass
    finally:
        with anyio.CancelScope(shield=True):
            await target.aclose()
