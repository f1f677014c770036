"""trio's `MockClock`, on which waiting takes no time."""

import functools

import trio
from trio.testing import MockClock


def run_in_virtual_time(main, *args):
    """Run on a clock that jumps wherever everybody sleeps."""
    return trio.run(main, *args, clock=MockClock(autojump_threshold=0))


def in_virtual_time(test):
    """Run a test on that clock."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        run_in_virtual_time(functools.partial(test, *args, **kwargs))

    return run
