"""The commands: watch, fetch, check and simulator."""

import argparse
import os
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio

from greenapi_async._decoding.statuses import dumps
from greenapi_async.cli.saver import StatusSaver
from greenapi_async.cli.terminal import echo, echo_err, json_line, sanitized, text_line
from greenapi_async.client import AsyncStatusesClient
from greenapi_async.events import Event, Polled
from greenapi_async.models import Status
from greenapi_async.simulator import Simulator, chaos, demo

_INTERVAL = 60.0
_DEMO_INTERVAL = 1.0
_MAX_DEMO_INTERVAL = 5.0  # The demo must end within half a minute.
_MAX_DEMO_SECONDS = 25.0
_POST_INTERVAL = 5.0
_MAX_MINUTES = 43_200
STATE_FILE = ".greenapi-async.db"

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
    """Send one request, and print the statuses."""
    async with _client_or_demo() as client:
        statuses = await client.fetch(options.minutes)

    if options.json:
        echo("[" + ",\n ".join(map(json_line, statuses)) + "]")
        return

    for status in statuses:
        echo(_line(status, jsonl=options.jsonl))


async def check(_: argparse.Namespace) -> int:
    """Find out what is wrong, and return the exit code."""
    from greenapi_async.cli.check import check  # noqa: PLC0415 - the other commands need nothing of it.

    return await check()


async def simulate(options: argparse.Namespace) -> None:
    """Run a simulator until interrupted."""
    async with AsyncExitStack() as stack:
        api = await _listen(stack, options.port)
        _print_address(api, as_json=options.json)

        if options.no_demo:
            await anyio.sleep_forever()

        if options.chaos is not None:
            await chaos(api, options.chaos, every=_POST_INTERVAL)

        while True:
            await demo(api, every=_POST_INTERVAL)


def _has_credentials() -> bool:
    """Return whether any variable is set: a partial configuration must be an error, not start the demo."""
    return any(name in os.environ for name in _VARIABLES)


async def _watch_demo(options: argparse.Namespace) -> None:
    interval = min(options.interval or _DEMO_INTERVAL, _MAX_DEMO_INTERVAL)
    echo_err(_NO_CREDENTIALS)

    async with Simulator() as api, _client_of(api) as client:
        with anyio.move_on_after(_MAX_DEMO_SECONDS) as scope:
            posted = anyio.Event()

            async def post() -> None:
                await demo(api)
                posted.set()

            def stop_when_caught_up(event: Event) -> None:
                if posted.is_set() and isinstance(event, Polled) and event.new == 0:
                    scope.cancel()

            async with _running(post):
                await _print_new(client, options, interval=interval, on_event=stop_when_caught_up)


@asynccontextmanager
async def _client_or_demo() -> AsyncGenerator[AsyncStatusesClient]:
    if _has_credentials():
        async with AsyncStatusesClient.from_env() as client:
            yield client
        return

    echo_err(_NO_CREDENTIALS)
    async with Simulator() as api, _client_of(api) as client:
        await demo(api, every=0.0)
        yield client


def _client_of(api: Simulator) -> AsyncStatusesClient:
    os.environ["no_proxy"] = "*"  # A proxy cannot reach this machine's loopback.
    return AsyncStatusesClient(api.id_instance, api.token, api_url=api.url)


@asynccontextmanager
async def _running(task: Callable[[], Coroutine[Any, Any, None]]) -> AsyncGenerator[None]:
    """Run a task while the body runs; an error in the body is raised as it is, not in a group."""
    raised: Exception | KeyboardInterrupt | None = None

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(task)
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised again below.
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
    start = timedelta(minutes=min(options.minutes, _MAX_MINUTES)) if options.minutes else None
    saver = await _prepare_saver(client, options)
    count = 0

    def notice(event: Event) -> None:
        if saver is not None:
            saver.notice(event)
        if on_event is not None:
            on_event(event)

    async with (
        saver.retrying() if saver else nullcontext(),
        client.poll(interval, store=_store_path(options), start=start, on_event=notice) as statuses,
    ):
        async for status in statuses:
            path = await saver.save(status) if saver else None
            echo(_line(status, jsonl=options.jsonl))
            if path and not options.jsonl:
                echo(f"    {sanitized(str(path))}")

            count += 1
            if count == options.max:
                await statuses.commit()
                return


async def _prepare_saver(client: AsyncStatusesClient, options: argparse.Namespace) -> StatusSaver | None:
    if options.save is None:
        return None

    saver = StatusSaver(client=client, directory=Path(options.save), notify=echo_err)
    await saver.prepare()
    return saver


def _store_path(options: argparse.Namespace) -> Path | None:
    if options.state is None and options.save is not None:
        return Path(options.save, STATE_FILE)

    return options.state and Path(options.state)


async def _listen(stack: AsyncExitStack, port: int) -> Simulator:
    try:
        return await stack.enter_async_context(Simulator(port=port))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise OSError(f"cannot listen on port {port} ({reason}): choose another with --port") from None


def _print_address(api: Simulator, *, as_json: bool) -> None:
    if as_json:
        echo(dumps({"id": api.id_instance, "token": api.token, "url": api.url}))
        return

    echo("# Runs until Ctrl-C. Paste these lines into another terminal to point a client here:")
    for name, value in api.env.items():
        echo(f"export {name}={value}")


def _line(status: Status, *, jsonl: bool) -> str:
    return json_line(status) if jsonl else text_line(status)
