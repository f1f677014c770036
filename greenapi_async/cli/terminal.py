"""What the command writes: one line for one status, aligned for a terminal and safe from what strangers write."""

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
_FEWEST_CELLS = 10
_COLOURS = {"text": 32, "image": 36, "video": 34, "audio": 35, "deleted": 31, "unknown": 33}
_BOLD = 1
_DIM = 2
_INVISIBLE = "\u200c\u200d\u200e\u200f"  # Persian, emoji, Hebrew and Arabic are broken without them.
_AS_EMOJI = "\ufe0f"  # Makes the character before it as wide as an emoji.


def say(line: str) -> None:
    """Write one line to stdout."""
    print(line, flush=True)


def tell(line: str) -> None:
    """Write one line to stderr, where somebody still reads that."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"greenapi-async: {line}", file=sys.stderr, flush=True)


def json_line(status: Status) -> str:
    r"""Return the API's object on one line, with `\u` for what a terminal acts on or stdout cannot encode."""
    unicode = sys.stdout.encoding.lower().startswith("utf")
    keeps = _is_harmless if unicode else _is_plain
    return "".join(char if keeps(char) else _json_escape(char) for char in dumps(to_dict(status)))


def _is_plain(char: str) -> bool:
    return char.isascii() and char.isprintable()


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def text_line(status: Status) -> str:
    """Return the columns of a status; on a terminal they fit it, so that no long text can pose as a line."""
    what = shown(_words(status))
    if sys.stdout.isatty():
        what = _fitted(what, max(_FEWEST_CELLS, shutil.get_terminal_size().columns - _OTHER_CELLS))

    if not what and isinstance(status, MediaStatus):
        what = shown(status.download_url or "")  # Whole: a part of it leads nowhere.

    sender = _fitted(shown(status.sender) or "-", _SENDER_CELLS)
    columns = (
        _painted(f"{_when(status):12}", _DIM),
        _painted(f"{status.kind:7}", _COLOURS[status.kind]),
        _painted(sender, _BOLD) + " " * (_SENDER_CELLS - _cells(sender)),
        what,
    )
    return "  ".join(columns).rstrip()


def _when(status: Status) -> str:
    if not status.timestamp:
        return "-"

    try:
        local = status.posted_at.astimezone()
    except (OverflowError, OSError):  # The last hours of the year 9999, east of Greenwich.
        local = status.posted_at

    return f"{local:%d %b %H:%M}"


def _words(status: Status) -> str:
    if isinstance(status, TextStatus):
        look = status.extended_text_message
        return status.text_message or (look and look.text) or ""

    if isinstance(status, DeletedStatus):
        return status.id_message

    if isinstance(status, UnknownStatus):
        return ": ".join(filter(None, (status.type_message, status.problem)))

    return status.caption or ""


def shown(text: str) -> str:
    """Return a stranger's text on one line that moves no cursor, paints nothing and reads in one direction."""
    return "".join(char if _is_harmless(char) else _escaped(char) for char in text.replace("\r\n", "\n"))


def _is_harmless(char: str) -> bool:
    # Python's own tables are older than the newest emoji, which it takes for not printable.
    return char.isprintable() or char in _INVISIBLE or _is_pictograph(char)


def _is_pictograph(char: str) -> bool:
    return "\U0001f000" <= char <= "\U0001faff"


def _escaped(char: str) -> str:
    if char == "\n":
        return "⏎"

    return " " if unicodedata.category(char) == "Zs" else ascii(char)[1:-1]


def _fitted(text: str, cells: int) -> str:
    """Return as much of the text as fits into so many terminal cells, with an ellipsis where it is cut."""
    if _cells(text) <= cells:
        return text

    ends = itertools.accumulate(map(_width, text))
    return "".join(char for char, end in zip(text, ends, strict=True) if end < cells) + "…"


def _cells(text: str) -> int:
    return sum(_width(char) for char in text)


def _width(char: str) -> int:
    """Return the cells that a character takes, at most: a line that is wider than thought would go on below."""
    if char == _AS_EMOJI:
        return 1

    category = unicodedata.category(char)
    if char in _INVISIBLE or category in {"Mn", "Me"}:
        return 0

    is_new_emoji = category == "Cn" and _is_pictograph(char)
    return 2 if is_new_emoji or unicodedata.east_asian_width(char) in "WF" else 1


def _painted(text: str, code: int) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if _in_colour() else text


def _in_colour() -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False

    return sys.stdout.isatty() and os.name == "posix"
