"""Responses as the API sends them: two texts for every two pictures, with thumbnails, the same in every run."""

import base64
import functools
import json
import random
from typing import Any

FIRST = 1_760_000_000
DAY = 86_400

_KINDS = {"extendedTextMessage": 40, "imageMessage": 40, "videoMessage": 15, "audioMessage": 5}
_MIME_TYPES = {
    "imageMessage": "image/jpeg",
    "videoMessage": "video/mp4",
    "audioMessage": "audio/ogg; codecs=opus",
}
_THUMBNAIL = 3072 * 3 // 4  # Bytes; 3 KB once they are base64.
_NAMES = ("Аня", "Коля 🚲", "Магазин «Пион» 🌷", "Dr. G", "Мама ❤️")
_TEXTS = (
    "Доброе утро! ☀️",
    "Открыты до девяти, сегодня розы по сотне 🌹🌹🌹",
    "Рассвет над рекой 🌅",
    "Кто на дачу в субботу? Есть два места 🚗",
    "New in the shop 💐",
)


@functools.cache
def body(count: int) -> bytes:
    """Return a response with that many statuses, one for each second."""
    return dumps(statuses(range(FIRST, FIRST + count)))


@functools.cache
def with_unknown_fields(count: int) -> bytes:
    """Return a response in which each status has a field that this version does not know."""
    return dumps([each | {"isForwarded": False} for each in statuses(range(FIRST, FIRST + count))])


@functools.cache
def with_odd_items(count: int) -> bytes:
    """Return a response in which every hundredth status is of a kind that this version does not know."""
    odd = {"typeMessage": "stickerMessage"}
    each = enumerate(statuses(range(FIRST, FIRST + count)))
    return dumps([item | odd if number % 100 == 50 else item for number, item in each])


def count_for(size: int) -> int:
    """Return how many statuses make a response of about that many bytes."""
    return size * 500 // len(body(500))


def statuses(timestamps: "range | list[int]") -> list[dict[str, Any]]:
    """Return a status for each of the timestamps."""
    dice = random.Random(7)
    return [_status(dice, timestamp) for timestamp in timestamps]


def dumps(items: list[dict[str, Any]]) -> bytes:
    """Return the response that holds the items."""
    return json.dumps(items, ensure_ascii=False, separators=(",", ":")).encode()


def _status(dice: random.Random, timestamp: int) -> dict[str, Any]:
    [type_message] = dice.choices(list(_KINDS), list(_KINDS.values()))
    phone = f"79{dice.randrange(10**9):09}@c.us"
    name = dice.choice(_NAMES)
    content = _text(dice) if type_message == "extendedTextMessage" else _media(dice, type_message)
    return {
        "type": "incoming",
        "idMessage": f"{dice.getrandbits(128):032X}",
        "timestamp": timestamp,
        "typeMessage": type_message,
        "chatId": phone,
        **content,
        "senderId": phone,
        "senderName": name,
        "senderContactName": name,
    }


def _text(dice: random.Random) -> dict[str, Any]:
    text = dice.choice(_TEXTS)
    look = {"text": text, "backgroundColor": "#228B22", "font": "SANS_SERIF"}
    return {"textMessage": text, "extendedTextMessage": look}


def _media(dice: random.Random, type_message: str) -> dict[str, Any]:
    name = f"{dice.getrandbits(128):032x}.bin"
    has_picture = type_message != "audioMessage"
    thumbnail = base64.b64encode(dice.randbytes(_THUMBNAIL)).decode() if has_picture else ""
    return {
        "downloadUrl": f"https://sw-media.storage.greenapi.net/1101000000/{name}",
        "caption": dice.choice(_TEXTS) if has_picture else "",
        "fileName": name,
        "jpegThumbnail": thumbnail,
        "mimeType": _MIME_TYPES[type_message],
    }
