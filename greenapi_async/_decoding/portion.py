"""A portion of a response's array: the quick way where nothing in it is odd, else the strict one for all of it."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from greenapi_async._decoding import text, typed
from greenapi_async._decoding.converter import read_items
from greenapi_async._decoding.strict import from_dict, is_deep, read_clean
from greenapi_async.errors import DecodeError
from greenapi_async.models import Status

_MOST_ITEMS: Final = 200_000


def keys(array: bytes) -> Iterator[str] | None:
    """Return the keys of the statuses in a JSON array, in its order; None where it is none, or nested deeply.

    Raises:
        DecodeError: it holds more items than any account has statuses.
    """
    found = typed.read_keys(array)
    if found is not None:
        return iter(found)

    odd = _strictly(array)
    return None if odd is None else (status.key for status in odd)


def statuses(array: bytes) -> Iterator[Status] | None:
    """Return the statuses of a JSON array, in its order; None where it is none, or nested deeply.

    Raises:
        DecodeError: it holds more items than any account has statuses.
    """
    found = typed.read_items(array)
    return _strictly(array) if found is None else read_items(found)


def pick(array: bytes, selectors: Sequence[bool]) -> bytes:
    """Return a JSON array of the selected items, or the array as it is where that is not worth it."""
    few = sum(selectors) < len(selectors) / 2
    return (few and typed.pick(array, selectors)) or array


def check_count(items: int) -> None:
    """Raise DecodeError where a response holds more items than any account has statuses."""
    if items > _MOST_ITEMS:
        raise DecodeError(f"the response holds {items} items, and no account has that many statuses")


def _strictly(array: bytes) -> Iterator[Status] | None:
    objects, read = typed.read_objects(array), read_clean
    if objects is None:  # The standard library reads more than strict JSON.
        objects, read = _leniently(array), from_dict

    if objects is None or is_deep([objects]):
        return None

    check_count(len(objects))
    return map(read, objects)


def _leniently(array: bytes) -> list[Any] | None:
    try:
        values: list[Any] = text.loads(array.decode(errors="replace"))
    except (ValueError, RecursionError):
        return None

    return values
