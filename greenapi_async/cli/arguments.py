"""The command line arguments of `greenapi-async`, and its `--help`."""

import argparse
import shlex
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

from greenapi_async import __version__
from greenapi_async.cli.commands import STATE_FILE, check, fetch, simulate, watch
from greenapi_async.cli.filters import KINDS
from greenapi_async.cli.moments import seconds, since

_Value = TypeVar("_Value")

_ENVIRONMENT = """\
environment:
  GREEN_API_ID_INSTANCE          the instance's id, as the console shows it
  GREEN_API_TOKEN_INSTANCE       its token
  GREEN_API_TOKEN_INSTANCE_FILE  or the path of a file with the token
  GREEN_API_URL                  the instance's API URL
  NO_COLOR                       any value disables colours

Without any GREEN_API_ variable `watch` and `fetch` use the embedded simulator in place of the API.

exit codes:
  0 success, 1 an error, 2 wrong usage or configuration, 130 stopped by Ctrl-C, SIGTERM or SIGHUP

examples:
  greenapi-async watch
  greenapi-async fetch --minutes 60 --jsonl
  greenapi-async check
  greenapi-async simulator

Examples for each command: greenapi-async COMMAND --help
"""
_WATCH_EXAMPLES = """\
examples:
  greenapi-async watch                       every status still up, then each new one
  greenapi-async watch --minutes 10          those of the last ten minutes, then each new one
  greenapi-async watch --jsonl >> stories.jsonl
  greenapi-async watch --save stories        the same, with photos, videos and voice notes in a directory
  greenapi-async watch --since now --sender anna --type image --type video
  greenapi-async watch --save stories --exec 'notify-send "New status"'
  greenapi-async watch --interval 30 --max 1
"""
_FETCH_EXAMPLES = """\
examples:
  greenapi-async fetch                       the statuses of the last day
  greenapi-async fetch --minutes 60 --json
  greenapi-async fetch --jsonl | jq -r .senderName
  greenapi-async fetch --save stories --max 5
"""
_CHECK_EXAMPLES = """\
examples:
  greenapi-async check                       exit code 0: all is well, 1: something is not, 2: a variable is wrong
  LANG=ru_RU.UTF-8 greenapi-async check      in Russian

It checks the variables, DNS, TLS, token, access and clock, and says what to do. It sends one request, for
which a poller running on the same instance may get one 429; the poller then retries by itself.
"""
_SIMULATOR_EXAMPLES = """\
examples:
  greenapi-async simulator                   on any free port
  greenapi-async simulator --port 8800
  greenapi-async simulator --chaos 7         everything that can go wrong, for hours
  greenapi-async simulator --json --no-demo  for the tests of a bot in another language

Paste the lines it prints into another terminal, and run your bot or `greenapi-async watch` there.
A test in any language can post statuses and script faults over HTTP:
  curl $GREEN_API_URL/_simulator/statuses -d '{"kind": "image", "caption": "Dawn"}'
  curl $GREEN_API_URL/_simulator/faults -d '{"Refuse": [502]}'
  curl -X DELETE $GREEN_API_URL/_simulator/faults
"""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options, with the command to run as `run`; an invalid one raises `SystemExit(2)`."""
    parser = new_parser()
    options, unknown = parser.parse_known_args(argv)

    if unknown:
        # One of them may be the token, so only option names are printed.
        names = " ".join(word.partition("=")[0] for word in unknown if word.startswith("-"))
        getattr(options, "parser", parser).error(
            f"unknown arguments{names and f' ({names})'}: see --help; credentials come from the environment only"
        )

    if options.command is None:
        parser.exit(2, parser.format_help())

    return options


def new_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line, from which shtab makes completions."""
    parser = argparse.ArgumentParser(
        prog="greenapi-async",
        description="Show the WhatsApp statuses that an account's contacts post, through GREEN-API.",
        epilog=_ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"greenapi-async {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    _add_watch(_command(commands, "watch", "print each new status as it arrives", _WATCH_EXAMPLES))
    _add_fetch(
        _command(commands, "fetch", "send one request and print the statuses, oldest first", _FETCH_EXAMPLES)
    )
    _command(
        commands, "check", "find out what is wrong with account, network or clock", _CHECK_EXAMPLES
    ).set_defaults(run=check)
    _add_simulator(_command(commands, "simulator", "run a GREEN-API on this machine", _SIMULATOR_EXAMPLES))

    return parser


def _command(commands: Any, name: str, summary: str, examples: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(parser=parser, quiet=False, verbose=False)
    return parser


def _add_watch(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=watch)
    parser.add_argument(
        "--interval",
        type=_read_by(seconds),
        metavar="TIME",
        help="time between requests, such as 30 (seconds) or 5m; default 60",
    )
    _add_start(parser)
    _add_filters(parser)
    parser.add_argument("--jsonl", action="store_true", help="print JSON Lines: the API's own objects")
    parser.add_argument(
        "--plain", action="store_true", help="print lines to a terminal too, without cards or a bar"
    )
    parser.add_argument("--max", type=_positive_int, metavar="N", help="stop after N statuses")
    parser.add_argument(
        "--save", metavar="DIR", help="directory to save files and JSON in; a restart resumes there"
    )
    parser.add_argument(
        "--state",
        metavar="FILE",
        help=f"file that records what was shown; default with --save: DIR/{STATE_FILE}",
    )
    parser.add_argument(
        "--exec",
        type=_program,
        metavar="CMD",
        help="run a command for each status, without a shell: its JSON on stdin, its file in GREENAPI_FILE; "
        "watch ends if it fails three times; implies --plain",
    )
    _add_loudness(parser)


def _add_start(parser: argparse.ArgumentParser) -> None:
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--minutes",
        type=_positive_int,
        metavar="N",
        help="start N minutes back; default: every status still up",
    )
    start.add_argument(
        "--since",
        type=_read_by(lambda text: since(text, datetime.now(UTC))),
        metavar="WHEN",
        help="where the first run starts: now, 2h or 3d ago, or a date such as 2026-11-22 or '2026-11-22 18:00', "
        "local time; at most 30 days ago",
    )


def _add_fetch(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=fetch)
    parser.add_argument(
        "--minutes", type=_positive_int, metavar="N", help="the last N minutes; default: the API's, 1440"
    )
    _add_filters(parser)
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print one JSON array of the API's own objects")
    shape.add_argument("--jsonl", action="store_true", help="print JSON Lines: the API's own objects")
    parser.add_argument("--max", type=_positive_int, metavar="N", help="print the newest N only")
    parser.add_argument("--save", metavar="DIR", help="directory to save files and JSON in")
    _add_loudness(parser)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sender",
        type=_text,
        action="append",
        default=[],
        metavar="TEXT",
        help="only senders with this text in a name, or with this id; repeatable",
    )
    parser.add_argument(
        "--type",
        action="append",
        default=[],
        choices=KINDS,
        metavar="KIND",
        help=f"only {', '.join(KINDS[:-1])} or {KINDS[-1]}; repeatable",
    )


def _add_loudness(parser: argparse.ArgumentParser) -> None:
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument(
        "-q", "--quiet", action="store_true", help="print only warnings and errors, no notices"
    )
    loudness.add_argument(
        "-v", "--verbose", action="store_true", help="print a line for each request, to stderr"
    )


def _add_simulator(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=simulate)
    parser.add_argument("--port", type=_port, default=0, metavar="N", help="default: any free port")
    parser.add_argument("--json", action="store_true", help="print one line of JSON: id, token and url")
    posts = parser.add_mutually_exclusive_group()
    posts.add_argument("--no-demo", action="store_true", help="post no statuses except your own")
    posts.add_argument(
        "--chaos",
        type=_positive_int,
        metavar="SEED",
        help="make most responses fail, at random but the same for a seed",
    )


def _read_by(read: Callable[[str], _Value]) -> Callable[[str], _Value]:
    """Return a type for argparse that reports errors in the reader's own words."""

    def value(text: str) -> _Value:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return value


def _text(text: str) -> str:
    if text.strip():
        return text

    raise argparse.ArgumentTypeError("must not be empty")


def _program(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"cannot be split into words: {error}".lower()) from None

    if not words:
        raise argparse.ArgumentTypeError("must not be empty")

    if shutil.which(words[0]) is None:
        raise argparse.ArgumentTypeError(f"there is no program {words[0]!a}")

    return words


def _positive_int(text: str) -> int:
    with suppress(ValueError):
        if (count := int(text)) >= 1:
            return count

    raise argparse.ArgumentTypeError("must be an integer of 1 or more")


def _port(text: str) -> int:
    with suppress(ValueError):
        if 0 <= (port := int(text)) <= 65_535:
            return port

    raise argparse.ArgumentTypeError("must be an integer from 0 to 65535")
