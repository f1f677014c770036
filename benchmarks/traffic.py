"""What a day of polling receives, against asking for a whole day every time."""

import bisect
import random
from email.utils import formatdate

import httpx
import trio
from trio.testing import MockClock

from benchmarks import _ours, pages
from benchmarks.measuring import Effort, Spread, in_fresh_process
from benchmarks.results import Bound, Result, Table
from greenapi_async import AsyncStatusesClient

_PER_DAY = 500
_MINUTE = 60
_BEGIN = pages.FIRST + pages.DAY


async def measure(effort: Effort) -> list[Result]:
    """Poll for a day of simulated time; it is deterministic, so once is enough."""
    hours = effort.of(24, 4)
    received, asked_for_all, delivered, questions = in_fresh_process(simulate, hours)
    part = received / asked_for_all
    return [
        Bound(
            f"bytes received in a day of one-minute polls, {_PER_DAY} statuses a day: of asking for 1440 each time",
            1 / 40,
            Spread(part, part, part),
        ),
        Table(
            "Traffic of a day",
            f"{hours} simulated hours, one question a minute, a first run; heads and bodies of the answers.",
            ["", "questions", "MB received", "statuses delivered"],
            [
                ["the poller", f"{questions:,}", f"{received / 1e6:,.1f}", f"{delivered:,}, each once"],
                ["1440 each time", f"{hours * 60:,}", f"{asked_for_all / 1e6:,.1f}", "each some 1,440 times"],
            ],
        ),
    ]


def simulate(hours: int) -> tuple[int, int, int, int]:
    """Return the bytes received, those of asking for a day each minute, the statuses and the questions."""
    feed = _Feed()
    delivered = trio.run(_poll, feed, hours, clock=MockClock(autojump_threshold=0))
    asked_for_all = sum(feed.size(now, 1440) for now in range(_BEGIN, _BEGIN + hours * 3600, _MINUTE))
    return feed.received, asked_for_all, delivered, feed.questions


class _Feed:
    """An API whose contacts post at random times of yesterday and today."""

    def __init__(self) -> None:
        dice = random.Random(7)
        self._times = sorted(dice.randrange(pages.FIRST, _BEGIN + pages.DAY) for _ in range(2 * _PER_DAY))
        self._items = pages.statuses(self._times)
        self.received = 0
        self.questions = 0

    def answer(self, request: httpx.Request) -> httpx.Response:
        now = _now()
        body = self._body(now, int(request.url.params["minutes"]))
        self.received += _head(now, body) + len(body)
        self.questions += 1
        return httpx.Response(200, content=body, headers={"Date": formatdate(now, usegmt=True)})

    def size(self, now: float, minutes: int) -> int:
        body = self._body(now, minutes)
        return _head(now, body) + len(body)

    def _body(self, now: float, minutes: int) -> bytes:
        begin = bisect.bisect_left(self._times, now - minutes * _MINUTE)
        end = bisect.bisect_right(self._times, now)
        return pages.dumps(self._items[begin:end])


def _head(now: float, body: bytes) -> int:
    return len(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
        f"Date: {formatdate(now, usegmt=True)}\r\nContent-Length: {len(body)}\r\n\r\n"
    )


def _now() -> float:
    return _BEGIN + trio.current_time()


async def _poll(feed: _Feed, hours: int) -> int:
    keys = []
    transport = httpx.MockTransport(feed.answer)
    async with (
        httpx.AsyncClient(transport=transport) as http_client,
        AsyncStatusesClient(
            _ours.SCOPE, _ours.TOKEN, http_client=http_client, max_rate=None, clock=_now
        ) as client,
    ):
        with trio.move_on_after(hours * 3600):
            async for status in client.poll(interval=_MINUTE):
                keys.append(status.key)  # noqa: PERF401 - what came before the end of the day counts.

    assert len(keys) == len(set(keys))
    return len(keys)
