"""What the command's tests share."""

import pytest

from greenapi_async.simulator import Simulator


@pytest.fixture
def api(monkeypatch):
    """A simulator in a thread of its own, to which the environment points."""
    with Simulator(max_rate=None) as api:
        for name, value in api.env.items():
            monkeypatch.setenv(name, value)
        yield api
