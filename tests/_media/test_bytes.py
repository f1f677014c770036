"""A status' file in memory: the guards of a saved one, and nothing on disk."""

import anyio
import pytest
from clients import client_of
from media_world import JPEG, Seen, Stall, posted, serve, tree

from greenapi_async import ClientClosedError, ConfigurationError, MediaError, TransportError, from_dict
from greenapi_async.simulator import Answer, Endless, Refuse, Simulator, Spoil, Truncate

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path, monkeypatch):
    """A simulator, in a directory where nothing may be written."""
    monkeypatch.chdir(tmp_path)
    async with Simulator(max_rate=None) as api:
        yield api
    assert tree(tmp_path) == {}


async def test_file_comes_as_bytes(api):
    """Whole, as it is."""
    assert await client_of(api).media_bytes(posted(api)) == JPEG


@pytest.mark.parametrize("framing", ["length", "chunked", "close", "rechunked"])
async def test_rest_of_a_cut_file_is_requested(framing, api):
    """In whatever way it was cut: what came does not come again."""
    seen = Seen()
    api.media_faults.extend([Truncate(framing=framing), seen])

    assert await client_of(api, retries=1).media_bytes(posted(api)) == JPEG
    assert seen.requests[0].header("Range") == f"bytes={len(JPEG) // 2}-"


async def test_address_that_comes_later_is_used(api):
    """As for a file."""
    item = api.post("image")
    serve(api, item["downloadUrl"], JPEG)

    async with client_of(api) as client:
        assert await client.media_bytes(from_dict(item | {"downloadUrl": ""})) == JPEG


@pytest.mark.parametrize("fault", [None, Endless(), Answer(JPEG, {"Content-Length": None})], ids=str)
async def test_bound_is_kept(fault, api):
    """Memory is scarcer than disks."""
    api.media_faults.append(fault)

    with anyio.fail_after(5), pytest.raises(MediaError, match="larger than 1000 bytes"):
        await client_of(api).media_bytes(posted(api), max_bytes=1000)


@pytest.mark.parametrize("content", [b"<html>Sorry</html>", b"", b"MZ\x90\0"])
async def test_what_contradicts_is_refused(content, api):
    """An error page is no photo in memory either."""
    with pytest.raises(MediaError, match="unexpected file content"):
        await client_of(api).media_bytes(posted(api, content))


async def test_packed_file_is_refused(api):
    """It was not asked for."""
    api.media_faults.append(Spoil({"Content-Encoding": "br"}))

    with pytest.raises(MediaError, match="compressed"):
        await client_of(api).media_bytes(posted(api))


async def test_this_machine_is_refused_but_for_the_api_s_own_port(api):
    """As for a file."""
    async with Simulator(max_rate=None) as other:
        status = posted(other)

        with pytest.raises(MediaError):
            await client_of(api).media_bytes(status)
        assert await client_of(api).media_bytes(status, allow_loopback=True) == JPEG


async def test_silence_ends(api):
    """`timeout` is how long it may stand still."""
    api.media_faults.append(Stall())

    with anyio.fail_after(5), pytest.raises(TransportError):
        await client_of(api, timeout=0.3).media_bytes(posted(api))


@pytest.mark.parametrize("kind", ["text", "deleted"])
async def test_status_without_media_is_an_error(kind, api):
    """There is nothing to download."""
    status = from_dict(api.post(kind, of="A1" if kind == "deleted" else None))

    with pytest.raises(MediaError, match="nothing to download"):
        await client_of(api).media_bytes(status)


async def test_refusal_is_told(api):
    """With its code."""
    api.media_faults.append(Refuse(404))

    with pytest.raises(MediaError) as caught:
        await client_of(api).media_bytes(posted(api, late=2 * 86_400))

    assert (caught.value.http_code, caught.value.retryable) == (404, False)


async def test_arguments_and_a_closed_client_are_refused(api):
    """A mistake is told before anything is sent."""
    status, closed = posted(api), client_of(api)
    await closed.aclose()

    with pytest.raises(ConfigurationError, match="max_bytes"):
        await client_of(api).media_bytes(status, max_bytes=0)
    with pytest.raises(ClientClosedError):
        await closed.media_bytes(status)
