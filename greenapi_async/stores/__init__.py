"""Where a poller keeps track of what it has handled."""

from greenapi_async.stores.base import Checkpoint, Store
from greenapi_async.stores.memory import MemoryStore
from greenapi_async.stores.sqlite import SQLiteStore

__all__ = ["Checkpoint", "MemoryStore", "SQLiteStore", "Store"]
