"""What the log says of many instances: a line for a host and a failure, when it begins, while it lasts, when it ends."""

import logging

import pytest

from greenapi_async import AuthenticationError, ServerError, StoreError, TransportError
from greenapi_async._fleet.hostlog import HostLog

HOUR = 3600.0
DAY = 24 * HOUR


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def log(now):
    return HostLog("https://a", lambda: now[0], HostLog("the store", lambda: now[0]))


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "greenapi_async")
    return lambda: [record.getMessage() for record in caplog.records]


def refused(http_code=503):
    return ServerError("no", http_code=http_code)


def test_the_first_of_many_is_told(log, lines):
    for scope in "123":
        log.begins(scope, 10, resumed=False)
        log.fails(scope, refused(), 0.0)
        log.fails(scope, refused(), 0.0)

    assert lines() == ["https://a fails, e.g. for instance 1: HTTP 503: no; retrying"]


def test_it_is_told_again_after_an_hour_and_daily(log, lines, now):
    told = []
    for hour in range(60):
        now[0] = hour * HOUR + 1
        log.fails("1", refused(), 0.0)
        told.append(len(lines()))

    assert [hour for hour in range(1, 60) if told[hour] > told[hour - 1]] == [1, 25, 49]
    assert "has failed for 1 h" in lines()[1]


def test_other_kinds_are_told_once_though_they_take_turns(log, lines):
    for _ in range(10):
        log.fails("1", refused(), 0.0)
        log.fails("1", TransportError("reset"), 0.0)

    assert len(lines()) == 2


def test_it_works_again_when_it_does_for_all(log, lines, now):
    log.fails("1", refused(), 0.0)
    log.fails("2", refused(), 0.0)
    now[0] = 60.0
    log.works("1", 0.0)
    assert len(lines()) == 1
    log.works("2", 0.0)
    assert lines()[1:] == ["https://a works again after 60 s"]
    log.fails("2", refused(), 0.0)
    assert len(lines()) == 3


def test_one_that_is_removed_is_waited_for_no_more(log, lines):
    """It neither works again nor holds up the line that says so of the others."""
    log.fails("1", refused(), 0.0)
    log.fails("2", refused(), 0.0)
    log.forget("1")
    log.works("2", 0.0)
    assert len(lines()) == 2
    log.fails("1", refused(), 0.0)
    log.forget("1")
    log.works("2", 0.0)
    assert len(lines()) == 3


def test_one_that_ended_is_waited_for_no_more(log, lines):
    """The others work again though it never will."""
    log.fails("1", refused(), 0.0)
    log.fails("2", refused(), 0.0)
    log.ended("1", refused())
    log.works("2", 0.0)

    assert lines()[2:] == ["https://a works again after 0 s"]


def test_the_store_is_not_the_hosts(log, lines, now):
    """Whatever the host, it is one store that fails."""
    other = HostLog("https://b", lambda: now[0], log.store)
    log.fails("1", StoreError("is locked", retryable=True), 0.0)
    other.fails("2", StoreError("is locked", retryable=True), 0.0)
    log.works("1", 0.0)
    other.works("2", 0.0)

    assert [line.split(",")[0] for line in lines()] == [
        "the store fails",
        "the store works again after 0 s",
    ]


def test_those_that_ended_are_told_once_until_one_is_added_again(log, lines):
    error = AuthenticationError("no", http_code=401)
    for scope in "123":
        log.ended(scope, error)
    assert lines() == ["polling instance 1 at https://a ended: HTTP 401: no; `Fleet.health` lists them all"]
    for scope in "123":
        log.forget(scope)
    log.ended("1", error)
    assert len(lines()) == 2


def test_what_cannot_be_true_is_told_hourly(log, lines, now):
    for scope in "123":
        log.doubts(scope, "the checkpoint of instance %s is gone", 0.0)
    now[0] = HOUR
    log.doubts("2", "the checkpoint of instance %s is gone", 0.0)
    log.works("2", 0.0)

    assert lines() == ["the checkpoint of instance 1 is gone", "the checkpoint of instance 2 is gone"]
