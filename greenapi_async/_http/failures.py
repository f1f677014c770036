"""What went wrong on the way: whatever the HTTP libraries raise as one error of ours, in words that can be shown."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import anyio
import httpx

from greenapi_async.errors import TransportError

_LONGEST = 512
_NOT_YET_VALID = 9  # OpenSSL's code: the local clock is not set yet, as after a start without a battery.
NO_ANSWER: Final = (httpx.HTTPError, httpx.InvalidURL, OSError, anyio.ClosedResourceError, UnicodeError)
"""What is raised where no whole answer comes."""


def transport_error(error: BaseException, redact: Callable[[str], str] = str) -> TransportError:
    """Return our error for one of `NO_ANSWER`."""
    said = printable(redact(str(error)))
    message = f"{type(error).__name__}: {said}" if said else type(error).__name__
    certificate = _certificate_error(error)
    if certificate is not None and getattr(certificate, "verify_code", None) != _NOT_YET_VALID:
        return TransportError(f"the server's TLS certificate was refused: {message}", refused="certificate")

    return TransportError(message)


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


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error

        seen.add(id(error))
        error = error.__cause__ or error.__context__

    return None
