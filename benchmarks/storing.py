"""What it costs to remember on disk."""

import random
import tempfile
import time
from pathlib import Path

from benchmarks import _ours, pages
from benchmarks.measuring import Effort, Spread, spread, worst_delay
from benchmarks.results import Bound, Result, Table
from greenapi_async import Checkpoint, SQLiteStore

_BATCH = 10_000
_MONTH = 31 * 500
_NOW = float(pages.FIRST)
_CHECKPOINT = Checkpoint(marks=(_NOW,) * 4)


async def measure(effort: Effort) -> list[Result]:
    """Record one at a time, ten thousand at once and a million in all."""
    batches = effort.of(100, 2)
    with tempfile.TemporaryDirectory() as folder:
        one_by_one = await _one_by_one(Path(folder, "one.db"), effort.of(2_000, 20))
        seconds, delays = await _batches(Path(folder), effort.of(15, 2))
        size, total = await _many(Path(folder, "many.db"), batches)

    return [
        Bound("`SQLiteStore`: one status recorded", 300, _scaled(one_by_one, 1e6), "µs"),
        Bound(f"`SQLiteStore`: {_BATCH:,} ids in one batch", 0.2, spread(seconds), "s"),
        Bound("the event loop's worst delay meanwhile", 5, _scaled(delays, 1e3), "ms"),
        Table(
            "Memory on disk",
            f"Batches of {_BATCH:,} ids, one after the other; wall time.",
            ["ids in `SQLiteStore`", "file, MB", "seconds"],
            [[f"{batches * _BATCH:,}", f"{size / 1e6:.0f}", f"{total:.1f}"]],
        ),
    ]


async def _one_by_one(path: Path, count: int) -> list[float]:
    store = SQLiteStore(path)
    seconds = [await _seconds_to_record(store, [id_]) for id_ in _ids(count)]
    await store.aclose()
    return seconds


async def _batches(folder: Path, count: int) -> tuple[list[float], list[float]]:
    """Return what each batch takes in a file of its own that remembers a month, and the worst delay meanwhile."""
    seconds: list[float] = []
    delays: list[float] = []
    for number in range(count):
        store = SQLiteStore(folder / f"{number}.db")
        await _seconds_to_record(store, _ids(_MONTH))
        ids = _ids(_BATCH)

        async def record(store: SQLiteStore = store, ids: list[str] = ids) -> None:
            seconds.append(await _seconds_to_record(store, ids))

        delays.append(await worst_delay(record))
        await store.aclose()

    return seconds, delays


async def _many(path: Path, batches: int) -> tuple[int, float]:
    store = SQLiteStore(path)
    seconds = [await _seconds_to_record(store, _ids(_BATCH)) for _ in range(batches)]
    await store.aclose()
    return path.stat().st_size, sum(seconds)


async def _seconds_to_record(store: SQLiteStore, ids: list[str]) -> float:
    began = time.perf_counter()
    await store.record(_ours.SCOPE, ids, _CHECKPOINT, _NOW)
    return time.perf_counter() - began


def _ids(count: int) -> list[str]:
    return [f"{random.getrandbits(128):032X}" for _ in range(count)]


def _scaled(seconds: list[float], factor: float) -> Spread:
    return spread([each * factor for each in seconds])
