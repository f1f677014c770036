"""The command as a process of its own, and an environment that says nothing of GREEN-API, proxies or colours."""

import os
import sys
from pathlib import Path

import greenapi_async

COMMAND = [sys.executable, "-W", "error", "-m", "greenapi_async"]


def environment(**variables):
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GREEN_API_") and not name.lower().endswith("_proxy") and name != "NO_COLOR"
    }
    return kept | {"PYTHONPATH": str(Path(greenapi_async.__file__).parents[1]), "TERM": "xterm"} | variables
