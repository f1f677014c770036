"""Async client and poller for GREEN-API's incoming WhatsApp statuses: every new status once, none lost.

PYTEST_DONT_REWRITE: pytest must not warn about it if a program imported it before `pytest.main`.
"""

from typing import TYPE_CHECKING

from greenapi_async._decoding.statuses import from_dict, to_dict
from greenapi_async.client import AsyncStatusesClient
from greenapi_async.errors import (
    AccessDeniedError,
    AuthenticationError,
    BadRequestError,
    BodyTooLargeError,
    ClientClosedError,
    ConfigurationError,
    DecodeError,
    DirectoryError,
    GreenApiError,
    InstanceNotReadyError,
    MediaError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    ResponseError,
    RetentionGapError,
    ServerError,
    StoreError,
    TransportError,
    UnexpectedRedirectError,
)
from greenapi_async.events import Event, GapDetected, Health, Polled, PollFailed, Recovered
from greenapi_async.models import (
    AudioStatus,
    DeletedStatus,
    ExtendedTextMessage,
    ImageStatus,
    MediaStatus,
    Status,
    TextStatus,
    UnknownStatus,
    VideoStatus,
)
from greenapi_async.poller import Batch, StatusPoller
from greenapi_async.stores import Checkpoint, MemoryStore, SQLiteStore, Store

if TYPE_CHECKING:
    from greenapi_async.fleet import Fleet, InstanceBatch
else:

    def __getattr__(name: str) -> object:
        """Load the fleet when it is first named: most programs poll one instance."""
        if name not in {"Fleet", "InstanceBatch"}:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

        from greenapi_async import fleet  # noqa: PLC0415

        return getattr(fleet, name)


__version__ = "0.2.0"

__all__ = [
    "AccessDeniedError",
    "AsyncStatusesClient",
    "AudioStatus",
    "AuthenticationError",
    "BadRequestError",
    "Batch",
    "BodyTooLargeError",
    "Checkpoint",
    "ClientClosedError",
    "ConfigurationError",
    "DecodeError",
    "DeletedStatus",
    "DirectoryError",
    "Event",
    "ExtendedTextMessage",
    "Fleet",
    "GapDetected",
    "GreenApiError",
    "Health",
    "ImageStatus",
    "InstanceBatch",
    "InstanceNotReadyError",
    "MediaError",
    "MediaStatus",
    "MemoryStore",
    "NotFoundError",
    "PollFailed",
    "Polled",
    "QuotaExceededError",
    "RateLimitedError",
    "Recovered",
    "ResponseError",
    "RetentionGapError",
    "SQLiteStore",
    "ServerError",
    "Status",
    "StatusPoller",
    "Store",
    "StoreError",
    "TextStatus",
    "TransportError",
    "UnexpectedRedirectError",
    "UnknownStatus",
    "VideoStatus",
    "from_dict",
    "to_dict",
]
