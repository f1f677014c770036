"""`watch --save`: the command as a ready-made saver of statuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from media_world import JPEG, Seen, Stall, files_no_larger_than, posted, tree

import greenapi_async
from greenapi_async import cli, from_dict
from greenapi_async._polling import backoff as _backoff
from greenapi_async.cli import commands
from greenapi_async.simulator import Answer, Refuse, demo

STATE = ".greenapi-async.db"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No credentials, no proxies, and hardly a wait between two tries."""
    for name in os.environ:
        if name.startswith("GREEN_API_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)

    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr(_backoff, "delay", lambda *_: 0.01)


@pytest.fixture
def watch(capsys, tmp_path):
    """Runs `watch --save` for so many statuses, and returns the exit code, stdout and stderr."""

    def run(count, *options):
        code = cli.main(
            [
                "watch",
                "--interval",
                "0.05",
                "--max",
                str(count),
                "--save",
                str(tmp_path / "stories"),
                *options,
            ]
        )
        return code, *capsys.readouterr()

    return run


def files(directory, *ends):
    return sorted(path.name for path in directory.iterdir() if path.suffix in ends)


def test_everything_is_saved_and_shown(api, watch, tmp_path):
    """Each status as JSON, each file beside it, and its path in the output."""
    kinds = ("text", "image", "video", "audio")
    items = [api.post(kind) for kind in kinds]
    items.append(api.post("deleted", of=items[0]["idMessage"]))

    code, out, err = watch(5)

    stories = tmp_path / "stories"
    sidecars = [from_dict(json.loads((stories / name).read_text())) for name in files(stories, ".json")]
    assert (code, err) == (0, "")
    assert {status.key for status in sidecars} == {from_dict(item).key for item in items}
    assert files(stories, ".jpg", ".mp4", ".ogg") == sorted(
        Path(line).name for line in out.splitlines() if line.startswith("    ")
    )
    assert len(out.splitlines()) == 8


def test_restart_goes_on_where_it_stopped(api, watch, tmp_path):
    """Only what is new comes, without a word about a state."""
    api.post("image")
    watch(1)
    api.post("video")

    code, out, _ = watch(1)

    assert code == 0
    assert [line.split()[4] for line in out.splitlines()[::2]] == ["video"]
    assert (tmp_path / "stories" / STATE).exists()


def test_state_may_lie_elsewhere(api, watch, tmp_path):
    """`--state` says where, with `--save` and without."""
    state = str(tmp_path / "state.db")
    api.post("text", text="first")
    watch(1, "--state", state)
    api.post("text", text="second")

    code = cli.main(["watch", "--state", state, "--max", "1"])

    assert code == 0
    assert not (tmp_path / "stories" / STATE).exists()


def test_state_alone_remembers(api, capsys, tmp_path):
    """Without files the watch can go on where it stopped too."""
    for text in ("first", "second"):
        api.post("text", text=text)
        cli.main(["watch", "--state", str(tmp_path / "state.db"), "--max", "1"])

    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["first", "second"]


def test_json_lines_stay_the_api_s_own(api, watch, tmp_path):
    """What reads them is not to be surprised by keys of ours, but for the one that it asked for."""
    item = api.post("image")

    code, out, _ = watch(1, "--jsonl")

    [file] = (tmp_path / "stories").glob("*.jpg")
    assert code == 0
    assert json.loads(out) == {name: value for name, value in item.items() if value != ""} | {
        "_file": str(file)
    }


@pytest.mark.parametrize(
    "fault", [Refuse(451), Answer("<html>gone</html>"), Answer("", {"Location": "http://a.example"}, 302)]
)
def test_refused_download_is_told_and_the_watch_goes_on(api, watch, tmp_path, fault):
    """One file that is gone does not hold up the others, and its status is not lost."""
    gone, _ = api.post("image"), api.post("image")
    api.media_faults.append(fault)

    code, out, err = watch(2)

    [line] = err.splitlines()
    sidecar = Path(line.rpartition(" ")[2])
    assert code == 0
    assert line.startswith("greenapi-async: not saved: ")
    assert json.loads(sidecar.read_text())["idMessage"] == gone["idMessage"]
    assert len(files(tmp_path / "stories", ".jpg")) == 1
    assert len(out.splitlines()) == 3


def test_file_that_is_too_big_for_the_api_is_told(api, watch, tmp_path):
    """The marker is no address, and the JSON stays."""
    api.post("video", downloadUrl="{{SWE002}}")

    code, _, err = watch(1)

    assert code == 0
    assert "view it on the phone" in err
    assert len(files(tmp_path / "stories", ".json")) == 1


def test_failed_download_can_be_had_again(api, watch, tmp_path):
    """The next start goes on with what is missing, and with that only."""
    api.post("image")
    api.post("image")
    api.media_faults.extend([Refuse(503)] * 3)
    _, _, err = watch(2)
    missing = 2 - len(files(tmp_path / "stories", ".jpg"))
    seen = Seen()
    api.media_faults.extend([seen] * 2)

    api.post("text")
    code, _, again = watch(1)

    assert "HTTP 503" in err
    assert "not saved yet" in err
    assert "saved now: " in again
    assert (code, missing, len(seen.requests)) == (0, 1, 1)
    assert len(files(tmp_path / "stories", ".jpg")) == 2


def test_directory_that_takes_nothing_ends_the_watch(api, watch, tmp_path):
    """To go on would be to lose everything: what was not saved comes again after a restart."""
    api.post("image")
    (tmp_path / "stories").write_bytes(b"")

    code, out, err = watch(1)

    assert (code, out) == (1, "")
    assert err.startswith("greenapi-async: error: cannot save to ")


def test_disk_too_full_for_a_file_ends_the_watch(api, watch, tmp_path):
    """The small JSON may still fit, but the file has to come again when there is room."""
    posted(api)

    with files_no_larger_than(100_000):
        code, _, err = watch(1)
    again, _, _ = watch(1)

    assert (code, again) == (1, 0)
    assert "cannot save to" in err
    assert len(files(tmp_path / "stories", ".jpg")) == 1


def test_demo_is_saved_too(watch, tmp_path, monkeypatch):
    """The first command of a newcomer who wants files."""
    monkeypatch.setattr(commands, "demo", lambda api, every=0.0: demo(api, every=0.0))

    code, _, err = watch(10)

    assert code == 0
    assert len(err.splitlines()) == 1
    assert len(files(tmp_path / "stories", ".json")) == 10
    assert len(files(tmp_path / "stories", ".jpg", ".mp4", ".ogg")) == 4


def test_ctrl_c_leaves_a_part_that_the_next_start_resumes(api, tmp_path):
    """130 as ever, and not a byte comes twice."""
    posted(api)
    seen = Seen()
    api.media_faults.extend([Stall(), seen])
    process = start("--save", str(tmp_path))
    await_file(tmp_path, "*.part.etag")
    time.sleep(0.2)

    process.send_signal(signal.SIGINT)

    out, err = process.communicate(timeout=10)
    [part] = tmp_path.glob("*.part")
    size = part.stat().st_size
    again = start("--save", str(tmp_path), "--max", "1")
    again.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, "", "")
    assert size == len(JPEG) // 2
    assert again.returncode == 0
    assert seen.requests[0].header("Range") == f"bytes={size}-"
    assert [content for name, content in tree(tmp_path).items() if name.endswith(".jpg")] == [JPEG]
    assert not list(tmp_path.glob("*.part*"))


def start(*options):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "greenapi_async", "watch", *options],
        env=os.environ | {"PYTHONPATH": str(Path(greenapi_async.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def await_file(directory, pattern):
    deadline = time.monotonic() + 10
    while not list(directory.glob(pattern)):
        assert time.monotonic() < deadline, pattern
        time.sleep(0.05)
