"""The only file of the benchmark that uses the library's internals."""

import httpx

from greenapi_async import AsyncStatusesClient, MemoryStore, Status
from greenapi_async._api.refusals import array_in
from greenapi_async._decoding.page import read, scan

TOKEN = "0" * 50
SCOPE = "1101000000"


async def decode(body: bytes) -> list[Status]:
    """Return all statuses in a response."""
    array = array_in(body)
    return [] if array is None else await read(array)


async def decode_new(body: bytes, store: MemoryStore) -> list[Status]:
    """Return the statuses in a response that the store does not know."""
    array = array_in(body)
    if array is None:
        return []

    page = await scan(array)
    return await page.statuses(await store.unseen(SCOPE, page.keys))


async def keys(body: bytes) -> list[str]:
    """Return the keys by which the statuses in a response are remembered."""
    array = array_in(body)
    return [] if array is None else (await scan(array)).keys


def client(
    api_url: str, *, statuses: int = 0, http_client: httpx.AsyncClient | None = None, timeout: float = 60.0
) -> AsyncStatusesClient:
    """Return a client for the server's instance whose response has that many statuses."""
    return AsyncStatusesClient(
        statuses, TOKEN, api_url=api_url, http_client=http_client, timeout=timeout, max_rate=None
    )
