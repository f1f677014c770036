"""What RedisStore says when its server fails, and what is kept: each failure is made to happen on a server of its own."""

import asyncio
import functools
import json
import logging
import time
import warnings
from contextlib import asynccontextmanager, suppress

import anyio
import pytest
import redis
from clients import client_of as api_client
from old_redis import old_redis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.sentinel import Sentinel
from redis_servers import client_of, close, forwarder, running, sentinel_of

from greenapi_async import Checkpoint, ConfigurationError, StoreError
from greenapi_async.simulator import Simulator
from greenapi_async.stores.conformance import CancelAt
from greenapi_async.stores.redis import RedisStore

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_to_collect")]
if redis.__version__ == "5.0.0":  # It leaves a connection that the server closed to the garbage collector.
    pytestmark.append(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))

long = pytest.mark.long
MARKS = Checkpoint(marks=(3.0, 2.0, 1.0))
LATER = Checkpoint(marks=(6.0, 5.0, 4.0))
ON_DISK = ("--appendonly", "yes", "--appendfsync", "always")
_LONG_ENOUGH = 60.0


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def server(request, tmp_path):
    """A server that a test may break, with the options that it asks for."""
    with running(tmp_path, *getattr(request, "param", ())) as server:
        yield server


on_disk = pytest.mark.parametrize("server", [ON_DISK], indirect=True, ids=["on disk"])


@asynccontextmanager
async def store_of(server, *, deadline=5.0, **options):
    client = client_of(server, **options)
    try:
        yield RedisStore(client, timeout=deadline)
    finally:
        await close(client)


@pytest.fixture
async def store(server):
    async with store_of(server) as store:
        yield store


@pytest.fixture
async def api():
    async with Simulator(max_rate=None) as api:
        yield api


async def failure_of(call):
    with pytest.raises(StoreError) as caught:
        await call

    assert caught.value.__context__ is None
    return caught.value


async def started_again(server):
    """Start a server that was killed, while the event loop takes note of what is closed."""
    await anyio.to_thread.run_sync(server.start)


async def in_stream(store):
    return [
        json.loads(fields[b"__data__"])["idMessage"] for _, fields in await store._client.xrange("stream")
    ]


async def until(condition):
    with anyio.fail_after(_LONG_ENOUGH):
        while not condition():
            await anyio.sleep(0.01)


@on_disk
async def test_an_outage_is_waited_for(server, store, api):
    """Polling pauses, health says why, and afterwards everything comes once."""
    seen = []

    async def consume(poller):
        async for status in poller:
            seen.append(status.id_message)  # noqa: PERF401 - it never ends.

    async with api_client(api) as client, anyio.create_task_group() as tasks:
        poller = client.poll(0.05, store=store)
        tasks.start_soon(consume, poller)
        posted = [api.post("text")["idMessage"] for _ in range(3)]
        await until(lambda: seen == posted)

        server.kill()
        await until(lambda: poller.health.state == "degraded")
        assert isinstance(poller.health.last_error, StoreError)
        posted += [api.post("text")["idMessage"] for _ in range(3)]
        await started_again(server)

        await until(lambda: seen == posted)
        tasks.cancel_scope.cancel()

    assert seen == posted


async def test_nobody_there_may_pass(server, store):
    """The server is started again, sooner or later."""
    server.kill()

    assert (await failure_of(store.load("1"))).retryable


async def test_a_connection_that_was_closed_while_idle_is_no_outage(server, store):
    """A limit of the server's, or of something between; what waits in a pool is not looked at."""
    await store.load("1")

    server.ask("CLIENT", "KILL", "TYPE", "normal")

    assert await store.load("1") is None


@on_disk
async def test_a_restart_keeps_everything(server, store):
    await store.record("1", ["a"], MARKS, 5.0)

    server.kill()
    await started_again(server)

    assert await store.load("1") == MARKS
    assert await store.unseen("1", ["a", "b"]) == {"b"}


@pytest.mark.parametrize("cut", [pytest.param(1, marks=long), 20, pytest.param(150, marks=long)])
@on_disk
async def test_a_lost_tail_comes_again_into_the_stream(server, store, api, cut):
    """A log that is cut, wherever, loses a status in the store and in the stream alike."""
    posted = []
    async with api_client(api) as client:
        for _ in range(3):
            posted.append(api.post("text")["idMessage"])
            await store.publish(await client.poll(store=store).poll_once(), "stream")

        server.kill()
        [log] = server.directory.glob("appendonlydir/*.incr.aof")
        log.write_bytes(log.read_bytes()[:-cut])
        await started_again(server)
        async with store_of(server) as another:
            left = await in_stream(another)
        await store.publish(await client.poll(store=store).poll_once(), "stream")

    assert left == posted[:2]
    assert await in_stream(store) == posted


async def test_an_emptied_server_begins_anew(store, api, caplog):
    """It says so, and nothing is lost."""
    caplog.set_level("INFO", logger="greenapi_async")
    posted = [api.post("text")["idMessage"] for _ in range(3)]
    async with api_client(api) as client:
        await store.publish(await client.poll(store=store).poll_once(), "stream")

        await store._client.flushall()
        caplog.clear()
        await store.publish(await client.poll(store=store).poll_once(), "stream")

    assert await in_stream(store) == posted
    assert "from the beginning" in caplog.text


@pytest.mark.parametrize(
    "options",
    [pytest.param({}, id="usual"), pytest.param({"socket_timeout": 60}, id="patient", marks=long)],
)
async def test_a_frozen_server_is_no_reason_to_hang(server, options):
    """The deadline is the store's own, and a connection that waited for it is not used again."""
    async with store_of(server, deadline=0.5, **options) as store:
        await store.record("1", ["a"], MARKS, 5.0)
        with server.frozen():
            began = time.monotonic()
            errors = [
                await failure_of(store.load("1")),
                await failure_of(store.record("1", ["b", "c"], LATER, 5.0)),
            ]
            assert time.monotonic() - began < 20

        store._timeout = 30.0
        kept = await store.unseen("1", ["a", "b", "c"]), await store.load("1")

    assert all(error.retryable and "did not respond within 0.5 seconds" in str(error) for error in errors)
    assert kept in [({"b", "c"}, MARKS), (set(), LATER)]


@pytest.mark.parametrize("server", [("--maxmemory-policy", "allkeys-random")], indirect=True, ids=["evicts"])
async def test_an_evicted_instance_is_forgotten_as_a_whole(server, store, caplog):
    """Half of it would skip what it forgot; and whoever lets a server evict is told."""
    ids = [f"id{number}" for number in range(400)]
    await store.load("1")
    empty = server.ask("INFO", "memory")["used_memory"]
    for scope in range(100):
        await store.record(str(scope), ids, MARKS, 5.0)

    full = server.ask("INFO", "memory")["used_memory"]
    server.ask("CONFIG", "SET", "maxmemory", (empty + full) // 2)
    for scope in range(100, 120):
        # Some servers evict beside the command that needs the memory, and refuse it first.
        await insistently(functools.partial(store.record, str(scope), ids, MARKS, 5.0))

    kept = [(await store.load(str(scope)), await store.unseen(str(scope), ids)) for scope in range(100)]
    assert None in {checkpoint for checkpoint, _ in kept} <= {MARKS, None}
    assert all(unseen == (set(ids) if checkpoint is None else set()) for checkpoint, unseen in kept)
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "Redis may evict what is stored (maxmemory-policy is allkeys-random), and statuses would come again: set noeviction"
    ]


async def test_a_full_server_may_pass(server, store, api):
    """Neither half is kept; when there is memory again, it goes on."""
    posted = [api.post("text")["idMessage"] for _ in range(3)]
    async with api_client(api) as client:
        batch = await client.poll(store=store).poll_once()
        server.ask("CONFIG", "SET", "maxmemory", "1")

        errors = [
            await failure_of(store.publish(batch, "stream")),
            await failure_of(store.record("1", [], MARKS, 5.0)),
        ]
        assert await store.unseen(batch.scope, posted) == set(posted)
        assert await in_stream(store) == []

        server.ask("CONFIG", "SET", "maxmemory", "0")
        await store.publish(batch, "stream")

    assert all(error.retryable and "maxmemory" in str(error) for error in errors)
    assert await in_stream(store) == posted


async def test_a_replica_may_be_promoted(server, store, tmp_path_factory):
    """A client that still talks to what is read-only now waits until it is not."""
    with running(tmp_path_factory.mktemp("primary")) as primary:
        server.ask("REPLICAOF", "127.0.0.1", str(primary.port))
        error = await failure_of(store.record("1", ["a"], MARKS, 5.0))

        server.ask("REPLICAOF", "NO", "ONE")
        await store.record("1", ["a"], MARKS, 5.0)

    assert error.retryable
    assert await store.load("1") == MARKS


@long
async def test_a_sentinel_promotes_and_polling_goes_on(tmp_path_factory, api):
    """The primary dies; what its replica did not get comes again into the stream, and nothing is lost."""
    posted = []
    directory = tmp_path_factory.mktemp
    with running(directory("primary")) as primary, running(directory("replica")) as replica:
        replica.ask("REPLICAOF", "127.0.0.1", str(primary.port))
        with sentinel_of(primary, directory("sentinel")) as sentinel:
            await until(lambda: replica.ask("INFO", "replication")["master_link_status"] == "up")
            await until(lambda: sentinel.ask("SENTINEL", "REPLICAS", "it"))
            sentinels = Sentinel([("127.0.0.1", sentinel.port)])
            client = sentinels.master_for("it")
            store = RedisStore(client)
            async with api_client(api) as api_:
                poller = api_.poll(store=store)
                for number in range(10):
                    posted.append(api.post("text")["idMessage"])
                    await insistently(functools.partial(publish, store, poller))
                    if number == 5:
                        primary.kill()

            assert (await client.info("server"))["tcp_port"] == replica.port
            assert set(await in_stream(store)) == set(posted)
            assert len(await in_stream(store)) == len(posted)
            for each in (client, *sentinels.sentinels):
                await close(each)


async def publish(store, poller):
    await store.publish(await poller.poll_once(), "stream")


async def insistently(step):
    """Take a step as often as it takes."""
    with anyio.fail_after(_LONG_ENOUGH):
        while True:
            try:
                return await step()
            except StoreError as error:
                if not error.retryable:
                    raise
            await anyio.sleep(0.05)


async def test_an_address_that_leads_to_another_primary_is_followed(server, tmp_path_factory):
    """A connection that is kept leads to what was demoted, however long it is tried."""
    with running(tmp_path_factory.mktemp("replica")) as replica:
        async with forwarder(server.port) as address, store_of(address) as store:
            await store.record("1", ["a"], MARKS, 5.0)
            replica.ask("REPLICAOF", "127.0.0.1", str(server.port))
            await until(lambda: replica.ask("INFO", "replication")["master_link_status"] == "up")
            replica.ask("REPLICAOF", "NO", "ONE")
            server.ask("REPLICAOF", "127.0.0.1", str(replica.port))
            address.target = replica.port

            assert (await failure_of(store.record("1", ["b"], LATER, 5.0))).retryable
            await store.record("1", ["b"], LATER, 5.0)

            assert await store.load("1") == LATER


async def test_a_writer_without_replicas_may_pass(server, store):
    """`min-replicas-to-write` refuses until one is back."""
    server.ask("CONFIG", "SET", "min-replicas-to-write", "1")

    assert (await failure_of(store.record("1", ["a"], MARKS, 5.0))).retryable


async def test_a_server_that_forgot_the_script_gets_it_again(server, store):
    await store.record("1", ["a"], MARKS, 5.0)
    server.ask("SCRIPT", "FLUSH")

    await store.record("1", ["b"], LATER, 5.0)

    assert await store.load("1") == LATER


async def test_a_wrong_password_is_for_a_person(server):
    """Waiting does not help, and the message does not tell the password."""
    server.ask("CONFIG", "SET", "requirepass", "right")
    async with store_of(server, password="hunter2") as store:
        error = await failure_of(store.load("1"))

    assert not error.retryable
    assert "hunter2" not in repr(error)


async def test_a_missing_password_is_told(server, store):
    server.ask("CONFIG", "SET", "requirepass", "right")

    error = await failure_of(store.load("1"))

    assert not error.retryable
    assert "give the client the password" in str(error)


async def test_an_account_needs_few_rights(server):
    """What `INFO` would tell is not worth a refusal."""
    rights = "resetkeys ~greenapi:* -@all +evalsha +eval +zrange +zrangebyscore +zscore +zmscore +zadd +zrem +zremrangebyscore"
    server.ask("ACL", "SETUSER", "poller", "on", ">secret", *rights.split())
    async with store_of(server, username="poller", password="secret") as store:
        await store.record("1", ["a"], MARKS, 5.0)
        await store.record("1", ["b"], LATER, 5.0)
        await store.forget("1", 1.0)

        assert await store.load("1") == LATER
        assert await store.unseen("1", ["a", "c"]) == {"c"}


@pytest.mark.parametrize("missing", ["zadd", "zrem", "xadd", "evalsha"])
async def test_an_account_without_a_right_writes_nothing(server, api, missing):
    """Half of a script would be in the stream, and again with every try."""
    server.ask("ACL", "SETUSER", "poller", "on", ">secret", "allkeys", "+@all", f"-{missing}")
    api.post("text")
    async with (
        store_of(server, username="poller", password="secret") as store,
        api_client(api) as client,
    ):
        error = await failure_of(publish(store, client.poll(store=store)))

        assert await in_stream(store) == []

    assert not error.retryable


async def test_an_account_without_rights_is_for_a_person(server):
    server.ask("ACL", "SETUSER", "guest", "on", ">secret", "-@all")
    async with store_of(server, username="guest", password="secret") as store:
        error = await failure_of(store.load("1"))

    assert not error.retryable
    assert "permission" in str(error)


@pytest.mark.parametrize("member", [b"\xff", b"\xff1 0 -", b"\xff1 0 - nan", b"\xff2 0 - 3.0", b"\xff\xff"])
async def test_a_damaged_checkpoint_is_left_alone(store, member):
    """Somebody has to look; to begin anew would be silent."""
    await store._client.zadd("greenapi:1", {member: float("inf")})

    error = await failure_of(store.load("1"))

    assert not error.retryable
    assert "greenapi:1" in str(error)
    assert await store._client.zrange("greenapi:1", 0, -1) == [member]


@pytest.mark.parametrize("server", [("--rename-command", "INFO", "")], indirect=True, ids=["no INFO"])
async def test_a_server_need_not_tell_about_itself(store):
    """Some hosts disable `INFO`."""
    await store.record("1", ["a"], MARKS, 5.0)

    assert await store.load("1") == MARKS


@pytest.mark.parametrize(
    ("reply", "retryable", "says"),
    [
        ("MOVED 4735 127.0.0.1:1", False, "RedisCluster"),
        ("ERR Error running script: Script killed by user with SCRIPT KILL.", True, "Script killed"),
        ("READONLY You can't write against a read only replica.", True, "read only"),
    ],
)
async def test_what_a_server_says_is_understood(reply, retryable, says):
    async with old_redis("6.2.0", reply) as port:
        client = Redis(port=port)
        error = await failure_of(RedisStore(client, timeout=1.0).load("1"))
        await close(client)

    assert error.retryable == retryable
    assert says in str(error)


CLUSTER = ("--cluster-enabled", "yes")


@pytest.mark.parametrize("server", [CLUSTER], indirect=True, ids=["cluster"])
async def test_a_wrong_password_of_a_cluster_is_for_a_person(server):
    server.ask("CONFIG", "SET", "requirepass", "right")
    async with store_of(server, password="hunter2") as store:
        error = await failure_of(store.load("1"))

    assert not error.retryable
    assert "check the password" in str(error)


async def test_a_server_that_is_no_cluster_is_for_a_person(server):
    client = RedisCluster(host="127.0.0.1", port=server.port)
    error = await failure_of(RedisStore(client).load("1"))
    await close(client)

    assert not error.retryable
    assert "make the client as a Redis" in str(error)


@long
@pytest.mark.parametrize("server", [CLUSTER], indirect=True, ids=["cluster"])
async def test_a_slot_that_moves_to_a_new_node_may_pass(server, tmp_path_factory):
    """redis-py does not know the node before the slot is there, and raises an AttributeError."""
    with running(tmp_path_factory.mktemp("new"), *CLUSTER, has_slots=False) as node:
        async with store_of(server) as store:
            await store.record("1", ["a"], MARKS, 5.0)
            server.ask("CLUSTER", "MEET", "127.0.0.1", node.port)
            slot = server.ask("CLUSTER", "KEYSLOT", "greenapi:1")
            old, new = (each.ask("CLUSTER", "MYID").decode() for each in (server, node))
            await until(lambda: b"cluster_state:ok" in node.ask("CLUSTER", "INFO"))
            node.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", old)
            server.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", new)
            server.ask("MIGRATE", "127.0.0.1", node.port, "greenapi:1", 0, 5000)

            assert (await failure_of(store.load("1"))).retryable

            for each in (node, server):
                each.ask("CLUSTER", "SETSLOT", slot, "NODE", new)
            await insistently(functools.partial(store.load, "1"))
            assert await store.load("1") == MARKS


@pytest.mark.parametrize("version", ["6.0.16", "5.0.14"])
async def test_an_old_server_is_refused(version):
    async with old_redis(version) as port:
        client = Redis(port=port)
        error = await failure_of(RedisStore(client).load("1"))
        await close(client)

    assert not error.retryable
    assert "must be 6.2 or later" in str(error)


def test_trio_is_refused():
    """redis-py knows asyncio only; an error of its own would be hard to understand."""
    store = RedisStore(Redis())

    async def main():
        error = await failure_of(store.load("1"))
        assert not error.retryable
        assert "asyncio only" in str(error)

    anyio.run(main, backend="trio")


def reading_from_replicas():
    with warnings.catch_warnings(
        action="ignore"
    ):  # redis-py has another name for it since 5.3, and keeps this one.
        return RedisCluster(host="127.0.0.1", read_from_replicas=True)


@pytest.mark.parametrize(
    ("client", "says"),
    [
        (lambda: Redis(decode_responses=True), "decode_responses"),
        (lambda: RedisCluster(host="127.0.0.1", decode_responses=True), "decode_responses"),
        (reading_from_replicas, "read_from_replicas"),
        (redis.Redis, "redis.asyncio"),
        (lambda: "redis://127.0.0.1", "redis.asyncio"),
    ],
)
def test_a_wrong_client_is_refused_at_once(client, says):
    """At the first status it would be too late."""
    with pytest.raises(ConfigurationError, match=says):
        RedisStore(client())


@pytest.mark.parametrize(
    "wrong",
    [
        {"prefix": None},
        {"prefix": b"x"},
        {"prefix": "\ud83c"},
        {"timeout": 0},
        {"timeout": "1"},
        {"timeout": True},
    ],
)
def test_arguments_are_checked(wrong):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        RedisStore(Redis(), **wrong)


async def test_publishing_that_is_cancelled_is_whole_or_nothing(store, api):
    """asyncio's own cancellation ignores shields; wherever it comes, the stream has what is handled."""
    n, reached = 0, True
    async with api_client(api) as client:
        while reached:
            n += 1
            api.post("text")
            batch = await client.poll(store=store).poll_once()
            await store._client.connection_pool.disconnect()

            reached = await cancelled_at(n, store.publish(batch, "stream"))
            keys = {status.key for status in batch.statuses}
            handled = keys - await store.unseen(batch.scope, keys)
            published = await in_stream(store)
            assert handled == keys & set(published)
            assert handled in [set(), keys]
            assert len(published) == len(set(published))

    assert n > 2


async def cancelled_at(n, call):
    """Await a call in a task that asyncio cancels when it waits for the n-th time; return whether it did."""

    def cancel():
        task.cancel()

    counted = CancelAt(n, call, cancel)
    task = asyncio.ensure_future(_awaited(counted))
    with suppress(asyncio.CancelledError):
        await task

    return counted.reached


async def _awaited(awaitable):
    await awaitable


async def test_cancellation_leaves_no_connection_behind(store):
    """A pool has a limit, and a program that stops tasks all day must not reach it."""
    pool = store._client.connection_pool
    n, reached = 0, True
    while reached:
        n += 1
        await pool.disconnect()
        with anyio.CancelScope() as scope:
            loading = CancelAt(n, store.load("1"), scope.cancel)
            await loading
        reached = loading.reached
        assert not pool._in_use_connections

    assert n > 2
