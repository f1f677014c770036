"""aiohttp: forwards each status to a webhook, and reports at `/healthz` how polling is going.

`WEBHOOK=https://… python aiohttp_app.py`, with the variables that `AsyncStatusesClient.from_env` reads.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import ClientSession, web

from greenapi_async import AsyncStatusesClient, Status, StatusPoller, to_dict

POLLER = web.AppKey("poller", StatusPoller)


async def set_aside(status: Status, error: Exception) -> None:
    with open("set_aside.jsonl", "a") as file:
        print(json.dumps({"error": repr(error), "status": to_dict(status)}), file=file)


async def polling(app: web.Application) -> AsyncIterator[None]:
    webhook = os.environ["WEBHOOK"]

    async def forward(status: Status) -> None:
        async with session.post(webhook, json=to_dict(status)) as response:
            response.raise_for_status()

    async with AsyncStatusesClient.from_env() as client, ClientSession() as session:
        app[POLLER] = client.poll(interval=60, store="seen.db")
        task = asyncio.create_task(app[POLLER].run(forward, attempts=3, set_aside=set_aside))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def healthz(request: web.Request) -> web.Response:
    health = request.app[POLLER].health
    http_code = 200 if health.state in {"starting", "ok"} else 503
    return web.json_response({"state": health.state, "lag": health.lag}, status=http_code)


if __name__ == "__main__":
    app = web.Application()
    app.cleanup_ctx.append(polling)
    app.router.add_get("/healthz", healthz)
    web.run_app(app, port=int(os.environ.get("PORT", "8080")))
