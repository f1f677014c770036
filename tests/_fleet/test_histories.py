"""Random histories of a fleet keep every promise; each mutant of what is decided breaks one."""

import math

import pytest
from fleet_histories import broken_promises, history_of, play

from greenapi_async import Fleet, InstanceBatch, StoreError
from greenapi_async._fleet.roster import Roster
from greenapi_async._polling.feed import Feed

SEEDS = range(40)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_history_keeps_every_promise(seed):
    """Each status of each instance is handled once, in order; memory is bounded, and nobody is starved."""
    history = history_of(seed)

    assert broken_promises(history, play(history)) == []


def _what_fails_counts_as_handled(monkeypatch):
    leave = InstanceBatch.__aexit__
    monkeypatch.setattr(InstanceBatch, "__aexit__", lambda batch, *_: leave(batch, None, None, None))


def _recorded_when_found(monkeypatch):
    poll = Feed.poll

    async def poll_and_record(feed, **settings):
        statuses, checkpoint = await poll(feed, **settings)
        if statuses:
            await feed.record(statuses, checkpoint)
        return statuses, checkpoint

    monkeypatch.setattr(Feed, "poll", poll_and_record)


def _never_recorded(monkeypatch):
    async def record_nothing(batch, keys):
        batch._is_whole = True

    monkeypatch.setattr(InstanceBatch, "_record", record_nothing)


def _a_failure_keeps_its_slot(monkeypatch):
    delivered = Fleet._delivered

    def only_if_handled(fleet, member, *, is_handled):
        if is_handled:
            delivered(fleet, member, is_handled=True)

    monkeypatch.setattr(Fleet, "_delivered", only_if_handled)


def _polled_while_it_is_held(monkeypatch):
    make = Fleet._batch

    def settle_at_once(fleet, member, found):
        fleet._settle(member, member.began + 30.0)
        return make(fleet, member, found)

    monkeypatch.setattr(Fleet, "_batch", settle_at_once)


def _dropped_unnoticed(monkeypatch):
    monkeypatch.setattr(Fleet, "_drop", lambda *_: None)


def _removed_while_it_is_held(monkeypatch):
    remove = Roster.remove
    monkeypatch.setattr(Roster, "remove", lambda roster, seat: remove(roster, seat) or True)


def _removed_for_ever(monkeypatch):
    plan = Roster.plan

    def plan_if_wanted(roster, seat, at):
        if seat.is_wanted:
            plan(roster, seat, at)

    monkeypatch.setattr(Roster, "plan", plan_if_wanted)


def _given_up_for_ever(monkeypatch):
    plan = Roster.plan

    def plan_once(roster, seat, at):
        if not (seat.due == math.inf and seat.began):
            plan(roster, seat, at)

    monkeypatch.setattr(Roster, "plan", plan_once)


def _the_old_token_for_ever(monkeypatch):
    monkeypatch.setattr(Feed, "use", lambda *_: None)


def _no_slots(monkeypatch):
    begin = Roster.__init__
    monkeypatch.setattr(Roster, "__init__", lambda roster, _: begin(roster, 1000))


def _every_failure_is_final(monkeypatch):
    monkeypatch.setattr(Fleet, "_next_try", lambda *_: math.inf)


def _a_busy_store_fails_the_batch(monkeypatch):
    async def record_once(fleet, member, statuses, checkpoint):
        try:
            await member.feed.deliver(statuses, checkpoint)
        except StoreError:
            return

    monkeypatch.setattr(Fleet, "_record", record_once)


MUTANTS = [
    _what_fails_counts_as_handled,
    _recorded_when_found,
    _never_recorded,
    _a_failure_keeps_its_slot,
    _polled_while_it_is_held,
    _dropped_unnoticed,
    _removed_while_it_is_held,
    _removed_for_ever,
    _given_up_for_ever,
    _the_old_token_for_ever,
    _no_slots,
    _every_failure_is_final,
    _a_busy_store_fails_the_batch,
]


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__.strip("_"))
def test_mutant_breaks_a_promise(mutate, monkeypatch):
    mutate(monkeypatch)

    assert any(breaks(history_of(seed)) for seed in SEEDS)


def breaks(history):
    """Return whether a history breaks a promise, or raises."""
    try:
        return broken_promises(history, play(history))
    except Exception as error:  # noqa: BLE001 - a mutant may fail in any way.
        return [repr(error)]
