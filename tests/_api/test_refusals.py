"""What every refusal of the API means."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenapi_async import errors
from greenapi_async._api import refusals as _refusals
from greenapi_async._http import failures

NGINX = (
    b"<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n<hr>nginx\r\n</body>\r\n</html>\r\n"
)
GATEWAY = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body></body>\r\n</html>\r\n"
MOST = 512


def said(message, code=400):
    """The API's error JSON, as it looks once the token is redacted."""
    return json.dumps(
        {
            "statusCode": code,
            "timestamp": "2025-03-31T16:50:20.397375467Z",
            "path": "/waInstance1101000000/getIncomingStatuses/***",
            "message": message,
        }
    ).encode()


def refusal(http_code, headers, body):
    return _refusals.refusal(http_code, headers, body, quotable=str)


def quota(**statuses):
    return json.dumps(statuses).encode()


def invoke(**fields):
    usual = {"method": "getIncomingStatuses", "used": 100, "total": 100, "status": "QUOTE_EXCEEDED"}
    return usual | {"description": "The monthly quota is used up."} | fields


CORRESPONDENTS = {
    "used": 3,
    "total": 3,
    "status": "CORRESPONDENTS_QUOTE_EXCEEDED",
    "description": "Too many correspondents.",
}
STARTING = {"reason": "starting", "retryable": True}
UNAUTHORIZED = {"reason": "not authorized", "retryable": False}
NOTHING_TOLD = {"method": None, "used": None, "total": None, "description": None}


def told(method, used, total, description):
    return {"method": method, "used": used, "total": total, "description": description, "retryable": False}


# code, headers, body, the error's class, its attributes
REFUSALS = {
    "400 starting": (
        400,
        {},
        said("instance in starting process try later"),
        errors.InstanceNotReadyError,
        STARTING | {"message": "instance in starting process try later"},
    ),
    "400 starting as text": (
        400,
        {},
        b"instance in starting process try later",
        errors.InstanceNotReadyError,
        STARTING | {"message": "instance in starting process try later"},
    ),
    "400 starting or not authorized": (
        400,
        {},
        said("instance is starting or not authorized"),
        errors.InstanceNotReadyError,
        STARTING,
    ),
    "400 starting or not authorized as text": (
        400,
        {},
        b'"Instance is starting or not authorized"\n',
        errors.InstanceNotReadyError,
        STARTING,
    ),
    "400 not authorized": (
        400,
        {},
        said("instance account not authorized"),
        errors.InstanceNotReadyError,
        UNAUTHORIZED | {"message": "instance account not authorized"},
    ),
    "400 not authorized as text": (
        400,
        {},
        b"Instance account Not Authorized",
        errors.InstanceNotReadyError,
        UNAUTHORIZED,
    ),
    "400 with a reason": (
        400,
        {},
        b'{"status":false,"reason":"instance is starting"}',
        errors.InstanceNotReadyError,
        STARTING,
    ),
    "400 expired": (
        400,
        {},
        said("Instance account is expired. Please renew."),
        errors.BadRequestError,
        {"message": "Instance account is expired. Please renew.", "retryable": False},
    ),
    "400 bad data": (400, {}, said("bad request data"), errors.BadRequestError, {"retryable": False}),
    "400 deleted": (
        400,
        {},
        b"Instance is deleted",
        errors.BadRequestError,
        {"message": "Instance is deleted", "retryable": False},
    ),
    "400 without a word": (400, {}, b"", errors.BadRequestError, {"message": "the API did not say why"}),
    "401 as it is, empty": (
        401,
        {"content-type": "application/json"},
        b"",
        errors.AuthenticationError,
        {
            "message": "the API does not know this token: check it (GREEN_API_TOKEN_INSTANCE)",
            "retryable": False,
        },
    ),
    "403 nginx": (403, {"content-type": "text/html"}, NGINX, errors.AccessDeniedError, {"retryable": False}),
    "403 JSON": (
        403,
        {},
        said("instance is suspended", 403),
        errors.AccessDeniedError,
        {"retryable": False},
    ),
    "403 unknown": (403, {}, b"\x00\xff", errors.AccessDeniedError, {"retryable": False}),
    "404": (
        404,
        {},
        said("Cannot GET /waInstance1101000000/getIncomingStatuse/***?minutes=5", 404),
        errors.NotFoundError,
        {"retryable": False},
    ),
    "429 as it is": (
        429,
        {"content-type": "application/json", "x-ratelimit-remaining": "0"},
        b"",
        errors.RateLimitedError,
        {"retry_after": None, "retryable": True},
    ),
    "429 with a wait": (429, {"retry-after": "7"}, b"", errors.RateLimitedError, {"retry_after": 7.0}),
    "429 with a fraction": (429, {"retry-after": "0.5"}, b"", errors.RateLimitedError, {"retry_after": 0.5}),
    "429 with a zero": (429, {"retry-after": "0"}, b"", errors.RateLimitedError, {"retry_after": 0.0}),
    "429 with a date": (
        429,
        {"retry-after": "Tue, 12 Mar 2024 08:36:35 GMT"},
        b"",
        errors.RateLimitedError,
        {"retry_after": None},
    ),
    **{
        f"429 with {nonsense!r}": (
            429,
            {"retry-after": nonsense},
            b"",
            errors.RateLimitedError,
            {"retry_after": None},
        )
        for nonsense in ["", "-1", "inf", "nan", "1e999", "soon", "9" * 5000 + "x"]
    },
    "466 both": (
        466,
        {},
        quota(invokeStatus=invoke(), correspondentsStatus=CORRESPONDENTS),
        errors.QuotaExceededError,
        told("getIncomingStatuses", 100, 100, "The monthly quota is used up."),
    ),
    "466 calls": (
        466,
        {},
        quota(invokeStatus=invoke()),
        errors.QuotaExceededError,
        told("getIncomingStatuses", 100, 100, "The monthly quota is used up."),
    ),
    "466 correspondents": (
        466,
        {},
        quota(correspondentsStatus=CORRESPONDENTS),
        errors.QuotaExceededError,
        told(None, 3, 3, "Too many correspondents.") | {"message": "Too many correspondents."},
    ),
    "466 one of them null": (
        466,
        {},
        quota(invokeStatus=None, correspondentsStatus=CORRESPONDENTS),
        errors.QuotaExceededError,
        told(None, 3, 3, "Too many correspondents."),
    ),
    "466 numbers as strings": (
        466,
        {},
        quota(invokeStatus=invoke(used="101", total="100")),
        errors.QuotaExceededError,
        told("getIncomingStatuses", 101, 100, "The monthly quota is used up."),
    ),
    "466 no numbers": (
        466,
        {},
        quota(invokeStatus=invoke(used="many", total=None, description="")),
        errors.QuotaExceededError,
        told("getIncomingStatuses", None, None, None) | {"message": "the plan's quota is used up"},
    ),
    "466 infinite": (
        466,
        {},
        b'{"invokeStatus":{"used":1e999,"total":NaN}}',
        errors.QuotaExceededError,
        NOTHING_TOLD,
    ),
    "466 of thousands of digits": (
        466,
        {},
        quota(invokeStatus={"used": "9" * 5000}),
        errors.QuotaExceededError,
        NOTHING_TOLD,
    ),
    **{
        f"466 {body[:9]!r}": (466, {}, body, errors.QuotaExceededError, NOTHING_TOLD)
        for body in [b"", b"{}", b"[]", b"null", b"<html></html>", b'{"invokeStatus":[1]}', b"[" * 100_000]
    },
    "499": (499, {}, b"", errors.ServerError, {"message": "the API did not say why", "retryable": True}),
    "500 JSON": (
        500,
        {},
        said("Internal Server Error", 500),
        errors.ServerError,
        {"message": "Internal Server Error", "retryable": True},
    ),
    "500 text": (500, {}, b"internal error", errors.ServerError, {"message": "internal error"}),
    **{
        f"{code} HTML": (
            code,
            {"content-type": "text/html"},
            GATEWAY,
            errors.ServerError,
            {"retryable": True},
        )
        for code in (502, 503, 504)
    },
    **{
        f"{code} to a portal": (
            code,
            {"location": "http://user:pw@wifi.example:8080/login?from=/waInstance1101/***"},
            b"",
            errors.UnexpectedRedirectError,
            {"location": "wifi.example", "retryable": True},
        )
        for code in (301, 302, 303, 307, 308)
    },
    "302 to nowhere": (302, {}, GATEWAY, errors.UnexpectedRedirectError, {"location": None}),
    "302 to a path": (302, {"location": "/x"}, b"", errors.UnexpectedRedirectError, {"location": None}),
    "302 to nonsense": (
        302,
        {"location": "http://["},
        b"",
        errors.UnexpectedRedirectError,
        {"location": None},
    ),
    "304": (304, {}, b"", errors.UnexpectedRedirectError, {"location": None}),
    "402": (402, {}, b"pay", errors.BadRequestError, {"message": "pay", "retryable": False}),
    "408": (408, {}, b"", errors.ServerError, {"retryable": True}),
    "421": (421, {}, b"", errors.ServerError, {"retryable": True}),
    "425": (425, {}, b"", errors.ServerError, {"retryable": True}),
    "418": (418, {}, b"", errors.BadRequestError, {"retryable": False}),
    "204": (204, {}, b"", errors.ServerError, {"message": "the API did not say why", "retryable": True}),
    "201": (201, {}, b"[]", errors.ServerError, {"retryable": True}),
    "520": (520, {}, b"error code: 520", errors.ServerError, {"message": "error code: 520"}),
}


@pytest.mark.parametrize(
    ("http_code", "headers", "body", "error", "attributes"), list(REFUSALS.values()), ids=list(REFUSALS)
)
def test_a_refusal_has_its_error(http_code, headers, body, error, attributes):
    """The code decides first; the body only tells more."""
    refused = refusal(http_code, headers, body)

    assert type(refused) is error
    assert {name: getattr(refused, name) for name in attributes} == attributes
    assert refused.http_code == http_code
    assert str(refused).startswith(f"HTTP {http_code}: ")
    assert "<" not in str(refused)


@pytest.mark.parametrize("body", [b"", NGINX, said("x", 403)])
def test_access_denied_names_the_causes(body):
    """nginx tells none of them."""
    message = str(refusal(403, {}, body))

    assert all(cause in message for cause in ("beta access not granted", "api_url", "suspended"))


def test_what_the_api_said_is_added_to_what_the_code_means():
    assert str(refusal(403, {}, said("instance is suspended"))).endswith('; it says "instance is suspended"')
    assert str(refusal(404, {}, said("Cannot GET /x"))).endswith('; it says "Cannot GET /x"')


def test_only_the_host_of_a_redirect_is_kept():
    """The rest of a Location can hold anything, the token too."""
    refused = refusal(302, {"location": "https://u:pw@wifi.example:8443/login?token=SECRET#SECRET"}, b"")

    assert all(part not in f"{refused} {vars(refused)}" for part in ("SECRET", "pw", "8443", "login"))


# What is kept of a stranger's words


@pytest.mark.parametrize(
    "body", [b"x" * 10_000, said("x" * 10_000), b"x" + "я".encode() * 5000, b"x" + "🌷".encode() * 5000]
)
def test_a_message_is_cut_at_512_bytes(body):
    """A character is not cut in two."""
    message = refusal(400, {}, body).message

    assert MOST - 4 <= len(message.encode()) <= MOST
    assert "\ufffd" not in message


@pytest.mark.parametrize("http_code", [401, 403, 404])
def test_what_is_quoted_is_cut_as_well(http_code):
    quoted = refusal(http_code, {}, b"x" * 10_000).message.partition('it says "')[2]

    assert quoted == "x" * MOST + '"'


def test_the_words_on_the_quota_and_the_host_are_cut_as_well():
    refused = refusal(466, {}, quota(invokeStatus=invoke(description="x" * 9999, method="y" * 9999)))
    redirect = refusal(302, {"location": f"https://{'x' * 9999}/"}, b"")

    assert (len(refused.description), len(refused.message), len(refused.method)) == (MOST, MOST, MOST)
    assert len(redirect.location) == MOST


@pytest.mark.parametrize(
    ("text", "printable"),
    [
        ("one\r\ntwo\tthree", "one two three"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("nul\x00l", "nul l"),
        ("right\u202eleft\u2066", "right left"),
        ("zero\u200bwidth\ufeff", "zero width"),
        ("line\u2028para\u2029", "line para"),
        ("half\ud83c", "half"),
        ("  Доброе утро 🌷 ", "Доброе утро 🌷"),
    ],
)
def test_control_and_bidi_characters_are_gone(text, printable):
    """A message is one line in a log, and cannot rewrite a terminal."""
    assert failures.printable(text) == printable


@given(
    st.sampled_from([204, 302, 400, 401, 403, 404, 418, 429, 466, 499, 500, 502]),
    st.dictionaries(st.sampled_from(["location", "retry-after"]), st.text()),
    st.binary() | st.text().map(said) | st.text().map(str.encode),
)
def test_whatever_a_refusal_brings_the_error_is_one_printable_line(http_code, headers, body):
    refused = refusal(http_code, headers, body)

    assert str(refused).isprintable()
    assert len(refused.message.encode()) < MOST + 300


# 200 with JSON that is no array


@pytest.mark.parametrize(
    ("value", "error", "attributes"),
    [
        ({"status": False, "reason": "instance is starting"}, errors.InstanceNotReadyError, STARTING),
        (
            {"status": False, "reason": "instance is starting or not authorized"},
            errors.InstanceNotReadyError,
            STARTING,
        ),
        ({"reason": "Instance account not authorized"}, errors.InstanceNotReadyError, UNAUTHORIZED),
        ({"message": "instance account not authorized"}, errors.InstanceNotReadyError, UNAUTHORIZED),
        ({"status": False, "reason": "out of luck"}, errors.DecodeError, {"retryable": True}),
        ({}, errors.DecodeError, {"message": "expected a JSON array of statuses, got dict"}),
        ({"reason": None}, errors.DecodeError, {}),
        ("starting", errors.DecodeError, {"message": "expected a JSON array of statuses, got str"}),
        (5, errors.DecodeError, {}),
        (True, errors.DecodeError, {}),
    ],
)
def test_an_object_in_place_of_the_array_has_its_error(value, error, attributes):
    """What is none of the known reasons is a DecodeError, whose message tells the reason."""
    with pytest.raises(errors.GreenApiError) as caught:
        _refusals.array_in(json.dumps(value).encode())

    refusal = caught.value
    assert type(refusal) is error
    assert {name: getattr(refusal, name) for name in attributes} == attributes
    if error is errors.InstanceNotReadyError:
        assert refusal.http_code == 200


def test_the_reason_is_told_cut_and_printable():
    with pytest.raises(errors.DecodeError) as caught:
        _refusals.array_in(json.dumps({"reason": "out\r\nof luck" + "k" * 9999}).encode())

    assert 'it says "out of luckkk' in caught.value.message
    assert len(caught.value.message) < MOST + 100
