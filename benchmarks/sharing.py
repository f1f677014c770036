"""What a store costs that many machines share, beside the one in a file."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from redis.asyncio import Redis

from benchmarks import _ours, pages
from benchmarks.measuring import Call, Effort, interleave, ratio
from benchmarks.results import Bound, Result
from greenapi_async import Checkpoint, SQLiteStore, Store
from greenapi_async.stores.redis import RedisStore

_KNOWN = [f"{number:032X}" for number in range(100)]
_NOW = float(pages.FIRST)


async def measure(effort: Effort) -> list[Result]:
    """Do a tick's work in both stores; Redis is a process of its own, whose CPU is not counted."""
    with tempfile.TemporaryDirectory() as folder, _redis(Path(folder)) as port:
        client = Redis(port=port)
        in_file, shared = SQLiteStore(Path(folder, "seen.db")), RedisStore(client)
        idle = await interleave({"ours": _tick(shared, 0), "theirs": _tick(in_file, 0)}, effort.of(100, 2))
        busy = await interleave({"ours": _tick(shared, 1), "theirs": _tick(in_file, 1)}, effort.of(100, 2))
        await in_file.aclose()
        await client.aclose()

    name = "`RedisStore`: CPU of a poll's calls, of `SQLiteStore`'s"
    return [
        Bound(f"{name}, nothing new", 1.5, ratio(idle["ours"], idle["theirs"], "cpu")),
        Bound(f"{name}, one status new", 1.5, ratio(busy["ours"], busy["theirs"], "cpu")),
    ]


def _tick(store: Store, new: int) -> Call:
    numbers = count()

    async def tick() -> None:
        number = next(numbers)
        await store.load(_ours.SCOPE)
        await store.unseen(_ours.SCOPE, _KNOWN)
        ids = [f"new {number}"] if new else []
        await store.record(_ours.SCOPE, ids, Checkpoint(marks=(_NOW + number,) * 4), _NOW)

    return tick


@contextmanager
def _redis(folder: Path) -> Iterator[int]:
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("no redis-server in PATH: apt-get install redis-server")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]

    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield port
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
