"""The recipes in `examples/many_machines` as processes on real servers: killed at random moments, and what came of it.

`python tests/support/killed_recipes.py 200` kills so often under each; `tests/examples/test_many_machines.py` runs shorter ones.
It needs the packages of the programs in `examples/`.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path

import postgres_servers
import redis_servers
from anyio.from_thread import start_blocking_portal
from killed_redis import Report

from greenapi_async.simulator import Simulator

RECIPES = Path(__file__).parents[2] / "examples" / "many_machines"
_LONG_ENOUGH = 120.0
_OUTBOX_WORKER = """
import asyncio, os
import asyncpg
from greenapi_async import AsyncStatusesClient
from postgres_store import SCHEMA, PostgresStore

async def main():
    pool = await asyncpg.create_pool(os.environ["POSTGRES_URL"], min_size=1, max_size=2)
    store = PostgresStore(pool)
    async with AsyncStatusesClient.from_env(max_rate=None) as client:
        poller = client.poll(store=store)
        while True:
            await store.publish(await poller.poll_once())
            await asyncio.sleep(0.01)

asyncio.run(main())
"""


class Place:
    """A simulator of one instance, and processes in a directory, which has the recipes' list of instances."""

    def __init__(self, api, directory, **variables):
        self.api = api
        self.directory = directory
        self.posted = []
        self.variables = {
            "INTERVAL": "1",
            "PYTHONPATH": str(RECIPES),
            "PATH": os.environ["PATH"],
            **api.env,
            **variables,
        }
        self.list_instances([api.id_instance, api.token, api.url])

    def list_instances(self, *instances):
        (self.directory / "instances.json").write_text(json.dumps(instances))

    def post(self, count=1):
        self.posted += [self.api.post("text")["idMessage"] for _ in range(count)]

    def started(self, *command, **variables):
        """Start a Python program; what it prints is in the directory."""
        with (self.directory / "printed").open("a") as printed:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=self.directory,
                env=self.variables | variables,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def printed(self):
        return (self.directory / "printed").read_text()

    def until(self, condition):
        deadline = time.monotonic() + _LONG_ENOUGH
        while not condition():
            assert time.monotonic() < deadline, self.printed()[-5000:]
            time.sleep(0.02)


class RedisPlace(Place):
    """One with a Redis."""

    def __init__(self, api, directory, redis):
        super().__init__(api, directory, REDIS_URL=redis.url)
        self.redis = redis

    def published(self):
        with self.redis.admin() as client:
            entries = client.xrange("statuses")
        return Counter(json.loads(fields[b"__data__"])["idMessage"] for _, fields in entries)

    def all_published(self):
        return self.published().keys() == set(self.posted)

    def handled(self):
        return Counter(line.split()[-1] for line in self.printed().splitlines() if "handled" in line)

    def is_drained(self):
        """Return whether nothing is left to deliver, and nothing pending."""
        with self.redis.admin() as client:
            [group] = client.xinfo_groups("statuses") or [{"lag": 1, "pending": 1}]
            return group["lag"] == group["pending"] == 0

    def shard(self, **variables):
        usual = {"WORKER": "0", "WORKERS": "1", "INTERVAL": "0.05"}
        return self.started(RECIPES / "shards.py", **usual | variables)

    def consumer(self, name):
        return self.started(RECIPES / "consumer.py", CONSUMER=name, RECLAIM_AFTER="1000")


def end(process):
    """Kill a process, and those that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def ended(process):
    """Kill a process at the end of the block."""
    try:
        yield
    finally:
        end(process)


@contextmanager
def simulated():
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Simulator(max_rate=None)) as api,
    ):
        yield api


@contextmanager
def redis_place(directory):
    """Run a simulator and a Redis for the recipes."""
    (directory / "redis").mkdir()
    with simulated() as api, redis_servers.running(directory / "redis") as redis:
        yield RedisPlace(api, directory, redis)


@contextmanager
def killing(place, kills, start, progress):
    """Start one worker after the other and kill one of the two that run; every fourth dies while it begins. One is left.

    Args:
        place: where they run.
        kills: how often.
        start: starts a worker, and returns its process.
        progress: returns a number that grows while a worker works.
    """
    dice = random.Random(kills)
    with ExitStack() as stack:

        def started():
            process = start()
            stack.callback(end, process)
            return process

        older = started()
        for number in range(kills):
            newer = started()
            before = progress()
            place.post(dice.randint(1, 8))
            if number % 4:
                place.until(lambda before=before: progress() > before)
            time.sleep(dice.uniform(0, 0.2))
            assert older.poll() is None, place.printed()[-5000:]
            victim, older = (older, newer) if number % 4 else (newer, older)
            end(victim)

        yield


def kill_shards(kills, directory):
    with redis_place(directory) as place:
        with killing(place, kills, place.shard, lambda: len(place.api.requests)):
            place.until(place.all_published)

        return Report(posted=set(place.posted), published=place.published(), kills=kills)


def kill_taskiq(kills, directory):
    """Kill Taskiq's workers, while its scheduler goes on."""
    with redis_place(directory) as place:
        scheduler = place.started("-m", "taskiq", "scheduler", "taskiq_tasks:scheduler")
        start = partial(place.started, "-m", "taskiq", "worker", "taskiq_tasks:broker", "--workers", "1")
        with ended(scheduler), killing(place, kills, start, lambda: len(place.api.requests)):
            place.until(place.all_published)

        return Report(posted=set(place.posted), published=place.published(), kills=kills)


def kill_consumers(kills, directory):
    """Kill those that read the stream; each status is handled, some of them again."""
    names = map(str, count())
    with redis_place(directory) as place:
        with (
            ended(place.shard()),
            killing(place, kills, lambda: place.consumer(next(names)), lambda: place.handled().total()),
        ):
            place.until(place.all_published)
            place.until(place.is_drained)

        return Report(posted=set(place.posted), published=place.handled(), kills=kills)


def kill_outbox(kills, directory):
    """Kill workers that write into the outbox in Postgres."""
    sys.path.insert(0, str(RECIPES))
    from postgres_store import SCHEMA

    with simulated() as api, postgres_servers.running() as url:
        place = Place(api, directory, POSTGRES_URL=url)
        asyncio.run(execute(url, SCHEMA))

        def written():
            query = "SELECT status::json->>'idMessage' AS id FROM outbox"
            return Counter(row["id"] for row in asyncio.run(execute(url, query, fetch=True)))

        start = partial(place.started, "-c", _OUTBOX_WORKER)
        with killing(place, kills, start, lambda: len(api.requests)):
            place.until(lambda: written().keys() == set(place.posted))

        return Report(posted=set(place.posted), published=written(), kills=kills)


async def execute(url, statements, *, fetch=False):
    """Run SQL on a connection of its own."""
    import asyncpg

    connection = await asyncpg.connect(url)
    result = await (connection.fetch if fetch else connection.execute)(statements)
    await connection.close()
    return result


def main(kills):
    for recipe in (kill_shards, kill_taskiq, kill_outbox, kill_consumers):
        with tempfile.TemporaryDirectory() as name:
            report = recipe(kills, Path(name))
        print(
            f"{recipe.__name__}: {report.kills} kills, {len(report.posted)} statuses, "
            f"{len(report.lost)} lost, {report.repeats} repeated",
            flush=True,
        )
        assert not report.lost
        assert recipe is kill_consumers or not report.repeats


if __name__ == "__main__":
    main(int(sys.argv[1]))
