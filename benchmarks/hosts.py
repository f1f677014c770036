"""How many polls the instances of healthy hosts get while other hosts hang."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from statistics import median

from benchmarks import _ours, server
from benchmarks.measuring import Effort, spread
from benchmarks.results import Bound, Result, Table, shown
from greenapi_async import AsyncStatusesClient, Event, Polled

_HOSTS = 8
_HANGING = 4
_INSTANCES = 30  # Of each host: more than one may have requests under way.
_INTERVAL = 0.5
_TIMEOUT = 2.0


async def measure(effort: Effort) -> list[Result]:
    """Poll all hosts with one client, and let half of them hang in every second run."""
    logging.getLogger("greenapi_async").setLevel(logging.ERROR)  # Each poller would warn about its host.
    intervals = effort.of(9, 3)
    polls: dict[int, list[int]] = {0: [], _HANGING: []}
    with server.running(origins=_HOSTS, silent=_HANGING) as addresses:
        for _ in range(effort.of(3, 2)):
            for hanging, counts in polls.items():
                healthy = addresses.origins[: _HOSTS - _HANGING]
                others = addresses.origins[_HOSTS - _HANGING :]
                counts.append(await _polls(healthy, addresses.silent if hanging else others, intervals))

    got = [mine / usual for usual, mine in zip(*polls.values(), strict=True)]
    rows = [[str(hanging), shown(median(counts))] for hanging, counts in polls.items()]
    name = f"{_HANGING} of {_HOSTS} hosts hang: polls of the others' instances, of those when none hang"
    return [
        Bound(name, 0.98, spread(got), is_least=True),
        Table(
            "Beside hosts that hang",
            f"One client polls {_INSTANCES} instances of each of {_HOSTS} hosts every {_INTERVAL:g} s for "
            f"{intervals * _INTERVAL:g} s, with a timeout of {_TIMEOUT:g} s; polls of the four hosts that never hang.",
            ["hosts that hang", "polls, median"],
            rows,
        ),
    ]


async def _polls(healthy: Sequence[str], others: Sequence[str], intervals: int) -> int:
    """Return how many polls the instances of the healthy hosts got."""
    count = 0

    def note(event: Event) -> None:
        nonlocal count
        count += isinstance(event, Polled)

    dice = random.Random(7)
    async with _ours.client(healthy[0], timeout=_TIMEOUT) as client:
        tasks = [
            asyncio.create_task(_poll(client, origin, dice.random() * _INTERVAL, note if counted else None))
            for counted, origins in ((False, others), (True, healthy))
            for origin in origins
            for _ in range(_INSTANCES)
        ]
        await asyncio.sleep(intervals * _INTERVAL)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    return count


async def _poll(
    client: AsyncStatusesClient, origin: str, offset: float, note: Callable[[Event], None] | None
) -> None:
    await asyncio.sleep(offset)
    instance = client.for_instance(0, _ours.TOKEN, api_url=origin)
    async for _ in instance.poll(_INTERVAL, on_event=note):
        pass
