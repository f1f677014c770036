"""An API that refuses wide windows: what is delivered, what is learned, and what is lost."""

from datetime import timedelta

import pytest
from scripted import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    ScriptedApi,
    in_virtual_time,
    now,
    passed,
    poller_of,
    response,
    seen_within,
    text,
)

from greenapi_async import BadRequestError, InstanceNotReadyError, MemoryStore, TransportError
from greenapi_async.stores import Checkpoint

REFUSED = BadRequestError("bad request data")
POSTED = {f"{hours} h": NOW - hours * HOUR for hours in (1, 20, 40, 60, 70, 80, 120, 200, 300)}


def narrow(widest, *, failing=()):
    """Return an instance that refuses more minutes than that, and fails the n-th requests by their error."""

    def respond(minutes):
        failure = dict(failing).get(len(api.minutes) - 1)
        if failure is not None:
            raise failure
        if minutes > widest:
            raise REFUSED
        return response(*(text(name, at=at) for name, at in POSTED.items() if at >= now() - minutes * MINUTE))

    api = ScriptedApi(respond)
    return api


async def store_since(seconds):
    """Return a store whose poller was complete so many seconds ago."""
    store = MemoryStore()
    await store.record("1101000001", (), Checkpoint(marks=(NOW - seconds,) * 4), NOW - seconds)
    return store


def reach(minutes):
    return {name for name, at in POSTED.items() if at >= NOW - minutes * MINUTE}


@pytest.mark.parametrize("widest", [1440, 3240, 4000, 4320, 10080, 20160])
def test_what_the_api_gives_is_delivered_at_once(widest):
    """After three days down all that a poller heard was 400, 12,580 times, restarts included."""

    async def main():
        store, api = await store_since(14 * DAY), narrow(widest)
        seen = await seen_within(5.0, poller_of(api, store=store))
        first = len(api.minutes)
        later = await seen_within(HOUR, poller := poller_of(api, store=store))
        return set(seen), later, first, api.minutes, poller.health.lag

    seen, later, first, minutes, lag = in_virtual_time(main)
    answered = max(step for step in (1440, 3240, 4320, 10080, 20160) if step <= widest)
    assert seen == reach(answered)
    assert later == []
    assert first <= 7
    assert sum(each > widest for each in minutes[first:]) <= 6
    assert lag < 2 * MINUTE


def test_first_window_may_be_refused_too():
    """An API that gives a day at the most is an API all the same."""

    async def main():
        store, api = MemoryStore(), narrow(1440)
        seen = await seen_within(DAY, poller := poller_of(api, store=store))
        return set(seen), sum(each > 1440 for each in api.minutes), poller.health

    seen, refused, health = in_virtual_time(main)
    assert seen == reach(1440)
    assert refused <= 2
    assert (health.state, health.gaps) == ("ok", ())
    assert health.lag < 2 * MINUTE


def test_one_refusal_of_a_wide_window_loses_nothing():
    """A hiccup is no limit: the wide window is requested again, and what it brings is what counts."""

    async def main():
        store, api = await store_since(12 * DAY), narrow(50_000, failing=[(0, REFUSED)])
        seen = await seen_within(HOUR, poller := poller_of(api, store=store))
        return set(seen), poller.health.gaps

    assert in_virtual_time(main) == (set(POSTED), ())


def test_limit_is_not_believed_where_the_second_try_says_something_else():
    """The narrower response is delivered; the marks stay, and the next poll is as wide again."""

    async def main():
        store = await store_since(12 * DAY)
        api = narrow(50_000, failing=[(0, REFUSED), (2, TransportError("reset"))])
        before = await store.load("1101000001")
        batch = await poller_of(api, store=store).poll_once()
        await batch.commit()
        delivered, kept = {status.id_message for status in batch.statuses}, await store.load("1101000001")
        later = await seen_within(HOUR, poller_of(api, store=store))
        return delivered, kept.marks == before.marks, delivered | set(later)

    assert in_virtual_time(main) == (reach(10080), True, set(POSTED))


@pytest.mark.parametrize(
    ("days", "widest", "lost_days"), [(5, 4320, 2), (2, 4320, None), (0.1, 1440, None), (20, 20160, 6)]
)
def test_gap_is_what_the_window_does_not_reach(days, widest, lost_days):
    """As with the retention: from the last complete response to where the window begins; a span is no promise."""

    async def main():
        store, api = await store_since(days * DAY), narrow(widest)
        await seen_within(HOUR, poller := poller_of(api, store=store))
        return [gap.lost_to - gap.lost_from for gap in poller.health.gaps]

    expected = (
        [] if lost_days is None else [pytest.approx(timedelta(days=lost_days), abs=timedelta(minutes=2))]
    )
    assert in_virtual_time(main) == expected


@pytest.mark.parametrize("started", [False, True])
def test_a_day_that_is_refused_too_is_a_refusal(started):
    """It is not the width then."""

    async def main():
        def respond(_minutes):
            if started and not passed():
                return response()
            raise REFUSED

        api = ScriptedApi(respond)
        with pytest.raises(BadRequestError):
            await seen_within(HOUR, poller_of(api))
        return passed(), len(set(api.minutes))

    ended, widths = in_virtual_time(main)
    assert (300 < ended < 500) if started else ended == 0
    assert widths <= 40


@pytest.mark.parametrize(
    "error", [InstanceNotReadyError("starting"), BadRequestError("teapot", http_code=418)]
)
def test_other_refusals_are_not_of_the_width(error):
    """Only a plain 400 may mean the minutes."""

    async def main():
        api = narrow(50_000, failing=[(0, error)])
        with pytest.raises(type(error)):
            await poller_of(api, store=await store_since(12 * DAY)).poll_once()
        return api.minutes

    assert len(in_virtual_time(main)) == 1


def test_width_that_was_answered_is_not_refused_for_its_width():
    """400 for what was given a minute ago is an account that expired, say."""

    async def main():
        api = narrow(50_000, failing=[(n, REFUSED) for n in range(1, 5)])
        await seen_within(4 * MINUTE, poller_of(api))
        return api.minutes[1:5]

    assert max(in_virtual_time(main)) < 1440


def test_requests_leave_one_after_the_other():
    """Going down stays within the rate: each is a request of its own, which waits its turn."""

    async def main():
        api = narrow(1440)
        await (await poller_of(api, store=await store_since(14 * DAY)).poll_once()).commit()
        return api.minutes

    wide, *down, again = in_virtual_time(main)
    assert down == [20160, 10080, 4320, 3240, 1440]
    assert again == wide > 20160
