"""A short stream of statuses that shows every type."""

from collections.abc import Iterator
from typing import TypedDict

import anyio

from greenapi_async.simulator._api import Api


class _Sender(TypedDict):
    sender: str
    sender_name: str
    sender_contact_name: str


_ANNA = _Sender(sender="79001234567@c.us", sender_name="Анна", sender_contact_name="Аня")
_NIKOLAI = _Sender(sender="79007654321@c.us", sender_name="Николай", sender_contact_name="Коля")
_SHOP = _Sender(sender="120650379300963@lid", sender_name="Flower Shop 🌷", sender_contact_name="")
_LAYLA = _Sender(sender="971501234567@c.us", sender_name="ليلى", sender_contact_name="ليلى حداد")
_NOA = _Sender(sender="972541234567@c.us", sender_name="נועה", sender_contact_name="נועה לוי")


async def demo(api: Api, *, every: float = 1.0) -> None:
    """Post ten statuses, one every `every` seconds, and return.

    They include every type, an unknown type, a deletion of an earlier status, one that is ten minutes late,
    names and texts in Cyrillic, Arabic, Hebrew and emoji, and a sender known only by a LID.
    """
    for _ in _posts(api):
        await anyio.sleep(every)


def _posts(api: Api) -> Iterator[str]:
    """Post one status per step, and yield its id."""
    yield api.post("text", text="Доброе утро! ☀️", **_ANNA)["idMessage"]
    yield api.post("image", caption="Рассвет над рекой", **_NIKOLAI)["idMessage"]
    yield api.post("video", caption="New in the shop 💐", **_SHOP)["idMessage"]
    mistaken = api.post("text", text="صباح الخير", **_LAYLA)["idMessage"]
    yield mistaken
    yield api.post("audio", **_NOA)["idMessage"]
    yield api.post("deleted", of=mistaken, **_LAYLA)["idMessage"]
    yield api.post("image", caption="بحر دبي 🌊", **_LAYLA)["idMessage"]
    yield api.post("text", **_SHOP, typeMessage="stickerMessage", textMessage=None, extendedTextMessage=None)[
        "idMessage"
    ]
    yield api.post("text", text="Был без связи, догоняю 🚆", late=600.0, **_NIKOLAI)["idMessage"]
    yield api.post("text", text="בוקר טוב! 🌻", **_NOA)["idMessage"]
