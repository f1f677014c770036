"""SECURITY.md and the page on security promise nothing that no test holds."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [
    line
    for page in ("SECURITY.md", "docs/en/security.md")
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| threat"))
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_each_threat_names_a_test_that_exists(row):
    """Whoever renames or removes one has to say what holds the promise now."""
    file, name = re.fullmatch(r"`(tests/(?:\w+/)?\w+\.py)::(test_\w+)`", row.split("|")[3].strip()).groups()

    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))

    assert name in {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_no_threat_was_missed():
    """The rows are found where they are."""
    assert len(ROWS) > 50
