"""Where a poller keeps what it has handled."""

from greenapi_async.stores.base import Checkpoint, Store
from greenapi_async.stores.memory import MemoryStore

__all__ = ["Checkpoint", "MemoryStore", "Store"]
