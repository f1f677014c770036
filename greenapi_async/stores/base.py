"""What a store keeps for a poller: the statuses it handled, and how far it got."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, TypeAlias, runtime_checkable

import attrs


@attrs.frozen(kw_only=True)
class Checkpoint:
    """How far polling got; opaque to a store, which keeps and returns it.

    Attributes:
        marks: server times (UNIX seconds), one for each rung of the ladder.
        catching_up: whether the very first response is not completely recorded yet.
        begins: the server time (UNIX seconds) from which a first run yields statuses; earlier ones are recorded but not
            yielded. None if the checkpoint does not say.
    """

    marks: tuple[float, ...]
    catching_up: bool = False
    begins: float | None = None


@runtime_checkable
class Store(Protocol):
    """The memory of a poller. `scope` keeps instances apart; it is the `id_instance`.

    Raise every failure as `StoreError`: the poller never continues without its store. If waiting may help, raise it as
    `retryable` within a few seconds; the poller then waits, and can be cancelled.
    """

    async def load(self, scope: str) -> Checkpoint | None:
        """Return the checkpoint last recorded, or None."""

    async def unseen(self, scope: str, ids: Iterable[str]) -> set[str]:
        """Return those of the ids that were never recorded."""

    async def record(self, scope: str, ids: Iterable[str], checkpoint: Checkpoint | None, now: float) -> None:
        """Keep the ids, first seen at the server time `now`, and the checkpoint: both or neither.

        An id that is already kept keeps its time. If `checkpoint` is None, the previous one stays. The poller shields
        the call from anyio's cancellation; asyncio's own ignores shields, so a write in a thread must finish there.
        """

    async def forget(self, scope: str, before: float) -> None:
        """Drop the ids first seen before that server time."""

    async def aclose(self) -> None:
        """Close what the store has open; idempotent."""


Record: TypeAlias = Callable[[str, Iterable[str], Checkpoint | None, float], Awaitable[None]]
"""A store's `record`, or what does more than that."""
