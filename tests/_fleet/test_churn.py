"""The script that churns a fleet over real sockets, in its short form."""

import asyncio

import pytest
from churn import QUICK, churn

pytestmark = pytest.mark.long


def test_nothing_is_lost_repeated_or_out_of_order(tmp_path):
    """While tokens are renewed and corrected, and handlers fail."""
    run, wrong = asyncio.run(churn(QUICK, tmp_path / "seen.db"))

    assert wrong == []
    assert run.stumbles == 0
    assert sum(map(len, run.api.posts.values())) > 100
