"""Clocks that lie: a `Date` that stands, runs slow or is wrong once, and local clocks that stand or jump."""

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

from greenapi_async import MemoryStore, TransportError

SCOPE = "1101000001"
OUTAGE = (HOUR, 7 * HOUR)


class Feed(ScriptedApi):
    """An API whose contacts post one status an hour, and have for months; its `Date` is what `date()` returns."""

    def __init__(self, date=None, outage=(0.0, 0.0)):
        super().__init__(self._respond)
        self.date = date or now
        self.outage = outage

    def _respond(self, minutes):
        if self.outage[0] <= passed() < self.outage[1]:
            raise TransportError("down")
        date = self.date()
        return response(*hourly(minutes), date=None if date is None else float(int(date)))


@pytest.mark.parametrize(
    "date",
    [lambda: NOW, lambda: NOW + passed() / 2, lambda: NOW + passed() * 0.97],
    ids=["stands", "half as fast", "a little slow"],
)
def test_date_that_is_slow_loses_nothing_of_an_outage(date):
    """Six of the eleven statuses of an outage were lost, with health "ok" and no gap: the window went by the `Date`."""

    async def main():
        feed = Feed(date, outage=OUTAGE)
        seen = await seen_within(8 * HOUR, poller := poller_of(feed))
        return seen, poller.health, feed.minutes

    seen, health, minutes = in_virtual_time(main)
    assert hours(-25, 7) <= set(seen) <= hours(-25, 8)
    assert len(seen) == len(set(seen))
    assert (health.state, health.gaps) == ("ok", ())
    assert health.lag < 20 * MINUTE
    assert min(minutes[-10:]) < 30


@pytest.mark.parametrize("nth", [1, 2, 30])
@pytest.mark.parametrize("days", [1, 40, -1, -40])
def test_date_that_is_wrong_once_changes_nothing(days, nth):
    """One response, a day ahead: no checkpoint for a day, and after a restart 260 old statuses as new; 40: a gap."""

    async def main():
        store = MemoryStore()
        feed = Feed()
        feed.date = lambda: now() + (days * DAY if len(feed.minutes) == nth else 0.0)
        seen = await seen_within(2 * HOUR, poller := poller_of(feed, store=store))
        lag, wide = poller.health.lag, len(feed.minutes)
        later = await seen_within(2 * HOUR, after := poller_of(feed, store=store))
        return seen, later, lag, (*poller.health.gaps, *after.health.gaps), feed.minutes[wide]

    seen, later, lag, gaps, restarted = in_virtual_time(main)
    assert set(seen) == hours(-25, 1)
    assert set(later) <= hours(1, 4)
    assert {*seen, *later} >= hours(-25, 3)
    assert lag < 3 * MINUTE
    assert gaps == ()
    assert restarted < 1440


def test_date_that_contradicts_three_times_counts_as_absent(caplog):
    """It is told once, marks go by the local clocks meanwhile, and it is believed as soon as it agrees again."""

    async def main():
        feed = Feed(lambda: NOW if HOUR <= passed() < 3 * HOUR else now())
        poller = poller_of(feed)
        lags = []
        for _ in range(4):
            await seen_within(HOUR, poller)
            lags.append(poller.health.lag)
        return lags, feed.minutes

    lags, minutes = in_virtual_time(main)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "Date" in warnings[0]
    assert all(lag < 5 * MINUTE for lag in lags)
    assert max(minutes[70:110]) < 60 * 8
    assert min(minutes[-5:]) <= 13


@pytest.mark.parametrize("paused", [20 * MINUTE, 5 * HOUR, 3 * DAY])
def test_jump_ahead_of_both_clocks_is_believed_when_confirmed(paused):
    """A virtual machine that is paused: neither of its clocks saw the time pass. The next response shows it as well."""

    async def main():
        def ahead():
            return paused if passed() >= HOUR else 0.0

        def respond(minutes):
            true = now() + ahead()
            posted = [(n, NOW + n * 600) for n in range(-6 * 25, int((true - NOW) / 600) + 1)]
            return response(
                *(text(str(n), at=at) for n, at in posted if at >= true - minutes * MINUTE),
                date=float(int(true)),
            )

        api = ScriptedApi(respond)
        seen = await seen_within(HOUR + 10, poller := poller_of(api))
        return seen, (HOUR + paused) // 600, poller.health

    seen, newest, health = in_virtual_time(main)
    assert {int(n) for n in seen} == set(range(-150, int(newest) + 1))
    assert health.lag < 3 * MINUTE
    assert health.gaps == ()


@pytest.mark.parametrize("wrong", [-9 * DAY, -HOUR, HOUR, 9 * DAY])
def test_wall_clock_that_is_wrong_costs_a_request_of_a_start(wrong):
    """Without an anchor the two disagree, so one more response decides: two that agree with each other are right."""

    async def main():
        feed = Feed()
        batch = await poller_of(feed, start="now", clock=lambda: now() + wrong).poll_once()
        return batch.checkpoint.marks[0], len(feed.minutes)

    mark, requests = in_virtual_time(main)
    assert abs(mark - NOW) < 5
    assert requests == 2


def test_first_response_whose_date_is_wrong_is_requested_again():
    """What it says of the time would say what is old: a day's statuses as new, or none of the next day."""

    async def main():
        store, feed = MemoryStore(), Feed()
        feed.date = lambda: now() + (DAY if len(feed.minutes) == 1 else 0.0)
        seen = await seen_within(3 * HOUR, poller_of(feed, start="now", store=store))
        return seen, (await store.load(SCOPE)).marks[0] - now()

    seen, ahead = in_virtual_time(main)
    assert hours(1, 2) <= set(seen) <= hours(0, 3)
    assert -11 * MINUTE < ahead < 0  # An idle poll records nothing; every ten minutes a deeper one does.


def test_nothing_of_an_unconfirmed_first_response_is_recorded_or_yielded():
    """Two that agree neither with each other nor with the clock here say nothing of what is old."""

    async def main():
        store, feed = MemoryStore(), Feed()
        feed.date = lambda: now() + len(feed.minutes) * DAY
        batch = await poller_of(feed, store=store).poll_once()
        await batch.commit()
        return (
            list(batch.statuses),
            await store.load(SCOPE),
            await store.unseen(SCOPE, ["-1 h"]),
            len(feed.minutes),
        )

    assert in_virtual_time(main) == ([], None, {"-1 h"}, 2)


def test_no_date_goes_by_what_was_believed_last():
    """Not by the wall clock, which may be set meanwhile: the last believed time, and what passed since."""

    async def main():
        feed = Feed(lambda: None if passed() > HOUR else now())
        jump = [0.0]
        poller = poller_of(feed, clock=lambda: now() + jump[0])
        seen = await seen_within(2 * HOUR, poller)
        jump[0] = -9 * DAY
        feed.outage = (2 * HOUR, 5 * HOUR)
        seen += await seen_within(6 * HOUR, poller)
        return seen, poller.health.gaps, feed.minutes

    seen, gaps, minutes = in_virtual_time(main)
    assert set(seen) >= hours(-25, 7)
    assert len(seen) == len(set(seen))
    assert gaps == ()
    assert min(minutes[-20:]) <= 25


def test_response_from_a_cache_contradicts_nothing():
    """It is of another time, and says so."""

    async def main():
        feed = Feed()

        def respond(minutes):
            old = 60 <= passed() < HOUR
            found = feed._respond(minutes)
            return response(*found.page.everything, date=NOW if old else float(int(now())), cached=old)

        api = ScriptedApi(respond)
        seen = await seen_within(3 * HOUR, poller := poller_of(api))
        return set(seen), poller.health.lag

    seen, lag = in_virtual_time(main)
    assert seen >= hours(-25, 2)
    assert lag < 3 * MINUTE
