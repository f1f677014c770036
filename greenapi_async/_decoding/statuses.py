"""A status from the wire's JSON object, and back."""

import json
from collections.abc import Mapping
from typing import Any

from greenapi_async._decoding.text import loads
from greenapi_async.models import Status, UnknownStatus


def from_dict(obj: Any) -> Status:
    """Read one status from the API's JSON object.

    Whatever cannot be read becomes an `UnknownStatus`, so nothing is dropped or raised. Half an emoji, which UTF-8
    cannot encode, becomes U+FFFD, except in `idMessage`. The status shares nothing with the object.
    """
    from greenapi_async._decoding.strict import from_dict

    return from_dict(_copied(obj))


def to_dict(status: Status) -> Any:
    """Return a status as the API's JSON object, without what was absent, null or empty.

    `from_dict` turns it back into the same status. For an `UnknownStatus` it is `raw`, whatever that was. You can
    change the object: it shares nothing with the status.
    """
    from greenapi_async._decoding.converter import write

    return _copied(status.raw if isinstance(status, UnknownStatus) else write(status))


def dumps(value: Any) -> str:
    """Return strict JSON on one line, unescaped in any language; an infinity that a program put in becomes a string."""
    try:
        return _STRICT.encode(value)
    except ValueError:
        return _STRICT.encode(loads(json.dumps(value)))


_STRICT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _copied(value: Any) -> Any:
    try:
        return _copy(value)
    except RecursionError:  # It does not come from a response: there, deep nesting is kept as text.
        return value


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _copy(each) for name, each in value.items()}

    return [_copy(each) for each in value] if isinstance(value, list) else value
