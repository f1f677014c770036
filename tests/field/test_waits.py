"""What a client waits for: it ends within `timeout`, and with the client."""

import time

import anyio
import pytest
from clients import client_of
from media_world import Stall, posted

from greenapi_async import ClientClosedError, GreenApiError
from greenapi_async._media.name import stem
from greenapi_async._media.part import claim
from greenapi_async.simulator import Delay, Fault, Refuse, Simulator

# A connect that is cancelled leaves its socket to the garbage collector, which warns: before anyio 4.16 often.
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.usefixtures("nothing_left_to_collect"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Flood(Fault):
    """Send responses that announce others, without end."""

    async def send(self, wire):
        with anyio.move_on_after(20):
            while True:
                await wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n" * 500)


async def test_flood_of_early_hints_ends_within_the_timeout():
    """Each of them is complete, and none is the response."""
    async with Simulator(max_rate=None) as api, client_of(api, timeout=0.5) as client:
        api.faults.append(Flood())
        began = time.monotonic()
        with pytest.raises(GreenApiError):
            await client.fetch()

        assert time.monotonic() - began < 5
        assert await client.fetch() == []


async def ends_with_the_client(wait, close):
    """Close while somebody waits, and return what that raises."""
    raised = []

    async def waits():
        try:
            await wait()
        except GreenApiError as error:
            raised.append(error)

    with anyio.fail_after(3):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waits)
            await anyio.sleep(0.3)
            assert raised == []
            await close()

    [error] = raised
    return error


@pytest.mark.parametrize(
    "what", ["a response", "its turn", "a retry", "a download", "a part", "the next poll"]
)
async def test_closing_a_client_ends_what_waits(what, tmp_path):
    """A bot that stopped sat there for the rest of the interval, or of the download."""
    async with Simulator(max_rate=None) as api:
        client = client_of(
            api,
            timeout=30.0,
            retries=5 if what == "a retry" else 0,
            max_rate=0.1 if what == "its turn" else None,
        )
        error = await ends_with_the_client(await _wait(what, api, client, tmp_path), client.aclose)

    assert type(error) is ClientClosedError


@pytest.mark.parametrize("what", ["a response", "its turn", "a download", "the next poll"])
async def test_closing_one_of_a_family_ends_its_own_waits_only(what, tmp_path):
    """The others go on over the connections that they share."""
    async with (
        Simulator(max_rate=None) as api,
        client_of(api, timeout=30.0, max_rate=0.5 if what == "its turn" else None) as first,
    ):
        one, other = (first.for_instance(api.id_instance, api.token) for _ in range(2))
        wait = await _wait(what, api, one, tmp_path)
        error = await ends_with_the_client(wait, one.aclose)
        api.faults.clear()

        assert type(error) is ClientClosedError
        await other.fetch()


async def _wait(what, api, client, directory):
    match what:
        case "a response":
            api.faults.append(Delay(60))
            return client.fetch
        case "its turn":
            await client.fetch()
            return client.fetch
        case "a retry":
            api.faults.extend([Refuse(429)] * 9)
            return client.fetch
        case "a download":
            status = posted(api)
            api.media_faults.append(Stall())
            return lambda: client.save_media(status, directory, allow_loopback=True)
        case "a part":
            status = posted(api)
            held = claim(directory / f"{stem(status)}.jpg")
            return lambda held=held: client.save_media(status, directory, allow_loopback=True)
        case "the next poll":
            return lambda: anext(client.poll(3600.0))
