"""From the bytes of an answer to statuses, and from a status back to the wire's JSON object."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from greenapi_async.errors import DecodeError
from greenapi_async.models import Status, UnknownStatus

_MOST_ITEMS: Final = 200_000
_MOST_SPLIT: Final = (
    4 * 1024 * 1024
)  # What is larger could not be cut into portions: it is no array of objects.


def parse(body: bytes) -> Any:
    """Return the JSON value of a body, or None where it is empty.

    Bytes that are not UTF-8 become U+FFFD: one broken name must not lose the other statuses.

    Raises:
        DecodeError: the body is not JSON.
    """
    text = body.decode("utf-8-sig", errors="replace").strip()
    if not text:
        return None

    try:
        return json.loads(text, parse_int=_parse_int)
    except RecursionError:
        problem = "it is nested too deeply"
    except json.JSONDecodeError as error:
        problem = f"{error.msg} at character {error.pos} of {len(text)}"

    if text.startswith("<"):
        problem = "it is a web page, as a proxy or a captive portal would send"

    raise DecodeError(f"the answer is not JSON: {problem}")


def keys(array: bytes) -> Iterator[str]:
    """Return the keys of the statuses in a JSON array, in its order.

    Raises:
        DecodeError: it is not JSON, or holds more items than any account has statuses.
    """
    from greenapi_async._decoding import typed as _items

    found = _items.read_keys(array)
    if found is not None:
        return iter(found)

    return (status.key for status in _one_by_one(array))


def pick(array: bytes, selectors: Sequence[bool]) -> bytes:
    """Return a JSON array of the selected items, or the array as it is where that is not worth it."""
    from greenapi_async._decoding import typed as _items

    few = sum(selectors) < len(selectors) / 2
    return (few and _items.pick(array, selectors)) or array


def statuses(array: bytes) -> Iterator[Status]:
    """Return the statuses of a JSON array, in its order.

    Raises:
        DecodeError: it is not JSON, or holds more items than any account has statuses.
    """
    from greenapi_async._decoding import converter as _structure
    from greenapi_async._decoding import typed as _items

    found = _items.read_items(array)
    if found is not None:
        return _structure.read_items(found)

    return _one_by_one(array)


def check_count(items: int) -> None:
    """Raise DecodeError where an answer holds more items than any account has statuses."""
    if items > _MOST_ITEMS:
        raise DecodeError(f"the answer holds {items} items, and no account has that many statuses")


def from_dict(obj: Any) -> Status:
    """Read one status from the wire's JSON object.

    Whatever cannot be read comes as `UnknownStatus`, so nothing is dropped and nothing raised.
    """
    if not isinstance(obj, Mapping):
        return _unknown(obj, problem=f"expected an object, got {type(obj).__name__}")

    if not _text(obj.get("idMessage")):
        return _unknown(obj, problem="idMessage is missing")

    from greenapi_async._decoding import converter as _structure
    from greenapi_async._decoding import typed as _items

    type_message = _text(obj.get("typeMessage"))
    if type_message not in _items.MODELS:
        return _unknown(obj, problem="unknown typeMessage")

    try:
        return _structure.read(obj, type_message)
    except (LookupError, ValueError):
        return _unknown(obj, problem=_structure.explain(obj, type_message))


def to_dict(status: Status) -> Any:
    """Return the wire's JSON object of a status, without what was absent, null or empty.

    `from_dict` of it is the same status. For an `UnknownStatus` it is `raw`, whatever that was.
    """
    from greenapi_async._decoding import converter as _structure

    return status.raw if isinstance(status, UnknownStatus) else _structure.write(status)


def dumps(value: Any) -> str:
    """Return JSON on one line, readable in any language."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def loads_object(text: str) -> dict[str, Any]:
    """Return the JSON object in a text, or an empty one where it is anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}

    return value if isinstance(value, dict) else {}


def _one_by_one(array: bytes) -> Iterator[Status]:
    """Return the statuses of an array with an odd item, which leaves the others their quick way."""
    from greenapi_async._decoding import typed as _items

    items = _items.split(array) if len(array) <= _MOST_SPLIT else None
    if items is None:  # The standard library reads more than strict JSON.
        items = parse(array)
        read: Callable[[Any], Status] = from_dict
    else:
        read = _read

    check_count(len(items))
    return map(read, items)


def _read(item: bytes) -> Status:
    from greenapi_async._decoding import converter as _structure
    from greenapi_async._decoding import typed as _items

    found = _items.read_item(item)
    if found is not None:
        return _structure.read_item(found)

    return from_dict(_items.read_object(item) or parse(item))


def _parse_int(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:  # Python refuses thousands of digits; one such number must not lose the others.
        return digits


def _unknown(obj: Any, *, problem: str) -> UnknownStatus:
    item = obj if isinstance(obj, Mapping) else {}

    return UnknownStatus(
        id_message=_text(item.get("idMessage")) or _digest(obj),
        timestamp=_timestamp_or_zero(item.get("timestamp")),
        chat_id=_text(item.get("chatId")),
        sender_id=_text(item.get("senderId")) or None,
        sender_name=_text(item.get("senderName")) or None,
        sender_contact_name=_text(item.get("senderContactName")) or None,
        type_message=_text(item.get("typeMessage")) or None,
        raw=obj,
        problem=problem,
    )


def _digest(obj: Any) -> str:
    try:
        canonical = json.dumps(obj, sort_keys=True, separators=(",", ":"), default=repr)
    except (RecursionError, TypeError, ValueError):  # The parser takes a little more than the encoder does.
        canonical = "no JSON"

    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _timestamp_or_zero(value: Any) -> int:
    from greenapi_async._decoding import converter as _structure

    try:
        return _structure.timestamp(value)
    except ValueError:
        return 0
