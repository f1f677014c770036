"""The failure rules: every row of the contract and every way a connection fails, for `fetch` and for the poller."""

import ssl
from typing import NamedTuple

import httpx
import pytest
import trio
from clients import client
from fake_api import FakeApi, item, reply, with_cause
from virtual_time import in_virtual_time

from greenapi_async import errors

NGINX = b"<html>\r\n<head><title>403 Forbidden</title></head></html>"


class Row(NamedTuple):
    """What comes, the error it is, and what follows: "heals", "person" or "refused"."""

    answer: object
    error: type | None
    follows: str


def said(http_code, message):
    return reply(http_code, {"statusCode": http_code, "message": message, "path": "/waInstance1/x/TOKEN"})


ROWS = {
    "200 empty": Row(reply(200, b""), None, "heals"),
    "200 null": Row(reply(200, b"null"), None, "heals"),
    "200 object": Row(reply(200, b"{}"), errors.DecodeError, "heals"),
    "200 half": Row(reply(200, b'[{"idMessage'), errors.DecodeError, "heals"),
    "200 web page": Row(reply(200, b"<html>"), errors.DecodeError, "heals"),
    "200 starting or not": Row(
        reply(200, {"status": False, "reason": "instance is starting or not authorized"}),
        errors.InstanceNotReadyError,
        "heals",
    ),
    "200 not authorized": Row(
        reply(200, {"status": False, "reason": "not authorized"}), errors.InstanceNotReadyError, "person"
    ),
    "200 too large": Row(reply(200, b" " * 2000), errors.BodyTooLargeError, "refused"),
    "204": Row(reply(204, b""), None, "heals"),
    "202 empty": Row(reply(202, b""), None, "heals"),
    "203 empty array": Row(reply(203, b" []\n"), None, "heals"),
    "203 statuses": Row(reply(203, [item()]), errors.ServerError, "heals"),
    "206 more than is kept of a refusal": Row(reply(206, b" " * 100_000), errors.ServerError, "heals"),
    "302": Row(reply(302, b"", location="http://captive.portal/"), errors.UnexpectedRedirectError, "heals"),
    "400 starting": Row(
        said(400, "instance in starting process try later"), errors.InstanceNotReadyError, "heals"
    ),
    "400 starting or not": Row(
        said(400, "instance is starting or not authorized"), errors.InstanceNotReadyError, "heals"
    ),
    "400 not authorized": Row(
        said(400, "instance account not authorized"), errors.InstanceNotReadyError, "person"
    ),
    "400 expired": Row(
        said(400, "Instance account is expired. Please renew it"), errors.BadRequestError, "refused"
    ),
    "400 bad data": Row(reply(400, b"bad request data"), errors.BadRequestError, "refused"),
    "400 deleted": Row(said(400, "Instance is deleted"), errors.BadRequestError, "refused"),
    "401": Row(reply(401, b"", content_type="application/json"), errors.AuthenticationError, "refused"),
    "403 nginx": Row(reply(403, NGINX), errors.AccessDeniedError, "refused"),
    "403 said": Row(said(403, "suspended"), errors.AccessDeniedError, "refused"),
    "404": Row(said(404, "Cannot GET /waInstance1/TOKEN"), errors.NotFoundError, "refused"),
    "408": Row(reply(408, b""), errors.ServerError, "heals"),
    "421": Row(reply(421, b""), errors.ServerError, "heals"),
    "425": Row(reply(425, b""), errors.ServerError, "heals"),
    "407": Row(reply(407, b""), errors.BadRequestError, "refused"),
    "418": Row(reply(418, b""), errors.BadRequestError, "refused"),
    "429": Row(reply(429, b"", content_type="application/json"), errors.RateLimitedError, "heals"),
    "429 told when": Row(reply(429, b"", retry_after="3"), errors.RateLimitedError, "heals"),
    "466": Row(reply(466, {"invokeStatus": {"used": "3", "total": 3}}), errors.QuotaExceededError, "refused"),
    "499": Row(reply(499, b""), errors.ServerError, "heals"),
    "500 said": Row(said(500, "internal"), errors.ServerError, "heals"),
    "500 text": Row(reply(500, b"oops"), errors.ServerError, "heals"),
    "502": Row(reply(502, b"<html>"), errors.ServerError, "heals"),
    "503": Row(reply(503, b"<html>"), errors.ServerError, "heals"),
    "504": Row(reply(504, b"<html>"), errors.ServerError, "heals"),
    "no such host": Row(httpx.ConnectError("Name or service not known"), errors.TransportError, "heals"),
    "connect timeout": Row(httpx.ConnectTimeout(""), errors.TransportError, "heals"),
    "read timeout": Row(httpx.ReadTimeout(""), errors.TransportError, "heals"),
    "too slow": Row(61.0, errors.TransportError, "heals"),
    "reset while reading": Row(httpx.ReadError("reset"), errors.TransportError, "heals"),
    "reset while writing": Row(httpx.WriteError("reset"), errors.TransportError, "heals"),
    "truncated": Row(httpx.RemoteProtocolError("incomplete"), errors.TransportError, "heals"),
    "proxy": Row(httpx.ProxyError("503 Service Unavailable"), errors.TransportError, "heals"),
    "proxy that wants a password": Row(
        httpx.ProxyError("407 Proxy Authentication Required"), errors.TransportError, "refused"
    ),
    "no buffer space": Row(OSError("no buffer space"), errors.TransportError, "heals"),
    "certificate": Row(
        with_cause(httpx.ConnectError("TLS"), ssl.SSLCertVerificationError("expired")),
        errors.TransportError,
        "refused",
    ),
}


def wall():
    return 1_800_000_000.0 + trio.current_time()


rows = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
first = pytest.mark.parametrize("succeeded", [False, True], ids=["at first", "after success"])


@rows
@first
@in_virtual_time
async def test_fetch_tries_again_what_time_heals(row, succeeded):
    """Twice by default, and never what somebody else has to heal; the error tells which it is."""
    api = FakeApi(*[reply()] * succeeded, row.answer)

    async with client(api, retries=2, max_body=1000) as asking:
        for _ in range(succeeded):
            await asking.fetch()

        error = None
        try:
            await asking.fetch()
        except errors.GreenApiError as raised:
            error = raised

    assert type(error) is (row.error or type(None))
    assert error is None or error.retryable == (row.follows == "heals")
    assert len(api.asked) - succeeded == (3 if error and error.retryable else 1)


@rows
@first
@in_virtual_time
async def test_poller_goes_on_or_gives_up(row, succeeded):
    """What may work on retry is retried for ever; a refusal ends it, later on when it has lasted five minutes."""
    ends = row.follows == "refused"
    times = 500 if ends else 5
    posted = item(timestamp=int(wall()))
    api = FakeApi(*[reply()] * succeeded, *[row.answer] * times, reply(body=[posted]))
    began = trio.current_time()

    async with client(api, max_body=1000, clock=wall) as asking:
        error = None
        try:
            status = await anext(asking.poll())
        except errors.GreenApiError as raised:
            error = raised

    if ends and not (succeeded and row is ROWS["certificate"]):
        assert type(error) is row.error
        assert not succeeded or (len(api.asked) >= 1 + 3 and 300 <= trio.current_time() - began <= 60 + 360)
        assert succeeded or len(api.asked) == (
            2 if row.error is errors.BadRequestError and "400" in str(error) else 1
        )
    else:
        assert status.id_message == "1"
        assert len(api.asked) == succeeded + times + 1
        assert ends or (trio.current_time() - began >= 5 * 300) == (row.follows == "person")
