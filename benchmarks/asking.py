"""One request, compared with other clients."""

import asyncio
from statistics import median
from typing import Literal

import aiohttp
import httpx

from benchmarks import _ours, server
from benchmarks.measuring import Call, Costs, Effort, interleave, ratio
from benchmarks.peers import HTTPX_ORJSON, OURS, OURS_OVER_HTTPX_POOL, VENDOR, fetchers
from benchmarks.results import Bound, Plot, Result, Table, milliseconds, with_quartiles

_SIZES = (10, 100, 500, 5000)
_AT_ONCE = 100
_ROOMY = f"httpx that keeps {_AT_ONCE} connections"


async def measure(effort: Effort) -> list[Result]:
    """Fetch pages of every size, plain and over TLS, alone and a hundred at once."""
    with server.running() as addresses:
        return [
            await _against(HTTPX_ORJSON, addresses.plain, "cpu", 1.0, effort),
            await _against(VENDOR, addresses.tls, "wall", 0.45, effort),
            *await _at_once(addresses.plain, effort),
            await _peers("Fetching 100 statuses", addresses.plain, effort),
            await _peers("Fetching 100 statuses over TLS", addresses.tls, effort),
            await _by_size(addresses.plain, effort),
        ]


async def _against(
    peer: str, api_url: str, clock: Literal["cpu", "wall"], limit: float, effort: Effort
) -> Bound:
    async with fetchers(api_url, 100) as calls:
        assert len(await calls[OURS]()) == 100
        costs = await interleave({name: calls[name] for name in (OURS, peer)}, effort.of(60, 3))

    tls = " over TLS" if api_url.startswith("https") else ""
    what = {"cpu": "CPU", "wall": "wall time"}[clock]
    return Bound(f"`fetch` of 100{tls}: {what}, of {peer}", limit, ratio(costs[OURS], costs[peer], clock))


async def _at_once(api_url: str, effort: Effort) -> list[Result]:
    """Fetch empty responses; httpx keeps 20 connections by default, and is shown with all of them kept too."""
    kept = httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE)
    url = f"{api_url}/waInstance0/getIncomingStatuses/{_ours.TOKEN}"
    async with (
        _ours.client(api_url) as ours,
        httpx.AsyncClient() as bare,
        httpx.AsyncClient(limits=kept) as roomy,
        aiohttp.ClientSession() as session,
    ):

        async def aiohttp_read() -> None:
            async with session.get(url) as response:
                await response.read()

        contenders = {
            OURS: _many(ours.fetch),
            "httpx": _many(lambda: bare.get(url)),
            _ROOMY: _many(lambda: roomy.get(url)),
            "aiohttp": _many(aiohttp_read),
        }
        costs = await interleave(contenders, effort.of(60, 2))

    name = f"`fetch` of an empty response, {_AT_ONCE} at once: CPU, of {_ROOMY}"
    return [
        Bound(name, 0.3, ratio(costs[OURS], costs[_ROOMY], "cpu")),
        Table(
            "A hundred at once",
            f"Empty responses, {_AT_ONCE} requests at a time on one client; milliseconds for all of them. What httpx costs "
            "falls by half when its pool shrinks to a few connections, at a random moment; the rounds see both.",
            ["", "CPU ms", "wall ms", "CPU, ours being 1"],
            [_row(each, costs, "cpu") for each in costs],
        ),
    ]


def _many(call: Call) -> Call:
    async def calls() -> None:
        await asyncio.gather(*(call() for _ in range(_AT_ONCE)))

    return calls


async def _peers(title: str, api_url: str, effort: Effort) -> Table:
    async with fetchers(api_url, 100) as calls:
        costs = await interleave(calls, effort.of(20, 2))

    return Table(
        title,
        "One after the other. The vendor's SDK opens a new connection for every request, async or in a thread.",
        ["", "CPU ms", "wall ms", "wall, ours being 1"],
        [_row(each, costs, "wall") for each in costs],
    )


def _row(name: str, costs: dict[str, Costs], clock: Literal["cpu", "wall"]) -> list[str]:
    each = costs[name]
    relative = with_quartiles(ratio(each, costs[OURS], clock))
    return [name, milliseconds(each.cpu), milliseconds(each.wall), relative]


async def _by_size(api_url: str, effort: Effort) -> Plot:
    curves: dict[str, list[tuple[int, float]]] = {}
    for size in _SIZES[: effort.of(4, 2)]:
        async with fetchers(api_url, size) as calls:
            del calls[OURS_OVER_HTTPX_POOL]  # The pool matters with many connections only.
            costs = await interleave(calls, effort.of(10, 1))

        for name, each in costs.items():
            curves.setdefault(name, []).append((size, median(each.cpu) * 1000))

    return Plot("page-size", "CPU time of one request", "statuses in the response", curves)
