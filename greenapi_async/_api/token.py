"""The token: never printed, found in what others echo, kept out of their logs."""

import functools
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from typing import Any, Final, NoReturn, Self
from urllib.parse import quote, unquote

import httpx

from greenapi_async._turn import Turn

MASK: Final = "***"
_CUT: Final = "(not shown: it contains the token)"
_CALL = "/wainstance"
_DISTINCTIVE = 16
_DEEPEST = 16  # Nobody encodes more often by mistake, and each level is a pass over the whole text.
_LARGE = 1024 * 1024
_ESCAPE = r"[\\%]u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|\\(.)"
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
    """A string that prints as `***` and cannot be pickled; `reveal` returns it, `quotable` and `redact` find it."""

    __slots__ = ("_folded", "_spellings", "_text")

    def __init__(self, text: str) -> None:
        encoded = {quote(text), quote(text, safe="")}
        lower_case = {re.sub("%..", lambda match: match[0].lower(), each) for each in encoded}
        self._text = text
        self._spellings = {
            spelling.encode() for spelling in {text, text.replace("/", "\\/")} | encoded | lower_case
        }
        self._folded = {level.casefold() for level in islice(_levels(text), _DEEPEST)}

    def reveal(self) -> str:
        """Return the string: only for sending it."""
        return self._text

    @property
    def is_distinctive(self) -> bool:
        """Whether it is unlikely to occur in other text by chance, unlike a made-up "token"."""
        return len(self._text) >= _DISTINCTIVE

    def quotable(self, text: str) -> str:
        """Return a stranger's text, or a placeholder if it contains the token, however encoded and in any case."""
        return "" if self._is_in(text) else text

    def is_pasted_in(self, url: str) -> bool:
        """Return whether an address is that of a whole call, which includes the token, or otherwise contains it."""
        is_call = any(_CALL in level.casefold() for level in islice(_levels(url), _DEEPEST))
        return is_call or (self.is_distinctive and self._is_in(url))

    def occurs(self, body: bytes, start: int, stop: int) -> bool:
        """Return whether it begins between two offsets of a body, raw or percent-encoded."""
        return any(body.find(each, start, stop + len(each) - 1) >= 0 for each in self._spellings)

    def redact(self, body: bytes) -> bytes:
        """Return the bytes with `***` for every occurrence, raw or percent-encoded."""
        for spelling in self._spellings:
            body = body.replace(spelling, MASK.encode())
        return body

    def redact_text(self, text: str) -> str:
        """Return the text with `***` for every occurrence, raw or percent-encoded."""
        return self.redact(text.encode(errors="surrogatepass")).decode(errors="surrogatepass")

    def _is_in(self, text: str) -> bool:
        for depth, level in enumerate(_levels(text)):
            folded = level.casefold()
            if depth == _DEEPEST or any(each in folded for each in self._folded):
                return True

        return False

    def __repr__(self) -> str:
        return MASK

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled, nor can the URL that holds it: pickle str(url)")


def _levels(text: str) -> Iterator[str]:
    """Yield a text as it is, decoded once, decoded twice, and so on until nothing changes."""
    while True:
        yield text
        decoded = _decoded(text)
        if decoded == text:
            return

        text = decoded


def _decoded(text: str) -> str:
    """Undo one round of JSON (and Python), percent and HTML encoding."""
    plain = unquote(re.sub(_ESCAPE, _character, text))
    if "&" not in plain:
        return plain

    import html  # noqa: PLC0415 - its table of entities is a twentieth of our import, and hardly ever needed.

    try:
        return html.unescape(plain)
    except ValueError:  # A number with thousands of digits.
        return plain


def _character(escape: re.Match[str]) -> str:
    digits = escape[1] or escape[2]
    return chr(int(digits, 16)) if digits else escape[3]


def is_token(text: str) -> bool:
    """Return whether it can be a token: printable, without whitespace."""
    return bool(text) and text.isprintable() and " " not in text


def watch_loggers() -> None:
    """Redact from the HTTP libraries' logs whatever is `on_the_wire`; idempotent."""
    for logger in _TALKATIVE_LOGGERS:
        logger.addFilter(_redact_record)


_on_the_wire: ContextVar[Secret] = ContextVar("_on_the_wire")


@contextmanager
def on_the_wire(secret: Secret) -> Iterator[None]:
    """Redact what the HTTP libraries log while the body runs: a Location or a broken header line can echo the token."""
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
        if not secret.quotable(cleaned):
            cleaned = _CUT

        if cleaned != said:
            record.msg, record.args = cleaned, ()

    return True


_parsed = functools.lru_cache(maxsize=1024)(httpx.URL)  # Most requests are sent again, minute by minute.


class MaskedURL(httpx.URL):
    """A URL that reads as `…/***` wherever it is shown, and contains the token only in what is sent.

    httpx logs every URL at INFO, and the token is in its path. Copies made by its own methods also hold it;
    `httpx.URL(url)`, `httpx.Request(…, url)` and its text do not.
    """

    def __init__(self, url: str | httpx.URL, token: Secret, reads: list[None] | None = None) -> None:
        super().__init__(_parsed(url) if isinstance(url, str) else url)
        self._token = token
        self._reads: list[None] = [] if reads is None else reads

    @property
    def raw_path(self) -> bytes:
        self._reads.append(None)
        path, *query = super().raw_path.split(b"?", 1)
        before, _, after = path.rpartition(MASK.encode())
        return b"?".join([before + self._spelled().encode() + after, *query])

    @property
    def was_read(self) -> bool:
        """Whether anything has read what is to be sent, from this or from a copy."""
        return bool(self._reads)

    def copy_with(self, **changes: Any) -> httpx.URL:
        """Return a copy that also holds the token, if its path still has a place for it."""
        raw_path = changes.get("raw_path")
        if isinstance(raw_path, bytes):
            changes["raw_path"] = raw_path.replace(self._spelled().encode(), MASK.encode())

        return self._like_this(super().copy_with(**changes))

    def join(self, url: httpx.URL | str) -> httpx.URL:
        """Return an absolute URL that also holds the token, if its path still has a place for it."""
        return self._like_this(super().join(url))

    def _like_this(self, url: httpx.URL) -> httpx.URL:
        return type(self)(url, self._token, self._reads) if MASK in url.path else url

    def _spelled(self) -> str:
        return quote(self._token.reveal(), safe="")


async def redacted(body: bytes, token: Secret) -> bytes:
    """Return the body without the token, after looking for it slice by slice."""
    turn = Turn()
    for start in range(0, len(body), _LARGE):
        if token.occurs(body, start, start + _LARGE):
            return token.redact(body)

        await turn.pause()

    return body
