"""Proxies of the tests' own on loopback, HTTP and SOCKS, that work or fail in every phase of a set-up."""

import random
import ssl
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
from anyio.abc import SocketAttribute
from loopback import pump_both_ways, with_tls

_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, ssl.SSLError, OSError)
_FAILURES = ["silent", "closes", "refuses", "sends garbage", "TLS silent", "TLS closes"]


class Proxy:
    """A proxy whose every tunnel leads to the TLS front of one port of this machine.

    Attributes:
        kind: `"http"`, `"https"` or `"socks5"`.
        phase: what goes wrong, and where; `"works"` where nothing does.
        connections: how many are open.
        targets: where the tunnels were to lead.
    """

    def __init__(self, kind, leads_to, phase="works", certificate="localhost"):
        self.kind = kind
        self.phase = phase
        self.connections = 0
        self.targets = []
        self.port = None
        self._certificate = certificate
        self._leads_to = leads_to

    @property
    def url(self):
        user = "user:secret@" if self.phase == "wants a password" else ""
        return f"{self.kind}://{user}localhost:{self.port}"

    @asynccontextmanager
    async def running(self):
        """Listen, on the port of the last time where there was one."""
        async with (
            await anyio.create_tcp_listener(
                local_host="127.0.0.1", local_port=self.port or 0, backlog=256
            ) as listener,
            anyio.create_task_group() as tasks,
        ):
            self.port = listener.extra(SocketAttribute.local_port)
            tasks.start_soon(listener.serve, self._serve)
            yield self
            tasks.cancel_scope.cancel()

    async def _serve(self, client):
        self.connections += 1
        try:
            async with client:
                await self._set_up(await with_tls(client) if self.kind == "https" else client)
        except _GONE:
            pass
        finally:
            self.connections -= 1

    async def _set_up(self, client):
        match self.phase:
            case "silent":
                await _hear_out(client)
            case "closes":
                await client.receive()
            case "sends garbage":
                await client.receive()
                await client.send(b"\x16\x03\x01 no proxy at all\r\n\r\n")
                await _hear_out(client)
            case _:
                await (self._socks(client) if self.kind == "socks5" else self._connect(client))

    async def _connect(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            head += await client.receive()

        self.targets.append(head.split(b" ", 2)[1].decode())
        match self.phase:
            case "refuses":
                await client.send(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno")
            case "wants a password":
                await client.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            case "replies in pieces":
                for piece in (_ESTABLISHED[:12], _ESTABLISHED[12:-2], _ESTABLISHED[-2:]):
                    await client.send(piece)
                    await anyio.sleep(0.01)
                await self._tunnel(client)
            case _:
                await client.send(_ESTABLISHED)
                await self._tunnel(client)

    async def _socks(self, client):
        await client.receive()
        match self.phase:
            case "wants a password":
                await client.send(b"\x05\x02")
                await client.receive()
                await client.send(b"\x01\x01")
                return
            case _:
                await client.send(b"\x05\x00")

        request = await client.receive()
        self.targets.append(request[5:-2].decode())
        match self.phase:
            case "refuses":
                await client.send(b"\x05\x05\x00\x01" + bytes(6))
            case "replies in pieces":
                for byte in b"\x05\x00\x00\x01" + bytes(6):
                    await client.send(bytes([byte]))
                    await anyio.sleep(0.001)
                await self._tunnel(client)
            case _:
                await client.send(b"\x05\x00\x00\x01" + bytes(6))
                await self._tunnel(client)

    async def _tunnel(self, client):
        match self.phase:
            case "TLS silent":
                await _hear_out(client)
            case "TLS closes":
                await client.receive()
            case _:
                async with await anyio.connect_tcp("127.0.0.1", self._leads_to) as server:
                    await pump_both_ways(await with_tls(client, self._certificate), server)


class FailingProxy(Proxy):
    """A CONNECT proxy that leads https://api.test to a port of this machine, and fails at random.

    One set-up in five fails in some phase, and no tunnel lives for long.
    """

    def __init__(self, leads_to):
        super().__init__("http", leads_to)
        self._dice = random.Random()

    @property
    def environment(self):
        """What a process that goes through it has in its environment."""
        certificate = Path(__file__).parents[1] / "tls" / "localhost.pem"
        return {"https_proxy": self.url, "no_proxy": "", "SSL_CERT_FILE": str(certificate)}

    async def _set_up(self, client):
        phase = self._dice.choice(_FAILURES) if self._dice.random() < 0.2 else "works"
        lifetime = self._dice.expovariate(2.0) if phase == "works" else 60.0
        with anyio.move_on_after(lifetime):
            await Proxy(self.kind, self._leads_to, phase)._set_up(client)


@asynccontextmanager
async def way_to(api, *, proxy):
    """Yield the URL of a simulator and what its clients have in their environment, behind a failing proxy or not."""
    if not proxy:
        yield api.url, {}
        return

    async with FailingProxy(httpx.URL(api.url).port).running() as failing:
        yield "https://api.test", failing.environment


async def _hear_out(client):
    """Say nothing until the client has gone."""
    async for _ in client:
        pass
