"""JSON as the simulator writes it: compact, unescaped, always valid UTF-8."""

import json
from typing import Any


def encode(value: Any) -> bytes:
    """Return the value as JSON, or bytes unchanged.

    A lone surrogate, which UTF-8 cannot encode, is escaped.
    """
    if isinstance(value, bytes):
        return value

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    return text.encode("utf-8", "backslashreplace")


def decode(body: bytes) -> Any:
    """Return the JSON value of a body, even if it contains invalid UTF-8."""
    return json.loads(body.decode("utf-8", "surrogateescape"))
