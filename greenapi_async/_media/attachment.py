"""What a status says about its file: its address and type, if it has one. Pure."""

from collections.abc import Mapping
from typing import Any, TypeGuard

import attrs

from greenapi_async._http.failures import printable
from greenapi_async.errors import MediaError
from greenapi_async.models import MediaStatus, Status, UnknownStatus

# What WhatsApp converts uploads to, as the API does not always send the type.
_DEFAULTS = {
    "image": "image/jpeg",
    "imageMessage": "image/jpeg",
    "video": "video/mp4",
    "videoMessage": "video/mp4",
    "ptvMessage": "video/mp4",
    "audio": "audio/ogg",
    "audioMessage": "audio/ogg",
}


@attrs.frozen(kw_only=True)
class Attachment:
    """The file of a status.

    Attributes:
        url: where it is, or a marker in place of an address, or an empty string.
        mime_type: in lower case, without parameters; empty if neither sent nor usual for the kind.
    """

    url: str
    mime_type: str

    @property
    def may_come(self) -> bool:
        """Whether there is no address yet, but may be later."""
        return not self.url or (self.url.startswith("{{") and not self._is_too_big)

    def address(self) -> str:
        """Return the address.

        Raises:
            MediaError: there is none.
        """
        if self._is_too_big:
            raise MediaError("the file is too big for the API, which did not keep it: view it on the phone")

        if self.may_come:
            raise MediaError(f"the API sent no download URL (got {printable(self.url) or 'nothing'})")

        return self.url

    @property
    def _is_too_big(self) -> bool:
        return "{{SWE002}}" in self.url


def attachment(status: Status) -> Attachment | None:
    """Return the file of a status, or None if it has none and never will.

    An `UnknownStatus` may have one too: its kind is new, or one of its other fields is odd.
    """
    if isinstance(status, MediaStatus):
        return _attachment(status.download_url, status.mime_type, status.kind)

    if not isinstance(status, UnknownStatus) or not isinstance(status.raw, Mapping):
        return None

    url, kind = status.raw.get("downloadUrl"), status.type_message or ""
    if isinstance(url, str) or kind in _DEFAULTS:
        return _attachment(url, status.raw.get("mimeType"), kind)

    return None


def has_file(status: Status) -> TypeGuard[MediaStatus | UnknownStatus]:
    """Return whether a status has a file, or may have one later."""
    return attachment(status) is not None


def _attachment(url: Any, mime_type: Any, kind: str) -> Attachment:
    declared = mime_type.partition(";")[0].strip().lower() if isinstance(mime_type, str) else ""
    return Attachment(
        url=url.strip() if isinstance(url, str) else "", mime_type=declared or _DEFAULTS.get(kind, "")
    )
