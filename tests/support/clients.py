"""Clients as most tests want them: they send once, wait for nobody, and talk to a fake API or to a simulator."""

import httpx
import pytest
from fake_api import HOST, ID, TOKEN, FakeApi

from greenapi_async import AsyncStatusesClient, GreenApiError


def client(api=None, **settings):
    """A client of a fake API, or else with its own connections."""
    usual = {"api_url": HOST, "max_rate": None, "retries": 0}
    if api is not None:
        usual["http_client"] = injected(api)

    return AsyncStatusesClient(ID, TOKEN, **usual | settings)


def client_of(simulator, **settings):
    """A client of a simulator, over real sockets of its own."""
    usual = {
        "id_instance": simulator.id_instance,
        "api_token_instance": simulator.token,
        "api_url": simulator.url,
        "max_rate": None,
        "retries": 0,
    }
    return AsyncStatusesClient(**usual | settings)


def injected(api=None, **arguments):
    """An httpx client of a fake API, by default of one that has no statuses."""
    return httpx.AsyncClient(transport=httpx.MockTransport(api or FakeApi()), **arguments)


async def failure_of(client, minutes=None):
    """Fetch, and return the error that comes instead of statuses."""
    async with client:
        with pytest.raises(GreenApiError) as caught:
            await client.fetch(minutes)

    return caught.value
