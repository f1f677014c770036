"""Postgres as the store and the outbox, with asyncpg: a batch and its rows in one transaction.

Once: `await pool.execute(SCHEMA)`, where the pool is `await asyncpg.create_pool(...)`. What reads the outbox has to
delete its rows.
"""

import json
from collections.abc import Iterable

import asyncpg

from greenapi_async import Batch, Checkpoint, InstanceBatch, StoreError, to_dict

SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (scope text, id bytea, first_seen float8, PRIMARY KEY (scope, id));
CREATE TABLE IF NOT EXISTS checkpoint (scope text PRIMARY KEY, marks float8[], catching_up bool, begins float8);
CREATE TABLE IF NOT EXISTS outbox (number bigserial PRIMARY KEY, scope text, status text);
"""
RECORD = "INSERT INTO seen SELECT $1, unnest($2::bytea[]), $3 ON CONFLICT DO NOTHING RETURNING id"
KEEP = """INSERT INTO checkpoint VALUES ($1, $2, $3, $4) ON CONFLICT (scope)
    DO UPDATE SET marks = excluded.marks, catching_up = excluded.catching_up, begins = excluded.begins"""
FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


class PostgresStore:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    async def load(self, scope: str) -> Checkpoint | None:
        rows = await self._run("SELECT marks, catching_up, begins FROM checkpoint WHERE scope = $1", scope)
        return Checkpoint(**(dict(rows[0]) | {"marks": tuple(rows[0]["marks"])})) if rows else None

    async def unseen(self, scope: str, ids: Iterable[str]) -> set[str]:
        given = {blob(id_): id_ for id_ in ids}
        rows = await self._run(
            "SELECT id FROM seen WHERE scope = $1 AND id = ANY($2::bytea[])", scope, list(given)
        )
        return set(given.values()) - {given[row["id"]] for row in rows}

    async def record(self, scope: str, ids: Iterable[str], checkpoint: Checkpoint | None, now: float) -> None:
        try:
            async with self.pool.acquire(timeout=5) as connection, connection.transaction():
                await self._record(connection, scope, ids, checkpoint, now)
        except FAILURES as error:
            raise failure(error) from None

    async def publish(self, batch: Batch | InstanceBatch) -> None:
        """Commit the batch, and append to the outbox what no other worker has recorded."""
        statuses = {blob(status.key): status for status in batch.statuses}
        keys = [status.key for status in batch.statuses]
        try:
            async with self.pool.acquire(timeout=5) as connection, connection.transaction():
                new = await self._record(connection, batch.scope, keys, batch.checkpoint, batch.now)
                rows = [
                    (batch.scope, json.dumps(to_dict(each))) for id_, each in statuses.items() if id_ in new
                ]
                await connection.executemany("INSERT INTO outbox (scope, status) VALUES ($1, $2)", rows)
        except FAILURES as error:
            raise failure(error) from None

    async def forget(self, scope: str, before: float) -> None:
        await self._run("DELETE FROM seen WHERE scope = $1 AND first_seen < $2", scope, before)

    async def aclose(self) -> None:
        """Do nothing: the caller closes the pool."""

    async def _record(self, connection, scope, ids, checkpoint, now) -> set[bytes]:  # noqa: ANN001
        # Sorted: two workers that insert the same ids in different orders would deadlock.
        new = await connection.fetch(RECORD, scope, sorted(set(map(blob, ids))), now)
        if checkpoint is not None:
            await connection.execute(KEEP, scope, checkpoint.marks, checkpoint.catching_up, checkpoint.begins)

        return {row["id"] for row in new}

    async def _run(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        try:
            async with self.pool.acquire(timeout=5) as connection:
                return await connection.fetch(query, *arguments)
        except FAILURES as error:
            raise failure(error) from None


def blob(id_: str) -> bytes:
    return id_.encode("utf-8", "surrogatepass")


def failure(error: Exception) -> StoreError:
    passes = isinstance(
        error,
        asyncpg.PostgresConnectionError | asyncpg.TransactionRollbackError | asyncpg.OperatorInterventionError
        | asyncpg.InsufficientResourcesError | asyncpg.InterfaceError | OSError,
    )  # fmt: skip
    return StoreError(f"Postgres failed: {error or type(error).__name__}", retryable=passes)
