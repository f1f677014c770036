"""Trims the stream, but not what a group has undelivered or pending: `python trim.py`, from cron."""

import asyncio
import os

from redis.asyncio import Redis

STREAM = "statuses"


def number(entry: bytes) -> tuple[int, ...]:
    return tuple(map(int, entry.split(b"-")))


async def trim(redis: Redis) -> int:
    """Return how many entries went; none before there is a group that reads the stream."""
    if not await redis.exists(STREAM):
        return 0

    needed = []
    for group in await redis.xinfo_groups(STREAM):
        pending = await redis.xpending(STREAM, group["name"])
        needed.append(pending["min"] or group["last-delivered-id"])

    return await redis.xtrim(STREAM, minid=min(needed, key=number), approximate=False) if needed else 0


async def main() -> None:
    async with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        print("trimmed", await trim(redis), "entries")


if __name__ == "__main__":
    asyncio.run(main())
