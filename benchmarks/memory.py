"""What is remembered, kept and needed for a moment, in bytes."""

import asyncio
import gc
import tempfile
import time
from pathlib import Path

from benchmarks import _ours, pages, server
from benchmarks.measuring import (
    Effort,
    forget_peak,
    in_fresh_process,
    peak_resident,
    resident,
    spread,
)
from benchmarks.peers import DECODERS
from benchmarks.results import Bound, Result, Table, shown
from greenapi_async import MemoryStore

_MEGABYTE = 1e6
_BATCH = 500
_LARGE = 22_000_000


async def measure(effort: Effort) -> list[Result]:
    """Measure each in a process of its own."""
    ids = effort.of(1_000_000, 10_000)
    clients = effort.of(10_000, 1_000)
    large = pages.count_for(effort.of(_LARGE, _LARGE // 10))
    polls = effort.of(10_000, 20)

    alone = spread([in_fresh_process(remember, ids, 1) for _ in range(3)])
    batches = in_fresh_process(remember, ids, _BATCH)
    of_client, seconds = in_fresh_process(many_clients, clients)
    growth = in_fresh_process(poll_the_same, polls)
    needed = spread([in_fresh_process(fetch_large, large) for _ in range(3)])
    return [
        Bound(f"bytes for each of {ids:,} ids in `MemoryStore`, each recorded alone", 140, alone),
        Bound("memory while 22 MB are fetched: beyond the objects, of the body", 2, needed),
        Table(
            "Memory",
            "Resident memory of a process of its own.",
            ["what", "is"],
            [
                [
                    f"{ids:,} ids in `MemoryStore`, each recorded alone",
                    f"{alone.median * ids / _MEGABYTE:.0f} MB",
                ],
                [f"the same, recorded {_BATCH} at a time", f"{batches * ids / _MEGABYTE:.0f} MB"],
                [f"one of {clients:,} clients made by `for_instance`", f"{of_client:,.0f} bytes"],
                ["making it", f"{seconds * 1e6:.0f} µs"],
                [f"growth over {polls:,} polls of a 2 MB page", f"{growth / _MEGABYTE:+.1f} MB"],
            ],
        ),
        _peaks(effort),
    ]


def _peaks(effort: Effort) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "page.json")
        body = pages.body(pages.count_for(effort.of(_LARGE, _LARGE // 10)))
        path.write_bytes(body)
        rows = []
        for name in DECODERS:
            peak, kept = in_fresh_process(decode_large, name, path)
            rows.append([name, shown(peak / len(body)), shown(kept / len(body))])

    return Table(
        "Memory while a large response is decoded",
        f"Beyond the body of {len(body) / _MEGABYTE:.0f} MB, as a multiple of it: at the peak, and what the objects keep.",
        ["", "peak", "objects"],
        rows,
    )


def remember(count: int, batch: int) -> float:
    """Return the bytes that a store takes for one id, where so many are recorded at a time."""
    return asyncio.run(_remember(count, batch))


def many_clients(count: int) -> tuple[float, float]:
    """Return the bytes and the seconds for one client over shared connections."""
    first = _ours.client("https://api.green-api.com")
    first.for_instance(1, _ours.TOKEN)
    gc.collect()
    before, began = resident(), time.perf_counter()
    clients = [first.for_instance(1101000000 + number, f"{number:050}") for number in range(count)]
    seconds = time.perf_counter() - began
    return (resident() - before) / len(clients), seconds / count


def poll_the_same(polls: int) -> int:
    """Return by how much memory grows while a poller sees the same page again and again."""
    with server.running() as addresses:
        return asyncio.run(_poll_the_same(addresses.plain, polls))


def fetch_large(statuses: int) -> float:
    """Return what fetching so many statuses takes at its peak beyond them, in units of the body."""
    with server.running() as addresses:
        return asyncio.run(_fetch_large(addresses.plain, statuses))


def decode_large(decoder: str, path: Path) -> tuple[int, int]:
    """Return the bytes that decoding takes beyond the body: at its peak, and for what it returns."""
    return asyncio.run(_decode_large(decoder, path))


async def _remember(count: int, batch: int) -> float:
    store = MemoryStore()
    before = resident()
    for first in range(0, count, batch):
        ids = [f"{number:032X}" for number in range(first, first + batch)]
        await store.record(_ours.SCOPE, ids, None, pages.FIRST + first / 1000)

    return (resident() - before) / count


async def _poll_the_same(api_url: str, polls: int) -> int:
    async with _ours.client(api_url, statuses=pages.count_for(2_000_000)) as client:
        poller = client.poll()
        for _ in range(polls // 10):
            await (await poller.poll_once()).commit()

        before = resident()
        for _ in range(polls):
            await (await poller.poll_once()).commit()

        return resident() - before


async def _fetch_large(api_url: str, statuses: int) -> float:
    async with _ours.client(api_url) as client, _ours.client(api_url, statuses=statuses) as large:
        await client.fetch()
        gc.collect()
        before = resident()
        forget_peak()
        objects = await large.fetch()
        peak, kept = peak_resident() - before, resident() - before
        assert len(objects) == statuses
        return (peak - kept) / len(pages.body(statuses))


async def _decode_large(decoder: str, path: Path) -> tuple[int, int]:
    decode = DECODERS[decoder]
    await decode(pages.body(1))
    body = path.read_bytes()
    gc.collect()

    before = resident()
    forget_peak()
    objects = await decode(body)
    peak, kept = peak_resident() - before, resident() - before
    assert len(objects) > 1
    return peak, kept
