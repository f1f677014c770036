"""A status from the wire's JSON object, and back."""

import json
from typing import Any

from greenapi_async._decoding.text import loads
from greenapi_async.models import Status, UnknownStatus


def from_dict(obj: Any) -> Status:
    """Read one status from the wire's JSON object.

    Whatever cannot be read comes as `UnknownStatus`, so nothing is dropped and nothing raised. Half an emoji, which
    UTF-8 has no bytes for, becomes U+FFFD, except in `idMessage`.
    """
    from greenapi_async._decoding.strict import from_dict

    return from_dict(obj)


def to_dict(status: Status) -> Any:
    """Return the wire's JSON object of a status, without what was absent, null or empty.

    `from_dict` of it is the same status. For an `UnknownStatus` it is `raw`, whatever that was.
    """
    from greenapi_async._decoding.converter import write

    return status.raw if isinstance(status, UnknownStatus) else write(status)


def dumps(value: Any) -> str:
    """Return strict JSON on one line, readable in any language; an infinity that a program put in becomes a text."""
    try:
        return _STRICT.encode(value)
    except ValueError:
        return _STRICT.encode(loads(json.dumps(value)))


_STRICT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
