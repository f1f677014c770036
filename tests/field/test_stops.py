"""A stop while another process holds what we need: over within seconds, and nothing is lost."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager

import anyio
import pytest
from clients import client_of

from greenapi_async.simulator import Simulator

if sys.platform == "win32":
    pytest.skip("other signals are sent there", allow_module_level=True)

SOON = 6.0  # What holds the file is asked once more, for two seconds, when the poller is closed; and machines are busy.

_HOLDER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path):
    """Let a process hold a database, until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"held\n"
        yield
        process.stdin.close()


@pytest.fixture
def api():
    """A simulator on an event loop of its own."""
    with Simulator(max_rate=None) as api:
        yield api


def watch(api, path):
    """Start the command."""
    return subprocess.Popen(
        [sys.executable, "-m", "greenapi_async", "watch", "--jsonl", "--interval", "1", "--state", str(path)],
        env=os.environ | api.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_command_whose_store_is_locked_stops_within_seconds(api, tmp_path, stop):
    """An orchestrator kills after ten seconds; it took 29. What it printed and could not record comes once more."""
    path = tmp_path / "seen.db"
    sqlite3.connect(path).close()
    ids = [api.post("text")["idMessage"]]
    with watch(api, path) as process:
        shown = [json.loads(process.stdout.readline())["idMessage"]]
        while not _recorded(path):
            time.sleep(0.05)

        with held(path):
            ids.append(api.post("text")["idMessage"])
            shown.append(json.loads(process.stdout.readline())["idMessage"])
            time.sleep(0.5)  # It is trying to record.
            began = time.monotonic()
            process.send_signal(stop)
            process.wait(30)
            assert time.monotonic() - began < SOON

    assert shown == ids
    with watch(api, path) as process:
        ids.append(api.post("text")["idMessage"])
        again = [json.loads(process.stdout.readline())["idMessage"] for _ in range(2)]
        process.kill()
    assert again == ids[1:]


def _recorded(path):
    with sqlite3.connect(path) as database:
        [count] = database.execute("SELECT count(*) FROM seen").fetchone()
    database.close()
    return count


@pytest.mark.anyio
async def test_poller_whose_store_is_locked_is_cancelled_within_seconds(tmp_path):
    """In whatever step: while it loads, records what was handled, or closes."""
    path = tmp_path / "seen.db"
    async with Simulator(max_rate=None) as api:
        ids = [api.post("text")["idMessage"] for _ in range(3)]
        handled = []

        async def bot(delay):
            async with client_of(api) as client:
                async for status in client.poll(0.02, store=path):
                    handled.append(status.id_message)
                    await anyio.sleep(delay)

        with anyio.move_on_after(0.5):
            await bot(0.3)
        assert handled == ids[:2]

        with held(path):
            for after in (0.1, 1.0):
                began = time.monotonic()
                with anyio.move_on_after(after):
                    await bot(0.0)
                assert time.monotonic() - began < after + SOON

        before = len(handled)
        with anyio.move_on_after(10) as scope:
            async with client_of(api) as client:
                async for status in client.poll(0.02, store=path):
                    handled.append(status.id_message)
                    if status.id_message == ids[-1]:
                        scope.cancel()

    assert set(handled) == set(ids)
    assert handled[before:] == ids[1:]
