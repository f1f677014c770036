"""What a day of polling downloads, compared with requesting a whole day every time."""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from email.utils import formatdate
from itertools import accumulate

import attrs
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
_WIDTHS = (
    (0, 60, "of these, for less than an hour"),
    (60, 1440, "for hours"),
    (1440, 43_201, "for a day and more"),
)


@attrs.frozen
class Answered:
    """A request and its response: when, for how many minutes, and how many bytes."""

    at: float
    minutes: int
    size: int


async def measure(effort: Effort) -> list[Result]:
    """Poll through two days of simulated time; it is deterministic, so once is enough."""
    seconds = effort.of(pages.DAY, pages.DAY // 6)
    answers, whole_days = in_fresh_process(simulate, seconds)
    first = [each for each in answers if each.at < _BEGIN + seconds]
    second = answers[len(first) :]
    part = _received(second) / _received(whole_days)
    name = f"bytes received in a day of one-minute polls, {_PER_DAY} statuses a day: of requesting 1440 each time"
    return [
        Bound(name, 1 / 40, Spread(part, part, part)),
        Table(
            "Traffic of a day",
            f"{seconds // 3600} simulated hours, one request a minute; headers and bodies of the responses.",
            ["", "requests", "MB received"],
            [
                _row("1440 minutes each time", whole_days),
                _row("the poller, on its first day", first),
                _row("the poller, on any other", second),
                *_by_width(second),
            ],
        ),
    ]


def _by_width(answers: Sequence[Answered]) -> Iterator[list[str]]:
    for least, most, name in _WIDTHS:
        yield _row(name, [each for each in answers if least <= each.minutes < most])


def _row(name: str, answers: Sequence[Answered]) -> list[str]:
    return [name, f"{len(answers):,}", f"{_received(answers) / 1e6:,.1f}"]


def _received(answers: Sequence[Answered]) -> int:
    return sum(each.size for each in answers)


def simulate(seconds: int) -> tuple[list[Answered], list[Answered]]:
    """Return the poller's requests in two periods, and requests for a whole day each minute of the second."""
    feed = _Feed()
    trio.run(_poll, feed, 2 * seconds, clock=MockClock(autojump_threshold=0))
    minutes = range(_BEGIN + seconds, _BEGIN + 2 * seconds, _MINUTE)
    return feed.answers, [feed.answered(now, 1440) for now in minutes]


class _Feed:
    """An API whose contacts post around the clock, on the day before too."""

    def __init__(self) -> None:
        dice = random.Random(7)
        apart = pages.DAY / _PER_DAY
        self._times = [pages.FIRST + int((number + dice.random()) * apart) for number in range(3 * _PER_DAY)]
        self._items = pages.statuses(self._times)
        self._sizes = [0, *accumulate(len(pages.dumps([item])) - 1 for item in self._items)]
        self.answers: list[Answered] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        now, minutes = _now(), int(request.url.params["minutes"])
        self.answers.append(self.answered(now, minutes))
        begin, end = self._span(now, minutes)
        body = pages.dumps(self._items[begin:end])
        return httpx.Response(200, content=body, headers={"Date": formatdate(now, usegmt=True)})

    def answered(self, now: float, minutes: int) -> Answered:
        begin, end = self._span(now, minutes)
        body = self._sizes[end] - self._sizes[begin] + 1
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
            f"Date: {formatdate(now, usegmt=True)}\r\nContent-Length: {body}\r\n\r\n"
        )
        return Answered(now, minutes, len(head) + body)

    def _span(self, now: float, minutes: int) -> tuple[int, int]:
        return bisect_left(self._times, now - minutes * _MINUTE), bisect_right(self._times, now)


def _now() -> float:
    return _BEGIN + trio.current_time()


async def _poll(feed: _Feed, seconds: int) -> None:
    keys = []
    transport = httpx.MockTransport(feed.answer)
    async with (
        httpx.AsyncClient(transport=transport) as http_client,
        AsyncStatusesClient(
            _ours.SCOPE, _ours.TOKEN, http_client=http_client, max_rate=None, clock=_now
        ) as client,
    ):
        with trio.move_on_after(seconds):
            async for status in client.poll(interval=_MINUTE):
                keys.append(status.key)  # noqa: PERF401 - what came before the end counts.

    assert len(keys) == len(set(keys)) >= _PER_DAY
