"""The token: held so that it does not print, found in what others say, kept out of their logs."""

import functools
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NoReturn
from urllib.parse import quote

import httpx

from greenapi_async._turn import Turn

MASK: Final = "***"
_DISTINCTIVE = 16
_LARGE = 1024 * 1024
_TALKATIVE_LOGGERS = [
    logging.getLogger(name)
    for name in (
        "httpx",
        "httpcore.connection",
        "httpcore.http11",
        "httpcore.http2",
        "httpcore.proxy",
        "httpcore.socks",
        "hpack.hpack",
        "hpack.table",
    )
]


class Secret:
    """A text that prints as `***` and does not pickle; `reveal` gives it, `redact` finds it."""

    __slots__ = ("_spellings", "_text")

    def __init__(self, text: str) -> None:
        encoded = {quote(text), quote(text, safe="")}
        lower_case = {re.sub("%..", lambda match: match[0].lower(), each) for each in encoded}
        self._text = text
        self._spellings = {
            spelling.encode() for spelling in {text, text.replace("/", "\\/")} | encoded | lower_case
        }

    def reveal(self) -> str:
        """Return the text: only ever for the wire."""
        return self._text

    @property
    def is_distinctive(self) -> bool:
        """Whether no other text is likely to contain it: a made-up "token" is in many."""
        return len(self._text) >= _DISTINCTIVE

    def occurs(self, body: bytes, start: int, stop: int) -> bool:
        """Tell whether it begins between two places of a body, raw or percent-encoded."""
        return any(body.find(each, start, stop + len(each) - 1) >= 0 for each in self._spellings)

    def redact(self, body: bytes) -> bytes:
        """Return the bytes with `***` for every occurrence, raw or percent-encoded."""
        for spelling in self._spellings:
            body = body.replace(spelling, MASK.encode())
        return body

    def redact_text(self, text: str) -> str:
        """Return the text with `***` for every occurrence, raw or percent-encoded."""
        return self.redact(text.encode(errors="surrogatepass")).decode(errors="surrogatepass")

    def __repr__(self) -> str:
        return MASK

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret does not pickle")


def is_token(text: str) -> bool:
    """Return whether it can be a token: printable, with no white space."""
    return bool(text) and text.isprintable() and " " not in text


def watch_loggers() -> None:
    """Let what is `on_the_wire` be redacted in the HTTP libraries' logs; idempotent."""
    for logger in _TALKATIVE_LOGGERS:
        logger.addFilter(_redact_record)


_on_the_wire: ContextVar[Secret] = ContextVar("_on_the_wire")


@contextmanager
def on_the_wire(secret: Secret) -> Iterator[None]:
    """Redact what the HTTP libraries log meanwhile: a Location or a broken header line can echo the token."""
    previous = _on_the_wire.set(secret)
    try:
        yield
    finally:
        _on_the_wire.reset(previous)


def _redact_record(record: logging.LogRecord) -> bool:
    secret = _on_the_wire.get(None)
    if secret is not None:
        said = record.getMessage()
        cleaned = secret.redact_text(said)
        if cleaned != said:
            record.msg, record.args = cleaned, ()

    return True


_parsed = functools.lru_cache(maxsize=1024)(httpx.URL)  # Most requests are sent again, minute by minute.


class MaskedURL(httpx.URL):
    """A URL that reads as `…/***` wherever it is shown, and holds the token only in what goes on the wire.

    httpx logs every URL at INFO, and the token stands in its path.
    """

    def __init__(self, url: str, token: Secret) -> None:
        super().__init__(_parsed(url))
        self._token = token

    @property
    def raw_path(self) -> bytes:
        before, _, after = super().raw_path.rpartition(MASK.encode())
        return before + quote(self._token.reveal(), safe="").encode() + after


async def redacted(body: bytes, token: Secret) -> bytes:
    """Return the body without the token, after looking for it slice by slice."""
    turn = Turn()
    for start in range(0, len(body), _LARGE):
        if token.occurs(body, start, start + _LARGE):
            return token.redact(body)

        await turn.pause()

    return body
