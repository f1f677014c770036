"""Where a poller begins: what is new and what is of the past, at the first run and after a checkpoint that cannot be."""

import sqlite3
from contextlib import closing
from datetime import timedelta

import anyio
import pytest
from scripted import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    ScriptedApi,
    hourly,
    hours,
    in_virtual_time,
    now,
    passed,
    poller_of,
    response,
    seen_within,
    text,
)
from world import FakePage

from greenapi_async import GapDetected, MemoryStore, SQLiteStore, TransportError
from greenapi_async._api.instance import Answer
from greenapi_async._polling.ladder import Ladder
from greenapi_async.poller import StatusPoller
from greenapi_async.stores import Checkpoint

SCOPE = "1101000001"


class Hourly(ScriptedApi):
    """An API whose contacts post one status an hour, for months; the first requests get what `first` says."""

    def __init__(self, *first):
        super().__init__(self._respond)
        self.first = list(first)

    def _respond(self, minutes):
        return self.first.pop(0)() if self.first else response(*hourly(minutes))


def nothing():
    return response()


def silence():
    return Answer(page=None, date=float(int(now())), cached=False, duration=0.0)


def test_what_is_posted_while_the_first_request_is_under_way_is_new():
    """It took 40 s, and swallowed what came meanwhile: new is what was posted after the poller began."""

    class Slow(ScriptedApi):
        async def page(self, minutes):
            began = now()
            if not self.minutes:
                await anyio.sleep(40)
            found = await super().page(minutes)
            return Answer(page=found.page, date=found.date, cached=False, duration=now() - began)

    async def main():
        posted = [text("before", at=now() - 3), text("meanwhile", at=now() + 20)]
        api = Slow(lambda _: response(*(status for status in posted if status.timestamp <= now())))
        return await seen_within(HOUR, poller_of(api, start="now"))

    assert in_virtual_time(main) == ["meanwhile"]


@pytest.mark.parametrize("first", [nothing, silence])
@pytest.mark.parametrize(
    ("start", "oldest"), [("now", 1), (timedelta(hours=2), -1), (timedelta(days=2), -47), (None, -25)]
)
@pytest.mark.parametrize("restarts", [False, True])
def test_the_past_after_a_first_response_of_nothing_is_not_new(first, start, oldest, restarts):
    """An API that was just authorized says `[]`, then shows a day of journal: 25 old statuses came as new."""

    async def main():
        store, api = MemoryStore(), Hourly(*[first] * 3)
        poller = poller_of(api, start=start, store=store)
        seen = await seen_within(10 * MINUTE, poller)
        if restarts:
            poller = poller_of(api, start=start, store=store)
        return seen + await seen_within(60 * HOUR, poller)

    seen = in_virtual_time(main)
    assert hours(1, 60) <= set(seen) <= hours(oldest, 60)
    assert len(seen) == len(set(seen))


def test_a_late_one_of_before_the_start_is_of_the_past():
    """It shows up after the poller began, and was posted before."""

    async def main():
        posted = [text("old", at=NOW - HOUR), text("new", at=NOW + MINUTE)]

        def respond(minutes):
            shown = posted if passed() > 2 * MINUTE else []
            return response(*(each for each in shown if each.timestamp >= now() - minutes * MINUTE))

        return await seen_within(3 * HOUR, poller_of(ScriptedApi(respond), start="now"))

    assert in_virtual_time(main) == ["new"]


def test_odd_timestamps_come_where_the_window_does_not_reach_the_start():
    """The vendor's are sometimes wrong: what a narrow window brings was posted now, whatever it says."""

    async def main():
        def respond(minutes):
            odd = [text("odd", at=NOW - 9 * DAY)] if passed() > 2 * HOUR else []
            return response(*odd)

        return await seen_within(3 * HOUR, poller_of(ScriptedApi(respond), start="now"))

    assert in_virtual_time(main) == ["odd"]


@pytest.mark.parametrize("start", [None, "now", timedelta(days=3)])
@pytest.mark.parametrize("ahead", [HOUR, 20 * DAY, 400 * DAY])
def test_a_checkpoint_from_the_future_begins_anew(start, ahead, caplog):
    """It says nothing of what was seen: a day is yielded, and the rest recorded and told, for it may be lost."""

    async def main():
        store = MemoryStore()
        await store.record(SCOPE, ["-3 h", "-100 h"], Checkpoint(marks=(NOW + ahead,) * 4), NOW)
        events = []
        api = Hourly()
        poller = poller_of(api, store=store, start=start, on_event=events.append)
        seen = await seen_within(HOUR / 2, poller)
        gaps = poller.health.gaps
        again = await seen_within(30 * HOUR, poller_of(api, store=store, start=start))
        mark = (await store.load(SCOPE)).marks[0] - now()
        return seen, gaps, again, api.minutes, mark, [e for e in events if isinstance(e, GapDetected)]

    seen, gaps, again, minutes, mark, told = in_virtual_time(main)
    assert set(seen) | hours(-25, -25) == hours(-25, 0) - hours(-3, -3)
    assert set(again) == hours(1, 30)
    assert max(minutes[:3]) == 43_200
    [gap] = gaps
    assert len(told) == 1
    assert gap.lost_to.timestamp() == pytest.approx(NOW - 25 * HOUR, abs=5)
    assert gap.lost_from.timestamp() == pytest.approx(NOW - 30 * DAY, abs=5)
    assert -3 * MINUTE < mark < 0
    assert "is in the future" in caplog.text


def test_a_crash_amid_a_new_beginning_goes_on_there():
    """The next process finds a checkpoint of now, with the day still to be handled."""

    async def main():
        store = MemoryStore()
        await store.record(SCOPE, [], Checkpoint(marks=(NOW + DAY,) * 4), NOW)
        handled = []
        poller = poller_of(Hourly(), store=store)
        async for status in poller:
            handled.append(status.id_message)
            if len(handled) == 5:
                break
        after = poller_of(Hourly(), store=store)
        later = await seen_within(MINUTE / 2, after)
        return handled, later, after.health.gaps

    handled, later, gaps = in_virtual_time(main)
    assert {*handled, *later} == hours(-24, 0)
    assert set(handled) & set(later) == set(handled[-1:])
    assert gaps == ()


def test_a_gap_is_told_once(caplog):
    """A job that dies before its `commit` met the same gap, and an ERROR line, at each run of the same poller."""

    async def main():
        store = MemoryStore()
        await store.record(SCOPE, [], Checkpoint(marks=(NOW - 40 * DAY,) * 4), NOW)
        events = []
        poller = poller_of(Hourly(), store=store, on_event=events.append)
        for _ in range(5):
            await poller.poll_once()
            await anyio.sleep(MINUTE)
        return poller.health.gaps, [event for event in events if isinstance(event, GapDetected)]

    gaps, told = in_virtual_time(main)
    assert len(gaps) == len(told) == 1
    assert [record.levelname for record in caplog.records].count("ERROR") == 1


def test_health_keeps_the_latest_gaps_only():
    """A poller that runs for years on a machine that is switched on twice a year."""

    async def main():
        poller = poller_of(Hourly(), clock=lambda: NOW + passed())
        for _ in range(40):
            await (await poller.poll_once()).commit()
            await anyio.sleep(31 * DAY)
        return poller.health.gaps

    gaps = in_virtual_time(main)
    assert 5 <= len(gaps) <= 20
    assert gaps[-1].lost_to.timestamp() == pytest.approx(NOW + (39 * 31 - 30) * DAY, abs=5)


@pytest.mark.parametrize("deeper", ["later", "earlier"])
def test_another_event_loop_has_another_clock(deeper):
    """`trio.run` twice with one poller: it slept for days, or took the time between the clocks for time that passed."""
    import trio
    import trio.testing

    began = {"later": (0.0, 9 * DAY), "earlier": (9 * DAY, 0.0)}[deeper]
    wall = [NOW]
    store, requested, lags = MemoryStore(), [], []

    class Api(ScriptedApi):
        async def page(self, minutes):
            requested.append(trio.current_time() - start)
            await trio.lowlevel.checkpoint()
            return response(date=float(int(wall_now())))

    def wall_now():
        return wall[0] + trio.current_time() - start

    poller = StatusPoller(
        Api(None),
        store=store,
        ladder=Ladder(interval=MINUTE),
        delivery="at-least-once",
        on_event=None,
        clock=wall_now,
    )

    async def main(clock, offset):
        nonlocal start
        clock.jump(offset)
        start = trio.current_time()
        requested.clear()
        with trio.move_on_after(10 * MINUTE):
            await anext(poller)
        lags.append(poller.health.lag)
        wall[0] = wall_now()
        return list(requested)

    start = 0.0
    clocks = [trio.testing.MockClock(autojump_threshold=0) for _ in began]
    first, second = (
        trio.run(main, clock, offset, clock=clock) for clock, offset in zip(clocks, began, strict=True)
    )

    assert len(first) == 10
    assert len(second) >= 9
    assert second[0] <= MINUTE
    assert max(lags) < 2 * MINUTE


def test_poll_once_records_nothing_of_what_a_loop_left():
    """A `break` says nothing of the status at hand: it comes with the next response, as after any other end."""

    async def main():
        store = MemoryStore()
        api = ScriptedApi(lambda _: response(*(text(id_, at=NOW - 10) for id_ in "abc")))
        poller = poller_of(api, store=store)
        async for _ in poller:
            break
        batch = await poller.poll_once()
        unrecorded = await store.unseen(SCOPE, "abc")
        await batch.commit()
        rest = await seen_within(5 * MINUTE, poller)
        return [status.id_message for status in batch.statuses], unrecorded, rest

    assert in_virtual_time(main) == (["a", "b", "c"], {"a", "b", "c"}, [])


FORMAT_1 = """
CREATE TABLE seen (
    scope TEXT NOT NULL, id BLOB NOT NULL, first_seen REAL NOT NULL, PRIMARY KEY (scope, id)
) WITHOUT ROWID;
CREATE TABLE checkpoint (
    scope TEXT NOT NULL PRIMARY KEY, marks TEXT NOT NULL, catching_up INTEGER NOT NULL
) WITHOUT ROWID;
PRAGMA application_id = 0x47415354;
PRAGMA user_version = 1;
PRAGMA journal_mode = WAL;
"""


def test_a_file_of_the_last_release_goes_on(tmp_path):
    """Format 1 knows nothing of where the poller began; it is migrated when it is opened."""
    path = tmp_path / "seen.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(FORMAT_1)
        marks = " ".join([repr(NOW - HOUR)] * 4)
        database.execute("INSERT INTO checkpoint VALUES (?, ?, 0)", [SCOPE, marks])
        database.execute("INSERT INTO seen VALUES (?, ?, ?)", [SCOPE, b"-2 h", NOW - HOUR])
        database.commit()

    async def main():
        store = SQLiteStore(path)
        before = await store.load(SCOPE)
        batch = await poller_of(Hourly(), store=store).poll_once()
        await batch.commit()
        await store.record(SCOPE, ["x"], Checkpoint(marks=(1.0,), begins=5.25), NOW)
        await store.aclose()
        store = SQLiteStore(path)
        after = await store.load(SCOPE)
        unseen = await store.unseen(SCOPE, ["-2 h", "x", "y"])
        await store.aclose()
        return before, {status.id_message for status in batch.statuses}, after, unseen

    before, seen, after, unseen = in_virtual_time(main)
    assert before == Checkpoint(marks=(NOW - HOUR,) * 4, begins=None)
    assert seen >= hours(0, 0)
    assert "-2 h" not in seen
    assert after == Checkpoint(marks=(1.0,), begins=5.25)
    assert unseen == {"y"}


@pytest.mark.parametrize(("start", "expected"), [("now", hours(1, 2)), (None, hours(-24, 2))])
def test_a_clock_that_is_set_before_the_first_response_brings_nothing_old(start, expected):
    """A machine without a battery starts in 1970; until its clock is set, certificates are not valid yet."""

    async def main():
        def wall():
            return now() if passed() > MINUTE else passed()

        def respond(minutes):
            if passed() < 2 * MINUTE:
                raise TransportError("certificate is not yet valid")
            return response(*hourly(minutes))

        return await seen_within(2 * HOUR + MINUTE, poller_of(ScriptedApi(respond), start=start, clock=wall))

    within_a_second = hours(0, 0) | hours(-25, -25)  # `Date` has no fractions.
    assert set(in_virtual_time(main)) - within_a_second == expected - within_a_second


def test_a_slow_first_response_covers_nothing_after_it_was_looked_up():
    """A status shows up while it is under way, a day late: the deepest rung has to reach it next time."""

    late = text("late", at=NOW + 20 - 25 * HOUR + 1)

    class Slow(ScriptedApi):
        async def page(self, minutes):
            begun = now()
            shown = [late] * (passed() > 20 and late.timestamp >= begun - minutes * MINUTE)
            await anyio.sleep(0 if self.minutes else 900)
            self.minutes.append(minutes)
            return Answer(page=FakePage(shown), date=float(int(now())), cached=False, duration=now() - begun)

    async def main():
        return await seen_within(6 * HOUR, poller_of(Slow(None)))

    assert in_virtual_time(main) == ["late"]


@pytest.mark.parametrize("start", [None, "now"])
@pytest.mark.parametrize("first", [nothing, lambda: response(text("x", at=now() - HOUR))])
def test_two_lies_at_the_start_hide_nothing_of_what_comes(start, first):
    """By the server's time, told twice, the poller began tomorrow; what is posted today is not of the past for that."""

    async def main():
        api = Hourly(*[first] * 2)
        lies = []

        def respond(minutes):
            found = api._respond(minutes)
            lies.append(DAY if len(lies) < 2 else 0.0)
            return response(*found.page.everything, date=float(int(now() + lies[-1])))

        return await seen_within(30 * HOUR, poller_of(ScriptedApi(respond), start=start))

    assert set(in_virtual_time(main)) >= hours(1, 29)


def test_the_past_is_not_recorded_by_the_wall_clock_of_a_cached_response():
    """A clock that is hours ahead took what is posted now for old, and a cache's `Date` says nothing against it."""

    async def main():
        posted = [text("old", at=NOW - HOUR), text("new", at=NOW + 90)]

        def respond(_minutes):
            shown = [status for status in posted if status.timestamp <= now()]
            return response(*shown, cached=passed() < 5 * MINUTE)

        return await seen_within(
            HOUR, poller_of(ScriptedApi(respond), start="now", clock=lambda: now() + 5 * HOUR)
        )

    assert in_virtual_time(main) == ["new"]
