"""`watch --save` where media is not ready at first: kept, retried after each poll, and gone on with after a kill."""

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from media_world import JPEG, serve, tree

import greenapi_async
from greenapi_async import from_dict
from greenapi_async._media.name import stem
from greenapi_async.simulator import Answer, Refuse, Reset, Simulator, Spoil, Truncate

DAY = 86_400
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 200
MOV = b"\0\0\0\x08wide\0\x04\0\0mdat" + bytes(range(256)) * 200


@pytest.fixture
def api(monkeypatch):
    """A simulator in a thread of its own, to which the environment points."""
    for name in os.environ:
        if name.startswith("GREEN_API_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)

    with Simulator(max_rate=None) as api:
        for name, value in api.env.items():
            monkeypatch.setenv(name, value)
        yield api


@contextlib.contextmanager
def watching(directory, *options):
    """Run a watch in a process of its own; it is killed in the end."""
    command = [sys.executable, "-W", "error", "-m", "greenapi_async", "watch", "--interval", "0.1"]
    with subprocess.Popen(
        [*command, "--save", str(directory), *options],
        env=os.environ | {"PYTHONPATH": str(Path(greenapi_async.__file__).parents[1])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(condition, *, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def complete(directory, count):
    """Return whether there are so many files beside their sidecars, and none of them is half."""
    names = {path.name for path in directory.glob("2*")}
    halves = {name for name in names if ".part" in name}
    # Of a sidecar that was being written when the process was killed a few bytes stay.
    return len(names - halves) == 2 * count and all(".json." in name for name in halves)


def test_address_that_comes_later_is_waited_for(api, tmp_path):
    """The poller yields a picture once, and its address came after that: it was never saved."""
    item = api.post("image", address_after=3.0)
    serve(api, item["downloadUrl"], JPEG)

    with watching(tmp_path) as process:
        wait_for(lambda: list(tmp_path.glob("*.json")))
        sidecar = next(tmp_path.glob("*.json"))
        assert "downloadUrl" not in json.loads(sidecar.read_text())
        # One response is shared for a minute, so a new start finds out sooner.
        process.kill()
    time.sleep(3.0)

    with watching(tmp_path):
        wait_for(lambda: complete(tmp_path, 1))

    assert sidecar.with_suffix(".jpg").read_bytes() == JPEG
    assert json.loads(sidecar.read_text())["downloadUrl"] == item["downloadUrl"]


def test_file_that_comes_later_is_waited_for(api, tmp_path):
    """Within one run: it is tried again after each poll, and the others are not held up."""
    late, _ = api.post("image"), api.post("image")
    file = api.media.pop(late["fileName"])

    with watching(tmp_path) as process:
        first = process.stderr.readline()
        wait_for(lambda: len(list(tmp_path.glob("*.jpg"))) == 1)
        api.media[late["fileName"]] = file
        wait_for(lambda: complete(tmp_path, 2))
        second = process.stderr.readline()

    assert "not saved yet" in first
    assert "saved now" in second


def test_start_goes_on_with_what_is_younger_than_a_day(api, tmp_path):
    """What is kept is on disk: a JSON without a file. What is older is gone, and what is none of ours stays alone."""
    items = [api.post("image", late=age) for age in (DAY - 600, 120, DAY + 600)]
    for item in (*items, api.post("text")):
        early = {name: value for name, value in item.items() if name != "downloadUrl"}
        (tmp_path / f"{stem(from_dict(item))}.json").write_text(json.dumps(early))
    (tmp_path / "20990101T000000Z_other_1.json").write_text("[" * 100_000)
    (tmp_path / "package.json").write_text("{}")
    before = tree(tmp_path)

    with watching(tmp_path, "--state", str(tmp_path / "state.db"), "--minutes", "1"):
        wait_for(lambda: len(list(tmp_path.glob("*.jpg"))) >= 2)
        time.sleep(0.5)

    names = {path.stem for path in tmp_path.glob("*.jpg")}
    assert {stem(from_dict(item)) for item in items[:2]} <= names
    assert stem(from_dict(items[2])) not in names
    assert tree(tmp_path)["package.json"] == before["package.json"]


def test_what_does_not_come_is_told_once(api, tmp_path):
    """A status of an hour ago, whose file is gone: the watch says so, and asks no more."""
    item = api.post("image", late=3600)
    del api.media[item["downloadUrl"].rpartition("/")[2]]

    with watching(tmp_path) as process:
        line = process.stderr.readline()
        wait_for(lambda: len(api.requests) > 4)
        process.kill()
        more = process.stderr.read()

    assert line.startswith("greenapi-async: not saved: ")
    assert more == ""


def test_directory_that_goes_away_ends_the_watch(api, tmp_path):
    """While it retries, too."""
    api.post("image", downloadUrl="")

    with watching(tmp_path / "stories", "--state", str(tmp_path / "state.db")) as process:
        assert "not saved yet" in process.stderr.readline()
        for path in (tmp_path / "stories").iterdir():
            path.unlink()
        (tmp_path / "stories").rmdir()
        (tmp_path / "stories").write_bytes(b"")

        assert process.wait(20) == 1
        assert "error: cannot save to" in process.stderr.read()


FAULTS = [
    Truncate(),
    Truncate(0.3, framing="chunked"),
    Truncate(0.3, framing="close"),
    Truncate(0.7, framing="rechunked"),
    Refuse(503),
    Refuse(404),
    Reset(),
    Reset(after_headers=True),
    Spoil({"Content-Encoding": "none"}),
    Spoil({"Content-Type": "text/html"}),
    Answer("", http_code=403),
]
CONTENTS = [("image", JPEG, "image/jpg"), ("image", PNG, "image/jpeg"), ("video", MOV, "video/mp4")]


@pytest.mark.parametrize(
    ("count", "kills"), [(12, 3), pytest.param(120, 25, marks=pytest.mark.long)], ids=["short", "long"]
)
def test_every_file_of_a_day_is_there_whole_and_once(count, kills, api, tmp_path):
    """Media that comes late, twice, re-labelled and cut, and a watch that is killed in between."""
    dice, contents = random.Random(7), {}

    def post(number):
        kind, content, mime_type = dice.choice(CONTENTS)
        content += number.to_bytes(4, "big")
        item = api.post(
            dice.choice([kind, kind, "image"]),
            typeMessage="ptvMessage" if dice.random() < 0.1 else f"{kind}Message",
            mimeType=mime_type,
            caption=7 if dice.random() < 0.1 else "",
            late=dice.choice([0, 0, 0, dice.randrange(DAY - 3600)]),
            address_after=dice.choice([0, 0, dice.uniform(0, 4)]),
            file_after=dice.choice([0, 0, dice.uniform(0, 4)]),
        )
        if dice.random() < 0.2:
            api.post_raw(item)
        serve(api, item["downloadUrl"], content)
        contents[stem(from_dict(item))] = content
        api.media_faults.extend(dice.choices([None, *FAULTS], k=2))

    posted = 0
    for kill in range(kills):
        with watching(tmp_path):
            while posted < count * (kill + 1) // kills:
                post(posted)
                posted += 1
                time.sleep(dice.uniform(0, 0.05))
            time.sleep(dice.uniform(0.3, 1.5))

    api.media_faults.clear()
    time.sleep(4.0)  # Now everything is there, and a start goes on with what is missing.
    with watching(tmp_path):
        wait_for(lambda: complete(tmp_path, count))

    saved = {
        path.stem: path.read_bytes() for path in tmp_path.glob("2*") if path.suffix not in {".json", ".part"}
    }
    assert saved == contents
    for path in tmp_path.glob("2*.json"):
        assert json.loads(path.read_text())["downloadUrl"]
