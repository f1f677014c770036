"""The simulator behind a network in memory: the bytes of a socket, in the virtual time of trio's `MockClock`."""

import anyio
import httpcore
import trio

from greenapi_async.simulator._server import serve


def connect_in_memory(client, api, tasks):
    """Give a client's own transport such a network."""
    client.http_client._transport._direct = _Network(api, tasks)


class _Network(httpcore.AsyncNetworkBackend):
    """Connects to the one simulator, whatever the address."""

    def __init__(self, api, tasks):
        self._api = api
        self._tasks = tasks

    async def connect_tcp(self, host, port, **_):
        up, down = _Pipe(), _Pipe()
        self._tasks.start_soon(self._serve, _ServerEnd(up, down))
        return _ClientEnd(down, up)

    async def _serve(self, stream):
        try:
            await serve(stream, self._api.decide)
        finally:
            stream.close()


class _Pipe:
    """Bytes on their way in one direction; an error in place of the end where it was reset."""

    def __init__(self):
        self.end = None
        self._bytes = bytearray()
        self._readers = trio.lowlevel.ParkingLot()

    async def send(self, data):
        await trio.lowlevel.checkpoint()
        if self.end is not None:
            raise anyio.BrokenResourceError

        self._bytes += data
        self._readers.unpark_all()

    async def receive(self):
        while not self._bytes and self.end is None:
            await self._readers.park()

        data, self._bytes = bytes(self._bytes), bytearray()
        if not data and self.end == "reset":
            raise anyio.BrokenResourceError

        return data

    def close(self, end="closed"):
        self.end = self.end or end
        self._readers.unpark_all()


class _ClientEnd(httpcore.AsyncNetworkStream):
    def __init__(self, incoming, outgoing):
        self._incoming = incoming
        self._outgoing = outgoing

    async def read(self, *_, **__):
        try:
            return await self._incoming.receive()
        except anyio.BrokenResourceError as error:
            raise httpcore.ReadError from error

    async def write(self, buffer, *_, **__):
        if not buffer:
            return

        try:
            await self._outgoing.send(buffer)
        except anyio.BrokenResourceError as error:
            raise httpcore.WriteError from error

    async def aclose(self):
        self._incoming.close()
        self._outgoing.close()

    def get_extra_info(self, info):
        """Tell nothing: that the server closed is never known before the next request."""


class _ServerEnd:
    """As much of anyio's socket stream as the simulator uses."""

    def __init__(self, incoming, outgoing):
        self._incoming = incoming
        self._outgoing = outgoing
        self.send = outgoing.send

    async def receive(self):
        if data := await self._incoming.receive():
            return data

        raise anyio.EndOfStream

    def extra(self, _):
        """Return the raw socket, of which a reset sets SO_LINGER."""
        return self

    def setsockopt(self, *_):
        self._outgoing.close("reset")

    def close(self):
        self._incoming.close()
        self._outgoing.close()
