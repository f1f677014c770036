"""Which statuses `--sender` and `--type` let through."""

import unicodedata
from collections.abc import Sequence
from typing import Final

from greenapi_async.models import Status

KINDS: Final = ("text", "image", "video", "audio", "deleted", "unknown")


def is_wanted(status: Status, *, senders: Sequence[str], kinds: Sequence[str]) -> bool:
    """Return whether a status is from one of the senders and of one of the kinds; an empty list accepts all."""
    return (not kinds or status.kind in kinds) and (
        not senders or any(_is_from(status, sender) for sender in senders)
    )


def _is_from(status: Status, sender: str) -> bool:
    """Return whether a text is part of one of the sender's names, or is the complete id."""
    wanted = _folded(sender)
    names = (status.sender_contact_name, status.sender_name)
    ids = (status.sender_id, status.chat_id)
    return any(wanted in _folded(name) for name in names if name) or wanted in map(_folded, filter(None, ids))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
