"""The command `greenapi-async`: shows statuses in a terminal or to a pipe, and runs the simulator."""

import argparse
import importlib.metadata
import io
import logging
import math
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio

from greenapi_async.cli.saver import Saver
from greenapi_async.cli.terminal import json_line, shown, text_line
from greenapi_async.client import AsyncStatusesClient
from greenapi_async.errors import (
    BadRequestError,
    ConfigurationError,
    DecodeError,
    GreenApiError,
    InstanceNotReadyError,
    QuotaExceededError,
    ServerError,
    TransportError,
)
from greenapi_async.events import Event, Polled
from greenapi_async.models import Status
from greenapi_async.simulator import Simulator, chaos, demo

_INTERVAL = 60.0
_DEMO_INTERVAL = 1.0
_LONGEST_DEMO_INTERVAL = 5.0  # The demo is to end within half a minute.
_LONGEST_DEMO = 25.0
_SIMULATOR_POSTS_EVERY = 5.0
_MOST_MINUTES = 43_200
_STATE = ".greenapi-async.db"

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
_ADVICE: tuple[tuple[type[GreenApiError], str], ...] = (
    (TransportError, "check the network and GREEN_API_URL"),
    (InstanceNotReadyError, "wait a minute, or link the WhatsApp account in the console"),
    (QuotaExceededError, "wait for the next month or change the plan"),
    (BadRequestError, "check --minutes and GREEN_API_ID_INSTANCE"),
    (ServerError, "try again in a few minutes"),
    (DecodeError, "check GREEN_API_URL"),
)

_ENVIRONMENT = """\
environment:
  GREEN_API_ID_INSTANCE          the instance's id, as the console shows it
  GREEN_API_TOKEN_INSTANCE       its token, or instead of it
  GREEN_API_TOKEN_INSTANCE_FILE  the path of a file that holds the token
  GREEN_API_URL                  the instance's API URL
  NO_COLOR                       anything here: no colours

Without any GREEN_API_ variable the embedded simulator stands in for the API.

exit codes:
  0 fine, 1 an error, 2 wrong usage or configuration, 130 stopped by Ctrl-C or SIGTERM

examples:
  greenapi-async watch
  greenapi-async fetch --minutes 60 --jsonl
  greenapi-async simulator

The examples of a command: greenapi-async COMMAND --help
"""
_WATCH_EXAMPLES = """\
examples:
  greenapi-async watch                       every status still up, then each new one
  greenapi-async watch --minutes 10          those of the last ten minutes, then each new one
  greenapi-async watch --jsonl >> stories.jsonl
  greenapi-async watch --save stories        the same, with photos, videos and voice notes in a directory
  greenapi-async watch --interval 30 --max 1
"""
_FETCH_EXAMPLES = """\
examples:
  greenapi-async fetch                       the statuses of the last day
  greenapi-async fetch --minutes 60 --json
  greenapi-async fetch --jsonl | jq -r .senderName
"""
_SIMULATOR_EXAMPLES = """\
examples:
  greenapi-async simulator                   on any free port
  greenapi-async simulator --port 8800
  greenapi-async simulator --chaos 7         everything that can go wrong, for hours

Paste the lines that it prints into another terminal, and run your bot or `greenapi-async watch` there.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0: fine, also where the reader of the output went away. 1: an error. 2: a wrong variable of the
    environment. 130: stopped by Ctrl-C or SIGTERM. A wrong argument raises `SystemExit(2)`.
    """
    try:
        options = _parse(argv)
        _prepare_stdout()
        with _warnings_on_stderr():
            anyio.run(_until_stopped, options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    except (GreenApiError, OSError) as error:
        _tell(f"error: {_advised(error)}")
        return 2 if isinstance(error, ConfigurationError) else 1
    finally:
        _let_go_of_stdout()

    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options, unknown = parser.parse_known_args(argv)

    if unknown:
        # Somebody may have tried to pass the token, so only the names of options are repeated.
        names = " ".join(word.partition("=")[0] for word in unknown if word.startswith("-"))
        parser.error(
            f"unknown arguments{names and f' ({names})'}: see --help; credentials come from the environment only"
        )

    if options.command is None:
        parser.exit(2, parser.format_help())

    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="greenapi-async",
        description="Show the WhatsApp statuses that an account's contacts post, through GREEN-API.",
        epilog=_ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    _add_watch(_command(commands, "watch", "print each new status as it arrives", _WATCH_EXAMPLES))
    _add_fetch(_command(commands, "fetch", "ask once and print the statuses, oldest first", _FETCH_EXAMPLES))
    _add_simulator(_command(commands, "simulator", "run a GREEN-API on this machine", _SIMULATOR_EXAMPLES))

    return parser


class _ShowVersion(argparse.Action):
    """Looks the version up when asked: that reads the metadata of the installed packages."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        try:
            version = importlib.metadata.version("greenapi-async")
        except importlib.metadata.PackageNotFoundError:
            version = "(not installed)"

        print(f"greenapi-async {version}")
        parser.exit()


def _command(commands: Any, name: str, summary: str, examples: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser


def _add_watch(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_watch)
    parser.add_argument(
        "--interval", type=_seconds, metavar="SECONDS", help="from one question to the next; default 60"
    )
    parser.add_argument(
        "--minutes", type=_count, metavar="N", help="begin N minutes back; default: every status still up"
    )
    parser.add_argument("--jsonl", action="store_true", help="print JSON Lines: the API's own objects")
    parser.add_argument("--max", type=_count, metavar="N", help="end after N statuses")
    parser.add_argument(
        "--save", metavar="DIR", help="save files and JSON there, and go on there after a restart"
    )
    parser.add_argument(
        "--state", metavar="FILE", help=f"remember there what was shown; with --save: DIR/{_STATE}"
    )


def _add_fetch(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_fetch)
    parser.add_argument(
        "--minutes", type=_count, metavar="N", help="the last N minutes; default: the API's, 1440"
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print one JSON array of the API's own objects")
    shape.add_argument("--jsonl", action="store_true", help="print JSON Lines: the API's own objects")


def _add_simulator(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_simulate)
    parser.add_argument("--port", type=_port, default=0, metavar="N", help="default: any free one")
    parser.add_argument(
        "--chaos", type=_count, metavar="SEED", help="let most answers go wrong, in the order of this number"
    )


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < (seconds := float(text)) < math.inf:
            return seconds

    raise argparse.ArgumentTypeError("must be a positive number")


def _count(text: str) -> int:
    with suppress(ValueError):
        if (count := int(text)) >= 1:
            return count

    raise argparse.ArgumentTypeError("must be an integer of 1 or more")


def _port(text: str) -> int:
    with suppress(ValueError):
        if 0 <= (port := int(text)) <= 65_535:
            return port

    raise argparse.ArgumentTypeError("must be an integer from 0 to 65535")


def _prepare_stdout() -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    elif sys.stdout is None:  # The shell closed it.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - as open as stdout.


@contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    logger, handler = logging.getLogger("greenapi_async"), _OneLine(logging.WARNING)
    logger.addHandler(handler)

    try:
        yield
    finally:
        logger.removeHandler(handler)


class _OneLine(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _tell(f"{record.levelname.lower()}: {shown(record.getMessage())}")


async def _until_stopped(options: argparse.Namespace) -> None:
    """Run the chosen command; SIGTERM ends it in the way that Ctrl-C does."""
    on_sigint = signal.getsignal(signal.SIGINT)
    on_sigterm = signal.getsignal(signal.SIGTERM)

    if callable(on_sigint):  # A shell's background job ignores SIGINT, and has to mind SIGTERM.
        signal.signal(signal.SIGTERM, on_sigint)

    try:
        await options.run(options)
    finally:
        signal.signal(signal.SIGTERM, on_sigterm)


async def _watch(options: argparse.Namespace) -> None:
    if not _has_credentials():
        await _watch_demo(options)
        return

    async with AsyncStatusesClient.from_env() as client:
        await _print_new(client, options, interval=options.interval or _INTERVAL)


async def _fetch(options: argparse.Namespace) -> None:
    async with _client_with_something_to_see() as client:
        statuses = await client.fetch(options.minutes)

    if options.json:
        _print("[" + ",\n ".join(map(json_line, statuses)) + "]")
        return

    for status in statuses:
        _print(_line(status, jsonl=options.jsonl))


async def _simulate(options: argparse.Namespace) -> None:
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
    _tell(_NO_CREDENTIALS)

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

    _tell(_NO_CREDENTIALS)
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
            _print(_line(status, jsonl=options.jsonl))
            if path and not options.jsonl:
                _print(f"    {shown(str(path))}")

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
    saver = Saver(client=client, directory=Path(options.save), allow_loopback=at_home, tell=_tell)
    await saver.prepare()
    return saver


def _state(options: argparse.Namespace) -> Path | None:
    if options.state is None and options.save is not None:
        return Path(options.save, _STATE)

    return options.state and Path(options.state)


async def _listen(stack: AsyncExitStack, port: int) -> Simulator:
    try:
        return await stack.enter_async_context(Simulator(port=port))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise OSError(f"cannot listen on port {port} ({reason}): choose another with --port") from None


def _print_exports(api: Simulator) -> None:
    _print("# Runs until Ctrl-C. Paste this into another terminal to point a client at it:")
    _print(f"export GREEN_API_ID_INSTANCE={api.id_instance}")
    _print(f"export GREEN_API_TOKEN_INSTANCE={api.token}")
    _print(f"export GREEN_API_URL={api.url}")


def _line(status: Status, *, jsonl: bool) -> str:
    return json_line(status) if jsonl else text_line(status)


def _print(line: str) -> None:
    print(line, flush=True)


def _tell(line: str) -> None:
    """Write one line to stderr, where somebody still reads that."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"greenapi-async: {line}", file=sys.stderr, flush=True)


def _advised(error: GreenApiError | OSError) -> str:
    """Return what went wrong and what to do, on one line."""
    problem = error.strerror if isinstance(error, OSError) else None
    advice = next((advice for kind, advice in _ADVICE if isinstance(error, kind)), "")
    return "; ".join(filter(None, (shown(problem or str(error)), advice)))


def _let_go_of_stdout() -> None:
    """Point a stdout that takes nothing any more to nowhere, or Python complains of it on its way out."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
