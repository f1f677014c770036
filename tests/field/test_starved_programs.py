"""Programs and containers that have no thread to spare, and interpreters that lack a part."""

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from clients import client_of

from greenapi_async import ConfigurationError, SQLiteStore, StoreError, TransportError
from greenapi_async.simulator import Simulator

PROGRAM = """
import asyncio, sys
from greenapi_async import AsyncStatusesClient

async def main(url):
    async with AsyncStatusesClient("1101000001", "token-of-the-simulator", api_url=url, retries=0) as client:
        print(await client.fetch())
"""


def by_name(api):
    return api.url.replace("127.0.0.1", "localhost")


async def _names_are_found_while_asyncios_threads_are_busy():
    over = threading.Event()
    executor = ThreadPoolExecutor(2)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(executor)
    async with Simulator(max_rate=None) as api:
        busy = [loop.run_in_executor(None, over.wait) for _ in range(4)]
        try:
            async with client_of(api, api_url=by_name(api), timeout=10.0) as client:
                return await client.fetch()
        finally:
            over.set()
            await asyncio.gather(*busy)


def test_names_are_found_while_asyncios_threads_are_busy():
    """asyncio looks names up in the threads of `run_in_executor`: a program that keeps them busy saw "timeouts"."""
    assert asyncio.run(_names_are_found_while_asyncios_threads_are_busy()) == []


@contextmanager
def no_thread_to_spare(monkeypatch):
    """A container has as many as its limit admits, or an old Docker refuses the system call."""

    def start(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        yield


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio keeps idle threads, whose start does not fail.
async def test_a_thread_that_cannot_be_started_is_an_error_of_ours_that_passes(monkeypatch, tmp_path):
    """A bare `RuntimeError` ended the poller, though other programs of the container gave their threads back soon."""
    store = SQLiteStore(tmp_path / "seen.db")
    async with Simulator(max_rate=None) as api, client_of(api, api_url=by_name(api)) as client:
        with no_thread_to_spare(monkeypatch):
            with pytest.raises(TransportError, match="thread") as no_name:
                await client.fetch()
            with pytest.raises(StoreError, match="thread") as no_store:
                await store.load("1")

        assert await client.fetch() == []
        assert await store.load("1") is None

    await store.aclose()
    assert no_name.value.retryable
    assert no_store.value.retryable


def test_an_interpreter_without_sqlite_is_told_where_the_store_is_made(monkeypatch, tmp_path):
    """pyenv builds one where the headers are missing; `ModuleNotFoundError: _sqlite3` came with the first poll."""
    monkeypatch.setitem(sys.modules, "sqlite3", None)

    with pytest.raises(ConfigurationError, match="SQLite"):
        SQLiteStore(tmp_path / "seen.db")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "options", [["-OO"], ["-bb", "-W", "error"], ["-X", "dev", "-W", "error"], ["-X", "utf8=0"]]
)
async def test_a_program_runs_under_any_options_of_the_interpreter(options):
    """`-OO` has no docstrings and no asserts; others make of every careless line an error."""
    async with Simulator(max_rate=None, token="token-of-the-simulator") as api:
        source = f"{PROGRAM}\nasyncio.run(main({api.url!r}))"
        done = await _run(*options, "-c", source)

    complaints = [line for line in done.stderr.splitlines() if not line.startswith("Executing <Task")]
    assert (done.stdout, complaints, done.returncode) == ("[]\n", [], 0)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_bot_in_a_thread_outlives_the_main_one():
    """With the main thread over, asyncio starts no thread for a name any more: "cannot schedule new futures"."""
    async with Simulator(max_rate=None, token="token-of-the-simulator") as api:
        start = (
            f"threading.Thread(target=lambda: (time.sleep(0.5), asyncio.run(main({by_name(api)!r})))).start()"
        )
        done = await _run("-c", f"{PROGRAM}\nimport threading, time\n{start}")

    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


async def _run(*arguments):
    import anyio.to_thread

    def run():
        return subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False
        )

    return await anyio.to_thread.run_sync(run)
