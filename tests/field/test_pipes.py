"""What stands at the other end of the command's streams: readers that stop, go, or never were, and full disks."""

import fcntl
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, redirect_stdout
from operator import itemgetter
from pathlib import Path

import pytest
from running import environment, started

from greenapi_async import cli, from_dict
from greenapi_async.simulator import Answer, Simulator

FULL = Path("/dev/full")
LONG = "long " * 4000
NOON = 1_763_812_800  # 2025-11-22 12:00 UTC
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, and sizes pipes")


@pytest.fixture
def api():
    """A simulator in a thread of its own."""
    with Simulator(max_rate=None) as api:
        yield api


@contextmanager
def pipe():
    """Yield the two ends of a pipe of one page."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


def hangs_in_a_write(process):
    """Wait until a process waits for the reader of a pipe."""
    ends = time.monotonic() + 30
    while "pipe_w" not in Path(f"/proc/{process.pid}/wchan").read_text():
        assert process.poll() is None
        assert time.monotonic() < ends
        time.sleep(0.02)


# A reader that stops reading


@pytest.mark.parametrize("options", [[], ["--save", "stories"]], ids=["shown", "saved"])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_command_whose_reader_stopped(api, tmp_path, number, options):
    """A pager that nobody scrolls: the write hangs in the kernel, and one signal has to be enough."""
    api.post(text=LONG)
    command = ["watch", "--jsonl", *options]

    with pipe() as (_, writer), started(*command, api=api, stdout=writer, cwd=tmp_path) as process:
        hangs_in_a_write(process)
        process.send_signal(number)

        assert process.wait(timeout=10) == 130
        assert process.stderr.read() == b""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_command_whose_messages_nobody_reads(number):
    """A supervisor that keeps stderr and reads it later, or never."""
    with pipe() as (_, writer):
        os.write(writer, b"x" * 4096)
        with started("watch", stderr=writer) as process:
            hangs_in_a_write(process)
            process.send_signal(number)

            assert process.wait(timeout=10) == 130


def test_a_signal_after_the_reader_stopped_leaves_no_demo_behind():
    """The simulator of the demo runs beside: it ends as well, without a traceback of its task group."""
    with pipe() as (_, writer):
        os.write(writer, b"x" * 4096)
        with started("watch", stdout=writer) as process:
            hangs_in_a_write(process)
            process.send_signal(signal.SIGTERM)

            assert process.wait(timeout=10) == 130
            assert process.stderr.read().count(b"\n") == 1


# Signals that mean something else


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_background_job_of_a_script_ends_in_order(api, number):
    """A shell without job control lets its background jobs ignore Ctrl-C, which must not make them deaf."""
    api.post()

    def ignore_ctrl_c():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    with started("watch", "--jsonl", api=api, preexec_fn=ignore_ctrl_c) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.send_signal(number)

        assert process.wait(timeout=10) == 130


def test_nohup_is_honoured(api):
    """Whoever ignores SIGHUP wants it to be ignored."""
    api.post()

    def ignore_hangups():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    command = ["watch", "--jsonl", "--interval", "0.1"]
    with started(*command, api=api, preexec_fn=ignore_hangups) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        api.post(text="after")

        assert json.loads(process.stdout.readline())["textMessage"] == "after"


# A stdout that does not block


def nonblocking_pipe():
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    return os.fdopen(reader, "rb", buffering=0), writer


def nonblocking_socket():
    reader, writer = socket.socketpair()
    writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    writer.setblocking(False)
    return os.fdopen(reader.detach(), "rb", buffering=0), writer.detach()


def read_slowly(reader):
    """Return all that comes, taken in small sips."""
    read = b""
    with reader:
        while chunk := reader.read(3000):
            read += chunk
            time.sleep(0.002)
    return read


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("make", [nonblocking_pipe, nonblocking_socket])
@pytest.mark.parametrize("command", [["fetch", "--jsonl"], ["watch", "--jsonl", "--max", "15"]], ids=" ".join)
def test_no_line_is_lost_where_stdout_does_not_block(api, command, make, unbuffered):
    """Node's pipes and some shells share O_NONBLOCK: a write that finds no room is not an error."""
    ids = {api.post(text=LONG)["idMessage"] for _ in range(15)}
    reader, writer = make()

    with started(*command, api=api, stdout=writer, variables={"PYTHONUNBUFFERED": unbuffered}) as process:
        os.close(writer)
        lines = read_slowly(reader).splitlines()

        assert process.wait(timeout=10) == 0
        assert [json.loads(line)["textMessage"] for line in lines] == [LONG] * 15
        assert {json.loads(line)["idMessage"] for line in lines} == ids
        assert process.stderr.read() == b""


def test_a_signal_ends_a_command_whose_stdout_does_not_block(api):
    api.post(text=LONG)
    reader, writer = nonblocking_pipe()

    with reader, started("fetch", api=api, stdout=writer) as process:
        os.close(writer)
        reader.read(1)
        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=10) == 130


def test_a_reader_that_goes_away_from_a_stdout_that_does_not_block(api):
    api.post(text=LONG)
    reader, writer = nonblocking_pipe()

    with started("fetch", api=api, stdout=writer) as process:
        os.close(writer)
        reader.read(1)
        reader.close()

        assert process.wait(timeout=10) == 0
        assert process.stderr.read() == b""


# Streams that are not there


class Bare(io.StringIO):
    """What some hosts put in place of stdout: it can be written to, and knows nothing else."""

    encoding = None
    isatty = None


@pytest.mark.parametrize("make", [io.StringIO, Bare])
@pytest.mark.parametrize("shape", [[], ["--json"], ["--jsonl"]], ids=str)
def test_a_stdout_without_an_encoding(api, monkeypatch, shape, make):
    """`redirect_stdout(io.StringIO())`: text that nobody encodes."""
    for name, value in environment(api).items():
        monkeypatch.setenv(name, value)
    api.post(text="Доброе утро 🌅")

    with redirect_stdout(make()) as stdout:
        code = cli.main(["fetch", *shape])

    assert code == 0
    assert "Доброе утро 🌅" in stdout.getvalue()
    assert stdout.getvalue().endswith("\n")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-16-le", "ascii"])
def test_a_stdout_of_any_encoding_is_read_as_that(api, encoding):
    """A mark at the beginning of each line would be a stranger in the JSON."""
    item = api.post(text="Доброе утро 🌅")
    api.post(text="second")

    with started("fetch", "--jsonl", api=api, variables={"PYTHONIOENCODING": encoding}) as process:
        out, _ = process.communicate(timeout=20)

    lines = out.decode(encoding).splitlines()
    assert "\ufeff" not in out.decode(encoding)
    assert from_dict(json.loads(lines[0])) == from_dict(item)
    assert len(lines) == 2


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["watch --max 2 --state state.db", "--help"])
def test_closed_streams_are_nobody_reading(api, tmp_path, command, closed):
    """The next file that is opened gets the number of the closed one, so nothing may write to a number."""
    for _ in range(2):
        api.post(text="for nobody")

    run = subprocess.run(
        ["sh", "-c", f'exec "$0" -W error -m greenapi_async {command} {closed}', sys.executable],
        cwd=tmp_path,
        env=environment(api),
        capture_output=True,
        timeout=30,
        check=False,
    )

    assert (run.returncode, run.stderr) == (0, b"")
    assert b"for nobody" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize("command", [["watch", "--jsonl", "--max", "1"], ["fetch"]], ids=" ".join)
def test_messages_that_nobody_takes_end_nothing(command):
    """The reader of stderr went away: what is on stdout comes all the same."""
    reader, writer = os.pipe()
    os.close(reader)

    with started(*command, stderr=writer) as process:
        os.close(writer)
        out, _ = process.communicate(timeout=30)

        assert process.returncode == 0
        assert out.count(b"\n") >= 1


# A full disk


@pytest.mark.skipif(not FULL.exists(), reason="needs a disk that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    "command",
    [
        ["fetch"],
        ["fetch", "--json"],
        ["watch"],
        ["simulator"],
        ["--help"],
        ["watch", "--help"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_a_full_disk_is_told(api, command, unbuffered):
    """At the very end, too: what was never written is no success."""
    api.post()

    with (
        FULL.open("wb") as full,
        started(*command, api=api, stdout=full, variables={"PYTHONUNBUFFERED": unbuffered}) as process,
    ):
        _, err = process.communicate(timeout=20)

    assert process.returncode == 1
    assert err.decode() == "greenapi-async: error: No space left on device\n"


@pytest.mark.skipif(not FULL.exists(), reason="needs a disk that is always full")
def test_messages_on_a_full_disk_end_nothing():
    with FULL.open("wb") as full, started("fetch", stderr=full) as process:
        out, _ = process.communicate(timeout=20)

    assert process.returncode == 0
    assert out.count(b"\n") == 10


# Numbers that JSON does not have

NUMBERS = ["1e999", "-1e999", "1E400", "NaN", "Infinity", "-Infinity", "9" * 5000]


def strictly(text):
    """Read JSON as everybody but Python does."""

    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse, parse_int=str)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:9])
@pytest.mark.parametrize(
    "command", [["fetch", "--json"], ["fetch", "--jsonl"], ["watch", "--jsonl", "--max", "4"]]
)
def test_what_is_written_is_strict_json(api, tmp_path, command, number):
    """`jq`, browsers and every other reader refuse `Infinity`; the number stays as the text that it was."""
    members = [f'"{name}":{number}' for name in ("surprise", "timestamp", "caption")]
    members.append(f'"surprise":{{"deep":[{number}]}}')
    items = [
        f'{{"type":"incoming","idMessage":"{name}","typeMessage":"audioMessage","chatId":"1@c.us","timestamp":{NOON},{member}}}'
        for name, member in enumerate(members)
    ]
    api.faults.extend([Answer(f"[{','.join(items)}]")] * 2)
    saving = ["--save", tmp_path] if "watch" in command else []

    with started(*command, *saving, api=api) as process:
        out, _ = process.communicate(timeout=20)

    shown = strictly(out) if "--json" in command else list(map(strictly, out.splitlines()))
    saved = [strictly(path.read_bytes()) for path in tmp_path.glob("*.json")]
    expected = [json.loads(item, parse_constant=str, parse_int=str, parse_float=str) for item in items]
    assert process.returncode == 0
    for read in filter(None, (shown, saved)):
        assert sorted(read, key=itemgetter("idMessage")) == expected


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize(
    "wrap", [lambda number: number, lambda number: {"deep": [number]}], ids=["bare", "deep"]
)
def test_what_a_program_hands_in_is_written_as_strict_json(tmp_path, number, wrap):
    """A status that came over a queue, read by a JSON that is as lenient as Python's."""
    import anyio

    from greenapi_async._media.save import save_sidecar

    item = {"idMessage": "3EB0", "typeMessage": "audioMessage", "chatId": "1@c.us", "timestamp": 1}

    for status in (from_dict(item | {"surprise": wrap(number)}), from_dict({"surprise": wrap(number)})):
        sidecar = anyio.run(save_sidecar, status, tmp_path)
        assert "surprise" in strictly(sidecar.read_text())


def test_a_hangup_of_the_terminal_ends_a_watch(api):
    """The window is closed: there is nobody left to show anything to, and nothing to write it to."""
    api.post()
    controller, terminal = os.openpty()

    with started("watch", api=api, stdin=terminal, stdout=terminal, start_new_session=True) as process:
        os.close(terminal)
        threading.Timer(30, process.kill).start()
        os.read(controller, 1)
        os.close(controller)
        process.send_signal(signal.SIGHUP)

        assert process.wait(timeout=10) == 130
        assert process.stderr.read() == b""


def test_a_terminal_that_is_gone_without_a_word_ends_a_watch_in_one_line(api):
    """Whatever is drawn just then, by whichever task."""
    api.post()
    controller, terminal = os.openpty()

    with started("watch", api=api, stdin=terminal, stdout=terminal, start_new_session=True) as process:
        os.close(terminal)
        os.read(controller, 1)
        os.close(controller)

        assert process.wait(timeout=20) == 1
        assert process.stderr.read() == b"greenapi-async: error: Input/output error\n"
