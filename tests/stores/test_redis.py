"""RedisStore keeps every store's promises on real servers, and says what is wrong with one."""

import uuid

import pytest
from redis_servers import client_of, close

from greenapi_async import Store
from greenapi_async.stores.conformance import StoreConformance
from greenapi_async.stores.redis import RedisStore


class OwnClient(RedisStore):
    """Closes its client, which nobody else has."""

    async def aclose(self):
        await close(self._client)


class TestRedisStore(StoreConformance):
    examples = 15

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
