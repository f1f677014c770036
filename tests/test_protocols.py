"""The poller as an iterator: whatever Python offers for one works as a reader would expect."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from fake_api import FakeInstance
from scripted import NOW, text
from scripted import poller_of as scripted_poller
from world import FakePage

from greenapi_async import MemoryStore
from greenapi_async._api.instance import Answer

pytestmark = pytest.mark.anyio


def poller_of(*ids, **options):
    page = FakePage([text(id_message, at=NOW - 60) for id_message in ids])
    response = Answer(page=page, date=NOW, cached=False, duration=0.0)
    return scripted_poller(FakeInstance(response), clock=lambda: NOW, **options)


def ids(statuses):
    return [status.id_message for status in statuses]


async def test_it_is_an_async_iterator():
    """As `isinstance` and anything that takes one see it."""
    poller = poller_of("a")

    assert isinstance(poller, AsyncIterator)
    assert aiter(poller) is poller
    assert isinstance(poller.batches(), AsyncIterator)


async def test_closing_it_ends_it():
    """`aclosing` says when nobody will take statuses any more, as `async with` does."""
    async with aclosing(poller_of("a", "b")) as poller:
        first = await anext(poller)

    assert first.id_message == "a"
    assert poller.health.state == "stopped"
    with pytest.raises(RuntimeError, match="new poller"):
        await anext(poller)


async def test_closing_batches_ends_their_poller():
    """`aclosing` over what `batches` returns does what it does over the poller."""
    poller = poller_of("a", "b")

    async with aclosing(poller.batches()) as batches:
        first = await anext(batches)

    assert ids(first) == ["a", "b"]
    assert poller.health.state == "stopped"


async def test_closing_twice_is_no_error():
    """One of them may be in a `finally`."""
    async with poller_of("a") as poller:
        await poller.aclose()
        await poller.aclose()

    assert poller.health.state == "stopped"


async def test_what_is_closed_records_nothing_of_its_own():
    """The status that was being handled comes again, from the next poller on the same store."""
    store = MemoryStore()
    async with aclosing(poller_of("a", "b", store=store)) as poller:
        await anext(poller)

    assert (await anext(poller_of("a", "b", store=store))).id_message == "a"


async def test_closing_within_a_loop_refuses_its_next_step():
    """It says why, instead of ending the loop as if there were no more statuses."""
    poller, seen = poller_of("a", "b"), []

    async def loop():
        async for status in poller:
            seen.append(status.id_message)
            await poller.aclose()

    with pytest.raises(RuntimeError, match="new poller"):
        await loop()

    assert seen == ["a"]


async def test_single_steps_and_loops_share_one_queue():
    """`anext`, a loop, and a loop over batches go on where the last one stopped."""
    poller = poller_of("a", "b", "c", "d")

    first = await anext(poller)
    second = await anext(poller)
    third = await anext(aiter(poller))  # A loop begins with what was not recorded yet.
    await poller.commit()
    rest = await anext(poller.batches())

    assert ids([first, second, third]) == ["a", "b", "b"]
    assert ids(rest) == ["c", "d"]


async def test_a_comprehension_takes_statuses():
    """It ends with what ends it."""
    poller = poller_of("a", "b")

    class EnoughError(Exception):
        """The second status came."""

    def seen(status):
        if status.id_message == "b":
            raise EnoughError
        return status

    with pytest.raises(EnoughError):
        [seen(status) async for status in poller]

    assert (await anext(aiter(poller))).id_message == "b"


async def test_an_async_generator_may_stand_around_it():
    """A filter of one's own: what is not taken from it was not handled."""
    store = MemoryStore()

    async def after(poller, id_message):
        async for status in poller:
            if status.id_message > id_message:
                yield status

    async with aclosing(after(poller_of("a", "b", "c", store=store), "a")) as statuses:
        first = await anext(statuses)

    assert first.id_message == "b"
    assert await store.unseen("1101000001", ["a", "b", "c"]) == {"b", "c"}


async def test_polling_once_inside_its_block():
    """A scheduler's job that likes a block gets one."""
    async with poller_of("a", "b") as poller:
        batch = await poller.poll_once()
        await batch.commit()
        again = await poller.poll_once()

    assert (ids(batch.statuses), list(again.statuses)) == (["a", "b"], [])
    with pytest.raises(RuntimeError, match="new poller"):
        await poller.poll_once()
