"""Downloads: whole, once, resumed where they were interrupted."""

import asyncio
import json
import os
import random
import stat
import time
from contextlib import suppress

import anyio
import httpx
import pytest
from clients import client_of
from loopback import connect_proxy, tls_in_front_of, trusting_context
from media_world import JPEG, Seen, Stall, Steady, posted, serve, tree
from process import open_files

from greenapi_async import (
    ClientClosedError,
    ConfigurationError,
    MediaError,
    TransportError,
    from_dict,
    to_dict,
)
from greenapi_async._http import transport
from greenapi_async._media import part as _part
from greenapi_async._polling import backoff as _backoff
from greenapi_async.simulator import Answer, Drip, Refuse, Reset, Simulator, Truncate

pytestmark = pytest.mark.anyio

NOON = 1_763_812_800  # 2025-11-22 12:00 UTC
ID = "3EB0C431C26A1916E07A"
STEM = f"20251122T120000Z_79001234567_{ID}"


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    """Hardly a wait between two tries."""
    monkeypatch.setattr(_backoff, "delay", lambda *_: 0.01)


@pytest.fixture
async def api():
    async with Simulator(max_rate=None) as api:
        yield api


async def interrupted(api, status, directory, fault):
    """Leave a part behind."""
    api.media_faults.append(fault)
    with pytest.raises(TransportError):
        await client_of(api, timeout=0.3).save_media(status, directory, allow_loopback=True)


# What is saved


async def test_file_and_sidecar_are_all_there_is(api, tmp_path):
    """The file is whole and private, the status is beside it, and nothing else is left."""
    status = posted(api, idMessage=ID, timestamp=NOON)

    path = await client_of(api).save_media(status, tmp_path / "new" / "stories", allow_loopback=True)

    assert path == tmp_path / "new" / "stories" / f"{STEM}.jpg"
    assert tree(path.parent).keys() == {f"{STEM}.jpg", f"{STEM}.json"}
    assert path.read_bytes() == JPEG
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert from_dict(json.loads(path.with_suffix(".json").read_bytes())) == status


async def test_file_that_is_there_needs_no_network(api, tmp_path):
    """Whoever saves again, after a restart say, gets the path at once."""
    seen = Seen()
    api.media_faults.extend([seen] * 2)
    status = posted(api)

    paths = [await client_of(api).save_media(status, tmp_path, allow_loopback=True) for _ in range(2)]

    assert paths[0] == paths[1]
    assert len(seen.requests) == 1


async def test_half_an_emoji_does_not_break_the_sidecar(api, tmp_path):
    """The API cuts names anywhere; the sidecar is UTF-8 that every JSON reader takes."""
    status = posted(api, senderName="a\ud83d", sender_contact_name=None)

    path = await client_of(api).save_media(status, tmp_path, allow_loopback=True)

    text = path.with_suffix(".json").read_bytes().decode()
    assert from_dict(json.loads(text)) == status


@pytest.mark.parametrize("kind", ["text", "deleted"])
async def test_status_without_media_is_an_error(api, tmp_path, kind):
    """There is nothing to save."""
    status = from_dict(api.post(kind, of=ID if kind == "deleted" else None))

    with pytest.raises(MediaError, match="nothing to download"):
        await client_of(api).save_media(status, tmp_path, allow_loopback=True)

    assert tree(tmp_path) == {}


async def test_arguments_and_a_closed_client_are_refused(api, tmp_path):
    """As everywhere: a mistake is told before anything is sent."""
    status, closed = posted(api), client_of(api)
    await closed.aclose()

    with pytest.raises(ConfigurationError, match="max_bytes"):
        await client_of(api).save_media(status, tmp_path, max_bytes=0)
    with pytest.raises(ClientClosedError):
        await closed.save_media(status, tmp_path)


async def test_nothing_of_an_injected_client_goes_to_a_media_host(api, tmp_path):
    """Its headers, cookies and credentials are the API's, and so is its transport."""
    seen = Seen()
    api.media_faults.append(seen)
    injected = httpx.AsyncClient(
        headers={"X-Api-Key": "secret"},
        cookies={"session": "secret"},
        auth=("user", "secret"),
        transport=httpx.MockTransport(lambda request: httpx.Response(500)),
    )

    async with injected:
        await client_of(api, http_client=injected).save_media(posted(api), tmp_path, allow_loopback=True)

    [request] = seen.requests
    names = {name.lower() for name, _ in request.headers}
    assert names == {"host", "accept", "accept-encoding", "user-agent"}
    assert request.header("Accept-Encoding") == "identity"
    assert api.requests == []


async def test_https_is_spoken(api, tmp_path, monkeypatch):
    """The usual way: TLS, with a certificate that is checked."""
    status = posted(api)

    async with tls_in_front_of(api) as url:
        item = to_dict(status) | {"downloadUrl": status.download_url.replace(api.url, url)}
        with pytest.raises(TransportError, match="certificate") as caught:
            await client_of(api).save_media(from_dict(item), tmp_path, allow_loopback=True)

        monkeypatch.setattr(transport, "ssl_context", trusting_context)
        path = await client_of(api).save_media(from_dict(item), tmp_path, allow_loopback=True)

    assert not caught.value.retryable
    assert path.read_bytes() == JPEG


async def test_proxy_of_the_environment_is_used(api, tmp_path, monkeypatch):
    """Where only a proxy leads out, downloads go through it too."""
    status = posted(api)
    context = trusting_context()
    context.check_hostname = False
    monkeypatch.setattr(transport, "ssl_context", lambda: context)

    async with connect_proxy(leads_to=httpx.URL(api.url).port) as proxy:
        monkeypatch.setenv("https_proxy", proxy.removeprefix("http://"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        item = to_dict(status) | {
            "downloadUrl": status.download_url.replace(api.url, "https://media.example:443")
        }
        path = await client_of(api).save_media(from_dict(item), tmp_path)

    assert path.read_bytes() == JPEG


async def test_proxy_is_passed_over_where_the_environment_says_so(api, tmp_path, monkeypatch):
    """`NO_PROXY` is minded, and http, which is for this machine, never goes to a proxy."""
    status, client = posted(api), client_of(api)
    monkeypatch.setattr(transport, "ssl_context", trusting_context)
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "localhost")

    async with tls_in_front_of(api) as url:
        item = to_dict(posted(api)) | {"downloadUrl": status.download_url.replace(api.url, url)}
        over_https = await client.save_media(from_dict(item), tmp_path, allow_loopback=True)

    over_http = await client.save_media(status, tmp_path, allow_loopback=True)

    assert over_https.read_bytes() == over_http.read_bytes() == JPEG


async def test_wrong_proxy_is_a_configuration_error(api, tmp_path, monkeypatch):
    """As it is for the API."""
    client = client_of(api)
    monkeypatch.setenv("https_proxy", "gopher://127.0.0.1")
    item = to_dict(posted(api)) | {"downloadUrl": "https://media.example/photo"}

    with pytest.raises(ConfigurationError, match="proxy"):
        await client.save_media(from_dict(item), tmp_path)


# What is interrupted


async def test_interrupted_download_is_resumed(api, tmp_path):
    """The second call asks for the rest only."""
    status, seen = posted(api), Seen()
    await interrupted(api, status, tmp_path, Truncate())
    [part] = tmp_path.glob("*.part")
    size = part.stat().st_size
    api.media_faults.append(seen)

    path = await client_of(api).save_media(status, tmp_path, allow_loopback=True)

    [request] = seen.requests
    assert 0 < size < len(JPEG)
    assert request.header("Range") == f"bytes={size}-"
    assert path.read_bytes() == JPEG
    assert len(tree(tmp_path)) == 2


@pytest.mark.parametrize("fault", [Truncate(0.4), Reset(), Refuse(503), Refuse(429)], ids=str)
async def test_retries_go_on_where_it_stopped(api, tmp_path, fault):
    """`retries` is how often."""
    api.media_faults.append(fault)

    path = await client_of(api, retries=1).save_media(posted(api), tmp_path, allow_loopback=True)

    assert path.read_bytes() == JPEG


@pytest.mark.parametrize("other", [JPEG[:4] + JPEG[:3:-1], JPEG[:4] + b"short"], ids=len)
async def test_file_that_changed_is_not_spliced(api, tmp_path, other):
    """The server has another file by now: that one comes, whole."""
    status = posted(api)
    await interrupted(api, status, tmp_path, Truncate())
    serve(api, status.download_url, other)

    path = await client_of(api).save_media(status, tmp_path, allow_loopback=True)

    assert path.read_bytes() == other


RIGHT = f"bytes {len(JPEG) // 2}-{len(JPEG) - 1}/{len(JPEG)}"


def rest(**headers):
    return Answer(b"x" * 10, headers, 206)


@pytest.mark.parametrize(
    "answer",
    [
        rest(),
        rest(ETag='"other"', **{"Content-Range": RIGHT}),
        rest(**{"Content-Range": RIGHT}),
        rest(**{"Content-Range": f"bytes 0-9/{len(JPEG)}"}),
        rest(**{"Content-Range": "bytes */10"}),
        rest(**{"Content-Range": f"bytes {'9' * 5000}-9/10"}),
        Answer(b"", {}, 416),
    ],
)
async def test_part_of_something_else_is_not_spliced(api, tmp_path, answer):
    """Whatever a server sends for a rest, only the rest of this very file is put to it."""
    status = posted(api)
    await interrupted(api, status, tmp_path, Truncate())
    api.media_faults.append(answer)

    path = await client_of(api, retries=1).save_media(status, tmp_path, allow_loopback=True)

    assert path.read_bytes() == JPEG


async def test_rest_that_lies_about_its_place_is_not_spliced(api, tmp_path):
    """The right ETag, but another place in the file."""
    status, seen = posted(api), Seen()
    await interrupted(api, status, tmp_path, Truncate())
    [etag] = tmp_path.glob("*.etag")
    api.media_faults.extend(
        [rest(ETag=etag.read_text().splitlines()[0], **{"Content-Range": f"bytes 0-9/{len(JPEG)}"}), seen]
    )

    path = await client_of(api, retries=1).save_media(status, tmp_path, allow_loopback=True)

    assert seen.requests[0].header("Range") == ""
    assert path.read_bytes() == JPEG


async def test_rest_that_ends_early_is_not_the_file(api, tmp_path):
    """What it says of its place is right, and its own length is not."""
    status = posted(api)
    await interrupted(api, status, tmp_path, Truncate())
    [etag] = tmp_path.glob("*.etag")
    api.media_faults.append(rest(ETag=etag.read_text().splitlines()[0], **{"Content-Range": RIGHT}))

    with pytest.raises(TransportError, match="truncated"):
        await client_of(api).save_media(status, tmp_path, allow_loopback=True)

    assert not list(tmp_path.glob("*.jpg"))


@pytest.mark.parametrize("etag", [None, 'W/"weak"', "bare", '"a" b"'])
async def test_without_a_strong_etag_it_begins_anew(api, tmp_path, etag):
    """Nothing says that the rest would be of the same file."""
    status, seen = posted(api), Seen()

    class Unmarked(Truncate):
        def answer(self, exchange):
            return Answer(JPEG, {"ETag": etag}).answer(exchange)

    await interrupted(api, status, tmp_path, Unmarked())
    api.media_faults.append(seen)

    path = await client_of(api).save_media(status, tmp_path, allow_loopback=True)

    assert seen.requests[0].header("Range") == ""
    assert path.read_bytes() == JPEG


async def test_cancelled_download_leaves_a_part_and_nothing_open(api, tmp_path):
    """Ctrl-C loses nothing: what came is on disk, sockets and files are closed."""
    status, client = posted(api), client_of(api)
    api.media_faults.append(Stall())
    before = open_files()

    with anyio.move_on_after(0.3) as scope:
        await client.save_media(status, tmp_path, allow_loopback=True)

    [part] = tmp_path.glob("*.part")
    assert scope.cancelled_caught
    assert part.read_bytes() == JPEG[: len(JPEG) // 2]
    await anyio.wait_all_tasks_blocked()
    assert open_files() <= before + 1  # The simulator's end of the connection may still be open.
    assert (await client.save_media(status, tmp_path, allow_loopback=True)).read_bytes() == JPEG


async def test_progress_that_raises_ends_the_download(api, tmp_path):
    """What it raises comes out as it is; the part stays."""

    def enough(received, total):
        raise OSError("enough")

    with pytest.raises(OSError, match="enough"):
        await client_of(api).save_media(posted(api), tmp_path, allow_loopback=True, progress=enough)

    [part] = tmp_path.glob("*.part")
    assert JPEG.startswith(part.read_bytes())


async def test_progress_counts_what_was_there(api, tmp_path):
    """A bar goes on where it stopped, and knows where it ends."""
    status, told = posted(api), []
    await interrupted(api, status, tmp_path, Truncate())

    await client_of(api).save_media(
        status, tmp_path, allow_loopback=True, progress=lambda *numbers: told.append(numbers)
    )

    received = [numbers[0] for numbers in told]
    assert received == sorted(received)
    assert received[0] > len(JPEG) // 2
    assert told[-1] == (len(JPEG), len(JPEG))


async def test_progress_without_a_length_has_no_total(api, tmp_path):
    """A server need not tell it."""
    told = []
    api.media_faults.append(Answer(JPEG, {"Content-Length": None}))

    path = await client_of(api).save_media(
        posted(api), tmp_path, allow_loopback=True, progress=lambda *numbers: told.append(numbers)
    )

    assert path.read_bytes() == JPEG
    assert told[-1] == (len(JPEG), None)


# How long it takes


@pytest.mark.parametrize("fault", [Stall(), Stall(0.0), Drip(0.01)], ids=str)
async def test_silence_and_drip_end(api, tmp_path, fault):
    """Neither silence nor a byte now and then holds a download for ever."""
    api.media_faults.append(fault)

    with anyio.fail_after(3), pytest.raises(TransportError) as caught:
        await client_of(api, timeout=0.3).save_media(posted(api), tmp_path, allow_loopback=True)

    assert (caught.value.timeout, caught.value.retryable) == (True, True)


async def test_slow_and_steady_download_may_take_long(api, tmp_path):
    """`timeout` is for standing still: a large video over a bad line takes its time."""
    api.media_faults.append(Steady(len(JPEG) // 10, every=0.1))

    path = await client_of(api, timeout=0.4).save_media(posted(api), tmp_path, allow_loopback=True)

    assert path.read_bytes() == JPEG


async def test_slow_disk_is_not_held_against_the_server(api, tmp_path, monkeypatch):
    """Only waiting for the network counts."""
    write = _part.PartialFile.write
    monkeypatch.setattr(_part.PartialFile, "write", lambda part, data: time.sleep(0.2) or write(part, data))

    path = await client_of(api, timeout=0.1).save_media(posted(api), tmp_path, allow_loopback=True)

    assert path.read_bytes() == JPEG


# Several at once


async def test_two_tasks_save_one_file(api, tmp_path):
    """The second waits for the first, and asks for nothing."""
    status, seen, paths = posted(api), Seen(), []
    api.media_faults.extend([seen] * 5)
    client = client_of(api)

    async def save():
        paths.append(await client.save_media(status, tmp_path, allow_loopback=True))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(save)

    assert len(seen.requests) == 1
    assert len(set(paths)) == 1
    assert paths[0].read_bytes() == JPEG
    assert len(tree(tmp_path)) == 2


async def test_another_process_is_waited_for(api, tmp_path):
    """A lock on the part goes with its writer: when that dies, another goes on."""
    status, saved = posted(api, idMessage=ID, timestamp=NOON), anyio.Event()
    writer = _part.claim(tmp_path / f"{STEM}.jpg")
    writer.write(b"of another")

    async def save():
        await client_of(api).save_media(status, tmp_path, allow_loopback=True)
        saved.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(save)
        await anyio.sleep(0.3)
        waited = not saved.is_set()
        writer.close()

    assert waited
    assert (tmp_path / f"{STEM}.jpg").read_bytes() == JPEG


def test_part_that_was_taken_away_is_not_written(tmp_path, monkeypatch):
    """Who waits for the lock may get it on a file that is the finished one by now."""
    final = tmp_path / "photo.jpg"
    first = _part.claim(final)
    lock = _part._lock

    def lock_after_the_first(fd):
        first.publish()
        return lock(fd)

    monkeypatch.setattr(_part, "_lock", lock_after_the_first)

    assert _part.claim(final) is None
    assert tree(tmp_path) == {"photo.jpg": b""}


def test_part_of_a_file_that_is_there_is_taken_away(tmp_path):
    """Who begins just when another has finished has nothing to do."""
    final = tmp_path / "photo.jpg"
    final.write_bytes(JPEG)

    assert _part.claim(final) is None
    assert tree(tmp_path) == {"photo.jpg": JPEG}


def test_part_with_two_names_is_not_written(tmp_path):
    """Whoever dies between giving the final name and taking the part away leaves one file with two names."""
    final = tmp_path / "photo.jpg"
    final.write_bytes(JPEG)
    os.link(final, tmp_path / "photo.jpg.part")
    final.rename(tmp_path / "kept.jpg")

    claims = [_part.claim(final) for _ in range(2)]

    assert claims[0] is None
    assert claims[1].size == 0
    claims[1].close()
    assert (tmp_path / "kept.jpg").read_bytes() == JPEG


async def test_second_name_of_a_file_that_is_there_goes(api, tmp_path):
    """A writer was killed right after it gave the final name: the next call is the last that looks there."""
    status = posted(api)
    path = await client_of(api).save_media(status, tmp_path)
    os.link(path, f"{path}.part")
    (tmp_path / f"{path.name}.part.etag").write_text('"a"')

    await client_of(api).save_media(status, tmp_path)

    assert {each.suffix for each in tmp_path.iterdir()} == {".jpg", ".json"}
    assert path.read_bytes() == JPEG


def test_part_that_was_closed_is_left_alone(tmp_path):
    """It may be another's by now."""
    part = _part.claim(tmp_path / "photo.jpg")
    part.close()
    other = _part.claim(tmp_path / "photo.jpg")

    part.discard()

    other.write(JPEG)
    other.publish()
    assert tree(tmp_path) == {"photo.jpg": JPEG}


def test_file_system_without_hard_links_will_do(tmp_path, monkeypatch):
    """A memory card is a likely place for photos, and has FAT."""

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    parts = [_part.claim(tmp_path / name) for name in ("photo.jpg", "other.jpg")]
    (tmp_path / "other.jpg").write_bytes(b"of somebody else")
    for part in parts:
        part.write(JPEG)
        part.publish()
    _part.write_atomically(tmp_path / "photo.json", b"{}")

    assert tree(tmp_path) == {"photo.jpg": JPEG, "photo.json": b"{}", "other.jpg": b"of somebody else"}


async def test_file_whose_end_is_not_told_is_refused(api, tmp_path):
    """Where only the closing of the connection says that it is over, half a photo looks whole."""

    class NoRanges(Truncate):
        def answer(self, exchange):
            return Answer(JPEG).answer(exchange)

    api.media_faults.extend([NoRanges(framing="close"), NoRanges(1.0, framing="close")])
    status = posted(api)

    with pytest.raises(MediaError, match="neither a length nor chunks") as caught:
        await client_of(api).save_media(status, tmp_path, allow_loopback=True)

    assert caught.value.retryable
    path = await client_of(api).save_media(status, tmp_path, allow_loopback=True)
    assert path.read_bytes() == JPEG


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_download_that_asyncio_cancels_can_be_gone_on_with(api, tmp_path):
    """asyncio's own cancellation goes through shields, and a part that stays locked would hold it up for ever."""
    dice = random.Random(5)

    for _ in range(80):
        status = posted(api)
        with suppress(TimeoutError):
            async with asyncio.timeout(dice.uniform(0, 0.02)):
                await client_of(api).save_media(status, tmp_path, allow_loopback=True)

        with anyio.fail_after(5):
            path = await client_of(api, retries=1).save_media(status, tmp_path, allow_loopback=True)
        assert path.read_bytes() == JPEG
