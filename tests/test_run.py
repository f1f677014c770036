"""`StatusPoller.run`: the loop that every bot writes, and how it ends."""

import logging

import anyio
import pytest
from fake_api import FakeInstance
from scripted import NOW, in_virtual_time, passed, text
from scripted import poller_of as scripted_poller
from world import FakePage

from greenapi_async import (
    AuthenticationError,
    ConfigurationError,
    MemoryStore,
    PollFailed,
    StoreError,
    TransportError,
)
from greenapi_async._api.instance import Answer

pytestmark = pytest.mark.anyio
SECRET = "what a stranger wrote"


def answer(*ids):
    page = FakePage([text(id_message, at=NOW - 60) for id_message in ids])
    return Answer(page=page, date=NOW, cached=False, duration=0.0)


def poller_of(api, **options):
    return scripted_poller(api, clock=lambda: NOW, **options)


class Bot:
    """A handler that fails at some statuses, so often; ends the run after the last one that a test posts."""

    class Done(BaseException):
        """The test has seen enough; no attempt catches it."""

    def __init__(self, *, last, fails=None, error=None):
        self.last = last
        self.fails = dict(fails or {})
        self.error = error or ValueError(SECRET)
        self.calls = []
        self.times = []
        self.handled = []
        self.set_asides = []

    async def handle(self, status):
        id_message = status.id_message
        self.calls.append(id_message)
        self.times.append(anyio.current_time())
        await anyio.lowlevel.checkpoint()
        if self.fails.get(id_message):
            self.fails[id_message] -= 1
            raise self.error
        if id_message == self.last:
            raise self.Done
        self.handled.append(id_message)

    async def set_aside(self, status, error):
        await anyio.lowlevel.checkpoint()
        self.set_asides.append((status.id_message, error))


async def run(poller, bot, **options):
    with pytest.raises(Bot.Done):
        await poller.run(bot.handle, **options)


async def unhandled(store, *ids):
    """Return the ids that were not recorded as handled."""
    return await store.unseen("1101000001", ids)


# The loop


async def test_every_status_is_handled_in_order_and_recorded_then():
    """One at a time, each recorded when its handler has returned."""
    store, bot = MemoryStore(), Bot(last="c")
    poller = poller_of(FakeInstance(answer("a", "b", "c")), store=store)

    await run(poller, bot)

    assert bot.handled == ["a", "b"]
    assert await unhandled(store, "a", "b", "c") == {"c"}
    assert poller.health.delivered == 2


async def test_what_ended_it_comes_again():
    """From the next `run` of the same poller, as from a loop."""
    bot = Bot(last="d", fails={"b": 1})
    poller = poller_of(FakeInstance(answer("a", "b"), answer("c", "d")), interval=0.01)

    with pytest.raises(ValueError, match=SECRET):
        await poller.run(bot.handle)
    await run(poller, bot)

    assert bot.calls == ["a", "b", "b", "c", "d"]


async def test_run_goes_on_with_what_a_loop_left():
    """All ways to take statuses share one queue."""
    bot = Bot(last="b")
    poller = poller_of(FakeInstance(answer("a", "b")))
    await anext(poller)

    await run(poller, bot)

    assert bot.calls == ["a", "b"]


async def test_the_handler_runs_in_the_callers_task_with_nothing_open():
    """A context variable, a task group or a cancel scope of the caller's is the handler's, too."""
    seen = []

    async def handle(status):
        seen.append(anyio.get_current_task().id)
        scope.cancel()
        await anyio.sleep_forever()

    poller = poller_of(FakeInstance(answer("a")))
    with anyio.CancelScope() as scope:
        await poller.run(handle)

    assert seen == [anyio.get_current_task().id]
    assert scope.cancelled_caught


async def test_a_handler_may_commit():
    """A status whose handling must not be repeated from here on is recorded before the handler ends."""
    store = MemoryStore()
    poller = poller_of(FakeInstance(answer("a")), store=store)

    async def handle(status):
        await poller.commit()
        raise Bot.Done

    with pytest.raises(Bot.Done):
        await poller.run(handle)

    assert await unhandled(store, "a") == set()


async def test_a_second_run_at_the_same_time_is_refused():
    """It would get what the first is just handling; the first goes on as if nothing had been."""
    poller = poller_of(FakeInstance(answer("a", "b")))
    bot, second = Bot(last="b"), Bot(last="a")

    async def handle(status):
        with pytest.raises(RuntimeError, match="run"):
            await poller.run(second.handle)
        assert poller.health.state == "ok"
        await bot.handle(status)

    with pytest.raises(Bot.Done):
        await poller.run(handle)

    assert (bot.calls, second.calls) == (["a", "b"], [])


# How it ends


async def test_a_handler_that_fails_ends_it_loudly(caplog):
    """Health says so, one line says so, and the error itself goes to whoever called."""
    error = ValueError(SECRET)
    bot = Bot(last="b", fails={"a": 1}, error=error)
    poller = poller_of(FakeInstance(answer("a", "b")))

    with pytest.raises(ValueError, match=SECRET) as caught:
        await poller.run(bot.handle)

    assert caught.value is error
    assert (poller.health.state, poller.health.last_error) == ("stopped", error)
    [line] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.levelname == "ERROR"
    assert "1101000001" in line.getMessage()
    assert "ValueError" in line.getMessage()
    assert "<TextStatus a " in line.getMessage()
    assert SECRET not in caplog.text


async def test_a_refusal_ends_it_loudly(caplog):
    """What the poller itself gives up for is told in the same way."""
    events = []
    poller = poller_of(FakeInstance(AuthenticationError("no")), on_event=events.append)

    with pytest.raises(AuthenticationError):
        await poller.run(Bot(last="a").handle)

    assert poller.health.state == "stopped"
    assert isinstance(poller.health.last_error, AuthenticationError)
    [line] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (line.levelname, "AuthenticationError" in line.getMessage()) == ("ERROR", True)
    assert [event.retry_in for event in events if isinstance(event, PollFailed)] == [None]


async def test_a_store_that_fails_ends_it_loudly():
    """The status was handled and cannot be recorded, so it comes again from the next process."""

    class Broken(MemoryStore):
        async def record(self, scope, ids, checkpoint, now):
            if ids:
                raise StoreError("damaged")
            await super().record(scope, ids, checkpoint, now)

    poller = poller_of(FakeInstance(answer("a", "b")), store=Broken())
    bot = Bot(last="b")

    with pytest.raises(StoreError):
        await poller.run(bot.handle)

    assert bot.calls == ["a"]
    assert poller.health.state == "stopped"


async def test_a_handler_that_hangs_stalls_it():
    """Nothing failed, and nobody polls any more."""
    wall = [NOW]
    hangs = anyio.Event()

    async def handle(status):
        hangs.set()
        await anyio.sleep_forever()

    poller = scripted_poller(FakeInstance(answer("a")), clock=lambda: wall[0])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(poller.run, handle)
        await hangs.wait()
        wall[0] += 300
        state = poller.health.state
        tasks.cancel_scope.cancel()

    assert state == "stalled"


async def test_cancellation_stops_it_without_a_line(caplog):
    """That is how it is meant to end."""
    poller = poller_of(FakeInstance(answer("a")))
    with anyio.CancelScope() as scope:

        async def handle(status):
            scope.cancel()
            await anyio.lowlevel.checkpoint()

        await poller.run(handle)

    assert (poller.health.state, poller.health.last_error) == ("stopped", None)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_health_is_well_again_after_another_run():
    """A supervisor that starts it anew is not told for ever that it had stopped."""
    bot, states = Bot(last="c", fails={"a": 1}), []
    poller = poller_of(FakeInstance(answer("a", "b", "c")))

    async def handle(status):
        states.append(poller.health.state)
        await bot.handle(status)

    for ended in (ValueError, Bot.Done):
        with pytest.raises(ended):
            await poller.run(handle)
        states.append(poller.health.state)

    assert states == ["ok", "stopped", "ok", "ok", "ok", "stopped"]


# With attempts


def test_what_works_at_last_is_not_set_aside():
    """A downstream that was restarting costs a few seconds, and loses nothing."""
    bot = Bot(last="c", fails={"a": 1, "b": 2})

    async def main():
        store = MemoryStore()
        await run(
            poller_of(FakeInstance(answer("a", "b", "c")), store=store),
            bot,
            attempts=3,
            set_aside=bot.set_aside,
        )
        return await unhandled(store, "a", "b", "c")

    assert in_virtual_time(main) == {"c"}
    assert bot.calls == ["a", "a", "b", "b", "b", "c"]
    assert (bot.handled, bot.set_asides) == (["a", "b"], [])


def test_a_poison_status_is_set_aside_and_the_next_is_handled():
    """It was yielded for ever, and nothing after it."""
    bot = Bot(last="c", fails={"b": 99})

    async def main():
        store = MemoryStore()
        poller = poller_of(FakeInstance(answer("a", "b", "c")), store=store)
        await run(poller, bot, attempts=3, set_aside=bot.set_aside)
        return await unhandled(store, "a", "b", "c")

    assert in_virtual_time(main) == {"c"}
    assert bot.calls == ["a", "b", "b", "b", "c"]
    assert bot.set_asides == [("b", bot.error)]


def test_attempts_wait_longer_each_time():
    """A second, two and four at least, twice that at most: whatever is down has time to come back."""
    bot = Bot(last="b", fails={"a": 99})

    async def main():
        poller = poller_of(FakeInstance(answer("a", "b")))
        await run(poller, bot, attempts=12, set_aside=bot.set_aside)

    in_virtual_time(main)

    waits = [after - before for before, after in zip(bot.times, bot.times[1:12], strict=False)]
    assert len(waits) == 11
    assert all(min(2**n, 60) / 2 <= wait <= min(2**n, 60) for n, wait in enumerate(waits, 1))


async def test_one_attempt_sets_aside_at_once():
    """Who wants no second try says so."""
    bot = Bot(last="b", fails={"a": 1})

    await run(poller_of(FakeInstance(answer("a", "b"))), bot, attempts=1, set_aside=bot.set_aside)

    assert (bot.calls, bot.set_asides) == (["a", "b"], [("a", bot.error)])


def test_each_failed_attempt_is_a_warning_without_the_error_s_text(caplog):
    """A person sees what fails, and reads nothing of what strangers wrote."""
    bot = Bot(last="b", fails={"a": 2})

    async def main():
        poller = poller_of(FakeInstance(answer("a", "b")))
        await run(poller, bot, attempts=2, set_aside=bot.set_aside)

    in_virtual_time(main)

    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.levelname for record in lines] == ["WARNING", "WARNING"]
    assert all("ValueError" in record.getMessage() for record in lines)
    assert all("<TextStatus a " in record.getMessage() for record in lines)
    assert "attempt 2 of 2" in lines[1].getMessage()
    assert SECRET not in caplog.text


async def test_set_aside_that_fails_ends_it_loudly():
    """A status that is neither handled nor set aside must not be recorded."""
    store, bot = MemoryStore(), Bot(last="b", fails={"a": 1})

    async def set_aside(status, error):
        raise IsADirectoryError

    poller = poller_of(FakeInstance(answer("a", "b")), store=store)
    with pytest.raises(IsADirectoryError):
        await poller.run(bot.handle, attempts=1, set_aside=set_aside)

    assert poller.health.state == "stopped"
    assert isinstance(poller.health.last_error, IsADirectoryError)
    assert await unhandled(store, "a") == {"a"}


def test_the_wait_between_attempts_is_cancelled_at_once():
    """A stop does not wait for a minute of backoff, and repeats the status."""
    store, bot = MemoryStore(), Bot(last="b", fails={"a": 99})

    async def main():
        poller = poller_of(FakeInstance(answer("a", "b")), store=store)
        with anyio.move_on_after(0.5):
            await poller.run(bot.handle, attempts=3, set_aside=bot.set_aside)
        return passed(), await unhandled(store, "a"), poller.health.state

    assert in_virtual_time(main) == (0.5, {"a"}, "stopped")
    assert bot.set_asides == []


def test_what_polling_fails_with_is_no_attempt():
    """An API that is away for a while is the poller's to wait for, not the handler's."""
    bot = Bot(last="b")

    async def main():
        api = FakeInstance(*[TransportError("reset")] * 9, answer("a", "b"))
        await run(poller_of(api), bot, attempts=1, set_aside=bot.set_aside)

    in_virtual_time(main)

    assert (bot.handled, bot.set_asides) == (["a"], [])


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attempts": 3}, "set_aside"),
        ({"set_aside": Bot(last="").set_aside}, "attempts"),
        ({"attempts": 0, "set_aside": Bot(last="").set_aside}, "attempts"),
        ({"attempts": True, "set_aside": Bot(last="").set_aside}, "attempts"),
        ({"attempts": 2.0, "set_aside": Bot(last="").set_aside}, "attempts"),
        ({"attempts": 3, "set_aside": "set_aside.jsonl"}, "set_aside"),
    ],
)
async def test_a_wrong_option_is_named_before_anything_is_polled(options, message):
    """Not when the first status fails, days later."""
    api = FakeInstance(answer("a"))

    with pytest.raises(ConfigurationError, match=f"^{message} must be "):
        await poller_of(api).run(Bot(last="a").handle, **options)

    assert api.asked == []


async def test_at_most_once_has_no_attempts_and_no_run():
    """There is nothing to try again: the status is recorded before the handler gets it."""
    poller = poller_of(FakeInstance(answer("a")), delivery="at-most-once")

    with pytest.raises(ConfigurationError, match="at-least-once"):
        await poller.run(Bot(last="a").handle)


@pytest.mark.parametrize("handler", [None, "print"])
async def test_a_handler_that_cannot_be_called_is_refused(handler):
    api = FakeInstance(answer("a"))

    with pytest.raises(ConfigurationError, match=r"^handler must be "):
        await poller_of(api).run(handler)

    assert api.asked == []


@pytest.mark.parametrize("options", [{}, {"attempts": 3, "set_aside": Bot(last="").set_aside}])
async def test_a_handler_that_is_not_async_ends_it(options):
    """It says what to do, and is not taken for a status that fails."""
    calls = []
    poller = poller_of(FakeInstance(answer("a")))

    with pytest.raises(ConfigurationError, match=r"^handler must be an async function"):
        await poller.run(calls.append, **options)

    assert len(calls) == 1


async def test_whatever_gives_an_awaitable_is_a_handler():
    """A lambda, a partial, an object: it is called and awaited."""
    got = []
    bot = Bot(last="b")

    async def handle(bot, status):
        got.append(status.id_message)
        await bot.handle(status)

    with pytest.raises(Bot.Done):
        await poller_of(FakeInstance(answer("a", "b"))).run(lambda status: handle(bot, status))

    assert got == ["a", "b"]
