"""What type of file a status declares, and what its first bytes show. Pure."""

import re
from typing import Final

HEAD_SIZE: Final = 512
"""How many of a file's first bytes identify its type."""

_EXTENSIONS = {
    "image/jpeg": ".jpg",
    "image/jpg": ".jpg",
    "image/pjpeg": ".jpg",
    "image/png": ".png",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/heic": ".heic",
    "image/heif": ".heif",
    "image/avif": ".avif",
    "image/bmp": ".bmp",
    "image/tiff": ".tif",
    "video/mp4": ".mp4",
    "video/x-m4v": ".m4v",
    "video/3gpp": ".3gp",
    "video/3gpp2": ".3g2",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
    "video/mpeg": ".mpg",
    "video/x-msvideo": ".avi",
    "audio/ogg": ".ogg",
    "audio/opus": ".opus",
    "audio/mpeg": ".mp3",
    "audio/mp3": ".mp3",
    "audio/mp4": ".m4a",
    "audio/m4a": ".m4a",
    "audio/x-m4a": ".m4a",
    "audio/aac": ".aac",
    "audio/amr": ".amr",
    "audio/3gpp": ".3gp",
    "audio/webm": ".webm",
    "audio/flac": ".flac",
    "audio/wav": ".wav",
    "audio/wave": ".wav",
    "audio/x-wav": ".wav",
    "application/pdf": ".pdf",
}

_IMAGE = frozenset({"image"})
_AUDIO = frozenset({"audio"})
_VIDEO = frozenset({"video"})
_AUDIO_OR_VIDEO = _AUDIO | _VIDEO
_BOX = rb"[\0-\x08]..."  # The size of its first box; a text has no such byte.
_RIFF = rb"RIFF...[\0-\x08]"

# Whatever a browser or VLC opens, the first that fits.
_MAGIC: tuple[tuple[re.Pattern[bytes], frozenset[str]], ...] = tuple(
    (re.compile(pattern, re.DOTALL), families)
    for pattern, families in (
        (rb"\xff\xd8\xff", _IMAGE),
        (rb"\x89PNG\r\n\x1a\n", _IMAGE),
        (rb"GIF8[79]a", _IMAGE),
        (_RIFF + rb"WEBP", _IMAGE),
        (rb"BM....\0{4}", _IMAGE),
        (rb"II\*\0|MM\0\*", _IMAGE),  # tif
        (_BOX + rb"JXL ", _IMAGE),
        (_BOX + rb"ftyp(?:he[iv]|mif|msf|avi[fs]|mia)", _IMAGE),  # heic, avif
        (_BOX + rb"(?:ftyp|styp|moov|moof|mdat|wide|free|skip|pnot)", _AUDIO_OR_VIDEO),  # mp4, mov, 3gp, m4a
        (rb"\0\0[\1\2]\0[^\0]\0", _IMAGE),  # ico
        (rb"\x1aE\xdf\xa3", _AUDIO_OR_VIDEO),  # webm, mkv
        (rb"OggS\0", _AUDIO_OR_VIDEO),
        (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _AUDIO_OR_VIDEO),  # wmv, wma
        (_RIFF + rb"AVI ", _VIDEO),
        (rb"FLV\x01", _VIDEO),
        (rb"\0\0\x01[\xba\xb3]", _VIDEO),  # mpg
        (rb"G(?=[^\0]*\0).{187}G.{187}G", _VIDEO),  # ts
        (rb"ID3[\2-\4]", _AUDIO),
        (rb"\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd]", _AUDIO),  # mp3 and mp2, of MPEG 1, 2 and 2.5
        (rb"\xff[\xf0\xf1\xf8\xf9]", _AUDIO),  # aac
        (rb"#!AMR(?:-WB)?\n", _AUDIO),
        (rb"(?:" + _RIFF + rb"|RF64....)WAVE", _AUDIO),
        (rb"fLaC\0", _AUDIO),
        (rb"FORM[\0-\x08]...AIF[FC]", _AUDIO),
        (rb"%PDF-", frozenset({"application"})),
    )
)
_PLAYED = frozenset({"image", "audio", "video"})
# A program, or something packed, of whatever new type it claims to be.
_CONTRADICTS = re.compile(
    rb"MZ|\x7fELF|\xfe\xed\xfa[\xce\xcf]|[\xce\xcf]\xfa\xed\xfe|\xca\xfe\xba\xbe|dex\n|\0asm"
    rb"|PK[\1\3\5\7]|Rar!|7z\xbc\xaf|\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|%PDF-|\xd0\xcf\x11\xe0"
    rb"|\xff\xfe|\xfe\xff"  # A page of UTF-16.
)
_TEXT_BYTES = bytes({*range(0x20, 0x100), *b"\t\n\f\r"} - {0x7F})


def extension(mime_type: str) -> str:
    """Return the file name extension, `.bin` for an unknown MIME type."""
    return _EXTENSIONS.get(mime_type, ".bin")


def mismatch(mime_type: str, head: bytes) -> str | None:
    """Return why a file with this head cannot be of that type, or None if it can.

    A related format is accepted: a PNG declared as JPEG is still a picture. Text never is.
    """
    if not head:
        return "it is empty"

    families = _families(head)
    if families is None and not head.translate(None, _TEXT_BYTES):
        return "it is text, such as an error page"

    declared = mime_type.partition("/")[0]
    if mime_type in _EXTENSIONS and declared not in (families or ()):
        return f"its first bytes are not those of {mime_type}"

    if declared in {*_PLAYED, ""} and _CONTRADICTS.match(head):
        return f"its first bytes are those of a program or an archive, not of {mime_type or 'media'}"

    return None


def _families(head: bytes) -> frozenset[str] | None:
    return next((families for magic, families in _MAGIC if magic.match(head)), None)
