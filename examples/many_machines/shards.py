"""Worker k of n: polls the instances whose place in the list is k, n + k, 2n + k ... into one stream.

`WORKER=0 WORKERS=3 python shards.py`, where k is a StatefulSet's ordinal or a systemd template's `%i`. The supervisor
starts again what dies; workers that overlap meanwhile, as when n changes, do no harm.
"""

import asyncio
import json
import logging
import os
import random
from pathlib import Path

from redis.asyncio import Redis

from greenapi_async import AsyncStatusesClient, GreenApiError
from greenapi_async.stores.redis import RedisStore

INTERVAL = float(os.environ.get("INTERVAL", "60"))
log = logging.getLogger("shards")


async def follow(client: AsyncStatusesClient, store: RedisStore) -> None:
    await asyncio.sleep(random.uniform(0, INTERVAL))  # noqa: S311 - all at once would stay so for ever.
    poller = client.poll(store=store)
    while True:
        try:
            await store.publish(await poller.poll_once(), "statuses")
        except GreenApiError as error:
            log.warning("%s: %s", poller, error)
            if not error.retryable:
                return  # A wrong token ends one instance, and not the others.
        await asyncio.sleep(INTERVAL)


async def main(credentials: list[list[str]]) -> None:
    store = RedisStore(Redis.from_url(os.environ["REDIS_URL"]))
    url = os.environ.get("GREEN_API_URL", "https://api.green-api.com")
    async with AsyncStatusesClient("0", "-", api_url=url) as family, asyncio.TaskGroup() as tasks:
        for id_instance, token in credentials:
            tasks.create_task(follow(family.for_instance(id_instance, token), store))


if __name__ == "__main__":
    instances = json.loads(Path("instances.json").read_text(encoding="utf-8"))
    asyncio.run(main(instances[int(os.environ["WORKER"]) :: int(os.environ["WORKERS"])]))
