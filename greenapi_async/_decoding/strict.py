"""The strict way: any JSON value to a status, an unknown one with the problem if it cannot be read."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from greenapi_async._decoding.converter import explain, read, timestamp
from greenapi_async._decoding.typed import MODELS
from greenapi_async.models import Status, UnknownStatus

_DEEPEST: Final = 100
_CONTAINERS: Final = frozenset({dict, list})
_LONE = re.compile("[\ud800-\udfff]")  # Half an emoji, from the legal escape `\ud83d`.


def from_dict(obj: Any) -> Status:
    """Read one status from any value, which may contain half an emoji."""
    if isinstance(obj, Mapping) and has_id(obj):
        obj = {_mended(name): _mended(value) for name, value in obj.items()} | {"idMessage": obj["idMessage"]}

    return read_clean(obj)


def read_clean(obj: Any) -> Status:
    """Read one status from a value whose strings, except its id, can all be encoded as UTF-8."""
    if not isinstance(obj, (dict, Mapping)):  # A dict is recognized five times as fast.
        return unknown(obj, problem=f"expected an object, got {type(obj).__name__}")

    if not has_id(obj):
        return unknown(obj, problem="idMessage is missing")

    type_message = obj.get("typeMessage")
    if not isinstance(type_message, str) or type_message not in MODELS:
        return unknown(obj, problem="unknown typeMessage")

    try:
        return read(obj, type_message)
    except (LookupError, ValueError):
        return unknown(obj, problem=explain(obj, type_message))


def unknown(obj: Any, *, problem: str, digest: str = "") -> UnknownStatus:
    """Return what is known of a value that is not read; `digest` identifies it if it has no id."""
    item = obj if isinstance(obj, Mapping) else {}

    return UnknownStatus(
        id_message=item["idMessage"] if has_id(item) else digest or _digest(obj),
        timestamp=_timestamp_or_zero(item.get("timestamp")),
        chat_id=_text(item, "chatId"),
        sender_id=_text(item, "senderId") or None,
        sender_name=_text(item, "senderName") or None,
        sender_contact_name=_text(item, "senderContactName") or None,
        type_message=_text(item, "typeMessage") or None,
        raw=obj,
        problem=problem,
    )


def has_id(obj: Mapping[str, Any]) -> bool:
    """Return whether an object has an `idMessage`."""
    id_message = obj.get("idMessage")
    return isinstance(id_message, str) and id_message != ""


def is_deep(values: list[Any]) -> bool:
    """Return whether values are nested so deeply that writing or walking them may exhaust the stack."""
    for _ in range(_DEEPEST):
        values = [
            each
            for value in values
            for each in (value.values() if type(value) is dict else value)
            if type(each) in _CONTAINERS
        ]
        if not values:
            return False

    return True


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return _LONE.sub("\ufffd", value)

    if not isinstance(value, dict | list):
        return value

    try:
        text = json.dumps(value, ensure_ascii=False)
    except (RecursionError, TypeError, ValueError):  # It comes from no response.
        return value

    return json.loads(_LONE.sub("\ufffd", text)) if _LONE.search(text) else value


def _digest(obj: Any) -> str:
    try:
        canonical = json.dumps(obj, sort_keys=True, separators=(",", ":"), default=repr)
    except (RecursionError, TypeError, ValueError):  # It comes from no response.
        canonical = "no JSON"

    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    return _LONE.sub("\ufffd", value) if isinstance(value, str) else ""


def _timestamp_or_zero(value: Any) -> int:
    try:
        return timestamp(value)
    except ValueError:
        return 0
