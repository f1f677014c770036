"""The command `greenapi-async`: prints statuses to a terminal or a pipe, and runs the simulator."""

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import anyio

from greenapi_async.cli.arguments import parse
from greenapi_async.cli.notices import log_on_stderr, with_advice
from greenapi_async.cli.streams import Stream, standard_streams
from greenapi_async.cli.terminal import echo_err
from greenapi_async.errors import ConfigurationError, GreenApiError

__all__ = ["main"]

# Windows has no SIGHUP.
_STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0: success, even if the reader of a pipe closed it. 1: an error. 2: an invalid environment variable.
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
            if isinstance(error, OSError) and streams[0].is_stopped:  # The terminal went away, with a SIGHUP.
                return 130

            problem = error.strerror if isinstance(error, OSError) else None
            echo_err(f"error: {with_advice(problem or str(error), error)}")
            return 2 if isinstance(error, ConfigurationError) else 1


def _run(argv: Sequence[str] | None, streams: list[Stream]) -> int:
    try:
        options = parse(argv)
        with log_on_stderr(verbose=options.verbose), _ctrl_c_is_heard() as is_ignored:
            return anyio.run(_run_command, options, streams, is_ignored) or 0
    finally:
        sys.stdout.flush()  # argparse ignores what could not be written.


@contextmanager
def _ctrl_c_is_heard() -> Iterator[bool]:
    """Let the event loop handle SIGINT, and yield whether it is ignored, as in a shell's background job."""
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

    SIGTERM and SIGHUP stop it as Ctrl-C does, even if it hangs in a write.
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
