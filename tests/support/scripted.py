"""An instance that does what a test says, and a poller of it, on a clock that jumps."""

import math
from collections.abc import Callable
from contextlib import nullcontext

import anyio
import trio
import trio.testing
from world import FakePage

from greenapi_async import MemoryStore, TextStatus
from greenapi_async._api.instance import Answer
from greenapi_async._polling.ladder import Ladder
from greenapi_async.poller import StatusPoller

NOW = 1_800_000_000.0
MINUTE = 60.0
HOUR = 3600.0
DAY = 24 * HOUR


class ScriptedApi:
    """An instance whose `respond(minutes)` returns a response, or raises, at every request."""

    id_instance = "1101000001"

    def __init__(self, respond: Callable):
        self.respond = respond
        self.minutes = []
        self.requested_at = []

    def check_open(self):
        """Nobody closes it."""

    def until_closed(self):
        return nullcontext()

    async def page(self, minutes):
        self.minutes.append(minutes)
        self.requested_at.append(anyio.current_time())
        await anyio.lowlevel.checkpoint()
        return self.respond(minutes)


def passed():
    """Return the seconds of virtual time since the run began."""
    return anyio.current_time() - EPOCH[0]


def now():
    """Return true time: what a right clock shows."""
    return NOW + passed()


EPOCH = [0.0]


def text(id_message, *, at):
    return TextStatus(id_message=id_message, timestamp=int(at), chat_id="1@c.us")


RIGHT = object()


def response(*statuses, date=RIGHT, cached=False, duration=0.0):
    """Return a complete response; its `Date` is right unless one is given, and None is none."""
    return Answer(
        page=FakePage(list(statuses)),
        date=float(int(now())) if date is RIGHT else date,
        cached=cached,
        duration=duration,
    )


def poller_of(api, *, store=None, start=None, interval=MINUTE, clock=now, **options):
    return StatusPoller(
        api,
        store=MemoryStore() if store is None else store,
        ladder=Ladder(interval=interval, start=start),
        delivery=options.get("delivery", "at-least-once"),
        on_event=options.get("on_event"),
        clock=clock,
    )


def hourly(minutes):
    """Return what a window shows of contacts who post one status an hour, and have for months."""
    first = math.ceil((passed() - minutes * MINUTE + 1) / HOUR)
    return [
        text(f"{hour:+d} h", at=NOW + hour * HOUR - 1)
        for hour in range(first, int((passed() + 1) / HOUR) + 1)
    ]


def hours(first, last):
    """Return the ids of such statuses, from one hour to another."""
    return {f"{hour:+d} h" for hour in range(first, last + 1)}


async def seen_within(seconds, poller):
    """Return the ids that a poller yields in so many seconds."""
    ids = []
    with anyio.move_on_after(seconds):
        async for status in poller:
            ids.append(status.id_message)  # noqa: PERF401 - what came before the end counts.
    return ids


def in_virtual_time(main):
    """Run on trio's clock, which jumps wherever everybody sleeps."""

    async def begun():
        EPOCH[0] = anyio.current_time()
        return await main()

    return trio.run(begun, clock=trio.testing.MockClock(autojump_threshold=0))
