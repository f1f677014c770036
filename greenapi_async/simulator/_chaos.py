"""Everything that can go wrong with the API, at random, for hours."""

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

_QUEUED_FAULTS = 50  # More than a client sends between two posts.
_REGULAR_SHARE = 0.4
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

# Each lasts for a few responses. Refusals come singly: a scripted one that lasts ends the poller.
SCENARIOS: Final[dict[str, tuple[Fault | None, ...]]] = {
    "delay": (Delay(2.0),),
    "delay past the timeout": (Delay(90.0),),
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
    "client closed request": (Refuse(499),),
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
    "duplicates": (Spoil(items=lambda items: items * 2),),
    "reversed order": (Spoil(items=lambda items: items[::-1]),),
    "no Date": (Spoil({"Date": None}),),
    "invalid Date": (Spoil({"Date": "yesterday"}),),
    "Date in the past": (Spoil({"Date": "Wed, 01 Jan 2020 00:00:00 GMT"}),),
    "cached": (Spoil({"Age": "3600"}),),
    "minutes ignored": (IgnoreMinutes(2880),),
}

# Fields that make a status malformed or its type unknown; None removes one.
_INVALID_FIELDS: Final[tuple[dict[str, Any], ...]] = (
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
    """Post statuses for ever, one every `every` seconds, while more than half of all responses are faulty.

    Some statuses are late or dated in the future, some malformed, some contain terminal control characters. Every
    kind of fault occurs, in an order that depends only on `seed`. The first response is regular. Errors that are
    not retryable, such as 401, come singly, so a poller survives them.
    """
    faults = random.Random(f"faults {seed}")  # noqa: S311 - a seed must be reproducible.
    posts = random.Random(f"posts {seed}")  # noqa: S311
    api.faults.append(None)

    while True:
        while len(api.faults) < _QUEUED_FAULTS:
            api.faults.extend(
                (None,) if faults.random() < _REGULAR_SHARE else faults.choice(list(SCENARIOS.values()))
            )

        _post(api, posts)
        await anyio.sleep(every)


def _post(api: Api, rng: random.Random) -> None:
    number = f"{rng.getrandbits(128):032X}"
    fields: dict[str, Any] = {
        "idMessage": number,
        "text": f"{rng.choice(_TEXTS)}{number[:4]}",
        "sender": rng.choice(_SENDERS),
        "late": rng.choice(_LATE),
    }

    match rng.randrange(12):
        case 0 | 1:
            api.post("text", **fields | rng.choice(_INVALID_FIELDS))
        case 2:
            api.post_raw(rng.choice((number, [number], [[[{"a": number}]]], {"Ключ": number})))
        case 3:
            item = encode({"idMessage": number, "typeMessage": "extendedTextMessage", "chatId": "1@c.us"})
            api.post_raw(item[:-1] + b',"timestamp":%d,"senderName":"\xff\xc3"}' % api.clock())
        case 4:
            api.post("deleted", of=number, **fields)
        case 5 | 6 | 7:
            api.post(rng.choice(("image", "video", "audio")), **fields)
        case _:
            api.post("text", **fields)
