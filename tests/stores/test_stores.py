"""Every store keeps the same promises; SQLiteStore keeps them in a file, and says what is wrong with one."""

import math
import os
import sqlite3
import stat
import sys
from contextlib import suppress

import anyio
import anyio.to_thread
import attrs
import pytest
from hypothesis import Phase, settings

from greenapi_async import (
    AsyncStatusesClient,
    Checkpoint,
    ClientClosedError,
    ConfigurationError,
    MemoryStore,
    SQLiteStore,
    StoreError,
    to_dict,
)
from greenapi_async.simulator import Simulator
from greenapi_async.stores.conformance import StoreConformance

MARKS = Checkpoint(marks=(3.0, 2.0, 1.0))


class TestMemoryStore(StoreConformance):
    def make_store(self):
        return MemoryStore()


class TestMemoryStoreOnTrio(TestMemoryStore):
    backend = "trio"
    examples = 20


class TestSQLiteStore(StoreConformance):
    examples = 30

    @pytest.fixture(autouse=True)
    def directory(self, tmp_path):
        self.files = (tmp_path / f"{n}.db" for n in range(sys.maxsize))

    def make_store(self):
        return SQLiteStore(next(self.files))

    def reopened(self, store):
        return SQLiteStore(store.path)


class TestSQLiteStoreOnTrio(TestSQLiteStore):
    backend = "trio"
    examples = 10


class Overwrites(MemoryStore):
    async def record(self, scope, ids, checkpoint, now):
        ids = list(ids)
        await super().record(scope, ids, checkpoint, now)
        for number, id_ in enumerate(self._seen[scope].ids):
            if id_ in ids:
                self._seen[scope].times[number] = now


class KnowsOneInstance(MemoryStore):
    async def record(self, scope, ids, checkpoint, now):
        await super().record("", ids, checkpoint, now)

    async def unseen(self, scope, ids):
        return await super().unseen("", ids)

    async def load(self, scope):
        return await super().load("")


class ForgetsTooMuch(MemoryStore):
    async def forget(self, scope, before):
        await super().forget(scope, math.nextafter(before, math.inf))


class ForgetsTheCheckpoint(MemoryStore):
    async def record(self, scope, ids, checkpoint, now):
        await super().record(scope, ids, None, now)
        self._checkpoints[scope] = checkpoint


class RecordsInTwoSteps(MemoryStore):
    async def record(self, scope, ids, checkpoint, now):
        await super().record(scope, ids, None, now)
        await anyio.lowlevel.checkpoint()
        await super().record(scope, [], checkpoint, now)


class ForgetsTheBeginning(MemoryStore):
    async def load(self, scope):
        found = await super().load(scope)
        return found and Checkpoint(marks=found.marks, catching_up=found.catching_up)


class RoundsMarks(MemoryStore):
    async def load(self, scope):
        found = await super().load(scope)
        return found and attrs.evolve(found, marks=tuple(map(round, found.marks)))


@pytest.mark.parametrize(
    "broken",
    [
        Overwrites,
        KnowsOneInstance,
        ForgetsTooMuch,
        ForgetsTheCheckpoint,
        ForgetsTheBeginning,
        RecordsInTwoSteps,
        RoundsMarks,
    ],
)
def test_suite_finds_a_broken_store(broken):
    """A suite that a broken store passes is worth nothing."""

    class Suite(StoreConformance):
        def make_store(self):
            return broken()

    suite = Suite()
    tests = [name for name in dir(suite) if name.startswith("test_") and "any_history" not in name]
    failed = [name for name in tests if _fails(getattr(suite, name))]

    assert failed


@pytest.fixture
def unshrunk():
    """Finds a failing history without looking for the smallest."""
    settings.register_profile("unshrunk", settings.get_profile("default"), phases=[Phase.generate])
    settings.load_profile("unshrunk")
    yield
    settings.load_profile("default")


@pytest.mark.usefixtures("unshrunk")
@pytest.mark.parametrize("broken", [Overwrites, KnowsOneInstance, ForgetsTooMuch, ForgetsTheCheckpoint])
def test_history_finds_a_broken_store(broken):
    """The model finds by itself what the named tests were written for."""

    class Suite(StoreConformance):
        def make_store(self):
            return broken()

    assert _fails(Suite().test_any_history_agrees_with_a_model)


def _fails(test):
    try:
        test()
    except AssertionError:
        return True
    return False


@pytest.fixture
def path(tmp_path):
    return tmp_path / "seen.db"


@pytest.mark.anyio
async def test_file_is_its_owners_only(path):
    """It tells whom an account knows: nobody else on the machine may read it."""
    store = SQLiteStore(path)

    await store.record("1", ["a"], MARKS, 5.0)

    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    await store.aclose()


@pytest.mark.anyio
async def test_file_is_made_when_it_is_first_used(path):
    """A poller that nobody iterates leaves nothing behind."""
    await SQLiteStore(path).aclose()

    assert not path.exists()


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_path_has_to_name_a_file(path):
    """SQLite takes these for databases that nobody finds again."""
    with pytest.raises(ConfigurationError, match="MemoryStore"):
        SQLiteStore(path)


@pytest.mark.anyio
async def test_path_is_fixed_when_the_store_is_made(tmp_path, monkeypatch):
    """A program that changes its directory keeps its file."""
    monkeypatch.chdir(tmp_path)
    store = SQLiteStore("seen.db")

    monkeypatch.chdir("/")
    await store.record("1", ["a"], None, 5.0)

    assert (tmp_path / "seen.db").exists()
    await store.aclose()


def _text(path):
    path.write_text("shopping list\n" * 100, encoding="utf-8")


def _one_byte(path):
    path.write_bytes(b"x")


def _bad_marks(path):
    anyio.run(_fill, path)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE checkpoint SET marks = 'nan'")
    database.close()


def _damaged(path):
    anyio.run(_fill, path)
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)


def _foreign(path):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE customers (name TEXT)")
    database.close()


def _newer(path):
    anyio.run(_fill, path)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 3")
    database.close()


async def _fill(path):
    store = SQLiteStore(path)
    await store.record("1", [f"id{n}" for n in range(500)], MARKS, 5.0)
    await store.aclose()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_text, "is not an SQLite database and was left unchanged: use another path"),
        (_one_byte, "is not an SQLite database and was left unchanged: use another path"),
        (_damaged, "is damaged and was left unchanged"),
        (_bad_marks, "is damaged and was left unchanged"),
        (_foreign, "belongs to another program: use another path"),
        (_newer, "has format 3, and this version of greenapi_async knows format 2: install a newer one"),
    ],
)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_file_of_something_else_is_refused_and_left_alone(path, spoil, says, backend):
    """A mistyped path must not cost anybody a file."""
    spoil(path)
    before = path.read_bytes()

    async def main():
        store = SQLiteStore(path)
        try:
            with pytest.raises(StoreError, match=says):
                await store.load("1")
        finally:
            await store.aclose()

    anyio.run(main, backend=backend)

    assert path.read_bytes() == before


@pytest.mark.anyio
async def test_missing_directory_is_named(tmp_path):
    """The error says which path, and what is wrong with it."""
    with pytest.raises(StoreError, match=r"nowhere/seen\.db failed: .*No such file or directory"):
        await SQLiteStore(tmp_path / "nowhere" / "seen.db").load("1")


@pytest.mark.anyio
async def test_directory_is_no_file(tmp_path):
    """SQLite's own words for it are hard to understand."""
    with pytest.raises(StoreError, match="cannot be opened: check that it is a file"):
        await SQLiteStore(tmp_path).load("1")


@pytest.fixture
def connect(monkeypatch):
    """Lets a test open SQLite's connections in its own way."""
    original = sqlite3.connect

    def use(change, **changes):
        def connect(path, **arguments):
            database = original(f"file:{path}{change}", uri=True, **arguments | changes)
            if change == "":
                database.execute("PRAGMA max_page_count = 8")
            return database

        monkeypatch.setattr(sqlite3, "connect", connect)

    return use


@pytest.mark.anyio
async def test_read_only_file_is_told(path, connect):
    """What cannot be recorded must not be handled."""
    await _fill(path)
    connect("?mode=ro")

    store = SQLiteStore(path)
    with pytest.raises(StoreError, match="cannot be written: check the owner"):
        await store.record("1", ["a"], MARKS, 5.0)
    await store.aclose()


@pytest.mark.anyio
async def test_full_disk_is_told_and_loses_nothing(path, connect):
    """Neither ids nor checkpoint are kept, and what was there before stays."""
    connect("")
    store = SQLiteStore(path)
    await store.record("1", ["a"], MARKS, 5.0)

    later = Checkpoint(marks=(9.0, 9.0, 9.0))
    with pytest.raises(StoreError, match="cannot grow, because the disk is full: free some space"):
        await store.record("1", [f"{n:01000}" for n in range(1000)], later, 5.0)

    assert await store.load("1") == MARKS
    assert await store.unseen("1", ["a", f"{0:01000}"]) == {f"{0:01000}"}
    await store.aclose()


@pytest.mark.anyio
async def test_locked_file_is_told(path, connect):
    """Another program may hold it for ever, and a poller that hangs tells nobody."""
    await _fill(path)
    connect("?mode=rw", timeout=0.01)
    holder = sqlite3.connect(path)
    holder.execute("BEGIN EXCLUSIVE")

    store = SQLiteStore(path)
    with pytest.raises(StoreError, match="was locked by another program for 2 seconds"):
        await store.record("1", ["a"], MARKS, 5.0)

    holder.close()
    await store.record("1", ["a"], MARKS, 5.0)
    await store.aclose()


@pytest.mark.anyio
async def test_ids_are_not_kept_without_their_checkpoint(path):
    """Both or neither: marks that fail take the ids along."""
    await _fill(path)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TRIGGER no BEFORE INSERT ON checkpoint BEGIN SELECT RAISE(ABORT, 'no'); END")
    database.close()

    store = SQLiteStore(path)
    with pytest.raises(StoreError):
        await store.record("1", ["a"], MARKS, 5.0)

    assert await store.unseen("1", ["a"]) == {"a"}
    await store.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("replace", [False, True])
async def test_file_that_is_gone_is_told(path, replace):
    """What is written to a deleted file is lost with the process, and another one's file is not ours."""
    store = SQLiteStore(path)
    await store.record("1", ["a"], MARKS, 5.0)

    path.unlink()
    if replace:
        path.touch()

    with pytest.raises(StoreError, match="replaced while it was open" if replace else "No such file"):
        await store.record("1", ["b"], None, 5.0)
    await store.aclose()


def test_store_of_before_a_fork_is_refused(path):
    """SQLite's locks do not survive a fork, and what two processes write over one connection is lost."""
    store = SQLiteStore(path)
    anyio.run(store.record, "1", ["a"], MARKS, 5.0)

    child = os.fork()
    if child == 0:
        with suppress(StoreError):
            store._do(lambda _: os._exit(1), 0.0)
        store._close()
        os._exit(0)

    assert os.waitpid(child, 0)[1] == 0
    anyio.run(store.record, "1", ["b"], None, 5.0)
    anyio.run(store.aclose)


@pytest.mark.anyio
async def test_who_waits_for_a_locked_file_takes_one_thread(path):
    """A program has forty threads in all, and sixty instances on one file may not take them."""
    store = SQLiteStore(path)
    await store.load("1")
    holder = sqlite3.connect(path, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")

    async with anyio.create_task_group() as tasks:
        for number in range(60):
            tasks.start_soon(store.record, "1", [str(number)], None, 5.0)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(5):
            await anyio.to_thread.run_sync(holder.close)

    assert await store.unseen("1", map(str, range(60))) == set()
    await store.aclose()


@pytest.mark.anyio
async def test_closed_store_says_so(path):
    """It does not open its file behind the back of who closed it."""
    store = SQLiteStore(path)
    await store.aclose()

    with pytest.raises(StoreError, match="closed: make a new one"):
        await store.load("1")


def test_store_serves_one_event_loop_after_another(path):
    """A script calls `asyncio.run` twice."""
    store = SQLiteStore(path)

    anyio.run(store.record, "1", ["a"], MARKS, 5.0)
    unseen = anyio.run(store.unseen, "1", ["a", "b"], backend="trio")

    assert unseen == {"b"}
    anyio.run(store.aclose)


def test_recording_goes_on_where_asyncio_cancels_the_wait(path):
    """asyncio's own cancellation ignores anyio's shields; the thread finishes, and closing waits for it."""
    import asyncio

    async def main():
        store = SQLiteStore(path)
        await store.load("1")
        holder = sqlite3.connect(path)
        holder.execute("BEGIN IMMEDIATE")

        recording = asyncio.ensure_future(store.record("1", ["a"], MARKS, 5.0))
        while not store._lock.locked():
            await asyncio.sleep(0.001)
        recording.cancel()
        with pytest.raises(asyncio.CancelledError):
            await recording
        holder.close()
        await store.aclose()

        reopened = SQLiteStore(path)
        assert await reopened.load("1") == MARKS
        assert await reopened.unseen("1", ["a"]) == set()
        await reopened.aclose()

    asyncio.run(main())


@pytest.mark.anyio
async def test_file_does_not_grow_with_what_is_forgotten(path):
    """Months of polling fit into what 31 days need."""
    store = SQLiteStore(path)
    sizes = []

    for month in range(6):
        await store.record("1", [f"{month}-{n}" for n in range(5000)], MARKS, float(month))
        await store.forget("1", float(month))
        sizes.append(path.stat().st_size)

    assert sizes[-1] <= 1.5 * sizes[1]
    await store.aclose()


@pytest.fixture
def many_questions():
    """A simulator takes any number of questions a second."""
    return Simulator(max_rate=None)


@pytest.mark.anyio
async def test_client_opens_a_path_and_closes_it(path, many_questions):
    """`store="seen.db"` is all that a bot needs to survive a restart."""
    async with many_questions as api:
        first, second = api.post("text"), api.post("text")

        async with AsyncStatusesClient(api.id_instance, api.token, api_url=api.url) as client:
            poller = client.poll(store=str(path))
            before = [await anext(poller), await anext(poller)]
            await poller.commit()

        third = api.post("text")
        async with AsyncStatusesClient(api.id_instance, api.token, api_url=api.url) as client:
            after = await anext(client.poll(store=path))

    assert [to_dict(status) for status in (*before, after)] == [first, second, third]
    assert [file.name for file in path.parent.iterdir()] == ["seen.db"]


@pytest.mark.anyio
@pytest.mark.usefixtures("nothing_left_to_collect")
async def test_cancelled_client_closes_its_file(path, many_questions):
    """Cancellation is how a bot is stopped: the file is whole and alone afterwards."""
    async with many_questions as api:
        api.post("text")
        with anyio.CancelScope() as scope:
            async with AsyncStatusesClient(api.id_instance, api.token, api_url=api.url) as client:
                async for _ in client.poll(store=path):
                    scope.cancel()

        assert scope.cancelled_caught
        assert [file.name for file in path.parent.iterdir()] == ["seen.db"]


@pytest.mark.anyio
async def test_poller_of_a_closed_client_says_so(path, many_questions):
    """The store was closed with its client, but it is the client that somebody has to make anew."""
    async with many_questions as api:
        api.post("text")
        client = AsyncStatusesClient(api.id_instance, api.token, api_url=api.url)
        poller = client.poll(store=path)
        await anext(poller)

        await client.aclose()

        with pytest.raises(ClientClosedError):
            await anext(poller)


@pytest.mark.anyio
async def test_instances_share_one_open_file(path):
    """Ten thousand instances on one file are one connection to it, and one that writes."""
    async with AsyncStatusesClient("1101000001", "token") as first:
        second = first.for_instance("1101000002", "token")
        stores = {
            id(client.poll(store=spelling)._feed._store)
            for client in (first, second)
            for spelling in (path, str(path))
        }

    assert len(stores) == 1


@pytest.mark.anyio
async def test_other_instances_checkpoint_is_not_taken(path, many_questions, caplog):
    """A file that was made for one instance serves another from its beginning, which the log says."""
    caplog.set_level("INFO", logger="greenapi_async")
    store = SQLiteStore(path)
    await store.record("7103000001", ["a"], MARKS, 5.0)

    async with (
        many_questions as api,
        AsyncStatusesClient(api.id_instance, api.token, api_url=api.url) as client,
    ):
        api.post("text")
        await anext(client.poll(store=store))

    assert "from the beginning" in caplog.text
    assert await store.load("7103000001") == MARKS
    await store.aclose()


@pytest.mark.anyio
async def test_closed_client_opens_no_file(path):
    """After closing, a call raises."""
    client = AsyncStatusesClient("1101000001", "token")
    await client.aclose()

    with pytest.raises(ClientClosedError):
        client.poll(store=path)
