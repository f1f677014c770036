"""Every small history keeps every promise, and each mutant of the algorithm breaks one in a small history."""

import attrs
import pytest
import small_histories
from mutants import mark_before_recording
from small_histories import SPANS, World, histories, play_all, smallest_broken, with_trouble_here

from greenapi_async import MemoryStore
from greenapi_async._polling import servertime
from greenapi_async._polling.ladder import Ladder
from greenapi_async._polling.origin import FirstRun, GoingOn
from greenapi_async._polling.servertime import ServerTime
from greenapi_async._polling.tick import Ticker

HAPPENED = ("used the deepest rung", "confirmed a leap", "told a gap")


def test_there_are_as_many_as_were_meant():
    """Four ticks of eight responses, two crashes at most, two starts; and three ticks with trouble on this machine."""
    assert sum(1 for _ in histories()) == 8**4 * 33 * 2 == 270_336
    assert sum(1 for _ in with_trouble_here()) == 8**3 * 14 * 7 * 2 == 100_352


@pytest.mark.parametrize("each", [331, pytest.param(8, marks=pytest.mark.long)])
def test_every_small_history_keeps_every_promise(each):
    """The suite plays some, `nox -s long` an eighth, `nox -s endurance` all."""
    counts, broken = play_all(each)

    assert broken == []
    assert counts["histories"] >= 370_000 / each
    assert all(counts[happened] > counts["histories"] / 10 for happened in HAPPENED)


def _every_date_is_believed(monkeypatch):
    monkeypatch.setattr(ServerTime, "_agrees", lambda *_: True)


def _two_that_are_behind_agree(monkeypatch):
    monkeypatch.setattr(ServerTime, "_is_behind", lambda *_: False)


def _date_never_counts_as_absent(monkeypatch):
    monkeypatch.setattr(servertime, "_CONTRADICTIONS", 1000)


def _no_duration(monkeypatch):
    hear = ServerTime.hear
    monkeypatch.setattr(
        ServerTime, "hear", lambda time, *, date, duration, at: hear(time, date=date, duration=0.0, at=at)
    )


def _by_the_wall_clock(monkeypatch):
    hear = ServerTime.hear
    monkeypatch.setattr(
        ServerTime,
        "hear",
        lambda time, *, date, duration, at: hear(time, date=None, duration=duration, at=at),
    )


def _the_future_is_possible(monkeypatch):
    monkeypatch.setattr(GoingOn, "is_impossible", lambda *_: False)


def _beginning_anew_tells_no_gap(monkeypatch):
    outcome = FirstRun.outcome
    monkeypatch.setattr(FirstRun, "outcome", lambda *arguments: attrs.evolve(outcome(*arguments), gap=None))


def _beginning_anew_tells_of_a_start(monkeypatch):
    anew = GoingOn.anew
    monkeypatch.setattr(GoingOn, "anew", lambda *arguments: attrs.evolve(anew(*arguments), start="now"))


def _the_past_ends_with_the_response(monkeypatch):
    monkeypatch.setattr(FirstRun, "after", lambda first, began, at: first)


def _everything_is_new(monkeypatch):
    monkeypatch.setattr(FirstRun, "since", lambda *_: None)


def _cached_is_fresh(monkeypatch):
    page = World.page

    async def fresh(world, minutes):
        return attrs.evolve(await page(world, minutes), cached=False, date=None)

    monkeypatch.setattr(World, "page", fresh)


def _silence_is_a_response(monkeypatch):
    page = World.page

    async def loud(world, minutes):
        found = await page(world, minutes)
        return attrs.evolve(found, page=found.page or small_histories._Page([]))

    monkeypatch.setattr(World, "page", loud)


def _every_response_moves_all_marks(monkeypatch):
    monkeypatch.setattr(Ladder, "record", lambda _, __, marks, reading: (reading.earliest,) * len(marks))


def _only_quick_rungs(monkeypatch):
    monkeypatch.setattr(small_histories, "Ladder", lambda **options: Ladder(**options | {"spans": SPANS[:2]}))


def _window_of_the_span_alone(monkeypatch):
    monkeypatch.setattr(
        Ladder, "_needed", lambda ladder, rung, *_: ladder.spans[rung] + ladder.interval + 60.0
    )


def _nothing_is_recorded(monkeypatch):
    record = MemoryStore.record

    async def record_no_ids(store, scope, ids, checkpoint, now):
        await record(store, scope, (), checkpoint, now)

    monkeypatch.setattr(MemoryStore, "record", record_no_ids)


def _one_refusal_is_a_limit(monkeypatch):
    async def given(ticker, minutes):
        try:
            return await ticker._page(minutes)
        except small_histories.BadRequestError as error:
            found = await ticker._widest_of(ticker._width.narrower(minutes, error))
        ticker._ladder = attrs.evolve(ticker._ladder, limit=found.minutes)
        return found

    monkeypatch.setattr(Ticker, "_given", given)


def _no_refusal_is_a_limit(monkeypatch):
    given = Ticker._given

    async def given_for_now(ticker, minutes):
        ladder = ticker._ladder
        found = await given(ticker, minutes)
        ticker._ladder = ladder
        return found if found.minutes == minutes else attrs.evolve(found, is_widest=False)

    monkeypatch.setattr(Ticker, "_given", given_for_now)


def _a_refusal_is_final(monkeypatch):
    monkeypatch.setattr(Ticker, "_given", Ticker._page)


MUTANTS = {
    _every_date_is_believed: histories,
    _two_that_are_behind_agree: histories,
    _date_never_counts_as_absent: histories,
    _no_duration: histories,
    _by_the_wall_clock: with_trouble_here,
    _the_future_is_possible: histories,
    _beginning_anew_tells_no_gap: histories,
    _beginning_anew_tells_of_a_start: histories,
    _the_past_ends_with_the_response: histories,
    _everything_is_new: histories,
    _cached_is_fresh: histories,
    _silence_is_a_response: histories,
    _every_response_moves_all_marks: histories,
    _only_quick_rungs: histories,
    _window_of_the_span_alone: histories,
    mark_before_recording: histories,
    _nothing_is_recorded: histories,
    _one_refusal_is_a_limit: with_trouble_here,
    _no_refusal_is_a_limit: with_trouble_here,
    _a_refusal_is_final: with_trouble_here,
}


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__.strip("_"))
def test_mutant_breaks_a_promise_in_a_small_history(mutate, monkeypatch):
    """Each part of the algorithm is needed, and `-s` shows where."""
    mutate(monkeypatch)

    found = smallest_broken(MUTANTS[mutate])

    assert found is not None
    history, [first, *_] = found
    print(f"{mutate.__name__.strip('_')}: {history}: {first}")
