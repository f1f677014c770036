"""What the operating system refuses: one table says what may pass by itself, for stores and downloads alike."""

import errno
import os
import resource
import sys
from contextlib import contextmanager

import pytest
from clients import client_of
from media_world import JPEG, posted
from mounts import fill, mounted, tmpfs
from process import open_files

from greenapi_async import Checkpoint, DirectoryError, SQLiteStore, StoreError
from greenapi_async.simulator import Simulator

if sys.platform == "win32":
    pytest.skip("other calls are made there", allow_module_level=True)

pytestmark = pytest.mark.anyio

MARKS = Checkpoint(marks=(3.0, 2.0, 1.0))
MAY_PASS = [
    "ENOSPC",
    "EDQUOT",
    "EFBIG",
    "EBUSY",
    "EAGAIN",
    "EINTR",
    "EMFILE",
    "ENFILE",
    "ENOMEM",
    "ESTALE",
    "ETIMEDOUT",
]
STAYS = ["EIO", "EROFS", "EACCES", "EPERM", "ENOTDIR", "EISDIR", "ELOOP", "ENXIO", "ENAMETOOLONG"]
RULES = [*((code, True) for code in MAY_PASS), *((code, False) for code in STAYS)]


@pytest.fixture
async def saving():
    async with Simulator(max_rate=None) as api, client_of(api) as client:
        status = posted(api)

        async def save(directory):
            return await client.save_media(status, directory, allow_loopback=True)

        yield save


@pytest.fixture
def disk(tmp_path):
    with tmpfs(tmp_path, 512 * 1024):
        yield tmp_path


@contextmanager
def limited(which, most):
    """Let this process have no more of something."""
    before, hard = resource.getrlimit(which)
    resource.setrlimit(which, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(which, (before, hard))


def refuses(monkeypatch, code, name):
    """Let the system refuse to open a file of that name."""
    original = os.open

    def open_(path, *arguments, **options):
        if os.fspath(path).endswith(name):
            raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
        return original(path, *arguments, **options)

    monkeypatch.setattr(os, "open", open_)


@pytest.mark.parametrize(("code", "may_pass"), RULES)
async def test_download_is_retried_for_what_may_pass(code, may_pass, saving, tmp_path, monkeypatch):
    """Everything was said to be worth a retry but a name that no file can have."""
    refuses(monkeypatch, code, ".jpg.part")

    with pytest.raises(DirectoryError) as caught:
        await saving(tmp_path)

    assert caught.value.retryable == may_pass
    assert os.strerror(getattr(errno, code)) in str(caught.value)


@pytest.mark.parametrize(("code", "may_pass"), RULES)
async def test_store_is_waited_for_where_it_may_pass(code, may_pass, tmp_path, monkeypatch):
    """Nothing was but a full disk."""
    refuses(monkeypatch, code, "seen.db")

    with pytest.raises(StoreError) as caught:
        await SQLiteStore(tmp_path / "seen.db").load("1")

    assert caught.value.retryable == may_pass


@pytest.mark.parametrize(
    "obstacle", ["a file for the directory", "a directory", "a symlink", "a directory for the part"]
)
async def test_what_stands_in_the_way_of_a_download_stays(obstacle, saving, tmp_path):
    """Somebody has to take it away: `retryable` sent programs round in circles."""
    path = await saving(tmp_path / "first")
    directory = tmp_path / "second"
    match obstacle:
        case "a file for the directory":
            directory.touch()
        case "a directory":
            (directory / path.name).mkdir(parents=True)
        case "a directory for the part":
            (directory / f"{path.name}.part").mkdir(parents=True)
        case "a symlink":
            directory.mkdir()
            (directory / path.name).symlink_to(path)

    with pytest.raises(DirectoryError) as caught:
        await saving(directory)

    assert not caught.value.retryable


@pytest.mark.parametrize("spare", range(3))
async def test_store_waits_for_files_that_the_process_may_open(spare, tmp_path):
    """SQLite says "cannot open" whatever the reason, so a bot with many downloads ended: "see who owns it"."""
    store = SQLiteStore(tmp_path / "seen.db")
    await SQLiteStore(tmp_path / "other.db").aclose()  # It loads SQLite.

    with (
        limited(resource.RLIMIT_NOFILE, open_files() - 1 + spare),
        pytest.raises(StoreError, match="Too many open files") as caught,
    ):
        await store.record("1", ["a"], MARKS, 5.0)
    assert caught.value.retryable

    await store.record("1", ["a"], MARKS, 5.0)
    assert await store.unseen("1", ["a", "b"]) == {"b"}
    await store.aclose()


async def test_store_waits_for_a_limit_of_what_it_may_write(tmp_path):
    """A quota, for example: SQLite tells of it as of a disk that fails."""
    store = SQLiteStore(tmp_path / "seen.db")
    await store.record("1", ["a"], MARKS, 5.0)

    with limited(resource.RLIMIT_FSIZE, 100_000), pytest.raises(StoreError) as caught:
        await store.record("1", [f"{n:01000}" for n in range(1000)], None, 5.0)

    assert caught.value.retryable
    await store.record("1", ["b"], None, 5.0)
    assert await store.unseen("1", ["a", "b", f"{0:01000}"]) == {f"{0:01000}"}
    await store.aclose()


async def test_store_on_a_full_disk_is_waited_for_and_loses_nothing(disk):
    """Both when it is made and when it grows; once there is room it goes on."""
    store = SQLiteStore(disk / "seen.db")
    ballast = fill(disk)
    with pytest.raises(StoreError, match="disk is full") as caught:
        await store.load("1")
    assert caught.value.retryable

    ballast.unlink()
    await store.record("1", ["a"], MARKS, 5.0)
    fill(disk)
    with pytest.raises(StoreError, match="disk is full") as caught:
        await store.record("1", [f"{n:01000}" for n in range(1000)], None, 5.0)
    assert caught.value.retryable

    ballast.unlink()
    await store.record("1", ["b"], None, 5.0)
    assert await store.load("1") == MARKS
    assert await store.unseen("1", ["a", "b", f"{0:01000}"]) == {f"{0:01000}"}
    await store.aclose()


async def test_poller_on_a_full_disk_waits_for_room(disk):
    """What was handled is recorded as soon as there is room: nothing is lost, and nothing comes twice."""
    ballasts = []

    def make_room(_):
        if ballasts:
            ballasts.pop().unlink()

    async with Simulator(max_rate=None) as api, client_of(api) as client:
        ids = [api.post("text")["idMessage"] for _ in range(2)]
        poller = client.poll(0.05, store=disk / "seen.db", on_event=make_room)
        seen = [(await anext(poller)).id_message]
        ballasts.append(fill(disk))
        seen.append((await anext(poller)).id_message)
        assert not ballasts
        await poller.commit()

        assert seen == ids
        assert (await client.poll(store=disk / "seen.db").poll_once()).statuses == []


async def test_download_to_a_full_disk_may_be_retried(saving, disk):
    """Half a photo does not stay there, so that a retry finds what room there is."""
    ballast = fill(disk)
    with pytest.raises(DirectoryError, match="No space left") as caught:
        await saving(disk)

    assert caught.value.retryable
    assert not list(disk.glob("*.part"))
    ballast.unlink()
    assert (await saving(disk)).read_bytes() == JPEG


async def test_file_that_is_mounted_elsewhere_is_waited_for(tmp_path):
    """A container has the file alone, under a name of its own: its log is not seen from outside."""
    for name in ("seen.db", "mounted.db"):
        (tmp_path / name).touch()
    inside = SQLiteStore(tmp_path / "seen.db")
    outside = SQLiteStore(tmp_path / "mounted.db")

    with mounted(tmp_path / "mounted.db", "--bind", tmp_path / "seen.db"):
        await inside.record("1", ["a"], MARKS, 5.0)
        with pytest.raises(StoreError, match="locked by another program") as caught:
            await outside.record("1", ["b"], None, 5.0)
        await inside.aclose()

        assert caught.value.retryable
        assert await outside.unseen("1", ["a", "b"]) == {"b"}
        await outside.aclose()


async def test_volume_that_is_mounted_over_the_file_is_told(tmp_path):
    """Its file may have the very inode number of the one before."""
    directory = tmp_path / "volume"
    directory.mkdir()
    store = SQLiteStore(directory / "seen.db")
    with tmpfs(directory, 2**20):
        await store.record("1", ["a"], MARKS, 5.0)
        with tmpfs(directory, 2**20):
            (directory / "seen.db").touch()
            with pytest.raises(StoreError, match="replaced while it was open"):
                await store.record("1", ["b"], None, 5.0)

        await store.record("1", ["b"], None, 5.0)
        await store.aclose()


async def test_read_only_volume_is_told(saving, tmp_path):
    """Somebody has to mount it otherwise."""
    with mounted(tmp_path, "-t", "tmpfs", "-o", "ro", "tmpfs"):
        with pytest.raises(StoreError, match="Read-only") as of_the_store:
            await SQLiteStore(tmp_path / "seen.db").load("1")
        with pytest.raises(DirectoryError, match="Read-only") as of_the_download:
            await saving(tmp_path)

    assert not of_the_store.value.retryable
    assert not of_the_download.value.retryable
