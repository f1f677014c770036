"""A response's array, cut into portions: each is read as a whole, or item by item if it is not JSON."""

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from operator import attrgetter
from typing import Final, TypeAlias, TypeVar

from greenapi_async._decoding import portion
from greenapi_async._decoding.alone import LARGE, alone
from greenapi_async._decoding.scanner import cuts
from greenapi_async.errors import DecodeError
from greenapi_async.models import Status

_WHOLE: Final = 1536 * 1024  # A body of up to this many bytes is one portion: cutting costs a tenth.
_PORTION: Final = 128 * 1024
_T = TypeVar("_T")
Pieces: TypeAlias = Generator[tuple[int, int, Iterator[_T]] | None, None, int]

# Between two items, or what looks like it inside a string or an inner array.
_BETWEEN = re.compile(rb"[\]}]\s*(,)\s*[\[{]")
_NEXT = re.compile(rb",\s*[\[{]")
_NEXT_STATUS = re.compile(rb'},\s*\{[^{}\[\]]*?"idMessage"')


def keys_of(body: bytes) -> Iterator[tuple[int, int, Iterator[str]] | None]:
    """Yield where each portion of an array begins and ends, with its keys; None marks a step of the work.

    Raises:
        DecodeError: the body is not an array of JSON values that can be separated.
    """
    return _portions(body, portion.keys, attrgetter("key"))


def statuses_of(body: bytes) -> Iterator[tuple[int, int, Iterator[Status]] | None]:
    """Yield the same as `keys_of`, with statuses; raises the same."""
    return _portions(body, portion.statuses, lambda status: status)


def again(body: bytes, start: int, stop: int, selectors: Sequence[bool]) -> Iterator[Iterator[Status] | None]:
    """Yield the statuses of a portion, at least the selected ones; None marks a step of the work."""
    if len(selectors) == 1:
        yield from (iter([status]) if status else None for status in alone(body, start, stop))
        return

    array = portion.pick(_array(body, start, stop), selectors)
    values = portion.statuses(array)
    if values is not None:
        yield values
    else:
        yield from (piece[2] if piece else None for piece in _apart(array, 1, lambda status: status))


def _portions(
    body: bytes, read: Callable[[bytes], Iterator[_T] | None], of: Callable[[Status], _T]
) -> Pieces[_T]:
    """Cut where items seem to end.

    A wrong cut, as in a string or between the objects of an inner array, leaves something open, which is not JSON; so
    what is JSON was cut correctly.
    """
    start = 1
    while start < len(body) - 1:
        stop = _likely_stop(body, start)
        values = read(_array(body, start, stop)) if stop else None
        if values is None:
            start = yield from _apart(body, start, of)
        else:
            yield start, stop, values
            start = stop + 1

    return start


def _apart(body: bytes, start: int, of: Callable[[Status], _T]) -> Pieces[_T]:
    """Cut item by item, to the end of the array or to where a portion can begin; return that offset."""
    enough = start + _PORTION
    for stop in cuts(body, start):
        if stop is None:
            yield None
            continue

        if stop == len(body) - 1 and body[1:stop].isspace():  # An empty array with a lot of whitespace.
            return len(body)

        for status in alone(body, start, stop):
            yield (start, stop, iter([of(status)])) if status else None

        start = stop + 1
        if start > enough and _NEXT.match(body, stop):
            return start

    if start != len(body):
        raise DecodeError(f"the response is not JSON: the array ends at byte {start} of {len(body)}")

    return start


def _likely_stop(body: bytes, start: int) -> int:
    """Return where a portion may stop, or 0 if no such place is near. None is long enough to hide a large item."""
    end = len(body) - 1
    if start == 1 and _is_one_portion(body):
        return end

    found = _BETWEEN.search(body, start + _PORTION, start + 2 * _PORTION)
    if found:
        return found.start(1)

    return end if end - start <= 2 * _PORTION else 0


def _is_one_portion(body: bytes) -> bool:
    size = len(body)
    return size <= _WHOLE and (size <= LARGE or bool(_NEXT_STATUS.search(body, size - LARGE, LARGE)))


def _array(body: bytes, start: int, stop: int) -> bytes:
    if stop - start == len(body) - 2:
        return body

    return b"".join((b"[", memoryview(body)[start:stop], b"]"))
