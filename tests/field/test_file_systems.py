"""File systems that can less, and paths that none can have."""

import errno
import os
import sys

import pytest
from clients import client_of
from media_world import JPEG, posted, tree
from mounts import lacking

from greenapi_async import ConfigurationError, DirectoryError, SQLiteStore, StoreError
from greenapi_async.simulator import Simulator

if sys.platform == "win32":
    pytest.skip("other calls are made there", allow_module_level=True)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def saving():
    async with Simulator(max_rate=None) as api, client_of(api) as client:

        async def save(directory):
            return await client.save_media(posted(api), directory, allow_loopback=True)

        yield save


def refusing(code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("code", ["ENOSYS", "EOPNOTSUPP", "ENOLCK", "EACCES", "EPERM", "EINVAL"])
async def test_file_system_without_locks_saves_without_their_comfort(code, saving, tmp_path, monkeypatch):
    """Network drives, FUSE and containers: nothing could be saved; a refused lock was taken for another writer."""
    monkeypatch.setattr("fcntl.flock", refusing(getattr(errno, code)))

    path = await saving(tmp_path)

    assert path.read_bytes() == JPEG
    assert len(tree(tmp_path)) == 2


async def test_file_system_that_can_less_keeps_files_all_the_same(tmp_path):
    """A real one, without locks, fsync and hard links: the file comes whole, and under its name only."""
    async with Simulator(max_rate=None) as api, client_of(api) as client:
        status = posted(api)
        with lacking(tmp_path):
            for _ in range(2):
                path = await client.save_media(status, tmp_path / "of a contact", allow_loopback=True)
                assert path.read_bytes() == JPEG
            assert len(tree(tmp_path / "of a contact")) == 2


async def test_store_on_a_file_system_that_cannot_sync_is_told(tmp_path):
    """What is recorded may be gone after a power failure, so SQLite does not go on; nor is it waited for."""
    with lacking(tmp_path):
        store = SQLiteStore(tmp_path / "seen.db")
        with pytest.raises(StoreError, match="local disk") as caught:
            await store.record("1", ["a"], None, 5.0)
        await store.aclose()

    assert not caught.value.retryable


@pytest.mark.parametrize("code", ["EINVAL", "ENOTSUP", "ENOSYS"])
async def test_file_system_that_cannot_sync_saves_all_the_same(code, saving, tmp_path, monkeypatch):
    """What it cannot promise it was not asked for."""
    monkeypatch.setattr("os.fsync", refusing(getattr(errno, code)))

    path = await saving(tmp_path)

    assert path.read_bytes() == JPEG


@pytest.mark.parametrize("code", ["EIO", "ENOSPC"])
async def test_failed_sync_is_told(code, saving, tmp_path, monkeypatch):
    """The file may not be whole on the disk."""
    monkeypatch.setattr("os.fsync", refusing(getattr(errno, code)))

    with pytest.raises(DirectoryError, match=os.strerror(getattr(errno, code))):
        await saving(tmp_path)


@pytest.mark.parametrize("name", ["Аня \ud83d", "zero\0byte", "x" * 300])
async def test_directory_that_can_have_no_such_name_is_told(name, saving, tmp_path):
    """Named after a contact, with half an emoji in it: a bare `ExceptionGroup` came out."""
    with pytest.raises(DirectoryError) as caught:
        await saving(tmp_path / name)

    str(caught.value).encode()
    assert ascii(str(tmp_path))[1:-1] in str(caught.value)
    assert not caught.value.retryable


@pytest.mark.parametrize("name", ["Аня \ud83d", "zero\0byte"])
async def test_store_that_can_have_no_such_name_is_told(name, tmp_path):
    """It was told as damaged."""
    async with Simulator(max_rate=None) as api, client_of(api) as client:
        with pytest.raises((ConfigurationError, StoreError)) as caught:
            await client.poll(store=tmp_path / name).poll_once()

    str(caught.value).encode()
    assert "damaged" not in str(caught.value)
    assert "name" in str(caught.value)
    assert not caught.value.retryable
