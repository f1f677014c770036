"""Statuses of every type, as the API's JSON objects."""

import base64
import uuid
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal, Protocol

import attrs

from greenapi_async.simulator._downloads import Media

Kind = Literal["text", "image", "video", "audio", "deleted"]


class HasId(Protocol):
    """A status as a client receives it."""

    @property
    def id_message(self) -> str:
        """The API's id."""


@attrs.frozen(kw_only=True)
class _MediaKind:
    type_message: str
    file: str
    mime_type: str
    thumbnails: tuple[str, ...] = ()


_SCENES = ("thumbnail-dawn.jpg", "thumbnail-meadow.jpg", "thumbnail-sea.jpg", "thumbnail-night.jpg")
_MEDIA = {
    "image": _MediaKind(
        type_message="imageMessage", file="photo.jpg", mime_type="image/jpeg", thumbnails=_SCENES
    ),
    "video": _MediaKind(
        type_message="videoMessage", file="video.mp4", mime_type="video/mp4", thumbnails=_SCENES
    ),
    "audio": _MediaKind(type_message="audioMessage", file="audio.ogg", mime_type="audio/ogg; codecs=opus"),
}


@attrs.frozen(kw_only=True)
class Content:
    """The fields that depend on the type of status, and its file by name, if any."""

    type_message: str
    fields: dict[str, Any]
    media: dict[str, Media] = attrs.field(factory=dict)


def content(kind: Kind, *, text: str, caption: str, media_url: str, number: int) -> Content:
    """Build the fields that depend on the kind of status; `number` selects the thumbnail."""
    if kind == "text":
        extended = {"text": text, "backgroundColor": "#228B22", "font": "SANS_SERIF"}
        fields = {"textMessage": text, "extendedTextMessage": extended}
        return Content(type_message="extendedTextMessage", fields=fields)

    if kind == "deleted":
        return Content(type_message="deletedMessage", fields={})

    if kind not in _MEDIA:
        raise ValueError(f"kind must be one of text, image, video, audio, deleted, not {kind!r}")

    return _media_content(_MEDIA[kind], caption=caption, media_url=media_url, number=number)


def id_to_delete(kind: Kind, of: str | Mapping[str, Any] | HasId | None) -> str | None:
    """Return the id of the status that a `"deleted"` one deletes, or None for another kind.

    Raises:
        TypeError: it is neither a status nor an id.
        ValueError: it is missing, given for a kind that deletes nothing, or has no id.
    """
    if kind != "deleted":
        if of is not None:
            raise ValueError(f'of= names the status that a "deleted" one deletes, and {kind!r} deletes none')

        return None

    if of is None:
        raise ValueError(
            'post("deleted") needs of=, the status to delete: what post returned, one that a client received, or its id'
        )

    id_message = of.get("idMessage", "") if isinstance(of, Mapping) else getattr(of, "id_message", of)
    if not isinstance(id_message, str):
        raise TypeError(f"of= is the status to delete or its idMessage, not {of!r}")

    if not id_message:
        raise ValueError("of= has no idMessage, so nothing can delete it")

    return id_message


def status(
    content: Content, *, id_message: str, timestamp: int, sender: str, names: dict[str, str | None]
) -> dict[str, Any]:
    """Build the complete status, its fields in the order of the vendor's samples."""
    return {
        "type": "incoming",
        "idMessage": id_message,
        "timestamp": timestamp,
        "typeMessage": content.type_message,
        "chatId": sender,
        **content.fields,
        "senderId": sender,
        **names,
    }


def _media_content(kind: _MediaKind, *, caption: str, media_url: str, number: int) -> Content:
    name = f"{uuid.uuid4()}.{kind.file.rpartition('.')[2]}"
    thumbnail = kind.thumbnails[number % len(kind.thumbnails)] if kind.thumbnails else None
    fields = {
        "downloadUrl": f"{media_url}/{name}",
        "caption": caption,
        "fileName": name,
        "jpegThumbnail": base64.b64encode(_load(thumbnail)).decode() if thumbnail else "",
        "mimeType": kind.mime_type,
    }

    return Content(
        type_message=kind.type_message,
        fields=fields,
        media={name: Media(content=_load(kind.file), content_type=kind.mime_type)},
    )


@cache
def _load(file: str) -> bytes:
    return resources.files("greenapi_async.simulator").joinpath("media", file).read_bytes()
