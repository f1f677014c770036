"""Many downloads at once, few files that may be open, disks that take nothing."""

import errno
import functools
import os
import resource
import sys
from contextlib import AsyncExitStack, contextmanager

import anyio
import pytest
from clients import client_of
from media_world import JPEG, Seen, Stall, Steady, posted, tree

from greenapi_async import DirectoryError, TransportError
from greenapi_async.simulator import Delay, Simulator

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api():
    async with Simulator(max_rate=None) as api:
        yield api


def saving(client, directory):
    return functools.partial(client.save_media, directory=directory, allow_loopback=True)


@contextmanager
def open_files_no_more_than(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Busy(Seen):
    """Count how many downloads are under way at once."""

    most = 0
    now = 0

    async def send(self, wire):
        Busy.now += 1
        Busy.most = max(Busy.most, Busy.now)
        try:
            await anyio.sleep(0.02)
            await wire.send(wire.head + wire.body)
        finally:
            Busy.now -= 1


# Places


async def test_many_downloads_open_few_files(api, tmp_path):
    """Two hundred in a task group, with 256 open files: one in seven gave up after its retries."""
    Busy.most = Busy.now = 0
    statuses = [posted(api) for _ in range(200)]
    api.media_faults.extend([Busy()] * 200)

    async with client_of(api) as client:
        # Half of them are the server's, which is in this process.
        with open_files_no_more_than(256), anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for status in statuses:
                    tasks.start_soon(saving(client, tmp_path), status)

    assert len(list(tmp_path.glob("*.jpg"))) == 200
    assert 1 < Busy.most <= 32


async def test_several_hosts_and_clients_share_the_places(tmp_path):
    """Files are the process's."""
    Busy.most = Busy.now = 0
    async with AsyncExitStack() as stack:
        apis = [await stack.enter_async_context(Simulator(max_rate=None)) for _ in range(6)]
        clients = [await stack.enter_async_context(client_of(api)) for api in apis]
        with open_files_no_more_than(256), anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for api, client in zip(apis, clients, strict=True):
                    api.media_faults.extend([Busy()] * 30)
                    for _ in range(30):
                        tasks.start_soon(saving(client, tmp_path), posted(api))

    assert len(list(tmp_path.glob("*.jpg"))) == 180
    assert Busy.most <= 32


async def test_hanging_host_leaves_places_to_others(tmp_path):
    """Fifty downloads that hang, and one from elsewhere."""
    async with Simulator(max_rate=None) as hanging, Simulator(max_rate=None) as healthy:
        hanging.media_faults.extend([Delay(60)] * 60)
        async with client_of(healthy, timeout=30.0) as client, anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(saving(client, tmp_path), posted(hanging))
            await anyio.sleep(0.3)

            with anyio.fail_after(10):
                path = await saving(client, tmp_path)(posted(healthy))

            tasks.cancel_scope.cancel()

    assert path.read_bytes() == JPEG


async def test_wait_for_a_place_ends_where_nothing_moves(api, tmp_path):
    """Those who wait behind downloads that hang would wait for each of them, for hours."""
    api.media_faults.extend([Stall(0.0)] * 100)
    errors = []

    async with client_of(api, timeout=0.6) as client:

        async def fails():
            with pytest.raises(TransportError) as caught:
                await saving(client, tmp_path)(posted(api))
            errors.append(caught.value)

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                for _ in range(60):
                    tasks.start_soon(fails)

    assert {(error.timeout, error.retryable) for error in errors} == {(True, True)}


async def test_wait_for_a_place_lasts_as_long_as_others_get_on(api, tmp_path):
    """Each download takes longer than the timeout, and none stands still."""
    api.media_faults.extend([Steady(len(JPEG) // 5, every=0.1)] * 30)

    async with client_of(api, timeout=0.45) as client:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for _ in range(30):
                    tasks.start_soon(saving(client, tmp_path), posted(api))

    assert len(list(tmp_path.glob("*.jpg"))) == 30


async def test_cancelled_downloads_give_their_places_back(api, tmp_path):
    """All of them, whether they waited or ran."""
    api.media_faults.extend([Stall()] * 100)

    async with client_of(api) as client:
        with anyio.move_on_after(0.5):
            async with anyio.create_task_group() as tasks:
                for _ in range(60):
                    tasks.start_soon(saving(client, tmp_path), posted(api))

        api.media_faults.clear()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                for _ in range(60):
                    tasks.start_soon(saving(client, tmp_path), posted(api))


async def test_one_status_many_times_takes_no_place_while_it_waits(api, tmp_path):
    """Those who wait for the one who writes would keep others from downloading."""
    api.media_faults.append(Stall())
    status = posted(api)

    async with client_of(api) as client, anyio.create_task_group() as tasks:
        for _ in range(60):
            tasks.start_soon(saving(client, tmp_path), status)
        await anyio.sleep(0.3)

        with anyio.fail_after(10):
            assert (await saving(client, tmp_path)(posted(api))).read_bytes() == JPEG

        tasks.cancel_scope.cancel()


# Without locks


@pytest.mark.skipif(sys.platform == "win32", reason="other calls are made there")
async def test_two_tasks_without_locks_write_one_part_after_the_other(api, tmp_path, monkeypatch):
    """On a network drive without `flock` both wrote into it at once, and a mixture was published."""

    def refuse(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", refuse)
    status, seen = posted(api), Seen()
    api.media_faults.extend([Steady(len(JPEG) // 10, every=0.05), seen])

    async with client_of(api) as client, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(saving(client, tmp_path), status)

    [path] = tmp_path.glob("*.jpg")
    assert path.read_bytes() == JPEG
    assert seen.requests == []
    assert len(tree(tmp_path)) == 2


# Disks


def a_file(directory, name):
    (directory / "stories").write_bytes(b"")
    return directory / "stories"


def below_a_file(directory, name):
    return a_file(directory, name) / "more"


def a_loop(directory, name):
    (directory / "stories").symlink_to(directory / "stories")
    return directory / "stories"


def _under_the_name(make, end):
    def prepare(directory, name):
        make(directory / f"{name}{end}")
        return directory

    prepare.__name__ = f"{make.__name__} at {end}"
    return prepare


def a_directory(path):
    path.mkdir()


def a_symlink(path):
    path.symlink_to(path.parent / "elsewhere")


def a_pipe(path):
    os.mkfifo(path)


_ENDS = (".jpg", ".jpg.part", ".json")


@pytest.mark.parametrize(
    "prepare",
    [
        *(a_file, below_a_file, a_loop),
        *(_under_the_name(make, end) for make in (a_directory, a_symlink, a_pipe) for end in _ENDS),
    ],
    ids=lambda prepare: prepare.__name__,
)
async def test_disk_that_no_retry_heals_says_so(prepare, api, tmp_path):
    """Somebody has to take away what is in the way."""
    from greenapi_async._media.name import stem

    status = posted(api)
    directory = prepare(tmp_path, stem(status))

    async with client_of(api, retries=3) as client:
        with anyio.fail_after(3), pytest.raises(DirectoryError) as caught:
            await client.save_media(status, directory, allow_loopback=True)

    assert not caught.value.retryable
