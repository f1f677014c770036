"""Media that is not there at first: an address that comes later, a file that answers 404 for a while."""

import json
import time
from contextlib import AsyncExitStack

import anyio
import attrs
import pytest
from clients import client_of
from media_world import JPEG, Seen, posted, serve, tree

from greenapi_async import MediaError, from_dict, to_dict
from greenapi_async.simulator import Answer, Delay, Refuse, Reset, Simulator

pytestmark = pytest.mark.anyio

MINUTE, HOUR, DAY = 60, 3600, 86_400


@pytest.fixture
async def api():
    async with Simulator(max_rate=None) as api:
        yield api


def early(api, *, late=0.0, **fields):
    """Return a status as the API first shows it, without the address that it has by now."""
    item = api.post("image", late=late, **fields)
    serve(api, item["downloadUrl"], JPEG)
    return from_dict(item | {"downloadUrl": ""})


@pytest.fixture
async def saving():
    """Makes what saves a status, and closes its clients in the end."""
    async with AsyncExitStack() as stack:

        def make(api, directory, **settings):
            client = client_of(api, **settings)
            stack.push_async_callback(client.aclose)
            return lambda status: client.save_media(status, directory, allow_loopback=True)

        yield make


# The address as it is now


async def test_address_that_came_meanwhile_is_used(api, tmp_path, saving):
    """The journal shows a picture before its address, and a poller yields it once: it was never saved."""
    status = early(api)

    path = await saving(api, tmp_path)(status)

    [sidecar] = tmp_path.glob("*.json")
    assert path.read_bytes() == JPEG
    assert from_dict(json.loads(sidecar.read_text())).download_url
    assert len(tree(tmp_path)) == 2
    assert len(api.requests) == 1


@pytest.mark.parametrize("http_code", [403, 404, 410])
async def test_address_that_leads_nowhere_any_more_is_renewed(http_code, api, tmp_path, saving):
    """The links are signed for an hour, say: the API gives another one."""
    item = api.post("image", late=2 * HOUR)
    serve(api, item["downloadUrl"], JPEG)
    old = from_dict(item | {"downloadUrl": f"{api.origin}/media/expired"})
    api.media_faults.append(Refuse(http_code))

    path = await saving(api, tmp_path)(old)

    assert path.read_bytes() == JPEG
    assert json.loads(path.with_suffix(".json").read_text())["downloadUrl"] == item["downloadUrl"]


@pytest.mark.parametrize(("age", "minutes"), [(-HOUR, 10), (0, 10), (90 * MINUTE, 100), (DAY - MINUTE, 1440)])
async def test_request_reaches_back_to_the_status(age, minutes, api, tmp_path, saving):
    """And ten minutes farther, a day at most."""
    await saving(api, tmp_path)(early(api, late=age))

    assert [request.minutes for request in api.requests] == [minutes]


async def test_clock_of_the_client_counts(api, tmp_path, saving):
    """A machine whose clock is wrong has the client's."""
    status = early(api, late=30 * DAY)
    api.faults.append(Answer([to_dict(status) | {"downloadUrl": f"{api.origin}/media/x"}]))
    serve(api, "/x", JPEG)

    await saving(api, tmp_path, clock=lambda: time.time() - 30 * DAY)(status)

    assert [request.minutes for request in api.requests] == [10]


@pytest.mark.parametrize("http_code", [None, 403, 404, 410])
async def test_what_is_older_than_a_day_is_not_asked_for_again(http_code, api, tmp_path, saving):
    """It is gone for good."""
    status = early(api, late=DAY + MINUTE) if http_code is None else posted(api, late=DAY + MINUTE)
    api.media_faults.append(http_code and Refuse(http_code))

    with pytest.raises(MediaError) as caught:
        await saving(api, tmp_path)(status)

    assert (caught.value.retryable, caught.value.http_code) == (False, http_code)
    assert api.requests == []


@pytest.mark.parametrize("http_code", [400, 401, 451, 500])
async def test_other_refusals_ask_for_no_other_address(http_code, api, tmp_path, saving):
    """It would be refused as well, or is told to come back."""
    api.media_faults.append(Answer("", http_code=http_code))

    with pytest.raises(MediaError):
        await saving(api, tmp_path)(posted(api))

    assert api.requests == []


async def test_file_that_is_too_big_for_the_api_is_not_asked_for(api, tmp_path, saving):
    """No address will come."""
    with pytest.raises(MediaError, match="view it on the phone") as caught:
        await saving(api, tmp_path)(posted(api, downloadUrl="{{SWE002}}"))

    assert not caught.value.retryable
    assert api.requests == []


# How often


async def test_one_response_serves_all(api, tmp_path, saving):
    """Of two hundred pictures without an address each would request a day's statuses."""
    statuses = [early(api) for _ in range(30)]
    save = saving(api, tmp_path)

    async with anyio.create_task_group() as tasks:
        for status in statuses:
            tasks.start_soon(save, status)

    assert len(list(tmp_path.glob("*.jpg"))) == 30
    assert len(api.requests) == 1


async def test_few_responses_serve_statuses_of_all_ages(api, tmp_path, saving):
    """A request reaches back to the oldest of those who wait for it, or twice as far as the last one."""
    statuses = [early(api, late=number * 10 * MINUTE) for number in range(30)]
    save = saving(api, tmp_path)

    for status in statuses:
        await save(status)

    assert len(list(tmp_path.glob("*.jpg"))) == 30
    assert [request.minutes for request in api.requests] == [10, 20, 40, 80, 160, 320]


async def test_response_is_shared_for_a_minute(api, tmp_path, monkeypatch, saving):
    """Then another one is requested."""
    save, status = saving(api, tmp_path), from_dict(api.post("image", downloadUrl=""))

    for _ in range(2):
        with pytest.raises(MediaError):
            await save(status)
    now = anyio.current_time
    monkeypatch.setattr("anyio.current_time", lambda: now() + 61)
    with pytest.raises(MediaError):
        await save(status)

    assert len(api.requests) == 2


async def test_response_that_reaches_less_far_is_not_shared(api, tmp_path, saving):
    """An older status is not in it."""
    save = saving(api, tmp_path)

    await save(early(api))
    await save(early(api, late=2 * HOUR))

    assert [request.minutes for request in api.requests] == [10, 130]


async def test_one_call_requests_once(api, tmp_path, saving):
    """However often it tries: what the API does not have it does not have a second later."""
    api.media_faults.extend([Refuse(404)] * 5)

    with anyio.fail_after(15), pytest.raises(MediaError) as caught:
        await saving(api, tmp_path, retries=1)(posted(api, late=2 * HOUR))

    assert caught.value.http_code == 404
    assert len(api.requests) == 1


async def test_no_address_is_told_at_once(api, tmp_path, saving):
    """A watch that tried again on the spot would stand still for seconds at each picture."""
    began = anyio.current_time()

    with pytest.raises(MediaError, match="no download URL") as caught:
        await saving(api, tmp_path, retries=5)(from_dict(api.post("image", downloadUrl="")))

    assert caught.value.retryable
    assert anyio.current_time() - began < 3


# When that fails, too


@pytest.mark.parametrize("fault", [Refuse(401), Refuse(503), Reset(), Answer("<html>"), Answer([])], ids=str)
async def test_first_error_is_told_where_no_address_comes(fault, api, tmp_path, saving):
    """That the picture is missing is what matters to whoever saves it."""
    status = posted(api, late=HOUR)
    api.media_faults.append(Refuse(410))
    api.faults.append(fault)

    with pytest.raises(MediaError) as caught:
        await saving(api, tmp_path)(status)

    assert (caught.value.http_code, caught.value.retryable) == (410, False)


async def test_failure_is_not_shared_for_a_minute(api, tmp_path, saving):
    """The next call may have more luck."""
    status, save = early(api), saving(api, tmp_path)
    api.faults.append(Refuse(503))

    with pytest.raises(MediaError):
        await save(status)

    assert (await save(status)).read_bytes() == JPEG


async def test_failure_is_shared_by_those_who_wait(api, tmp_path, saving):
    """Each would wait for an API that hangs, one after the other."""
    statuses, save = [early(api) for _ in range(20)], saving(api, tmp_path, timeout=1.0)
    api.faults.extend([Delay(60)] * 20)

    async def fails(status):
        with pytest.raises(MediaError):
            await save(status)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for status in statuses:
                tasks.start_soon(fails, status)

    assert len(api.requests) == 1


@pytest.mark.parametrize("age", [0, 9 * MINUTE, 11 * MINUTE])
@pytest.mark.parametrize("http_code", [None, 403, 404, 410])
async def test_what_is_younger_than_ten_minutes_may_still_come(http_code, age, api, tmp_path, saving):
    """The error says so; older ones are told to be gone."""
    status = from_dict(api.post("image", late=age, **({} if http_code else {"downloadUrl": ""})))
    api.media_faults.extend([http_code and Refuse(http_code)] * 2)

    with pytest.raises(MediaError) as caught:
        await saving(api, tmp_path)(status)

    assert (caught.value.http_code, caught.value.retryable) == (http_code, age < 10 * MINUTE)


async def test_file_that_comes_a_second_later_is_there_within_one_call(api, tmp_path, saving):
    """`retries` is for that, too."""
    item = api.post("image", file_after=1.0)
    serve(api, item["downloadUrl"], JPEG)

    path = await saving(api, tmp_path, retries=6)(from_dict(item))

    assert path.read_bytes() == JPEG


async def test_file_that_is_there_needs_no_address(api, tmp_path, saving):
    """Whoever has the status as it first came gets the path at once."""
    status, save = early(api), saving(api, tmp_path)
    path = await save(status)

    assert await save(status) == path
    assert len(api.requests) == 1


async def test_type_that_comes_with_the_address_counts(api, tmp_path, saving):
    """Until then the file would be called a JPEG."""
    item = api.post("image", mimeType="image/png")
    png = b"\x89PNG\r\n\x1a\n" + bytes(100)
    serve(api, item["downloadUrl"], png)
    bare = {name: value for name, value in item.items() if name not in {"mimeType", "downloadUrl"}}

    path = await saving(api, tmp_path)(from_dict(bare))

    assert path.suffix == ".png"
    assert path.read_bytes() == png
    assert json.loads(path.with_suffix(".json").read_text())["mimeType"] == "image/png"


async def test_client_that_is_closed_meanwhile_says_so(api, tmp_path):
    """It is not the picture's fault."""
    from greenapi_async import ClientClosedError

    status, client = early(api), client_of(api)
    api.faults.append(Delay(60))

    async def close():
        while not api.requests:
            await anyio.sleep(0.01)
        await client.aclose()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(close)
        with anyio.fail_after(5), pytest.raises(ClientClosedError):
            await client.save_media(status, tmp_path, allow_loopback=True)


async def test_media_host_does_not_get_the_token_with_a_new_address(api, tmp_path, saving):
    """The request for it goes to the API, and nothing of it to where it leads."""
    seen = Seen()
    api.media_faults.append(seen)

    await saving(api, tmp_path)(early(api))

    assert api.token not in repr(seen.requests)


async def test_deletion_with_the_same_id_is_not_the_status(api, tmp_path, saving):
    """It has a key of its own."""
    status = from_dict(api.post("image", downloadUrl=""))
    api.post("deleted", of=status.id_message)

    with pytest.raises(MediaError, match="no download URL"):
        await saving(api, tmp_path)(status)


async def test_status_that_comes_back_worse_replaces_nothing(api, tmp_path, saving):
    """What was saved stays, if the API has lost the address."""
    status = posted(api, late=HOUR)
    api.media_faults.append(Refuse(404))
    api.faults.append(Answer([to_dict(attrs.evolve(status, download_url=None))]))

    with pytest.raises(MediaError):
        await saving(api, tmp_path)(status)

    [sidecar] = tmp_path.glob("*.json")
    assert from_dict(json.loads(sidecar.read_text())) == status
