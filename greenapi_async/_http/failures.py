"""Connection failures: whatever the HTTP libraries raise becomes one error of ours, with a text that can be shown."""

import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import anyio
import httpx

from greenapi_async.errors import TransportError

# anyio and trio say this for everything.
_ALL_FAILED = "(?i)all (connection )?attempts .*failed"
_LONGEST = 512
_NOT_YET_VALID = 9  # OpenSSL's code: the local clock is not set yet, as after booting without a battery.
# OpenSSL's codes: self-signed, or signed by an unknown authority.
_UNKNOWN_ISSUER = frozenset({18, 19, 20, 21})
_REMEDY = "; if your network inspects TLS, set SSL_CERT_FILE to a certificate file that includes its own"
_RETRYABLE = frozenset({408, 421, 425, 429, 499})
_MISSING = frozenset({403, 404, 410})  # Storage services say 403 for an expired signed link.
NO_ANSWER: Final = (httpx.HTTPError, httpx.InvalidURL, OSError, anyio.ClosedResourceError, UnicodeError)
"""What is raised if no complete response arrives."""


class ProxyRefusalError(Exception):
    """The cause of an error that retrying cannot fix: a proxy rejects the username or password."""


def transport_error(error: BaseException, quotable: Callable[[str], str] = str) -> TransportError:
    """Return our error for one of `NO_ANSWER`, with the first of its causes that has a quotable text."""
    causes = _causes(error)
    said = next(filter(None, (_words(each, quotable) for each in causes)), "")
    message = f"{type(error).__name__}: {said}" if said else type(error).__name__

    for each in causes:
        if isinstance(each, ssl.SSLCertVerificationError) and not _is_too_early(each):
            remedy = _REMEDY if getattr(each, "verify_code", None) in _UNKNOWN_ISSUER else ""
            return TransportError(
                f"the server's TLS certificate was rejected: {message}{remedy}", refused="certificate"
            )

    # How httpx reports a proxy that requires a password, for an injected client; our own tunnel reports it itself.
    refused = isinstance(error, httpx.ProxyError) and str(error).startswith("407")
    refused = refused or any(isinstance(each, ProxyRefusalError) for each in causes)
    return TransportError(message, refused="proxy" if refused else None)


def is_retryable(http_code: int) -> bool:
    """Return whether the same request may succeed later, for the API and for downloads."""
    return http_code in _RETRYABLE or http_code >= 500


def may_come(http_code: int) -> bool:
    """Return whether this code may mean that a file is not there yet, or has moved."""
    return http_code in _MISSING


async def abandon(chunks: AsyncIterator[bytes]) -> None:
    """End httpx's nested generators by a cancellation: trio warns about each that is left half-read."""
    # Whatever is wrong with the rest no longer matters.
    with anyio.CancelScope() as scope, suppress(Exception):
        scope.cancel()
        async for _ in chunks:
            pass


def printable(text: str) -> str:
    """Return a stranger's text on one line, truncated to 512 bytes, without control or bidi characters."""
    line = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(line.encode(errors="replace")[:_LONGEST].decode(errors="ignore").split())


def host_in(location: str | None) -> str | None:
    """Return only the host in a Location header."""
    try:
        host = urlsplit(location or "").hostname
    except ValueError:
        host = None

    return printable(host or "") or None


def _words(error: BaseException, quotable: Callable[[str], str]) -> str:
    """Return an error's text, or nothing if it only says that something failed."""
    said = printable(quotable(str(error)))
    return "" if isinstance(error, BaseExceptionGroup) or re.fullmatch(_ALL_FAILED, said) else said


def _causes(error: BaseException) -> list[BaseException]:
    """Return the error and its causes, in order; the chain of causes may be circular."""
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
