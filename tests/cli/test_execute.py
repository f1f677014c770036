"""`watch --exec`: the user's command for each status, as real processes."""

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from decoding import is_harmless
from running import environment, started

from greenapi_async import from_dict
from greenapi_async.simulator import Simulator

HOSTILE = "$(touch pwned) `touch pwned`; touch pwned\x1b[2J\n--help\u202e"


@pytest.fixture
def api():
    """A simulator in a thread of its own."""
    with Simulator(max_rate=None) as api:
        yield api


@pytest.fixture
def program(tmp_path):
    """Writes a Python program, and returns the command line that runs it."""

    def write(source, *arguments):
        path = tmp_path / "program.py"
        path.write_text(f"import json, os, signal, sys, time\n{source}\n", "utf-8")
        return shlex.join([sys.executable, str(path), *arguments])

    return write


def finish(process, timeout=30):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out.decode(), err.decode()


def appears(path):
    """Wait for what a command leaves, and return its text."""
    ends = time.monotonic() + 20
    while not path.exists() or not path.read_text():
        assert time.monotonic() < ends
        time.sleep(0.02)
    return path.read_text()


def is_running(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_each_status_is_told_in_order_one_at_a_time(api, program, tmp_path):
    items = [api.post(text=str(number), late=10 - number) for number in range(3)]
    command = program(
        "print('begin', os.getpid(), flush=True); status = json.load(sys.stdin); time.sleep(0.1)\n"
        "open('told', 'a').write(json.dumps(status) + '\\n'); print('end', flush=True)"
    )

    with started("watch", "--max", "3", "--exec", command, api=api, cwd=tmp_path) as process:
        code, out, err = finish(process)

    told = [from_dict(json.loads(line)) for line in (tmp_path / "told").read_text().splitlines()]
    assert (code, err) == (0, "")
    assert told == list(map(from_dict, items))
    assert [line.split()[0] for line in out.splitlines() if line.startswith(("begin", "end"))] == [
        *("begin", "end"),
        *("begin", "end"),
        *("begin", "end"),
    ]


def test_the_file_is_there_when_the_command_runs(api, program, tmp_path):
    """`GREENAPI_FILE` is whole, absolute, and unset where there is no file, whatever it was before."""
    api.post("image")
    api.post(text="no file")
    command = program(
        "path = os.environ.get('GREENAPI_FILE'); size = path and os.path.getsize(path)\n"
        "open('told', 'a').write(f'{path} {size}\\n')"
    )
    argv = ["watch", "--save", "stories", "--max", "2", "--exec", command]

    with started(*argv, api=api, cwd=tmp_path, variables={"GREENAPI_FILE": "/etc/passwd"}) as process:
        code, _, err = finish(process)

    [file] = (tmp_path / "stories").glob("*.jpg")
    assert (code, err) == (0, "")
    assert (tmp_path / "told").read_text() == f"{file} {file.stat().st_size}\nNone None\n"


def test_the_token_is_not_handed_on(api, program, tmp_path):
    """Neither itself nor where it lies; all else of the environment is."""
    api.post()
    command = program("open('told', 'w').write(json.dumps(dict(os.environ)))")
    token = tmp_path / "token"
    token.write_text(api.token)
    variables = {"GREEN_API_TOKEN_INSTANCE_FILE": str(token), "MINE": "kept"}

    with started(
        "watch", "--max", "1", "--exec", command, api=api, cwd=tmp_path, variables=variables
    ) as process:
        code, _, _ = finish(process)

    told = (tmp_path / "told").read_text()
    assert code == 0
    assert json.loads(told)["MINE"] == "kept"
    assert api.token not in told
    assert str(token) not in told


@pytest.mark.parametrize("field", ["textMessage", "senderContactName", "idMessage", "caption"])
def test_a_stranger_s_text_is_on_stdin_and_nowhere_else(api, program, tmp_path, field):
    """No shell, no part of the command line or the environment, one line, no escape."""
    item = {"idMessage": "3EB0", "timestamp": int(time.time()), "typeMessage": "extendedTextMessage"}
    api.post_raw(item | {"chatId": "1@c.us", field: HOSTILE})
    command = program(
        "open('told', 'w').write(sys.stdin.read())\n"
        "open('around', 'w').write(repr((sys.argv, dict(os.environ))))",
        "$HOME",
        "a b",
    )

    with started("watch", "--max", "1", "--exec", command, api=api, cwd=tmp_path) as process:
        code, _, err = finish(process)

    told = (tmp_path / "told").read_text()
    around = (tmp_path / "around").read_text()
    assert (code, err) == (0, "")
    assert told.endswith("\n")
    assert is_harmless(told[:-1])
    assert json.loads(told)[field] == HOSTILE
    assert "'$HOME', 'a b'" in around
    assert "touch pwned" not in around
    assert not (tmp_path / "pwned").exists()


def test_json_lines_stay_json_lines(api, program, tmp_path):
    """What the command prints goes to stderr: stdout is read by a program."""
    api.post(text="hi")
    command = program("print('from the command')")

    with started("watch", "--jsonl", "--max", "1", "--exec", command, api=api, cwd=tmp_path) as process:
        code, out, err = finish(process)

    assert code == 0
    assert json.loads(out)["textMessage"] == "hi"
    assert err == "from the command\n"


def test_a_command_that_never_reads(api, program, tmp_path):
    """Its stdin may be as long as it likes."""
    api.post(text="long " * 100_000)

    with started("watch", "--max", "1", "--exec", program("pass"), api=api, cwd=tmp_path) as process:
        code, _, err = finish(process)

    assert (code, err) == (0, "")


@pytest.mark.long
def test_a_command_that_fails_is_tried_three_times_and_its_status_comes_again(api, program, tmp_path):
    """A status that was not handled is not recorded; those before it are."""
    for text in ("good", "bad"):
        api.post(text=text, late=10 if text == "good" else 0)
    command = program(
        "text = json.load(sys.stdin)['textMessage']; open('told', 'a').write(text + '\\n')\n"
        "sys.exit(3 if text == 'bad' and not os.path.exists('mended') else 0)"
    )
    argv = ["watch", "--state", "state.db", "--exec", command]

    began = time.monotonic()
    with started(*argv, api=api, cwd=tmp_path) as process:
        code, out, err = finish(process)

    first, second, error = err.splitlines()
    assert code == 1
    assert (tmp_path / "told").read_text() == "good\nbad\nbad\nbad\n"
    assert time.monotonic() - began > 6
    assert "failed with exit code 3" in first
    assert first.endswith("retrying in 1 s")
    assert second.endswith("retrying in 5 s")
    assert error.startswith("greenapi-async: error: ")
    assert out.count("\n") == 2

    (tmp_path / "mended").touch()
    with started(*argv, "--max", "1", api=api, cwd=tmp_path) as process:
        code, out, err = finish(process)

    assert (code, err) == (0, "")
    assert (tmp_path / "told").read_text().splitlines()[4:] == ["bad"]


def test_a_command_that_works_the_second_time(api, program, tmp_path):
    api.post()
    command = program("open('told', 'a').write('x'); sys.exit(len(open('told').read()) < 2)")

    with started("watch", "--max", "1", "--exec", command, api=api, cwd=tmp_path) as process:
        code, _, err = finish(process)

    assert code == 0
    assert err.count("\n") == 1


def test_a_command_that_is_killed_is_told_by_the_signal(api, program, tmp_path):
    api.post()
    command = program("os.kill(os.getpid(), signal.SIGKILL)")

    with started("watch", "--exec", command, api=api, cwd=tmp_path) as process:
        line = process.stderr.readline().decode()

    assert "was ended by SIGKILL" in line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_a_command_ends_both(api, program, tmp_path, number):
    """And the status comes again."""
    api.post(text="hi")
    command = program("open('told', 'w').write(str(os.getpid())); time.sleep(60)")
    argv = ["watch", "--state", "state.db", "--exec", command]

    with started(*argv, api=api, cwd=tmp_path) as process:
        child = int(appears(tmp_path / "told"))
        process.send_signal(number)
        code, _, err = finish(process, timeout=10)

    assert (code, err) == (130, "")
    assert not is_running(child)
    with started("watch", "--state", "state.db", "--jsonl", "--max", "1", api=api, cwd=tmp_path) as process:
        assert json.loads(finish(process)[1])["textMessage"] == "hi"


@pytest.mark.long
def test_a_command_that_will_not_end_is_killed(api, program, tmp_path):
    """After five seconds of patience."""
    api.post()
    command = program(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); open('told', 'w').write(str(os.getpid())); time.sleep(60)"
    )

    with started("watch", "--exec", command, api=api, cwd=tmp_path) as process:
        child = int(appears(tmp_path / "told"))
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code, _, _ = finish(process, timeout=20)

    assert code == 130
    assert time.monotonic() - began > 4
    assert not is_running(child)


@pytest.mark.long
def test_a_command_has_as_long_as_it_needs(api, program, tmp_path):
    """The API is not asked meanwhile, and nothing is lost."""
    api.post(text="first", late=5)
    api.post(text="second")
    command = program("time.sleep(1.5)")

    with started(
        "watch", "--interval", "0.2", "--max", "2", "--exec", command, api=api, cwd=tmp_path
    ) as process:
        code, out, err = finish(process)

    assert (code, err) == (0, "")
    assert out.count("\n") == 2


def test_what_is_filtered_out_runs_nothing(api, program, tmp_path):
    api.post("image")
    api.post(text="hi")
    command = program("open('told', 'a').write(json.load(sys.stdin)['typeMessage'])")
    argv = ["watch", "--type", "text", "--max", "1", "--exec", command]

    with started(*argv, api=api, cwd=tmp_path) as process:
        finish(process)

    assert (tmp_path / "told").read_text() == "extendedTextMessage"


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_a_command_does_not_write_into_a_file_of_ours(api, program, tmp_path, closed):
    """The number of a closed stdout is that of the next file: the database's, or a connection's."""
    api.post()
    command = program("print('into the database'); open('told', 'w').write('x')")
    argv = [
        "-W",
        "error",
        "-m",
        "greenapi_async",
        "watch",
        "--state",
        "state.db",
        "--max",
        "1",
        "--exec",
        command,
    ]
    line = f"exec {shlex.join([sys.executable, *argv])} {closed}"

    run = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=environment(api), timeout=30, check=False)

    assert run.returncode == 0
    assert (tmp_path / "told").read_text() == "x"
    assert b"into the database" not in (tmp_path / "state.db").read_bytes()


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("/no/such/program --token secret", "there is no program '/no/such/program'"),
        ("no-such-program", "there is no program 'no-such-program'"),
        ("'unbalanced", "cannot be split into words"),
        ("", "must not be empty"),
        (" ", "must not be empty"),
    ],
)
def test_a_command_that_cannot_be_is_wrong_usage_before_the_first_request(api, command, problem):
    with started("watch", "--exec", command, api=api) as process:
        code, out, err = finish(process)

    assert (code, out) == (2, "")
    assert problem in err
    assert "secret" not in err.replace(command, "")
    assert api.requests == []


def test_a_program_that_cannot_be_started_is_told(api, tmp_path):
    api.post()
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o700)

    with started("watch", "--exec", str(broken), api=api) as process:
        code, _, err = finish(process)

    assert code == 1
    assert err.startswith("greenapi-async: error: ")
    assert err.count("\n") == 1


def test_the_command_costs_nothing_until_it_is_used():
    """`--help` and a plain watch load neither it nor the cards."""
    script = "import sys; from greenapi_async.cli import arguments; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    loaded = set(run.stdout.split())
    assert not loaded & {
        "PIL",
        "greenapi_async.cli.execute",
        "greenapi_async.cli.cards",
        "greenapi_async.cli.picture",
    }
