"""How long the event loop lets others wait while a large answer comes in."""

import asyncio
import statistics

from benchmarks import pages, server
from benchmarks.measuring import Effort, worst_delay
from benchmarks.peers import fetchers
from benchmarks.results import Result, Table, shown

_LARGE = 22_000_000


async def measure(effort: Effort) -> list[Result]:
    """Fetch 22 MB while a task ticks."""
    count = pages.count_for(effort.of(_LARGE, _LARGE // 10))
    rounds = effort.of(5, 2)
    rows = []
    with server.running() as addresses:
        async with fetchers(addresses.plain, count) as calls:
            for name, call in {"(nothing)": _nothing, **calls}.items():
                await call()
                delays = [await worst_delay(call) for _ in range(rounds)]
                rows.append([name, shown(statistics.median(delays) * 1000), shown(min(delays) * 1000)])

    return [
        Table(
            "The event loop's worst delay",
            f"While an answer of {count:,} statuses, 22 MB, is fetched: the longest that a callback waited. The "
            "first line is what the machine's other work does.",
            ["", f"ms, median of {rounds}", "ms, best"],
            rows,
        )
    ]


async def _nothing() -> None:
    await asyncio.sleep(0.2)
