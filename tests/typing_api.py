"""What a type checker sees of the public names; it is checked, not run."""

from datetime import timedelta
from pathlib import Path
from typing import assert_never, assert_type

import httpx
from redis.asyncio import Redis

from greenapi_async import (
    AsyncStatusesClient,
    AudioStatus,
    Batch,
    DeletedStatus,
    Fleet,
    Health,
    ImageStatus,
    InstanceBatch,
    MediaStatus,
    MemoryStore,
    SQLiteStore,
    Status,
    StatusPoller,
    Store,
    TextStatus,
    UnknownStatus,
    VideoStatus,
    from_dict,
    to_dict,
)
from greenapi_async.stores.redis import RedisStore


async def client_api(http_client: httpx.AsyncClient, status: MediaStatus | UnknownStatus) -> None:
    assert_type(
        AsyncStatusesClient.from_env(http_client=http_client, timeout=timedelta(seconds=5)),
        AsyncStatusesClient,
    )
    assert_type(
        AsyncStatusesClient(1, "token", api_url=httpx.URL("https://x.example")).http_client, httpx.AsyncClient
    )
    async with AsyncStatusesClient("1101000001", "token", http_client=http_client) as client:
        assert_type(client, AsyncStatusesClient)
        assert_type(await client.fetch(minutes=60), list[Status])
        assert_type(client.for_instance(1101000002, "token"), AsyncStatusesClient)
        assert_type(client.poll(), StatusPoller)
        assert_type(await client.save_media(status, "stories", progress=print, max_bytes=2**20), Path)
        assert_type(await client.media_bytes(status, max_bytes=2**20), bytes)


async def fleet_api(http_client: httpx.AsyncClient, status: Status) -> None:
    async with Fleet(
        interval=30, store="seen.db", slots=10, http_client=http_client, on_event=print
    ) as fleet:
        assert_type(fleet, Fleet)
        fleet.add(1101000001, "token", api_url="https://1101.api.green-api.com")
        fleet.remove("1101000001")
        assert_type(fleet.health["1101000001"], Health)
        async for batch in fleet:
            assert_type(batch, InstanceBatch)
            async with batch as entered:
                assert_type(entered, InstanceBatch)
                assert_type(batch.client, AsyncStatusesClient)
                assert_type([*batch.statuses], list[Status])
                await batch.commit(status)
                await batch.commit()


async def redis_store(client: Redis, batch: Batch, of_fleet: InstanceBatch) -> None:
    store: Store = RedisStore(client, prefix="stories:", timeout=5.0)
    await store.record(batch.scope, ["id"], batch.checkpoint, batch.now)
    await store.record(of_fleet.scope, ["id"], None, of_fleet.now)
    for each in (batch, of_fleet):
        assert_type(await RedisStore(client).publish(each, "statuses", maxlen=1000), int)


async def poller_api(client: AsyncStatusesClient) -> None:
    store: Store = MemoryStore()
    durable: Store = SQLiteStore(Path("seen.db"))
    assert_type(client.poll(store="seen.db"), StatusPoller)
    assert_type(client.poll(timedelta(minutes=1), store=durable), StatusPoller)
    async with client.poll(30, store=store, start="now", delivery="at-most-once", on_event=print) as poller:
        assert_type(poller.health, Health)
        assert_type(await poller.poll_once(), Batch)

        await poller.run(handle)
        await poller.run(handle, attempts=3, set_aside=set_aside)

        async for batch in poller.batches():
            assert_type(batch, list[Status])

        async for status in poller:
            assert_type(status, Status)


async def handle(status: Status) -> int:
    return status.timestamp


async def set_aside(status: Status, error: Exception) -> None:
    assert_type(error, Exception)


def every_status(status: Status) -> str | None:
    match status:
        case TextStatus():
            return status.text_message
        case ImageStatus() | VideoStatus() | AudioStatus():
            assert_type(status.thumbnail, bytes | None)
            return status.download_url
        case DeletedStatus() | UnknownStatus():
            assert_type(status.timestamp, int)
            return status.id_message
        case _:
            assert_never(status)


def round_trip(path: Path, status: Status) -> Status:
    path.write_text(str(to_dict(status)), encoding="utf-8")
    return from_dict(to_dict(status))
