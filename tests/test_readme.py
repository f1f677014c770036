"""README's program, run without an account as README says."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command import COMMAND, environment

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


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


@pytest.mark.parametrize("page", sorted(ROOT.glob("README*.md")), ids=lambda page: page.name)
def test_it_says_how(page):
    """Both in the paragraph below the program: the simulator, and what to run where nothing comes."""
    below = page.read_text("utf-8").partition("```python")[2].partition("```\n\n")[2].partition("\n\n")[0]

    assert "`.venv/bin/greenapi-async simulator`" in below
    assert "`.venv/bin/greenapi-async check`" in below
