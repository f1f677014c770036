"""The only place of the benchmark that knows the library's insides."""

import httpx

from greenapi_async import AsyncStatusesClient, MemoryStore, Status
from greenapi_async._decoding import page as _page

TOKEN = "0" * 50
SCOPE = "1101000000"


async def decode(body: bytes) -> list[Status]:
    """Return all statuses of an answer."""
    return await _page.read(body) or []


async def decode_new(body: bytes, store: MemoryStore) -> list[Status]:
    """Return the statuses of an answer that the store does not know."""
    page = await _page.scan(body)
    return [] if page is None else await page.statuses(await store.unseen(SCOPE, page.keys))


async def keys(body: bytes) -> list[str]:
    """Return what the statuses of an answer are remembered by."""
    page = await _page.scan(body)
    return [] if page is None else page.keys


def client(
    api_url: str, *, statuses: int = 0, http_client: httpx.AsyncClient | None = None
) -> AsyncStatusesClient:
    """Return a client of the server's instance whose answer has so many statuses."""
    return AsyncStatusesClient(statuses, TOKEN, api_url=api_url, http_client=http_client, max_rate=None)
