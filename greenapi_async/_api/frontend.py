"""Front ends that respond in place of the API, recognized by their web page or login prompt. Pure."""

import re
from collections.abc import Mapping

_CHARSET = r"(?ai)charset\s*=\s*[\"']?([\w.:-]+)"
_LONGEST_TITLE = 1024


def page_title(headers: Mapping[str, str], body: bytes) -> str | None:
    """Return the title of a web page, possibly empty, or None if the body is not a page: the API sends JSON."""
    text = body.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text.startswith(b"<"):  # Plain text is the API's own, whatever type it is labelled with.
        return None

    folded = text.lower()
    _, _, after = folded.partition(b"<title")
    _, _, title = after.partition(b">")
    end = title.find(b"</title")
    if not 0 <= end <= _LONGEST_TITLE:
        return ""

    import html  # noqa: PLC0415 - its table of entities is a twentieth of our import, and hardly ever needed.

    start = len(text) - len(title)
    return html.unescape(_decoded(text[start : start + end], headers.get("content-type", ""), text))


def wants_login(headers: Mapping[str, str]) -> str:
    """Return the login that a front end requires, in its own words, or nothing: the API never requires one."""
    return headers.get("www-authenticate", "")


def _decoded(title: bytes, content_type: str, page: bytes) -> str:
    """Return the title decoded with the declared charset, or as UTF-8."""
    head = page[:_LONGEST_TITLE].decode(errors="replace")
    declared = re.search(_CHARSET, content_type) or re.search(_CHARSET, head)
    try:
        return title.decode(declared[1] if declared else "utf-8", errors="replace")
    except (LookupError, ValueError):
        return title.decode(errors="replace")
