"""A made-up world for the poller: a server, three clocks and a consumer, all of them at a history's mercy.

It runs the real poller on trio's `MockClock`, so that days pass in a moment.
"""

import math
from collections import defaultdict
from contextlib import nullcontext
from itertools import count

import attrs
import trio
from virtual_time import run_in_virtual_time

from greenapi_async import (
    AccessDeniedError,
    BadRequestError,
    GapDetected,
    GreenApiError,
    InstanceNotReadyError,
    MemoryStore,
    NotFoundError,
    RateLimitedError,
    StoreError,
    TextStatus,
    TransportError,
)
from greenapi_async._api.instance import Answer
from greenapi_async._polling.ladder import SPANS, Ladder
from greenapi_async.poller import StatusPoller

MINUTE = 60
HOUR = 3600
DAY = 24 * HOUR
EPOCH = 1_800_000_000.25


@attrs.frozen(kw_only=True)
class Arrival:
    """A status that shows up `at` seconds into the history, `late` seconds after its timestamp."""

    at: float
    late: float = 0.0


@attrs.frozen(kw_only=True)
class Spell:
    """Something that begins `at` and goes on `for_` seconds."""

    at: float
    for_: float


@attrs.frozen(kw_only=True)
class Trouble(Spell):
    """A spell of some kind: a name of `REFUSALS`, or what `Date` does: it "stands" or is "slow"."""

    kind: str


REFUSALS = {
    "403": AccessDeniedError("no"),
    "404": NotFoundError("no"),
    "certificate": TransportError("self-signed", refused="certificate"),
    "not authorized": InstanceNotReadyError("?", reason="not authorized"),
    "429": RateLimitedError("slow down"),
}
LIES = {"backwards": -DAY, "a day ahead": DAY, "forty days ahead": 40 * DAY, "forty days behind": -40 * DAY}


@attrs.frozen(kw_only=True)
class History:
    """What happens. All times are seconds of true time since the poller began.

    Attributes:
        outages: no answer comes.
        suspends: the machine sleeps: the monotonic clock stands, the wall clock moves on.
        wall_steps: somebody sets the wall clock; `for_` is the step.
        pauses: the n-th status keeps the consumer busy so long.
        crashes: the n-th status kills the consumer; a new poller begins on the same store.
        rounding: what the server does with the minute: "exact", "narrow" or "wide".
        odd: what comes instead of the n-th response: "null", "empty", "undated", "cached", or one of `LIES`.
        refusals: the API refuses; a supervisor starts a poller that ends again within a minute.
        dates: what `Date` does.
        busy: the store is.
        widest: minutes that the API takes; it refuses more with 400.
        refuses_wide: numbers of requests that it refuses so if they are wider than a day.
        start: the poller's.
        durations: how long the answers take, over and over.
    """

    arrivals: tuple[Arrival, ...] = ()
    interval: float = 5.0 * MINUTE
    outages: tuple[Spell, ...] = ()
    suspends: tuple[Spell, ...] = ()
    wall_steps: tuple[Spell, ...] = ()
    pauses: dict[int, float] = attrs.field(factory=dict)
    crashes: frozenset[int] = frozenset()
    rounding: str = "exact"
    ignores_minutes: bool = False
    odd: dict[int, str] = attrs.field(factory=dict)
    refusals: tuple[Trouble, ...] = ()
    dates: tuple[Trouble, ...] = ()
    busy: tuple[Spell, ...] = ()
    widest: int = 43_200
    refuses_wide: frozenset[int] = frozenset()
    start: str | None = None
    durations: tuple[float, ...] = (0.1,)
    date_of: str = "end"
    length: float = 2.0 * DAY

    @property
    def settled(self):
        """When the last trouble is over, in seconds of true time."""
        ends = [spell.at + spell.for_ for spell in (*self.outages, *self.suspends, *self.wall_steps)]
        # Some of these are noticed, or over, a few polls later.
        slow = (*self.refusals, *self.dates, *self.busy)
        ends += [spell.at + spell.for_ + 3 * self.interval for spell in slow]
        odd = (max(self.odd) + 2) * self.interval if self.odd else 0.0
        return max([0.0, odd, *ends]) + sum(spell.for_ for spell in self.suspends)


class FakePage:
    """An answer's page whose statuses are there already."""

    def __init__(self, statuses):
        self.keys = [status.key for status in statuses]
        self.everything = statuses

    async def statuses(self, wanted):
        return [status for status in self.everything if status.key in wanted]


class BusyStore(MemoryStore):
    """A store that is busy while the world says so."""

    world = None

    async def load(self, scope):
        self._check()
        return await super().load(scope)

    async def record(self, scope, ids, checkpoint, now):
        self._check()
        await super().record(scope, ids, checkpoint, now)

    def _check(self):
        if self.world is not None and self.world.during(self.world.history.busy):
            raise StoreError("is locked", retryable=True)


class World:
    """Plays a history to a poller, whose instance it is, and keeps what the consumer saw."""

    id_instance = "1"

    def __init__(self, history, store):
        self.history = history
        self.store = store
        if isinstance(store, BusyStore):
            store.world = self
        self.seen = defaultdict(list)
        self.minutes = []
        self.gaps = []
        self.raised = []
        self._handled = count(1)
        self._asked = count()
        self._items = [
            (EPOCH + arrival.at, self._status(n, arrival)) for n, arrival in enumerate(history.arrivals)
        ]

    def now(self):
        """True time: what the monotonic clock shows, and what passed while the machine slept."""
        passed = trio.current_time() - self.began
        for spell in sorted(self.history.suspends, key=lambda spell: spell.at):
            passed += spell.for_ if passed >= spell.at else 0
        return EPOCH + passed

    def wall(self):
        """The wall clock: true time, and every step somebody set it by."""
        now = self.now()
        return now + sum(step.for_ for step in self.history.wall_steps if now >= EPOCH + step.at)

    def check_open(self):
        """Nobody closes it."""

    def until_closed(self):
        return nullcontext()

    async def page(self, minutes):
        """Answer as the server would."""
        number = next(self._asked)
        self.minutes.append(minutes)
        duration = self.history.durations[number % len(self.history.durations)]
        began = self.now()
        cutoff = -math.inf if self.history.ignores_minutes else self._cutoff(began, minutes)
        odd = self.history.odd.get(number)
        known_by = EPOCH + 3 * HOUR if odd == "cached" else began
        statuses = [
            status
            for shows_at, status in self._items
            if shows_at <= min(began, known_by) and status.timestamp >= cutoff
        ]
        await trio.sleep(duration)

        if self.during(self.history.outages, began):
            raise TransportError("an outage")

        for trouble in self.during(self.history.refusals, began):
            raise REFUSALS[trouble.kind]

        if minutes > self.history.widest or (minutes > 1440 and number in self.history.refuses_wide):
            raise BadRequestError("too wide")

        date = self._date(began, self.now() if self.history.date_of == "end" else began)
        return Answer(
            page=None if odd == "null" else FakePage([] if odd == "empty" else statuses),
            date=None if odd == "undated" else date + LIES.get(odd, 0.0),
            cached=odd == "cached",
            duration=duration,
        )

    def during(self, spells, now=None):
        """Return those of the spells that go on now."""
        now = self.now() if now is None else now
        return [spell for spell in spells if EPOCH + spell.at <= now < EPOCH + spell.at + spell.for_]

    def _date(self, began, now):
        for trouble in self.during(self.history.dates, began):
            since = EPOCH + trouble.at
            now = since if trouble.kind == "stands" else since + (now - since) / 2

        return math.floor(now)

    async def play(self):
        """Run pollers, one after the other where the consumer crashes, until the history is over."""
        self.began = trio.current_time()
        with trio.CancelScope() as over:
            while self.now() < EPOCH + self.history.length:
                over.deadline = trio.current_time() + EPOCH + self.history.length - self.now()
                await self._consume()

    async def _consume(self):
        """Run one poller until its consumer crashes, or it ends; then somebody starts another."""
        poller = StatusPoller(
            self,
            store=self.store,
            ladder=Ladder(interval=self.history.interval, start=self.history.start),
            delivery="at-least-once",
            on_event=self._note,
            clock=self.wall,
        )
        try:
            async for status in poller:
                number = next(self._handled)
                self.seen[status.id_message].append(self.now())
                await trio.sleep(self.history.pauses.get(number, 0))
                if number in self.history.crashes:
                    return
        except GreenApiError as error:
            self.raised.append(error)
            await trio.sleep(MINUTE)

    def _note(self, event):
        if isinstance(event, GapDetected):
            self.gaps.append(event)

    def _cutoff(self, now, minutes):
        exact = now - minutes * MINUTE
        match self.history.rounding:
            case "narrow":
                return math.ceil(exact / MINUTE) * MINUTE
            case "wide":
                return math.floor(exact / MINUTE) * MINUTE
            case _:
                return exact

    def _status(self, number, arrival):
        timestamp = math.floor(EPOCH + arrival.at - arrival.late)
        return TextStatus(id_message=f"id{number}", timestamp=timestamp, chat_id="1@c.us")


def play(history, make_store=BusyStore):
    """Return the world after a history."""
    world = World(history, make_store())
    run_in_virtual_time(world.play)
    return world


def broken_promises(history, world):
    """Return every promise that the poller broke: nothing lost, nothing twice, nothing later than it was late."""
    # Where the wall clock is set, or a process that is started anew may hear nothing but a lie, a gap may be told that is
    # none: nothing is lost by that.
    knows_little = history.wall_steps or ((history.crashes or world.raised) and history.dates)
    broken = [] if knows_little else [f"told as lost: {gap}" for gap in world.gaps]
    crashes = len(history.crashes)
    # Where it slept and its clock was set before the first response, nothing tells how long ago the poller began.
    asleep = sum(spell.for_ for spell in history.suspends) if history.wall_steps else 0.0
    reach = min(history.widest * MINUTE, SPANS[-1]) - sum(spell.for_ for spell in history.outages) - SPANS[-2]

    for number, arrival in enumerate(history.arrivals):
        times = world.seen[f"id{number}"]
        waits = max(arrival.late + 1, history.interval)
        starts = (crashes + len(world.raised)) * (history.interval + MINUTE)
        busy = sum(history.pauses.values()) + starts + 3 * max(history.durations) + 5
        deadline = max(arrival.at, 0.0) + waits + busy
        if history.settled:
            # Trouble makes everything late; what it held up comes with the deepest rung's next turn.
            deadline = max(deadline, history.settled + SPANS[-2] + history.interval + busy)

        posted = EPOCH + arrival.at - arrival.late
        is_past = history.start == "now" and posted < EPOCH + asleep
        is_told = any(gap.lost_from.timestamp() <= posted <= gap.lost_to.timestamp() for gap in world.gaps)
        is_beyond = history.widest < 43_200 and max(arrival.late, arrival.late - arrival.at) > reach
        if not times and deadline < history.length and not (is_past or is_told or is_beyond):
            broken.append(f"lost: {arrival}")

        if times and arrival.at < 0 and is_past and not knows_little:
            broken.append(f"old, but new: {arrival}")

        if times and times[0] - EPOCH > deadline and not (is_past or is_beyond):
            broken.append(f"{times[0] - EPOCH - deadline:.0f} s too late: {arrival}")

    repeats = sum(max(0, len(times) - 1) for times in world.seen.values())
    if repeats > crashes:
        broken.append(f"{repeats} repeats for {crashes} crashes")

    lasting = any(
        refusal.kind in {"403", "404"} and refusal.for_ >= 5 * MINUTE for refusal in history.refusals
    )
    if world.raised and not (lasting or (history.crashes and history.refusals)):
        broken.append(f"ended by {world.raised}")

    return broken
