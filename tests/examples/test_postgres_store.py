"""The recipe for Postgres as a store and an outbox, on a real server."""

import asyncio
import importlib
import os
import subprocess
import sys
import time
from contextlib import ExitStack, asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from postgres_servers import running

from greenapi_async.simulator import Simulator
from greenapi_async.stores.conformance import StoreConformance

pytestmark = pytest.mark.examples

RECIPES = Path(__file__).parents[2] / "examples" / "many_machines"
_LONG_ENOUGH = 120.0
WORKER = """
import asyncio, sys
import asyncpg
from greenapi_async import AsyncStatusesClient
from postgres_store import SCHEMA, PostgresStore

async def main():
    pool = await asyncpg.create_pool(sys.argv[1], min_size=1, max_size=2)
    store = PostgresStore(pool)
    async with AsyncStatusesClient.from_env(max_rate=None) as client:
        poller = client.poll(store=store)
        while True:
            await store.publish(await poller.poll_once())
            await asyncio.sleep(0.01)

asyncio.run(main())
"""
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


async def execute(url, statements, *, fetch=False):
    import asyncpg

    connection = await asyncpg.connect(url)
    result = await (connection.fetch if fetch else connection.execute)(statements)
    await connection.close()
    return result


def test_killed_workers_lose_and_repeat_nothing(url, recipe, tmp_path):
    """Two write into one outbox, and are killed one after the other."""
    asyncio.run(execute(url, recipe.SCHEMA))
    posted = []

    def outbox():
        rows = asyncio.run(
            execute(url, "SELECT status::json->>'idMessage' AS id FROM outbox ORDER BY number", fetch=True)
        )
        return [row["id"] for row in rows]

    def until_written(workers):
        deadline = time.monotonic() + _LONG_ENOUGH
        while set(outbox()) != set(posted):
            assert all(worker.poll() is None for worker in workers)
            assert time.monotonic() < deadline, "too late"
            time.sleep(0.02)

    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        api = stack.enter_context(portal.wrap_async_context_manager(Simulator(max_rate=None)))
        variables = {**os.environ, **api.env, "PYTHONPATH": str(RECIPES)}
        workers = []
        for _ in range(6):
            worker = subprocess.Popen([sys.executable, "-c", WORKER, url], cwd=tmp_path, env=variables)
            stack.callback(worker.wait)
            stack.callback(worker.kill)
            workers.append(worker)
            posted += [api.post("text")["idMessage"] for _ in range(5)]
            until_written(workers)
            posted += [api.post("text")["idMessage"] for _ in range(5)]
            if len(workers) == 2:
                workers.pop(0).kill()

        until_written(workers)

    assert sorted(outbox()) == sorted(posted)
