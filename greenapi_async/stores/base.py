"""What a store keeps for a poller: which statuses were handled, and how far polling got."""

from collections.abc import Iterable
from typing import Protocol

import attrs


@attrs.frozen(kw_only=True)
class Checkpoint:
    """How far polling got; opaque to a store, which keeps it and gives it back.

    Attributes:
        marks: server times (UNIX seconds), one for each rung of the ladder.
        catching_up: whether the first answer of all is not wholly recorded yet.
    """

    marks: tuple[float, ...]
    catching_up: bool = False


class Store(Protocol):
    """The memory of a poller. `scope` keeps instances apart; it is the `id_instance`.

    Every failure is raised as `StoreError`: the poller never goes on without its store.
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
