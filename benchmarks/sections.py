"""The parts of the benchmark, in the order of the report; each is a module with a `measure` of its own."""

import asyncio
import importlib

from benchmarks.measuring import Effort
from benchmarks.results import Result

NAMES = (
    "decoding",
    "asking",
    "connections",
    "hosts",
    "traffic",
    "memory",
    "storing",
    "sharing",
    "startup",
    "waiting",
    "fleet",
)


def run(name: str, effort: Effort) -> list[Result]:
    """Measure one section; it runs in a process of its own."""
    module = importlib.import_module(f"benchmarks.{name}")
    results: list[Result] = asyncio.run(module.measure(effort))
    return results
