"""Everything that goes wrong with the API, at random, for hours."""

import random
from typing import Any, Final

import anyio

from greenapi_async.simulator._api import Api
from greenapi_async.simulator._json import encode
from greenapi_async.simulator.faults import (
    Answer,
    Bomb,
    Delay,
    Drip,
    Endless,
    Fault,
    IgnoreMinutes,
    Refuse,
    Reset,
    Spoil,
    Truncate,
)

_IN_STOCK = 50  # More than one client asks between two posts.
_CALM = 0.4
_PORTAL = "<html><body>Welcome to our Wi-Fi. Please log in.</body></html>"
_REASON = "instance is starting or not authorized"
_SENDERS = ("79001234567@c.us", "79007654321@c.us", "971501234567@c.us", "120650379300963@lid")
_TEXTS = (
    "Доброе утро! ☀️",
    "صباح الخير",
    "בוקר טוב 👩‍👩‍👧",
    "\x1b[2J\x1b]0;title\x07",
    "a\r\nb\u202ec\u2066",
    "",
)
_LATE = (0, 0, 0, 60, 1_000, 3_600, 9_100, 86_400, -3_600)

# Each goes on for some answers. What time cannot heal comes alone, as a poller gives up at the third in a row.
SPELLS: Final[dict[str, tuple[Fault | None, ...]]] = {
    "delay": (Delay(2.0),),
    "delay for too long": (Delay(90.0),),
    "drip": (Drip(),),
    "reset before the headers": (Reset(),),
    "reset after the headers": (Reset(after_headers=True),),
    "truncated": (Truncate(),),
    "truncated chunks": (Truncate(framing="chunked"),),
    "truncated until closed": (Truncate(framing="close"),),
    "stale keep-alive": (Truncate(1.0),),
    "endless body": (Endless(), None),
    "endless headers": (Endless("headers"),),
    "gzip bomb": (Bomb(), None),
    "bad gateways": (Refuse(502), Refuse(503), Refuse(504)),
    "internal error": (Refuse(500),),
    "gave up waiting": (Refuse(499),),
    "rate limit": (Refuse(429),) * 5,
    "wrong token": (Refuse(401), None),
    "access denied": (Refuse(403), None),
    "wrong address": (Refuse(404), None),
    "quota": (Refuse(466), None),
    "not authorized": (Refuse(400), None),
    "captive portal": (Answer(_PORTAL, {"Content-Type": "text/html"}),),
    "redirect": (Answer("", {"Location": "https://wifi.example/login"}, 302),),
    "null": (Answer(None),),
    "object": (Answer({}),),
    "starting": (Answer({"status": False, "reason": _REASON}),),
    "empty": (Answer(""),),
    "broken UTF-8": (Answer(b'{"reason":"\xff\xc3"}'),),
    "deep nesting": (Answer("[" * 100_000),),
    "twice the same": (Spoil(items=lambda items: items * 2),),
    "another order": (Spoil(items=lambda items: items[::-1]),),
    "no Date": (Spoil({"Date": None}),),
    "Date that is none": (Spoil({"Date": "yesterday"}),),
    "Date of the past": (Spoil({"Date": "Wed, 01 Jan 2020 00:00:00 GMT"}),),
    "cached": (Spoil({"Age": "3600"}),),
    "minutes ignored": (IgnoreMinutes(2880),),
}

# Fields that make a status malformed, or of an unknown type; None removes one.
_ODD: Final[tuple[dict[str, Any], ...]] = (
    {"idMessage": None},
    {"idMessage": ""},
    {"idMessage": 7},
    {"timestamp": "1731500000"},
    {"timestamp": 1731500000.5},
    {"timestamp": 1731500000000},
    {"timestamp": -1},
    {"timestamp": None},
    {"typeMessage": "stickerMessage"},
    {"typeMessage": None},
    {"chatId": None},
    {"chatId": {}},
    {"senderName": 5},
    {"textMessage": ["a"]},
    {"extendedTextMessage": "a"},
)


async def chaos(api: Api, seed: int, *, every: float = 5.0) -> None:
    """Post statuses for ever, one every `every` seconds, while more than half of all answers go wrong.

    Some statuses are late or dated in the future, some malformed, some hold what a terminal acts on. Every fault
    there is has its turn, and all of it comes in the order of the seed. The first answer is a regular one.
    What time cannot heal, such as 401, comes once at a time, so a poller lives through it.
    """
    faults = random.Random(f"faults {seed}")  # noqa: S311 - a seed is to be played again.
    posts = random.Random(f"posts {seed}")  # noqa: S311
    api.faults.append(None)

    while True:
        while len(api.faults) < _IN_STOCK:
            api.faults.extend((None,) if faults.random() < _CALM else faults.choice(list(SPELLS.values())))

        _post(api, posts)
        await anyio.sleep(every)


def _post(api: Api, dice: random.Random) -> None:
    number = f"{dice.getrandbits(128):032X}"
    usual: dict[str, Any] = {
        "idMessage": number,
        "text": f"{dice.choice(_TEXTS)}{number[:4]}",
        "sender": dice.choice(_SENDERS),
        "late": dice.choice(_LATE),
    }

    match dice.randrange(12):
        case 0 | 1:
            api.post("text", **usual | dice.choice(_ODD))
        case 2:
            api.post_raw(dice.choice((number, [number], [[[{"a": number}]]], {"Ключ": number})))
        case 3:
            item = encode({"idMessage": number, "typeMessage": "extendedTextMessage", "chatId": "1@c.us"})
            api.post_raw(item[:-1] + b',"timestamp":%d,"senderName":"\xff\xc3"}' % api.clock())
        case 4:
            api.post("deleted", of=number, **usual)
        case 5 | 6 | 7:
            api.post(dice.choice(("image", "video", "audio")), **usual)
        case _:
            api.post("text", **usual)
