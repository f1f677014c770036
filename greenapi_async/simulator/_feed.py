"""What was posted, and which of it an answer shows."""

from collections.abc import Collection
from typing import Any, TypeGuard

import attrs

from greenapi_async.simulator._json import encode

RETENTION = 30 * 86_400.0
_MILLISECONDS = 100_000_000_000  # From here on a timestamp counts these: in seconds it is the year 5138.


@attrs.frozen(kw_only=True)
class _Entry:
    wire: bytes
    sender_id: str | None
    timestamp: float
    received_at: float


@attrs.define
class Feed:
    """Keeps items in the order they came; times are seconds since the epoch."""

    _entries: list[_Entry] = attrs.field(factory=list, init=False)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, item: Any, *, now: float) -> None:
        """Put any JSON value on the feed, as it is at this moment; bytes go out as they are.

        What has no timestamp in UNIX seconds shows by when it was received.
        """
        fields = item if isinstance(item, dict) else {}
        sender_id, timestamp = fields.get("senderId"), fields.get("timestamp")

        self._entries.append(
            _Entry(
                wire=encode(item),
                sender_id=sender_id if isinstance(sender_id, str) else None,
                timestamp=timestamp if _is_seconds(timestamp) else now,
                received_at=now,
            )
        )

    def answer(self, minutes: int, *, now: float, contacts: Collection[str] | None) -> bytes:
        """Return the JSON array of the items whose timestamp lies in the last `minutes`.

        What was received more than 30 days ago is gone. Where `contacts` is given, only their items show.
        """
        since, kept_since = now - minutes * 60, now - RETENTION
        shown = (
            entry.wire
            for entry in self._entries
            if entry.timestamp >= since
            and entry.received_at >= kept_since
            and (contacts is None or entry.sender_id in contacts)
        )

        return b"[" + b",".join(shown) + b"]"


def _is_seconds(timestamp: object) -> TypeGuard[int]:
    return type(timestamp) is int and 0 <= timestamp < _MILLISECONDS
