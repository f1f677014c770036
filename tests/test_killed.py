"""The poller's promise under SIGKILL and among several processes: real processes, a real file, real sockets."""

import functools

import anyio
import killed
import pytest

long = pytest.mark.long


@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=long), pytest.param(100, marks=long)])
def test_killed_process_loses_nothing(tmp_path, kills):
    """What the server had is what the consumer saw, and each kill repeats one status at most."""
    report = anyio.run(killed.run, kills, tmp_path)

    assert report.seen.keys() == report.posted
    assert report.repeats <= report.kills


@pytest.mark.parametrize("kills", [5, pytest.param(10, marks=long), pytest.param(100, marks=long)])
def test_killed_process_repeats_nothing_if_asked_to(tmp_path, kills):
    """At-most-once pays with at most one status a kill, and never shows one twice."""
    report = anyio.run(killed.run, kills, tmp_path, "at-most-once")

    assert report.repeats == 0
    assert len(report.lost) <= report.kills


@long
@pytest.mark.parametrize(("way", "most_lost"), [("at-least-once", 0), ("at-most-once", 4)])
def test_killed_process_behind_a_failing_proxy_loses_no_more(tmp_path, way, most_lost):
    """Whatever the proxy does, and wherever in a set-up the process dies."""
    report = anyio.run(functools.partial(killed.run, 4, tmp_path, way, proxy=True))

    assert len(report.lost) <= most_lost
    assert report.repeats <= report.kills - most_lost


@pytest.mark.parametrize("way", ["at-least-once", "poll_once"])
def test_four_processes_lose_nothing(tmp_path, way):
    """On one file, each sees a status once at most, and together they see all."""
    report = anyio.run(killed.run_at_once, 4, tmp_path, way)

    assert report.seen.keys() == report.posted
    assert report.most_by_one == 1
