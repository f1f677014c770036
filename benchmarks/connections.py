"""What a request costs beside idle connections, each to an origin of its own."""

import asyncio
import resource
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks import _ours, server
from benchmarks.measuring import Call, Costs, Effort, interleave, ratio
from benchmarks.peers import OURS, OURS_OVER_HTTPX_POOL
from benchmarks.results import Bound, Plot, Result, Table, milliseconds, with_quartiles
from greenapi_async import AsyncStatusesClient

_COUNTS = (1, 10, 100, 300, 1000)
_UNLIMITED = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=600)
_PORTION = 100


async def measure(effort: Effort) -> list[Result]:
    """Send requests to one origin, alone and beside up to 999 others."""
    _open_many_files()
    counts = _COUNTS[: effort.of(5, 3)]
    kept: dict[int, int] = {}
    async with AsyncExitStack() as stack:
        origins = stack.enter_context(server.running(origins=counts[-1])).origins
        ours: dict[int, Call] = {}
        stock: dict[int, Call] = {}
        for count in counts:
            before = _open_files()
            client = await stack.enter_async_context(_ours.client(origins[0]))
            ours[count] = await _connected(client, origins[:count])
            kept[count] = _open_files() - before
            pool = await _httpx_connected(origins[:count])
            stack.push_async_callback(pool.aclose)
            stock[count] = _ours.client(origins[0], http_client=pool).fetch

        return [
            await _bound(ours[1], ours[counts[-1]], counts[-1], effort),
            *await _by_count(ours, stock, kept, effort),
        ]


async def _bound(alone: Call, beside: Call, count: int, effort: Effort) -> Bound:
    costs = await interleave({"alone": alone, "beside": beside}, effort.of(60, 3))
    name = f"a request beside idle connections, {count:,} origins: CPU, of one with a single origin"
    return Bound(name, 1.15, ratio(costs["beside"], costs["alone"], "cpu"))


async def _by_count(
    ours: dict[int, Call], stock: dict[int, Call], kept: dict[int, int], effort: Effort
) -> list[Result]:
    mine = await interleave(ours, effort.of(30, 2))
    theirs = await interleave(stock, effort.of(10, 2))  # After ours: it empties the processor's caches.
    rows = [
        [f"{count:,}", f"{kept[count]:,}", *_growth(mine, count), *_growth(theirs, count)] for count in ours
    ]
    curves = {OURS: _curve(mine), OURS_OVER_HTTPX_POOL: _curve(theirs)}

    note = (
        "CPU time of one `fetch` of an empty response, with our own pool and with httpx's, which keeps every connection; "
        "and of the same with a single origin."
    )
    head = ["origins", "connections kept", "ours, ms", "of one", "httpx's pool, ms", "of one"]
    return [
        Table("Beside idle connections", note, head, rows),
        Plot("connections", "CPU time of one request beside idle connections", "origins", curves),
    ]


def _growth(costs: dict[int, Costs], count: int) -> tuple[str, str]:
    return milliseconds(costs[count].cpu), with_quartiles(ratio(costs[count], costs[1], "cpu"))


def _curve(costs: dict[int, Costs]) -> list[tuple[int, float]]:
    return [(count, median(each.cpu) * 1000) for count, each in costs.items()]


async def _connected(client: AsyncStatusesClient, origins: Sequence[str]) -> Call:
    """Send a request to every origin, and return a function that sends one to the first again."""
    instances = [client.for_instance(0, _ours.TOKEN, api_url=origin) for origin in origins]
    await asyncio.gather(*(each.fetch() for each in instances))
    await instances[0].fetch()
    return instances[0].fetch


async def _httpx_connected(origins: Sequence[str]) -> httpx.AsyncClient:
    """Return httpx's own client, connected to every origin.

    One pool would take minutes to connect to a thousand, so several share the work.
    """
    portions = [origins[start : start + _PORTION] for start in range(0, len(origins), _PORTION)]
    first, *others = [await _httpx_connected_one_by_one(portion) for portion in portions]
    for other in others:
        _connections(first).extend(_connections(other))
        _connections(other).clear()

    return first


async def _httpx_connected_one_by_one(origins: Sequence[str]) -> httpx.AsyncClient:
    client = httpx.AsyncClient(limits=_UNLIMITED)
    for origin in origins:
        await client.get(origin)

    return client


def _connections(client: httpx.AsyncClient) -> list[Any]:
    transport = client._transport  # noqa: SLF001 - neither httpx nor httpcore shows its pool.
    assert isinstance(transport, httpx.AsyncHTTPTransport)
    return transport._pool._connections  # noqa: SLF001


def _open_many_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
