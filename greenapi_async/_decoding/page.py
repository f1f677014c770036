"""An answer's array, cut into portions: what is not asked for is not decoded, and no portion holds up others."""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from operator import attrgetter
from typing import Final, TypeVar

from greenapi_async._decoding import statuses as _wire
from greenapi_async._turn import Turn
from greenapi_async.errors import DecodeError, GreenApiError, sealed
from greenapi_async.models import Status

_WHOLE: Final = 1536 * 1024  # A body of up to so many bytes is one portion: cutting it costs a tenth.
_PORTION: Final = 128 * 1024
_BATCH: Final = 50
_TIMESTAMP = attrgetter("timestamp")
_T = TypeVar("_T")

# Between one item and another, or what looks like it in a text.
_BETWEEN = re.compile(rb"[\]}]\s*(,)\s*[\[{]")


class Page:
    """The items of an answer, known by their keys; statuses once they are asked for.

    Attributes:
        keys: the key of every item's status, in the API's order.
    """

    def __init__(self, body: bytes) -> None:
        self.keys: list[str] = []
        self._body = body
        self._portions: list[tuple[int, int, list[str]]] = []

    def add(self, start: int, stop: int, keys: list[str]) -> None:
        """Add the portion that stands between two places of the body."""
        self.keys += keys
        self._portions.append((start, stop, keys))

    async def statuses(self, wanted: set[str]) -> list[Status]:
        """Return the statuses whose keys are wanted, oldest first; those of one second in the API's order.

        Raises:
            DecodeError: an item is nested too deeply.
        """
        turn = Turn()
        found: list[Status] = []
        try:
            for start, stop, keys in self._portions:
                if not wanted.isdisjoint(keys):
                    array = _wire.pick(_array(self._body, start, stop), [key in wanted for key in keys])
                    statuses = await _taken(_wire.statuses(array), turn)
                    found += [status for status in statuses if status.key in wanted]
        except GreenApiError as error:
            failure = sealed(error)
        else:
            return sorted(found, key=_TIMESTAMP)

        raise failure


async def scan(array: bytes) -> Page:
    """Return the page that a JSON array holds.

    Raises:
        DecodeError: it is no JSON, or holds more items than any account has statuses.
    """
    turn = Turn()
    page = Page(array)
    for start, stop, keys in _decoded(array, _wire.keys):
        page.add(start, stop, await _taken(keys, turn))
        _wire.check_count(len(page.keys))

    return page


async def read(array: bytes) -> list[Status]:
    """Return all statuses that a JSON array holds, oldest first; raises what `scan` raises."""
    turn = Turn()
    found: list[Status] = []
    for _, _, statuses in _decoded(array, _wire.statuses):
        found += await _taken(statuses, turn)
        _wire.check_count(len(found))

    return sorted(found, key=_TIMESTAMP)


async def _taken(values: Iterator[_T], turn: Turn) -> list[_T]:
    """Collect values that take time to make."""
    taken: list[_T] = []
    complete = False
    while not complete:
        batch = list(islice(values, _BATCH))
        complete = len(batch) < _BATCH
        taken += batch
        await turn.pause()

    return taken


def _decoded(body: bytes, decode: Callable[[bytes], _T]) -> Iterator[tuple[int, int, _T]]:
    """Yield where each portion of an array starts and stops, and what it decodes to.

    A wrong cut, as in a text or between the objects of an inner array, leaves something open, which is no JSON;
    so what is JSON was cut rightly, and what is not is cut further on.
    """
    start = 1
    while start < len(body) - 1:
        for stop in _cuts(body, start):
            try:
                decoded = decode(_array(body, start, stop))
            except DecodeError as error:
                problem = error
            else:
                break
        else:
            if start > 1:
                _wire.parse(body)  # Its error tells where in the whole.

            raise problem

        yield start, stop, decoded
        start = stop + 1


def _cuts(body: bytes, start: int) -> Iterator[int]:
    """Yield where a portion may stop, each stop further on than the one before."""
    size = _PORTION if len(body) > _WHOLE else len(body)
    while found := _BETWEEN.search(body, start + size):
        yield found.start(1)
        size *= 2

    yield len(body) - 1


def _array(body: bytes, start: int, stop: int) -> bytes:
    if stop - start == len(body) - 2:
        return body

    return b"".join((b"[", memoryview(body)[start:stop], b"]"))
