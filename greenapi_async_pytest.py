"""pytest fixtures: a simulator, its variables, and a client for it.

pytest loads this module in every run of every project that has greenapi_async installed. So it is outside the package,
whose import would load httpx, and imports inside the fixtures. PYTEST_DONT_REWRITE
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenapi_async import AsyncStatusesClient
    from greenapi_async.simulator import Simulator

__all__ = ["greenapi_env", "greenapi_simulator", "statuses_client"]


@pytest.fixture
def greenapi_simulator() -> "Iterator[Simulator]":
    """A GREEN-API on loopback without a rate limit: post statuses to it, and add faults."""
    from greenapi_async.simulator import Simulator

    with Simulator(max_rate=None) as api:
        yield api


@pytest.fixture
def greenapi_env(greenapi_simulator: "Simulator", monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables of `greenapi_simulator`, set for the test, so `AsyncStatusesClient.from_env()` uses it."""
    monkeypatch.delenv("GREEN_API_TOKEN_INSTANCE_FILE", raising=False)
    for name, value in greenapi_simulator.env.items():
        monkeypatch.setenv(name, value)

    return greenapi_simulator.env


@pytest.fixture
def statuses_client(greenapi_simulator: "Simulator") -> "AsyncStatusesClient":
    """A client for `greenapi_simulator` without a rate limit, for the test to enter: `async with statuses_client:`."""
    from greenapi_async import AsyncStatusesClient

    api = greenapi_simulator
    return AsyncStatusesClient(api.id_instance, api.token, api_url=api.url, max_rate=None)
