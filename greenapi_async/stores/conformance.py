"""What every store must do, as tests that you can run on your own store; they need hypothesis."""

from collections.abc import Awaitable, Callable, Coroutine, Generator
from itertools import count
from typing import Any, Literal

import anyio
import anyio.from_thread
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from greenapi_async.stores.base import Checkpoint, Store

_MARKS = Checkpoint(
    marks=(1_800_000_000.25, 1_800_000_000.0, 1_799_999_999.5), catching_up=True, begins=1_799_900_000.125
)
_LATER = Checkpoint(marks=(1_800_000_600.0,) * 3)
_ODD_IDS = ("", " ", "3A#deleted", "a'b\"c;--", "\x00", "Привет 🌷", "\ud800", "x" * 4000)


class StoreConformance:
    """The tests: subclass it in a test module as `TestMyStore`, and define how to make a store.

    They are plain methods, each with its own event loops, and run under pytest without any plugin.
    """

    backend: Literal["asyncio", "trio"] = "asyncio"
    """The event loop to run on."""

    examples: int = 100
    """How many random histories to try."""

    def make_store(self) -> Store:
        """Return a new, empty store; called outside any event loop, many times for one test."""
        raise NotImplementedError("return a new, empty store")

    def reopened(self, store: Store) -> Store:
        """Return another store over the same data, as after a restart; the given one is closed.

        A store in memory may return itself, as this does.
        """
        return store

    def test_new_store_knows_nothing(self) -> None:
        """Nothing is recorded at the start."""

        async def check(store: Store) -> None:
            assert await store.load("1") is None
            assert await store.unseen("1", ["a", "b"]) == {"a", "b"}
            await store.forget("1", 5.0)

        self._run(check)

    def test_recorded_ids_are_seen(self) -> None:
        """`unseen` returns what was never recorded, whatever characters it has."""

        async def check(store: Store) -> None:
            await store.record("1", iter(_ODD_IDS[::2]), None, 5.0)
            assert await store.unseen("1", iter(_ODD_IDS)) == set(_ODD_IDS[1::2])
            assert await store.unseen("1", []) == set()

        self._run(check)

    def test_checkpoint_comes_back_as_it_was(self) -> None:
        """The last checkpoint is kept, to the last bit; None leaves it alone."""

        async def check(store: Store) -> None:
            await store.record("1", [], _LATER, 5.0)
            await store.record("1", [], _MARKS, 5.0)
            await store.record("1", ["a"], None, 5.0)
            assert await store.load("1") == _MARKS

        self._run(check)

    def test_instances_are_kept_apart(self) -> None:
        """What one scope records or forgets does not affect another."""

        async def check(store: Store) -> None:
            await store.record("1", ["a"], _MARKS, 5.0)
            assert await store.load("11") is None
            assert await store.unseen("11", ["a"]) == {"a"}
            await store.forget("11", 9.0)
            assert await store.unseen("1", ["a"]) == set()

        self._run(check)

    def test_forgetting_drops_what_is_older(self) -> None:
        """An id's age counts from when it was first recorded; one recorded at that very moment stays."""

        async def check(store: Store) -> None:
            await store.record("1", ["old"], _MARKS, 5.0)
            await store.record("1", ["old", "young"], None, 7.5)
            await store.forget("1", 7.5)
            assert await store.unseen("1", ["old", "young"]) == {"old"}
            assert await store.load("1") == _MARKS

        self._run(check)

    def test_restart_changes_nothing(self) -> None:
        """What was recorded is there after a restart, and closing twice is not an error."""

        async def before(store: Store) -> None:
            await store.record("1", ["a"], _MARKS, 5.0)
            await store.aclose()
            await store.aclose()

        async def after(store: Store) -> None:
            assert await store.load("1") == _MARKS
            assert await store.unseen("1", ["a", "b"]) == {"b"}
            await store.aclose()

        store = self.make_store()
        anyio.run(before, store, backend=self.backend)
        anyio.run(after, self.reopened(store), backend=self.backend)

    def test_thousands_at_once(self) -> None:
        """A first run records a whole day of a busy account, and looks it up again."""
        ids = [f"{number:032X}" for number in range(10_000)]

        async def check(store: Store) -> None:
            await store.record("1", ids, _MARKS, 5.0)
            assert await store.unseen("1", [*ids, "new"]) == {"new"}

        self._run(check)

    def test_tasks_may_record_at_once(self) -> None:
        """Two pollers can share a store, without waiting for each other to finish."""

        async def check(store: Store) -> None:
            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(store.record, str(number % 2), [f"id{number}"], None, 5.0)

            ids = [f"id{number}" for number in range(20)]
            assert await store.unseen("0", ids) == set(ids[1::2])

        self._run(check)

    def test_cancelled_recording_is_whole_or_nothing(self) -> None:
        """Wherever a recording is cancelled, ids and checkpoint are both there or both missing."""

        async def check(store: Store) -> None:
            for n in count(1):
                with anyio.CancelScope() as scope:
                    recording = CancelAt(n, store.record(str(n), ["a", "b"], _MARKS, 5.0), scope.cancel)
                    await recording

                kept = await store.unseen(str(n), ["a", "b"]), await store.load(str(n))
                assert kept in [(set(), _MARKS), ({"a", "b"}, None)]
                if not recording.reached:
                    break

        self._run(check)

    def test_any_history_agrees_with_a_model(self) -> None:
        """After any calls and restarts, a store returns what two dictionaries would."""
        history = type("History", (_History,), {"suite": self})
        trials = settings(
            max_examples=self.examples, stateful_step_count=20, deadline=None, report_multiple_bugs=False
        )
        run_state_machine_as_test(history, settings=trials)

    def _run(self, check: Callable[[Store], Awaitable[None]]) -> None:
        async def main(store: Store) -> None:
            try:
                await check(store)
            finally:
                await store.aclose()

        anyio.run(main, self.make_store(), backend=self.backend)


_SCOPES = ["1", "2"]
_POOL = {"a", "b", "\ud800"}
_IDS = st.lists(st.sampled_from(sorted(_POOL)), min_size=1, max_size=3)
_TIMES = st.sampled_from([1.0, 1.5, 1_800_000_000.25])
_CHECKPOINTS = st.builds(
    Checkpoint,
    marks=st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 3),
    catching_up=st.booleans(),
    begins=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)


class _History(RuleBasedStateMachine):
    """Makes the same calls to a store and to a plain model."""

    suite: StoreConformance

    def __init__(self) -> None:
        super().__init__()
        self.first_seen: dict[tuple[str, str], float] = {}
        self.checkpoints: dict[str, Checkpoint] = {}

    @initialize()
    def begin(self) -> None:
        self.store = self.suite.make_store()
        self.loop = anyio.from_thread.start_blocking_portal(self.suite.backend)
        self.portal = self.loop.__enter__()

    @rule(scope=st.sampled_from(_SCOPES), ids=_IDS, checkpoint=st.none() | _CHECKPOINTS, now=_TIMES)
    def record(self, scope: str, ids: list[str], checkpoint: Checkpoint | None, now: float) -> None:
        self.portal.call(self.store.record, scope, ids, checkpoint, now)

        for id_ in ids:
            self.first_seen.setdefault((scope, id_), now)

        if checkpoint is not None:
            self.checkpoints[scope] = checkpoint

    @rule(scope=st.sampled_from(_SCOPES), before=_TIMES)
    def forget(self, scope: str, before: float) -> None:
        self.portal.call(self.store.forget, scope, before)

        for key, now in list(self.first_seen.items()):
            if key[0] == scope and now < before:
                del self.first_seen[key]

    @rule()
    def restart(self) -> None:
        self.portal.call(self.store.aclose)
        self.store = self.suite.reopened(self.store)

    @invariant()
    def agrees(self) -> None:
        expected = [
            ({id_ for id_ in _POOL if (scope, id_) not in self.first_seen}, self.checkpoints.get(scope))
            for scope in _SCOPES
        ]
        assert self.portal.call(self._kept) == expected

    async def _kept(self) -> list[object]:
        return [(await self.store.unseen(scope, _POOL), await self.store.load(scope)) for scope in _SCOPES]

    def teardown(self) -> None:
        self.portal.call(self.store.aclose)
        self.loop.__exit__(None, None, None)


class CancelAt(Generator[Any, Any, Any]):
    """Awaits a coroutine, and calls `cancel` when it waits for the n-th time: cancellation at every point.

    Attributes:
        reached: whether it waited that often.
    """

    def __init__(self, n: int, coroutine: Coroutine[Any, Any, Any], cancel: Callable[[], object]) -> None:
        self.reached: bool = False
        self._left = n
        self._coroutine = coroutine
        self._cancel = cancel

    def __await__(self) -> Generator[Any, Any, Any]:
        return self

    def send(self, value: Any) -> Any:
        """Go on after a wait."""
        return self._counted(self._coroutine.send(value))

    def throw(self, *error: Any) -> Any:
        """Continue after a wait that failed."""
        return self._counted(self._coroutine.throw(*error))

    def _counted(self, waits_for: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            self.reached = True
            self._cancel()

        return waits_for
