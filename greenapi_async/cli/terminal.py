"""Output: one line per status, aligned for a terminal and sanitized, since strangers write the texts."""

import itertools
import os
import shutil
import sys
import unicodedata
from contextlib import suppress

from greenapi_async._decoding.statuses import dumps, to_dict
from greenapi_async.models import DeletedStatus, MediaStatus, Status, TextStatus, UnknownStatus

_SENDER_CELLS = 16
_OTHER_CELLS = 12 + 2 + 7 + 2 + _SENDER_CELLS + 2
_MIN_TEXT_CELLS = 10
_COLOURS = {"text": 32, "image": 36, "video": 34, "audio": 35, "deleted": 31, "unknown": 33}
_BOLD = 1
_DIM = 2
_INVISIBLE = "\u200c\u200d\u200e\u200f"  # Persian, emoji, Hebrew and Arabic need them.
_EMOJI_SELECTOR = "\ufe0f"  # Makes the character before it as wide as an emoji.


def echo(line: str) -> None:
    """Write one line to stdout."""
    print(line)


def echo_err(line: str) -> None:
    """Write one line to stderr, if anything takes it."""
    with suppress(OSError):
        print(f"greenapi-async: {line}", file=sys.stderr)


def json_line(status: Status) -> str:
    r"""Return the API's object on one line, with control characters and what stdout cannot encode as `\u`."""
    unicode = sys.stdout.encoding.lower().startswith("utf")
    is_kept = _is_safe if unicode else _is_printable_ascii
    return "".join(char if is_kept(char) else _json_escape(char) for char in dumps(to_dict(status)))


def _is_printable_ascii(char: str) -> bool:
    return char.isascii() and char.isprintable()


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def text_line(status: Status) -> str:
    """Return a status as columns, cut to the terminal's width, so that wrapped text cannot imitate a line."""
    text = sanitized(_summary(status))
    if sys.stdout.isatty():
        text = _truncated(text, max(_MIN_TEXT_CELLS, shutil.get_terminal_size().columns - _OTHER_CELLS))

    if not text and isinstance(status, MediaStatus):
        text = sanitized(status.download_url or "")  # Not truncated: part of a URL is useless.

    sender = _truncated(sanitized(status.sender) or "-", _SENDER_CELLS)
    columns = (
        _coloured(f"{_time(status):12}", _DIM),
        _coloured(f"{status.kind:7}", _COLOURS[status.kind]),
        _coloured(sender, _BOLD) + " " * (_SENDER_CELLS - _cells(sender)),
        text,
    )
    return "  ".join(columns).rstrip()


def _time(status: Status) -> str:
    if not status.timestamp:
        return "-"

    try:
        local = status.posted_at.astimezone()
    except (OverflowError, OSError):  # The last hours of the year 9999, east of Greenwich.
        local = status.posted_at

    return f"{local:%d %b %H:%M}"


def _summary(status: Status) -> str:
    if isinstance(status, TextStatus):
        look = status.extended_text_message
        return status.text_message or (look and look.text) or ""

    if isinstance(status, DeletedStatus):
        return status.id_message

    if isinstance(status, UnknownStatus):
        return ": ".join(filter(None, (status.type_message, status.problem)))

    return status.caption or ""


def sanitized(text: str) -> str:
    """Return text on one line, with control, colour and bidi characters escaped."""
    return "".join(char if _is_safe(char) else _escaped(char) for char in text.replace("\r\n", "\n"))


def _is_safe(char: str) -> bool:
    # Python's Unicode tables predate the newest emoji and call them unprintable.
    return char.isprintable() or char in _INVISIBLE or _is_pictograph(char)


def _is_pictograph(char: str) -> bool:
    return "\U0001f000" <= char <= "\U0001faff"


def _escaped(char: str) -> str:
    if char == "\n":
        return "⏎"

    return " " if unicodedata.category(char) == "Zs" else ascii(char)[1:-1]


def _truncated(text: str, cells: int) -> str:
    """Return the text cut to a number of terminal cells, with an ellipsis if anything was cut."""
    if _cells(text) <= cells:
        return text

    ends = itertools.accumulate(map(_width, text))
    return "".join(char for char, end in zip(text, ends, strict=True) if end < cells) + "…"


def _cells(text: str) -> int:
    return sum(_width(char) for char in text)


def _width(char: str) -> int:
    """Return the most cells that a character may take: a line that is too wide would wrap."""
    if char == _EMOJI_SELECTOR:
        return 1

    category = unicodedata.category(char)
    if char in _INVISIBLE or category in {"Mn", "Me"}:
        return 0

    is_new_emoji = category == "Cn" and _is_pictograph(char)
    return 2 if is_new_emoji or unicodedata.east_asian_width(char) in "WF" else 1


def _coloured(text: str, code: int) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if _uses_colour() else text


def _uses_colour() -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False

    return sys.stdout.isatty() and os.name == "posix"
