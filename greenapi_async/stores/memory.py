"""A store that lasts as long as the process."""

from array import array
from collections import defaultdict
from collections.abc import Iterable
from itertools import compress, repeat

from greenapi_async.stores.base import Checkpoint


class MemoryStore:
    """Keeps everything in memory, about 130 bytes for each id; a restart starts over."""

    def __init__(self) -> None:
        self._seen: defaultdict[str, _Seen] = defaultdict(_Seen)
        self._checkpoints: dict[str, Checkpoint] = {}

    async def load(self, scope: str) -> Checkpoint | None:
        """Return the checkpoint last recorded, or None."""
        return self._checkpoints.get(scope)

    async def unseen(self, scope: str, ids: Iterable[str]) -> set[str]:
        """Return those of the ids that were never recorded."""
        return set(ids) - self._seen[scope].ids.keys()

    async def record(self, scope: str, ids: Iterable[str], checkpoint: Checkpoint | None, now: float) -> None:
        """Keep the ids and the checkpoint."""
        self._seen[scope].add(ids, now)
        if checkpoint is not None:
            self._checkpoints[scope] = checkpoint

    async def forget(self, scope: str, before: float) -> None:
        """Drop the ids first seen before that server time."""
        self._seen[scope].drop(before)

    async def aclose(self) -> None:
        """Do nothing: the memory can be used by the next poller."""


class _Seen:
    """Ids in the order of arrival, with their times, without an object for each."""

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}
        self.times = array("d")

    def add(self, ids: Iterable[str], now: float) -> None:
        self.ids.update(dict.fromkeys(ids))
        self.times.extend(repeat(now, len(self.ids) - len(self.times)))

    def drop(self, before: float) -> None:
        if min(self.times, default=before) >= before:
            return

        kept = [time >= before for time in self.times]
        self.ids = dict.fromkeys(compress(self.ids, kept))
        self.times = array("d", compress(self.times, kept))
