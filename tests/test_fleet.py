"""Many instances in one process: what is handed out, what comes again, and what ends what."""

import asyncio
import contextvars
import logging
import traceback
import warnings

import anyio
import pytest
from fleet_world import TOKEN, FleetApi, fleet_of, host, ids_of

import greenapi_async
from greenapi_async import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    Fleet,
    InstanceBatch,
    MemoryStore,
    Polled,
    PollFailed,
    SQLiteStore,
    StoreError,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    """A second delivery follows soon."""
    monkeypatch.setattr("greenapi_async.fleet.pause", lambda *_: 0.01)
    monkeypatch.setattr("greenapi_async._polling.backoff.delay", lambda *_: 0.01)


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    return MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "seen.db")


@pytest.fixture
def api():
    return FleetApi()


async def until(condition):
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.005)


async def take(fleet):
    with anyio.fail_after(20):
        return await anext(fleet)


async def handle(fleet, count=1):
    """Handle so many batches, and return the ids that were in them."""
    ids = []
    for _ in range(count):
        async with await take(fleet) as batch:
            ids += ids_of(batch)
    return ids


async def fail(fleet, *commits):
    """Commit these of the next batch, by their number, fail, and return the batch."""
    batch = await take(fleet)
    with pytest.raises(ZeroDivisionError):
        await fail_in(batch, commits)
    return batch


async def fail_in(batch, commits=()):
    async with batch:
        for numbers in commits:
            await batch.commit(*(batch.statuses[number] for number in numbers))
        raise ZeroDivisionError


async def consume_and_wait(fleet, numbers, *consumers):
    """Be the block of a fleet whose consumers are elsewhere."""
    async with fleet:
        for number in numbers:
            fleet.add(number, TOKEN)
        for tasks, consumer in consumers:
            tasks.start_soon(consumer, fleet)
        await anyio.sleep(20)
        raise TimeoutError


async def silence(api, fleet, id_instance="1"):
    """Wait for three polls in which nothing comes."""
    before = len(api.requests[id_instance])
    await until(lambda: len(api.requests[id_instance]) >= before + 3)
    assert not fleet._ready


async def test_every_status_of_every_instance_comes_once(api, store):
    """A batch is one instance's, and when its block has ended well its statuses are handled."""
    for id_instance in "123":
        api.post(id_instance, f"a{id_instance}")
        api.post(id_instance, f"b{id_instance}")

    async with fleet_of(api, store=store) as fleet:
        for id_instance in "123":
            fleet.add(id_instance, TOKEN)
        batches = {}
        for _ in range(3):
            async with await take(fleet) as batch:
                batches[batch.id_instance] = ids_of(batch)
                assert (batch.attempt, batch.client.http_client) == (0, fleet._family.http.client)
        await silence(api, fleet)
        assert fleet.health["1"].delivered == 2

    assert batches == {each: [f"a{each}", f"b{each}"] for each in "123"}
    await store.aclose()


async def test_what_raises_comes_again(api, store):
    """The exception passes, nothing is recorded, and `attempt` counts until one delivery ends well."""
    api.post(1, "a")
    async with fleet_of(api, store=store) as fleet:
        fleet.add(1, TOKEN)
        for attempt in range(3):
            batch = await fail(fleet)
            assert (ids_of(batch), batch.attempt) == (["a"], attempt)

        assert await handle(fleet) == ["a"]
        await silence(api, fleet)
        api.post(1, "b")
        async with await take(fleet) as batch:
            assert (ids_of(batch), batch.attempt) == (["b"], 0)
    await store.aclose()


async def test_what_is_cancelled_comes_again(api):
    """Whoever handles it may be stopped, by a timeout for instance."""
    api.post(1, "a")
    async with fleet_of(api) as fleet:
        fleet.add(1, TOKEN)
        batch = await take(fleet)
        with anyio.move_on_after(0.01) as timeout:
            async with batch:
                await anyio.sleep_forever()

        assert timeout.cancelled_caught
        assert await handle(fleet) == ["a"]


async def test_what_was_committed_does_not_come_again(api, store):
    """A poison status repeats alone; when the others are committed, what is left of the batch is it."""
    for each in "abc":
        api.post(1, each)

    async with fleet_of(api, store=store) as fleet:
        fleet.add(1, TOKEN)
        await fail(fleet, (0, 2))
        async with await take(fleet) as batch:
            assert (ids_of(batch), batch.attempt) == (["b"], 1)
        await silence(api, fleet)
        assert fleet.health["1"].delivered == 3
    await store.aclose()


async def test_commit_of_all_ends_the_matter(api, store):
    """What fails afterwards repeats nothing, and the end of the block has nothing more to record."""
    api.post(1, "a")
    api.post(1, "b")
    async with fleet_of(api, store=store) as fleet:
        fleet.add(1, TOKEN)
        await fail(fleet, (1,), (), ())
        await silence(api, fleet)
        assert fleet.health["1"].delivered == 2
        api.post(1, "c")
        async with await take(fleet) as batch:
            assert (ids_of(batch), batch.attempt) == (["c"], 0)
    await store.aclose()


async def test_two_tasks_commit_halves(api):
    """Each records its own; the batch is whole when both are there."""
    api.post(1, "a")
    api.post(1, "b")
    store = SlowStore()
    async with fleet_of(api, store=store) as fleet:
        fleet.add(1, TOKEN)
        async with await take(fleet) as batch, anyio.create_task_group() as tasks:
            for status in batch.statuses:
                tasks.start_soon(batch.commit, status)
        await silence(api, fleet)

    recorded = [(ids, checkpoint is not None) for ids, checkpoint in store.recorded if ids]
    assert sorted(ids for ids, _ in recorded) == [["a"], ["b"]]
    assert [has_checkpoint for _, has_checkpoint in recorded] == [False, True]


class SlowStore(MemoryStore):
    """Takes a while to record, and keeps what."""

    def __init__(self):
        super().__init__()
        self.recorded = []

    async def record(self, scope, ids, checkpoint, now):
        self.recorded.append((ids, checkpoint))
        await anyio.sleep(0.01)
        await super().record(scope, ids, checkpoint, now)


async def test_commit_is_for_the_statuses_of_the_batch_inside_of_its_block(api):
    """A foreign status is a mistake, and so is a commit before or after the block."""
    api.post(1, "a")
    api.post(2, "b")
    async with fleet_of(api) as fleet:
        fleet.add(1, TOKEN)
        fleet.add(2, TOKEN)
        one, other = await take(fleet), await take(fleet)
        with pytest.raises(RuntimeError):
            await one.commit()
        async with one, other:
            for foreign in (other.statuses[0], "a"):
                with pytest.raises(ValueError, match="this batch"):
                    await one.commit(one.statuses[0], foreign)
            assert fleet.health[one.id_instance].delivered == 0
        with pytest.raises(RuntimeError):
            await one.commit()
        with pytest.raises(RuntimeError):
            await one.__aenter__()


async def test_an_instance_has_one_batch_at_a_time_and_others_go_on(api):
    """Its statuses stay in order; what comes meanwhile comes with the next."""
    api.post(1, "a")
    async with fleet_of(api) as fleet:
        fleet.add(1, TOKEN)
        fleet.add(2, TOKEN)
        async with await take(fleet) as batch:
            polled = len(api.requests["1"])
            api.post(1, "b")
            api.post(2, "other")
            assert await handle(fleet) == ["other"]
            await silence(api, fleet, "2")
            assert len(api.requests["1"]) == polled
            assert ids_of(batch) == ["a"]

        assert await handle(fleet) == ["b"]


async def test_any_number_of_tasks_iterate_until_it_closes(api):
    """Each batch goes to one of them, and when the fleet closes their loops end."""
    seen = []

    async def consume(fleet):
        async for batch in fleet:
            async with batch:
                await anyio.sleep(0.01)
                seen.extend(ids_of(batch))
        seen.append("end")

    async with anyio.create_task_group() as tasks, fleet_of(api) as fleet:
        for _ in range(5):
            tasks.start_soon(consume, fleet)
        for id_instance in range(1, 21):
            api.post(id_instance, str(id_instance))
            fleet.add(id_instance, TOKEN)
        await until(lambda: len(seen) >= 20)
        await silence(api, fleet)

    assert sorted(seen) == sorted([*map(str, range(1, 21)), *["end"] * 5])
    with pytest.raises(StopAsyncIteration):
        await anext(fleet)


async def test_a_dropped_batch_comes_again(api):
    """A handle that nobody entered handled nothing: a warning says so."""
    api.post(1, "a")
    async with fleet_of(api) as fleet:
        fleet.add(1, TOKEN)
        batch = await take(fleet)
        assert ids_of(batch) == ["a"]
        held = [batch]
        del batch
        with pytest.warns(ResourceWarning, match="<InstanceBatch of 1, 1 statuses, handed out>"):
            held.clear()

        async with await take(fleet) as batch:
            assert (ids_of(batch), batch.attempt) == (["a"], 1)


async def test_a_batch_may_be_dropped_in_a_thread(api):
    """The garbage collector runs wherever it likes."""
    api.post(1, "a")
    async with fleet_of(api) as fleet:
        fleet.add(1, TOKEN)
        held = [await take(fleet)]

        def drop():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                held.clear()

        await anyio.to_thread.run_sync(drop)
        assert await handle(fleet) == ["a"]


async def test_entering_a_batch_has_no_checkpoint(api):
    """A cancellation cannot fall between the loop that got it and its block."""
    api.post(1, "a")
    async with fleet_of(api) as fleet:
        fleet.add(1, TOKEN)
        batch = await take(fleet)
        with pytest.raises(StopIteration):
            batch.__aenter__().send(None)
        await batch.__aexit__(None, None, None)


async def test_nothing_is_taken_by_a_task_that_is_cancelled(api):
    """What it waited for goes to the next."""
    async with fleet_of(api) as fleet:
        fleet.add(1, TOKEN)
        for _ in range(30):
            with anyio.move_on_after(0.003):
                await anext(fleet)
        api.post(1, "a")
        assert await handle(fleet) == ["a"]


async def test_a_wrong_token_ends_one_instance_alone(api):
    """Its health says why; with the right token it goes on."""
    api.tokens["1"] = "right"
    api.post(1, "a")
    api.post(2, "b")
    events = []
    async with fleet_of(api, on_event=lambda *event: events.append(event)) as fleet:
        fleet.add(1, TOKEN)
        fleet.add(2, TOKEN)
        assert await handle(fleet) == ["b"]
        await until(lambda: fleet.health["1"].state == "stopped")
        polled = len(api.requests["1"])
        await silence(api, fleet, "2")
        assert (type(fleet.health["1"].last_error), polled) == (AuthenticationError, 1)
        assert len(api.requests["1"]) == polled

        fleet.add(1, "right")
        assert await handle(fleet) == ["a"]
        assert fleet.health["1"].state == "ok"

    assert {type(event) for id_instance, event in events if id_instance == "2"} == {Polled}
    [failed] = [event for _, event in events if isinstance(event, PollFailed)]
    assert (type(failed.error), failed.retry_in) == (AuthenticationError, None)


async def test_a_renewed_token_goes_on_from_the_checkpoint(api, store):
    """The old one is refused from some moment on, and nothing comes twice or is lost."""
    seen = []
    async with fleet_of(api, store=store) as fleet:
        fleet.add(1, TOKEN)
        for number in range(5):
            api.post(1, str(number))
            seen += await handle(fleet)
            api.tokens["1"] = f"token-{number}"
            fleet.add(1, f"token-{number}", api_url=host(1102 + number % 2))
        await silence(api, fleet)
        assert fleet.health["1"].delivered == 5

    assert seen == list("01234")
    await store.aclose()


async def test_a_token_that_is_renewed_too_early_is_tried_again(api):
    """The API takes it some seconds later: a refusal must have lasted, for this instance worked before."""
    api.post(1, "a")
    async with fleet_of(api) as fleet:
        fleet.add(1, TOKEN)
        assert await handle(fleet) == ["a"]
        fleet.add(1, "new")
        await until(lambda: fleet.health["1"].consecutive_failures)
        api.tokens["1"] = "new"
        api.post(1, "b")
        assert await handle(fleet) == ["b"]


async def test_what_the_old_token_met_does_not_end_the_new_one(api):
    """Its request was under way when the token was renewed."""
    api.hosts[host(1101)] = 0.2
    api.tokens["1"] = "right"
    api.post(1, "a")
    async with fleet_of(api) as fleet:
        fleet.add(1, TOKEN)
        await until(lambda: api.requests["1"])
        fleet.add(1, "right", api_url=host(1102))
        assert await handle(fleet) == ["a"]
        assert fleet.health["1"].consecutive_failures == 0


async def test_what_holds_a_batch_has_the_client_of_now(api):
    """With the credentials that were renewed meanwhile."""
    api.post(1, "a")
    async with fleet_of(api) as fleet:
        fleet.add(1, TOKEN)
        async with await take(fleet) as batch:
            api.tokens["1"] = "right"
            fleet.add(1, "right")
            assert [status.id_message for status in await batch.client.fetch(5)] == ["a"]


async def test_a_removed_instance_is_polled_no_more(api, store):
    """What it remembered stays: a later `add` goes on, even in another fleet."""
    api.post(1, "a")
    async with fleet_of(api, store=store) as fleet:
        fleet.add(1, TOKEN)
        fleet.add(2, TOKEN)
        assert await handle(fleet) == ["a"]
        fleet.remove(1)
        fleet.remove(99)
        assert list(fleet.health) == ["2"]
        polled = len(api.requests["1"])
        await silence(api, fleet, "2")
        assert len(api.requests["1"]) - polled <= 1

        api.post(1, "b")
        fleet.add("1", TOKEN)
        assert await handle(fleet) == ["b"]
    await store.aclose()


async def test_a_held_batch_may_be_finished_after_the_instance_was_removed(api):
    """And a later `add` begins after it."""
    api.post(1, "a")
    async with fleet_of(api) as fleet:
        fleet.add(1, TOKEN)
        fleet.add(2, TOKEN)
        async with await take(fleet) as batch:
            fleet.remove(1)
            assert "1" not in fleet.health
            assert len(fleet.health) == 1
            api.post(1, "b")
            fleet.add(1, TOKEN)
            polled = len(api.requests["1"])
            await silence(api, fleet, "2")
            assert len(api.requests["1"]) == polled
            assert ids_of(batch) == ["a"]

        assert await handle(fleet) == ["b"]


async def test_a_batch_that_nobody_has_goes_with_its_instance(api):
    """It was not handled, so it comes after the next `add`; its slot is free at once."""
    api.post(1, "a")
    api.post(2, "b")
    async with fleet_of(api, slots=1) as fleet:
        fleet.add(1, TOKEN)
        await until(lambda: fleet._ready)
        fleet.remove(1)
        fleet.add(2, TOKEN)
        assert await handle(fleet) == ["b"]
        fleet.add(1, TOKEN)
        assert await handle(fleet) == ["a"]


async def test_one_removed_while_it_is_polled_hands_out_nothing(api):
    api.hosts[host(1101)] = 0.1
    api.post(1, "a")
    async with fleet_of(api) as fleet:
        fleet.add(1, TOKEN)
        await until(lambda: api.requests["1"])
        fleet.remove(1)
        await anyio.sleep(0.3)
        assert not fleet._ready
        assert not fleet._members
        assert len(api.requests["1"]) == 1


class FailingStore(MemoryStore):
    """Fails in one method while it is told to."""

    def __init__(self, method, *, retryable):
        super().__init__()
        self.method, self.retryable, self.fails, self.failures = method, retryable, False, 0

    async def load(self, scope):
        self._check("load")
        return await super().load(scope)

    async def unseen(self, scope, ids):
        self._check("unseen")
        return await super().unseen(scope, ids)

    async def record(self, scope, ids, checkpoint, now):
        self._check("record")
        await super().record(scope, ids, checkpoint, now)

    def _check(self, method):
        if self.fails and method == self.method:
            self.failures += 1
            raise StoreError("is locked", retryable=self.retryable)


@pytest.mark.parametrize("method", ["load", "unseen", "record"])
async def test_a_busy_store_is_waited_for(api, method):
    """The block ends when it is recorded, and polling goes on when the store does."""
    store = FailingStore(method, retryable=True)
    for each in "12345":
        api.post(each, each)
    async with fleet_of(api, store=store) as fleet:
        for each in "12345":
            fleet.add(each, TOKEN)
        seen = await handle(fleet, 4)
        batch = await take(fleet)
        store.fails = True

        async def recover():
            await until(lambda: store.failures >= 3 or method != "record")
            store.fails = False

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(recover)
            async with batch:
                seen += ids_of(batch)
        await silence(api, fleet)
        assert sorted(seen) == list("12345")


async def test_the_wait_for_a_busy_store_can_be_cancelled(api):
    """Then the batch comes again."""
    store = FailingStore("record", retryable=True)
    api.post(1, "a")
    async with fleet_of(api, store=store, start=None) as fleet:
        fleet.add(1, TOKEN)
        batch = await take(fleet)
        store.fails = True
        with anyio.move_on_after(0.05) as timeout:
            async with batch:
                pass

        assert timeout.cancelled_caught
        store.fails = False
        assert await handle(fleet) == ["a"]


@pytest.mark.parametrize("method", ["load", "unseen", "record"])
async def test_a_broken_store_ends_the_fleet(api, method):
    """It comes out of the fleet's block as itself, in no group, and every loop ends."""
    store = FailingStore(method, retryable=False)
    store.fails = True
    ended = []

    async def consume(fleet):
        async for batch in fleet:
            async with batch:
                pass
        ended.append(True)

    api.post(1, "a")
    async with anyio.create_task_group() as tasks:
        fleet = fleet_of(api, store=store)
        with pytest.raises(StoreError) as caught:
            await consume_and_wait(fleet, range(1, 31), (tasks, consume))

    assert not caught.value.retryable
    assert ended == [True]
    assert {health.state for health in fleet.health.values()} == {"stopped"}


async def test_a_store_that_breaks_under_a_commit_ends_the_fleet(api):
    """Whoever commits gets it, in whatever task, and so does the fleet's block."""
    store = FailingStore("record", retryable=False)
    api.post(1, "a")
    got = []

    async def consume(fleet):
        with pytest.raises(StoreError) as caught:
            async with await take(fleet):
                store.fails = True
        got.append(caught.value)

    async with anyio.create_task_group() as tasks:
        with pytest.raises(StoreError) as caught:
            await consume_and_wait(fleet_of(api, store=store), [1], (tasks, consume))

    assert got == [caught.value]


async def test_a_mistake_in_a_store_ends_the_fleet_as_itself(api):
    """It comes in no group either, though ten polls meet it."""

    class Wrong(MemoryStore):
        async def unseen(self, scope, ids):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await consume_and_wait(fleet_of(api, store=Wrong()), range(1, 11))


def test_a_broken_store_comes_out_of_asyncios_own_groups_too(api):
    """Whose consumers are cancelled first."""
    store = FailingStore("record", retryable=False)
    ended = []

    async def consume(fleet):
        try:
            async for batch in fleet:
                async with batch:
                    await asyncio.sleep(0)
        finally:
            ended.append(True)

    async def main():
        api.post(1, "a")
        async with fleet_of(api, store=store) as fleet, asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(consume(fleet))
            await asyncio.sleep(0.01)
            store.fails = True
            fleet.add(1, TOKEN)

    with pytest.raises(StoreError):
        asyncio.run(main())
    assert ended == [True] * 3


async def test_a_loop_that_reads_a_broken_store_ends_with_it(api):
    store = FailingStore("record", retryable=False)
    api.post(1, "a")

    async def main():
        async with fleet_of(api, store=store) as fleet:
            fleet.add(1, TOKEN)
            async for batch in fleet:
                async with batch:
                    store.fails = True

    with pytest.raises(StoreError):
        await main()


async def test_an_injected_client_that_its_owner_closed_ends_the_fleet(api):
    """No instance can go on."""
    fleet = fleet_of(api)

    async def close(fleet):
        await fleet._family.http.client.aclose()

    async with anyio.create_task_group() as tasks:
        with pytest.raises(ClientClosedError):
            await consume_and_wait(fleet, [1], (tasks, close))


async def test_what_the_block_raises_comes_out_as_itself(api):
    async def main():
        async with fleet_of(api) as fleet:
            fleet.add(1, TOKEN)
            await silence(api, fleet)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        await main()

    assert caught.value.__context__ is None


async def test_a_group_that_the_block_raises_comes_out_as_it_is(api):
    raised = ExceptionGroup("two", [ZeroDivisionError(), KeyError()])

    async def main():
        async with fleet_of(api) as fleet:
            fleet.add(1, TOKEN)
            raise raised

    with pytest.raises(ExceptionGroup) as caught:
        await main()

    assert caught.value.exceptions == raised.exceptions


async def test_leaving_waits_for_nothing(api):
    """Requests under way end, and a cancellation from outside passes."""
    api.hosts[host(1101)] = 3600.0
    with anyio.move_on_after(0.2) as timeout, anyio.fail_after(10):
        async with fleet_of(api) as fleet:
            fleet.add(1, TOKEN)
            await until(lambda: api.requests["1"])
            await anyio.sleep_forever()

    assert timeout.cancelled_caught
    assert not api.under_way[host(1101)]


async def test_what_is_handled_after_the_fleet_closed_is_recorded_all_the_same(api):
    """The caller's store is open still, and the handler did its work."""
    store = MemoryStore()
    api.post(1, "a")
    async with fleet_of(api, store=store) as fleet:
        fleet.add(1, TOKEN)
        batch = await take(fleet)
    async with batch:
        pass

    assert await store.unseen("1", ["a"]) == set()


async def test_it_closes_what_it_opened(api, tmp_path):
    """A file of its own, and connections of its own; nothing that was given to it."""
    async with fleet_of(api, store=tmp_path / "seen.db") as fleet:
        fleet.add(1, TOKEN)
        await silence(api, fleet)

    assert not fleet._family.http.client.is_closed
    with pytest.raises(StoreError, match="closed"):
        await fleet._store.load("1")
    async with Fleet() as own:
        pass
    assert own._family.http.client.is_closed


async def test_it_is_used_inside_of_its_block_only(api):
    """Before it and after it, and twice, is a mistake."""
    fleet = fleet_of(api)
    for use in (lambda: fleet.add(1, TOKEN), lambda: fleet.remove(1)):
        with pytest.raises(RuntimeError, match="async with"):
            use()
    with pytest.raises(RuntimeError, match="async with"):
        await anext(fleet)
    async with fleet:
        pass
    with pytest.raises(RuntimeError, match="async with"):
        fleet.add(1, TOKEN)
    with pytest.raises(RuntimeError, match="once"):
        await fleet.__aenter__()


@pytest.mark.parametrize(
    "settings",
    [
        {"interval": 0},
        {"interval": 90_000},
        {"slots": 0},
        {"slots": True},
        {"store": 7},
        {"start": "yesterday"},
        {"timeout": -1},
        {"max_rate": 0},
        {"max_body": 0},
        {"on_event": 7},
        {"http_client": 7},
    ],
)
def test_what_is_wrong_is_told_at_construction(settings):
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        Fleet(**settings)


async def test_wrong_credentials_are_told_at_once_and_change_nothing(api):
    async with fleet_of(api) as fleet:
        fleet.add(1, TOKEN)
        for arguments in (("x", TOKEN), (1, ""), (1, TOKEN, "http://example.com")):
            with pytest.raises(ConfigurationError) as caught:
                fleet.add(*arguments[:2], api_url=(arguments[2:] or (None,))[0])
            told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
            assert TOKEN not in "".join(
                line for frame in told.stack[1:] for line in map(str, frame.locals.values())
            )
        assert list(fleet.health) == ["1"]


async def test_one_line_for_a_host_and_a_failure(api, caplog):
    """Three hundred lines that say the same help nobody; the next kind of failure, or host, is told again."""
    caplog.set_level(logging.INFO, "greenapi_async")
    api.hosts[host(1101)] = api.hosts[host(1102)] = 503
    api.tokens |= {str(number): "right" for number in range(21, 31)}
    async with fleet_of(api) as fleet:
        for number in range(1, 31):
            fleet.add(number, TOKEN, api_url=host(1101 + number % 2 if number <= 20 else 1103))
        await until(lambda: all(health.last_error for health in fleet.health.values()))
        api.hosts.clear()
        await until(lambda: sum(health.state == "ok" for health in fleet.health.values()) == 20)

    lines = [record.getMessage() for record in caplog.records if record.name == "greenapi_async"]
    assert sum("fails, e.g. for instance" in line for line in lines) == 2
    assert sum("works again" in line for line in lines) == 2
    assert sum("ended" in line for line in lines) == 1
    assert len(lines) == 5
    assert not any(TOKEN in line for line in lines)


async def test_its_tasks_know_nothing_of_whoever_iterates(api):
    """A request is not sent in the context of the consumer that happened to free the slot."""
    request_id = contextvars.ContextVar("request_id", default=None)
    seen = set()

    class Watched(FleetApi):
        async def __call__(self, request):
            seen.add(request_id.get())
            return await super().__call__(request)

    api = Watched()
    async with fleet_of(api, slots=1) as fleet:
        fleet.add(1, TOKEN)
        fleet.add(2, TOKEN)
        for number in range(5):
            api.post(1 + number % 2, str(number))
            request_id.set("consumer")
            await handle(fleet)

    assert seen == {None}


async def test_a_hook_that_raises_stops_nothing(api, caplog):
    def hook(id_instance, event):
        raise ZeroDivisionError

    api.post(1, "a")
    async with fleet_of(api, on_event=hook) as fleet:
        fleet.add(1, TOKEN)
        assert await handle(fleet) == ["a"]

    assert "on_event failed" in caplog.text


async def test_what_it_shows_of_itself(api):
    """Neither a token nor a text."""
    api.post(1, "secret text")
    async with fleet_of(api) as fleet:
        fleet.add(1, TOKEN)
        batch = await take(fleet)
        assert repr(fleet) == "<Fleet of 1 instances, open>"
        assert repr(batch) == "<InstanceBatch of 1, 1 statuses, handed out>"
        async with batch:
            pass


def test_it_is_loaded_when_it_is_named():
    """And what has no such name is told."""
    assert greenapi_async.Fleet is Fleet
    assert greenapi_async.InstanceBatch is InstanceBatch
    with pytest.raises(AttributeError, match="Fleets"):
        greenapi_async.Fleets  # noqa: B018
