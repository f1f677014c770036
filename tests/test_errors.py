"""The tree of errors."""

import copy
import inspect
import pickle
from datetime import UTC, datetime

import pytest

import greenapi_async
from greenapi_async import errors

MARCH = datetime(2024, 3, 1, tzinfo=UTC)
APRIL = datetime(2024, 4, 1, tzinfo=UTC)
# One instance at least of every class, with the attributes it must carry.
CASES = [
    (errors.GreenApiError("failed"), {"message": "failed", "retryable": False}),
    (errors.ConfigurationError("timeout must be a positive number"), {"retryable": False}),
    (errors.ClientClosedError("closed"), {"retryable": False}),
    (errors.TransportError("reset"), {"timeout": False, "retryable": True}),
    (errors.TransportError("slow", timeout=True), {"timeout": True, "retryable": True}),
    (errors.TransportError("TLS", retryable=False), {"timeout": False, "retryable": False}),
    (errors.TransportError("TLS", refused="certificate"), {"refused": "certificate", "retryable": False}),
    (errors.ResponseError("no", http_code=418), {"http_code": 418, "message": "no", "retryable": False}),
    (errors.AuthenticationError("token"), {"http_code": 401, "retryable": False}),
    (errors.AccessDeniedError("beta"), {"http_code": 403, "retryable": False}),
    (errors.NotFoundError("path"), {"http_code": 404, "retryable": False}),
    (errors.InstanceNotReadyError("s"), {"http_code": 400, "reason": "starting", "retryable": True}),
    (
        errors.InstanceNotReadyError("s", reason="not authorized", http_code=200),
        {"http_code": 200, "reason": "not authorized", "retryable": False},
    ),
    (errors.BadRequestError("bad request data"), {"http_code": 400, "retryable": False}),
    (errors.RateLimitedError("slower"), {"http_code": 429, "retry_after": None, "retryable": True}),
    (errors.RateLimitedError("slower", retry_after=2.5), {"retry_after": 2.5, "retryable": True}),
    (
        errors.QuotaExceededError("used up"),
        {
            "http_code": 466,
            "method": None,
            "used": None,
            "total": None,
            "description": None,
            "retryable": False,
        },
    ),
    (
        errors.QuotaExceededError("used up", method="m", used=3, total=3, description="d"),
        {"method": "m", "used": 3, "total": 3, "description": "d", "message": "used up"},
    ),
    (errors.ServerError("gateway", http_code=502), {"http_code": 502, "retryable": True}),
    (
        errors.UnexpectedRedirectError("away", location="wifi.example"),
        {"http_code": 302, "location": "wifi.example", "retryable": True},
    ),
    (errors.DecodeError("half"), {"retryable": True}),
    (errors.BodyTooLargeError(1024), {"limit": 1024, "retryable": False}),
    (errors.MediaError("not a picture"), {"http_code": None, "retryable": False}),
    (errors.MediaError("later", http_code=503, retryable=True), {"http_code": 503, "retryable": True}),
    (errors.DirectoryError("disk full", retryable=True), {"http_code": None, "retryable": True}),
    (errors.RetentionGapError(MARCH, APRIL), {"lost_from": MARCH, "lost_to": APRIL, "retryable": False}),
    (errors.StoreError("disk full"), {"retryable": False}),
]
CLASSES = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)
]

each_case = pytest.mark.parametrize(
    ("error", "attributes"), CASES, ids=[type(error).__name__ for error, _ in CASES]
)


def test_the_table_below_has_every_class():
    assert {type(error) for error, _ in CASES} == set(CLASSES)


@each_case
def test_attributes_hold_the_data(error, attributes):
    assert {name: getattr(error, name) for name in attributes} == attributes


@each_case
@pytest.mark.parametrize(
    "duplicate",
    [
        copy.copy,
        copy.deepcopy,
        *[
            lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        ],
    ],
)
def test_errors_pickle_and_copy_whole(error, attributes, duplicate):
    """They cross process pools and task queues; an error that does not unpickle kills the worker there."""
    twin = duplicate(error)

    assert type(twin) is type(error)
    assert twin is not error
    assert (str(twin), twin.args, vars(twin)) == (str(error), error.args, vars(error))
    assert {name: getattr(twin, name) for name in attributes} == attributes


def test_notes_survive_pickling():
    error = errors.BodyTooLargeError(1)
    error.add_note("while polling 1101000001")

    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while polling 1101000001"]


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_there_is_one_root_and_every_error_is_public(error):
    assert issubclass(error, errors.GreenApiError)
    assert getattr(greenapi_async, error.__name__) is error
    assert error.__name__ in greenapi_async.__all__
    assert error.__doc__


@pytest.mark.parametrize(
    "error",
    [
        errors.AuthenticationError,
        errors.AccessDeniedError,
        errors.NotFoundError,
        errors.InstanceNotReadyError,
        errors.BadRequestError,
        errors.RateLimitedError,
        errors.QuotaExceededError,
        errors.ServerError,
        errors.UnexpectedRedirectError,
    ],
    ids=lambda error: error.__name__,
)
def test_an_answer_that_refuses_is_a_response_error_that_shows_its_code(error):
    assert issubclass(error, errors.ResponseError)
    assert str(error("no", http_code=499)).startswith("HTTP 499: no")


def test_a_configuration_error_is_a_value_error():
    """A wrong argument is what Python code expects it to be."""
    assert issubclass(errors.ConfigurationError, ValueError)


def test_a_redirect_is_trouble_of_the_server():
    assert issubclass(errors.UnexpectedRedirectError, errors.ServerError)


def test_no_other_error_is_a_value_error_or_an_os_error():
    """`except ValueError` around a call must not swallow an outage."""
    builtin = [error for error in CLASSES if issubclass(error, ValueError | OSError | RuntimeError)]

    assert builtin == [errors.ConfigurationError]


def test_a_body_that_is_too_large_tells_the_bound_and_what_to_do():
    assert str(errors.BodyTooLargeError(1024)) == (
        "the response is larger than 1024 bytes: request fewer minutes or raise max_body"
    )


def test_a_gap_tells_what_is_lost():
    assert "2024-03-01 00:00 to 2024-04-01 00:00 UTC" in str(errors.RetentionGapError(MARCH, APRIL))
