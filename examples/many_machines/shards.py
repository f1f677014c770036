"""Worker k of n: polls the instances whose place in the list is k, n + k, 2n + k ... into one stream.

`WORKER=0 WORKERS=3 python shards.py`, where k is a StatefulSet's ordinal or a systemd template's `%i`. The
supervisor restarts what dies; workers may overlap in the meantime, as when n changes, without harm.
"""

import asyncio
import json
import os
from pathlib import Path

from redis.asyncio import Redis

from greenapi_async import Fleet
from greenapi_async.stores.redis import RedisStore

INTERVAL = float(os.environ.get("INTERVAL", "60"))
URL = os.environ.get("GREEN_API_URL", "https://api.green-api.com")


async def main(credentials: list[list[str]]) -> None:
    store = RedisStore(Redis.from_url(os.environ["REDIS_URL"]))
    async with Fleet(interval=INTERVAL, store=store, api_url=URL) as fleet:
        for id_instance, token in credentials:
            fleet.add(id_instance, token)  # A wrong token ends its instance, and not the others.

        async for batch in fleet:
            async with batch:
                await store.publish(batch, "statuses")


if __name__ == "__main__":
    instances = json.loads(Path("instances.json").read_text(encoding="utf-8"))
    asyncio.run(main(instances[int(os.environ["WORKER"]) :: int(os.environ["WORKERS"])]))
