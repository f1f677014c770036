"""The ladder: its arithmetic in single cases, and its promise over whole histories."""

import math
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import mark_before_recording
from world import (
    DAY,
    EPOCH,
    HOUR,
    LIES,
    MINUTE,
    REFUSALS,
    Arrival,
    BusyStore,
    FakePage,
    History,
    Spell,
    Trouble,
    World,
    broken_promises,
    play,
)

from greenapi_async import BadRequestError, InstanceNotReadyError, MemoryStore, StoreError
from greenapi_async._polling import backoff as _backoff
from greenapi_async._polling import ladder as _window
from greenapi_async._polling.ladder import Ladder, Plan
from greenapi_async._polling.origin import FirstRun, GoingOn, Outcome
from greenapi_async._polling.servertime import Anchor, Reading, ServerTime
from greenapi_async._polling.tick import Ticker
from greenapi_async.stores import Checkpoint

LATENESS = st.sampled_from(
    [-20 * HOUR, 0, 1, 9 * MINUTE, 20 * HOUR, DAY, 89_998]
    + [span + more for span in _window.SPANS[:-1] for more in (-1, 0, 1)]
)
TIMES = st.floats(min_value=-DAY, max_value=1.5 * DAY)
OUTAGES = st.builds(Spell, at=st.floats(0, DAY), for_=st.floats(MINUTE, 12 * HOUR))
SUSPENDS = st.builds(Spell, at=st.floats(HOUR, DAY), for_=st.floats(MINUTE, 12 * HOUR))
STEPS = st.builds(Spell, at=st.floats(0, DAY), for_=st.sampled_from([DAY, -DAY, HOUR]))

REFUSED = st.builds(
    Trouble,
    at=st.floats(HOUR, DAY),
    for_=st.sampled_from([10.0, 4.0 * MINUTE, HOUR]),
    kind=st.sampled_from(sorted(REFUSALS)),
)
DATES = st.builds(
    Trouble,
    at=st.floats(HOUR, DAY),
    for_=st.floats(HOUR, 12 * HOUR),
    kind=st.sampled_from(["stands", "slow"]),
)
BUSY = st.builds(Spell, at=st.floats(0, DAY), for_=st.floats(MINUTE, HOUR))

FEW = tuple(Arrival(at=n * 977.0, late=n % 5 * 1000) for n in range(120))
AS_LATE_AS_CAN_BE = tuple(Arrival(at=n * 31.0, late=25 * HOUR - 1) for n in range(1500))

NAMED = {
    "nothing special": History(arrivals=FEW, interval=MINUTE),
    "as late as the rungs are long": History(
        arrivals=tuple(
            Arrival(at=n * 1633.0, late=late)
            for n, late in enumerate([599, 601, 2_999, 3_001, 14_999, 15_001, 89_998] * 9)
        ),
        rounding="narrow",
    ),
    "a stream as late as can be": History(arrivals=AS_LATE_AS_CAN_BE, rounding="narrow", interval=250.0),
    "a stream just later than the quick rung sees": History(
        arrivals=tuple(Arrival(at=n * 61.0, late=720) for n in range(500)), interval=270.0, length=DAY
    ),
    "answers that take long": History(
        arrivals=AS_LATE_AS_CAN_BE, durations=(50.0, 0.1, 40.0, 0.1), rounding="narrow", interval=297.0
    ),
    "suspended while the clock was set back": History(
        arrivals=tuple(Arrival(at=n * 1800.0) for n in range(110)),
        interval=3.0 * HOUR,
        suspends=(Spell(at=10 * HOUR, for_=40 * HOUR),),
        wall_steps=(Spell(at=50 * HOUR, for_=-3 * DAY),),
        length=6.0 * DAY,
    ),
    "a day's outage, and a crash in the middle of what came then": History(
        arrivals=tuple(Arrival(at=3 * HOUR + n * 600) for n in range(160)),
        outages=(Spell(at=2 * HOUR, for_=1.5 * DAY),),
        crashes=frozenset({5, 9}),
        interval=20.0 * MINUTE,
        length=4.0 * DAY,
    ),
    "dated in the future": History(
        arrivals=(*(Arrival(at=n * HOUR, late=-20 * HOUR) for n in range(8)), *FEW),
        outages=(Spell(at=9 * HOUR, for_=3 * HOUR),),
    ),
    "dated minutes in the future": History(
        arrivals=(*(Arrival(at=n * 500.0, late=-200) for n in range(200)), *FEW),
    ),
    "a server that ignores minutes": History(arrivals=FEW, ignores_minutes=True, interval=30.0 * MINUTE),
    "a server that says nothing for a day": History(
        arrivals=FEW, odd=dict.fromkeys(range(10, 100), "null"), interval=20.0 * MINUTE, length=3.0 * DAY
    ),
    "an old answer from a cache for a day": History(
        arrivals=FEW, odd=dict.fromkeys(range(10, 100), "cached"), interval=20.0 * MINUTE, length=3.0 * DAY
    ),
    "clocks that jump a day": History(
        arrivals=FEW,
        wall_steps=(
            Spell(at=5 * HOUR, for_=DAY),
            Spell(at=9 * HOUR, for_=-2 * DAY),
            Spell(at=20 * HOUR, for_=DAY),
        ),
    ),
    "a server that is a day behind now and then, or has no clock": History(
        arrivals=FEW,
        odd=dict.fromkeys(range(30, 400, 7), "backwards") | dict.fromkeys(range(33, 400, 7), "undated"),
    ),
    "a restart on a clock that is minutes behind": History(
        arrivals=AS_LATE_AS_CAN_BE,
        rounding="narrow",
        interval=250.0,
        wall_steps=(Spell(at=0.0, for_=-290.0),),
        pauses={2: 10.0 * MINUTE},
        crashes=frozenset({2}),
    ),
    "a Date that stands, and an outage meanwhile": History(
        arrivals=FEW,
        dates=(Trouble(at=2.0 * HOUR, for_=20.0 * HOUR, kind="stands"),),
        outages=(Spell(at=5.0 * HOUR, for_=8.0 * HOUR),),
        length=3.0 * DAY,
    ),
    "a Date that runs slow, and an outage meanwhile": History(
        arrivals=FEW,
        dates=(Trouble(at=2.0 * HOUR, for_=40.0 * HOUR, kind="slow"),),
        outages=(Spell(at=5.0 * HOUR, for_=20.0 * HOUR),),
        length=4.0 * DAY,
    ),
    "a Date that runs slow, and very late ones": History(
        arrivals=tuple(Arrival(at=n * 977.0, late=24.5 * HOUR) for n in range(120)),
        dates=(Trouble(at=2.0 * HOUR, for_=30.0 * HOUR, kind="slow"),),
        length=4.0 * DAY,
    ),
    "a day ahead once, and a restart": History(
        arrivals=FEW, odd={12: "a day ahead"}, crashes=frozenset({40})
    ),
    "forty days ahead once": History(arrivals=FEW, odd={12: "forty days ahead"}),
    "forty days behind at first": History(arrivals=FEW, odd={0: "forty days behind"}, start="now"),
    "refused for four minutes": History(
        arrivals=FEW, interval=MINUTE, refusals=(Trouble(at=5.0 * HOUR, for_=4.0 * MINUTE, kind="403"),)
    ),
    "refused for an hour": History(
        arrivals=FEW, interval=MINUTE, refusals=(Trouble(at=5.0 * HOUR, for_=HOUR, kind="404"),)
    ),
    "a refused certificate for an hour": History(
        arrivals=FEW, refusals=(Trouble(at=5.0 * HOUR, for_=HOUR, kind="certificate"),)
    ),
    "an hour without an account": History(
        arrivals=FEW, refusals=(Trouble(at=5.0 * HOUR, for_=HOUR, kind="not authorized"),)
    ),
    "wide windows refused now and then": History(
        arrivals=tuple(Arrival(at=n * 977.0, late=n % 7 * 4 * HOUR) for n in range(120)),
        outages=(Spell(at=3.0 * HOUR, for_=1.5 * DAY),),
        refuses_wide=frozenset(range(0, 3000, 3)),
        length=5.0 * DAY,
    ),
    "wide windows refused always": History(
        arrivals=FEW, outages=(Spell(at=3.0 * HOUR, for_=0.5 * DAY),), widest=1440, length=3.0 * DAY
    ),
    "a store that is busy for half an hour": History(
        arrivals=FEW, busy=(Spell(at=5.0 * HOUR, for_=HOUR / 2),)
    ),
    "a first response of nothing": History(
        arrivals=(*(Arrival(at=-HOUR * n) for n in range(1, 20)), *FEW), odd={0: "empty"}, start="now"
    ),
    "a slow consumer": History(arrivals=FEW, pauses={3: 5.0 * HOUR, 50: 20.0 * MINUTE, 51: 3.0 * HOUR}),
}


FIRST = st.sampled_from([{}, {0: "empty"}, {0: "null", 1: "null"}])


def _no_two_lies(odd):
    """Two responses in a row that lie alike are the server's word; one is not."""
    return {
        number: what for number, what in odd.items() if what not in LIES or odd.get(number - 1) not in LIES
    }


@st.composite
def histories(draw):
    """Draw anything that can happen in two days."""
    interval = draw(st.sampled_from([2.0 * MINUTE, 5.0 * MINUTE, 20.0 * MINUTE, 2.0 * HOUR]))
    questions = st.integers(0, int(DAY / interval))
    oddities = st.sampled_from(["null", "undated", "cached", *LIES])
    arrivals = draw(st.lists(st.builds(Arrival, at=TIMES, late=LATENESS), max_size=25))

    return History(
        # What had expired before the poller began is not its to find.
        arrivals=tuple(arrival for arrival in arrivals if arrival.late - arrival.at <= 25 * HOUR),
        interval=interval,
        outages=tuple(draw(st.lists(OUTAGES, max_size=2))),
        suspends=tuple(draw(st.lists(SUSPENDS, max_size=2))),
        wall_steps=tuple(draw(st.lists(STEPS, max_size=2))),
        pauses=draw(st.dictionaries(st.integers(1, 20), st.floats(0, 3 * HOUR), max_size=2)),
        crashes=draw(st.frozensets(st.integers(1, 20), max_size=2)),
        rounding=draw(st.sampled_from(["exact", "narrow", "wide"])),
        ignores_minutes=draw(st.booleans()),
        odd=draw(st.dictionaries(questions, oddities).map(_no_two_lies)) | draw(FIRST),
        refusals=tuple(draw(st.lists(REFUSED, max_size=1))),
        dates=tuple(draw(st.lists(DATES, max_size=1))),
        busy=tuple(draw(st.lists(BUSY, max_size=1))),
        widest=draw(st.sampled_from([43_200, 43_200, 1440, 3240])),
        # Never one and the next but one: refused again once a narrower one was answered, that is a limit.
        refuses_wide=draw(st.frozensets(questions.map(lambda number: 3 * number), max_size=3)),
        start=draw(st.sampled_from([None, None, "now"])),
        durations=tuple(draw(st.lists(st.floats(0, 170), min_size=1, max_size=4))),
        date_of=draw(st.sampled_from(["begin", "end"])),
        length=4.0 * DAY,
    )


def first_plan(start=None):
    """Return the first request of all."""
    ladder = Ladder(interval=60.0, start=start)
    first = FirstRun(start=start, span=ladder.spans[-1])
    return ladder.plan(first.marks(ladder, EPOCH), EPOCH, deepest=first.is_deepest)


def test_first_window_reaches_beyond_the_deepest_rung():
    """No later window may bring what the first one left out, so the first overshoots."""
    assert first_plan() == Plan(rung=3, minutes=25 * 60 + 12)


@pytest.mark.parametrize(
    ("start", "hours"),
    [
        (timedelta(hours=1), 25),
        (timedelta(days=3), 72),
        (datetime.fromtimestamp(EPOCH - 100 * HOUR, UTC), 100),
        (datetime.fromtimestamp(EPOCH + HOUR, UTC), 25),
        ("now", 25),
    ],
)
def test_first_window_reaches_back_to_the_start(start, hours):
    """`start` widens the first window and never narrows it."""
    assert first_plan(start) == Plan(rung=3, minutes=hours * 60 + 12)


def test_three_days_down_means_three_days_and_a_deepest_rung():
    """`minutes` counts from the last complete response, not from the last request."""
    mark = EPOCH - 3 * DAY

    plan = Ladder(interval=60.0).plan((mark,) * 4, EPOCH)

    assert plan == Plan(rung=3, minutes=(72 + 25) * 60 + 2)


def test_no_window_is_wider_than_what_the_api_keeps():
    """43,200 minutes are all there is."""
    plan = Ladder(interval=60.0).plan((0.0,) * 4, EPOCH)

    assert plan.minutes == 43_200


@pytest.mark.parametrize("limit", [1440, 43_200])
def test_widest_window_is_always_enough(limit):
    """There is no wider one, so it is never requested again."""
    ladder = Ladder(interval=60.0, limit=limit)

    reading = Reading(earliest=EPOCH, latest=EPOCH)

    assert ladder.is_wide_enough(Plan(rung=3, minutes=limit), (0.0,) * 4, reading)


def test_response_moves_its_own_rung_and_the_quicker_ones():
    """A narrow response says nothing of what the deeper rungs look for."""
    reading = Reading(earliest=100.0, latest=101.0)

    marks = Ladder(interval=60.0).record(Plan(rung=1, minutes=70), (50.0, 40.0, 30.0, 20.0), reading)

    assert marks == (100.0, 100.0, 30.0, 20.0)


@pytest.mark.parametrize(
    ("latest", "minutes", "is_enough"),
    [(1000.0, 12, True), (1000.0, 11, False), (1000.0, 2000, True), (1080.0, 13, True), (1081.0, 13, False)],
)
def test_window_is_judged_by_the_responses_own_time(latest, minutes, is_enough):
    """Whatever the clocks here showed when it was requested; too wide it never is."""
    reading = Reading(earliest=latest - 1, latest=latest)

    assert (
        Ladder(interval=60.0).is_wide_enough(Plan(rung=0, minutes=minutes), (960.0,) * 4, reading)
        is is_enough
    )


def test_marks_of_another_ladder_are_fitted_to_this_one():
    """A version with other rungs left them: what the lowest says holds for every rung."""
    ladder = Ladder(interval=60.0)

    assert ladder.fitted((500.0, 400.0, 300.0)) == (300.0,) * 4
    assert ladder.fitted((4.0, 3.0, 2.0, 1.0)) == (4.0, 3.0, 2.0, 1.0)


def test_no_mark_ever_moves_back():
    """A `Date` a little behind the last one cannot take back what was covered."""
    marks = (500.0, 400.0, 300.0, 200.0)

    moved = Ladder(interval=60.0).record(
        Plan(rung=1, minutes=9), marks, Reading(earliest=450.0, latest=501.0)
    )

    assert moved == (500.0, 450.0, 300.0, 200.0)


def test_gap_is_what_expired_between_the_mark_and_the_retention():
    """The API keeps 30 days; what came before that and after the last mark may never have been seen."""
    reading = Reading(earliest=EPOCH, latest=EPOCH)

    ladder = Ladder(interval=60.0)

    assert ladder.gap((EPOCH - 29 * DAY,) * 4, reading) is None
    assert ladder.gap((EPOCH - 33 * DAY,) * 4, reading) == (EPOCH - 33 * DAY, EPOCH - 30 * DAY)
    assert attrs.evolve(ladder, limit=1440).gap((EPOCH - 3 * DAY,) * 4, reading) == (
        EPOCH - 3 * DAY,
        EPOCH - DAY,
    )


@pytest.mark.parametrize("name", NAMED)
def test_named_history(name):
    """Nothing is lost, nothing comes twice, and what shows up late waits no longer than it was late."""
    history = NAMED[name]

    world = play(history)

    assert broken_promises(history, world) == []


@settings(max_examples=20)
@given(histories())
def test_any_history(history):
    """The promise holds whatever happens."""
    world = play(history)

    assert broken_promises(history, world) == []


@pytest.mark.long
@settings(max_examples=100)
@given(histories())
def test_any_of_many_histories(history):
    """And it does so for more of them."""
    world = play(history)

    assert broken_promises(history, world) == []


def _everything_in_eleven_minutes(monkeypatch):
    monkeypatch.setattr(Ladder, "plan", lambda *_, **__: Plan(rung=0, minutes=11))
    monkeypatch.setattr(Ladder, "is_wide_enough", lambda *_: True)


def _no_verification(monkeypatch):
    monkeypatch.setattr(Ladder, "is_wide_enough", lambda *_: True)


def _mark_from_timestamp(monkeypatch):
    tick = Ticker.tick

    async def tick_by_timestamp(ticker, kept):
        ticked = await tick(ticker, kept)
        page = ticked.response.page or FakePage([])
        newest = max(
            (status.timestamp for status in page.everything), default=kept.marks[0] if kept else EPOCH
        )
        return attrs.evolve(ticked, outcome=Outcome(checkpoint=Checkpoint(marks=(newest,) * 4)))

    monkeypatch.setattr(Ticker, "tick", tick_by_timestamp)


def _lru_memory(monkeypatch):
    class Lru(MemoryStore):
        async def record(self, scope, ids, checkpoint, now):
            await super().record(scope, ids, checkpoint, now)
            await self.forget(scope, [0.0, *self._seen[scope].times][-20:][0])

    return Lru


def _memory_of_five_hours(monkeypatch):
    monkeypatch.setattr("greenapi_async._polling.feed._KEPT", 5.0 * HOUR)


def _no_guard(monkeypatch):
    monkeypatch.setattr(_window, "_ROUNDING", 0.0)
    monkeypatch.setattr(_window, "_JITTER", 0.0)


def _quick_rung_only(monkeypatch):
    monkeypatch.setattr("world.Ladder", lambda **options: Ladder(spans=_window.SPANS[:1], **options))


def _every_response_moves_all_marks(monkeypatch):
    monkeypatch.setattr(Ladder, "record", lambda _, __, ___, reading: (reading.earliest,) * 4)


def _silence_is_an_answer(monkeypatch):
    page = World.page

    async def ask_loudly(world, minutes):
        answer = await page(world, minutes)
        return attrs.evolve(answer, page=answer.page or FakePage([]))

    monkeypatch.setattr(World, "page", ask_loudly)


def _cached_is_fresh(monkeypatch):
    page = World.page

    async def ask_fresh(world, minutes):
        return attrs.evolve(await page(world, minutes), cached=False)

    monkeypatch.setattr(World, "page", ask_fresh)


def _deeper_rungs_when_they_are_overdue(monkeypatch):
    plan = Ladder.plan

    def plan_late(ladder, marks, now, **more):
        return plan(attrs.evolve(ladder, interval=0.0), marks, now, **more)

    monkeypatch.setattr(Ladder, "plan", plan_late)


def _mark_from_the_wall_clock(monkeypatch):
    hear = ServerTime.hear

    def hear_the_wall(time, *, date, duration, at):
        return attrs.evolve(hear(time, date=at.wall, duration=duration, at=at), is_believed=True)

    monkeypatch.setattr(ServerTime, "hear", hear_the_wall)


def _what_passed_is_no_bound(monkeypatch):
    later = Anchor.later
    monkeypatch.setattr(
        Anchor, "later", lambda anchor, moment: attrs.evolve(later(anchor, moment), earliest=-math.inf)
    )


def _a_leap_needs_no_other(monkeypatch):
    monkeypatch.setattr(ServerTime, "_confirms", lambda time, told: not time._is_behind(told))


def _first_date_needs_no_other(monkeypatch):
    agrees = ServerTime._agrees
    monkeypatch.setattr(
        ServerTime, "_agrees", lambda time, *told: time._anchor is None or agrees(time, *told)
    )


def _third_refusal_ends(monkeypatch):
    monkeypatch.setattr(_backoff, "_LASTS", 0.0)


def _certificate_is_a_refusal(monkeypatch):
    monkeypatch.setattr(_backoff, "_CERTIFICATE", _backoff._Rule(gives_up="refused"))


def _account_is_a_refusal(monkeypatch):
    monkeypatch.setitem(_backoff._RULES, (InstanceNotReadyError, False), _backoff._Rule(gives_up="refused"))


def _one_refusal_is_a_limit(monkeypatch):
    async def given(ticker, minutes):
        try:
            return await ticker._page(minutes)
        except BadRequestError as error:
            found = await ticker._widest_of(ticker._width.narrower(minutes, error))
        ticker._ladder = attrs.evolve(ticker._ladder, limit=found.minutes)
        return found

    monkeypatch.setattr(Ticker, "_given", given)


def _a_refused_width_is_final(monkeypatch):
    monkeypatch.setattr(Ticker, "_given", Ticker._page)


def _busy_is_broken(monkeypatch):
    monkeypatch.setattr("world.StoreError", lambda message, **_: StoreError(message))


def _the_past_is_forgotten(monkeypatch):
    monkeypatch.setattr(GoingOn, "since", lambda *_: None)


MUTANTS = {
    _everything_in_eleven_minutes: "nothing special",
    _no_verification: "a restart on a clock that is minutes behind",
    _mark_from_timestamp: "dated minutes in the future",
    mark_before_recording: "a day's outage, and a crash in the middle of what came then",
    _lru_memory: "a server that ignores minutes",
    _memory_of_five_hours: "a server that ignores minutes",
    _no_guard: "a stream as late as can be",
    _quick_rung_only: "as late as the rungs are long",
    _every_response_moves_all_marks: "as late as the rungs are long",
    _silence_is_an_answer: "a server that says nothing for a day",
    _cached_is_fresh: "an old answer from a cache for a day",
    _deeper_rungs_when_they_are_overdue: "a stream just later than the quick rung sees",
    _mark_from_the_wall_clock: "suspended while the clock was set back",
    _what_passed_is_no_bound: "a Date that runs slow, and very late ones",
    _a_leap_needs_no_other: "a day ahead once, and a restart",
    _first_date_needs_no_other: "forty days behind at first",
    _third_refusal_ends: "refused for four minutes",
    _certificate_is_a_refusal: "a refused certificate for an hour",
    _account_is_a_refusal: "an hour without an account",
    _one_refusal_is_a_limit: "wide windows refused now and then",
    _a_refused_width_is_final: "wide windows refused always",
    _busy_is_broken: "a store that is busy for half an hour",
    _the_past_is_forgotten: "a first response of nothing",
}


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__.strip("_"))
def test_mutant_breaks_a_promise(mutate, monkeypatch):
    """Each part of the algorithm is needed: without it, the promise breaks in this history."""
    history = NAMED[MUTANTS[mutate]]
    make_store = mutate(monkeypatch) or BusyStore

    world = play(history, make_store)

    assert broken_promises(history, world) != []
