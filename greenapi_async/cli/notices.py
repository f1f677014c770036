"""What is printed to stderr: what is wrong, what to do, and when polling works again."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import attrs

from greenapi_async.cli.terminal import echo_err, sanitized
from greenapi_async.client import DEFAULT_API_URL
from greenapi_async.errors import (
    BadRequestError,
    DecodeError,
    GreenApiError,
    InstanceNotReadyError,
    QuotaExceededError,
    ServerError,
    TransportError,
)
from greenapi_async.events import Event, Polled, PollFailed, Recovered

_ADVICE: tuple[tuple[type[GreenApiError], str], ...] = (
    (TransportError, "check the network and GREEN_API_URL"),
    (InstanceNotReadyError, "wait a minute, or link the WhatsApp account in the console"),
    (QuotaExceededError, "wait until next month or change the plan"),
    (BadRequestError, "check --minutes and GREEN_API_ID_INSTANCE"),
    (ServerError, "try again in a few minutes"),
    (DecodeError, "check GREEN_API_URL"),
)


@contextmanager
def log_on_stderr(*, verbose: bool) -> Iterator[None]:
    """Print the library's warnings, and, if verbose, httpx's line for each request."""
    handler, requests = _StderrHandler(logging.WARNING), logging.getLogger("httpx")
    loggers = [logging.getLogger("greenapi_async")]
    level = requests.level
    if verbose:
        handler.setLevel(logging.INFO)
        requests.setLevel(logging.INFO)
        loggers.append(requests)

    for logger in loggers:
        logger.addHandler(handler)

    try:
        yield
    finally:
        requests.setLevel(level)
        for logger in loggers:
            logger.removeHandler(handler)


def with_advice(problem: str, error: BaseException | None) -> str:
    """Return what went wrong, which host did not respond and what to do, on one line."""
    advice = next((advice for kind, advice in _ADVICE if isinstance(error, kind)), "")
    host = _host() if isinstance(error, TransportError) else ""
    silent = host and f"no response from {host}"
    what_to_do = ": ".join(filter(None, (silent, advice)))
    return f"{sanitized(problem).rstrip('.')}; {what_to_do}" if what_to_do else sanitized(problem)


@attrs.define
class Announcer:
    """Announces the poller's events that no status shows.

    Attributes:
        say: called with each line.
        verbose: whether to announce every failure; the first is logged anyway.
    """

    say: Callable[[str], None]
    verbose: bool
    _is_connected: bool = False

    def __call__(self, event: Event) -> None:
        """Announce an event."""
        if isinstance(event, Polled) and not self._is_connected:
            self._is_connected = True
            if not event.new:
                self.say("connected, nothing yet")
        elif isinstance(event, Recovered):
            self.say(f"works again after {event.after:.0f} s")
        elif isinstance(event, PollFailed) and self.verbose and event.retry_in is not None:
            self.say(
                f"failure {event.consecutive}: {sanitized(str(event.error))}; retrying in {event.retry_in:.0f} s"
            )


class _StderrHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        errors = (arg for arg in record.args or () if isinstance(arg, GreenApiError))
        # What is retried anyway needs no advice to retry.
        error = next((error for error in errors if not isinstance(error, ServerError)), None)
        echo_err(f"{record.levelname.lower()}: {with_advice(record.getMessage(), error)}")


def _host() -> str:
    url = os.environ.get("GREEN_API_URL", "").strip() or DEFAULT_API_URL
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None

    return sanitized(host or "")
