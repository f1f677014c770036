"""What must hold under load: cancelled requests leave nothing behind, and memory stays bounded."""

import asyncio
import gc
import random
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest
from clients import client_of
from versions import ANYIO

from greenapi_async._http.limiter import Slots
from greenapi_async.simulator import Simulator

pytestmark = pytest.mark.anyio

PLACES = 20
long = pytest.mark.long


# A connect that asyncio cancels at a bad moment leaves its socket to the garbage collector, which closes it and
# warns: in anyio before 4.16 often, since then rarely.
@pytest.mark.usefixtures("nothing_left_to_collect")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("anyio_backend", "requests"),
    [
        ("asyncio", 1_000),
        ("trio", 1_000),
        pytest.param("asyncio", 10_000, marks=long),
        pytest.param("trio", 3_000, marks=long),
        pytest.param("asyncio", 40_000, marks=long),
        pytest.param("trio", 40_000, marks=long),
    ],
)
async def test_cancelled_requests_leave_nothing_behind(anyio_backend, requests, monkeypatch):
    """After requests of which a third is cancelled at random moments, every place is free again."""
    monkeypatch.setattr("greenapi_async._http.exchange.Slots", partial(Slots, most=PLACES))
    dice = random.Random(7)
    answered, cancelled = [], []

    async def ask(client):
        for _ in range(requests // (2 * PLACES)):
            try:
                await _given_up_after(
                    dice.random() * 0.015 if dice.random() < 0.5 else 60, client.fetch, anyio_backend
                )
            except TimeoutError:
                cancelled.append(client)
            else:
                answered.append(client)

    async with (
        Simulator(max_rate=None) as api,
        client_of(api) as client,
    ):
        async with anyio.create_task_group() as tasks:
            for _ in range(2 * PLACES):
                tasks.start_soon(ask, client.for_instance(api.id_instance, api.token))

        gc.collect()
        await anyio.wait_all_tasks_blocked()
        slots = client._shared.http._loops.get().slots
        kept = [
            each for idle in client.http_client._transport._pool._loops.get()._idle.values() for each in idle
        ]
        idle = sum(each.is_idle() for each in kept)
        connections = api.connections
        answer = await client.fetch()

    assert len(answered) + len(cancelled) == requests
    assert len(cancelled) > requests / 3
    assert (slots.free, slots._waiting) == (PLACES, {})
    assert len(kept) == idle <= PLACES
    assert connections == len(kept) or ANYIO < (4, 16)
    assert answer == []


async def _given_up_after(seconds, question, backend):
    """Give up as programs on that event loop do: asyncio's own timeouts know nothing of anyio's scopes."""
    async with asyncio.timeout(seconds) if backend == "asyncio" else _trio_timeout(seconds):
        await question()


@asynccontextmanager
async def _trio_timeout(seconds):
    with anyio.fail_after(seconds):
        yield
