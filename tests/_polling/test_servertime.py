"""What is believed of the server's clock: every honest `Date`, and of a lie no more than the local clocks admit."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenapi_async._polling.clocks import Moment
from greenapi_async._polling.servertime import SLACK, Reading, ServerTime

NOW = 1_800_000_000.0
HOUR = 3600.0
DAY = 24 * HOUR

STEPS = st.lists(
    st.tuples(
        st.floats(0.25, DAY),  # awake
        st.sampled_from([0.0, 0.0, 0.0, 1.0, HOUR, 3 * DAY]),  # asleep
        st.floats(0, 180),  # the duration
        st.booleans(),  # whether `Date` is of the request's begin
        st.booleans(),  # whether there is one
    ),
    min_size=1,
    max_size=20,
)


def at(seconds, *, wall=None, monotonic=None):
    """Return the moment so many seconds after the first, as right clocks show it."""
    return Moment(
        monotonic=5.0 + (seconds if monotonic is None else monotonic),
        wall=NOW + (seconds if wall is None else wall),
    )


def heard(time, seconds, date, **clocks):
    return time.hear(date=None if date is None else NOW + date, duration=0.0, at=at(seconds, **clocks))


@given(steps=STEPS, ahead=st.floats(-290, 290), rate=st.floats(0.9995, 1.0005))
def test_an_honest_date_is_believed_and_true(steps, ahead, rate):
    """Whatever sleeps lie between, however long responses take, and though clocks drift by 43 s a day.

    Until the first `Date` there is the wall clock alone, and it may be off by what is allowed.
    """
    time, true, awake, is_dated = ServerTime(), 0.0, 0.0, False

    for awake_for, asleep, duration, at_begin, has_date in steps:
        begun = true + awake_for + asleep
        true, awake = begun + duration, awake + awake_for + duration
        if not is_dated and abs(ahead + true * (rate - 1)) > SLACK - 1:
            return

        is_dated |= has_date
        date = math.floor(NOW + (begun if at_begin else true)) if has_date else None
        local = Moment(monotonic=7.0 + awake * rate, wall=NOW + ahead + true * rate)

        told = time.hear(date=date, duration=duration, at=local)

        assert told.is_believed
        assert told.reading.earliest <= NOW + begun <= told.reading.latest
        assert not time.is_distrusted


@pytest.mark.parametrize(("late", "is_believed"), [(0.0, True), (2.0, True), (2.5, False), (DAY, False)])
def test_what_the_monotonic_clock_saw_pass_has_passed(late, is_believed):
    """A `Date` may be late by its whole seconds and a little; not by more, for then it stands or runs slow."""
    time = ServerTime()
    heard(time, 0, 0)

    assert heard(time, 100, 100 - late).is_believed is is_believed


def test_slow_dates_do_not_add_up():
    """A second a minute is within what is allowed each time, and a day within three months."""
    time = ServerTime()

    believed = [heard(time, minute * 60, minute * 59).is_believed for minute in range(10)]

    assert believed[:2] == [True, True]
    assert not any(believed[3:5])


def test_a_leap_is_believed_at_the_second_response():
    """A paused machine looks like one wrong header, until another response says the same."""
    time = ServerTime()
    heard(time, 0, 0)

    first, second = heard(time, 60, HOUR), heard(time, 61, HOUR + 1)

    assert (first.is_believed, first.suspected) == (False, NOW + HOUR + 1)
    assert first.reading.latest < NOW + 70
    assert second.is_believed
    assert second.reading == Reading(earliest=NOW + HOUR, latest=NOW + HOUR + 2)


def test_two_leaps_that_disagree_are_not_believed():
    """Two wrong headers are no confirmation."""
    time = ServerTime()
    heard(time, 0, 0)

    assert [heard(time, 60 + n, n * HOUR).is_believed for n in (1, 2)] == [False, False]
    assert heard(time, 120, 120).is_believed


def test_what_is_behind_is_never_confirmed():
    """However many say so: the time has passed."""
    time = ServerTime()
    heard(time, 0, 0)

    told = [heard(time, 60 + n, -DAY + n) for n in range(5)]

    assert [each.is_believed for each in told] == [False, False, True, True, True]
    assert all(each.suspected is None for each in told)
    assert all(NOW + 50 < each.reading.earliest <= each.reading.latest < NOW + 70 for each in told)
    assert time.is_distrusted
    assert heard(time, 120, 120).is_believed
    assert not time.is_distrusted


@pytest.mark.parametrize(
    ("monotonic", "wall", "earliest", "latest"),
    [(60, 60, 60, 60), (60, 5 * HOUR, 60, 5 * HOUR), (60, -DAY, 60, 60), (0, HOUR, 0, HOUR)],
    ids=["awake", "slept, or the clock was set", "set back", "slept all the time"],
)
def test_without_a_date_the_time_lies_between_the_clocks(monotonic, wall, earliest, latest):
    """Marks go by the least that can have passed, windows by the most."""
    time = ServerTime()
    heard(time, 0, 0)

    reading = heard(time, 0, None, monotonic=monotonic, wall=wall).reading

    assert reading.earliest == pytest.approx(NOW + earliest - 1, abs=0.1)
    assert reading.latest == pytest.approx(NOW + latest + 2, rel=0.002, abs=0.2)


@pytest.mark.parametrize(
    ("ahead", "is_believed"), [(0, True), (299, True), (-299, True), (301, False), (-DAY, False)]
)
def test_the_first_date_is_compared_with_the_wall_clock(ahead, is_believed):
    """Nothing else is there; where they differ, two responses that agree are right."""
    time = ServerTime()

    first, second = heard(time, 0, ahead), heard(time, 1, ahead + 1)

    assert first.is_believed is is_believed
    assert second.is_believed


def test_the_wall_clock_alone_is_not_set_back():
    """Where no response ever has a `Date`, the time goes on all the same."""
    time = ServerTime()
    heard(time, 0, None)

    reading = heard(time, 60, None, wall=-DAY).reading

    assert reading == Reading(earliest=NOW + 60 - SLACK - 1, latest=NOW + 60 + SLACK + 1)


@given(first=st.floats(0, 180), next_=st.floats(0, 180), interval=st.floats(1, DAY), undated=st.booleans())
def test_the_next_request_allows_for_a_response_like_the_last(first, next_, interval, undated):
    """So an ordinary tick is one request, with a `Date` or without."""
    next_ = min(next_, first)
    time = ServerTime()
    time.hear(date=NOW, duration=first, at=at(0))
    if undated:
        time.hear(date=None, duration=first, at=at(0))

    planned = time.now(at(interval))
    ends = interval + next_
    told = time.hear(date=None if undated else math.floor(NOW + ends), duration=next_, at=at(ends))

    assert told.reading.latest <= planned + 1 + 0.001 * ends
