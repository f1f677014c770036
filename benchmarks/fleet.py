"""What many instances in one process cost, and what a host that hangs and a slow consumer do to them."""

import asyncio
import gc
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path

import attrs

from benchmarks import _ours, server
from benchmarks.measuring import (
    Costs,
    Effort,
    Spread,
    forget_peak,
    in_fresh_process,
    peak_resident,
    ratio,
    resident,
    spread,
)
from benchmarks.results import Bound, Plot, Result, Table, shown
from greenapi_async import Event, Fleet, Polled

_MEGABYTE = 1e6
_KIND = 1_000_000  # Only what is below it says how many statuses an instance has.
_HOSTS = 8
_STORES = ("memory", "SQLite")


@attrs.frozen
class Run:
    """What a fleet did for a while, in its steady state.

    Attributes:
        cpu: of a core.
        bytes: that it has in memory beyond the process without instances.
        worst_gap: between two polls of an instance, in intervals.
        peak: polls in the busiest second, of the mean.
    """

    cpu: float
    bytes: int
    worst_gap: float
    peak: float


async def measure(effort: Effort) -> list[Result]:
    """Compare a fleet's poll to a bare `fetch`, and run fleets of many sizes."""
    counts = (1_000, 3_000, 10_000) if not effort.quick else (300,)
    interval = effort.of(60, 2)
    polls = {store: in_fresh_process(poll_beside_fetch, store, effort) for store in _STORES}
    runs = {
        store: {count: in_fresh_process(run_steadily, store, count, interval) for count in counts}
        for store in _STORES
    }
    most = runs["memory"][counts[-1]]
    kept = in_fresh_process(polls_kept, effort)
    growth = in_fresh_process(run_slowly, 600, effort) / in_fresh_process(run_slowly, 300, effort) - 1

    return [
        Bound("a fleet's poll of an empty answer: CPU, of a bare `fetch` of it", 1.8, polls["memory"]),
        Bound("the same over `SQLiteStore`", 3, polls["SQLite"]),
        Bound(f"{counts[-1]:,} instances: memory over the base", 200, _one(most.bytes / _MEGABYTE), "MB"),
        Bound(
            f"{counts[-1]:,} instances: the worst gap between two polls of one, of the interval",
            1.1,
            _one(most.worst_gap),
        ),
        Bound(f"{counts[-1]:,} instances: the busiest second, of the mean", 2, _one(most.peak)),
        Bound(
            "four of eight hosts hang: polls of the others' instances, of those that are due",
            0.98,
            _one(kept),
            is_least=True,
        ),
        Bound("300 instances become 600, with a slow consumer: growth of memory", 0.1, _one(growth)),
        _table(runs, interval),
        *_plots(runs, interval),
    ]


def poll_beside_fetch(store: str, effort: Effort) -> Spread:
    """Return what a poll costs of a `fetch`, round by round."""
    with server.running(origins=_HOSTS) as addresses:
        return asyncio.run(_poll_beside_fetch(addresses.origins, store, effort))


def run_steadily(store: str, count: int, interval: int) -> Run:
    """Return what so many instances do in an interval, after one to warm up."""
    with server.running(origins=_HOSTS) as addresses:
        return asyncio.run(_run_steadily(addresses.origins, store, count, interval))


def polls_kept(effort: Effort) -> float:
    """Return the share of their polls that healthy hosts get beside as many that hang."""
    with server.running(origins=_HOSTS // 2, silent=_HOSTS // 2) as addresses:
        return asyncio.run(_polls_kept(addresses, effort))


def run_slowly(count: int, effort: Effort) -> float:
    """Return the bytes at the peak of a fleet whose consumer is slower than its statuses come."""
    with server.running(origins=_HOSTS) as addresses:
        return asyncio.run(_run_slowly(addresses.origins, count, effort))


class _Watched:
    """When each instance was polled."""

    def __init__(self) -> None:
        self.times: defaultdict[str, list[float]] = defaultdict(list)

    def __call__(self, id_instance: str, event: Event) -> None:
        if isinstance(event, Polled):
            self.times[id_instance].append(time.perf_counter())

    def since(self, began: float) -> list[float]:
        return [at for times in self.times.values() for at in times if at >= began]


async def _poll_beside_fetch(origins: Sequence[str], store: str, effort: Effort) -> Spread:
    ours, fetch = Costs(), Costs()
    instances, interval, seconds = effort.of(500, 50), 3.0, effort.of(4, 2)  # 167 a second: 10,000 a minute.
    async with _ours.client(origins[0]) as client:
        await client.fetch()
        for _ in range(effort.of(5, 2)):
            calls = effort.of(1500, 50)
            began = time.process_time()
            for _ in range(calls):
                await client.fetch()
            fetch.cpu.append((time.process_time() - began) / calls)
            async with _fleet(origins, instances, store, interval) as watched:
                await asyncio.sleep(1.5 * interval)
                began, cpu = time.perf_counter(), time.process_time()
                await asyncio.sleep(seconds)
                ours.cpu.append((time.process_time() - cpu) / len(watched.since(began)))

    return ratio(ours, fetch, "cpu")


async def _run_steadily(origins: Sequence[str], store: str, count: int, interval: int) -> Run:
    async with _ours.client(origins[0]) as client:
        await client.fetch()  # What is loaded late is no instance's.

    async with _fleet(origins, 1, store, 0.05):
        await asyncio.sleep(0.5)

    gc.collect()
    before = resident()
    async with _fleet(origins, count, store, interval) as watched:
        await asyncio.sleep(interval + 2)
        cpu, began = time.process_time(), time.perf_counter()
        await asyncio.sleep(interval)
        used, wall = time.process_time() - cpu, time.perf_counter() - began
        taken = resident() - before

    polls = watched.since(began)
    seconds = Counter(int(at - began) for at in polls)
    gaps = [later - earlier for times in watched.times.values() for earlier, later in pairwise(times)]
    return Run(
        cpu=used / wall,
        bytes=taken,
        worst_gap=max(gaps) / interval,
        peak=max(seconds.values()) * wall / len(polls),
    )


async def _polls_kept(addresses: server.Addresses, effort: Effort) -> float:
    interval, rounds = 5.0, effort.of(12, 2)
    origins = [*addresses.origins, *addresses.silent]
    async with _fleet(origins, effort.of(400, 80), "memory", interval, patience=5.0) as watched:
        await asyncio.sleep(interval * rounds)

    return len(watched.since(0.0)) / (effort.of(400, 80) // 2 * rounds)


async def _run_slowly(origins: Sequence[str], count: int, effort: Effort) -> float:
    async with _fleet(
        origins, effort.of(count, count // 10), "SQLite", 2.0, statuses=200, slots=20, handled_in=0.1
    ):
        forget_peak()
        await asyncio.sleep(effort.of(20, 3))
        return peak_resident()


@asynccontextmanager
async def _fleet(
    origins: Sequence[str],
    count: int,
    store: str,
    interval: float,
    *,
    statuses: int = 0,
    slots: int = 100,
    handled_in: float = 0.0,
    patience: float = 60.0,
) -> AsyncIterator[_Watched]:
    """Run a fleet of so many instances, and a consumer of it."""
    watched = _Watched()
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(
            interval=interval,
            store=None if store == "memory" else Path(folder, "seen.db"),
            slots=slots,
            on_event=watched,
            timeout=patience,
        )
        async with fleet:
            for number in range(count):
                id_instance = (1101 + number) * _KIND + statuses
                fleet.add(id_instance, _ours.TOKEN, api_url=origins[number % len(origins)])
            consumer = asyncio.create_task(_consume(fleet, handled_in))
            try:
                yield watched
            finally:
                consumer.cancel()
                with suppress(asyncio.CancelledError):
                    await consumer


async def _consume(fleet: Fleet, handled_in: float) -> None:
    async for batch in fleet:
        async with batch:
            await asyncio.sleep(handled_in)


def _one(value: float) -> Spread:
    return spread([value, value])


def _table(runs: dict[str, dict[int, Run]], interval: int) -> Table:
    return Table(
        "Many instances in one process",
        f"`Fleet` on eight hosts, polling each instance every {interval} s; nothing is new. The server is another process.",
        [
            "instances",
            "store",
            "of a core, %",
            "memory, MB",
            "worst gap, of the interval",
            "busiest second, of the mean",
        ],
        [
            [
                f"{count:,}",
                store,
                shown(run.cpu * 100),
                shown(run.bytes / _MEGABYTE),
                f"{run.worst_gap:.3f}",
                f"{run.peak:.2f}",
            ]
            for store, by_count in runs.items()
            for count, run in by_count.items()
        ],
    )


def _plots(runs: dict[str, dict[int, Run]], interval: int) -> list[Plot]:
    cpu = {
        store: [(count, run.cpu * 100) for count, run in by_count.items()] for store, by_count in runs.items()
    }
    memory = {
        store: [(count, run.bytes / _MEGABYTE) for count, run in by_count.items()]
        for store, by_count in runs.items()
    }
    return [
        Plot("fleet-cpu", f"CPU of a fleet that polls every {interval} s", "instances", cpu, "% of a core"),
        Plot("fleet-memory", "Memory of a fleet", "instances", memory, "MB"),
    ]
