"""Items read one by one: those of a portion that is not JSON, and those over 1 MiB, which are not structured."""

import hashlib
import re
from collections.abc import Generator, Iterator
from typing import Any, Final

from greenapi_async._decoding.portion import statuses
from greenapi_async._decoding.scanner import CLOSERS, QUOTE, cuts, string_end
from greenapi_async._decoding.strict import from_dict, has_id, is_deep, unknown
from greenapi_async._decoding.text import loads
from greenapi_async._decoding.typed import KNOWN
from greenapi_async.errors import DecodeError
from greenapi_async.models import Status

LARGE: Final = 1024 * 1024
_LONGEST: Final = 64 * 1024  # Of what is kept of a large item.
_OVERHEAD: Final = 100  # Bytes of memory that a kept member takes beyond its own.
_BLOCK: Final = 4096
_BLANK = b" \t\n\r"
_BLANKS = re.compile(rb"[ \t\n\r]*")
_NAME = re.compile(rb'[ \t\n\r]*"([^"\\]*(?:\\.[^"\\]*)*)"[ \t\n\r]*:', re.DOTALL)


def alone(body: bytes, start: int, stop: int) -> Iterator[Status | None]:
    """Yield the status of the item between two offsets, and None where other tasks may run before it.

    Raises:
        DecodeError: there is no value, or something else beside it.
    """
    start, stop = _trimmed(body, start, stop)
    if stop - start > LARGE:
        return _large(body, start, stop)

    item = body[start:stop]
    found = statuses(b"[%b]" % item) if item else None
    return _torn(item) if found is None else found


def _trimmed(body: bytes, start: int, stop: int) -> tuple[int, int]:
    blanks = _BLANKS.match(body, start, stop)
    start = blanks.end() if blanks else start
    while start < stop and body[stop - 1] in _BLANK:
        block = body[max(start, stop - _BLOCK) : stop]
        stop -= len(block) - len(block.rstrip(_BLANK))

    return start, stop


def _torn(item: bytes) -> Iterator[Status | None]:
    """Read an item that is not JSON, or deeply nested: what cannot be read stays as text."""
    obj: dict[str, Any] = {}
    whole = item[:1] == b"{"
    for span in _members(item, 0, len(item)):
        pair = _pair(item[slice(*span)]) if span else {}
        whole = whole and pair is not None
        obj |= pair or {}
        yield None

    yield from_dict(obj if whole else item.decode(errors="replace"))


def _large(body: bytes, start: int, stop: int) -> Iterator[Status | None]:
    """Read the top-level strings and numbers of an item: all those with a known name, others within limits."""
    raw: dict[str, Any] = {}
    room = LARGE
    for span in _members(body, start, stop):
        kept = _short(body, *span, known_only=room < 0) if span else {}
        raw |= kept
        room -= span[1] - span[0] + _OVERHEAD if span and kept else 0
        yield None

    digest = "" if has_id(raw) else (yield from _digest(body, start, stop))
    problem = f"it has {stop - start} bytes: of an item over {LARGE} only short texts and numbers are kept"
    yield unknown(raw, problem=problem, digest=digest)


def _members(body: bytes, start: int, stop: int) -> Iterator[tuple[int, int] | None]:
    """Yield where each member of an object or array begins and ends; nothing for another value. None is a step.

    Raises:
        DecodeError: there is not exactly one value between the two offsets.
    """
    first = body[start] if start < stop else 0
    if first in CLOSERS:
        end = yield from _spans(body, start + 1)
    elif first == QUOTE:
        end = yield from string_end(body, start + 1)
    else:
        end = -1

    if end != stop:
        raise DecodeError(f"the response is not JSON: no value stands at byte {start} of {len(body)}")


def _spans(body: bytes, start: int) -> Generator[tuple[int, int] | None, None, int]:
    for place in cuts(body, start):
        if place is None:
            yield None
        else:
            yield start, place
            start = place + 1

    return start


def _read(member: bytes) -> dict[str, Any] | None:
    """Return a member as an object of its own, or None if it is not JSON or deeply nested."""
    try:
        pair: dict[str, Any] = loads(f"{{{member.decode(errors='replace')}}}")
    except (ValueError, RecursionError):
        return None

    return None if is_deep([pair]) else pair


def _pair(member: bytes) -> dict[str, Any] | None:
    pair = _read(member)
    return _unread(member) if pair is None else pair


def _unread(member: bytes) -> dict[str, Any] | None:
    """Return a member with the text of its value in place of it, or None if it is not a member."""
    found = _NAME.match(member)
    if not found:
        return None

    name, value = found[1], member[found.end() :].strip()
    return {name.decode(errors="replace"): value.decode(errors="replace")}


def _short(body: bytes, start: int, stop: int, *, known_only: bool) -> dict[str, Any]:
    """Return a member of a large item if its value is a short string or a number, else nothing."""
    member = body[start:stop] if stop - start < _LONGEST else b""
    name = _NAME.match(member)
    if not name or (known_only and name[1].decode(errors="replace") not in KNOWN):
        return {}

    pair = _read(member) or {}
    return {name: value for name, value in pair.items() if type(value) in {str, int, float}}


def _digest(body: bytes, start: int, stop: int) -> Generator[None, None, str]:
    digest = hashlib.sha256()
    for place in range(start, stop, _BLOCK):
        digest.update(body[place : min(place + _BLOCK, stop)])
        yield None

    return f"sha256:{digest.hexdigest()}"
