"""The command `greenapi-async`: prints statuses to a terminal or a pipe, and runs the simulator."""

import argparse
import io
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import anyio

from greenapi_async.cli.arguments import parse
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
    130: stopped by Ctrl-C or SIGTERM. An invalid argument raises `SystemExit(2)`.
    """
    try:
        options = parse(argv)
        _prepare_stdout()
        with _warnings_on_stderr():
            anyio.run(_run_command, options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    except (GreenApiError, OSError) as error:
        echo_err(f"error: {_with_advice(error)}")
        return 2 if isinstance(error, ConfigurationError) else 1
    finally:
        _flush_stdout()

    return 0


def _prepare_stdout() -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    elif sys.stdout is None:  # The shell closed it.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - stays open, like stdout.


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


async def _run_command(options: argparse.Namespace) -> None:
    """Run the chosen command; SIGTERM stops it as Ctrl-C does."""
    on_sigint = signal.getsignal(signal.SIGINT)
    on_sigterm = signal.getsignal(signal.SIGTERM)

    if callable(on_sigint):  # A shell's background job ignores SIGINT, but must not ignore SIGTERM.
        signal.signal(signal.SIGTERM, on_sigint)

    try:
        await options.run(options)
    finally:
        signal.signal(signal.SIGTERM, on_sigterm)


def _with_advice(error: GreenApiError | OSError) -> str:
    """Return what went wrong and what to do, on one line."""
    problem = error.strerror if isinstance(error, OSError) else None
    advice = next((advice for kind, advice in _ADVICE if isinstance(error, kind)), "")
    return "; ".join(filter(None, (sanitized(problem or str(error)), advice)))


def _flush_stdout() -> None:
    """Flush stdout; if that fails, redirect it to null, or Python prints an error at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
