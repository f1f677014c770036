"""What a store keeps for a poller: which statuses were handled, and how far polling got."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import attrs


@attrs.frozen(kw_only=True)
class Checkpoint:
    """How far polling got; opaque to a store, which keeps it and gives it back.

    Attributes:
        marks: server times (UNIX seconds), one for each rung of the ladder.
        catching_up: whether the first response of all is not wholly recorded yet.
        begins: the server time (UNIX seconds) from which on a first run yields; what was posted before is recorded
            and not yielded. None where the checkpoint does not tell.
    """

    marks: tuple[float, ...]
    catching_up: bool = False
    begins: float | None = None


@runtime_checkable
class Store(Protocol):
    """The memory of a poller. `scope` keeps instances apart; it is the `id_instance`.

    Every failure is raised as `StoreError`: the poller never goes on without its store. One that waiting may help is
    raised as `retryable` within a few seconds; the poller waits then, and can be cancelled.
    """

    async def load(self, scope: str) -> Checkpoint | None:
        """Return the checkpoint last recorded, or None."""

    async def unseen(self, scope: str, ids: Iterable[str]) -> set[str]:
        """Return those of the ids that were never recorded."""

    async def record(self, scope: str, ids: Iterable[str], checkpoint: Checkpoint | None, now: float) -> None:
        """Keep the ids, first seen at the server time `now`, and the checkpoint: both or neither.

        An id that is kept already keeps its time. Where `checkpoint` is None, the one before stays. The poller
        shields it from anyio's cancellation; asyncio's own ignores shields, so what writes elsewhere finishes
        there.
        """

    async def forget(self, scope: str, before: float) -> None:
        """Drop the ids first seen before that server time."""

    async def aclose(self) -> None:
        """Free what the store holds open; idempotent."""
