"""Downloads against a hostile world: strangers choose the address, the names and the bytes."""

import logging
import os
import socket
import traceback
from contextlib import asynccontextmanager, contextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute
from clients import client_of
from hypothesis import given
from hypothesis import strategies as st
from media_world import JPEG, Raw, Seen, Stall, files_no_larger_than, posted, serve, tree

from greenapi_async import (
    AudioStatus,
    ImageStatus,
    MediaError,
    TransportError,
    VideoStatus,
    from_dict,
    to_dict,
)
from greenapi_async._http.address import is_loopback, is_public
from greenapi_async._media import download as _media_http
from greenapi_async._media import filetype as _media_type
from greenapi_async._media import name as _media_name
from greenapi_async._media.attachment import attachment
from greenapi_async.simulator import Answer, Bomb, Endless, Refuse, Simulator

NOON = 1_763_812_800
STEM = "20251122T120000Z_79001234567_A1"
NAMES = [
    "../../etc/cron.d/x",
    "..\\..\\x",
    "/etc/passwd",
    "C:\\Windows\\x",
    "a\x00b",
    "CON",
    "nul.jpg",
    "aux",
    "COM1",
    ".htaccess",
    "-rf",
    "gpj.\u202eexe",
    "a" * 4000,
    "ж" * 4000,
    "\ud83d",
    "a\nb",
    "~root",
    "$(reboot)",
    "%2e%2e%2fx",
    "",
]


@pytest.fixture
def inside(tmp_path):
    """The directory to save in, and around it what must stay as it is."""
    (tmp_path / "outside").write_bytes(b"outside")
    (tmp_path / "inside").mkdir()
    yield tmp_path / "inside"
    assert {name for name in tree(tmp_path) if not name.startswith("inside/")} == {"outside"}
    assert (tmp_path / "outside").read_bytes() == b"outside"


@asynccontextmanager
async def listener(heard, host="127.0.0.1"):
    """Somebody on this machine who must not hear a byte; yields the port."""

    async def hear(stream):
        async with stream:
            heard.append(b"")
            with anyio.move_on_after(1):
                async for chunk in stream:
                    heard.append(chunk)

    async with (
        await anyio.create_tcp_listener(local_host=host) as server,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(server.serve, hear)
        yield server.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


@contextmanager
def only_the_sidecar(directory, *, retryable=False):
    """Refuse, and leave nothing that could be taken for the file."""
    with pytest.raises(MediaError) as caught:
        yield caught

    assert caught.value.retryable == retryable
    assert {name.rpartition(".")[2] for name in tree(directory)} <= {"json"}


def image(**fields):
    usual = {"id_message": "A1", "timestamp": NOON, "chat_id": "79001234567@c.us"}
    return ImageStatus(**usual | {"mime_type": "image/jpeg"} | fields)


# Names


@pytest.mark.anyio
@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:20])
async def test_names_of_strangers_lead_nowhere(inside, name):
    """Ids, file names and types are data: what is written lies in the directory, under a name of ours."""
    async with Simulator(max_rate=None) as api:
        hostile = {"idMessage": name or "x", "senderId": name, "fileName": name, "mimeType": name}
        status = posted(api, **hostile)

        path = await client_of(api).save_media(status, inside, allow_loopback=True)

    assert path.parent == inside
    assert path.read_bytes() == JPEG
    assert_harmless(path.name)
    assert len(tree(inside)) == 2


def assert_harmless(name):
    assert name.isascii()
    assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
    assert name[0].isdigit()
    assert len(f"{name}.part.etag") < 200
    assert ".." not in name


_IDS = st.one_of(
    st.text(max_size=100),
    st.text("aA", min_size=1, max_size=3),
    st.sampled_from(NAMES),
    st.from_regex(r"\A[0-9]{1,5}(@(c\.us|lid))?\Z"),
    st.text("A", min_size=30, max_size=70),
)


@given(st.lists(st.tuples(_IDS, _IDS), min_size=2, max_size=8))
def test_no_two_statuses_get_one_name(identities):
    """Whatever the ids are: the name is harmless and its own, where the file system ignores case too."""
    stems = {
        (sender, key): _media_name.stem(image(id_message=key, chat_id="1@c.us", sender_id=sender or None))
        for sender, key in identities
    }

    for stem in stems.values():
        assert_harmless(f"{stem}.jpeg")
    distinct = {(sender or "1@c.us", key) for sender, key in stems}
    assert len({stem.lower() for stem in stems.values()}) == len(distinct)


@pytest.mark.parametrize(
    ("sender", "key"), [("79001234567@c.us", "a1"), ("79001234567@lid", "A1"), ("79001234567", "A1")]
)
def test_what_is_not_quite_plain_has_a_name_of_its_own(sender, key):
    """A lower-case id, a LID with a phone number's digits, and a bare number are not the plain contact."""
    assert _media_name.stem(image()) == STEM
    assert _media_name.stem(image(chat_id=sender, id_message=key)).lower() != STEM.lower()


@pytest.mark.anyio
@pytest.mark.parametrize("end", [".jpg", ".jpg.part", ".jpg.part.etag", ".json"])
async def test_symlink_is_not_followed(inside, end):
    """Somebody who may write into the directory cannot lead us out of it."""
    (inside / f"{STEM}{end}").symlink_to("../outside")

    async with Simulator(max_rate=None) as api:
        with pytest.raises(MediaError, match="cannot save to"):
            await client_of(api).save_media(
                posted(api, idMessage="A1", timestamp=NOON), inside, allow_loopback=True
            )

    assert not (inside / f"{STEM}.jpg").is_file() or end == ".jpg"


@pytest.mark.anyio
@pytest.mark.parametrize("end", [".jpg", ".jpg.part"])
async def test_pipe_is_not_written(inside, end):
    """Nor a device: only a file that is ours."""
    os.mkfifo(inside / f"{STEM}{end}")

    async with Simulator(max_rate=None) as api:
        with anyio.fail_after(3), pytest.raises(MediaError, match="not a regular file"):
            await client_of(api).save_media(
                posted(api, idMessage="A1", timestamp=NOON), inside, allow_loopback=True
            )


@pytest.mark.anyio
async def test_file_of_somebody_else_is_not_overwritten(inside):
    """What gets the final name while we download keeps it."""

    class Meanwhile(Seen):
        def answer(self, exchange):
            (inside / f"{STEM}.jpg").write_bytes(b"of somebody else")
            return exchange.regular

    async with Simulator(max_rate=None) as api:
        api.media_faults.append(Meanwhile())
        path = await client_of(api).save_media(
            posted(api, idMessage="A1", timestamp=NOON), inside, allow_loopback=True
        )

    assert path.read_bytes() == b"of somebody else"
    assert tree(inside).keys() == {f"{STEM}.jpg", f"{STEM}.json"}


# Addresses


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.9.10", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *(
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fe80::1%eth0",
        ),
        *("fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "100::1", "2001:db8::1", "2001::1", "3fff::1"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "2002:7f00:1::1", "2002:a00:1::"),
        *("2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "", "8.8.8.8.example"),
    ],
)
def test_address_that_is_not_on_the_internet(address):
    """Private, special and made-up addresses, and IPv4 ones that hide in IPv6."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_address_on_the_internet(address):
    """Networks with IPv6 alone reach IPv4 hosts through NAT64."""
    assert is_public(address)
    assert not is_loopback(address)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "url",
    [
        *("http://media.example/x", "file:///etc/passwd", "ftp://media.example/x", "gopher://x/", "//x/y"),
        *("data:image/jpeg;base64,AAAA", "javascript:alert(1)", "/etc/passwd", "https://", "https:///x", "x"),
        *(
            "https://user:secret@media.example/x",
            "https://127.0.0.1:99999/x",
            "https://xn--/x",
            "https://media.example\r\nX: y/",
            "https://[::1",
            "https://a:b",
        ),
        "https://0177.0.0.1/x",
    ],
)
async def test_what_is_no_https_address_is_refused(inside, url):
    """Nothing but https, without a name and a password."""
    async with Simulator() as api:
        status = image(download_url=url)
        with only_the_sidecar(inside):
            await client_of(api).save_media(status, inside)


@pytest.mark.anyio
@pytest.mark.parametrize("marker", ["{{SWE002}}", "{{SWE001}}", "", None])
async def test_marker_in_place_of_an_address_is_told(inside, marker):
    """The API has no file, and says so in its way."""
    async with Simulator() as api:
        with only_the_sidecar(inside) as caught:
            await client_of(api).save_media(image(download_url=marker), inside)

    assert ("too big" in str(caught.value)) == (marker == "{{SWE002}}")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "localhost.", "0.0.0.0", "127.1", "2130706433", "0x7f.1", "0x7f000001"],
)
async def test_this_machine_hears_nothing(inside, host):
    """However its address is written: not a byte, of TLS neither. Not every system knows every notation."""
    heard = []

    async with Simulator() as api, listener(heard) as port:
        with pytest.raises((MediaError, TransportError), match=r"not public|ConnectError"):
            await client_of(api).save_media(image(download_url=f"https://{host}:{port}/x"), inside)

    assert b"".join(heard) == b""
    assert tree(inside).keys() == {f"{STEM}.json"}
    assert api.requests == []


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"])
async def test_this_machine_hears_nothing_over_ipv6(inside, host):
    """The IPv4 address in an IPv6 one counts."""
    heard = []

    async with Simulator() as api, listener(heard, "::1" if host == "[::1]" else "127.0.0.1") as port:
        with only_the_sidecar(inside):
            await client_of(api).save_media(image(download_url=f"https://{host}:{port}/x"), inside)

    assert b"".join(heard) == b""


@pytest.mark.anyio
async def test_address_that_changes_after_the_look_up_gains_nothing(inside, monkeypatch):
    """The connected socket is judged: it does not help to answer with a public address at first."""
    heard, answers = [], iter(["93.184.215.14", *["127.0.0.1"] * 9])

    def rebinding(host, port, *_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    async with Simulator() as api, listener(heard) as port:
        [(*_, looked_up)] = rebinding("media.example", port)
        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        with only_the_sidecar(inside):
            await client_of(api).save_media(image(download_url=f"https://media.example:{port}/x"), inside)

    assert is_public(looked_up[0])
    assert heard == [b""]  # A connection, and nothing over it.


@pytest.mark.anyio
async def test_connection_that_is_lost_at_once_may_heal(inside, monkeypatch):
    """Nobody knows then where it led, and nothing was sent."""
    monkeypatch.setattr("greenapi_async._http.network.Stream.get_extra_info", lambda *_: None)

    async with Simulator(max_rate=None) as api:
        with pytest.raises(TransportError, match="lost") as caught:
            await client_of(api).save_media(posted(api), inside, allow_loopback=True)

    assert caught.value.retryable


@pytest.mark.anyio
async def test_http_is_for_this_machine_alone(inside, monkeypatch):
    """With `allow_loopback` an http address that leads to the Internet is still refused."""
    monkeypatch.setattr(_media_http, "is_loopback", lambda _: False)
    monkeypatch.setattr(_media_http, "is_public", lambda _: True)

    async with Simulator(max_rate=None) as api:
        with only_the_sidecar(inside) as caught:
            await client_of(api).save_media(posted(api), inside, allow_loopback=True)

    assert "not public" in str(caught.value)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "169.254.169.254", "[::1]", "2130706433", "0x7f000001", "0x7f.1", "127.1", "1.0177"),
        *("localhost", "LOCALHOST.", "a.localhost"),
    ],
)
async def test_proxy_is_not_asked_for_a_private_address(inside, monkeypatch, host):
    """It would reach what we must not."""
    heard = []

    async with Simulator() as api, listener(heard) as port:
        client = client_of(api)
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "")
        with only_the_sidecar(inside):
            await client.save_media(image(download_url=f"https://{host}/x"), inside)

    assert heard == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("http://127.0.0.1/secret", "127.0.0.1"),
        ("http://169.254.169.254/secret", "169.254.169.254"),
        ("file:///etc/secret", "elsewhere"),
        ("https://user:secret@media.example/secret", "media.example"),
        ("", "elsewhere"),
    ],
)
async def test_redirect_is_not_followed(inside, location, host):
    """The error names the host, and nothing else of where it leads."""
    async with Simulator(max_rate=None) as api:
        api.media_faults.extend([Answer("", {"Location": location}, 302), Seen()])
        with only_the_sidecar(inside) as caught:
            await client_of(api, retries=1).save_media(posted(api), inside, allow_loopback=True)

    assert str(caught.value) == f"the download was redirected to {host}"
    assert caught.value.http_code == 302
    assert len(api.media_faults) == 1


# Bytes


@pytest.mark.anyio
@pytest.mark.parametrize("http_code", [400, 401, 403, 404, 407, 410, 451])
async def test_refusal_that_time_does_not_heal(inside, http_code):
    """The link has expired, say: told once, not tried again."""
    async with Simulator(max_rate=None) as api:
        api.media_faults.extend([Refuse(http_code), Seen()])
        status = posted(api, timestamp=NOON)
        with only_the_sidecar(inside) as caught:
            await client_of(api, retries=1).save_media(status, inside, allow_loopback=True)

    assert caught.value.http_code == http_code
    assert len(api.media_faults) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("http_code", [408, 421, 425, 429, 499, 500, 502, 503, 504])
async def test_refusal_that_time_heals(inside, http_code):
    """A caller may come back later."""
    async with Simulator(max_rate=None) as api:
        api.media_faults.append(Answer("", http_code=http_code))
        with pytest.raises(MediaError) as caught:
            await client_of(api).save_media(posted(api), inside, allow_loopback=True)

    assert (caught.value.http_code, caught.value.retryable) == (http_code, True)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fault", [Endless(), Bomb(2**20), None, Answer(JPEG, {"Content-Length": None})], ids=str
)
async def test_body_larger_than_the_bound_is_refused(inside, fault):
    """Endless, packed or honest about it."""
    async with Simulator(max_rate=None) as api:
        api.media_faults.append(fault)
        with anyio.fail_after(5), only_the_sidecar(inside):
            await client_of(api).save_media(posted(api), inside, allow_loopback=True, max_bytes=100_000)


@pytest.mark.anyio
async def test_size_that_is_told_is_believed_before_a_byte_comes(inside):
    """A gigabyte is not begun."""
    told = []

    async with Simulator(max_rate=None) as api:
        api.media_faults.append(Answer(JPEG, {"Content-Length": str(2**30)}))
        with only_the_sidecar(inside):
            await client_of(api).save_media(
                posted(api), inside, allow_loopback=True, progress=lambda *numbers: told.append(numbers)
            )

    assert told == []


@pytest.mark.anyio
async def test_body_larger_than_its_length_is_cut_there(inside):
    """What follows is no part of the answer."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(JPEG)

    async with Simulator(max_rate=None) as api:
        api.media_faults.append(Raw(head + JPEG + b"and more"))
        path = await client_of(api).save_media(posted(api), inside, allow_loopback=True)

    assert path.read_bytes() == JPEG


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 8\r\n\r\n", b"\0" * 99, b"<html>"],
)
async def test_answer_that_is_no_http_is_a_transport_error(inside, answer):
    """Whatever comes over a connection, an error of ours tells of it."""
    async with Simulator(max_rate=None) as api:
        api.media_faults.append(Raw(answer))
        with pytest.raises(TransportError):
            await client_of(api).save_media(posted(api), inside, allow_loopback=True)

    assert not list(inside.glob("*.jpg"))


@pytest.mark.anyio
async def test_packed_error_page_is_an_error_page(inside):
    """Its code says whether time heals it."""
    async with Simulator(max_rate=None) as api:
        api.media_faults.append(Answer("", {"Content-Encoding": "br"}, 503))
        with pytest.raises(MediaError) as caught:
            await client_of(api).save_media(posted(api), inside, allow_loopback=True)

    assert (caught.value.http_code, caught.value.retryable) == (503, True)


@pytest.mark.anyio
async def test_packed_file_is_refused(inside):
    """It was not asked for, and could be a bomb."""
    async with Simulator(max_rate=None) as api:
        api.media_faults.append(Answer(JPEG, {"Content-Encoding": "br"}))
        with only_the_sidecar(inside):
            await client_of(api).save_media(posted(api), inside, allow_loopback=True)


BODIES = {
    "page": b"<!DOCTYPE html><html>Sorry</html>",
    "XML": b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>',
    "JSON": b'{"error": "gone"}',
    "text": "Файл не найден".encode(),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "script": b"#!/bin/sh\nreboot\n",
    "program": b"MZ\x90\x00\x03\x00\x00\x00",
    "ELF": b"\x7fELF\x02\x01\x01\x00",
    "zip": b"PK\x03\x04\x14\x00",
    "PDF": b"%PDF-1.7\n%\xe2\xe3",
    "nothing": b"",
}
GENUINE = {
    "image/jpeg": b"\xff\xd8\xff\xe0",
    "image/png": b"\x89PNG\r\n\x1a\n\0",
    "image/gif": b"GIF89a",
    "image/webp": b"RIFF\x24\0\0\0WEBPVP8 ",
    "image/heic": b"\0\0\0\x18ftypheic",
    "video/mp4": b"\0\0\0\x18ftypmp42",
    "video/3gpp": b"\0\0\0\x18ftyp3gp4",
    "video/quicktime": b"\0\0\0\x14ftypqt  ",
    "video/webm": b"\x1aE\xdf\xa3\x01",
    "audio/ogg; codecs=opus": b"OggS\0\x02",
    "audio/mpeg": b"ID3\x03\0",
    "audio/mp4": b"\0\0\0\x1cftypM4A ",
    "audio/aac": b"\xff\xf1\x50\x80",
    "audio/amr": b"#!AMR\n",
    "audio/wav": b"RIFF\x24\0\0\0WAVEfmt ",
    "application/pdf": b"%PDF-1.7",
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", BODIES)
async def test_file_that_is_no_picture_is_refused(inside, name):
    """An error page that says 200 is not saved as a photo."""
    async with Simulator(max_rate=None) as api:
        with only_the_sidecar(inside):
            await client_of(api).save_media(posted(api, BODIES[name]), inside, allow_loopback=True)


@pytest.mark.parametrize("mime_type", GENUINE)
def test_kindred_formats_pass_for_one_another(mime_type):
    """A PNG that is called a JPEG is somebody's picture all the same; sound and film share containers."""
    for other, content in GENUINE.items():
        families = {each.partition("/")[0] for each in (mime_type, other)}
        if families != {"audio", "video"}:
            assert (_media_type.mismatch(mime_type.partition(";")[0], content) is None) == (
                len(families) == 1
            )


def test_sound_is_no_film():
    """What cannot hold pictures is no video."""
    for mime_type in ("audio/mpeg", "audio/aac", "audio/amr", "audio/wav"):
        assert _media_type.mismatch("video/mp4", GENUINE[mime_type])


def test_unknown_type_takes_anything_but_text():
    """The API may grow a format that we do not know."""
    assert _media_type.extension("image/x-new") == ".bin"
    assert _media_type.mismatch("image/x-new", b"\x01\x02NEW") is None
    assert _media_type.mismatch("image/x-new", BODIES["page"])


@pytest.mark.parametrize(
    ("model", "end"), [(ImageStatus, ".jpg"), (VideoStatus, ".mp4"), (AudioStatus, ".ogg")]
)
def test_type_that_is_not_named_is_the_usual_one(model, end):
    """The API leaves it out now and then."""
    found = attachment(model(id_message="A1", timestamp=NOON, chat_id="1@c.us"))

    assert _media_type.extension(found.mime_type) == end


def test_type_may_have_parameters_and_capitals():
    """As the API's own `audio/ogg; codecs=opus`."""
    found = attachment(image(mime_type="Audio/OGG ; codecs=opus"))

    assert _media_type.extension(found.mime_type) == ".ogg"


# The disk


@pytest.mark.anyio
async def test_disk_that_takes_no_more_is_told(inside):
    """The error names the directory, and room can be made; half a photo does not stay on a full disk."""
    async with Simulator(max_rate=None) as api:
        status = posted(api, JPEG * 8)
        with files_no_larger_than(100_000), only_the_sidecar(inside, retryable=True) as caught:
            await client_of(api, retries=1).save_media(status, inside, allow_loopback=True)

    assert str(caught.value) == f"cannot save to {inside}: File too large"


@pytest.mark.anyio
async def test_directory_that_is_a_file_is_told(inside):
    """Nothing is sent then."""
    (inside / "stories").write_bytes(b"")

    async with Simulator(max_rate=None) as api:
        with pytest.raises(MediaError, match=r"cannot save to .*stories"):
            await client_of(api).save_media(posted(api), inside / "stories", allow_loopback=True)


@pytest.mark.anyio
async def test_disk_that_fills_while_it_is_cancelled_does_not_hide_that(inside):
    """A cancellation passes, whatever the last write says."""
    async with Simulator(max_rate=None) as api:
        status = posted(api)
        api.media_faults.append(Stall())
        with files_no_larger_than(100_000), anyio.move_on_after(0.3) as scope:
            await client_of(api).save_media(status, inside, allow_loopback=True)

    assert scope.cancelled_caught


# The token


@pytest.mark.anyio
async def test_media_host_never_gets_the_token(inside):
    """Not in the path, the query, a header or the body, and the API is not asked anything."""
    seen = Seen()

    async with Simulator(max_rate=None) as api:
        api.media_faults.append(seen)
        status = posted(api)
        await client_of(api).save_media(status, inside, allow_loopback=True)

    [request] = seen.requests
    assert api.token not in repr(request)
    assert api.requests == []
    assert api.token.encode() not in b"".join(tree(inside).values())


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fault", [None, Refuse(404), Raw(b""), Answer("", {"Location": "https://a.example/x"}, 302)]
)
async def test_link_is_in_no_log(inside, caplog, fault):
    """Whoever has a link has the photo: it is in no log, of whatever library, and in no error."""
    caplog.set_level(logging.DEBUG)
    said = []

    async with Simulator(max_rate=None) as api, client_of(api) as client:
        api.media_faults.append(fault)
        status = posted(api)
        try:
            await client.save_media(status, inside, allow_loopback=True)
        except (MediaError, TransportError) as error:
            said = list(traceback.TracebackException.from_exception(error, capture_locals=False).format())

    link = status.download_url.rpartition("/")[2]
    assert caplog.records
    assert link not in "".join([*said, *(record.getMessage() for record in caplog.records)])


@pytest.mark.anyio
async def test_address_that_echoes_the_token_does_not_carry_it(inside):
    """An answer's own words are free of it before anybody sees them."""
    seen = Seen()

    async with Simulator(max_rate=None) as api, client_of(api) as client:
        item = api.post("image")
        serve(api, item["downloadUrl"], JPEG)
        api.faults.append(Answer([item | {"downloadUrl": f"{item['downloadUrl']}?t={api.token}"}]))
        api.media_faults.append(seen)
        [status] = await client.fetch()
        await client.save_media(status, inside, allow_loopback=True)

    assert seen.requests[0].query == "t=***"


def test_sidecar_is_the_wire_object():
    """What was saved can be read back as the status."""
    status = image(download_url="https://media.example/x")

    assert from_dict(to_dict(status)) == status
