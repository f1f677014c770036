"""A store's file that has several names: symlinks, hard links, mounts. SQLite keeps a log beside one of them."""

import os
import signal
import stat
import sys

import anyio
import pytest

from greenapi_async import Checkpoint, SQLiteStore, StoreError

if sys.platform == "win32":
    pytest.skip("other names are made there", allow_module_level=True)

pytestmark = pytest.mark.anyio

MARKS = Checkpoint(marks=(3.0, 2.0, 1.0))

_KILLED = """
import anyio, os, signal, sys
from greenapi_async import SQLiteStore
async def main():
    await SQLiteStore(sys.argv[1]).record("1", ["a"], None, 5.0)
    os.kill(os.getpid(), signal.SIGKILL)
anyio.run(main)
"""


@pytest.fixture
async def opened():
    """Open stores, and close them when the test is over."""
    stores = []

    def open_(path):
        stores.append(SQLiteStore(path))
        return stores[-1]

    yield open_
    for store in stores:
        await store.aclose()


async def test_symlink_into_a_fresh_volume_makes_its_target(tmp_path, opened):
    """A container whose volume is new: the link that the image has leads nowhere yet, and no file was made."""
    (tmp_path / "volume").mkdir()
    link, target = tmp_path / "seen.db", tmp_path / "volume" / "of-the-bot.db"
    link.symlink_to("volume/of-the-bot.db")

    await opened(link).record("1", ["a"], MARKS, 5.0)

    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert await opened(target).unseen("1", ["a", "b"]) == {"b"}


async def test_symlink_into_a_missing_directory_is_told(tmp_path, opened):
    """The volume is not mounted: what is written elsewhere would be gone with the container."""
    (tmp_path / "seen.db").symlink_to(tmp_path / "volume" / "seen.db")

    with pytest.raises(StoreError, match=r"seen\.db"):
        await opened(tmp_path / "seen.db").load("1")

    assert not (tmp_path / "volume").exists()


@pytest.mark.parametrize("place", [".", "elsewhere"])
async def test_second_name_of_a_file_in_use_is_refused(place, tmp_path, opened):
    """What is in the log beside the first name is not seen through the second: it came again, and was overwritten."""
    first, second = tmp_path / "seen.db", tmp_path / place / "copy.db"
    second.parent.mkdir(exist_ok=True)
    store = opened(first)
    await store.record("1", ["a"], MARKS, 5.0)
    os.link(first, second)

    with pytest.raises(StoreError, match="another name") as caught:
        await opened(second).record("1", ["b"], None, 5.0)

    assert not caught.value.retryable
    assert str(second) in str(caught.value)
    assert await store.unseen("1", ["a", "b"]) == {"b"}
    assert await store.load("1") == MARKS


async def test_second_name_of_a_killed_process_file_is_refused(tmp_path, opened):
    """Nobody has it open, but the log beside the first name is all that has its ids."""
    first, second = tmp_path / "seen.db", tmp_path / "copy.db"
    killed = await anyio.run_process([sys.executable, "-c", _KILLED, str(first)], check=False)
    assert killed.returncode == -signal.SIGKILL
    os.link(first, second)

    with pytest.raises(StoreError, match=r"seen\.db-wal") as caught:
        await opened(second).load("1")

    assert not caught.value.retryable
    assert await opened(first).unseen("1", ["a", "b"]) == {"b"}


async def test_second_name_of_a_closed_file_is_as_good_as_the_first(tmp_path, opened):
    """A backup by hard links takes nothing from the file; and the name in use may be opened again."""
    first, second = tmp_path / "seen.db", tmp_path / "copy.db"
    store = opened(first)
    await store.record("1", ["a"], MARKS, 5.0)
    await store.aclose()
    os.link(first, second)

    assert await opened(second).unseen("1", ["a", "b"]) == {"b"}
    assert await opened(second).unseen("1", ["a", "b"]) == {"b"}
    with pytest.raises(StoreError, match="another name"):
        await opened(first).load("1")
