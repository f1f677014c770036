"""`RedisStore.publish`: a batch is recorded and in the stream, or neither; the stream has every status once."""

import functools
import json
import time
import uuid
from contextlib import asynccontextmanager, suppress

import anyio
import attrs
import pytest
from clients import client_of as api_client
from fleet_world import TOKEN, FleetApi, fleet_of, ids_of
from redis_servers import client_of, close, running

from greenapi_async import ConfigurationError, MemoryStore, StoreError, from_dict, to_dict
from greenapi_async.simulator import Simulator
from greenapi_async.stores.redis import RedisStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("redis"), "--stream-node-max-entries", "10") as server:
        yield server


@pytest.fixture
async def api():
    async with Simulator(max_rate=None) as api:
        yield api


@attrs.frozen(kw_only=True)
class World:
    """A store, its Redis, a stream, and clients of the API."""

    redis: object
    store: RedisStore
    stream: str
    poller: functools.partial

    async def batch(self):
        return await self.poller().poll_once()

    async def entries(self):
        return [fields for _, fields in await self.redis.xrange(self.stream)]

    async def published(self):
        return [json.loads(entry[b"__data__"]) for entry in await self.entries()]


@asynccontextmanager
async def world_of(server, api, *, prefix=None, stream=None):
    redis = client_of(server)
    prefix = prefix or f"{uuid.uuid4()}:"
    store = RedisStore(redis, prefix=prefix)
    async with api_client(api) as client:
        poller = functools.partial(client.poll, store=store)
        yield World(redis=redis, store=store, stream=stream or f"{prefix}stream", poller=poller)
    await close(redis)


@pytest.fixture
async def world(server, api):
    async with world_of(server, api) as world:
        yield world


async def test_statuses_are_in_the_stream_and_handled(world, api):
    """An entry is the wire's JSON as it was, with the instance beside it."""
    posted = [api.post("text"), api.post("image", caption="sea"), api.post("deleted", of=api.post("video"))]

    appended = await world.store.publish(await world.batch(), world.stream)

    assert appended == len(await world.entries()) == 4
    assert [each for each in posted if each in await world.published()] == posted
    assert {entry[b"instance"] for entry in await world.entries()} == {api.id_instance.encode()}
    assert (await world.batch()).statuses == []


async def test_an_entry_is_read_by_from_dict(world, api):
    api.post("text")
    batch = await world.batch()

    await world.store.publish(batch, world.stream)

    assert [from_dict(each) for each in await world.published()] == batch.statuses


async def test_odd_statuses_are_json(world, api):
    """Half an emoji in an id has an escape; what no version knows goes as it came."""
    odd = {"idMessage": "\ud83c", "typeMessage": "hologram", "timestamp": 1_800_000_000, "depth": 3}
    api.post_raw(odd)
    batch = await world.batch()

    await world.store.publish(batch, world.stream)

    assert await world.published() == [to_dict(status) for status in batch.statuses]
    assert (await world.batch()).statuses == []


async def test_workers_that_overlap_append_once(world, api):
    """Nothing fences them: what the other has recorded is dropped where it is written."""
    api.post("text")
    early = await world.batch()
    api.post("text")
    late = await world.batch()

    appended = [await world.store.publish(batch, world.stream) for batch in (late, early, late)]

    assert appended == [2, 0, 0]
    assert len(await world.entries()) == 2


@pytest.mark.parametrize("days", [-40, -1, -1 / 24, 1 / 24, 1, 40])
async def test_a_worker_whose_clock_is_wrong_changes_nothing(world, api, days):
    """Whichever polls first, both go on from what they record, and neither forgets or skips what the other had."""

    def wrong():
        return time.time() + days * 86_400

    async with api_client(api, clock=wrong) as another:
        pollers = [another.poll(store=world.store), world.poller(), another.poll(store=world.store)]
        posted = [api.post("text", late=20 * 3600)["idMessage"]]
        for poller in [*pollers, *reversed(pollers)]:
            posted += [api.post("text", late=late)["idMessage"] for late in (60, 0)]
            await world.store.publish(await poller.poll_once(), world.stream)

    assert sorted(each["idMessage"] for each in await world.published()) == sorted(posted)


async def test_it_counts_as_commit(world, api):
    """Health tells what was handled, and how far."""
    api.post("text")
    poller = world.poller()

    await world.store.publish(await poller.poll_once(), world.stream)

    assert poller.health.delivered == 1
    assert poller.health.lag is not None


async def test_an_empty_batch_is_published(world, api):
    """The first poll of an account that posts nothing."""
    assert await world.store.publish(await world.batch(), world.stream) == 0
    assert await world.store.load(api.id_instance) is not None


async def test_a_stream_that_is_none_leaves_the_batch_new(world, api):
    """What could not be appended is not handled either."""
    api.post("text")
    await world.redis.set(world.stream, "shopping list")

    with pytest.raises(StoreError, match="another program has keys") as caught:
        await world.store.publish(await world.batch(), world.stream)

    assert not caught.value.retryable
    assert len((await world.batch()).statuses) == 1


async def test_an_instance_that_is_none_leaves_the_stream_alone(world, api):
    """The other half."""
    api.post("text")
    batch = await world.batch()
    await world.redis.delete(f"{world.store._prefix}{batch.scope}")
    await world.redis.set(f"{world.store._prefix}{batch.scope}", "shopping list")

    with pytest.raises(StoreError, match="another program has keys"):
        await world.store.publish(batch, world.stream)

    assert await world.entries() == []


async def test_a_stream_may_be_bounded(world, api):
    """About so many entries are kept, the latest."""
    for _ in range(60):
        last = api.post("text")

    assert await world.store.publish(await world.batch(), world.stream, maxlen=20) == 60

    assert 20 <= len(await world.entries()) <= 30
    assert (await world.published())[-1] == last


async def test_a_batch_of_another_store_is_refused(world, api):
    """It would be recorded where its poller does not look."""
    api.post("text")
    batch = await world.poller(store=MemoryStore()).poll_once()

    with pytest.raises(ConfigurationError, match="another store"):
        await world.store.publish(batch, world.stream)

    assert await world.entries() == []


@pytest.mark.parametrize(
    ("stream", "maxlen", "says"), [("", None, "stream"), (b"x", None, "stream"), ("x", 0, "maxlen")]
)
async def test_arguments_are_checked(world, stream, maxlen, says):
    with pytest.raises(ConfigurationError, match=says):
        await world.store.publish(await world.batch(), stream, maxlen=maxlen)


@pytest.mark.long
async def test_in_a_cluster_one_tag_holds_both(cluster, api):
    """A script writes on one node only."""
    api.post("text")
    async with world_of(cluster, api, prefix="{greenapi}:", stream="{greenapi}:statuses") as world:
        assert await world.store.publish(await world.batch(), world.stream) == 1
        assert len(await world.entries()) == 1


@pytest.mark.long
async def test_in_a_cluster_two_slots_are_refused(cluster, api):
    """The error says what to do, and nothing is recorded."""
    api.post("text")
    async with world_of(cluster, api, stream="elsewhere") as world:
        with pytest.raises(StoreError, match="one hash tag") as caught:
            await world.store.publish(await world.batch(), world.stream)

        assert not caught.value.retryable
        assert len((await world.batch()).statuses) == 1


async def next_of(fleet):
    with anyio.fail_after(60):
        return await anext(fleet)


async def scripts_run(redis):
    stats = await redis.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("eval", "evalsha"))


async def test_a_fleet_publishes(world):
    """Each instance's batch goes into the stream once; when its block ends, nothing more is written."""
    api = FleetApi()
    async with fleet_of(api, store=world.store) as fleet:
        for id_instance in ("1", "2"):
            api.post(id_instance, f"{id_instance}a")
            fleet.add(id_instance, TOKEN)
            async with await next_of(fleet) as batch:
                assert await world.store.publish(batch, world.stream) == 1
                assert await world.store.publish(batch, world.stream) == 0
                written = await scripts_run(world.redis)
            assert await scripts_run(world.redis) == written
            fleet.remove(id_instance)

        fleet.add("1", TOKEN)
        api.post("1", "1b")
        async with await next_of(fleet) as batch:
            await world.store.publish(batch, world.stream)
        health = fleet.health["1"]

    assert [entry[b"instance"] for entry in await world.entries()] == [b"1", b"2", b"1"]
    assert [each["idMessage"] for each in await world.published()] == ["1a", "2a", "1b"]
    assert health.delivered == 1


async def test_a_fleet_appends_what_is_left(world):
    """What was committed by itself before is handled already."""
    api = FleetApi()
    for id_message in ("a", "b", "c"):
        api.post("1", id_message)
    async with fleet_of(api, store=world.store) as fleet:
        fleet.add("1", TOKEN)
        async with await next_of(fleet) as batch:
            await batch.commit(batch.statuses[1])
            assert await world.store.publish(batch, world.stream) == 2
        health = fleet.health["1"]

    assert [each["idMessage"] for each in await world.published()] == ["a", "c"]
    assert health.delivered == 3
    assert await world.store.load("1") is not None


async def fail_after_publishing(world, batch):
    async with batch:
        await world.store.publish(batch, world.stream)
        raise ZeroDivisionError


async def test_a_fleets_batch_that_is_published_is_done_with(world):
    """What fails afterwards repeats nothing, and is no failed delivery."""
    api = FleetApi()
    api.post("1", "a")
    async with fleet_of(api, store=world.store) as fleet:
        fleet.add("1", TOKEN)
        with pytest.raises(ZeroDivisionError):
            await fail_after_publishing(world, await next_of(fleet))

        api.post("1", "b")
        async with await next_of(fleet) as batch:
            assert (ids_of(batch), batch.attempt) == (["b"], 0)


async def publish_too_long(store, batch, _):
    with anyio.move_on_after(0.2):
        await store.publish(batch, "stream")


async def publish_nowhere(store, batch, _):
    with suppress(ConfigurationError):
        await store.publish(batch, "")


async def publish_too_little(store, batch, _):
    with suppress(ConfigurationError):
        await store.publish(batch, "stream", maxlen=0)


async def publish_from_another_store(store, batch, stream):
    with suppress(ConfigurationError):
        await RedisStore(store._client).publish(batch, stream)


@pytest.mark.parametrize(
    "publish", [publish_too_long, publish_nowhere, publish_too_little, publish_from_another_store]
)
async def test_a_batch_that_could_not_be_published_comes_again(tmp_path, api, publish):
    """A block that ends well would record what the stream never got."""
    instances = FleetApi()
    instances.post("1", "a")
    with running(tmp_path) as server:
        async with world_of(server, api) as world, fleet_of(instances, store=world.store) as fleet:
            fleet.add("1", TOKEN)
            batch = await next_of(fleet)
            server.ask("CONFIG", "SET", "maxmemory", "1")
            async with batch:
                await publish(world.store, batch, world.stream)
            server.ask("CONFIG", "SET", "maxmemory", "0")

            async with await next_of(fleet) as batch:
                await world.store.publish(batch, world.stream)

            assert [each["idMessage"] for each in await world.published()] == ["a"]


async def swallow_the_failure(world, api):
    async with fleet_of(api, store=world.store) as fleet:
        fleet.add("1", TOKEN)
        async with await next_of(fleet) as batch:
            with suppress(StoreError):
                await world.store.publish(batch, world.stream)


async def test_a_batch_whose_stream_is_none_is_not_recorded(world):
    """That ends the fleet, and the next one has it again."""
    api = FleetApi()
    api.post("1", "a")
    await world.redis.set(world.stream, "text")
    with pytest.raises(StoreError, match="another program"):
        await swallow_the_failure(world, api)

    assert await world.store.unseen("1", ["a"]) == {"a"}


async def test_the_stream_is_no_instance(world, api):
    """It would take the key of one that was evicted."""
    api.post("text")
    batch = await world.batch()

    with pytest.raises(ConfigurationError, match="stream"):
        await world.store.publish(batch, world.store._key(batch.scope))


async def test_a_fleet_waits_for_a_full_server(tmp_path, api):
    """As it does for every commit."""
    instances = FleetApi()
    instances.post("1", "a")
    with running(tmp_path) as server:
        async with world_of(server, api) as world, fleet_of(instances, store=world.store) as fleet:
            fleet.add("1", TOKEN)
            async with await next_of(fleet) as batch, anyio.create_task_group() as tasks:
                server.ask("CONFIG", "SET", "maxmemory", "1")
                tasks.start_soon(world.store.publish, batch, world.stream)
                with anyio.fail_after(60):
                    while fleet.health["1"].state != "degraded":
                        await anyio.sleep(0.01)
                assert await world.entries() == []
                server.ask("CONFIG", "SET", "maxmemory", "0")

            assert len(await world.entries()) == 1


async def test_a_fleets_batch_is_published_inside_of_its_block(world):
    api = FleetApi()
    api.post("1", "a")
    async with fleet_of(api, store=world.store) as fleet:
        fleet.add("1", TOKEN)
        batch = await next_of(fleet)
        with pytest.raises(RuntimeError, match="inside"):
            await world.store.publish(batch, world.stream)

        async with batch:
            pass
        with pytest.raises(RuntimeError, match="inside"):
            await world.store.publish(batch, world.stream)

    assert await world.entries() == []


async def test_a_fleets_batch_of_another_store_is_refused(world):
    api = FleetApi()
    api.post("1", "a")
    async with fleet_of(api, store=MemoryStore()) as fleet:
        fleet.add("1", TOKEN)
        async with await next_of(fleet) as batch:
            with pytest.raises(ConfigurationError, match="another store"):
                await world.store.publish(batch, world.stream)

    assert await world.entries() == []


async def test_a_fleets_batch_goes_into_a_transaction_of_ones_own(world):
    """Its ids and how far polling got are recorded with what is written elsewhere."""
    api = FleetApi()
    api.post("1", "a")
    async with fleet_of(api, store=world.store) as fleet:
        fleet.add("1", TOKEN)
        async with await next_of(fleet) as batch:
            keys = [status.key for status in batch.statuses]
            await world.store.record(batch.scope, keys, batch.checkpoint, batch.now)
            recorded = await world.store.load("1")

    assert batch.now == pytest.approx(api.now(), abs=60)
    assert await world.store.unseen("1", keys) == set()
    assert await world.store.load("1") == recorded == batch.checkpoint
