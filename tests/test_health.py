"""What `health` tells of a consumer that does not come back, and of an API that never worked."""

import anyio
import pytest
from fake_api import FakeInstance
from scripted import NOW, in_virtual_time, poller_of, text
from world import FakePage

from greenapi_async import MemoryStore, StoreError, TransportError
from greenapi_async._api.instance import Answer

pytestmark = pytest.mark.anyio


def answer(*ids):
    page = FakePage([text(id_message, at=NOW - 60) for id_message in ids])
    return Answer(page=page, date=NOW, cached=False, duration=0.0)


class Wall:
    """A wall clock that somebody sets."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now

    def goes_on(self, seconds):
        self.now += seconds


@pytest.mark.parametrize(("interval", "patience"), [(1.0, 300.0), (60.0, 300.0), (900.0, 2700.0)])
async def test_a_consumer_that_does_not_come_back_stalls_the_poller(interval, patience):
    """Nobody polls while a status is being handled: after three intervals, and five minutes, that is told."""
    wall = Wall()
    poller = poller_of(FakeInstance(answer("a", "b")), clock=wall, interval=interval)

    await anext(poller)
    at_first = poller.health.state
    wall.goes_on(patience - 1)
    shortly_before = poller.health.state
    wall.goes_on(1)

    assert (at_first, shortly_before, poller.health.state) == ("ok", "ok", "stalled")
    assert repr(poller) == "<StatusPoller of 1101000001, stalled>"


async def test_a_batch_that_nobody_finishes_stalls_the_poller():
    """A list of statuses is handed out like one."""
    wall = Wall()
    poller = poller_of(FakeInstance(answer("a", "b")), clock=wall)

    await anext(aiter(poller.batches()))
    wall.goes_on(300)

    assert poller.health.state == "stalled"


async def test_a_slow_consumer_that_comes_back_is_well_again():
    """The next status is handed out to a consumer who is there."""
    wall = Wall()
    poller = poller_of(FakeInstance(answer("a", "b")), clock=wall)

    await anext(poller)
    wall.goes_on(1000)
    stalled = poller.health.state
    await anext(poller)

    assert (stalled, poller.health.state) == ("stalled", "ok")


async def test_a_consumer_who_waits_for_a_status_stalls_nothing():
    """Quiet days are no trouble."""
    wall = Wall()
    poller = poller_of(FakeInstance(answer("a"), answer()), clock=wall)

    await anext(poller)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anext, poller)
        await anyio.wait_all_tasks_blocked()
        wall.goes_on(1000)
        state = poller.health.state
        tasks.cancel_scope.cancel()

    assert state == "ok"


async def test_a_scheduler_that_polls_once_stalls_nothing():
    """When to poll again is the scheduler's to decide, also after a loop."""
    wall = Wall()
    poller = poller_of(FakeInstance(answer("a")), clock=wall)

    await anext(poller)
    await poller.poll_once()
    wall.goes_on(10_000)

    assert poller.health.state == "ok"


async def test_a_wall_clock_that_is_set_back_stalls_nothing():
    """What was handed out in the future was handed out now."""
    wall = Wall()
    poller = poller_of(FakeInstance(answer("a")), clock=wall)

    await anext(poller)
    wall.goes_on(-10_000)

    assert poller.health.state == "ok"


async def test_stopped_comes_before_stalled():
    """Who ended the poller knows why nobody comes back."""
    wall = Wall()
    async with poller_of(FakeInstance(answer("a")), clock=wall) as poller:
        await anext(poller)
    wall.goes_on(1000)

    assert poller.health.state == "stopped"


class BusyOnce(MemoryStore):
    """Cannot record when it is first asked to."""

    def __init__(self):
        super().__init__()
        self.is_busy = True

    async def record(self, scope, ids, checkpoint, now):
        if ids and self.is_busy:
            self.is_busy = False
            raise StoreError("is locked", retryable=True)
        await super().record(scope, ids, checkpoint, now)


def test_degraded_comes_before_stalled():
    """What fails on our side is told until a poll works again."""
    wall = Wall()
    poller = poller_of(FakeInstance(answer("a", "b")), clock=wall, store=BusyOnce())

    async def take_two():
        await anext(poller)
        await anext(poller)

    in_virtual_time(take_two)
    wall.goes_on(1000)

    assert poller.health.state == "degraded"


async def test_an_api_that_never_worked_is_not_ready():
    """A web app that says so until the first response is ready for ever where none comes."""
    poller = poller_of(FakeInstance(TransportError("refused")))
    before = poller.health.state

    with pytest.raises(TransportError):
        await poller.poll_once()

    assert (before, poller.health.state) == ("starting", "degraded")
    assert poller.health.last_success_at is None


async def test_a_consumer_who_commits_and_leaves_stalls_nothing():
    """It said that the status was handled, and owes nothing."""
    wall = Wall()
    poller = poller_of(FakeInstance(answer("a", "b")), clock=wall)

    await anext(poller)
    await poller.commit()
    wall.goes_on(1000)

    assert poller.health.state == "ok"
