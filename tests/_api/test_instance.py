"""One question and its answer: `fetch` from the arguments to the statuses."""

import gzip
import json
import math
import ssl
import tracemalloc

import anyio
import httpx
import pytest
import respx
import trio
from anyio.lowlevel import checkpoint
from clients import client, client_of, failure_of, injected
from fake_api import ID, TOKEN, FakeApi, item, reply, with_cause
from media_world import Raw
from virtual_time import in_virtual_time

from greenapi_async import AsyncStatusesClient, errors
from greenapi_async.simulator import (
    Answer,
    Bomb,
    Delay,
    Drip,
    Endless,
    Refuse,
    Reset,
    Simulator,
    Truncate,
)

PATH = f"/waInstance{ID}/getIncomingStatuses/{TOKEN}"
MIB = 2**20


class Trickle(httpx.AsyncByteStream):
    """A body of so many equal chunks, so many seconds apart, that counts what is taken of it."""

    def __init__(self, chunk, count=math.inf, *, every=0.0):
        self._chunk, self._left, self._every = chunk, count, every
        self.taken = 0
        self.closed = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self._left <= 0:
            raise StopAsyncIteration

        await (anyio.sleep(self._every) if self._every else checkpoint())
        self._left -= 1
        self.taken += len(self._chunk)
        return self._chunk

    async def aclose(self):
        self.closed = True


@pytest.fixture(params=["its own connections", "an injected client"])
def connect(request):
    """Makes a client of a fake API, once at the level of httpcore and once as an injected client."""
    if request.param == "an injected client":
        yield client
        return

    with respx.mock(assert_all_called=False) as router:

        def connected(api, **settings):
            router.route().mock(side_effect=api)
            return client(**settings)

        yield connected


# The question


@pytest.mark.anyio
async def test_minutes_stand_in_the_query(connect):
    """The vendor's own SDK sends them as a JSON body, which the API ignores: it answers for 24 hours."""
    api = FakeApi()

    async with connect(api) as client:
        await client.fetch(minutes=60)
        await client.fetch(43_200)

    assert [request.url.raw_path for request in api.asked] == [
        f"{PATH}?minutes=60".encode(),
        f"{PATH}?minutes=43200".encode(),
    ]


@pytest.mark.anyio
async def test_without_minutes_there_is_no_query(connect):
    """The default, 1440, is the API's."""
    api = FakeApi()

    async with connect(api) as client:
        await client.fetch()

    assert api.asked[0].url.raw_path == PATH.encode()


@pytest.mark.anyio
async def test_it_is_a_get_without_a_body(connect):
    api = FakeApi()

    async with connect(api) as client:
        await client.fetch(60)

    (request,) = api.asked
    assert request.method == "GET"
    assert await request.aread() == b""
    assert not {"content-length", "content-type", "transfer-encoding"} & set(request.headers)


@pytest.mark.anyio
async def test_the_headers_ask_for_fresh_json_that_can_be_bounded(connect):
    api = FakeApi()

    async with connect(api) as client:
        await client.fetch()

    headers = api.asked[0].headers
    assert headers["accept"] == "application/json"
    assert headers["accept-encoding"] == "gzip"
    assert headers["cache-control"] == "no-store"
    assert headers["host"] == "1101.api.green-api.com"


@pytest.mark.anyio
@pytest.mark.parametrize("minutes", [0, -1, True, False, 1.5, 60.0, "60", b"60", [60], math.nan])
async def test_bad_minutes_are_refused_before_anything_is_sent(minutes):
    api = FakeApi()

    async with client(api) as bad:
        with pytest.raises(ValueError, match="minutes must be an integer of 1 or more") as caught:
            await bad.fetch(minutes)

    assert isinstance(caught.value, errors.ConfigurationError)
    assert api.asked == []


@pytest.mark.anyio
@pytest.mark.parametrize("end", ["", "/", "//"])
async def test_the_path_of_api_url_is_kept(connect, end):
    api = FakeApi()

    async with connect(api, api_url=f"https://proxy.example:8443/green/v3{end}") as client:
        await client.fetch(5)

    assert api.asked[0].url.raw_path == f"/green/v3{PATH}?minutes=5".encode()
    assert api.asked[0].headers["host"] == "proxy.example:8443"


# The answer


@pytest.mark.anyio
async def test_statuses_come_oldest_first_and_within_a_second_as_the_api_had_them(connect):
    body = [item(3, timestamp=20), item(1, timestamp=10), item(4, timestamp=20), item(2, timestamp=10)]

    async with connect(FakeApi(reply(body=body))) as client:
        statuses = await client.fetch()

    assert [status.id_message for status in statuses] == ["1", "2", "3", "4"]


@pytest.mark.anyio
@pytest.mark.parametrize("body", [b"[]", b"null", b"", b" \n", b"\xef\xbb\xbf[]"])
async def test_nothing_to_tell_is_an_empty_list(connect, body):
    """The empty answer is not documented."""
    async with connect(FakeApi(reply(body=body))) as client:
        assert await client.fetch() == []


@pytest.mark.anyio
async def test_a_packed_answer_is_unpacked(connect):
    body = gzip.compress(json.dumps([item()] * 100).encode())

    async with connect(FakeApi(reply(body=body, content_encoding="GZIP"))) as client:
        assert len(await client.fetch()) == 100


@pytest.mark.anyio
async def test_one_bad_item_never_sinks_the_others(connect):
    async with connect(FakeApi(reply(body=[item(1), None, item(2, timestamp="?"), {}]))) as client:
        statuses = await client.fetch()

    assert [status.kind for status in statuses] == ["unknown", "unknown", "unknown", "audio"]


@pytest.mark.anyio
async def test_the_content_type_decides_nothing(connect):
    """A 401 is JSON without a body, a proxy relabels: the code and the body tell."""
    async with connect(FakeApi(reply(body=[item()], content_type="text/html"))) as client:
        assert len(await client.fetch()) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    "date",
    [
        "Tue, 12 Mar 2024 08:36:35 GMT",
        "soon",
        "",
        "0",
        "Tue, 12 Mar 2024 08:36:60 GMT",
        "Tue, 12 Mar 99999999999999999999 08:36:35 GMT",
        "Tue, 12 Mar 2024 08:36:35 +99999999999999",
    ],
)
async def test_a_strange_date_costs_nothing(date):
    """A broken clock in front of the API must not lose the statuses behind it."""
    async with client(FakeApi(reply(body=[item()], date=date))) as asking:
        assert len(await asking.fetch()) == 1


# The refusals


OBJECT = {"status": False, "reason": "instance is starting or not authorized"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (reply(400, {"message": "bad request data"}), errors.BadRequestError, "bad request data"),
        (reply(401, b""), errors.AuthenticationError, "does not know this token"),
        (reply(403, b"<html>nginx</html>"), errors.AccessDeniedError, "beta access"),
        (reply(404, b""), errors.NotFoundError, "api_url"),
        (reply(418, b""), errors.BadRequestError, "did not say"),
        (reply(429, b""), errors.RateLimitedError, "another program polling this instance"),
        (reply(466, {"invokeStatus": {"used": 1}}), errors.QuotaExceededError, "quota"),
        (reply(499, b""), errors.ServerError, "499"),
        (reply(502, b"<html></html>"), errors.ServerError, "502"),
        (reply(302, b"", location="https://wifi.example/x"), errors.UnexpectedRedirectError, "wifi.example"),
        (reply(206, b"half"), errors.ServerError, "206"),
        (reply(200, b"<html></html>"), errors.DecodeError, "web page"),
        (reply(200, b'[{"idMessage":"1"'), errors.DecodeError, "not closed"),
        (reply(200, {"a": 1}), errors.DecodeError, "got dict"),
        (reply(200, OBJECT), errors.InstanceNotReadyError, "starting"),
        (reply(200, {"reason": "not authorized"}), errors.InstanceNotReadyError, "not authorized"),
        (reply(200, b"[" * 100_000), errors.DecodeError, "not closed"),
    ],
)
async def test_a_refusal_is_raised_as_its_error(connect, answer, error, message):
    refused = await failure_of(connect(FakeApi(answer)))

    assert type(refused) is error
    assert message in str(refused)
    assert (refused.__cause__, refused.__context__) == (None, None)


@pytest.mark.anyio
async def test_a_redirect_to_no_address_is_one_of_our_errors(connect):
    """An injected httpx client looks at it first, and calls it an invalid URL."""
    refused = await failure_of(connect(FakeApi(reply(302, b"", location="T:1"))))

    assert isinstance(refused, errors.UnexpectedRedirectError | errors.TransportError)
    assert refused.retryable


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"not gzip", {"Content-Encoding": "gzip"}),
        (gzip.compress(b"{}" * 1000)[:-9], {"Content-Encoding": "gzip"}),
        (b"{}", {"Content-Encoding": "br"}),
        (b"\xff\xfe\x00", {}),
        (b"x" * 10 * MIB, {}),
        (b"[" * 60_000, {}),
    ],
    ids=["not gzip", "cut gzip", "brotli", "not text", "endless", "deep"],
)
async def test_a_refusal_whose_body_cannot_be_read_is_told_by_its_code(body, headers):
    """The status code comes first: it tells enough."""
    async with Simulator(max_rate=None) as api:
        api.faults.append(Answer(body, headers, http_code=401))

        refused = await failure_of(client_of(api))

    assert type(refused) is errors.AuthenticationError
    assert len(str(refused)) < 700


@pytest.mark.anyio
async def test_only_the_beginning_of_a_refusal_is_read():
    body = Trickle(b"x" * 4096, count=10_000)

    refused = await failure_of(client(FakeApi(reply(500, body))))

    assert type(refused) is errors.ServerError
    assert body.taken <= 128 * 1024
    assert body.closed


@pytest.mark.anyio
async def test_a_failure_of_the_connection_is_a_transport_error(connect):
    cause = httpx.ConnectError("[Errno -2] Name or service not known")

    failure = await failure_of(connect(FakeApi(cause)))

    assert type(failure) is errors.TransportError
    assert (failure.timeout, failure.retryable) == (False, True)
    assert str(failure) == "ConnectError: [Errno -2] Name or service not known"
    assert (failure.__cause__, failure.__context__) == (None, None)


@pytest.mark.anyio
async def test_a_failure_whose_causes_go_in_a_circle_is_told():
    """respx chains an exception to itself; who looks for the cause must not look for ever."""
    cause = httpx.ReadError("reset")
    cause.__cause__ = ValueError()
    cause.__cause__.__context__ = cause

    failure = await failure_of(client(FakeApi(cause)))

    assert (type(failure), failure.retryable) == (errors.TransportError, True)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "cause",
    [
        ssl.SSLCertVerificationError("self-signed"),
        with_cause(OSError(), ssl.SSLCertVerificationError("expired")),
    ],
)
async def test_a_refused_certificate_is_nothing_that_time_heals(cause):
    api = FakeApi(with_cause(httpx.ConnectError("TLS"), cause))

    failure = await failure_of(client(api, retries=2))

    assert type(failure) is errors.TransportError
    assert not failure.retryable
    assert "certificate" in str(failure)
    assert len(api.asked) == 1


# Retries


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
@in_virtual_time
async def test_retries_are_counted_and_then_the_last_error_is_raised(retries):
    api = FakeApi(*[reply(500 + number, b"") for number in range(retries + 1)], reply())

    error = await failure_of(client(api, retries=retries))

    assert len(api.asked) == retries + 1
    assert error.http_code == 500 + retries
    assert (error.__cause__, error.__context__) == (None, None)


@in_virtual_time
async def test_two_retries_are_the_default():
    api = FakeApi(reply(500))

    async with AsyncStatusesClient(ID, TOKEN, http_client=injected(api)) as asking:
        with pytest.raises(errors.ServerError):
            await asking.fetch()

    assert len(api.asked) == 3


@in_virtual_time
async def test_the_waits_grow_and_are_spread():
    """Full jitter: the n-th wait is anything up to 2**n seconds, so that clients do not come back together."""
    waits = []
    for _ in range(60):
        api = FakeApi(reply(502))
        await failure_of(client(api, retries=3))
        waits.append([later - earlier for earlier, later in zip(api.times, api.times[1:], strict=False)])

    for number, nth in enumerate(zip(*waits, strict=True), start=1):
        assert all(0.25 <= wait <= 2**number for wait in nth)
        assert max(nth) > 2**number * 0.75
        assert min(nth) < 2**number * 0.25


@pytest.mark.parametrize(("retry_after", "wait"), [("7", 7), ("2.5", 2.5), ("60", 60), ("0", 2), ("soon", 2)])
@in_virtual_time
async def test_retry_after_is_honoured(retry_after, wait):
    """Two seconds at the least: the API's limit is one a second, and somebody else is using it up."""
    api = FakeApi(reply(429, b"", retry_after=retry_after), reply())

    async with client(api, retries=1) as asking:
        assert await asking.fetch() == []

    assert api.times[1] - api.times[0] == pytest.approx(wait)


@in_virtual_time
async def test_a_wait_longer_than_the_timeout_is_the_callers_to_wait():
    api = FakeApi(reply(429, b"", retry_after="61"), reply())

    error = await failure_of(client(api, retries=2))

    assert (type(error), error.retry_after) == (errors.RateLimitedError, 61.0)
    assert len(api.asked) == 1
    assert trio.current_time() == api.times[0]


@in_virtual_time
async def test_a_retry_waits_its_turn_too():
    """Refused calls count against the rate."""
    api = FakeApi(reply(502), reply(502), reply())

    async with client(api, retries=2, max_rate=0.1) as asking:
        await asking.fetch()

    assert api.times[1] - api.times[0] == pytest.approx(10)
    assert api.times[2] - api.times[1] == pytest.approx(10)


@pytest.mark.anyio
async def test_cancellation_passes_while_it_waits_to_ask_again():
    api = FakeApi(reply(429, b"", retry_after="30"))

    async with client(api, retries=2) as asking:
        with anyio.move_on_after(0.01) as scope:
            await asking.fetch()

    assert scope.cancelled_caught
    assert len(api.asked) == 1


@in_virtual_time
async def test_a_client_that_closes_between_two_tries_does_not_ask_again():
    api = FakeApi(reply(429, b"", retry_after="30"))

    async def asks(asking):
        with pytest.raises(errors.ClientClosedError):
            await asking.fetch()

    async with anyio.create_task_group() as tasks, client(api, retries=2) as asking:
        tasks.start_soon(asks, asking)
        await anyio.sleep(1)

    assert len(api.asked) == 1


# The rate gate and the places


@in_virtual_time
async def test_questions_leave_a_second_apart_by_default():
    """The API allows one a second for each instance, and counts those it refuses."""
    api = FakeApi(reply(), 0.4, reply())

    async with AsyncStatusesClient(ID, TOKEN, http_client=injected(api)) as asking:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(asking.fetch)
        await asking.fetch()

    assert [time - api.times[0] for time in api.times] == pytest.approx([0, 1, 2, 3, 4, 5])


@in_virtual_time
async def test_who_comes_late_does_not_wait():
    api = FakeApi()

    async with client(api, max_rate=1.0) as asking:
        await asking.fetch()
        await anyio.sleep(10)
        await asking.fetch()
        await asking.fetch()

    assert [time - api.times[0] for time in api.times] == pytest.approx([0, 10, 11])


@pytest.mark.parametrize(("max_rate", "spacing"), [(4, 0.25), (0.5, 2.0), (None, 0.0)])
@in_virtual_time
async def test_the_rate_can_be_set_and_switched_off(max_rate, spacing):
    api = FakeApi()

    async with client(api, max_rate=max_rate) as asking, anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(asking.fetch)

    assert [time - api.times[0] for time in api.times] == pytest.approx([spacing * n for n in range(4)])


@in_virtual_time
async def test_who_is_cancelled_while_waiting_takes_no_turn():
    api = FakeApi()

    async def impatient(asking):
        with anyio.move_on_after(0.5):
            await asking.fetch()

    async with client(api, max_rate=1.0) as asking:
        await asking.fetch()
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(impatient, asking)
            await anyio.sleep(0.6)
            tasks.start_soon(asking.fetch)

    assert [time - api.times[0] for time in api.times] == pytest.approx([0, 1])


@in_virtual_time
async def test_a_mocked_answer_of_any_size_takes_no_time():
    """A clock that jumps would jump over all that waits while a thread is busy."""
    api = FakeApi(reply(body=[item(fileName="x" * 3_000_000)]))

    async with client(api) as asking:
        await asking.fetch()

    assert trio.current_time() == api.times[0]


@in_virtual_time
async def test_waiting_for_ones_turn_is_part_of_the_timeout():
    """Nothing that a client waits for outlasts it; the message tells what was waited for."""
    api = FakeApi()

    async with client(api, max_rate=0.01, timeout=1) as asking:
        await asking.fetch()
        with pytest.raises(errors.TransportError, match="turn did not come") as caught:
            await asking.fetch()

    assert caught.value.timeout
    assert len(api.times) == 1


@in_virtual_time
async def test_instances_do_not_slow_each_other():
    """The rate is one a second for each instance; what is slow for one is not for the others."""
    api = FakeApi(30.0, reply())

    async with client(api, max_rate=1.0) as first, anyio.create_task_group() as tasks:
        tasks.start_soon(first.fetch)
        for number in range(2, 12):
            tasks.start_soon(first.for_instance(number, f"token{number}").fetch)

    assert [time - api.times[0] for time in api.times] == pytest.approx([0] * 11)


@in_virtual_time
async def test_no_more_requests_are_open_than_there_are_connections():
    """httpcore's pool loses a place for ever when who waits there is cancelled, so nobody waits there."""
    api = FakeApi(1.0)

    async with client(api) as first, anyio.create_task_group() as tasks:
        hosts = [f"https://{number}.api.green-api.com" for number in range(5)]
        instances = [first.for_instance(2, "token2", api_url=host) for host in hosts]
        for each in instances * 50:
            tasks.start_soon(each.fetch)

    assert api.busiest == 100
    assert len(api.asked) == 250
    assert trio.current_time() - api.times[0] == pytest.approx(3)


@in_virtual_time
async def test_no_more_than_25_requests_to_one_host_are_open():
    """It would starve the others while it hangs."""
    api = FakeApi(1.0)

    async with client(api) as first, anyio.create_task_group() as tasks:
        second = first.for_instance(2, "token2")
        for asking in [first, second] * 25:
            tasks.start_soon(asking.fetch)

    assert api.busiest == 25
    assert trio.current_time() - api.times[0] == pytest.approx(2)


@in_virtual_time
async def test_whatever_happens_to_a_question_its_place_is_given_back():
    api = FakeApi(httpx.ReadError("reset"), reply(401), 90.0, reply(200, b"<html>"), 3.0)

    async def asks(asking):
        with anyio.move_on_after(2):
            await failure_of_one(asking)

    async def failure_of_one(asking):
        try:
            await asking.fetch()
        except errors.GreenApiError as error:
            return error

    async with client(api) as asking:
        async with anyio.create_task_group() as tasks:
            for _ in range(300):
                tasks.start_soon(asks, asking)

        assert asking._shared.http._loops.get().slots.free == 100
        assert await asking.fetch() == []


@pytest.mark.anyio
async def test_a_cancelled_question_is_cancelled_at_once():
    api = FakeApi(math.inf, reply(body=[item()]))

    async with client(api) as asking:
        with anyio.move_on_after(0.01) as scope:
            await asking.fetch()

        assert scope.cancelled_caught
        assert len(await asking.fetch()) == 1


# The timeout


@in_virtual_time
async def test_the_timeout_is_for_the_whole_request():
    """A read timeout alone is beaten by one byte a second."""
    body = Trickle(b" ", every=1.0)
    api = FakeApi(reply(200, body))

    error = await failure_of(client(api))

    assert (type(error), error.timeout, error.retryable) == (errors.TransportError, True, True)
    assert str(error) == "no complete response within 60 s"
    assert trio.current_time() - api.times[0] == pytest.approx(60)
    assert body.closed


@pytest.mark.parametrize(("seconds", "passes"), [(4.9, False), (5.1, True)])
@in_virtual_time
async def test_the_timeout_can_be_set(seconds, passes):
    api = FakeApi(5.0)

    async with client(api, timeout=seconds) as asking:
        try:
            answered = await asking.fetch() == []
        except errors.TransportError as error:
            answered = not error.timeout

    assert answered is passes


@in_virtual_time
async def test_each_try_has_the_whole_timeout():
    api = FakeApi(59.0, 61.0, 59.0)

    async with client(api, retries=1) as asking:
        await asking.fetch()
        await asking.fetch()

    assert len(api.asked) == 3


@in_virtual_time
async def test_the_timeout_of_an_injected_client_does_not_cut_ours_short():
    """`timeout` is the promise; the defaults of httpx, 5 seconds for a read, are none of the caller's doing."""
    api = FakeApi()

    async with client(http_client=injected(api, timeout=0.001)) as asking:
        await asking.fetch()

    assert set(api.asked[0].extensions["timeout"].values()) == {None}


@pytest.mark.anyio
async def test_one_byte_at_a_time_over_a_socket_runs_out_of_time():
    async with Simulator(max_rate=None) as api:
        api.post()
        api.faults.append(Drip(seconds_per_byte=0.02))

        error = await failure_of(client_of(api, timeout=0.15))

    assert (type(error), error.timeout) == (errors.TransportError, True)


@pytest.mark.anyio
async def test_a_server_that_says_nothing_runs_out_of_time():
    async with Simulator(max_rate=None) as api:
        api.faults.append(Delay(60))

        error = await failure_of(client_of(api, timeout=0.1))

    assert error.timeout


# The bounds


@pytest.mark.anyio
async def test_a_hundred_megabytes_stop_at_max_body():
    """A little more than the bound is taken off the wire, and the connection is dropped."""
    body = Trickle(b" " * 65_536, count=1600)
    api = FakeApi(reply(200, body, content_length="104857600"))

    error = await failure_of(client(api, max_body=MIB, retries=2))

    assert (type(error), error.limit) == (errors.BodyTooLargeError, MIB)
    assert body.taken <= MIB + 2 * 65_536
    assert body.closed
    assert len(api.asked) == 1


@pytest.mark.anyio
async def test_a_body_without_end_stops_at_max_body_over_a_socket():
    async with Simulator(max_rate=None) as api:
        api.faults.append(Endless("body"))

        error = await failure_of(client_of(api, max_body=MIB, timeout=10))

    assert type(error) is errors.BodyTooLargeError


@pytest.mark.anyio
async def test_a_gzip_bomb_stops_at_max_body_and_takes_no_memory():
    """A quarter of a megabyte on the wire, 256 unpacked."""
    async with Simulator(max_rate=None) as api:
        bomb = Bomb(256 * MIB)
        api.faults.extend([bomb, bomb])
        await failure_of(client_of(api, max_body=MIB))  # The simulator makes its bomb.
        tracemalloc.start()

        error = await failure_of(client_of(api, max_body=MIB))

        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert type(error) is errors.BodyTooLargeError
        assert peak < 8 * MIB


@pytest.mark.anyio
async def test_max_body_itself_is_allowed(connect):
    api = FakeApi(reply(body=b" " * 998 + b"[]"))

    async with connect(api, max_body=1000) as client:
        assert await client.fetch() == []


@pytest.mark.anyio
async def test_one_byte_more_than_max_body_is_refused(connect):
    error = await failure_of(connect(FakeApi(reply(body=b" " * 999 + b"[]")), max_body=1000))

    assert (type(error), error.limit) == (errors.BodyTooLargeError, 1000)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fault",
    [
        Endless("headers"),
        Truncate(0.5),
        Truncate(0.0),
        Reset(),
        Reset(after_headers=True),
        Answer(b"[]", {"Content-Length": "9"}),
        Answer(gzip.compress(b"[]", mtime=0)[:-1], {"Content-Encoding": "gzip"}),
    ],
    ids=repr,
)
async def test_no_whole_answer_over_a_socket_is_a_transport_error(fault):
    """An array that lost its second half must never pass for all there was."""
    async with Simulator(max_rate=None) as api:
        api.post("image")
        api.faults.append(fault)

        error = await failure_of(client_of(api))

    assert (type(error), error.timeout, error.retryable) == (errors.TransportError, False, True)
    assert len(str(error)) < 600


@pytest.mark.anyio
async def test_a_refusal_whose_body_is_cut_refuses_all_the_same():
    """A wrong token is none that time heals, whatever became of the words that tell it."""
    async with Simulator(max_rate=None) as api:
        api.faults.append(Answer(b"half", {"Content-Length": "100"}, http_code=401))

        error = await failure_of(client_of(api))

    assert (type(error), error.retryable) == (errors.AuthenticationError, False)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("encoding", "body", "expected"),
    [("identity", b"[" * 1000, errors.BodyTooLargeError), ("gzip", b"<html>", errors.DecodeError)],
)
async def test_what_is_wrong_first_is_told(encoding, body, expected):
    """The rest, which comes in the same segment, is no chunk."""
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nTransfer-Encoding: chunked\r\n\r\n"

    async with Simulator(max_rate=None) as api:
        api.faults.append(Raw(head.encode() + b"%x\r\n%b\r\nno chunk\r\n" % (len(body), body)))

        error = await failure_of(client_of(api, max_body=500))

    assert type(error) is expected


@pytest.mark.anyio
async def test_nobody_listening_is_a_transport_error():
    async with Simulator() as api:
        gone = client_of(api)

    error = await failure_of(gone)

    assert (type(error), error.retryable) == (errors.TransportError, True)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fault", [Truncate(), Reset(), Reset(after_headers=True), Refuse(503), Endless("headers")]
)
async def test_after_a_failure_the_next_question_is_answered(fault):
    async with Simulator(max_rate=None) as api, client_of(api) as asking:
        api.post()
        api.faults.append(fault)

        with pytest.raises(errors.GreenApiError):
            await asking.fetch()

        assert len(await asking.fetch()) == 1


@pytest.mark.anyio
async def test_an_answer_over_a_socket_is_whole():
    """Five hundred statuses with thumbnails, packed."""
    async with Simulator(max_rate=None) as api, client_of(api) as asking:
        posted = [api.post("image", text=str(number))["idMessage"] for number in range(500)]

        statuses = await asking.fetch(5)

    assert sorted(status.id_message for status in statuses) == sorted(posted)
    assert all(status.thumbnail for status in statuses)
    assert [(received.minutes, received.http_code) for received in api.requests] == [(5, 200)]


@pytest.mark.anyio
@pytest.mark.parametrize("base_path", ["", "/v3"])
async def test_connections_are_kept_for_the_next_question(base_path):
    async with Simulator(max_rate=None, base_path=base_path) as api, client_of(api) as asking:
        for _ in range(5):
            await asking.fetch()

        assert api.connections == 1


# An injected client


@pytest.mark.anyio
async def test_redirects_are_not_followed_even_by_a_client_that_follows():
    """The token stands in the path: following would hand it to whoever answers."""
    api = FakeApi(reply(302, b"", location="/elsewhere"))

    error = await failure_of(client(http_client=injected(api, follow_redirects=True)))

    assert type(error) is errors.UnexpectedRedirectError
    assert len(api.asked) == 1


@pytest.mark.anyio
async def test_redirects_to_another_host_are_not_followed(connect):
    api = FakeApi(reply(307, b"", location="https://evil.example/x"))

    error = await failure_of(connect(api))

    assert error.location == "evil.example"
    assert len(api.asked) == 1


@pytest.mark.anyio
async def test_the_base_url_of_an_injected_client_does_not_change_where_we_ask():
    api = FakeApi()

    async with client(http_client=injected(api, base_url="https://other.example/base/")) as asking:
        await asking.fetch(5)

    assert api.asked[0].headers["host"] == "1101.api.green-api.com"
    assert api.asked[0].url.raw_path == f"{PATH}?minutes=5".encode()


@pytest.mark.anyio
@pytest.mark.parametrize("minutes", [5, None])
async def test_the_default_params_of_an_injected_client_do_not_replace_minutes(minutes):
    """Without `minutes` the API silently answers for 24 hours, and the poller's windows are not kept."""
    api = FakeApi()

    async with client(http_client=injected(api, params={"source": "bot"})) as asking:
        await asking.fetch(minutes)

    assert api.asked[0].url.params.get("minutes") == (None if minutes is None else str(minutes))
    assert api.asked[0].url.raw_path.startswith(PATH.encode())


@pytest.mark.anyio
async def test_an_injected_client_keeps_what_it_is_and_sends_what_is_its_own():
    api = FakeApi()
    http_client = injected(api, headers={"X-Trace": "1", "Accept": "*/*"}, cookies={"a": "b"}, timeout=3)
    before = (dict(http_client.headers), dict(http_client.cookies), http_client.timeout, http_client.base_url)

    async with client(http_client=http_client) as asking:
        await asking.fetch()

    after = (dict(http_client.headers), dict(http_client.cookies), http_client.timeout, http_client.base_url)
    assert after == before
    assert api.asked[0].headers["x-trace"] == "1"
    assert api.asked[0].headers["cookie"] == "a=b"
    assert api.asked[0].headers["accept"] == "application/json"
    assert not http_client.is_closed


@pytest.mark.anyio
@pytest.mark.parametrize("http_code", [200, 401])
async def test_a_hook_of_an_injected_client_may_read_the_answer(http_code):
    """People log like that. What was read and unpacked by httpx is not unpacked twice."""

    async def reads(response):
        await response.aread()

    body = gzip.compress(json.dumps([item()]).encode())
    http_client = httpx.AsyncClient(trust_env=False, event_hooks={"response": [reads]})
    async with Simulator(max_rate=None) as api, http_client:
        asking = client_of(api, http_client=http_client)
        api.faults.append(Answer(body, {"Content-Encoding": "gzip"}, http_code=http_code))

        try:
            outcome = len(await asking.fetch())
        except errors.AuthenticationError as error:
            outcome = error.http_code

    assert outcome == (1 if http_code == 200 else 401)


@pytest.mark.anyio
async def test_a_hook_sees_no_token():
    seen = []

    async def looks(request):
        seen.append(f"{request.url!r} {request.url} {request!r} {request.url.path}")

    async with client(http_client=injected(FakeApi(), event_hooks={"request": [looks]})) as asking:
        await asking.fetch()

    assert TOKEN not in seen[0]
    assert "/***" in seen[0]


@pytest.mark.anyio
async def test_a_token_of_any_characters_goes_out_percent_encoded():
    api = FakeApi()

    async with AsyncStatusesClient(ID, "a/b?c#d%2Fя***", http_client=injected(api)) as asking:
        await asking.fetch(5)

    sent = b"/waInstance1101000001/getIncomingStatuses/a%2Fb%3Fc%23d%252F%D1%8F%2A%2A%2A?minutes=5"
    assert api.asked[0].url.raw_path == sent
