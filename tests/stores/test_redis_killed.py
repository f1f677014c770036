"""The stream's promise under SIGKILL, of workers and of Redis: real processes, real sockets, a real log that is cut."""

import functools

import anyio
import killed_redis
import pytest

long = pytest.mark.long


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=long)])
def test_killed_workers_lose_and_repeat_nothing(tmp_path, kills):
    """Two poll one instance, and nothing fences them."""
    report = anyio.run(killed_redis.kill_workers, kills, tmp_path)

    assert report.lost == set()
    assert report.repeats == 0


@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=long)])
def test_a_killed_server_loses_and_repeats_nothing(tmp_path, kills):
    """Workers wait for it, and go on."""
    report = anyio.run(functools.partial(killed_redis.kill_redis, cuts=False), kills, tmp_path)

    assert report.lost == set()
    assert report.repeats == 0


@long
def test_a_server_whose_log_is_torn_loses_nothing(tmp_path):
    """What the log lost is lost in the stream and in what is handled alike, and comes again."""
    report = anyio.run(functools.partial(killed_redis.kill_redis, cuts=True), 3, tmp_path)

    assert report.lost == set()
