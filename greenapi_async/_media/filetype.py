"""What type of file a status declares, and what its first bytes show. Pure."""

from typing import Final

from greenapi_async.models import AudioStatus, ImageStatus, VideoStatus

HEAD_SIZE: Final = 512
"""How many of a file's first bytes identify its type."""

_EXTENSIONS = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/heic": ".heic",
    "video/mp4": ".mp4",
    "video/3gpp": ".3gp",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
    "audio/ogg": ".ogg",
    "audio/mpeg": ".mp3",
    "audio/mp4": ".m4a",
    "audio/aac": ".aac",
    "audio/amr": ".amr",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "application/pdf": ".pdf",
}
# What WhatsApp converts uploads to, as the API does not always send the type.
_DEFAULTS = {"image": "image/jpeg", "video": "video/mp4", "audio": "audio/ogg"}

_IMAGE = frozenset({"image"})
_AUDIO = frozenset({"audio"})
_AUDIO_OR_VIDEO = frozenset({"audio", "video"})
_MAGIC: tuple[tuple[int, bytes, frozenset[str]], ...] = (
    (0, b"\xff\xd8\xff", _IMAGE),
    (0, b"\x89PNG\r\n\x1a\n", _IMAGE),
    (0, b"GIF8", _IMAGE),
    (8, b"WEBP", _IMAGE),
    (4, b"ftyphei", _IMAGE),
    (4, b"ftypmif1", _IMAGE),
    (4, b"ftypavif", _IMAGE),
    (4, b"ftyp", _AUDIO_OR_VIDEO),  # mp4, mov, 3gp, m4a
    (0, b"\x1aE\xdf\xa3", _AUDIO_OR_VIDEO),  # webm, mkv
    (0, b"OggS", _AUDIO_OR_VIDEO),
    (0, b"ID3", _AUDIO),
    *((0, bytes([0xFF, second]), _AUDIO) for second in (0xF1, 0xF2, 0xF3, 0xF9, 0xFA, 0xFB)),  # mp3, aac
    (0, b"#!AMR", _AUDIO),
    (8, b"WAVE", _AUDIO),
    (0, b"%PDF-", frozenset({"application"})),
)
_TEXT_BYTES = bytes({*range(0x20, 0x100), *b"\t\n\f\r"} - {0x7F})


def extension(status: ImageStatus | VideoStatus | AudioStatus) -> str:
    """Return the file name extension, `.bin` for an unknown MIME type."""
    return _EXTENSIONS.get(_mime_type(status), ".bin")


def mismatch(status: ImageStatus | VideoStatus | AudioStatus, head: bytes) -> str | None:
    """Return why a file with this head cannot be the status' file, or None if it can.

    A related format is accepted: a PNG declared as JPEG is still a picture. Text never is.
    """
    if not head:
        return "it is empty"

    families = _families(head)
    if families is None and not head.translate(None, _TEXT_BYTES):
        return "it is text, such as an error page"

    mime_type = _mime_type(status)
    if mime_type in _EXTENSIONS and mime_type.partition("/")[0] not in (families or ()):
        return f"its first bytes are not those of {mime_type}"

    return None


def _mime_type(status: ImageStatus | VideoStatus | AudioStatus) -> str:
    declared = (status.mime_type or "").partition(";")[0].strip().lower()
    return declared or _DEFAULTS[status.kind]


def _families(head: bytes) -> frozenset[str] | None:
    found = (families for offset, magic, families in _MAGIC if head[offset:].startswith(magic))
    return next(found, None)
