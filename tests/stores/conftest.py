"""The servers that the tests of RedisStore share."""

import os
import shutil

import attrs
import pytest
from redis_servers import running


@attrs.frozen
class Elsewhere:
    """A server that somebody else runs."""

    url: str
    is_cluster: bool = False


@pytest.fixture(scope="module")
def some_server(tmp_path_factory):
    """A server from PATH, or else what REDIS_URL names."""
    if shutil.which("redis-server") is None and "REDIS_URL" in os.environ:
        yield Elsewhere(os.environ["REDIS_URL"])
        return

    with running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    with running(tmp_path_factory.mktemp("cluster"), "--cluster-enabled", "yes") as server:
        yield server


@pytest.fixture(scope="module")
def valkey(tmp_path_factory):
    if shutil.which("valkey-server") is None:
        pytest.skip("no valkey-server in PATH")

    with running(tmp_path_factory.mktemp("valkey"), name="valkey-server") as server:
        yield server
