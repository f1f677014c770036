"""What a section of the benchmark hands over: rows that must hold, tables and plots."""

from collections.abc import Sequence
from statistics import median
from typing import TypeAlias

import attrs

from benchmarks.measuring import Spread


@attrs.frozen
class Bound:
    """A row that must hold: what is measured stays at or below a limit, or at or above one that is the least."""

    name: str
    limit: float
    reached: Spread
    unit: str = ""
    is_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the median is within the limit."""
        return self.reached.median >= self.limit if self.is_least else self.reached.median <= self.limit


@attrs.frozen
class Table:
    """Figures for the reader; `note` says how to read them."""

    title: str
    note: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@attrs.frozen
class Plot:
    """Curves of a cost, both axes logarithmic; `name` is the file's."""

    name: str
    title: str
    across: str
    curves: dict[str, list[tuple[int, float]]]
    unit: str = "ms"


Result: TypeAlias = Bound | Table | Plot


def shown(value: float) -> str:
    """Return three digits of a number.

    >>> [shown(each) for each in (0.02345, 1.2345, 123.45, 12345.6)]
    ['0.0234', '1.23', '123', '12,346']
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def milliseconds(values: Sequence[float]) -> str:
    """Return a median of seconds as milliseconds."""
    return shown(median(values) * 1000)


def with_quartiles(spread: Spread) -> str:
    """Return a median, and the quartiles behind it."""
    return f"{shown(spread.median)} ({shown(spread.low)}-{shown(spread.high)})"
