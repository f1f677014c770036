"""What the tests of downloads share: files to serve, faults of a media server, and looks at a directory."""

import resource
import signal
from contextlib import contextmanager

import anyio
import attrs

from greenapi_async import from_dict
from greenapi_async.simulator import Fault, Media

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 1024


@attrs.frozen
class Seen(Fault):
    """Answer regularly, and keep the request."""

    requests: list = attrs.field(factory=list)

    def answer(self, exchange):
        self.requests.append(exchange.request)
        return exchange.regular


@attrs.frozen
class Stall(Fault):
    """Send a part of the answer, and then nothing more."""

    keep: float = 0.5

    async def send(self, wire):
        await wire.send(wire.head + wire.body[: int(len(wire.body) * self.keep)])
        await anyio.sleep(60)


@attrs.frozen
class Steady(Fault):
    """Send so many bytes every so many seconds."""

    size: int
    every: float

    async def send(self, wire):
        await wire.send(wire.head)
        for start in range(0, len(wire.body), self.size):
            await anyio.sleep(self.every)
            await wire.send(wire.body[start : start + self.size])


@attrs.frozen
class Raw(Fault):
    """Send these bytes in place of an answer, and close."""

    data: bytes

    async def send(self, wire):
        await wire.send(self.data)
        wire.close()


def posted(api, content=JPEG, *, kind="image", **fields):
    """Return a status whose file the simulator serves."""
    item = api.post(kind, **fields)
    serve(api, item["downloadUrl"], content)
    return from_dict(item)


def serve(api, url, content):
    name = url.rpartition("/")[2]
    api.media[name] = attrs.evolve(
        api.media.get(name) or Media(content=b"", content_type="application/octet-stream"), content=content
    )


def tree(directory):
    """Return what lies below a directory: the bytes of every file, and where every symlink leads."""
    return {
        str(path.relative_to(directory)): path.readlink() if path.is_symlink() else path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@contextmanager
def files_no_larger_than(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
