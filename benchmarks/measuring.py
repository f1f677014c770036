"""Runs that alternate, and what one contender costs of another.

The machines that this runs on are shared and noisy: times vary by half, ratios of neighbouring runs hardly.
"""

import asyncio
import gc
import math
import multiprocessing
import statistics
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs

_SAMPLE = 0.02  # Seconds; far above the clocks' resolution.
_Name = TypeVar("_Name", bound=Hashable)
_Result = TypeVar("_Result")

Call = Callable[[], Awaitable[Any]]


@attrs.frozen
class Effort:
    """How much is measured: all of it, or just enough to see that every row works."""

    quick: bool

    def of(self, full: int, quick: int) -> int:
        """Return the number that fits."""
        return quick if self.quick else full


@attrs.frozen
class Spread:
    """A median and the quartiles around it."""

    low: float
    median: float
    high: float


@attrs.frozen
class Costs:
    """Seconds for one call, in each round."""

    cpu: list[float] = attrs.field(factory=list)
    wall: list[float] = attrs.field(factory=list)


async def interleave(contenders: Mapping[_Name, Call], rounds: int) -> dict[_Name, Costs]:
    """Call each in turn, round after round, in runs of at least 20 ms."""
    repeats = {name: await _repeats(call) for name, call in contenders.items()}
    costs = {name: Costs() for name in contenders}
    gc.collect()
    gc.freeze()  # What was imported costs no contender's collections.

    for _ in range(rounds):
        for name, call in contenders.items():
            await _run(call, repeats[name], costs[name])

    gc.unfreeze()
    return costs


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles."""
    return Spread(*statistics.quantiles(values, n=4, method="inclusive"))


def ratio(ours: Costs, theirs: Costs, clock: Literal["cpu", "wall"]) -> Spread:
    """Return what ours costs of theirs, round by round."""
    pairs = zip(getattr(ours, clock), getattr(theirs, clock), strict=True)
    return spread([mine / other for mine, other in pairs])


def in_fresh_process(function: Callable[..., _Result], *args: Any) -> _Result:
    """Call a function of a module where no other measurement has left memory or caches."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        return executor.submit(function, *args).result()


def resident() -> int:
    """Return the bytes of memory that this process has."""
    return _memory("VmRSS")


def peak_resident() -> int:
    """Return the most bytes of memory that this process had since `forget_peak`."""
    return _memory("VmHWM")


def forget_peak() -> None:
    """Begin to look for a new peak."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


async def worst_delay(call: Call) -> float:
    """Return the most seconds that the event loop let a callback wait meanwhile."""
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, time.perf_counter() - began - 0.001)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.01)
    result = await call()
    await asyncio.sleep(0.01)
    ticking.cancel()
    del result  # When it is given up is the caller's affair, and takes a while.
    return worst


async def _repeats(call: Call) -> int:
    await call()
    began = time.perf_counter()
    await call()
    return math.ceil(_SAMPLE / (time.perf_counter() - began))


async def _run(call: Call, repeat: int, costs: Costs) -> None:
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(repeat):
        await call()

    costs.cpu.append((time.process_time() - cpu) / repeat)
    costs.wall.append((time.perf_counter() - wall) / repeat)


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
