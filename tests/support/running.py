"""The command as a process of its own, pointed at a simulator or at nothing, and on a terminal."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from contextlib import contextmanager

import command

_OF_TERMINALS = {"FORCE_COLOR", "COLUMNS", "LINES", "COLORTERM", "GREENAPI_FILE"}


def environment(api=None, **variables):
    """Return variables that say nothing of GREEN-API, proxies or a terminal, but for the simulator's."""
    told = {} if api is None else api.env
    bare = {name: value for name, value in command.environment().items() if name not in _OF_TERMINALS}
    return bare | told | variables


@contextmanager
def started(*argv, api=None, variables=(), **options):
    """Start the command; it is killed at the end if it still runs."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    process = subprocess.Popen([*command.COMMAND, *argv], env=environment(api, **dict(variables)), **options)
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
