"""Runs the user's command for each status: without a shell, with the status on stdin, not on the command line."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import anyio
import attrs
from anyio.abc import Process

from greenapi_async.cli.terminal import json_line, sanitized
from greenapi_async.errors import GreenApiError
from greenapi_async.models import Status

_WAITS: Final = (1.0, 5.0)
_PATIENCE: Final = 5.0
_SECRETS: Final = {"GREEN_API_TOKEN_INSTANCE", "GREEN_API_TOKEN_INSTANCE_FILE"}
_FILE: Final = "GREENAPI_FILE"


class CommandFailedError(GreenApiError):
    """The command failed at every attempt."""


@attrs.frozen(kw_only=True)
class Command:
    """A command that is run for each status, one at a time.

    Attributes:
        words: the program and its arguments.
        to_stderr: whether its stdout goes to our stderr, because our stdout carries data.
        notify: called with a line about each failure.
    """

    words: Sequence[str]
    to_stderr: bool
    notify: Callable[[str], None]

    async def run(self, status: Status, file: Path | None) -> None:
        """Run it for a status; if it fails, again after one second, then after five.

        Raises:
            CommandFailedError: it failed each time.
            OSError: the command cannot be started.
        """
        for wait in (*_WAITS, None):
            failure = await self._failure(status, file)
            if not failure:
                return

            told = f"{sanitized(self.words[0])} {failure} for the status {sanitized(status.id_message)}"
            if wait is None:
                raise CommandFailedError(f"{told}, which was not recorded and will come again")

            self.notify(f"{told}; retrying in {wait:.0f} s")
            await anyio.sleep(wait)

    async def _failure(self, status: Status, file: Path | None) -> str:
        """Return how the command failed, or an empty string; stop it if interrupted."""
        process = await anyio.open_process(
            self.words,
            stdin=subprocess.PIPE,
            stdout=_descriptor(sys.stderr if self.to_stderr else sys.stdout),
            stderr=_descriptor(sys.stderr),
            env=_environment(file),
        )
        try:
            await _tell(process, f"{json_line(status, is_unicode=True)}\n".encode())
            code = await process.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)

        if code < 0:
            return f"was ended by {_signal_name(-code)}"

        return f"failed with exit code {code}" if code else ""


async def _tell(process: Process, text: bytes) -> None:
    """Write to a process' stdin, which it need not read."""
    if process.stdin is not None:
        with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            await process.stdin.send(text)

        with suppress(OSError, anyio.BrokenResourceError):
            await process.stdin.aclose()


async def _end(process: Process) -> None:
    """Terminate a process that is still running, and kill it if that does not help."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()

        with anyio.move_on_after(_PATIENCE):
            await process.wait()

    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()

    await process.aclose()


def _environment(file: Path | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _SECRETS | {_FILE}}
    return kept if file is None else kept | {_FILE: str(file.absolute())}


def _descriptor(stream: Any) -> int:
    """Return a stream's file descriptor; if the shell closed it, the number may be another file's."""
    try:
        return int(stream.fileno())
    except OSError:
        return subprocess.DEVNULL


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # A real-time signal.
        return f"signal {number}"
