"""FastAPI: serves the latest statuses at `/statuses`, and reports at `/healthz` how polling is going.

`uvicorn fastapi_app:app`, with the variables that `AsyncStatusesClient.from_env` reads.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, Response
from pydantic import BaseModel, Field

from greenapi_async import AsyncStatusesClient, Status, TextStatus, to_dict


class Story(BaseModel):
    id: str
    sender: str
    text: str | None = Field(max_length=700)


async def keep(status: Status) -> None:
    text = status.text_message if isinstance(status, TextStatus) else status.kind
    app.state.stories.append(Story(id=status.id_message, sender=status.sender, text=text))


async def set_aside(status: Status, error: Exception) -> None:
    with open("set_aside.jsonl", "a") as file:
        print(json.dumps({"error": repr(error), "status": to_dict(status)}), file=file)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.stories = deque(maxlen=100)
    async with AsyncStatusesClient.from_env() as client:
        app.state.poller = client.poll(interval=60, store="seen.db")
        task = asyncio.create_task(app.state.poller.run(keep, attempts=3, set_aside=set_aside))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


app = FastAPI(lifespan=lifespan)


@app.get("/statuses")
async def statuses() -> list[Story]:
    return list(app.state.stories)


@app.get("/healthz")
async def healthz(response: Response) -> dict[str, object]:
    health = app.state.poller.health
    response.status_code = 200 if health.state in {"starting", "ok"} else 503
    return {"state": health.state, "lag": health.lag}
