"""The programs in `examples/`, each as a process of its own over the simulator: what a reader copies keeps its word."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from downstreams import BotApi, Webhook, command, listening

from greenapi_async.simulator import Simulator

pytestmark = pytest.mark.examples

EXAMPLES = Path(__file__).parents[2] / "examples"
TOO_LONG = "x" * 5000
_LONG_ENOUGH = 120.0  # A machine with other work starts a program in many seconds.


class Program:
    """One example: how it is started, what arrived, and a status that it cannot handle."""

    ended_by_sigterm = frozenset({0})

    def __init__(self, stack, api, directory):
        self.api = api
        self.directory = directory
        self.port = _free_port()
        self.variables = api.env | {"PORT": str(self.port)}
        self.prepare(stack)

    def prepare(self, stack):
        """Start what it forwards to."""

    @property
    def command(self):
        return [sys.executable, str(EXAMPLES / self.file)]

    def post(self, *names):
        for name in names:
            self.api.post("text", text=name)

    def post_poison(self):
        return self.api.post("text", text=TOO_LONG)["idMessage"]

    def health(self):
        """Return the code and the state that `/healthz` tells, or None where nobody listens."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/healthz") as response:
                return response.status, json.load(response)["state"]
        except HTTPError as error:
            return error.code, json.load(error)["state"]
        except OSError:
            return None

    def set_aside(self):
        file = self.directory / "set_aside.jsonl"
        return (
            [json.loads(line)["status"]["idMessage"] for line in file.read_text().splitlines()]
            if file.is_file()
            else []
        )


class FastApi(Program):
    file = "fastapi_app.py"
    ended_by_sigterm = frozenset(
        {0, -signal.SIGTERM}
    )  # uvicorn shuts down, and then ends as the signal says.

    @property
    def command(self):
        return [
            sys.executable,
            "-m",
            "uvicorn",
            "--app-dir",
            str(EXAMPLES),
            "--port",
            str(self.port),
            "fastapi_app:app",
        ]

    def arrived(self):
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/statuses") as response:
                return [story["text"] for story in json.load(response)]
        except OSError:
            return []


class Aiohttp(Program):
    file = "aiohttp_app.py"

    def prepare(self, stack):
        self.variables["WEBHOOK"], self.server = stack.enter_context(listening(Webhook))

    def arrived(self):
        return list(self.server.texts)


class Aiogram(Program):
    file = "telegram_bot.py"

    def prepare(self, stack):
        url, self.server = stack.enter_context(listening(BotApi))
        self.variables |= {"TELEGRAM_API": url, "TELEGRAM_TOKEN": "1:token", "TELEGRAM_CHAT": "7"}

    def arrived(self):
        return [text.rpartition(": ")[2] for text in self.server.texts]


class Worker(Program):
    file = "worker.py"

    def prepare(self, stack):
        self.names = {}

    def post(self, *names):
        for name in names:
            self.names[self.api.post("image", caption=name)["idMessage"]] = name

    def post_poison(self):
        return self.api.post("image", downloadUrl=f"{self.api.url}/media/none.jpg")["idMessage"]

    def arrived(self):
        files = sorted((self.directory / "stories").glob("*.jpg"), key=lambda file: file.stat().st_mtime_ns)
        return [self.names[file.stem.rpartition("_")[2]] for file in files]


PROGRAMS = [FastApi, Aiohttp, Aiogram, Worker]
WEB_APPS = [FastApi, Aiohttp]


@pytest.fixture
def program(request, tmp_path):
    with ExitStack() as stack:
        api = stack.enter_context(Simulator(max_rate=None))
        yield request.param(stack, api, tmp_path)


every_program = pytest.mark.parametrize("program", PROGRAMS, indirect=True, ids=lambda kind: kind.file)
every_web_app = pytest.mark.parametrize("program", WEB_APPS, indirect=True, ids=lambda kind: kind.file)


@contextmanager
def running(program, variables=None):
    """Start it, and kill it in the end, whatever happened."""
    ours = ("GREEN_API_", "TELEGRAM_", "WEBHOOK")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(ours)
    }
    process = subprocess.Popen(
        program.command,
        cwd=program.directory,
        env=kept | (variables or program.variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(condition, process):
    """Wait until something is so; a program that ended meanwhile shows why."""
    deadline = time.monotonic() + _LONG_ENOUGH
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "too late"
        time.sleep(0.05)


def ended(process, *, by=None):
    """Return the exit code and what was printed."""
    if by is not None:
        process.send_signal(by)

    printed, _ = process.communicate(timeout=_LONG_ENOUGH)
    return process.returncode, printed


@every_program
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_what_ends_it_loses_nothing(program, by):
    """SIGTERM, as systemd and Kubernetes send it, ends it in order; of a killed one, too, the next goes on there."""
    program.post("one", "two", "three")
    with running(program) as process:
        until(lambda: program.arrived() == ["one", "two", "three"], process)
        code, printed = ended(process, by=by)

    assert code in (program.ended_by_sigterm if by == signal.SIGTERM else {-by}), printed
    assert "Traceback" not in printed
    assert "never retrieved" not in printed

    program.post("four", "five")
    before = len(program.arrived())
    with running(program) as process:
        until(lambda: "five" in program.arrived(), process)
        arrived = program.arrived()[before:]

    # What comes again is what was being handled, at most.
    assert arrived in (["four", "five"], ["three", "four", "five"])


@every_program
def test_a_poison_status_is_set_aside(program):
    """It is tried three times, kept for a person, and those behind it arrive."""
    program.post("one")
    poison = program.post_poison()
    program.post("two")

    with running(program) as process:
        until(lambda: program.arrived() == ["one", "two"], process)
        assert program.set_aside() == [poison]
        assert program.health() in {None, (200, "ok")}
        code, printed = ended(process, by=signal.SIGTERM)

    assert code in program.ended_by_sigterm, printed
    assert printed.count("of 3 to handle") == 3


@every_program
def test_a_handler_that_dies_is_seen(program):
    """The page is not well, or the process is gone; and what was not handled comes when it is repaired."""
    disk_is_full = program.directory / "set_aside.jsonl"
    disk_is_full.mkdir()
    program.post("one")
    poison = program.post_poison()
    program.post("two")

    with running(program) as process:
        if isinstance(program, tuple(WEB_APPS)):
            until(lambda: program.health() == (503, "stopped"), process)
            code, printed = ended(process, by=signal.SIGTERM)
        else:
            code, printed = ended(process)

    assert "IsADirectoryError" in printed
    assert "Traceback" in printed
    assert code != 0

    disk_is_full.rmdir()
    with running(program) as process:
        until(lambda: "two" in program.arrived(), process)

    assert program.set_aside() == [poison]


@pytest.mark.parametrize("program", [Aiogram], indirect=True, ids=lambda kind: kind.file)
def test_the_bot_tells_how_polling_fares(program):
    """Whoever may write to it may ask."""
    program.post("one", "two")
    with running(program) as process:
        until(lambda: len(program.arrived()) == 2, process)
        program.server.updates.append(command("/health"))
        # The second is recorded when the next is requested, a moment after it arrived.
        until(lambda: {"ok, 1 statuses", "ok, 2 statuses"} & set(program.arrived()), process)


@every_program
def test_a_variable_that_is_missing_ends_it_at_the_start(program):
    """A handler that finds out would have every status set aside."""
    program.post("one")
    names = program.variables.keys() - {"PORT", "GREEN_API_TOKEN_INSTANCE", "GREEN_API_URL", "TELEGRAM_API"}

    for name in names:
        variables = {other: value for other, value in program.variables.items() if other != name}
        with running(program, variables) as process:
            code, printed = ended(process)

        assert code != 0
        assert name in printed

    assert program.set_aside() == []


@every_web_app
def test_an_api_that_cannot_be_reached_is_not_well(program):
    """From the start, too: an app that never had a response must get no traffic."""
    nobody = {"GREEN_API_URL": f"http://127.0.0.1:{_free_port()}"}
    with running(program, program.variables | nobody) as process:
        until(lambda: program.health() == (503, "degraded"), process)


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.name)
def test_it_fits_on_a_screen(file):
    """Nobody reads more before they copy it."""
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 60


def test_every_program_is_tried():
    """One that is added must be added here."""
    assert {kind.file for kind in PROGRAMS} == {file.name for file in EXAMPLES.glob("*.py")}


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
