"""Every small history: four ticks, each with one of eight responses, crashes between them, and all statuses at once.

Spans are 1, 2, 4 and 8 ticks here, so four ticks reach every rung. Statuses do not affect each other, so one history
holds all of them: at each tick, in time or late by each span. The poller runs without an event loop: its coroutines never
wait for anything, so they are driven by hand, and a history takes about a millisecond.

`python tests/support/small_histories.py` plays all of them, `... 8` a fixed eighth, on all cores.
"""

import functools
import itertools
import logging
import math
import multiprocessing
import os
import sys
import time
from collections import Counter
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from unittest import mock

import attrs

from greenapi_async import BadRequestError, GapDetected, MemoryStore, TextStatus, TransportError
from greenapi_async._api.instance import Answer
from greenapi_async._polling import feed as _feed
from greenapi_async._polling.clocks import Moment
from greenapi_async._polling.ladder import Ladder
from greenapi_async._polling.servertime import ServerTime
from greenapi_async.poller import StatusPoller

TICK = 4 * 3600.0
SPANS = (TICK, 2 * TICK, 4 * TICK, 8 * TICK)
TAIL = 16  # Twice the deepest span.
EPOCH = 1_800_000_000.25
LIE = 3 * TICK
SLEEP = 3 * TICK
STEP = 5 * TICK
SLOW = 250.0
WIDEST = 1440

RESPONSES = ("right", "none", "nothing", "cached", "undated", "slow", "behind", "ahead")
CRASHES = ("before", "after")  # What the consumer handled was recorded.
STARTS = (None, "now")
LOCAL = ("suspend", "wall ahead", "wall back", "refused once")


@attrs.frozen(kw_only=True)
class History:
    """What happens.

    Attributes:
        responses: what all requests of each tick get; every later tick's are right.
        crashes: pairs of tick and whether before or after the record.
        start: the poller's.
        local: what happens at one tick to the machine, or to a wide window: a name and the tick, or None; "refused
            always" has no tick.
    """

    responses: tuple[str, ...]
    crashes: tuple[tuple[int, str], ...] = ()
    start: str | None = None
    local: tuple[str, int] | None = None

    @property
    def size(self):
        """How much happens: the smallest that breaks a promise is the one to read."""
        odd = sum(response != "right" for response in self.responses)
        return odd + len(self.crashes) + (self.local is not None), self.start is not None


@attrs.define(kw_only=True, eq=False)
class Shown:
    """A status: when it shows up, and how many seconds late, in true time since the first tick."""

    id_message: str
    at: float
    late: float
    posted: float = attrs.field(
        init=False, repr=False, default=attrs.Factory(lambda it: it.at - it.late, takes_self=True)
    )
    status: TextStatus = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self):
        timestamp = math.floor(EPOCH + self.posted)
        self.status = TextStatus(id_message=self.id_message, timestamp=timestamp, chat_id="1@c.us")


def statuses(ticks):
    """Return what is posted: half-way between two ticks, and while each is slow, in time or late by each span."""
    moments = [
        tick + part for tick in (*range(-1, ticks + 1), ticks + 4, ticks + 8) for part in (10 / TICK, 0.5)
    ]
    return [
        Shown(id_message=f"{moment:.4g}/{late}", at=moment * TICK, late=max(0.0, late * TICK - 1))
        for moment in moments
        for late in (0, 1, 2, 4, 8)
    ]


def histories(ticks=4, most_crashes=2, local=()):
    """Yield every history of so many ticks."""
    places = list(itertools.product(range(ticks), CRASHES))
    crashes = [
        chosen
        for count in range(most_crashes + 1)
        for chosen in itertools.combinations(places, count)
        if len({tick for tick, _ in chosen}) == count
    ]
    for responses in itertools.product(RESPONSES, repeat=ticks):
        for happens, crashed, start in itertools.product((None, *local), crashes, STARTS):
            yield History(responses=responses, crashes=crashed, start=start, local=happens)


def with_trouble_here():
    """Yield every history of three ticks in which the machine sleeps, a clock is set or wide windows are refused."""
    local = [(name, tick) for name in LOCAL for tick in range(3)]
    return histories(ticks=3, most_crashes=1, local=[*local, ("refused always", 0)])


class _Page:
    def __init__(self, found):
        self.keys = [status.id_message for status in found]
        self._found = found

    async def statuses(self, wanted):
        return [status for status in self._found if status.id_message in wanted]


@attrs.frozen(kw_only=True)
class Played:
    """What came of a history.

    Attributes:
        times: of each tick, in true time since the first could be.
        handed: how often each id was yielded.
        handled: when each was handled, in true time: a crash may come first.
        gaps: from when to when, told as lost, and when.
        lag: the poller's health at the end.
        minutes: of every request.
        deepest: how many ticks requested the deepest rung after the first.
        confirmed: how many leaps of the server's time were confirmed.
    """

    times: list[float]
    handed: dict[str, int]
    handled: dict[str, float]
    gaps: list[tuple[float, float, float]]
    lag: float
    minutes: list[int]
    deepest: int
    confirmed: int


class World:
    """The instance that a poller polls, and the clocks that it reads."""

    id_instance = "1"

    def __init__(self, history, shown):
        self.history = history
        self.passed = self.asleep = self.set_by = 0.0
        self.response = "right"
        self.refusals = 0
        self.minutes = []
        self.gaps = []
        self._items = [(each.at, each.status) for each in shown]

    def check_open(self):
        """Nobody closes it."""

    def wall(self):
        return EPOCH + self.passed + self.set_by

    def monotonic(self):
        return self.passed - self.asleep

    def now(self):
        return Moment(monotonic=self.monotonic(), wall=self.wall())

    def begin(self, tick):
        """Let time pass until a tick, and happen what happens then."""
        ticks = len(self.history.responses)
        self.response = self.history.responses[tick] if tick < ticks else "right"
        self.passed += TICK if tick else 0.0
        name, at = self.history.local or ("", -1)
        self.refusals = 10_000 if name == "refused always" else int(name == "refused once" and at == tick)
        if at != tick:
            return

        self.passed += SLEEP if name == "suspend" else 0.0
        self.asleep += SLEEP if name == "suspend" else 0.0
        self.set_by += {"wall ahead": STEP, "wall back": -STEP}.get(name, 0.0)

    async def page(self, minutes):
        self.minutes.append(minutes)
        if self.response == "none":
            raise TransportError("down")

        if minutes > WIDEST and self.refusals:
            self.refusals -= 1
            raise BadRequestError("too wide")

        known_by = self.passed - (TICK if self.response == "cached" else 0.0)
        since = EPOCH + self.passed - minutes * 60
        found = [status for at, status in self._items if at <= known_by and status.timestamp >= since]
        self.passed += SLOW if self.response == "slow" else 0.0
        return Answer(
            page=None if self.response == "nothing" else _Page(found),
            date=self._date(),
            cached=self.response == "cached",
            duration=SLOW if self.response == "slow" else 0.0,
        )

    def _date(self):
        if self.response == "undated":
            return None

        lies = {"behind": -LIE, "ahead": LIE, "cached": -TICK}
        return float(math.floor(EPOCH + self.passed + lies.get(self.response, 0.0)))

    def note(self, event):
        if isinstance(event, GapDetected):
            begins, ends = event.lost_from.timestamp() - EPOCH, event.lost_to.timestamp() - EPOCH
            self.gaps.append((begins, ends, self.passed))


@contextmanager
def without_an_event_loop():
    """Let pollers read a world's clocks, and nothing wait."""
    scopes = SimpleNamespace(CancelScope=lambda **_: nullcontext())
    level = logging.root.manager.disable
    logging.disable()
    try:
        with (
            mock.patch.object(_feed, "anyio", scopes),
            mock.patch.object(_feed, "Clocks", lambda wall: wall.__self__),
        ):
            yield
    finally:
        logging.disable(level)


def play(history, shown):
    """Return what comes of a history."""
    world, store, ladder = (
        World(history, shown),
        MemoryStore(),
        Ladder(interval=TICK, start=history.start, spans=SPANS),
    )
    crashes, handed, handled, times = dict(history.crashes), Counter(), {}, []
    deepest = 0

    def poller_of():
        return StatusPoller(
            world, store=store, ladder=ladder, delivery="at-least-once", on_event=world.note, clock=world.wall
        )

    with _confirmations() as confirmed:
        poller = poller_of()
        for tick in range(len(history.responses) + TAIL):
            world.begin(tick)
            times.append(world.passed)
            requests = len(world.minutes)
            try:
                batch = _run(poller.poll_once())
            except (TransportError, BadRequestError):
                batch = None

            if batch is not None:
                ids = [status.id_message for status in batch.statuses]
                handed.update(ids)
                if crashes.get(tick) != "before":
                    handled |= {id_message: handled.get(id_message, world.passed) for id_message in ids}
                    _run(batch.commit())

            deepest += tick > 0 and max(world.minutes[requests:]) * 60 > SPANS[-1]
            if tick in crashes:
                poller = poller_of()

    return Played(
        times=times,
        handed=handed,
        handled=handled,
        gaps=world.gaps,
        lag=poller.health.lag,
        minutes=world.minutes,
        deepest=deepest,
        confirmed=len(confirmed),
    )


@contextmanager
def _confirmations():
    """Count the leaps of the server's time that a second response confirmed."""
    confirmed = []
    confirms = ServerTime._confirms

    def counted(server_time, told):
        is_so = confirms(server_time, told)
        if is_so:
            confirmed.append(told)
        return is_so

    ServerTime._confirms = counted
    try:
        yield confirmed
    finally:
        ServerTime._confirms = confirms


def _run(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value

    raise AssertionError("a poller waited for something")


def broken_promises(history, played, shown):
    """Return every promise that was broken, by what is true in that world and nothing of the ladder."""
    return [
        *_lost(history, played, shown),
        *_repeated(history, played),
        *_old_as_new(history, played, shown),
        *_falsely_told(history, played),
        *_not_recovered(history, played, shown),
    ]


def _began(history, played):
    """Return when the first process began of which anything can be recorded."""
    crashed = {tick for tick, _ in history.crashes}
    began, heard = 0, []
    for tick, response in enumerate(history.responses):
        heard.append(response)
        if _is_told(heard):
            break

        if tick in crashed:
            began, heard = tick + 1, []

    return played.times[began]


def _is_told(heard):
    """Return whether the last response to a process says what time it is, the server's clock having been heard or not."""
    *before, last = heard
    if last == "behind":
        return "nothing" not in before  # Earlier than what was heard before: not believed.

    # One that is ahead is requested again, but not right after another that was not believed.
    return last in {"right", "slow", "undated"} or (last == "ahead" and "behind" not in before)


def _lost(history, played, shown):
    began = _began(history, played)
    # By the server's time, if it lies at first, or by the wall clock where nothing else is told.
    starts = began + (LIE if "ahead" in history.responses else 0.0)
    starts += STEP if "wall ahead" in (history.local or ()) and "undated" in history.responses else 0.0
    for each in shown:
        is_past = history.start == "now" and each.posted < starts
        is_told = any(
            begins <= each.posted + 1 and each.posted - 1 <= ends for begins, ends, _ in played.gaps
        )
        # It shows up within the reach of the first window, or after the poller began.
        is_unreachable = each.at < began and each.posted <= began - SPANS[-1]
        is_beyond = _is_beyond(each, history, played)
        is_excused = (
            is_past or is_told or is_unreachable or is_beyond or _is_covered_by_a_lie(each, history, played)
        )
        if each.id_message not in played.handled and not is_excused:
            yield f"lost: {each}"


def _is_beyond(each, history, played):
    """Return whether an API that takes a day at most keeps a status back: late, or handled when it was too old."""
    if history.local != ("refused always", 0):
        return False

    resumed = max((tick + 1 for tick, _ in history.crashes), default=0)
    while resumed < len(history.responses) and history.responses[resumed] in {"none", "nothing"}:
        resumed += 1

    return each.late > 2 * TICK or each.posted <= played.times[resumed] + 3 * SLOW - WIDEST * 60


def _is_covered_by_a_lie(each, history, played):
    """Return whether a mark that a lie moved may hide a status, once nothing shows that it was one."""
    if "wall ahead" in (history.local or ()) and "undated" in history.responses:
        return each.late > TICK  # Without any Date the wall clock has the word.

    reach = WIDEST * 60 - TICK if history.local == ("refused always", 0) else SPANS[-1]
    lies = [time for time, said in zip(played.times, history.responses, strict=False) if said == "ahead"]
    hidden = any(each.posted <= time + LIE - reach + 1.5 * TICK for time in lies)
    return bool(hidden and (history.crashes or history.local))


def _repeated(history, played):
    allowed = 1 + sum(when == "before" for _, when in history.crashes)
    for id_message, times in played.handed.items():
        if times > allowed:
            yield f"{id_message} came {times} times"


def _old_as_new(history, played, shown):
    # Two lies that agree, or a wrong wall clock without a Date, say when the poller began, or how far a window reaches.
    lies = {"behind", "ahead"} & set(history.responses) or "wall" in str(history.local)
    lies = lies or (history.local is not None and {"cached", "undated"} & set(history.responses))
    if history.start != "now" or lies or played.gaps:
        return

    for each in shown:
        if each.at < played.times[0] and each.id_message in played.handed:
            yield f"old, but new: {each}"


def _falsely_told(history, played):
    # A new process, or one that heard no Date, believes what it hears first: of a checkpoint, that it is impossible.
    knows_little = history.crashes or "undated" in history.responses or history.local == ("refused always", 0)
    lies = {"ahead", "behind"} & set(history.responses) or "wall" in str(history.local)
    if played.gaps and not (lies and knows_little):
        yield f"told as lost, without a reason: {played.gaps}"

    if any(told - ends < SPANS[-1] - max(LIE, STEP) - TICK for _, ends, told in played.gaps):
        yield f"told as lost, what is still to be had: {played.gaps}"


def _not_recovered(history, played, shown):
    # Every Date contradicts two lies that were believed, and no other clock tells a sleep from a clock that is set.
    if history.local is not None and "ahead" in history.responses:
        return

    if played.lag is None or played.lag > 1.5 * TICK:
        yield f"{played.lag} s not covered at the end"

    if min(played.minutes[-4:]) * 60 > SPANS[2] + TICK + 1800:
        yield f"windows stay wide: {played.minutes[-4:]}"

    quiet = played.times[len(history.responses) + 3]
    for each in shown:
        waited = played.handled.get(each.id_message, math.inf) - each.at
        is_beyond = _is_beyond(each, history, played)
        if each.at > quiet and not is_beyond and waited > max(each.late + 1, TICK) + 1:
            yield f"{waited:.0f} s after it showed up: {each}"


def tally(part):
    """Play a part of the histories; return how often what happened, and what broke first."""
    each, remainder, source, modulus = part
    counts, broken = Counter(), []
    ticks = 4 if source is histories else 3
    shown = statuses(ticks)
    with without_an_event_loop():
        for number, history in enumerate(source()):
            if number % (each * modulus) != remainder:
                continue
            played = play(history, shown)
            wrong = broken_promises(history, played, shown)
            counts["histories"] += 1
            counts["used the deepest rung"] += played.deepest > 0
            counts["confirmed a leap"] += played.confirmed > 0
            counts["told a gap"] += bool(played.gaps)
            if wrong:
                counts["broken"] += 1
                broken.append((history.size, history, wrong[:3]))

    return counts, sorted(broken, key=lambda found: found[0])[:5]


def play_all(each=1, processes=None):
    """Play every n-th history on all cores; return the counts and the smallest that broke a promise."""
    processes = processes or os.cpu_count() or 1
    # A prime between two that are played, lest each n-th have something in common.
    parts = [
        (each, n * each, source, processes)
        for source in (histories, with_trouble_here)
        for n in range(processes)
    ]
    counts, broken = Counter(), []
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for counted, found in pool.imap_unordered(tally, parts):
            counts += counted
            broken += found

    return counts, sorted(broken, key=lambda found: found[0])


@functools.cache
def smallest(source, most=3):
    """Return the histories in which at most so much happens, the smallest first."""
    return sorted(
        (history for history in source() if history.size[0] <= most), key=lambda history: history.size
    )


def smallest_broken(source):
    """Return the smallest history that breaks a promise, and which; None where none does."""
    ticks = len(next(source()).responses)
    shown = statuses(ticks)
    with without_an_event_loop():
        for history in smallest(source):
            wrong = broken_promises(history, play(history, shown), shown)
            if wrong:
                return history, wrong

    return None


def main(each):
    began = time.monotonic()
    counts, broken = play_all(each)
    print(dict(counts), f"in {time.monotonic() - began:.0f} s")
    for _, history, wrong in broken[:5]:
        print(history, *wrong, sep="\n    ")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
