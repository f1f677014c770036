"""The recipes in `examples/many_machines`, each on real servers, with workers that are killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import redis_servers
from anyio.from_thread import start_blocking_portal

from greenapi_async.simulator import Simulator

pytestmark = pytest.mark.examples

RECIPES = Path(__file__).parents[2] / "examples" / "many_machines"
_LONG_ENOUGH = 120.0


class Place:
    """A simulator of one instance, a Redis, and processes in a directory."""

    def __init__(self, api, redis, directory):
        self.api = api
        self.redis = redis
        self.directory = directory
        self.posted = []
        self.variables = {
            "REDIS_URL": redis.url,
            "GREEN_API_URL": api.url,
            "INTERVAL": "1",
            "PYTHONPATH": str(RECIPES),
            "PATH": os.environ["PATH"],
        }
        (directory / "instances.json").write_text(json.dumps([[api.id_instance, api.token]]))

    def post(self, count=1):
        self.posted += [self.api.post("text")["idMessage"] for _ in range(count)]

    def published(self):
        with self.redis.admin() as client:
            entries = client.xrange("statuses")
        return Counter(json.loads(fields[b"__data__"])["idMessage"] for _, fields in entries)

    @contextmanager
    def running(self, *command, **variables):
        """Run a program of the recipe, and kill it; what it printed is in the directory."""
        with (self.directory / "printed").open("a") as printed:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.directory,
                env=self.variables | variables,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def printed(self):
        return (self.directory / "printed").read_text()

    def until(self, condition):
        deadline = time.monotonic() + _LONG_ENOUGH
        while not condition():
            assert time.monotonic() < deadline, self.printed()[-5000:]
            time.sleep(0.05)

    def all_published(self):
        return self.published().keys() == set(self.posted)


@pytest.fixture
def place(tmp_path):
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        api = stack.enter_context(portal.wrap_async_context_manager(Simulator(max_rate=None)))
        (tmp_path / "redis").mkdir()
        redis = stack.enter_context(redis_servers.running(tmp_path / "redis"))
        yield Place(api, redis, tmp_path)


def shard(place):
    return place.running(str(RECIPES / "shards.py"), WORKER="0", WORKERS="1", INTERVAL="0.05")


def test_shards_lose_and_repeat_nothing(place):
    """A worker is killed, and its successor begins before it is gone."""
    for _ in range(3):
        with shard(place), shard(place):
            place.post(5)
            place.until(place.all_published)
            place.post(5)

    with shard(place):
        place.until(place.all_published)

    assert place.published().total() == len(place.posted)


def test_each_shard_has_its_own_instances(place):
    """The second of two has nothing to do for one instance."""
    place.post()
    with place.running(str(RECIPES / "shards.py"), WORKER="1", WORKERS="2") as process:
        assert process.wait(_LONG_ENOUGH) == 0, place.printed()

    assert place.published() == {}


def test_taskiq_loses_and_repeats_nothing(place):
    """Workers are killed while the scheduler goes on."""

    def worker():
        return place.running("-m", "taskiq", "worker", "taskiq_tasks:broker", "--workers", "1")

    with place.running("-m", "taskiq", "scheduler", "taskiq_tasks:scheduler"), worker():
        for _ in range(3):
            place.post(3)
            with worker():
                place.until(place.all_published)
                place.post(3)
                time.sleep(random.uniform(0, 1))

        place.until(place.all_published)

    assert place.published().total() == len(place.posted)


def consumer(place, name):
    return place.running(str(RECIPES / "consumer.py"), CONSUMER=name, RECLAIM_AFTER="1000")


def drained(place):
    """Return whether nothing is left to deliver, and nothing pending."""
    with place.redis.admin() as client:
        [group] = client.xinfo_groups("statuses") or [{"lag": 1, "pending": 1}]
        return group["lag"] == group["pending"] == 0


def test_consumers_take_over_what_a_dead_one_held(place):
    """Every status is handled, and what was read before the group began, too."""
    place.post(20)
    with shard(place):
        place.until(place.all_published)
        with consumer(place, "one"):
            place.until(lambda: "handled" in place.printed())
            place.post(50)
            place.until(place.all_published)

        # What a consumer that died between reading and handling leaves behind.
        place.post(5)
        place.until(place.all_published)
        place.redis.ask("XREADGROUP", "GROUP", "bot", "dead", "COUNT", 3, "STREAMS", "statuses", ">")
        with consumer(place, "two"):
            place.until(lambda: drained(place))

    handled = {line.split()[-1] for line in place.printed().splitlines() if "handled" in line}
    assert handled == set(place.posted)


def test_trimming_keeps_what_a_group_needs(place):
    """Whatever some group has not had or not acknowledged stays."""
    place.post(6)
    with shard(place):
        place.until(place.all_published)
    with place.redis.admin() as client:
        ids = [entry for entry, _ in client.xrange("statuses")]
        for group in ("quick", "slow"):
            client.xgroup_create("statuses", group, id="0")
        client.xreadgroup("quick", "a", {"statuses": ">"}, count=6)
        client.xack("statuses", "quick", *ids)
        client.xreadgroup("slow", "b", {"statuses": ">"}, count=4)
        client.xack("statuses", "slow", ids[0], ids[1], ids[3])

        subprocess.run([sys.executable, RECIPES / "trim.py"], env=place.variables, check=True)

        assert [entry for entry, _ in client.xrange("statuses")] == ids[2:]


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.py")), ids=lambda file: file.name)
def test_it_is_short(file):
    """Nobody reads more before they copy it."""
    most = 110 if file.name == "postgres_store.py" else 60
    assert len(file.read_text(encoding="utf-8").splitlines()) <= most
