"""What importing the library costs."""

import os
import subprocess
import sys
import tempfile

from benchmarks.measuring import Costs, Effort, ratio
from benchmarks.results import Bound, Result, Table, milliseconds, with_quartiles

_OURS = "import greenapi_async"
_DEPENDENCIES = "import httpx, attrs, cattrs, anyio"
_FIRST_STATUS = f"{_OURS}; greenapi_async.from_dict({{'idMessage': '1', 'typeMessage': 'audioMessage'}})"
_NAMES = {f"`{_OURS}`": _OURS, f"`{_DEPENDENCIES}`": _DEPENDENCIES, "until the first status": _FIRST_STATUS}
_TIMED = "import time; began = time.process_time(); {}; print(time.process_time() - began)"


async def measure(effort: Effort) -> list[Result]:
    """Import in processes of their own, in turn."""
    statements = _NAMES.values()
    costs = {statement: Costs() for statement in statements}
    for statement in statements:
        _seconds(statement)  # Leaves compiled modules behind, as an installation does.

    for _ in range(effort.of(40, 3)):
        for statement in statements:
            costs[statement].cpu.append(_seconds(statement))

    reached = ratio(costs[_OURS], costs[_DEPENDENCIES], "cpu")
    return [
        Bound(f"`{_OURS}`: CPU, of `{_DEPENDENCIES}`", 1.15, reached),
        Table(
            "Import",
            "CPU time in a process of its own; what decodes is loaded with the first status.",
            ["", "ms", "of the dependencies"],
            [
                [
                    name,
                    milliseconds(costs[statement].cpu),
                    with_quartiles(ratio(costs[statement], costs[_DEPENDENCIES], "cpu")),
                ]
                for name, statement in _NAMES.items()
            ],
        ),
    ]


def _seconds(statement: str) -> float:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    printed = subprocess.run(
        [sys.executable, "-c", _TIMED.format(statement)],
        check=True,
        capture_output=True,
        cwd=tempfile.gettempdir(),  # Not the checkout: what is installed is measured.
        env=environment,
    ).stdout
    return float(printed)
