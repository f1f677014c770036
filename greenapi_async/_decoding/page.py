"""A response's array in two steps: first its items' keys, then the statuses that are wanted."""

from collections.abc import Iterator
from itertools import islice
from operator import attrgetter
from typing import Final, TypeVar

from greenapi_async._turn import Turn
from greenapi_async.errors import GreenApiError, sealed
from greenapi_async.models import Status

_BATCH: Final = 50
_TIMESTAMP = attrgetter("timestamp")
_T = TypeVar("_T")


class Page:
    """The items of a response by their keys; statuses are made when they are requested.

    Attributes:
        keys: the key of every item's status, in the API's order.
    """

    def __init__(self, body: bytes) -> None:
        self.keys: list[str] = []
        self._body = body
        self._portions: list[tuple[int, int, list[str]]] = []

    def add(self, start: int, stop: int, keys: list[str]) -> None:
        """Add the portion between two offsets of the body."""
        self.keys += keys
        self._portions.append((start, stop, keys))

    async def statuses(self, wanted: set[str]) -> list[Status]:
        """Return the statuses whose keys are wanted, oldest first; those of the same second in the API's order."""
        try:
            return await self._statuses(wanted)
        except GreenApiError as error:
            failure = sealed(error)

        raise failure

    async def _statuses(self, wanted: set[str]) -> list[Status]:
        from greenapi_async._decoding.portions import again

        turn = Turn()
        found: list[Status] = []
        for start, stop, keys in self._portions:
            if not wanted.isdisjoint(keys):
                for statuses in again(self._body, start, stop, [key in wanted for key in keys]):
                    taken = await _taken(statuses or iter(()), turn)
                    found += [status for status in taken if status.key in wanted]

        return sorted(found, key=_TIMESTAMP)


async def scan(array: bytes) -> Page:
    """Return the page in a JSON array.

    Raises:
        DecodeError: it is not a JSON array, or holds more items than any account has statuses.
    """
    from greenapi_async._decoding.portion import check_count
    from greenapi_async._decoding.portions import keys_of

    turn = Turn()
    page = Page(array)
    for piece in keys_of(array):
        if piece:
            start, stop, keys = piece
            page.add(start, stop, await _taken(keys, turn))
            check_count(len(page.keys))

        await turn.pause()

    return page


async def read(array: bytes) -> list[Status]:
    """Return all statuses in a JSON array, oldest first; raises what `scan` raises."""
    from greenapi_async._decoding.portion import check_count
    from greenapi_async._decoding.portions import statuses_of

    turn = Turn()
    found: list[Status] = []
    for piece in statuses_of(array):
        if piece:
            found += await _taken(piece[2], turn)
            check_count(len(found))

        await turn.pause()

    return sorted(found, key=_TIMESTAMP)


async def _taken(values: Iterator[_T], turn: Turn) -> list[_T]:
    """Collect values that take time to produce."""
    taken: list[_T] = []
    complete = False
    while not complete:
        batch = list(islice(values, _BATCH))
        complete = len(batch) < _BATCH
        taken += batch
        await turn.pause()

    return taken
