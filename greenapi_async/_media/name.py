"""What a saved status is called: a name of our own making, that no stranger's text can bend. Pure."""

import hashlib
import re

from greenapi_async.models import Status

_PLAIN_SENDER = re.compile(r"([0-9]{1,32})@(?:c\.us|(lid))")
_PLAIN_ID = re.compile(r"[0-9A-Z]{1,64}")
_UNSAFE = re.compile(r"[^A-Za-z0-9]+")


def stem(status: Status) -> str:
    """Return a file name without an extension: `20261122T215800Z_79001234567_3EB0C431C26A1916E07A`.

    Two statuses never get one name, on a file system that ignores case neither: what is not plain digits or
    capitals is cut to them and carries a hash of the whole.
    """
    sender, key = status.sender_id or status.chat_id, status.key
    posted_at = f"{status.posted_at:%Y%m%dT%H%M%SZ}"
    plain_sender = _PLAIN_SENDER.fullmatch(sender)

    if plain_sender and _PLAIN_ID.fullmatch(key):
        return f"{posted_at}_{''.join(filter(None, plain_sender.groups()))}_{key}"

    whole = hashlib.sha256(f"{len(sender)} {sender}{key}".encode(errors="surrogatepass")).hexdigest()
    return f"{posted_at}_{_cut(sender)}_{_cut(key)}-{whole[:32]}"


def _cut(text: str) -> str:
    return _UNSAFE.sub("_", text[:40]).strip("_")
