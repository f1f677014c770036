"""What the commands do: watch, fetch, and the simulator."""

import argparse
import os
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio

from greenapi_async.cli.saver import Saver
from greenapi_async.cli.terminal import json_line, say, shown, tell, text_line
from greenapi_async.client import AsyncStatusesClient
from greenapi_async.events import Event, Polled
from greenapi_async.models import Status
from greenapi_async.simulator import Simulator, chaos, demo

_INTERVAL = 60.0
_DEMO_INTERVAL = 1.0
_LONGEST_DEMO_INTERVAL = 5.0  # The demo is to end within half a minute.
_LONGEST_DEMO = 25.0
_SIMULATOR_POSTS_EVERY = 5.0
_MOST_MINUTES = 43_200
STATE = ".greenapi-async.db"

_VARIABLES = (
    "GREEN_API_ID_INSTANCE",
    "GREEN_API_TOKEN_INSTANCE",
    "GREEN_API_TOKEN_INSTANCE_FILE",
    "GREEN_API_URL",
)
_NO_CREDENTIALS = (
    "no credentials are set, so this talks to the embedded simulator; for the real API set "
    "GREEN_API_ID_INSTANCE, GREEN_API_TOKEN_INSTANCE and GREEN_API_URL"
)


async def watch(options: argparse.Namespace) -> None:
    """Print each new status as it arrives."""
    if not _has_credentials():
        await _watch_demo(options)
        return

    async with AsyncStatusesClient.from_env() as client:
        await _print_new(client, options, interval=options.interval or _INTERVAL)


async def fetch(options: argparse.Namespace) -> None:
    """Request once, and print the statuses."""
    async with _client_with_something_to_see() as client:
        statuses = await client.fetch(options.minutes)

    if options.json:
        say("[" + ",\n ".join(map(json_line, statuses)) + "]")
        return

    for status in statuses:
        say(_line(status, jsonl=options.jsonl))


async def simulate(options: argparse.Namespace) -> None:
    """Run a simulator until somebody stops it."""
    async with AsyncExitStack() as stack:
        api = await _listen(stack, options.port)
        _print_exports(api)

        if options.chaos is not None:
            await chaos(api, options.chaos, every=_SIMULATOR_POSTS_EVERY)

        while True:
            await demo(api, every=_SIMULATOR_POSTS_EVERY)


def _has_credentials() -> bool:
    """Tell whether anything is set, if only in part: that is to be completed, not to be passed over."""
    return any(name in os.environ for name in _VARIABLES)


async def _watch_demo(options: argparse.Namespace) -> None:
    interval = min(options.interval or _DEMO_INTERVAL, _LONGEST_DEMO_INTERVAL)
    tell(_NO_CREDENTIALS)

    async with Simulator() as api, _client_of(api) as client:
        with anyio.move_on_after(_LONGEST_DEMO) as scope:
            posted = anyio.Event()

            async def post() -> None:
                await demo(api)
                posted.set()

            def end_when_all_came(event: Event) -> None:
                if posted.is_set() and isinstance(event, Polled) and event.new == 0:
                    scope.cancel()

            async with _beside(post):
                await _print_new(client, options, interval=interval, on_event=end_when_all_came)


@asynccontextmanager
async def _client_with_something_to_see() -> AsyncGenerator[AsyncStatusesClient]:
    if _has_credentials():
        async with AsyncStatusesClient.from_env() as client:
            yield client
        return

    tell(_NO_CREDENTIALS)
    async with Simulator() as api, _client_of(api) as client:
        await demo(api, every=0.0)
        yield client


def _client_of(api: Simulator) -> AsyncStatusesClient:
    os.environ["no_proxy"] = "*"  # A proxy has no way to this machine's loopback.
    return AsyncStatusesClient(api.id_instance, api.token, api_url=api.url)


@asynccontextmanager
async def _beside(task: Callable[[], Coroutine[Any, Any, None]]) -> AsyncGenerator[None]:
    """Run a task while the body runs; what the body raises comes out as it is, not in a group."""
    raised: Exception | None = None

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(task)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised again below.
            raised = error

        tasks.cancel_scope.cancel()

    if raised is not None:
        raise raised


async def _print_new(
    client: AsyncStatusesClient,
    options: argparse.Namespace,
    *,
    interval: float,
    on_event: Callable[[Event], None] | None = None,
) -> None:
    start = timedelta(minutes=min(options.minutes, _MOST_MINUTES)) if options.minutes else None
    saver = await _saver(client, options)
    count = 0

    async with client.poll(interval, store=_state(options), start=start, on_event=on_event) as statuses:
        async for status in statuses:
            path = await saver.save(status) if saver else None
            say(_line(status, jsonl=options.jsonl))
            if path and not options.jsonl:
                say(f"    {shown(str(path))}")

            count += 1
            if count == options.max:
                await statuses.commit()
                return


async def _saver(client: AsyncStatusesClient, options: argparse.Namespace) -> Saver | None:
    if options.save is None:
        return None

    # http is for an API on this machine alone, and the simulator's files are there too.
    url = os.environ.get("GREEN_API_URL", "").strip().lower()
    at_home = not _has_credentials() or url.startswith("http:")
    saver = Saver(client=client, directory=Path(options.save), allow_loopback=at_home, tell=tell)
    await saver.prepare()
    return saver


def _state(options: argparse.Namespace) -> Path | None:
    if options.state is None and options.save is not None:
        return Path(options.save, STATE)

    return options.state and Path(options.state)


async def _listen(stack: AsyncExitStack, port: int) -> Simulator:
    try:
        return await stack.enter_async_context(Simulator(port=port))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise OSError(f"cannot listen on port {port} ({reason}): choose another with --port") from None


def _print_exports(api: Simulator) -> None:
    say("# Runs until Ctrl-C. Paste this into another terminal to point a client at it:")
    say(f"export GREEN_API_ID_INSTANCE={api.id_instance}")
    say(f"export GREEN_API_TOKEN_INSTANCE={api.token}")
    say(f"export GREEN_API_URL={api.url}")


def _line(status: Status, *, jsonl: bool) -> str:
    return json_line(status) if jsonl else text_line(status)
