"""Refusals that last: how long a poller that worked goes on trying, and what it tells meanwhile."""

from itertools import pairwise
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import (
    DAY,
    HOUR,
    MINUTE,
    ScriptedApi,
    in_virtual_time,
    now,
    passed,
    poller_of,
    response,
    seen_within,
    text,
)

from greenapi_async import (
    AccessDeniedError,
    AuthenticationError,
    BadRequestError,
    BodyTooLargeError,
    DecodeError,
    GreenApiError,
    InstanceNotReadyError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    ServerError,
    TransportError,
)
from greenapi_async._polling.backoff import Backoff, delay

REFUSALS = {
    "400": BadRequestError("Instance account is expired"),
    "401": AuthenticationError("no"),
    "403": AccessDeniedError("no"),
    "404": NotFoundError("no"),
    "466": QuotaExceededError("no"),
    "proxy": TransportError("no", refused="proxy"),
    "too large": BodyTooLargeError(1000),
}
WAITED_FOR = {
    "connection": TransportError("down"),
    "429": RateLimitedError("slow down"),
    "502": ServerError("bad gateway"),
    "starting": InstanceNotReadyError("starting"),
    "half a JSON": DecodeError("half"),
    "not authorized": InstanceNotReadyError("?", reason="not authorized"),
    "certificate": TransportError("self-signed", refused="certificate"),
}


def troubled(trouble, *, begins=MINUTE - 1, lasts):
    """Return an instance that has a status from the start, and one that is posted in the midst of a trouble."""

    def respond(_minutes):
        if begins <= passed() < begins + lasts:
            raise trouble
        posted = [text("before", at=now() - passed() - 10)]
        if passed() > begins:
            posted.append(text("amid", at=now() - passed() + begins + 1))
        return response(*posted)

    return ScriptedApi(respond)


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("lasts", [10.0, 4 * MINUTE])
def test_a_refusal_of_seconds_or_minutes_does_not_end_a_poller_that_worked(refusal, lasts):
    """A gateway says 404 for ten seconds in the night: three tries are over in two to six, and the bot is dead."""

    async def main():
        return await seen_within(HOUR, poller_of(troubled(refusal, lasts=lasts)))

    assert in_virtual_time(main) == ["before", "amid"]


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_of_five_minutes_and_three_tries_is_raised(refusal):
    """Somebody has to act on it, and learns of it within six minutes."""

    async def main():
        api = troubled(refusal, lasts=DAY)
        with pytest.raises(type(refusal)):
            await seen_within(HOUR, poller_of(api))
        return [moment - api.requested_at[1] for moment in api.requested_at[1:]]

    refused_after = in_virtual_time(main)
    assert len(refused_after) >= 3
    assert 5 * MINUTE <= refused_after[-1] <= 6 * MINUTE


def test_a_refusal_is_tried_three_times_however_far_apart():
    """Two refusals of an API that takes three minutes for each may be one hiccup."""
    backoff = Backoff()
    backoff.succeed()
    refused = AuthenticationError("no")

    assert backoff.fail(refused, now=0.0, jitter=0.5) is not None
    assert backoff.fail(refused, now=400.0, jitter=0.5) is not None
    assert backoff.fail(refused, now=401.0, jitter=0.5) is None


@pytest.mark.parametrize("between", [ServerError("bad gateway"), None], ids=["retryable", "success"])
def test_a_refusal_counts_from_the_first_of_its_row(between):
    """What works, or may work soon, in between shows that nobody has to act."""

    async def main():
        def respond(_minutes):
            if 0 < passed() < 3 * HOUR:
                if int(passed() / (4 * MINUTE)) % 2:
                    raise AuthenticationError("no")
                if between is not None:
                    raise between
            return response(text("x", at=now() - 10))

        return await seen_within(4 * HOUR, poller_of(ScriptedApi(respond)))

    assert in_virtual_time(main) == ["x"]


@pytest.mark.parametrize(
    "refusal", [*REFUSALS.values(), WAITED_FOR["certificate"]], ids=[*REFUSALS, "certificate"]
)
def test_a_refusal_before_the_first_success_is_raised_at_once(refusal):
    """Whoever just started it is still there to read what is wrong."""

    async def main():
        api = troubled(refusal, begins=0.0, lasts=DAY)
        with pytest.raises(GreenApiError):
            await seen_within(HOUR, poller_of(api))
        return len(api.minutes), passed()

    requests, seconds = in_virtual_time(main)
    assert requests == (2 if refusal is REFUSALS["400"] else 1)  # A day is tried, too.
    assert seconds == 0


@pytest.mark.parametrize("trouble", WAITED_FOR.values(), ids=WAITED_FOR)
def test_an_hour_of_what_is_waited_for_loses_nothing(trouble):
    """A captive portal shows its own certificate over the week-end: the bot works on Monday."""

    async def main():
        return await seen_within(3 * HOUR, poller_of(troubled(trouble, lasts=HOUR)))

    assert in_virtual_time(main) == ["before", "amid"]


def test_the_warning_is_repeated_after_an_hour_and_then_daily(caplog):
    """A failure of three days is one line of three days ago, which the log's rotation took away."""

    async def main():
        await seen_within(3 * DAY + 2 * HOUR, poller_of(troubled(TransportError("down"), lasts=9 * DAY)))

    in_virtual_time(main)
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1 + 1 + 3
    assert all("TransportError" in line.getMessage() or "down" in line.getMessage() for line in warnings)


@pytest.mark.parametrize(("interval", "longest"), [(0.5, 2.0), (MINUTE, 60.0), (HOUR, 300.0)])
def test_waits_for_the_rate_limit_double(interval, longest):
    """Every two seconds for ever is thirty times as often as without the limit, which keeps it up."""

    async def main():
        def respond(_minutes):
            if passed():
                raise RateLimitedError("slow down")
            return response(text("x", at=now() - 10))

        api = ScriptedApi(respond)
        await seen_within(2 * HOUR + interval, poller_of(api, interval=interval))
        return [after - before for before, after in pairwise(api.requested_at[1:])]

    waits = in_virtual_time(main)
    assert all(2.0 <= wait <= min(longest, 2.0 ** min(n, 9)) for n, wait in enumerate(waits, start=1))
    assert fmean(waits[10:]) >= longest / 2
    assert longest == 2.0 or len(set(waits)) == len(waits) > 5


@given(failures=st.integers(1, 10_000), jitter=st.floats(0, 1, exclude_max=True), seconds=st.floats(2, 3600))
def test_retry_after_wins(failures, jitter, seconds):
    """The server knows best, whether it is sooner or later."""
    error = RateLimitedError("slow down", retry_after=seconds)

    assert delay(error, failures, jitter, MINUTE) == seconds
