"""Media on this machine: only from where the API is, too."""

import pytest
from clients import client_of
from media_world import JPEG, Seen, posted, tree

from greenapi_async import MediaError, from_dict, to_dict
from greenapi_async.simulator import Simulator

pytestmark = pytest.mark.anyio


async def test_recipe_saves_from_a_simulator(tmp_path):
    """The guide's own lines saved nothing there, and the tests of the documents hid it."""
    async with Simulator(max_rate=None) as api, client_of(api) as client:
        path = await client.save_media(posted(api), tmp_path)

    assert path.read_bytes() == JPEG


async def test_path_of_the_api_does_not_matter(tmp_path):
    """Scheme, host and port do."""
    async with Simulator(max_rate=None, base_path="/v3") as api, client_of(api) as client:
        path = await client.save_media(posted(api), tmp_path)

    assert path.read_bytes() == JPEG


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "[::ffff:127.0.0.1]", "LOCALHOST"])
async def test_other_name_of_this_machine_is_another_origin(host, tmp_path):
    """It may be another server, at the same port."""
    seen = Seen()
    async with Simulator(max_rate=None) as api, client_of(api) as client:
        api.media_faults.append(seen)
        item = to_dict(posted(api))
        item["downloadUrl"] = item["downloadUrl"].replace("127.0.0.1", host)

        with pytest.raises(MediaError):
            await client.save_media(from_dict(item), tmp_path)

    assert seen.requests == []


async def test_other_port_is_another_origin(tmp_path):
    """What else runs on this machine is none of a stranger's business, unless it is allowed."""
    seen = Seen()
    async with Simulator(max_rate=None) as api, Simulator(max_rate=None) as other, client_of(api) as client:
        other.media_faults.append(seen)
        status = posted(other)

        with pytest.raises(MediaError):
            await client.save_media(status, tmp_path)
        assert seen.requests == []

        path = await client.save_media(status, tmp_path, allow_loopback=True)

    assert path.read_bytes() == JPEG


async def test_other_scheme_is_another_origin(tmp_path):
    """Not a byte of TLS goes there."""
    async with Simulator(max_rate=None) as api, client_of(api) as client:
        item = to_dict(posted(api))
        item["downloadUrl"] = item["downloadUrl"].replace("http:", "https:")

        with pytest.raises(MediaError, match="not public"):
            await client.save_media(from_dict(item), tmp_path)


async def test_api_of_the_internet_leads_to_no_loopback(tmp_path):
    """A status of the real API never says where on this machine to look."""
    async with (
        Simulator(max_rate=None) as api,
        client_of(api, api_url="https://1101.api.green-api.com") as client,
    ):
        with pytest.raises(MediaError):
            await client.save_media(posted(api), tmp_path)

    assert {name.rpartition(".")[2] for name in tree(tmp_path)} == {"json"}


async def test_client_of_another_instance_has_its_own_origin(tmp_path):
    """`for_instance` may lead elsewhere."""
    async with Simulator(max_rate=None) as api, Simulator(max_rate=None) as other, client_of(api) as client:
        second = client.for_instance(other.id_instance, other.token, api_url=other.url)

        path = await second.save_media(posted(other), tmp_path)
        with pytest.raises(MediaError):
            await second.save_media(posted(api), tmp_path)

    assert path.read_bytes() == JPEG
