"""Names of saved files: generated, so no text from a stranger can influence the path. Pure."""

import hashlib
import re

from greenapi_async.models import Status

_PLAIN_SENDER = re.compile(r"([0-9]{1,32})@(?:c\.us|(lid))")
_PLAIN_ID = re.compile(r"[0-9A-Z]{1,64}")
_UNSAFE = re.compile(r"[^A-Za-z0-9]+")


def stem(status: Status) -> str:
    """Return a file name without an extension: `20261122T215800Z_79001234567_3EB0C431C26A1916E07A`.

    No two statuses share a name, even on a case-insensitive file system: a sender or id that is not plain digits
    and capitals is shortened and sanitized, and a hash of the original is added.
    """
    sender, key = status.sender_id or status.chat_id, status.key
    posted_at = f"{status.posted_at:%Y%m%dT%H%M%SZ}"
    plain_sender = _PLAIN_SENDER.fullmatch(sender)

    if plain_sender and _PLAIN_ID.fullmatch(key):
        return f"{posted_at}_{''.join(filter(None, plain_sender.groups()))}_{key}"

    digest = hashlib.sha256(f"{len(sender)} {sender}{key}".encode(errors="surrogatepass")).hexdigest()
    return f"{posted_at}_{_sanitized(sender)}_{_sanitized(key)}-{digest[:32]}"


def _sanitized(text: str) -> str:
    return _UNSAFE.sub("_", text[:40]).strip("_")
