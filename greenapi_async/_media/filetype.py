"""What a file is to be by its MIME type, and what it is by its first bytes. Pure."""

from typing import Final

from greenapi_async.models import AudioStatus, ImageStatus, VideoStatus

HEAD: Final = 512
"""How many of a file's first bytes tell what it is."""

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
# What WhatsApp makes of every upload, for the API does not always name the type.
_USUAL = {"image": "image/jpeg", "video": "video/mp4", "audio": "audio/ogg"}

_IMAGE = frozenset({"image"})
_AUDIO = frozenset({"audio"})
_FILM = frozenset({"audio", "video"})
_MAGIC: tuple[tuple[int, bytes, frozenset[str]], ...] = (
    (0, b"\xff\xd8\xff", _IMAGE),
    (0, b"\x89PNG\r\n\x1a\n", _IMAGE),
    (0, b"GIF8", _IMAGE),
    (8, b"WEBP", _IMAGE),
    (4, b"ftyphei", _IMAGE),
    (4, b"ftypmif1", _IMAGE),
    (4, b"ftypavif", _IMAGE),
    (4, b"ftyp", _FILM),  # mp4, mov, 3gp, m4a
    (0, b"\x1aE\xdf\xa3", _FILM),  # webm, mkv
    (0, b"OggS", _FILM),
    (0, b"ID3", _AUDIO),
    *((0, bytes([0xFF, second]), _AUDIO) for second in (0xF1, 0xF2, 0xF3, 0xF9, 0xFA, 0xFB)),  # mp3, aac
    (0, b"#!AMR", _AUDIO),
    (8, b"WAVE", _AUDIO),
    (0, b"%PDF-", frozenset({"application"})),
)
_TEXT = bytes({*range(0x20, 0x100), *b"\t\n\f\r"} - {0x7F})


def extension(status: ImageStatus | VideoStatus | AudioStatus) -> str:
    """Return the file name's end, `.bin` for a MIME type that this version does not know."""
    return _EXTENSIONS.get(_mime_type(status), ".bin")


def contradiction(status: ImageStatus | VideoStatus | AudioStatus, head: bytes) -> str | None:
    """Tell why a file that begins so cannot be the status', or return None.

    A kindred format is fine: a PNG that is called a JPEG is still somebody's picture. Text never is.
    """
    if not head:
        return "it is empty"

    families = _families(head)
    if families is None and not head.translate(None, _TEXT):
        return "it is a text, as an error page is"

    mime_type = _mime_type(status)
    if mime_type in _EXTENSIONS and mime_type.partition("/")[0] not in (families or ()):
        return f"it does not begin as {mime_type} does"

    return None


def _mime_type(status: ImageStatus | VideoStatus | AudioStatus) -> str:
    named = (status.mime_type or "").partition(";")[0].strip().lower()
    return named or _USUAL[status.kind]


def _families(head: bytes) -> frozenset[str] | None:
    found = (families for offset, magic, families in _MAGIC if head[offset:].startswith(magic))
    return next(found, None)
