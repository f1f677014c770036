"""Output: one line per status, aligned for a terminal and sanitized, since strangers write the texts."""

import itertools
import os
import shutil
import sys
import unicodedata
from contextlib import suppress
from pathlib import Path

from greenapi_async._decoding.statuses import dumps, to_dict
from greenapi_async.cli.moments import shown
from greenapi_async.models import DeletedStatus, MediaStatus, Status, TextStatus, UnknownStatus

_SENDER_CELLS = 16
_OTHER_CELLS = 12 + 2 + _SENDER_CELLS + 2 + 7 + 2
_MIN_TEXT_CELLS = 10
_MOST_MARKS = 8  # On one letter: Hebrew with vowels and accents has four.
COLOURS = {"text": 32, "image": 36, "video": 34, "audio": 35, "deleted": 31, "unknown": 33}
_BOLD = 1
_DIM = 2
_INVISIBLE = "\u200c\u200d\u200e\u200f"  # Persian, emoji, Hebrew and Arabic need them.
_EMOJI_SELECTOR = "\ufe0f"  # Makes the preceding character as wide as an emoji.


def echo(line: str) -> None:
    """Write one line to stdout."""
    print(line)


def echo_err(line: str) -> None:
    """Write one line to stderr, if it is open."""
    with suppress(OSError):
        print(f"greenapi-async: {line}", file=sys.stderr)


def json_line(status: Status, file: Path | None = None, *, is_unicode: bool | None = None) -> str:
    r"""Return the API's object on one line, with control characters and what cannot be encoded as `\u`.

    `file` becomes its `_file`. `is_unicode` says whether everything else can be encoded; None: whatever stdout can.
    """
    item = to_dict(status)
    if file is not None and isinstance(item, dict):
        item = {**item, "_file": str(file)}

    is_kept = _is_safe if _is_unicode(is_unicode) else _is_printable_ascii
    return "".join(char if is_kept(char) else _json_escape(char) for char in dumps(item))


def _is_unicode(known: bool | None) -> bool:  # noqa: FBT001 - it is what is known already.
    return sys.stdout.encoding.lower().startswith("utf") if known is None else known


def _is_printable_ascii(char: str) -> bool:
    return char.isascii() and char.isprintable()


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def text_line(status: Status) -> str:
    """Return a status as columns, cut to the terminal's width so that wrapped text cannot imitate a line.

    The word between sender and text keeps them apart if both are written from right to left.
    """
    text = sanitized(summary(status))
    if sys.stdout.isatty():
        text = truncated(text, max(_MIN_TEXT_CELLS, shutil.get_terminal_size().columns - _OTHER_CELLS))

    if not text and isinstance(status, MediaStatus):
        text = sanitized(status.download_url or "")  # Not truncated: part of a URL is useless.

    sender = truncated(sanitized(status.sender) or "-", _SENDER_CELLS)
    columns = (
        _coloured(f"{shown(status):12}", _DIM),
        _coloured(sender, _BOLD) + " " * (_SENDER_CELLS - cells(sender)),
        _coloured(f"{status.kind:7}", COLOURS[status.kind]),
        text,
    )
    return "  ".join(columns).rstrip()


def summary(status: Status) -> str:
    """Return what a status says: its text or caption, the id that was deleted, or what is unknown about it."""
    if isinstance(status, TextStatus):
        look = status.extended_text_message
        return status.text_message or (look and look.text) or ""

    if isinstance(status, DeletedStatus):
        return status.id_message

    if isinstance(status, UnknownStatus):
        return ": ".join(filter(None, (status.type_message, status.problem)))

    return status.caption or ""


def sanitized(text: str) -> str:
    """Return text on one line, with control, colour and bidi characters escaped, and few marks per letter."""
    safe = (char if _is_safe(char) else _escaped(char) for char in text.replace("\r\n", "\n"))
    return _with_few_marks("".join(safe))


def _with_few_marks(text: str) -> str:
    """Return text with an ellipsis for marks piled on a letter: they take no cell, but any number of lines."""
    kept, marks = [], 0
    for char in text:
        marks = marks + 1 if _width(char) == 0 else 0
        if marks <= _MOST_MARKS:
            kept.append(char)
        elif marks == _MOST_MARKS + 1:
            kept.append("…")

    return "".join(kept)


def _is_safe(char: str) -> bool:
    # Python's Unicode tables predate the newest emoji and call them unprintable.
    return char.isprintable() or char in _INVISIBLE or _is_pictograph(char)


def _is_pictograph(char: str) -> bool:
    return "\U0001f000" <= char <= "\U0001faff"


def _escaped(char: str) -> str:
    if char == "\n":
        return "⏎"

    return " " if unicodedata.category(char) == "Zs" else ascii(char)[1:-1]


def truncated(text: str, width: int) -> str:
    """Return the text cut to a number of terminal cells, with an ellipsis if anything was cut."""
    if cells(text) <= width:
        return text

    ends = itertools.accumulate(map(_width, text))
    return "".join(char for char, end in zip(text, ends, strict=True) if end < width) + "…"


def wrapped(text: str, width: int, *, lines: int) -> list[str]:
    """Return text as lines of at most `width` cells, broken between words if possible; the last may be cut."""
    found: list[str] = []
    while text and len(found) < lines - 1:
        line, text = _first_line(text, width)
        found.append(line)

    return [*found, truncated(text, width)] if text else found


def _first_line(text: str, width: int) -> tuple[str, str]:
    ends = itertools.accumulate(map(_width, text))
    fits = max(1, sum(1 for end in ends if end <= width))
    if fits == len(text):
        return text, ""

    space = text.rfind(" ", 1, fits + 1)
    line = text[: space if space > 0 else fits]
    return line, text[len(line) :].lstrip(" ")


def cells(text: str) -> int:
    """Return the most cells that a text can take: a line that is too wide would wrap."""
    return sum(_width(char) for char in text)


def _width(char: str) -> int:
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


def is_rich_terminal() -> bool:
    """Return whether stdout is a terminal with a movable cursor that can show any letter."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and _is_unicode(None)
