"""One client on several event loops: in threads, one after another, after one that died, and after a fork."""

import asyncio
import gc
import os
import threading
import time
from contextlib import closing

import anyio
import pytest
from backends import ASYNCIO, TRIO, uvloop
from clients import client_of
from media_world import JPEG, posted
from process import open_files

from greenapi_async import ClientClosedError, StoreError
from greenapi_async.simulator import Delay, Simulator

# What a loop that died leaves behind is closed by the garbage collector, which warns.
pytestmark = [
    pytest.mark.usefixtures("nothing_left_to_collect"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # As an error it keeps uvloop from closing.
]

THREADS = 3
LONG = 20.0


@pytest.fixture(params=[ASYNCIO, TRIO, uvloop()])
def anyio_backend(request):
    return request.param


@pytest.fixture
def api():
    """A simulator on an event loop of its own."""
    with Simulator(max_rate=None) as api:
        yield api


@pytest.fixture
def run(anyio_backend):
    """Run an async function to its end on an event loop that is new."""
    name, options = anyio_backend

    def run(work, *arguments):
        return anyio.run(work, *arguments, backend=name, backend_options=options)

    return run


def at_once(*works):
    """Call each in a thread of its own, and return what they returned; nobody may hang."""
    done = {}

    def call(number, work):
        done[number] = work()

    threads = [
        threading.Thread(target=call, args=[number, work], daemon=True) for number, work in enumerate(works)
    ]
    for thread in threads:
        thread.start()

    ends = time.monotonic() + LONG
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))

    assert not [thread for thread in threads if thread.is_alive()]
    return [done[number] for number in range(len(works))]


@pytest.mark.parametrize("max_rate", [None, 50.0])
def test_threads_with_loops_share_a_client(api, run, max_rate):
    """All three hung for ever in `fetch`, past `timeout`."""
    client = client_of(api, max_rate=max_rate, timeout=5.0)

    async def fetches():
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(client.fetch)
        return [await client.fetch() for _ in range(20)]

    results = at_once(*[lambda: run(fetches)] * THREADS)

    assert results == [[[]] * 20] * THREADS
    run(client.aclose)


def test_poller_goes_on_beside_threads_that_hang(api, run, tmp_path):
    """It went silent, with `state: ok`; each of the others gives up within its timeout."""
    client = client_of(api, timeout=1.0)
    hanging = client.for_instance(api.id_instance, api.token, api_url="http://127.0.0.1:9")
    ids = [api.post("text")["idMessage"] for _ in range(5)]

    async def polls():
        seen = []
        async for status in client.poll(0.02, store=tmp_path / "seen.db"):
            seen.append(status.id_message)
            if len(seen) == len(ids):
                break
        return seen

    async def fails():
        for _ in range(5):
            with pytest.raises(Exception, match="Connect"):
                await hanging.fetch()

    seen, *_ = at_once(lambda: run(polls), *[lambda: run(fails)] * THREADS)

    assert seen == ids
    run(client.aclose)


def test_threads_with_loops_share_a_file_and_a_store(api, run, tmp_path):
    """The same picture is saved once; each poller over one file sees a status once at most, and all see all."""
    client = client_of(api)
    statuses = [posted(api) for _ in range(4)]

    async def works():
        paths = [await client.save_media(each, tmp_path, allow_loopback=True) for each in statuses]
        seen = []
        poller = client.poll(store=tmp_path / "seen.db")
        for _ in range(3):
            batch = await poller.poll_once()
            seen += [status.id_message for status in batch.statuses]
            await batch.commit()
        return paths, seen

    results = at_once(*[lambda: run(works)] * THREADS)

    for paths, seen in results:
        assert [path.read_bytes() for path in paths] == [JPEG] * 4
        assert len(seen) == len(set(seen))
    assert {id_ for _, seen in results for id_ in seen} == {status.id_message for status in statuses}
    run(client.aclose)


def test_client_closed_in_one_thread_ends_the_waits_of_others(api, run):
    """At their next step, and not after their timeout."""
    client = client_of(api, timeout=60.0)
    api.faults.extend([Delay(60)] * THREADS)

    async def waits():
        with pytest.raises(ClientClosedError):
            await client.fetch()

    async def closes():
        while len(api.requests) < THREADS:
            await anyio.sleep(0.01)
        await client.aclose()

    at_once(lambda: run(closes), *[lambda: run(waits)] * THREADS)


@pytest.mark.parametrize("max_rate", [None, 20.0])
def test_one_loop_after_another(api, run, tmp_path, max_rate):
    """A script that calls `anyio.run` again and again; the connections of before are not used, and not kept."""
    client = client_of(api, max_rate=max_rate)
    run(client.fetch)
    before = open_files()

    for _ in range(10):
        status = posted(api)
        assert run(lambda status=status: client.save_media(status, tmp_path, allow_loopback=True)).exists()
        assert run(client.fetch)[-1] == status

    ends = time.monotonic() + LONG
    while (
        open_files() > before + 2 and time.monotonic() < ends
    ):  # The simulator sees their end a moment later.
        gc.collect()
        time.sleep(0.01)
    assert open_files() <= before + 2
    run(client.aclose)


@pytest.mark.parametrize("max_rate", [None, 20.0])
def test_loop_that_died_holds_nobody_up(api, tmp_path, max_rate, run):
    """A framework's reload, a test's loop: requests, turns and a poll were under way."""
    client = client_of(api, max_rate=max_rate, timeout=5.0)
    api.faults.extend([Delay(60)] * 3)
    status = posted(api)
    poller = client.poll(0.01, store=tmp_path / "seen.db")

    with closing(asyncio.new_event_loop()) as loop:
        for _ in range(40):
            loop.create_task(client.fetch())
        loop.create_task(anext(poller))
        loop.run_until_complete(asyncio.sleep(0.2))

    api.faults.clear()
    assert run(client.fetch) == [status]
    assert run(lambda: client.save_media(status, tmp_path, allow_loopback=True)).read_bytes() == JPEG
    batch = run(client.poll(store=tmp_path / "seen.db").poll_once)
    assert [each.id_message for each in batch.statuses] == [status.id_message]
    run(client.aclose)
    gc.collect()


@pytest.mark.parametrize("used_in", ["a loop that is over", "a loop that goes on"])
def test_client_goes_on_in_parent_and_child_after_a_fork(api, run, tmp_path, used_in):
    """A server that forks its workers: both used the connections of before, and got each other's responses."""
    client = client_of(api, timeout=5.0)
    ids = [api.post("text")["idMessage"] for _ in range(3)]

    async def uses():
        for _ in range(5):
            assert [status.id_message for status in await client.fetch()] == ids

    if used_in == "a loop that is over":
        run(uses)
        statuses = _after_fork(lambda: run(uses), lambda: run(uses))
    else:
        with asyncio.Runner() as runner:
            runner.run(uses())
            statuses = _after_fork(lambda: run(uses), lambda: runner.run(uses()))

    assert statuses == 0
    run(client.aclose)


def test_store_of_before_a_fork_is_the_parents(api, run, tmp_path):
    """The child is told so, and closing the client there takes nothing from the parent."""
    client = client_of(api, timeout=5.0)
    api.post("text")

    async def polls():
        batch = await client.poll(store=tmp_path / "seen.db").poll_once()
        await batch.commit()
        return len(batch.statuses)

    async def is_refused():
        with pytest.raises(StoreError, match="before a fork"):
            await client.poll(store=tmp_path / "seen.db").poll_once()
        await client.aclose()

    assert run(polls) == 1
    api.post("text")
    assert _after_fork(lambda: run(is_refused), lambda: run(polls)) == 0
    assert run(polls) == 0
    run(client.aclose)


def _after_fork(in_child, in_parent):
    """Fork, call one here and the other there at the same time, and return the child's exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            in_child()
            code = 0
        finally:
            os._exit(code)

    in_parent()
    ends = time.monotonic() + LONG
    while time.monotonic() < ends:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)

    os.kill(child, 9)
    os.waitpid(child, 0)
    return "it hung"
