"""RedisStore keeps every store's promises on real servers, and says what is wrong with one."""

import os
import shutil
import uuid

import attrs
import pytest
from redis_servers import client_of, close, running

from greenapi_async import Checkpoint, Store
from greenapi_async.stores.conformance import StoreConformance
from greenapi_async.stores.redis import RedisStore

MARKS = Checkpoint(marks=(3.0, 2.0, 1.0))


class OwnClient(RedisStore):
    """Closes its client, which nobody else has."""

    async def aclose(self):
        await close(self._client)


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


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with running(tmp_path_factory.mktemp("cluster"), "--cluster-enabled", "yes") as server:
        yield server


@pytest.fixture(scope="module")
def valkey(tmp_path_factory):
    if shutil.which("valkey-server") is None:
        pytest.skip("no valkey-server in PATH")

    with running(tmp_path_factory.mktemp("valkey"), name="valkey-server") as server:
        yield server


class TestRedisStore(StoreConformance):
    examples = 30

    @pytest.fixture(autouse=True)
    def server(self, some_server):
        self.running = some_server

    def make_store(self):
        return OwnClient(client_of(self.running), prefix=f"{uuid.uuid4()}:")

    def reopened(self, store):
        return OwnClient(client_of(self.running), prefix=store._prefix)


@pytest.mark.long
class TestRedisStoreInACluster(TestRedisStore):
    examples = 5

    @pytest.fixture(autouse=True)
    def server(self, cluster):
        self.running = cluster


@pytest.mark.long
class TestRedisStoreInValkey(TestRedisStore):
    @pytest.fixture(autouse=True)
    def server(self, valkey):
        self.running = valkey


def test_it_is_a_store(some_server):
    assert isinstance(RedisStore(client_of(some_server)), Store)
