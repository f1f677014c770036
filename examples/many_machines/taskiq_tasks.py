"""Taskiq polls: its scheduler sends one task per instance per interval, to any number of workers.

`taskiq scheduler taskiq_tasks:scheduler` once, and `taskiq worker taskiq_tasks:broker` on every machine.
"""

import json
import os
from contextlib import suppress
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import LockError
from taskiq import TaskiqScheduler
from taskiq.schedule_sources import LabelScheduleSource
from taskiq_redis import RedisStreamBroker

from greenapi_async import AsyncStatusesClient
from greenapi_async.stores.redis import RedisStore

INTERVAL = int(os.environ.get("INTERVAL", "60"))
INSTANCES = {each[0]: each for each in json.loads(Path("instances.json").read_text(encoding="utf-8"))}

broker = RedisStreamBroker(os.environ["REDIS_URL"], maxlen=10_000)
scheduler = TaskiqScheduler(broker, [LabelScheduleSource(broker)])
redis = Redis.from_url(os.environ["REDIS_URL"])
store = RedisStore(redis)


@broker.task(schedule=[{"interval": INTERVAL, "args": [id_instance]} for id_instance in INSTANCES])
async def poll(id_instance: str) -> None:
    _, token, api_url = INSTANCES[id_instance]
    client = AsyncStatusesClient(id_instance, token, api_url=api_url)
    lock = redis.lock(f"polling:{id_instance}", timeout=INTERVAL, blocking=False)
    # Another worker has the lock, or ours expired. It only saves requests: `publish` keeps the stream exact.
    with suppress(LockError):
        async with lock, client:
            await store.publish(await client.poll(store=store).poll_once(), "statuses")
