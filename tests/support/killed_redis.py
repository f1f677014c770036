"""Workers that publish into one stream, killed at random moments, or their Redis killed; and what the stream has then.

`python tests/support/killed_redis.py 200 20` kills workers so often, and then Redis; `tests/stores/test_redis_killed.py`
runs shorter ones.
"""

import functools
import json
import multiprocessing
import os
import random
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import attrs
from killed import serving
from redis.asyncio import Redis
from redis_servers import close, running

from greenapi_async import AsyncStatusesClient, Fleet, GreenApiError
from greenapi_async.stores.redis import RedisStore

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    [
        "__main__",
        "greenapi_async.fleet",
        "greenapi_async.stores.redis",
        "greenapi_async._decoding.converter",
        "redis.asyncio",
    ]
)
_LONG_ENOUGH = 60.0
_STREAM = "statuses"


@attrs.frozen(kw_only=True)
class Report:
    """What a run came to: the ids that the server had, and those in the stream."""

    posted: set
    published: Counter
    kills: int

    @property
    def lost(self):
        return self.posted - self.published.keys()

    @property
    def repeats(self):
        return self.published.total() - len(self.published)


async def poll(api, store):
    """Poll and publish for ever; what may pass is tried again."""
    async with AsyncStatusesClient(
        api.id_instance, api.token, api_url=api.url, max_rate=None, timeout=5.0
    ) as client:
        poller = client.poll(store=store)
        while True:
            try:
                await store.publish(await poller.poll_once(), _STREAM)
            except GreenApiError as error:
                if not error.retryable:
                    raise
            await anyio.sleep(0.005)


async def run_fleet(api, store):
    """Publish the batches of a fleet for ever, which waits for what may pass."""
    async with Fleet(interval=0.02, store=store, api_url=api.url, max_rate=None, timeout=5.0) as fleet:
        fleet.add(api.id_instance, api.token)
        async for batch in fleet:
            async with batch:
                await store.publish(batch, _STREAM)


def work(does, api, url):
    """Do that for ever, as the process that is to be killed."""
    os.environ.update(api.environment)

    async def main():
        await does(api, RedisStore(Redis.from_url(url)))

    anyio.run(main)


@contextmanager
def worker(does, api, redis):
    """Run a process that does it; it lives until it is killed."""
    process = _PROCESSES.Process(target=work, args=(does, api, redis.url))
    process.start()
    try:
        yield
        assert process.is_alive()
    finally:
        process.kill()
        process.join()


async def kill_workers(kills, directory):
    """Let two poll one instance, and kill one after the other at random moments: a loop of one's own, or a fleet."""
    dice = random.Random(kills)
    posted = set()

    with running(directory) as redis:
        async with serving(proxy=False) as (simulator, api):
            with worker(run_fleet, api, redis):
                for kill in range(kills):
                    before = len(simulator.requests)
                    with worker((run_fleet, poll)[kill % 2], api, redis):
                        while (
                            kill % 4 and len(simulator.requests) < before + 4
                        ):  # Every fourth dies as it begins.
                            await anyio.sleep(0.001)
                        posted |= _post(simulator, dice.randint(1, 12))
                        await anyio.sleep(dice.uniform(0, 0.03))

            with worker(poll, api, redis):
                posted |= await _posted_to_the_end(simulator, redis)

            return Report(posted=posted, published=await _published(redis), kills=kills)


async def kill_redis(kills, directory, *, cuts):
    """Kill Redis under two workers, and start it again.

    With `cuts`, its log loses the end, as by a power cut. What follows the torn half of a script is appended to that
    half (mended in Valkey in 2026), so the next start may replay it, and an entry may come twice; never not at all.
    """
    dice = random.Random(kills)
    posted = set()

    with running(directory, "--appendonly", "yes") as redis:
        async with serving(proxy=False) as (simulator, api):
            with worker(poll, api, redis), worker(run_fleet, api, redis):
                posted |= await _posted_to_the_end(simulator, redis)
                for _ in range(kills):
                    posted |= _post(simulator, dice.randint(1, 12))
                    await anyio.sleep(dice.uniform(0, 0.1))
                    redis.kill()
                    if cuts:
                        [log] = directory.glob("appendonlydir/*.incr.aof")
                        log.write_bytes(log.read_bytes()[: -dice.randint(1, 3000)])
                    posted |= _post(simulator, dice.randint(1, 12))
                    await anyio.to_thread.run_sync(redis.start)

                posted |= await _posted_to_the_end(simulator, redis)

            return Report(posted=posted, published=await _published(redis), kills=kills)


def _post(simulator, count):
    return {simulator.post("text")["idMessage"] for _ in range(count)}


async def _posted_to_the_end(simulator, redis):
    """Post a last one, and wait until it has come."""
    [last] = _post(simulator, 1)
    with anyio.fail_after(_LONG_ENOUGH):
        while last not in await _published(redis):
            await anyio.sleep(0.05)

    return {last}


async def _published(redis):
    client = Redis.from_url(redis.url)
    entries = await client.xrange(_STREAM)
    await close(client)
    return Counter(json.loads(fields[b"__data__"])["idMessage"] for _, fields in entries)


def main(workers, redis):
    for what, kill, kills, repeats in (
        ("workers", kill_workers, workers, False),
        ("Redis", functools.partial(kill_redis, cuts=False), redis, False),
        ("Redis, its log torn", functools.partial(kill_redis, cuts=True), redis, True),
    ):
        with tempfile.TemporaryDirectory() as name:
            report = anyio.run(kill, kills, Path(name))
        print(
            f"{what}: {report.kills} kills, {len(report.posted)} statuses, "
            f"{len(report.lost)} lost, {report.repeats} repeated"
        )
        assert not report.lost
        assert repeats or not report.repeats


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
