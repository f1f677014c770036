"""The recipes in `examples/many_machines`, each on real servers, with workers that are killed."""

import subprocess
import sys

import killed_recipes
import pytest
from killed_recipes import RECIPES, ended, redis_place

pytestmark = pytest.mark.examples


@pytest.fixture
def place(tmp_path):
    with redis_place(tmp_path) as place:
        yield place


@pytest.mark.parametrize(
    "recipe", [killed_recipes.kill_shards, killed_recipes.kill_taskiq, killed_recipes.kill_outbox]
)
def test_killed_workers_lose_and_repeat_nothing(recipe, tmp_path):
    """Two poll one instance, whether one succeeds the other or not, and nothing fences them."""
    report = recipe(20, tmp_path)

    assert report.lost == set()
    assert report.repeats == 0


def test_killed_consumers_lose_nothing(tmp_path):
    """What was read before the group began is handled, too, and what a dead one held is taken over."""
    assert killed_recipes.kill_consumers(20, tmp_path).lost == set()


def test_each_shard_has_its_own_instances(place):
    """The second of two polls the second of two, and a token that is wrong ends nothing else."""
    right = [place.api.id_instance, place.api.token, place.api.url]
    place.list_instances(["1101000009", "wrong", place.api.url], right)
    place.post()
    with ended(place.shard(WORKER="1", WORKERS="2")):
        place.until(place.all_published)
    assert {request.http_code for request in place.api.requests} == {200}

    with ended(place.shard()):
        place.until(lambda: "1101000009" in place.printed())
        place.post()
        place.until(place.all_published)


def test_a_shard_that_is_nobodys_is_refused(place):
    """Counted from one, the last would poll nothing, and the first instances would have nobody."""
    assert place.shard(WORKER="3", WORKERS="3").wait(60) == 1
    assert "WORKER must be 0" in place.printed()


def test_what_a_consumer_held_is_taken_over(place):
    """One that died between reading and handling leaves this behind."""
    place.post(20)
    with ended(place.shard()):
        place.until(place.all_published)
        place.redis.ask("XGROUP", "CREATE", "statuses", "bot", "0")
        place.redis.ask("XREADGROUP", "GROUP", "bot", "dead", "COUNT", 3, "STREAMS", "statuses", ">")
        with ended(place.consumer("two")):
            place.until(place.is_drained)

    assert place.handled().keys() == set(place.posted)


def test_trimming_keeps_what_a_group_needs(place):
    """Whatever some group has not had or not acknowledged stays."""
    place.post(6)
    with ended(place.shard()):
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


def test_there_may_be_nothing_to_trim_yet(place):
    """Cron begins before the first status comes."""
    subprocess.run([sys.executable, RECIPES / "trim.py"], env=place.variables, check=True)


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.py")), ids=lambda file: file.name)
def test_it_is_short(file):
    """Nobody reads more before they copy it."""
    most = 110 if file.name == "postgres_store.py" else 60
    assert len(file.read_text(encoding="utf-8").splitlines()) <= most
