"""A live wall of the statuses that are still up: `python examples/wall/wall.py`, then open the address it prints."""

import argparse
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from greenapi_async import (
    AsyncStatusesClient,
    DeletedStatus,
    Event,
    GreenApiError,
    PollFailed,
    Status,
    UnknownStatus,
    to_dict,
)

_PAGE = Path(__file__).parent / "page"
_UP_FOR = 25 * 3600.0
_KEEP_ALIVE = 15.0
# The page shows what strangers wrote, so it may load nothing but its own files, and pictures and videos over https.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src https: data:; media-src https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Board:
    """What the wall shows, and a signal for its open pages.

    An event's id is the boot's id and a number: a browser that reconnects says which one it saw last. After a restart
    the numbers start over, and the new boot id reveals that.
    """

    def __init__(self) -> None:
        self.boot = secrets.token_hex(4)
        self.health: dict[str, Any] = {"state": "starting"}
        self.closed = False
        self._count = 0
        self._shown: dict[str, tuple[int, Status]] = {}
        self._changed = anyio.Event()

    def add(self, status: Status) -> None:
        """Show a status, or take away the one that was deleted."""
        self._count += 1
        self._shown[status.key] = (self._count, status)
        oldest = time.time() - _UP_FOR
        self._shown = {key: each for key, each in self._shown.items() if each[1].timestamp >= oldest}
        self._signal()

    def tell(self, event: Event) -> None:
        """Show how polling is going; this is the poller's `on_event`."""
        if isinstance(event, PollFailed):
            self.health = {"state": "failing", "error": str(event.error)}
        else:
            self.health = {"state": "live"}

        self._signal()

    def stop(self, error: GreenApiError) -> None:
        """Show that the poller gave up."""
        self.health = {"state": "stopped", "error": str(error)}
        self._signal()

    def close(self) -> None:
        """End every stream: an open page would keep the server from ending."""
        self.closed = True
        self._signal()

    async def events(self, last_id: str) -> AsyncIterator[str]:
        """Yield what a browser has not seen yet, then whatever is new."""
        boot, _, number = last_id.partition("-")
        seen = int(number) if boot == self.boot and number.isdigit() else 0
        if not seen:
            yield _event("reset", {})

        told: dict[str, Any] = {}
        while not self.closed:
            changed = self._changed
            for count, status in sorted(self._shown.values(), key=lambda each: each[0]):
                if count > seen:
                    seen = count
                    yield _event("status", _card(status), f"{self.boot}-{count}")

            if told != self.health:
                told = self.health
                yield _event("health", told)

            with anyio.move_on_after(_KEEP_ALIVE) as scope:
                await changed.wait()

            if scope.cancelled_caught:
                yield ": still here\n\n"

    def _signal(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def _event(name: str, data: dict[str, Any], id_: str | None = None) -> str:
    return (f"id: {id_}\n" if id_ else "") + f"event: {name}\ndata: {json.dumps(data)}\n\n"


def _card(status: Status) -> dict[str, Any]:
    """Return what the page needs of a status; for an unknown one, only that it exists."""
    wire = {} if isinstance(status, UnknownStatus) else to_dict(status)
    return {
        "id": status.id_message,
        "kind": status.kind,
        "deletes": isinstance(status, DeletedStatus),
        "timestamp": status.timestamp,
        "sender": status.sender,
        "senderId": status.sender_id or status.chat_id,
        "text": wire.get("textMessage"),
        "style": wire.get("extendedTextMessage"),
        "caption": wire.get("caption"),
        "thumbnail": wire.get("jpegThumbnail"),
        "url": wire.get("downloadUrl"),
    }


def make_app(board: Board, *, interval: float) -> Starlette:
    """Return the app: one page, its two files, and the stream of events."""

    async def events(request: Request) -> Response:
        stream = board.events(request.headers.get("last-event-id", ""))
        return StreamingResponse(stream, media_type="text/event-stream", headers=_HEADERS)

    async def file(request: Request) -> Response:
        return FileResponse(_PAGE / (request.url.path.removeprefix("/") or "index.html"), headers=_HEADERS)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncStatusesClient.from_env() as client, anyio.create_task_group() as tasks:
            tasks.start_soon(_follow, client, board, interval)
            yield
            tasks.cancel_scope.cancel()

    return Starlette(
        routes=[Route("/events", events), *(Route(path, file) for path in ("/", "/wall.css", "/wall.js"))],
        # Requests under another site's name, resolved to this machine, are refused.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
        lifespan=lifespan,
    )


async def _follow(client: AsyncStatusesClient, board: Board, interval: float) -> None:
    """Put every status on the board. Without a store, each start shows everything that is still up."""
    try:
        async for status in client.poll(interval, on_event=board.tell):
            board.add(status)
    except GreenApiError as error:
        board.stop(error)


class _Server(uvicorn.Server):
    """Ends the streams before it waits for the connections to end."""

    def __init__(self, config: uvicorn.Config, board: Board) -> None:
        super().__init__(config)
        self._board = board

    def handle_exit(self, sig: int, frame: Any) -> None:
        self._board.close()
        super().handle_exit(sig, frame)


def main() -> None:
    """Serve the wall on loopback until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--interval", type=float, default=60.0, metavar="SECONDS")
    options = parser.parse_args()

    board = Board()
    config = uvicorn.Config(
        make_app(board, interval=options.interval), port=options.port, log_level="warning"
    )
    print(f"http://127.0.0.1:{options.port}", flush=True)
    with suppress(KeyboardInterrupt):
        _Server(config, board).run()


if __name__ == "__main__":
    main()
