"""README's program, run without an account as README says."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command import COMMAND, environment

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


@pytest.fixture
def pasted():
    """The variables that `greenapi-async simulator` prints, as a shell sets them in another terminal."""
    simulator = subprocess.Popen(
        [*COMMAND, "simulator"], env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert simulator.stdout.readline().startswith("#")
    lines = [simulator.stdout.readline() for _ in range(3)]
    yield dict(line.removeprefix("export ").strip().split("=", 1) for line in lines)
    simulator.kill()
    simulator.communicate()


def test_the_program_runs_without_an_account(pasted, tmp_path):
    """It prints statuses until Ctrl-C, and remembers what it printed."""
    [program] = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)

    bot = subprocess.Popen(
        [sys.executable, "-u", "-c", program],
        cwd=tmp_path,
        env=environment(**pasted, PYTHONIOENCODING="utf-8"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )
    first = bot.stdout.readline()
    bot.send_signal(signal.SIGINT)
    bot.communicate(timeout=30)

    assert first.split(" ", 2)[2] == "Аня Доброе утро! ☀️\n"
    assert (tmp_path / "seen.db").exists()


def test_it_says_how():
    """And what to run where nothing comes."""
    assert (
        "start `.venv/bin/greenapi-async simulator` in another terminal, and paste the three lines" in README
    )
    assert "`.venv/bin/greenapi-async check`" in README
