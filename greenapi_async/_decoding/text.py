"""JSON as text, read more leniently than the standard: one odd byte must not lose what is around it."""

import json
import math
from typing import Any

from greenapi_async.errors import DecodeError


def loads(text: str) -> Any:
    """Return a JSON value; raw control characters in strings are accepted, and numbers too large are kept as text.

    Raises:
        ValueError: it is not JSON.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, parse_int=_parse_int, parse_float=_parse_float, parse_constant=str, strict=False)


def parse(body: bytes) -> Any:
    """Return the JSON value of a body, or None if it is empty.

    Bytes that are not UTF-8 become U+FFFD.

    Raises:
        DecodeError: the body is not JSON.
    """
    text = body.decode("utf-8-sig", errors="replace").strip()
    try:
        return loads(text) if text else None
    except RecursionError:
        raise DecodeError("the response is not JSON: it is nested too deeply") from None
    except json.JSONDecodeError as error:
        problem = f"{error.msg} at character {error.pos} of {len(text)}"
        if text.startswith("<"):
            problem = "it is a web page, probably from a proxy or a captive portal"

        raise DecodeError(f"the response is not JSON: {problem}") from None


def loads_object(text: str) -> dict[str, Any]:
    """Return the JSON object in a text, or an empty one for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}

    return value if isinstance(value, dict) else {}


def _parse_int(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:  # Python refuses to parse thousands of digits.
        return digits


def _parse_float(literal: str) -> float | str:
    number = float(literal)
    return number if math.isfinite(number) else literal
