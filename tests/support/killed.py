"""Processes that poll into one file: killed at random moments, or four at once; and what they saw.

`python tests/support/killed.py 200` kills so often, with `--proxy` behind a proxy that fails at random;
`tests/test_killed.py` runs shorter ones.
"""

import functools
import multiprocessing
import os
import random
import sys
import tempfile
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import attrs
from proxies import way_to

from greenapi_async import AsyncStatusesClient
from greenapi_async.simulator import Simulator

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    ["__main__", "greenapi_async.simulator", "greenapi_async._decoding.converter", "sqlite3"]
)
_LONG_ENOUGH = 30.0


@attrs.frozen(kw_only=True)
class Report:
    """What a run came to: the ids that the server had, and what was seen, as pairs of process and id."""

    posted: set
    lines: list
    kills: int = 0

    @property
    def seen(self):
        return Counter(id_message for _, id_message in self.lines)

    @property
    def lost(self):
        return self.posted - self.seen.keys()

    @property
    def repeats(self):
        return self.seen.total() - len(self.seen)

    @property
    def most_by_one(self):
        return max(Counter(self.lines).values())


def consume(api, directory, way):
    """Poll for ever and write down every id, as the process that is to be killed."""

    os.environ.update(api.environment)

    async def main():
        out = os.open(directory / "seen.txt", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        async with AsyncStatusesClient(
            api.id_instance, api.token, api_url=api.url, max_rate=None, timeout=5.0
        ) as client:
            async for status in _statuses(client, directory / "seen.db", way):
                os.write(out, f"{os.getpid()} {status.id_message}\n".encode())

    anyio.run(main)


async def _statuses(client, file, way):
    if way != "poll_once":
        async for status in client.poll(interval=0.005, store=file, delivery=way):
            yield status

    while True:
        batch = await client.poll(store=file).poll_once()
        for status in batch.statuses:
            yield status
        await batch.commit()


@attrs.frozen(kw_only=True)
class Api:
    """What a process has to know of the simulator."""

    url: str
    id_instance: str
    token: str
    environment: dict


@asynccontextmanager
async def serving(*, proxy):
    """Run a simulator, behind a proxy or not; yield it and what a process has to know."""
    async with Simulator(max_rate=None) as simulator, way_to(simulator, proxy=proxy) as (url, environment):
        api = Api(url=url, id_instance=simulator.id_instance, token=simulator.token, environment=environment)
        yield simulator, api


@asynccontextmanager
async def consumer(*arguments):
    """Run a process of `consume`, and kill it."""
    process = _PROCESSES.Process(target=consume, args=arguments)
    await anyio.to_thread.run_sync(process.start)
    try:
        yield
        assert process.is_alive()
    finally:
        process.kill()
        await anyio.to_thread.run_sync(process.join)


async def run(kills, directory, way="at-least-once", *, proxy=False):
    """Kill a process at random moments, and let a last one live until it has caught up."""
    dice = random.Random(kills)
    posted = set()

    async with serving(proxy=proxy) as (simulator, api):
        for kill in range(kills):
            async with consumer(api, directory, way):
                if kill % 4:  # Every fourth dies while it begins.
                    await _first_question(simulator)
                posted.update(simulator.post("text")["idMessage"] for _ in range(dice.randint(1, 12)))
                await anyio.sleep(dice.uniform(0, 0.03))

        last = simulator.post("text")["idMessage"]
        posted.add(last)
        with anyio.fail_after(_LONG_ENOUGH):
            async with consumer(api, directory, way):
                await _seen(last, directory)

    return Report(posted=posted, lines=lines_in(directory), kills=kills)


async def run_at_once(processes, directory, way):
    """Let several processes poll at once until one has seen the last status."""
    posted = set()

    async with serving(proxy=False) as (simulator, api), AsyncExitStack() as consumers:
        for _ in range(processes):
            await consumers.enter_async_context(consumer(api, directory, way))

        for _ in range(100):
            last = simulator.post("text")["idMessage"]
            posted.add(last)
            await anyio.sleep(0.005)

        with anyio.fail_after(_LONG_ENOUGH):
            await _seen(last, directory)

    return Report(posted=posted, lines=lines_in(directory))


async def _first_question(simulator):
    before = len(simulator.requests)
    while len(simulator.requests) == before:
        await anyio.sleep(0.001)


async def _seen(id_message, directory):
    while id_message not in {seen for _, seen in lines_in(directory)}:
        await anyio.sleep(0.01)


def lines_in(directory):
    """Return what consumers wrote down, as pairs of process and id."""
    out = directory / "seen.txt"
    return [tuple(line.split()) for line in out.read_text().splitlines()] if out.exists() else []


def main(kills, *, proxy):
    for way in ("at-least-once", "at-most-once"):
        with tempfile.TemporaryDirectory() as name:
            report = anyio.run(functools.partial(run, kills, Path(name), way, proxy=proxy))
        print(
            f"{way}: {report.kills} kills, {len(report.posted)} statuses, "
            f"{len(report.lost)} lost, {report.repeats} repeated"
        )
        at_most = report.kills if way == "at-most-once" else 0
        assert len(report.lost) <= at_most
        assert report.repeats <= report.kills - at_most


if __name__ == "__main__":
    main(int(sys.argv[1]), proxy="--proxy" in sys.argv)
