"""How long the event loop delays other tasks while a large response comes in."""

import asyncio
import gc
import statistics

from benchmarks import pages, server
from benchmarks.measuring import Effort, spread, worst_delay
from benchmarks.peers import OURS, fetchers
from benchmarks.results import Bound, Result, Table, shown

_LARGE = 22_000_000


async def measure(effort: Effort) -> list[Result]:
    """Fetch 22 MB while a task ticks."""
    count = pages.count_for(effort.of(_LARGE, _LARGE // 10))
    rounds = effort.of(11, 2)
    delays: dict[str, list[float]] = {}
    with server.running() as addresses:
        async with fetchers(addresses.plain, count) as calls:
            gc.collect()
            gc.freeze()  # What was imported costs no contender's collections.
            for name, call in {"(nothing)": _nothing, **calls}.items():
                await call()
                delays[name] = [await worst_delay(call) * 1000 for _ in range(rounds)]

    rows = [[name, shown(statistics.median(each)), shown(min(each))] for name, each in delays.items()]
    return [
        Bound("the event loop's worst delay while 22 MB are fetched", 5, spread(delays[OURS]), "ms"),
        Table(
            "The event loop's worst delay",
            f"While a response with {count:,} statuses, 22 MB, is fetched: the longest that a callback waited. The "
            "first line is what the machine's other work does.",
            ["", f"ms, median of {rounds}", "ms, best"],
            rows,
        ),
    ]


async def _nothing() -> None:
    await asyncio.sleep(0.2)
