"""The posted items, and which of them a response contains."""

from collections.abc import Collection
from typing import Any, TypeGuard

import attrs

from greenapi_async.simulator._json import encode

RETENTION = 30 * 86_400.0
_MILLISECONDS = 100_000_000_000  # Larger timestamps are in milliseconds: in seconds this is the year 5138.


@attrs.frozen(kw_only=True)
class _Entry:
    wire: bytes
    sender_id: str | None
    timestamp: float
    received_at: float
    early: bytes
    complete_at: float


@attrs.define
class Feed:
    """Keeps items in the order of posting; times are seconds since the epoch."""

    _entries: list[_Entry] = attrs.field(factory=list, init=False)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, item: Any, *, now: float, early: Any = None, complete_at: float = 0.0) -> None:
        """Add any JSON value, encoded now; bytes are sent unchanged. Until `complete_at`, `early` is sent.

        An item without a timestamp in UNIX seconds is dated `now`.
        """
        fields = item if isinstance(item, dict) else {}
        sender_id, timestamp = fields.get("senderId"), fields.get("timestamp")

        self._entries.append(
            _Entry(
                wire=encode(item),
                sender_id=sender_id if isinstance(sender_id, str) else None,
                timestamp=timestamp if _is_seconds(timestamp) else now,
                received_at=now,
                early=encode(early),
                complete_at=complete_at,
            )
        )

    def json_array(self, minutes: int, *, now: float, contacts: Collection[str] | None) -> bytes:
        """Return the JSON array of the items whose timestamp lies in the last `minutes`.

        Items received more than 30 days ago are gone. With `contacts`, only their items are included.
        """
        since, kept_since = now - minutes * 60, now - RETENTION
        included = (
            entry.wire if now >= entry.complete_at else entry.early
            for entry in self._entries
            if entry.timestamp >= since
            and entry.received_at >= kept_since
            and (contacts is None or entry.sender_id in contacts)
        )

        return b"[" + b",".join(included) + b"]"


def _is_seconds(timestamp: object) -> TypeGuard[int]:
    return type(timestamp) is int and 0 <= timestamp < _MILLISECONDS
