"""A worker: saves every photo, video and voice note in `stories`, until SIGTERM or Ctrl-C ends it.

`python worker.py`, with the variables that `AsyncStatusesClient.from_env` reads.
"""

import asyncio
import json
import signal
from contextlib import suppress

from greenapi_async import AsyncStatusesClient, AudioStatus, ImageStatus, Status, VideoStatus, to_dict


async def set_aside(status: Status, error: Exception) -> None:
    with open("set_aside.jsonl", "a") as file:
        print(json.dumps({"error": repr(error), "status": to_dict(status)}), file=file)


async def main() -> None:
    async def save(status: Status) -> None:
        if isinstance(status, ImageStatus | VideoStatus | AudioStatus):
            print(await client.save_media(status, "stories"), flush=True)

    async with AsyncStatusesClient.from_env() as client:
        poller = client.poll(interval=60, store="seen.db")
        running = asyncio.create_task(poller.run(save, attempts=3, set_aside=set_aside))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        with suppress(asyncio.CancelledError):
            await running


if __name__ == "__main__":
    asyncio.run(main())
