"""The command `greenapi-async`: prints statuses to a terminal or a pipe, and runs the simulator."""

import argparse
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import anyio

from greenapi_async.cli.arguments import parse
from greenapi_async.cli.streams import Stream, standard_streams
from greenapi_async.cli.terminal import echo_err, sanitized
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

__all__ = ["main"]

_STOPS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # Windows has no SIGHUP.
_ADVICE: tuple[tuple[type[GreenApiError], str], ...] = (
    (TransportError, "check the network and GREEN_API_URL"),
    (InstanceNotReadyError, "wait a minute, or link the WhatsApp account in the console"),
    (QuotaExceededError, "wait for the next month or change the plan"),
    (BadRequestError, "check --minutes and GREEN_API_ID_INSTANCE"),
    (ServerError, "try again in a few minutes"),
    (DecodeError, "check GREEN_API_URL"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0: success, also if the reader of a pipe closed it. 1: an error. 2: an invalid environment variable.
    130: stopped by Ctrl-C, SIGTERM or SIGHUP. An invalid argument raises `SystemExit(2)`.
    """
    with standard_streams() as streams:
        try:
            return _run(argv, streams)
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:
            return 0
        except (GreenApiError, OSError) as error:
            echo_err(f"error: {_with_advice(error)}")
            return 2 if isinstance(error, ConfigurationError) else 1


def _run(argv: Sequence[str] | None, streams: list[Stream]) -> int:
    try:
        options = parse(argv)
        with _warnings_on_stderr(), _ctrl_c_is_heard() as is_ignored:
            return anyio.run(_run_command, options, streams, is_ignored) or 0
    finally:
        sys.stdout.flush()  # argparse takes no notice of what could not be written.


@contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    logger, handler = logging.getLogger("greenapi_async"), _StderrHandler(logging.WARNING)
    logger.addHandler(handler)

    try:
        yield
    finally:
        logger.removeHandler(handler)


class _StderrHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        echo_err(f"{record.levelname.lower()}: {sanitized(record.getMessage())}")


@contextmanager
def _ctrl_c_is_heard() -> Iterator[bool]:
    """Let the event loop handle SIGINT, and yield whether it is ignored, as by a background job of a shell."""
    is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if is_ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        yield is_ignored
    finally:
        if is_ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


async def _run_command(options: argparse.Namespace, streams: list[Stream], is_ignored: bool) -> int | None:  # noqa: FBT001 - anyio passes positions.
    """Run the chosen command, and return its exit code if it has one.

    SIGTERM and SIGHUP stop it as Ctrl-C does, even where it hangs in a write.
    """
    on_sigint = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: FrameType | None) -> None:
        for stream in streams:
            stream.stop()

        if callable(on_sigint):
            on_sigint(number, frame)

    before = {number: signal.getsignal(number) for number in _STOPS}
    for number in _STOPS:
        if before[number] is not signal.SIG_IGN:  # As by nohup.
            signal.signal(number, stop)

    if is_ignored:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    try:
        code: int | None = await options.run(options)
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    return code


def _with_advice(error: GreenApiError | OSError) -> str:
    """Return what went wrong and what to do, on one line."""
    problem = error.strerror if isinstance(error, OSError) else None
    advice = next((advice for kind, advice in _ADVICE if isinstance(error, kind)), "")
    return "; ".join(filter(None, (sanitized(problem or str(error)), advice)))
