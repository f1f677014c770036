"""`--sender`, `--type`, `--max`, `--since` and the rest of what chooses: alone, and with what they meet."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from threading import Timer

import pytest

from greenapi_async import cli, from_dict
from greenapi_async.cli import moments
from greenapi_async.cli.arguments import parse
from greenapi_async.cli.filters import KINDS, is_wanted
from greenapi_async.simulator import Refuse

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No credentials, no proxies, and local time is UTC+3."""
    for name in os.environ:
        if name.startswith("GREEN_API_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)

    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("TZ", "XXX-3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def texts(capsys):
    """Runs the command, and returns the texts of the JSON lines that it printed."""

    def run(*argv):
        assert cli.main([*argv, "--jsonl"]) == 0
        return [json.loads(line).get("textMessage") for line in capsys.readouterr().out.splitlines()]

    return run


def status(type_message="extendedTextMessage", **fields):
    usual = {"idMessage": "3EB0", "timestamp": 1, "typeMessage": type_message, "chatId": "79001234567@c.us"}
    return from_dict(usual | fields)


# Whose


@pytest.mark.parametrize(
    ("sender", "wanted"),
    [
        ("Аня", True),
        ("аНЯ", True),
        ("ня П", True),
        ("straße", True),
        ("STRASSE", True),
        ("и\u0306", True),  # The same letter, as some keyboards spell it.
        ("79001234567@c.us", True),
        ("79001234567@C.US", True),
        ("79001234567", False),  # Part of an id could be anybody's.
        ("120650379300963@lid", True),
        ("Коля", False),
        (".", False),
    ],
)
def test_a_sender_is_part_of_a_name_or_the_whole_id(sender, wanted):
    someone = status(senderContactName="Аня Петрова", senderName="й Straße", senderId="120650379300963@lid")

    assert is_wanted(someone, senders=[sender], kinds=[]) is wanted


def test_options_are_or_within_and_and_between():
    anna = status(senderContactName="Аня")
    picture = status("imageMessage", senderContactName="Коля")

    for senders, kinds, expected in [
        ([], [], (True, True)),
        (["Аня", "Коля"], [], (True, True)),
        ([], ["text", "image"], (True, True)),
        (["Аня"], ["image"], (False, False)),
        (["Аня", "Коля"], ["image"], (False, True)),
    ]:
        assert tuple(is_wanted(each, senders=senders, kinds=kinds) for each in (anna, picture)) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_chosen(kind):
    of = {"text": "extendedTextMessage", "unknown": "stickerMessage"}
    one = status(of.get(kind, f"{kind}Message"))

    assert one.kind == kind
    assert is_wanted(one, senders=[], kinds=[kind])
    assert not is_wanted(one, senders=[], kinds=[other for other in KINDS if other != kind])


def test_what_is_filtered_out_counts_as_handled(api, texts, tmp_path):
    """Otherwise the first run without a filter would show the past."""
    state = str(tmp_path / "state.db")
    for sender in ("Коля", "Аня"):
        api.post(text=f"of {sender}", sender_contact_name=sender)

    assert texts("watch", "--state", state, "--sender", "аня", "--max", "1") == ["of Аня"]
    api.post(text="later", sender_contact_name="Коля")
    assert texts("watch", "--state", state, "--max", "1") == ["later"]


def test_what_is_filtered_out_is_not_saved(api, texts, tmp_path):
    api.post("image", sender_contact_name="Коля")
    api.post(text="hi", sender_contact_name="Аня")

    texts("watch", "--save", str(tmp_path / "stories"), "--type", "text", "--max", "1")

    assert len(list((tmp_path / "stories").glob("*.jpg"))) == 0
    assert len(list((tmp_path / "stories").glob("*.json"))) == 1


# How many


def test_max_counts_what_is_shown(api, texts):
    for number in range(6):
        api.post(text=str(number), sender_contact_name="Аня" if number % 2 else "Коля", late=60 - number)

    assert texts("watch", "--sender", "Аня", "--max", "2") == ["1", "3"]
    assert texts("fetch", "--sender", "Аня", "--max", "2") == ["3", "5"]
    assert texts("fetch", "--max", "2") == ["4", "5"]
    assert texts("fetch", "--max", "99") == list("012345")


def test_fetch_says_that_the_filters_let_nothing_through(api, capsys):
    """An empty screen would be taken for an empty account."""
    api.post()

    assert cli.main(["fetch", "--sender", "nobody"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "greenapi-async: connected: no status matches --sender and --type (1 received)\n"


# Since when


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("now", "now"),
        ("90", timedelta(seconds=90)),
        ("2h", timedelta(hours=2)),
        ("1.5m", timedelta(seconds=90)),
        ("30d", timedelta(days=30)),
        ("2026-11-26 12:00", datetime(2026, 11, 26, 9, 0, tzinfo=UTC)),  # Local time is three hours ahead.
        ("2026-11-26", datetime(2026, 11, 25, 21, 0, tzinfo=UTC)),
        ("2026-11-26T12:00+05:00", datetime(2026, 11, 26, 7, 0, tzinfo=UTC)),
        ("2026-11-26T11:59:00Z", datetime(2026, 11, 26, 11, 59, tzinfo=UTC)),
    ],
)
def test_since(text, start):
    assert moments.since(text, NOW) == start


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("31d", "at most 30 days"),
        ("2026-10-01", "at most 30 days"),
        ("0001-01-01", "such as 2h"),
        ("2026-11-27", "future"),
        ("0h", "positive"),
        ("9" * 400 + "d", "positive"),
        ("yesterday", "such as 2h"),
        ("-2h", "such as 2h"),
        ("2w", "such as 2h"),
        ("", "such as 2h"),
    ],
)
def test_since_when_it_cannot_be(text, problem):
    with pytest.raises(ValueError, match=problem):
        moments.since(text, NOW)


def test_since_begins_there(api, texts):
    api.post(text="earlier", late=3 * 3600)
    api.post(text="lately", late=3600)

    assert texts("watch", "--since", "2h", "--max", "1") == ["lately"]


def test_since_is_not_used_where_a_state_says_where_to_go_on(api, capsys, tmp_path):
    """The state knows what was shown; a second beginning would lose or repeat."""
    state = str(tmp_path / "deep" / "er" / "state.db")
    argv = ["watch", "--state", state, "--since", "2h", "--max", "1"]
    api.post(text="first")

    assert cli.main(argv) == 0
    assert capsys.readouterr().err == ""
    api.post(text="second")
    assert cli.main(argv) == 0

    out, err = capsys.readouterr()
    assert "second" in out
    assert err == f"greenapi-async: --since is ignored: {state} says where to continue\n"


@pytest.mark.parametrize(
    ("text", "value"), [("30", 30.0), ("0.5", 0.5), ("1m", 60.0), ("2h", 7200.0), ("1.5m", 90.0), (".5", 0.5)]
)
def test_an_interval_has_a_unit(text, value):
    assert parse(["watch", "--interval", text]).interval == value


# When


@pytest.mark.parametrize(
    ("posted", "shown"),
    [
        (NOW - timedelta(minutes=1), "26 Nov 14:59"),
        (NOW - timedelta(days=299), "31 Jan 15:00"),
        (NOW - timedelta(days=301), "29 Jan  2026"),
        (NOW + timedelta(days=301), "23 Sep  2027"),
    ],
)
def test_a_date_of_long_ago_has_its_year(posted, shown):
    assert moments.shown(status(timestamp=int(posted.timestamp())), NOW) == shown


def test_a_time_that_is_not_known_begins_with_a_latin_letter():
    """A line's first letter decides which way a terminal writes it."""
    assert moments.shown(from_dict(7), NOW) == "no time"


# Usage


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["watch", "--since", "2h", "--minutes", "5"], "not allowed with"),
        (["watch", "--since", "soon"], "argument --since: must be now, a duration"),
        (["watch", "--interval", "1w"], "argument --interval: must be a positive number"),
        (["watch", "--sender", " "], "argument --sender: must not be empty"),
        (["watch", "--type", "story"], "invalid choice: 'story'"),
        (["watch", "-q", "-v"], "not allowed with"),
        (["fetch", "--since", "2h"], "unknown arguments (--since)"),
        (["fetch", "--exec", "true"], "unknown arguments (--exec)"),
        (["fetch", "--max", "0"], "argument --max"),
    ],
    ids=" ".join,
)
def test_wrong_arguments_are_told_with_that_command_s_usage(capsys, argv, problem):
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)

    err = capsys.readouterr().err
    assert caught.value.code == 2
    assert problem in err
    assert err.startswith(f"usage: greenapi-async {argv[0]} ")


# What is said


@pytest.mark.parametrize(
    ("loudness", "told"), [([], "greenapi-async: connected, nothing yet\n"), (["-q"], "")]
)
def test_an_empty_instance_is_told(api, capsys, loudness, told):
    """Nothing to be seen is not the same as nothing that works."""
    assert cli.main(["fetch", *loudness]) == 0
    assert capsys.readouterr().err == told

    Timer(1.0, api.post).start()
    assert cli.main(["watch", "--interval", "0.1", "--max", "1", *loudness]) == 0
    assert capsys.readouterr().err == told


def test_quiet_without_credentials(capsys):
    assert cli.main(["fetch", "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_quiet_hides_no_error(capsys, monkeypatch):
    monkeypatch.setenv("GREEN_API_ID_INSTANCE", "1101000001")

    assert cli.main(["fetch", "-q"]) == 2
    assert "GREEN_API_TOKEN_INSTANCE" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["fetch"], ["watch", "--max", "1"]], ids=" ".join)
def test_verbose_is_a_line_for_each_request(api, capsys, command):
    """Without the token, as everywhere."""
    api.post()

    assert cli.main([*command, "-v"]) == 0

    err = capsys.readouterr().err
    assert err.count("\n") == len(api.requests)
    assert "getIncomingStatuses/***" in err
    assert api.token not in err


def test_the_host_that_does_not_respond_is_named(capsys, monkeypatch):
    """Mostly it is mistyped."""
    monkeypatch.setenv("GREEN_API_ID_INSTANCE", "1101000001")
    monkeypatch.setenv("GREEN_API_TOKEN_INSTANCE", "t" * 50)
    monkeypatch.setenv("GREEN_API_URL", "https://1101.api.green-apl.invalid")

    assert cli.main(["fetch"]) == 1

    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "no response from 1101.api.green-apl.invalid: check the network and GREEN_API_URL" in err


# Saving


def test_fetch_says_who_retries_what_it_could_not_save(api, capsys, tmp_path):
    """It polls no more, so it cannot be itself."""
    api.post("image")
    api.media_faults.extend([Refuse(503)] * 9)

    assert cli.main(["fetch", "--save", str(tmp_path)]) == 0
    assert capsys.readouterr().err.endswith("; retried at the next run\n")
    api.media_faults.clear()
    assert cli.main(["fetch", "--save", str(tmp_path)]) == 0
    assert len(list(tmp_path.glob("*.jpg"))) == 1


@pytest.mark.parametrize("shape", ["--jsonl", "--json", None])
def test_fetch_saves_as_watch_does(api, capsys, tmp_path, shape):
    """And says where, in JSON too."""
    stories = tmp_path / "stories"
    api.post("image")
    api.post(text="hi")

    code = cli.main(["fetch", "--save", str(stories), *filter(None, [shape])])

    out = capsys.readouterr().out
    [file] = map(str, stories.glob("*.jpg"))
    assert code == 0
    assert len(list(stories.glob("*.json"))) == 2
    if shape is None:
        assert f"\n    {file}\n" in f"\n{out}"
    else:
        items = json.loads(out) if shape == "--json" else list(map(json.loads, out.splitlines()))
        assert [item.get("_file") for item in items] == [file, None]
