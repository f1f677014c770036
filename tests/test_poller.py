"""The poller beside the ladder: delivery, failures, health, and who may ask."""

import logging
from collections import deque
from datetime import UTC, datetime, timedelta

import anyio
import pytest
from fake_api import FakeInstance
from virtual_time import run_in_virtual_time
from world import FakePage

from greenapi_async import (
    ClientClosedError,
    DeletedStatus,
    GapDetected,
    InstanceNotReadyError,
    MemoryStore,
    Polled,
    PollFailed,
    RateLimitedError,
    Recovered,
    RetentionGapError,
    SQLiteStore,
    StoreError,
    TextStatus,
    TransportError,
)
from greenapi_async._api.instance import Answer
from greenapi_async._polling.ladder import Ladder
from greenapi_async.poller import StatusPoller

NOW = 1_800_000_000.0
DAY = 86_400.0


class BrokenStore(MemoryStore):
    """Fails where it is told to."""

    def __init__(self, method):
        super().__init__()
        setattr(self, method, self._fail)

    async def _fail(self, *_):
        raise StoreError("the disk is full")


def text(id_message, *, age=60.0):
    return TextStatus(id_message=id_message, timestamp=int(NOW - age), chat_id="1@c.us")


def answer(*ids, date=NOW, cached=False, statuses=None):
    found = [text(id_) for id_ in ids] if statuses is None else statuses
    return Answer(page=FakePage(found), date=date, cached=cached, duration=0.0)


NOTHING_SAID = Answer(page=None, date=NOW, cached=False, duration=0.0)


def poller_of(
    api, *, store=None, start=None, delivery="at-least-once", on_event=None, clock=lambda: NOW, interval=60.0
):
    return StatusPoller(
        api,
        store=MemoryStore() if store is None else store,
        ladder=Ladder(interval=interval, start=start),
        delivery=delivery,
        on_event=on_event,
        clock=clock,
    )


async def take(poller, count):
    ids = []
    async for status in poller:
        ids.append(status.id_message)
        if len(ids) == count:
            break
    return ids


pytestmark = pytest.mark.anyio


async def test_status_is_recorded_when_the_next_is_asked_for():
    """What a crash interrupts was not handled, so it comes again, and nothing before it does."""
    store = MemoryStore()
    api = FakeInstance(answer("a", "b", "c"))

    first = await take(poller_of(api, store=store), 2)
    second = await take(poller_of(api, store=store), 2)

    assert first == ["a", "b"]
    assert second == ["b", "c"]


async def test_at_most_once_records_before_it_yields():
    """Where a repeat is worse than a loss, what a crash interrupts does not come again."""
    store = MemoryStore()
    api = FakeInstance(answer("a", "b", "c"))

    first = await take(poller_of(api, store=store, delivery="at-most-once"), 2)
    second = await take(poller_of(api, store=store, delivery="at-most-once"), 1)

    assert first == ["a", "b"]
    assert second == ["c"]


async def test_next_loop_begins_with_what_the_last_left_unhandled():
    """A handler that fails and is tried again on the same poller gets its status again."""
    poller = poller_of(FakeInstance(answer("a", "b", "c")))

    first = await take(poller, 2)
    second = await take(poller, 2)
    batch = await anext(aiter(poller.batches()))

    assert first == ["a", "b"]
    assert second == ["b", "c"]
    assert [status.id_message for status in batch] == ["c"]


async def test_at_most_once_keeps_what_could_not_be_recorded():
    """A store that fails for a moment costs no status, and none is yielded unrecorded."""

    class FailsOnce(MemoryStore):
        async def record(self, scope, ids, checkpoint, now):
            if list(ids) == ["a"] and not self._checkpoints.get("failed"):
                self._checkpoints["failed"] = True
                raise StoreError("busy")
            await super().record(scope, ids, checkpoint, now)

    poller = poller_of(FakeInstance(answer("a", "b")), store=FailsOnce(), delivery="at-most-once")
    with pytest.raises(StoreError):
        await anext(poller)

    assert await take(poller, 2) == ["a", "b"]


async def test_poll_once_begins_with_what_a_loop_left_unhandled():
    """Nobody said that it was handled, so it comes with the response; and once that is committed, never again."""
    poller = poller_of(FakeInstance(answer("a", "b", "c")), interval=0.01)

    first = await anext(poller)
    batch = await poller.poll_once()
    await batch.commit()
    with anyio.move_on_after(0.1) as scope:
        await anext(poller)

    assert first.id_message == "a"
    assert [status.id_message for status in batch.statuses] == ["a", "b", "c"]
    assert scope.cancelled_caught


async def test_poller_does_not_go_on_after_its_block():
    """Whoever left the block said that nobody asks any more."""
    async with poller_of(FakeInstance(answer("a"))) as poller:
        pass

    with pytest.raises(RuntimeError, match="has ended"):
        await anext(poller)


async def test_commit_records_the_status_last_yielded():
    """Whoever leaves the loop on purpose can say that the status is done."""
    store = MemoryStore()
    poller = poller_of(FakeInstance(answer("a", "b")), store=store)

    await take(poller, 1)
    await poller.commit()

    assert await store.unseen("1101000001", ["a", "b"]) == {"b"}


async def test_first_run_that_crashes_is_finished_by_the_next():
    """The rest of the first answer comes at once after a restart, not with the next deep question."""
    store = MemoryStore()
    api = FakeInstance(answer("a", "b", "c"))

    await take(poller_of(api, store=store), 2)
    await take(poller_of(api, store=store), 2)

    assert api.asked[1] >= 25 * 60


async def test_batches_are_recorded_as_a_whole():
    """A batch is recorded when the next is asked for, and comes again whole when it is not."""
    store = MemoryStore()
    api = FakeInstance(answer("a", "b"))

    first = [
        [s.id_message for s in batch] async for batch in _limited(poller_of(api, store=store).batches(), 1)
    ]
    second = [
        [s.id_message for s in batch] async for batch in _limited(poller_of(api, store=store).batches(), 1)
    ]

    assert first == second == [["a", "b"]]


async def test_batches_go_on_with_what_single_steps_left():
    """Both ways of asking draw from one queue."""
    poller = poller_of(FakeInstance(answer("a", "b", "c")))

    await take(poller, 1)
    batch = await anext(poller.batches())

    assert [status.id_message for status in batch] == ["b", "c"]


async def test_poll_once_records_nothing_before_commit():
    """A scheduler's tick that dies before `commit` is repeated by the next one."""
    store = MemoryStore()
    api = FakeInstance(answer("a", "b"))

    lost = await poller_of(api, store=store).poll_once()
    again = await poller_of(api, store=store).poll_once()
    await again.commit()
    after = await poller_of(api, store=store).poll_once()

    assert [status.id_message for status in lost.statuses] == ["a", "b"]
    assert list(again.statuses) == list(lost.statuses)
    assert list(after.statuses) == []


async def test_poll_once_raises_whatever_went_wrong():
    """When to ask again is the scheduler's to decide."""
    events = []
    poller = poller_of(FakeInstance(TransportError("no route")), on_event=events.append)

    with pytest.raises(TransportError):
        await poller.poll_once()

    assert [type(event) for event in events] == [PollFailed]
    assert events[0].retry_in is None
    assert poller.health.consecutive_failures == 1


async def test_two_tasks_cannot_ask_at_once():
    """A second concurrent `__anext__` is a mistake that would lose track of what was handled."""
    poller = poller_of(FakeInstance(answer()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(poller.__anext__)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="in use"):
            await anext(poller)
        tasks.cancel_scope.cancel()


async def test_cancelled_poller_goes_on():
    """Cancellation is the stop button; the same poller can be asked again."""
    poller = poller_of(FakeInstance(answer(), answer("a")), interval=0.05)

    with anyio.move_on_after(0.01) as scope:
        await anext(poller)
    status = await anext(poller)

    assert scope.cancelled_caught
    assert status.id_message == "a"


async def test_recording_is_shielded_from_cancellation():
    """Half a record would be a loss or a repeat; the shield lets it finish."""
    finished = []

    class SlowStore(MemoryStore):
        async def record(self, scope, ids, checkpoint, now):
            await anyio.sleep(0.05)
            await super().record(scope, ids, checkpoint, now)
            finished.append(list(ids))

    store = SlowStore()
    poller = poller_of(FakeInstance(answer("a", "b")), store=store)
    await take(poller, 1)

    with anyio.move_on_after(0.01):
        await anext(poller)

    assert ["a"] in finished


async def test_duplicate_ids_in_one_answer_come_once():
    """One id is one status, however often an answer repeats it."""
    poller = poller_of(FakeInstance(answer("a", "a", "b")))

    assert await take(poller, 2) == ["a", "b"]


async def test_deletion_comes_beside_the_status_it_deletes():
    """A deletion carries the id of what it deletes, and is an item of its own."""
    deleted = DeletedStatus(id_message="a", timestamp=int(NOW), chat_id="1@c.us")
    api = FakeInstance(answer("a"), answer(statuses=[text("a"), deleted]))
    poller = poller_of(api, interval=0.01)

    kinds = [(await anext(poller)).kind for _ in range(2)]

    assert kinds == ["text", "deleted"]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (None, ["old", "new"]),
        ("now", []),
        (timedelta(hours=1), ["new"]),
        (datetime.fromtimestamp(NOW - 3600, UTC), ["new"]),
    ],
)
async def test_start_says_what_a_first_run_yields(start, expected):
    """What is not wanted is recorded, so that no wider question brings it as new."""
    store = MemoryStore()
    api = FakeInstance(answer(statuses=[text("old", age=7200), text("new")]))

    batch = await poller_of(api, store=store, start=start).poll_once()
    await batch.commit()
    later = await poller_of(api, store=store, start=None).poll_once()

    assert [status.id_message for status in batch.statuses] == expected
    assert list(later.statuses) == []


async def test_start_is_not_used_with_a_checkpoint():
    """A restart goes on where it stopped, whatever `start` says."""
    store = MemoryStore()
    await (await poller_of(FakeInstance(answer("a")), store=store, start="now").poll_once()).commit()

    batch = await poller_of(FakeInstance(answer("a", "b")), store=store, start="now").poll_once()

    assert [status.id_message for status in batch.statuses] == ["b"]


async def test_pollers_of_two_instances_share_a_store():
    """The scope keeps their memories apart."""
    store = MemoryStore()
    other = FakeInstance(answer("a"))
    other.id_instance = "1101000002"
    one, two = poller_of(FakeInstance(answer("a")), store=store), poller_of(other, store=store)

    await (await one.poll_once()).commit()
    batch = await two.poll_once()

    assert [status.id_message for status in batch.statuses] == ["a"]


@pytest.mark.parametrize("method", ["load", "unseen", "record", "forget"])
async def test_store_failure_raises_at_once(method):
    """Without its memory a poller would repeat or lose, so it does not go on."""
    poller = poller_of(FakeInstance(answer("a", "b")), store=BrokenStore(method))

    with pytest.raises(StoreError):
        await take(poller, 2)

    assert poller.health.state == "stopped"
    assert type(poller.health.last_error) is StoreError


@pytest.mark.parametrize("delivery", ["at-least-once", "at-most-once"])
async def test_store_that_fails_later_is_seen_in_health(delivery):
    """A disk that fills up stops the bot, and whoever asks for its health has to learn of it."""
    store, events = MemoryStore(), []
    poller = poller_of(FakeInstance(answer("a", "b")), store=store, delivery=delivery, on_event=events.append)
    await anext(poller)

    store.record = BrokenStore("record").record
    with pytest.raises(StoreError):
        await anext(poller)

    assert (poller.health.state, poller.health.consecutive_failures) == ("stopped", 1)
    assert type(events[-1]) is PollFailed


async def test_at_most_once_moves_the_marks_with_the_last_of_an_answer():
    """What was not handed out yet is not covered."""
    store = MemoryStore()
    poller = poller_of(FakeInstance(answer("a", "b")), store=store, delivery="at-most-once")

    await anext(poller)
    after_one = await store.load("1101000001")
    await anext(poller)
    after_all = await store.load("1101000001")

    assert after_one.catching_up
    assert not after_all.catching_up


async def test_refused_second_loop_repeats_nothing():
    """Who begins a second loop while the first waits is refused, and what the first handled stays so."""
    api = FakeInstance(answer("a"), answer("b"))
    poller = poller_of(api, interval=0.1)
    assert await anext(poller) == text("a")

    async with anyio.create_task_group() as tasks:
        seen = []

        async def go_on():
            seen.append((await anext(poller)).id_message)

        tasks.start_soon(go_on)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError):
            await anext(aiter(poller))

    assert seen == ["b"]


async def test_cached_and_silent_answers_deliver_but_move_no_mark():
    """Only a complete answer of now says how far polling got."""
    store = MemoryStore()
    await (await poller_of(FakeInstance(answer("a")), store=store).poll_once()).commit()
    before = await store.load("1101000001")

    cached = await poller_of(FakeInstance(answer("b", date=NOW + 900, cached=True)), store=store).poll_once()
    await cached.commit()
    silent = await poller_of(FakeInstance(NOTHING_SAID), store=store).poll_once()

    assert [status.id_message for status in cached.statuses] == ["b"]
    assert list(silent.statuses) == []
    assert await store.load("1101000001") == before


async def test_silent_first_answer_does_not_end_the_first_run():
    """Nothing was said of what is there, so the next question is a first one too."""
    store = MemoryStore()

    await poller_of(FakeInstance(NOTHING_SAID), store=store).poll_once()

    assert await store.load("1101000001") is None


async def test_too_narrow_a_question_is_asked_again_at_once():
    """The answer's own `Date` tells how long the machine slept, whatever the clocks say."""
    store = MemoryStore()
    await (await poller_of(FakeInstance(answer("a")), store=store).poll_once()).commit()
    api = FakeInstance(answer(date=NOW + 2 * DAY), answer("b", date=NOW + 2 * DAY))

    batch = await poller_of(api, store=store).poll_once()

    assert api.asked[0] < 20 < 48 * 60 + 15 < api.asked[1]
    assert [status.id_message for status in batch.statuses] == ["b"]


async def test_three_days_down_are_one_question(tmp_path):
    """The marks survive the process, so the next one asks for three days and the deepest rung, once."""
    before = SQLiteStore(tmp_path / "seen.db")
    await (await poller_of(FakeInstance(answer("a")), store=before).poll_once()).commit()
    await before.aclose()
    later = NOW + 3 * DAY
    api = FakeInstance(answer("a", "b", date=later))

    after = SQLiteStore(tmp_path / "seen.db")
    batch = await poller_of(api, store=after, clock=lambda: later).poll_once()
    await after.aclose()

    [minutes] = api.asked
    assert 0 <= minutes - (3 * 24 + 25) * 60 <= 5
    assert [status.id_message for status in batch.statuses] == ["b"]


async def test_checkpoint_from_the_future_is_repaired(caplog):
    """Marks that lie ahead of the server's clock would hide what comes: everything is asked for, and said so."""
    store = MemoryStore()
    await (await poller_of(FakeInstance(answer(date=NOW + DAY)), store=store).poll_once()).commit()
    api = FakeInstance(answer("a"))

    batch = await poller_of(api, store=store).poll_once()
    await batch.commit()

    assert api.asked[-1] == 43_200
    assert "is in the future" in caplog.text
    assert (await store.load("1101000001")).marks[0] < NOW


async def test_more_than_the_retention_down_is_told_as_a_gap(caplog):
    """What expired unseen cannot be had, so it is said: in health, to the hook and in the log."""
    store = MemoryStore()
    events = []
    await (await poller_of(FakeInstance(answer("a")), store=store).poll_once()).commit()
    api = FakeInstance(answer("b", date=NOW + 40 * DAY))

    poller = poller_of(api, store=store, on_event=events.append, clock=lambda: NOW + 40 * DAY)
    batch = await poller.poll_once()

    assert api.asked == [43_200]
    assert [status.id_message for status in batch.statuses] == ["b"]
    [gap] = poller.health.gaps
    assert isinstance(gap, RetentionGapError)
    assert gap.lost_to - gap.lost_from == pytest.approx(timedelta(days=10), abs=timedelta(minutes=1))
    assert GapDetected(gap.lost_from, gap.lost_to) in events
    assert [record.levelname for record in caplog.records].count("ERROR") == 1


async def test_ids_are_forgotten_after_31_days_and_not_before():
    """An id is needed for as long as the API can send its status again: 30 days from receipt."""
    store = MemoryStore()
    clock = [NOW]
    await (await poller_of(FakeInstance(answer("a")), store=store).poll_once()).commit()
    known = []

    for day in (30.9, 31.1):
        clock[0] = NOW + day * DAY
        await poller_of(FakeInstance(answer(date=clock[0])), store=store, clock=lambda: clock[0]).poll_once()
        known.append(await store.unseen("1101000001", ["a"]) == set())

    assert known == [True, False]


@pytest.mark.parametrize("ahead", [400 * DAY, -400 * DAY], ids=["server", "wall"])
async def test_one_clock_alone_forgets_nothing(ahead):
    """A clock that runs a year ahead must not bring a month of statuses again."""
    store = MemoryStore()
    await (await poller_of(FakeInstance(answer("a")), store=store).poll_once()).commit()

    api = FakeInstance(answer(date=NOW + max(0, ahead)))
    await poller_of(api, store=store, clock=lambda: NOW + max(0, -ahead)).poll_once()

    assert await store.unseen("1101000001", ["a"]) == set()


async def test_health_tells_how_the_poller_fares():
    """What a `/healthz` needs can be read at any time."""
    clock = [NOW]
    poller = poller_of(FakeInstance(answer("a", "b")), clock=lambda: clock[0])
    before = poller.health

    await take(poller, 2)
    await poller.commit()
    clock[0] += 500
    after = poller.health

    assert (before.state, before.lag, before.last_success_at) == ("starting", None, None)
    assert (after.state, after.polls, after.delivered) == ("ok", 1, 2)
    assert after.lag == pytest.approx(500, abs=3)
    assert after.last_success_at == datetime.fromtimestamp(NOW, UTC)


async def test_leaving_the_block_stops_the_poller():
    """`async with` says when nobody will ask any more."""
    async with poller_of(FakeInstance(answer("a"))) as poller:
        await anext(poller)

    assert poller.health.state == "stopped"
    assert repr(poller) == "<StatusPoller of 1101000001, stopped>"


async def test_failing_hook_does_not_stop_the_feed(caplog):
    """A bug in somebody's metrics must not lose statuses."""

    def hook(event):
        raise ZeroDivisionError

    poller = poller_of(FakeInstance(answer("a")), on_event=hook)

    assert await take(poller, 1) == ["a"]
    assert "on_event failed" in caplog.text


async def _limited(iterator, count):
    for _ in range(count):
        yield await anext(iterator)


class TestFailures:
    """Rules 2.3, on a clock that jumps."""

    def test_closed_client_raises_at_once(self):
        """Nothing heals a closed client."""
        api = FakeInstance(answer("a"), ClientClosedError("closed"))

        async def main():
            with pytest.raises(ClientClosedError):
                await take(poller_of(api), 2)

        run_in_virtual_time(main)

    @pytest.mark.parametrize("start", [None, "now", timedelta(minutes=5)])
    @pytest.mark.parametrize("trouble", [TransportError("down"), NOTHING_SAID, "cached"])
    def test_what_shows_up_before_the_first_answer_is_new(self, start, trouble):
        """A first run counts from its first attempt, however long the API takes to answer at all."""
        posted = text("x", age=-30 * 60)

        class DownForTwoHours(FakeInstance):
            async def page(self, minutes):
                now = NOW + anyio.current_time()
                if now < NOW + 7200:
                    self.answers = deque([answer(date=now, cached=True) if trouble == "cached" else trouble])
                else:
                    self.answers = deque([answer(statuses=[text("old", age=3600), posted], date=now)])
                return await super().page(minutes)

        async def main():
            poller = poller_of(DownForTwoHours(), start=start, clock=lambda: NOW + anyio.current_time())
            return await take(poller, 1 if start else 2)

        assert run_in_virtual_time(main) == (["x"] if start else ["old", "x"])

    def test_wall_clock_that_is_set_forward_brings_nothing_old(self):
        """A machine without a clock of its own gets the time late; a month of statuses is not new by that."""

        class Api(FakeInstance):
            async def page(self, minutes):
                now = NOW + anyio.current_time()
                months_old = text("old", age=20 * DAY)
                self.answers = deque([answer(statuses=[months_old] * (minutes > 19 * 1440), date=now)])
                return await super().page(minutes)

        async def main():
            api = Api()
            ahead = [-10 * DAY]
            poller = poller_of(api, start="now", clock=lambda: NOW + ahead[0] + anyio.current_time())
            with anyio.move_on_after(3600):
                async for _ in poller:
                    raise AssertionError("an old status came as new")
            ahead[0] = 30 * DAY
            with anyio.move_on_after(3600):
                async for _ in poller:
                    raise AssertionError("an old status came as new")
            return api.asked

        assert max(run_in_virtual_time(main)) > 20 * 1440

    @pytest.mark.parametrize("seconds", [5.0, 40.0, 100.0, 170.0])
    def test_slow_answers_move_the_marks_all_the_same(self, seconds):
        """The vendor advises timeouts up to 180 s: a question allows for an answer that takes as long as the last."""

        async def main():
            api = FakeInstance()

            async def page(minutes):
                api.asked.append(minutes)
                await anyio.sleep(seconds)
                return Answer(
                    page=FakePage([]), date=int(NOW + anyio.current_time()), cached=False, duration=seconds
                )

            api.page = page
            poller = poller_of(api, clock=lambda: NOW + anyio.current_time())
            with anyio.move_on_after(6 * 3600):
                await anext(poller)
            return poller.health, api.asked

        health, minutes = run_in_virtual_time(main)
        assert health.lag < 4 * seconds + 70
        assert len(minutes) <= health.polls + 3
        assert max(minutes[10:]) < 1800

    def test_start_beyond_the_retention_is_no_gap(self):
        """Nothing can be lost that was never followed."""
        store = MemoryStore()

        async def main():
            start = timedelta(days=100)
            await take(poller_of(FakeInstance(answer("a", "b")), store=store, start=start), 1)
            poller = poller_of(FakeInstance(answer("a", "b")), store=store, start=start)
            await take(poller, 1)
            return poller.health.gaps

        assert run_in_virtual_time(main) == ()

    def test_backoff_grows_and_is_reset_by_success(self):
        """At most 60 s between tries, at least a quarter of a second, and a success forgets them."""
        waits = []

        async def main():
            api = FakeInstance(*[TransportError("x")] * 30, answer("a"), TransportError("x"), answer("b"))
            await take(poller_of(api, on_event=waits.append), 2)

        run_in_virtual_time(main)
        failures = [event for event in waits if isinstance(event, PollFailed)]
        assert all(0.25 <= event.retry_in <= min(60, 2**event.consecutive) for event in failures)
        assert max(event.retry_in for event in failures[:30]) > 16
        assert failures[-1].consecutive == 1

    def test_rate_limit_waits_as_long_as_asked(self):
        """429 with Retry-After waits so long, without it at least two seconds."""

        async def main():
            api = FakeInstance(RateLimitedError("x", retry_after=120.0), RateLimitedError("x"), answer("a"))
            await take(poller_of(api), 1)
            return [later - earlier for earlier, later in zip(api.times, api.times[1:], strict=False)]

        told, untold = run_in_virtual_time(main)
        assert told == 120.0
        assert 2.0 <= untold <= 4.0

    def test_person_who_must_scan_is_given_time(self):
        """ "not authorized" is asked again every five minutes: somebody has to find the phone."""

        async def main():
            api = FakeInstance(InstanceNotReadyError("?", reason="not authorized"), answer("a"))
            await take(poller_of(api), 1)
            return api.times[1] - api.times[0]

        assert run_in_virtual_time(main) == 300.0

    def test_outage_is_logged_when_it_begins_and_ends(self, caplog):
        """Logs tell changes of state, never ticks: a day with 200 failures in two outages is five records."""
        caplog.set_level(logging.DEBUG, logger="greenapi_async")
        events = []

        async def main():
            api = FakeInstance(
                *[TransportError("x")] * 100, answer("a"), *[TransportError("x")] * 100, answer("b")
            )
            await take(poller_of(api, on_event=events.append), 2)

        run_in_virtual_time(main)
        assert [record.levelname for record in caplog.records] == [
            "INFO",
            "WARNING",
            "INFO",
            "WARNING",
            "INFO",
        ]
        assert sum(isinstance(event, Recovered) for event in events) == 2

    def test_ticks_keep_their_interval_and_do_not_pile_up(self):
        """A slow consumer delays the next question; it does not owe the ones in between."""

        async def main():
            api = FakeInstance(answer("a"), answer(), answer("b"), answer("c"))
            poller = poller_of(api)
            for _ in range(3):
                status = await anext(poller)
                await anyio.sleep(600 if status.id_message == "b" else 1)
            return [moment - api.times[0] for moment in api.times]

        assert run_in_virtual_time(main) == [0, 60, 120, 720]

    def test_polled_tells_minutes_received_and_new(self):
        """What an exporter of metrics needs of a tick."""
        events = []

        async def main():
            await take(poller_of(FakeInstance(answer("a"), answer("a", "b")), on_event=events.append), 2)

        run_in_virtual_time(main)
        assert [event for event in events if isinstance(event, Polled)] == [
            Polled(1512, 1, 1, 0.0),
            Polled(13, 2, 1, 0.0),
        ]

    def test_day_of_polls_every_minute(self):
        """1,440 questions and as many statuses; the suite's own clock says how long that takes."""

        async def main():
            api = FakeInstance(*[answer(f"id{minute}", date=NOW + 60 * minute) for minute in range(1440)])
            poller = poller_of(api, clock=lambda: NOW + anyio.current_time())
            return await take(poller, 1440)

        assert len(set(run_in_virtual_time(main))) == 1440


async def test_two_that_begin_at_once_lose_nothing_between_them():
    """What showed up after the first of two processes began is not the past, though the second began later."""
    store = MemoryStore()
    early = poller_of(FakeInstance(answer()), store=store, start="now")
    api = FakeInstance(answer("x"))
    late = poller_of(api, store=store, start="now")

    async def page(minutes):
        await early.poll_once()
        return await FakeInstance.page(api, minutes)

    api.page = page
    batch = await late.poll_once()

    assert [status.id_message for status in batch.statuses] == ["x"]
