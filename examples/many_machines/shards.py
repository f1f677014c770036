"""Worker k of n: polls the instances whose place in the list is k, n + k, 2n + k ... into one stream.

`WORKER=0 WORKERS=3 python shards.py`, where k is a StatefulSet's ordinal or a systemd template's `%i`. The
supervisor restarts what dies; workers may overlap in the meantime, as when n changes, without harm. After a change of
`instances.json`, restart them: they go on where they were.
"""

import asyncio
import json
import logging
import os
from pathlib import Path

from redis.asyncio import Redis

from greenapi_async import Fleet
from greenapi_async.stores.redis import RedisStore

INTERVAL = float(os.environ.get("INTERVAL", "60"))
log = logging.getLogger("shards")


async def main(credentials: list[list[str]]) -> None:
    store = RedisStore(Redis.from_url(os.environ["REDIS_URL"]))
    async with Fleet(interval=INTERVAL, store=store) as fleet:
        # If the API rejects a token, only that instance stops.
        for id_instance, token, api_url in credentials:
            fleet.add(id_instance, token, api_url=api_url)

        log.info("polling %d instances", len(credentials))
        async for batch in fleet:
            async with batch:
                await store.publish(batch, "statuses")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    worker, workers = int(os.environ["WORKER"]), int(os.environ["WORKERS"])
    if not 0 <= worker < workers:
        raise SystemExit("WORKER must be 0 ... WORKERS - 1")

    instances = json.loads(Path("instances.json").read_text(encoding="utf-8"))
    asyncio.run(main(instances[worker::workers]))
