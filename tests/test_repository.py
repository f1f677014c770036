"""The repository's manners: what runs elsewhere is pinned, and gets no more rights than it needs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_hash_with_the_tag_beside(workflow):
    """A tag can be moved to other code, a hash cannot."""
    used = re.findall(r"uses: (.*)", workflow.read_text("utf-8"))

    assert used
    assert [each for each in used if not PINNED.fullmatch(each)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_no_job_has_rights_that_it_does_not_name(workflow):
    text = workflow.read_text("utf-8")
    jobs = re.findall(r"^  [\w-]+:\n(?:    .*\n|\n)+", text.partition("\njobs:\n")[2] + "\n", re.MULTILINE)

    assert "\npermissions: {}\n" in text
    assert [job.splitlines()[0] for job in jobs if "\n    permissions:\n" not in job] == []
    assert len(jobs) > 1


def test_what_a_workflow_runs_is_a_session():
    sessions = set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text("utf-8"), re.MULTILINE))
    ran = [
        session
        for workflow in WORKFLOWS
        for session in re.findall(r"nox -s ([a-z_]+)|session: \[(.*)\]", workflow.read_text("utf-8"))
    ]

    names = {name for one, several in ran for name in (several.split(", ") if several else [one])}
    assert {name.partition("-")[0] for name in names} <= sessions
