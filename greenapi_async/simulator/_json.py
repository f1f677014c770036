"""JSON as the simulator writes it: compact, not escaped, always valid UTF-8."""

import json
from typing import Any


def encode(value: Any) -> bytes:
    """Return the value as JSON, bytes as they are.

    Half a surrogate pair, which UTF-8 cannot hold, comes out as its escape.
    """
    if isinstance(value, bytes):
        return value

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    return text.encode("utf-8", "backslashreplace")


def decode(body: bytes) -> Any:
    """Return the value of a body that was posted, broken UTF-8 in it or not."""
    return json.loads(body.decode("utf-8", "surrogateescape"))
