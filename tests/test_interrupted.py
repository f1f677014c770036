"""Cancelled wherever it waits, a poller loses nothing, and nothing of it is left open."""

import asyncio
import gc
from contextlib import asynccontextmanager
from itertools import count

import anyio
import pytest
from process import open_files
from proxies import way_to

from greenapi_async import AsyncStatusesClient
from greenapi_async._http import transport
from greenapi_async.simulator import Simulator
from greenapi_async.stores.conformance import CancelAt

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_to_collect")]
long = pytest.mark.long


async def handle_two(api, url, path, handled, delivery):
    """What a bot does: two statuses, each handled over a moment."""
    async with AsyncStatusesClient(
        api.id_instance, api.token, api_url=url, max_rate=None, timeout=2.0
    ) as client:
        poller = client.poll(store=path, delivery=delivery)
        async for status in poller:
            handled.append(status.id_message)
            await anyio.lowlevel.checkpoint()
            if len(set(handled)) == 2:
                break
        await poller.commit()


async def cancelled_by_scope(n, coroutine):
    with anyio.CancelScope() as scope:
        interrupted = CancelAt(n, coroutine, scope.cancel)
        await interrupted

    return interrupted.reached


async def cancelled_by_asyncio(n, coroutine):
    async def main():
        await interrupted

    def in_the_midst():
        # At once, a worker thread would not have begun.
        asyncio.get_running_loop().call_later(0.0002, task.cancel)

    interrupted = CancelAt(n, coroutine, in_the_midst)
    task = asyncio.ensure_future(main())
    await asyncio.wait([task])
    return interrupted.reached


async def played(cancelled, directory, delivery, *, proxy=False):
    """Cancel at the first wait, the second and so on; return how each went: ids handled before and left after."""
    async with (
        Simulator(max_rate=None) as api,
        way_to(api, proxy=proxy) as (url, environment),
        given(environment),
    ):
        posted = {api.post("text")["idMessage"] for _ in range(2)}
        open_at_first = None
        outcomes = []

        for n in count(1):
            handled = []
            path = directory / f"{n}.db"
            reached = await cancelled(n, handle_two(api, url, path, handled, delivery))
            assert cancelled is cancelled_by_asyncio or {path} >= set(directory.glob(f"{n}.db*"))
            outcomes.append((handled, await left_in(api, path)))
            open_at_first = open_at_first or open_files()
            if not reached:
                break

        for _ in range(500):  # A proxy sees that its client has gone a moment later.
            await anyio.sleep(0.01)
            gc.collect()
            if open_files() <= open_at_first:
                break
        assert open_files() <= open_at_first
        assert len(outcomes) > 20
        return posted, outcomes


@asynccontextmanager
async def given(environment):
    """Let the environment name a proxy, and the certificate of what is behind it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        if environment:
            transport.ssl_context.cache_clear()
        yield
    if environment:
        transport.ssl_context.cache_clear()


async def left_in(api, path):
    """Return the ids that the next process gets."""
    async with AsyncStatusesClient(api.id_instance, api.token, api_url=api.url) as client:
        batch = await client.poll(store=path).poll_once()
        return [status.id_message for status in batch.statuses]


async def test_cancelled_scope_loses_nothing(tmp_path):
    """The status that was being handled comes again, and nothing else does."""
    posted, outcomes = await played(cancelled_by_scope, tmp_path, "at-least-once")

    for handled, left in outcomes:
        assert {*handled, *left} == posted
        assert set(handled) & set(left) <= set(handled[-1:])


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_cancelled_scope_repeats_nothing_if_asked_to(tmp_path):
    """Recording is shielded, so even at-most-once hands out what it recorded."""
    posted, outcomes = await played(cancelled_by_scope, tmp_path, "at-most-once")

    for handled, left in outcomes:
        assert sorted([*handled, *left]) == sorted(posted)


@long
async def test_cancelled_scope_behind_a_failing_proxy_loses_nothing(tmp_path):
    """There are more waits than without, and any of them may fail or be cut off before it is cancelled."""
    posted, outcomes = await played(cancelled_by_scope, tmp_path, "at-least-once", proxy=True)

    for handled, left in outcomes:
        assert {*handled, *left} == posted
        assert set(handled) & set(left) <= set(handled[-1:])


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(("delivery", "most_lost"), [("at-least-once", 0), ("at-most-once", 1)])
async def test_task_that_asyncio_cancels_loses_nothing(tmp_path, delivery, most_lost):
    """asyncio's own cancellation goes through anyio's shields; only at-most-once can lose what it recorded."""
    posted, outcomes = await played(cancelled_by_asyncio, tmp_path, delivery)

    for handled, left in outcomes:
        assert len(posted - {*handled, *left}) <= most_lost
        assert set(handled) & set(left) <= (set() if most_lost else set(handled[-1:]))
