"""FastStream reads the stream: any number of consumers share it, and reclaim what a dead one left pending.

`CONSUMER=one python consumer.py`: each running consumer needs a name of its own.
"""

import asyncio
import os
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.redis import RedisBroker, StreamSub
from faststream.redis.annotations import RedisStreamMessage
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from greenapi_async import from_dict

STREAM, GROUP, CONSUMER = "statuses", "bot", os.environ["CONSUMER"]
RECLAIM_AFTER = int(os.environ.get("RECLAIM_AFTER", "60000"))  # Milliseconds: longer than any handler takes.

broker = RedisBroker(os.environ["REDIS_URL"])
app = FastStream(broker)
fresh = StreamSub(STREAM, group=GROUP, consumer=CONSUMER)
held = StreamSub(STREAM, group=GROUP, consumer=CONSUMER, min_idle_time=RECLAIM_AFTER)


@app.on_startup
async def begin_with_the_first_entry() -> None:
    redis = Redis.from_url(os.environ["REDIS_URL"])
    try:
        await redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise
    finally:
        await redis.aclose()


@broker.subscriber(stream=fresh, ack_policy=AckPolicy.NACK_ON_ERROR)
@broker.subscriber(stream=held, ack_policy=AckPolicy.NACK_ON_ERROR)
async def handle(item: dict[str, Any], message: RedisStreamMessage) -> None:
    # At least once: after a crash between the work and the acknowledgement, the work is done again.
    id_instance, status = message.raw_message["data"][b"instance"].decode(), from_dict(item)
    print("handled", id_instance, status.id_message, flush=True)


if __name__ == "__main__":
    asyncio.run(app.run())
