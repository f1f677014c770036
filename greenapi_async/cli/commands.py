"""The commands: watch, fetch, check and simulator."""

import argparse
import functools
import os
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from greenapi_async._decoding.statuses import dumps
from greenapi_async.cli.filters import is_wanted
from greenapi_async.cli.notices import Announcer
from greenapi_async.cli.saver import StatusSaver
from greenapi_async.cli.terminal import echo, echo_err, is_rich_terminal, json_line, sanitized, text_line
from greenapi_async.client import AsyncStatusesClient
from greenapi_async.events import Event, Polled
from greenapi_async.models import Status
from greenapi_async.simulator import Simulator, chaos, demo
from greenapi_async.stores import SQLiteStore

if TYPE_CHECKING:
    from greenapi_async._polling.origin import Start
    from greenapi_async.cli.cards import Screen
    from greenapi_async.cli.execute import Command

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
    async with _client_or_demo(options) as client:
        received = await client.fetch(options.minutes)
        statuses = list(filter(_filter(options), received))[-(options.max or 0) :]
        if not statuses:
            none = (
                f": no status matches --sender and --type ({len(received)} received)"
                if received
                else ", nothing yet"
            )
            _notify(options, f"connected{none}")

        saver = await _prepare_saver(client, options)
        if saver:
            saver.next_try = "at the next run"

        if options.json:
            lines = [json_line(status, await saver.save(status) if saver else None) for status in statuses]
            echo("[" + ",\n ".join(lines) + "]")
            return

        for status in statuses:
            _print(status, await saver.save(status) if saver else None, jsonl=options.jsonl)


async def check(_: argparse.Namespace) -> int:
    """Find out what is wrong, and return the exit code."""
    from greenapi_async.cli.check import check

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
    _notify(options, _NO_CREDENTIALS)

    async with _embedded() as api, _client_of(api) as client:
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
async def _client_or_demo(options: argparse.Namespace) -> AsyncGenerator[AsyncStatusesClient]:
    if _has_credentials():
        async with AsyncStatusesClient.from_env() as client:
            yield client
        return

    _notify(options, _NO_CREDENTIALS)
    async with _embedded() as api, _client_of(api) as client:
        await demo(api, every=0.0)
        yield client


def _embedded() -> Simulator:
    return Simulator(max_rate=None)  # A busy machine delays a request, and the next one would come too soon.


def _client_of(api: Simulator) -> AsyncStatusesClient:
    os.environ["no_proxy"] = "*"  # A proxy cannot reach this machine's loopback.
    return AsyncStatusesClient(api.id_instance, api.token, api_url=api.url)


@asynccontextmanager
async def _running(task: Callable[[], Coroutine[Any, Any, None]]) -> AsyncGenerator[None]:
    """Run a task while the body runs; an error in either ends both, and is raised as is, not in a group."""
    raised: list[Exception | KeyboardInterrupt] = []

    async def run() -> None:
        try:
            await task()
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised again below.
            raised.append(error)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised again below.
            raised.append(error)

        tasks.cancel_scope.cancel()

    if raised:
        raise raised[0]


async def _print_new(
    client: AsyncStatusesClient,
    options: argparse.Namespace,
    *,
    interval: float,
    on_event: Callable[[Event], None] | None = None,
) -> None:
    announcer = Announcer(lambda line: _notify(options, line), verbose=options.verbose)
    is_wanted = _filter(options)
    count = 0

    async with AsyncExitStack() as stack:
        screen = await _screen(stack, options, interval)
        saver = await _prepare_saver(client, options, screen)
        if saver:
            await stack.enter_async_context(saver.retrying())

        command = _command(options)
        store = await _store(stack, options)
        hook = _all_of(
            announcer, screen.on_event if screen else None, saver.notice if saver else None, on_event
        )
        statuses = await stack.enter_async_context(
            client.poll(interval, store=store, start=_start(options), on_event=hook)
        )
        if screen:
            screen.health = lambda: statuses.health

        show = screen.show if screen else functools.partial(_print, jsonl=options.jsonl)

        async for status in statuses:
            if not is_wanted(status):
                continue

            file = await saver.save(status) if saver else None
            show(status, file)
            if command:
                await command.run(status, file)

            count += 1
            if count == options.max:
                await statuses.commit()
                return


def _print(status: Status, file: Path | None, *, jsonl: bool) -> None:
    echo(json_line(status, file) if jsonl else text_line(status))
    if file and not jsonl:
        echo(f"    {sanitized(str(file))}")


def _notify(options: argparse.Namespace, line: str) -> None:
    if not options.quiet:
        echo_err(line)


def _filter(options: argparse.Namespace) -> Callable[[Status], bool]:
    return functools.partial(is_wanted, senders=options.sender, kinds=options.type)


def _all_of(*hooks: Callable[[Event], None] | None) -> Callable[[Event], None]:
    def call(event: Event) -> None:
        for hook in filter(None, hooks):
            hook(event)

    return call


async def _screen(stack: AsyncExitStack, options: argparse.Namespace, interval: float) -> "Screen | None":
    """Return a started screen for cards if there is a terminal and the extra `[cli]`; None means plain lines."""
    if options.plain or options.jsonl or options.exec or not is_rich_terminal():
        return None

    try:
        from greenapi_async.cli.cards import Screen
    except ImportError:
        return None

    screen = stack.enter_context(Screen(interval=interval))
    await stack.enter_async_context(_running(screen.refresh))
    return screen


def _command(options: argparse.Namespace) -> "Command | None":
    if not options.exec:
        return None

    from greenapi_async.cli.execute import Command

    return Command(words=options.exec, to_stderr=options.jsonl, notify=echo_err)


def _start(options: argparse.Namespace) -> "Start":
    if options.minutes:
        return timedelta(minutes=min(options.minutes, _MAX_MINUTES))

    start: Start = options.since
    return start


async def _prepare_saver(
    client: AsyncStatusesClient, options: argparse.Namespace, screen: "Screen | None" = None
) -> StatusSaver | None:
    if options.save is None:
        return None

    saver = StatusSaver(client=client, directory=Path(options.save), notify=echo_err)
    if screen:
        saver.progress_of = screen.progress_of

    await saver.prepare()
    return saver


async def _store(stack: AsyncExitStack, options: argparse.Namespace) -> SQLiteStore | None:
    """Return the store, after creating its directory; say so if a checkpoint in it overrides `--since`."""
    path = Path(options.save, STATE_FILE) if options.state is None and options.save else options.state
    if path is None:
        return None

    await _make_directory(Path(path).parent)
    store = await stack.enter_async_context(aclosing(SQLiteStore(path)))
    if options.since is not None and await store.load(os.environ.get("GREEN_API_ID_INSTANCE", "").strip()):
        _notify(options, f"--since is ignored: {sanitized(str(path))} says where to continue")

    return store


async def _make_directory(directory: Path) -> None:
    try:
        await anyio.Path(directory).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot create the directory {sanitized(str(directory))}: {error.strerror}") from None


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
