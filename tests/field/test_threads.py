"""The program's threads are not ours: sync views and `to_thread` may keep all forty busy, or make them wait for us."""

import threading

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
from clients import client_of
from media_world import JPEG, posted

from greenapi_async import SQLiteStore
from greenapi_async.simulator import Answer, Simulator

pytestmark = pytest.mark.anyio

FORTY = 40


@pytest.fixture
async def busy_threads():
    """All of anyio's own threads wait, until the test is over."""
    over = threading.Event()
    async with anyio.create_task_group() as tasks:
        for _ in range(FORTY):
            tasks.start_soon(anyio.to_thread.run_sync, over.wait)
        while anyio.to_thread.current_default_thread_limiter().available_tokens:
            await anyio.sleep(0.001)
        yield
        over.set()


@pytest.fixture
async def api():
    async with Simulator(max_rate=None) as api:
        yield api


@pytest.mark.usefixtures("busy_threads")
async def test_file_is_saved_while_the_program_keeps_its_threads_busy(api, tmp_path):
    """It hung, and could not be cancelled."""
    async with client_of(api) as client:
        with anyio.fail_after(5):
            path = await client.save_media(posted(api), tmp_path, allow_loopback=True)

        assert path.read_bytes() == JPEG


@pytest.mark.usefixtures("busy_threads")
async def test_large_response_comes_while_the_program_keeps_its_threads_busy(api):
    """A body of 2 MB "timed out"."""
    api.faults.append(Answer("[" + " " * 2_000_000 + "]"))

    async with client_of(api, timeout=5.0) as client:
        assert await client.fetch() == []


@pytest.mark.usefixtures("busy_threads")
async def test_store_works_and_closes_while_the_program_keeps_its_threads_busy(api, tmp_path):
    """`aclose` waited for the program."""
    api.post("text")

    with anyio.fail_after(5):
        async with client_of(api) as client, client.poll(store=tmp_path / "seen.db") as poller:
            assert (await anext(poller)).kind == "text"
            await poller.commit()

        store = SQLiteStore(tmp_path / "seen.db")
        assert await store.load("1") is None
        await store.aclose()


async def test_forty_sync_views_may_save_at_once(api, tmp_path):
    """Each holds a thread and waits for us, who waited for a thread: for ever."""
    statuses = [posted(api) for _ in range(FORTY)]

    async with client_of(api) as client:

        def view(status):
            anyio.from_thread.run(save, status)

        async def save(status):
            await client.save_media(status, tmp_path, allow_loopback=True)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for status in statuses:
                    tasks.start_soon(anyio.to_thread.run_sync, view, status)

    assert len(list(tmp_path.glob("*.jpg"))) == FORTY


async def test_wait_for_a_thread_can_be_cancelled(api, tmp_path, monkeypatch):
    """Only what is under way in one is seen to its end."""
    from greenapi_async import _threads

    released = threading.Event()
    async with client_of(api) as client, anyio.create_task_group() as tasks:
        for _ in range(_threads.MOST):
            tasks.start_soon(_threads.to_the_end, released.wait)
        await anyio.wait_all_tasks_blocked()

        with anyio.move_on_after(0.2) as scope:
            await client.save_media(posted(api), tmp_path, allow_loopback=True)
        released.set()

    assert scope.cancelled_caught
