"""A portion of a response's array: read the quick way if nothing in it is odd, else all of it the strict way."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from greenapi_async._decoding import text, typed
from greenapi_async._decoding.converter import read_items
from greenapi_async._decoding.strict import from_dict, is_deep, read_clean
from greenapi_async.errors import DecodeError
from greenapi_async.models import Status

_MOST_ITEMS: Final = 200_000


def keys(array: bytes) -> Iterator[str] | None:
    """Return the keys of the statuses in a JSON array, in its order; None if it is not one, or deeply nested.

    Raises:
        DecodeError: it holds more items than any account has statuses.
    """
    found = typed.read_keys(array)
    if found is not None:
        return iter(found)

    odd = _strictly(array)
    return None if odd is None else (status.key for status in odd)


def statuses(array: bytes) -> Iterator[Status] | None:
    """Return the statuses in a JSON array, in its order; None if it is not one, or deeply nested.

    Raises:
        DecodeError: it holds more items than any account has statuses.
    """
    found = typed.read_items(array)
    return _strictly(array) if found is None else read_items(found)


def pick(array: bytes, selectors: Sequence[bool]) -> bytes:
    """Return a JSON array of the selected items, or the array unchanged if that is not worth it."""
    few = sum(selectors) < len(selectors) / 2
    return (few and typed.pick(array, selectors)) or array


def check_count(items: int) -> None:
    """Raise DecodeError if a response holds more items than any account has statuses."""
    if items > _MOST_ITEMS:
        raise DecodeError(f"the response holds {items} items, more than any account has statuses")


def _strictly(array: bytes) -> Iterator[Status] | None:
    objects, read = typed.read_objects(array), read_clean
    if objects is None:  # The standard library accepts more than strict JSON.
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
