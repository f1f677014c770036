"""The command as a process of its own, pointed at a simulator or at nothing, and on a terminal."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager
from pathlib import Path

import greenapi_async

COMMAND = [sys.executable, "-W", "error", "-m", "greenapi_async"]


def environment(api=None, **variables):
    """Return variables that say nothing of GREEN-API, proxies or colours, but for the simulator's."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GREEN_API_")
        and not name.lower().endswith("_proxy")
        and name not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "COLORTERM", "GREENAPI_FILE"}
    }
    told = {"PYTHONPATH": str(Path(greenapi_async.__file__).parents[1]), "TERM": "xterm"}
    if api is not None:
        told |= {
            "GREEN_API_ID_INSTANCE": api.id_instance,
            "GREEN_API_TOKEN_INSTANCE": api.token,
            "GREEN_API_URL": api.url,
        }
    return kept | told | variables


@contextmanager
def started(*argv, api=None, variables=(), **options):
    """Start the command; it is killed at the end if it still runs."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    process = subprocess.Popen([*COMMAND, *argv], env=environment(api, **dict(variables)), **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def on_terminal(*argv, api=None, size=(80, 24), variables=(), **options):
    """Start the command on a pseudo-terminal of its own; yields the process and where to read what that shows.

    `stderr=None` is the terminal, too.
    """
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    streams = {"stdin": terminal, "stdout": terminal, "stderr": subprocess.DEVNULL} | options
    streams["stderr"] = streams["stderr"] or terminal

    def take_terminal():  # So that Ctrl-C is a signal.
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    session = {"start_new_session": True, "preexec_fn": take_terminal}
    with started(*argv, api=api, variables=variables, **session, **streams) as process:
        os.close(terminal)
        try:
            yield process, controller
        finally:
            os.close(controller)


def shown_until_closed(controller):
    """Return all that a terminal shows, until nobody writes to it any more."""
    shown, ends = b"", time.monotonic() + 30
    try:
        while chunk := _read(controller, ends):
            shown += chunk
    except OSError:  # Linux says EIO where the other end is closed.
        pass
    return shown.decode()


def shown_until(controller, text):
    """Return what a terminal shows until a text has come."""
    shown, ends = b"", time.monotonic() + 30
    while text.encode() not in shown:
        shown += _read(controller, ends)
    return shown.decode(errors="replace")


def _read(controller, ends):
    readable, _, _ = select.select([controller], [], [], max(0.0, ends - time.monotonic()))
    assert readable, "the terminal did not show it in half a minute"
    return os.read(controller, 65_536)
