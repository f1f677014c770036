"""Files that look unusual and are fine, and those that are not; and statuses that do."""

import gzip
import zlib

import pytest
from clients import client_of
from media_world import JPEG, posted, serve, tree

from greenapi_async import MediaError, TransportError, UnknownStatus, from_dict
from greenapi_async._media.filetype import HEAD_SIZE, mismatch
from greenapi_async.simulator import Simulator, Spoil

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api():
    async with Simulator(max_rate=None) as api:
        yield api


@pytest.fixture
async def save(api, tmp_path):
    async with client_of(api) as client:
        yield lambda status: client.save_media(status, tmp_path, allow_loopback=True)


def box(name, size=32):
    return size.to_bytes(4, "big") + name.encode() + bytes(64)


def riff(form):
    return b"RIFF\x24\x10\0\0" + form + bytes(64)


FINE = {
    "mov beginning with wide": ("video/quicktime", box("wide", 8) + box("mdat")),
    "mov beginning with mdat": ("video/quicktime", box("mdat", 2**20)),
    "mov beginning with a large mdat": ("video/quicktime", b"\0\0\0\x01mdat" + bytes(64)),
    "mov beginning with moov": ("video/quicktime", box("moov")),
    "mov beginning with skip": ("video/quicktime", box("skip")),
    "mp4 beginning with free": ("video/mp4", box("free") + box("ftypisom")),
    "mp4 beginning with moov": ("video/mp4", box("moov")),
    "mp4 of a segment": ("video/mp4", box("stypmsdh")),
    "mp4 that is a mov": ("video/mp4", box("ftypqt  ")),
    "m4a beginning with free": ("audio/mp4", box("free")),
    "mp4 that is a webm": ("video/mp4", b"\x1aE\xdf\xa3\x01" + bytes(64)),
    "mp4 that is an avi": ("video/mp4", riff(b"AVI LIST")),
    "mp4 that is a transport stream": ("video/mp4", (b"G\x40\0\x10" + bytes(184)) * 3),
    "mp4 that is an MPEG program stream": ("video/mp4", b"\0\0\x01\xba\x44" + bytes(64)),
    "mp4 that is a Flash video": ("video/mp4", b"FLV\x01\x05\0\0\0\x09" + bytes(64)),
    "mp4 that is a Windows video": ("video/mp4", bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")),
    **{
        f"mp3 with FF {second:X}": ("audio/mpeg", bytes([0xFF, second]) + b"\x18\xc4" + bytes(64))
        for second in (0xE2, 0xE3, 0xE4, 0xF2, 0xF3, 0xF4, 0xFA, 0xFB, 0xFC, 0xFD)
    },
    **{
        f"aac with FF {second:X}": ("audio/aac", bytes([0xFF, second]) + b"\x50\x80" + bytes(64))
        for second in (0xF0, 0xF1, 0xF8, 0xF9)
    },
    "mp3 that is a flac": ("audio/mpeg", b"fLaC\0\0\0\x22" + bytes(64)),
    "mp3 that is an aiff": ("audio/mpeg", b"FORM\0\0\0\x24AIFFCOMM" + bytes(64)),
    "wav over 4 GB": ("audio/wav", b"RF64\xff\xff\xff\xffWAVEds64" + bytes(64)),
    "wideband amr": ("audio/amr", b"#!AMR-WB\n\x04" + bytes(64)),
    "opus": ("audio/opus", b"OggS\0\x02" + bytes(64)),
    "heic msf1": ("image/heic", box("ftypmsf1")),
    "heic hevc": ("image/heic", box("ftyphevc")),
    "heic mif1": ("image/heif", box("ftypmif1")),
    "heic that is an avif": ("image/heic", box("ftypavis")),
    "avif": ("image/avif", box("ftypavif")),
    "jpeg called image/jpg": ("image/jpg", JPEG),
    "jpeg called image/pjpeg": ("image/pjpeg", JPEG),
    "jpeg that is a webp": ("image/jpeg", riff(b"WEBPVP8 ")),
    "jpeg that is a bmp": ("image/jpeg", b"BM\x36\x10\0\0\0\0\0\0\x36\0\0\0\x28" + bytes(64)),
    "jpeg that is a tiff": ("image/jpeg", b"II*\0\x08\0\0\0" + bytes(64)),
    "jpeg that is a tiff of a Mac": ("image/jpeg", b"MM\0*\0\0\0\x08" + bytes(64)),
    "jpeg that is a jxl": ("image/jpeg", bytes.fromhex("0000000c4a584c200d0a870a") + bytes(64)),
    "jpeg that is an icon": ("image/jpeg", b"\0\0\x01\0\x01\0\x10\x10\0\0" + bytes(64)),
}


@pytest.mark.parametrize("name", FINE)
async def test_file_that_a_browser_or_vlc_opens_is_saved(name, api, save):
    """It was refused: its first bytes were not those of its type."""
    mime_type, content = FINE[name]

    path = await save(posted(api, content, mimeType=mime_type))

    assert path.read_bytes() == content
    assert path.suffix != ".bin"


BAD = {
    "page": b"<!DOCTYPE html><html>Sorry</html>",
    "page with a byte order mark": b"\xef\xbb\xbf<html>Sorry</html>",
    "page of UTF-16": "\ufeff<html>Sorry</html>".encode("utf-16-le"),
    "page of UTF-16 of a Mac": "\ufeff<html>Sorry</html>".encode("utf-16-be"),
    "page after blank lines": b"\r\n" * 300 + b"<html>",
    "script": b"#!/bin/sh\nreboot\n",
    "script of PHP": b"<?php system($_GET['c']);",
    "Windows program": b"MZ\x90\x00\x03\x00\x00\x00" + bytes(64),
    "ELF program": b"\x7fELF\x02\x01\x01\x00" + bytes(64),
    "Mac program": bytes.fromhex("cffaedfe0c000001") + bytes(64),
    "Mac program for two": bytes.fromhex("cafebabe00000002") + bytes(64),
    "Android program": b"dex\n035\0" + bytes(64),
    "WebAssembly": b"\0asm\x01\0\0\0" + bytes(64),
    "zip": b"PK\x03\x04\x14\x00" + bytes(64),
    "rar": b"Rar!\x1a\x07\x01\0" + bytes(64),
    "7z": b"7z\xbc\xaf\x27\x1c" + bytes(64),
    "gzip": gzip.compress(JPEG),
    "zlib": zlib.compress(JPEG),
    "bzip2": b"BZh91AY&SY" + bytes(64),
    "xz": b"\xfd7zXZ\0" + bytes(64),
    "zstd": b"\x28\xb5\x2f\xfd" + bytes(64),
    "PDF": b"%PDF-1.7\n%\xe2\xe3" + bytes(64),
    "Office": bytes.fromhex("d0cf11e0a1b11ae1") + bytes(64),
    **{
        f"text with {name!r} where a film has it": f"so, {name} of charge <script>".encode()
        for name in ("free", "wide", "mdat", "moov", "skip", "ftyp")
    },
    "text that begins as a bitmap": b"BMW <script>alert(1)</script>",
    "text that begins as a transport stream": b"G" * 600,
    "text that begins as a Flash video": b"FLV <script>",
    "nothing": b"",
}


@pytest.mark.parametrize("name", [name for name in BAD if name != "zlib"])  # Two bytes say too little.
def test_what_contradicts_is_no_media(name):
    """A page, a script, a program, or something that is packed: of a type that we do not know neither."""
    for mime_type in ("image/jpeg", "video/mp4", "audio/mpeg", "image/x-new", "audio/x-new", ""):
        assert mismatch(mime_type, BAD[name][:HEAD_SIZE])


@pytest.mark.parametrize("name", BAD)
async def test_what_contradicts_is_not_saved(name, api, save, tmp_path):
    """Nothing of it stays."""
    with pytest.raises(MediaError, match="unexpected file content") as caught:
        await save(posted(api, BAD[name]))

    assert not caught.value.retryable
    assert {name.rpartition(".")[2] for name in tree(tmp_path)} == {"json"}


# Headers


@pytest.mark.parametrize(
    "label",
    [
        *("", "identity", "Identity", "none", "utf-8", "UTF8", "binary", "8bit", "null", "aws-chunked"),
        *("identity, identity", "image/jpeg", "raw", "*"),
    ],
)
async def test_label_that_names_no_compression_is_no_compression(label, api, save):
    """Storages keep whatever an uploader sent along."""
    api.media_faults.append(Spoil({"Content-Encoding": label}))

    assert (await save(posted(api))).read_bytes() == JPEG


@pytest.mark.parametrize(
    "label",
    [
        *("gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress", "dcz", "bzip2", "xz"),
        *("identity, gzip", "gzip, aws-chunked", "gzip;q=1", '"br"', "aes128gcm"),
    ],
)
async def test_label_that_names_one_is_refused(label, api, save, tmp_path):
    """It was not asked for, and what is below may be anything."""
    api.media_faults.append(Spoil({"Content-Encoding": label}))

    with pytest.raises(MediaError, match="compressed"):
        await save(posted(api))

    assert {name.rpartition(".")[2] for name in tree(tmp_path)} == {"json"}


async def test_packed_file_under_a_harmless_label_is_refused(api, save):
    """Its first bytes tell."""
    api.media_faults.append(Spoil({"Content-Encoding": "none"}))

    with pytest.raises(MediaError, match="unexpected file content"):
        await save(posted(api, gzip.compress(JPEG)))


@pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream", "", "image/jpg", "?"])
async def test_content_type_of_the_server_says_nothing(content_type, api, save):
    """Storages label files as they like."""
    api.media_faults.append(Spoil({"Content-Type": content_type}))

    assert (await save(posted(api))).read_bytes() == JPEG


# Statuses


MP4 = box("ftypisom") + bytes(1000)


@pytest.mark.parametrize(
    ("content", "fields", "end"),
    [
        (MP4, {"typeMessage": "ptvMessage", "mimeType": "video/mp4"}, ".mp4"),
        (MP4, {"typeMessage": "ptvMessage", "mimeType": None}, ".mp4"),
        (JPEG, {"typeMessage": "newMessage"}, ".jpg"),
        (JPEG, {"typeMessage": "newMessage", "mimeType": None}, ".bin"),
        (riff(b"WEBPVP8 "), {"typeMessage": "stickerMessage", "mimeType": "image/webp"}, ".webp"),
        (JPEG, {"typeMessage": None}, ".jpg"),
        (JPEG, {"typeMessage": 7}, ".jpg"),
        (JPEG, {"caption": 7}, ".jpg"),
        (JPEG, {"senderName": ["Аня"]}, ".jpg"),
        (JPEG, {"mimeType": 7}, ".jpg"),
        (JPEG, {"timestamp": "yesterday"}, ".jpg"),
        (JPEG, {"jpegThumbnail": "a" * 2**20}, ".jpg"),
    ],
    ids=str,
)
async def test_whatever_has_an_address_can_be_saved(content, fields, end, api, save):
    """Video notes, kinds that we do not know, and a picture with one odd field: "nothing to download"."""
    posted(api, content, **fields)
    async with client_of(api) as client:
        [status] = await client.fetch()

    path = await save(status)

    assert isinstance(status, UnknownStatus)
    assert path.read_bytes() == content
    assert path.suffix == end
    assert path.with_suffix(".json").exists()


@pytest.mark.parametrize(
    "item",
    [
        7,
        [],
        {},
        {"idMessage": "A1", "typeMessage": "stickerMessage"},
        {"idMessage": "A1", "typeMessage": "newMessage", "downloadUrl": 7},
        {"idMessage": "A1", "typeMessage": "deletedMessage", "timestamp": "x"},
    ],
    ids=str,
)
async def test_unknown_status_without_a_file_has_nothing_to_save(item, save, tmp_path):
    """There is no address, and none will come."""
    with pytest.raises(MediaError, match="nothing to download") as caught:
        await save(from_dict(item))

    assert not caught.value.retryable
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    "url", ["", "{{SWE001}}", "file:///etc/passwd", "http://93.184.215.14/x", "https://10.0.0.1/x"]
)
async def test_address_of_an_unknown_status_is_no_better(url, api, save, tmp_path):
    """It is judged as any other."""
    with pytest.raises((MediaError, TransportError)):
        await save(posted(api, typeMessage="ptvMessage", late=7200, downloadUrl=url))

    assert {name.rpartition(".")[2] for name in tree(tmp_path)} <= {"json"}


async def test_video_note_whose_address_comes_later_is_saved(api, save):
    """As any other."""
    item = api.post("video", typeMessage="ptvMessage")
    serve(api, item["downloadUrl"], MP4)

    path = await save(from_dict(item | {"downloadUrl": ""}))

    assert path.read_bytes() == MP4


def test_media_status_can_be_imported():
    """For `isinstance`, and for annotations."""
    from greenapi_async import ImageStatus, MediaStatus

    assert issubclass(ImageStatus, MediaStatus)
