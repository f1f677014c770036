"""What went wrong on the way: whatever the HTTP libraries raise as one error of ours, in words that can be shown."""

import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import anyio
import httpx

from greenapi_async.errors import TransportError

_ALL_FAILED = re.compile(
    "all (connection )?attempts .*failed", re.IGNORECASE
)  # anyio's and trio's words for anything.
_LONGEST = 512
_NOT_YET_VALID = 9  # OpenSSL's code: the local clock is not set yet, as after a start without a battery.
_UNKNOWN_ISSUER = frozenset(
    {18, 19, 20, 21}
)  # OpenSSL's codes: self-signed, or by nobody whom this machine knows.
_REMEDY = "; if your network signs by itself, name a file of certificates with its own in SSL_CERT_FILE"
_RETRYABLE = frozenset({408, 421, 425, 429, 499})
_MISSING = frozenset({403, 404, 410})  # Of a signed link that has expired, storages say 403.
NO_ANSWER: Final = (httpx.HTTPError, httpx.InvalidURL, OSError, anyio.ClosedResourceError, UnicodeError)
"""What is raised where no whole response comes."""


class ProxyRefusalError(Exception):
    """The cause of an error that a retry cannot help: a proxy does not take the username or password."""


def transport_error(error: BaseException, quotable: Callable[[str], str] = str) -> TransportError:
    """Return our error for one of `NO_ANSWER`, with the first of its causes that says something quotable."""
    causes = _causes(error)
    said = next(filter(None, (_words(each, quotable) for each in causes)), "")
    message = f"{type(error).__name__}: {said}" if said else type(error).__name__

    for each in causes:
        if isinstance(each, ssl.SSLCertVerificationError) and not _is_too_early(each):
            remedy = _REMEDY if getattr(each, "verify_code", None) in _UNKNOWN_ISSUER else ""
            return TransportError(
                f"the server's TLS certificate was refused: {message}{remedy}", refused="certificate"
            )

    # That is how httpx tells of a proxy that wants a password: of an injected client; our own tunnel tells it itself.
    refused = isinstance(error, httpx.ProxyError) and str(error).startswith("407")
    refused = refused or any(isinstance(each, ProxyRefusalError) for each in causes)
    return TransportError(message, refused="proxy" if refused else None)


def is_retryable(http_code: int) -> bool:
    """Return whether the same request may succeed later, of the API and of a download alike."""
    return http_code in _RETRYABLE or http_code >= 500


def may_come(http_code: int) -> bool:
    """Return whether a file of which this is said may not be there yet, or be somewhere else by now."""
    return http_code in _MISSING


async def abandon(chunks: AsyncIterator[bytes]) -> None:
    """End httpx's nested generators by a cancellation: trio warns of each that is left half-read."""
    # What else is wrong with the rest does not matter any more.
    with anyio.CancelScope() as scope, suppress(Exception):
        scope.cancel()
        async for _ in chunks:
            pass


def printable(text: str) -> str:
    """Return a stranger's text on one line, cut at 512 bytes, without control or bidi characters."""
    line = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(line.encode(errors="replace")[:_LONGEST].decode(errors="ignore").split())


def host_in(location: str | None) -> str | None:
    """Return the host that a Location header names, and nothing else of it."""
    try:
        host = urlsplit(location or "").hostname
    except ValueError:
        host = None

    return printable(host or "") or None


def _words(error: BaseException, quotable: Callable[[str], str]) -> str:
    """Return what an error says, or nothing where that is only that something failed."""
    said = printable(quotable(str(error)))
    return "" if isinstance(error, BaseExceptionGroup) or _ALL_FAILED.fullmatch(said) else said


def _causes(error: BaseException) -> list[BaseException]:
    """Return the error and what led to it, one after another; the chain of causes may go in a circle."""
    causes: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop(0)
        if cause is None or cause in causes:
            continue

        causes.append(cause)
        waiting.append(cause.__cause__ or cause.__context__)
        if isinstance(cause, BaseExceptionGroup):
            waiting.extend(cause.exceptions)

    return causes


def _is_too_early(error: ssl.SSLCertVerificationError) -> bool:
    return getattr(error, "verify_code", None) == _NOT_YET_VALID
