"""What it costs to remember on disk."""

import tempfile
import time
from pathlib import Path

from benchmarks import _ours, pages
from benchmarks.measuring import Effort, Spread, spread, worst_delay
from benchmarks.results import Bound, Result, Skipped, Table
from greenapi_async import Checkpoint, Store, stores

_ONE = "`SQLiteStore`: one status recorded"
_MANY = "`SQLiteStore`: 10,000 ids in one batch"
_DELAY = "the event loop's worst delay meanwhile"
_NOW = float(pages.FIRST)
_CHECKPOINT = Checkpoint(marks=(_NOW, _NOW, _NOW))


async def measure(effort: Effort) -> list[Result]:
    """Record one at a time, ten thousand at once and a million in all."""
    if not hasattr(stores, "SQLiteStore"):
        return [Skipped(name, "there is no `SQLiteStore` yet") for name in (_ONE, _MANY, _DELAY)]

    with tempfile.TemporaryDirectory() as folder:
        one_by_one = await _one_by_one(Path(folder, "one.db"), effort.of(2_000, 20))
        batch, delay = await _batches(Path(folder, "batches.db"), effort.of(5, 2))
        size, seconds = await _million(Path(folder, "million.db"), effort.of(100, 2))

    return [
        Bound(_ONE, 300, _scaled(one_by_one, 1e6), "µs"),
        Bound(_MANY, 0.2, spread(batch), "s"),
        Bound(_DELAY, 5, _scaled(delay, 1e3), "ms"),
        Table(
            "Memory on disk",
            "In batches of 10,000, with a checkpoint each; wall time.",
            ["ids in `SQLiteStore`", "file, MB", "seconds"],
            [[f"{effort.of(100, 2) * 10_000:,}", f"{size / 1e6:.0f}", f"{seconds:.1f}"]],
        ),
    ]


def _open(path: Path) -> Store:
    store: Store = stores.SQLiteStore(path)  # type: ignore[attr-defined, unused-ignore]
    return store


async def _one_by_one(path: Path, count: int) -> list[float]:
    store = _open(path)
    seconds = [await _seconds_to_record(store, _ids(number, 1)) for number in range(count)]
    await store.aclose()
    return seconds


async def _batches(path: Path, count: int) -> tuple[list[float], list[float]]:
    store = _open(path)
    seconds: list[float] = []
    delays: list[float] = []
    for number in range(count):
        ids = _ids(number, 10_000)

        async def record(ids: list[str] = ids) -> None:
            seconds.append(await _seconds_to_record(store, ids))

        delays.append(await worst_delay(record))

    await store.aclose()
    return seconds, delays


async def _million(path: Path, batches: int) -> tuple[int, float]:
    store = _open(path)
    began = time.perf_counter()
    for number in range(batches):
        await _seconds_to_record(store, _ids(number, 10_000))

    seconds = time.perf_counter() - began
    await store.aclose()
    return path.stat().st_size, seconds


async def _seconds_to_record(store: Store, ids: list[str]) -> float:
    began = time.perf_counter()
    await store.record(_ours.SCOPE, ids, _CHECKPOINT, _NOW)
    return time.perf_counter() - began


def _ids(batch: int, count: int) -> list[str]:
    return [f"{batch * 1_000_003:016X}{number:016X}" for number in range(count)]


def _scaled(seconds: list[float], factor: float) -> Spread:
    return spread([each * factor for each in seconds])
