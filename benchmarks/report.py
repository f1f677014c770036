"""The results as docs/en/performance.md, its plots, and a few lines for the terminal."""

import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks.results import Bound, Plot, Result, Table, shown, with_quartiles

_PACKAGES = (
    "greenapi-async",
    "anyio",
    "attrs",
    "cattrs",
    "httpx",
    "httpcore",
    "h11",
    "aiohttp",
    "msgspec",
    "orjson",
    "pydantic",
    "requests",
    "whatsapp-api-client-python",
)
_INTRODUCTION = """\
# Performance

`nox -s bench` measured all of this and wrote this page, with every library from PyPI in an environment of its own. The
contenders take turns, round by round, against one server on loopback, which is a process of its own. Only the ratios
matter: the machine is shared, and absolute figures vary by half. The quartiles over the rounds are in parentheses.

The responses are made up: 40 % texts, 40 % pictures, 15 % videos and 5 % voice notes, thumbnails of 3 KB, Cyrillic and
emoji.
"""


def write(results: Sequence[Result], folder: Path) -> None:
    """Write performance.md and its plots into a folder."""
    plots = [each for each in results if isinstance(each, Plot)]
    for plot in plots:
        _draw(plot, folder / _file_name(plot))

    parts = [
        _INTRODUCTION,
        _machine(),
        "## What must hold\n",
        _must_hold(results),
        *(_section(each) for each in results if isinstance(each, Table)),
        *(f"## {plot.title}\n\n![{plot.title}]({_file_name(plot)})\n" for plot in plots),
    ]
    (folder / "performance.md").write_text("\n".join(parts), encoding="utf-8")


def told(result: Result) -> str:
    """Return a result as text for the terminal."""
    match result:
        case Bound():
            verdict = "holds" if result.holds else "MISSED"
            return f"{verdict:7} {_reached(result)}, limit {_limit(result)}: {result.name}"
        case Table():
            lines = ["", result.title, *("  " + " | ".join(row) for row in [result.head, *result.rows])]
            return "\n".join(lines)
        case Plot():
            return ""


def _must_hold(results: Sequence[Result]) -> str:
    rows = [
        [each.name, _limit(each), _reached(each), "yes" if each.holds else "**no**"]
        for each in results
        if isinstance(each, Bound)
    ]
    return _table(["what", "limit", "reached", "holds"], rows)


def _limit(bound: Bound) -> str:
    least = "at least " if bound.is_least else ""
    return f"{least}{shown(bound.limit)} {bound.unit}".strip()


def _reached(bound: Bound) -> str:
    return f"{with_quartiles(bound.reached)} {bound.unit}".strip()


def _section(table: Table) -> str:
    return f"## {table.title}\n\n{table.note}\n\n{_table(table.head, table.rows)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _machine() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"Measured on: {_processor()}, {os.cpu_count()} cores; {platform.system()} {platform.release()}; "
        f"{platform.python_implementation()} {platform.python_version()}.\n\n{packages}.\n"
    )


def _processor() -> str:
    return next(_processors(), platform.machine())


def _processors() -> Iterator[str]:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            yield line.partition(": ")[2]


def _file_name(plot: Plot) -> str:
    return f"performance-{plot.name}.svg"


def _draw(plot: Plot, path: Path) -> None:
    mpl.rcParams["svg.hashsalt"] = plot.name
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for name, points in plot.curves.items():
        axes.loglog(*zip(*points, strict=True), marker="o", label=name)

    ticks = [across for across, _ in next(iter(plot.curves.values()))]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set(title=plot.title, xlabel=plot.across, ylabel=plot.unit)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
