"""A store that lives as long as the process."""

from collections.abc import Iterable

from greenapi_async.stores.base import Checkpoint


class MemoryStore:
    """Keeps everything in dictionaries; a restart begins anew."""

    def __init__(self) -> None:
        self._first_seen: dict[str, dict[str, float]] = {}
        self._checkpoints: dict[str, Checkpoint] = {}

    async def load(self, scope: str) -> Checkpoint | None:
        """Return the checkpoint last recorded, or None."""
        return self._checkpoints.get(scope)

    async def unseen(self, scope: str, ids: Iterable[str]) -> set[str]:
        """Return those of the ids that were never recorded."""
        return set(ids) - self._first_seen.get(scope, {}).keys()

    async def record(self, scope: str, ids: Iterable[str], checkpoint: Checkpoint | None, now: float) -> None:
        """Keep the ids and the checkpoint."""
        first_seen = self._first_seen.setdefault(scope, {})
        for id_ in ids:
            first_seen.setdefault(id_, now)

        if checkpoint is not None:
            self._checkpoints[scope] = checkpoint

    async def forget(self, scope: str, before: float) -> None:
        """Drop the ids first seen before that server time."""
        first_seen = self._first_seen.get(scope, {})
        self._first_seen[scope] = {id_: seen for id_, seen in first_seen.items() if seen >= before}

    async def aclose(self) -> None:
        """Do nothing: the memory can be used by the next poller."""
