"""JSON as the simulator writes it: compact, not escaped, always valid UTF-8."""

import json
from typing import Any


def encode(value: Any) -> bytes:
    """Return the value as JSON; half a surrogate pair, which UTF-8 cannot hold, comes out as its escape."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    return text.encode("utf-8", "backslashreplace")
