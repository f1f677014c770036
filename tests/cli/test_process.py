"""The command as a process of its own: signals, pipes and a terminal."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest
from command import COMMAND, environment

from greenapi_async import from_dict

KINDS = {"text", "image", "video", "audio", "deleted", "unknown"}
NOTICE = re.compile(r"greenapi-async: no credentials are set, so this talks to the embedded simulator.*\n")


def start(*argv, **variables):
    return subprocess.Popen(
        [*COMMAND, *argv],
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def finish(process, timeout=10):
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()

    return process.returncode, out, err


@pytest.fixture(scope="module", autouse=True)
def whole_demo():
    """A watch without credentials that runs while the other tests do, and when it was started."""
    process, started = start("watch"), time.monotonic()
    yield process, started
    process.kill()
    process.communicate()


@pytest.fixture
def simulator():
    """The command `simulator`, and the variables that it prints."""
    process = start("simulator")
    process.stdout.readline()
    lines = [process.stdout.readline().split()[1].partition("=") for _ in range(3)]
    yield process, {name: value for name, _, value in lines}
    process.kill()
    process.communicate()


def on_a_terminal(*argv, **variables):
    """Run the command with a pseudo-terminal as stdout, and return what that shows."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *argv], env=environment(**variables), stdout=terminal, stderr=subprocess.DEVNULL
    )
    os.close(terminal)
    shown = b""

    try:
        while chunk := os.read(controller, 65_536):
            shown += chunk
    except OSError:  # Linux says EIO where the other end is closed.
        pass
    finally:
        os.close(controller)

    return process.wait(timeout=10), shown.decode()


@pytest.mark.parametrize(
    ("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_are_for_terminals_that_want_them(variables, coloured):
    code, shown = on_a_terminal("fetch", **variables)

    assert code == 0
    assert shown.count("\r\n") == 10
    assert ("\x1b[" in shown) is coloured


def test_the_reader_of_a_watch_goes_away():
    """As with `| head -1`: the watch ends at the next status, quietly."""
    process = start("watch", "--jsonl")

    first = json.loads(process.stdout.readline())
    process.stdout.close()
    code = process.wait(timeout=10)

    err = process.stderr.read()
    process.stderr.close()
    assert from_dict(first).kind == "text"
    assert code == 0
    assert NOTICE.fullmatch(err)


def test_the_reader_of_a_help_goes_away():
    process = start("--help")
    process.stdout.close()

    assert process.wait(timeout=10) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_simulator_and_a_watch_of_it(simulator, number):
    server, variables = simulator
    watch = start("watch", **variables)
    line = watch.stdout.readline()

    for process in (watch, server):
        process.send_signal(number)

    assert "text" in line
    for process in (watch, server):
        code, _, err = finish(process)
        assert (code, err) == (130, "")


def test_a_wrong_token_shows_nowhere(simulator):
    _, variables = simulator
    token = "d75b3a66374942c5b3c019c698abc2067e151558acbd412345"

    code, out, err = finish(start("watch", **variables | {"GREEN_API_TOKEN_INSTANCE": token}))

    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("greenapi-async: error: HTTP 401: ")
    assert token not in err


def test_nobody_listens():
    variables = {
        "GREEN_API_ID_INSTANCE": "1101000001",
        "GREEN_API_TOKEN_INSTANCE": "d75b3a66374942c5b3c019c698abc2067e151558acbd412345",
        "GREEN_API_URL": "http://127.0.0.1:1",
    }
    watch = start("watch", **variables)

    warning = watch.stderr.readline()
    watch.send_signal(signal.SIGINT)

    code, out, err = finish(watch)
    assert warning.startswith("greenapi-async: warning: polling instance 1101000001 fails: ConnectError")
    assert (code, out) == (130, "")
    assert variables["GREEN_API_TOKEN_INSTANCE"] not in warning + err


def test_the_command_is_not_imported_with_the_library():
    probe = "import greenapi_async, sys; print('greenapi_async.cli' in sys.modules)"

    run = subprocess.run(
        [sys.executable, "-c", probe], env=environment(), capture_output=True, text=True, check=True
    )

    assert run.stdout == "False\n"


def test_watch_without_credentials_shows_every_kind_and_ends(whole_demo):
    """The first command of a newcomer: no set-up, everything to see, over in half a minute."""
    process, started = whole_demo

    code, out, err = finish(process, timeout=30)

    assert time.monotonic() - started < 30
    assert code == 0
    assert {re.search(rf"  ({'|'.join(KINDS)})\b", line)[1] for line in out.splitlines()} == KINDS
    assert NOTICE.fullmatch(err)
