"""The recipe for Postgres as a store and an outbox, on a real server."""

import asyncio
import importlib
import sys
from contextlib import asynccontextmanager
from itertools import count

import pytest
from killed_recipes import RECIPES, execute
from postgres_servers import running

from greenapi_async.stores.conformance import StoreConformance

pytestmark = pytest.mark.examples

_schemas = count()


@pytest.fixture(scope="module")
def url():
    with running() as url:
        yield url


@pytest.fixture(scope="module")
def recipe():
    sys.path.insert(0, str(RECIPES))
    yield importlib.import_module("postgres_store")
    sys.path.remove(str(RECIPES))


class EachItsOwn:
    """A pool whose connections live for one call: the suite's event loops are many."""

    def __init__(self, url, schema):
        self.url = url
        self.schema = schema

    @asynccontextmanager
    async def acquire(self, timeout):  # noqa: ASYNC109 - asyncpg's signature.
        import asyncpg

        settings = {"search_path": self.schema}
        connection = await asyncpg.connect(self.url, timeout=timeout, server_settings=settings)
        try:
            yield connection
        finally:
            connection.terminate()


class TestPostgresStore(StoreConformance):
    examples = 5

    @pytest.fixture(autouse=True)
    def server(self, url, recipe):
        self.url = url
        self.recipe = recipe

    def make_store(self):
        pool = EachItsOwn(self.url, f"s{next(_schemas)}")
        asyncio.run(execute(self.url, f"CREATE SCHEMA {pool.schema}"))
        asyncio.run(execute(self.url, f"SET search_path TO {pool.schema}; {self.recipe.SCHEMA}"))
        return self.recipe.PostgresStore(pool)
