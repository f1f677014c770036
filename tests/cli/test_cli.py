"""The command, inside the test's process: what it prints, and what it returns."""

import io
import json
import logging
import os
import re
import signal
import socket
import sys
import time
import unicodedata
from pathlib import Path

import anyio
import pytest
from fake_api import TOKEN

import greenapi_async
from greenapi_async import AsyncStatusesClient, cli, from_dict
from greenapi_async._polling import backoff as _backoff
from greenapi_async.cli import commands
from greenapi_async.cli import terminal as _terminal
from greenapi_async.simulator import Answer, Refuse, Reset, Simulator, demo

KINDS = {"text", "image", "video", "audio", "deleted", "unknown"}
FULL = Path("/dev/full")
NOON = 1_763_812_800  # 2025-11-22 12:00 UTC
HOSTILE = "a\x1b[2J\x9b31m\r\nb\u202ec\u2066d\ud83de\x07f\u2028g\xa0h"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Nothing is set that the command looks at, and local time is UTC+3."""
    for name in os.environ:
        if (
            name.startswith("GREEN_API_")
            or name.lower().endswith("_proxy")
            or name in {"NO_COLOR", "COLUMNS"}
        ):
            monkeypatch.delenv(name)

    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("TZ", "XXX-3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def api(monkeypatch):
    """A simulator in a thread of its own, to which the environment points."""
    with Simulator(token=TOKEN) as api:
        set_credentials(monkeypatch, GREEN_API_URL=api.url)
        yield api


@pytest.fixture
def quick_demo(monkeypatch):
    monkeypatch.setattr(commands, "demo", lambda api, every=0.0: demo(api, every=0.0))


@pytest.fixture
def no_backoff(monkeypatch):
    monkeypatch.setattr(_backoff, "delay", lambda *_: 0.0)


@pytest.fixture
def no_retries(monkeypatch):
    monkeypatch.setitem(AsyncStatusesClient.__init__.__kwdefaults__, "retries", 0)


class Terminal(io.TextIOWrapper):
    """A stdout that claims to be a terminal."""

    def __init__(self):
        super().__init__(io.BytesIO(), encoding="utf-8")

    def isatty(self):
        return True

    def shown(self):
        return self.buffer.getvalue().decode()


def set_credentials(monkeypatch, **variables):
    usual = {"GREEN_API_ID_INSTANCE": "1101000001", "GREEN_API_TOKEN_INSTANCE": TOKEN}
    for name, value in (usual | variables).items():
        monkeypatch.setenv(name, value)


def make(type_message="extendedTextMessage", **fields):
    usual = {
        "idMessage": "3EB0FFFF",
        "timestamp": NOON,
        "typeMessage": type_message,
        "chatId": "79001234567@c.us",
        "senderContactName": "Аня",
    }
    return from_dict(usual | fields)


def kinds(text):
    return {re.search(r"  (text|image|video|audio|deleted|unknown)\b", line)[1] for line in text.splitlines()}


def wrong_usage(*argv):
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)

    assert caught.value.code == 2


# fetch


def test_fetch_prints_a_line_for_each_status_oldest_first(api, capsys):
    now = int(time.time())
    api.post("image", caption="Рассвет", sender_contact_name="Коля", at=now)
    api.post(text="Доброе утро", at=now - 60)

    code = cli.main(["fetch"])

    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert [line[14:] for line in out.splitlines()] == [
        "Аня               text     Доброе утро",
        "Коля              image    Рассвет",
    ]


def test_fetch_asks_for_the_minutes_it_is_told(api):
    cli.main(["fetch", "--minutes", "7"])

    assert [request.minutes for request in api.requests] == [7]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fetch_prints_one_json_array(api, capsys, count):
    posted = [api.post("audio") for _ in range(count)]

    code = cli.main(["fetch", "--json"])

    statuses = [from_dict(item) for item in json.loads(capsys.readouterr().out)]
    assert code == 0
    assert statuses == [from_dict(item) for item in posted]


def test_fetch_prints_json_lines(api, capsys):
    posted = [api.post(text="line\nbreak"), api.post("video"), api.post("deleted", of="3EB0")]
    api.post_raw([1, "not an object"])

    code = cli.main(["fetch", "--jsonl"])

    statuses = [from_dict(json.loads(line)) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert sorted(map(repr, statuses)) == sorted(map(repr, map(from_dict, [*posted, [1, "not an object"]])))


def test_fetch_without_credentials_shows_every_kind(capsys):
    code = cli.main(["fetch"])

    out, err = capsys.readouterr()
    assert code == 0
    assert kinds(out) == KINDS
    assert err.count("\n") == 1
    assert "simulator" in err
    assert "GREEN_API_TOKEN_INSTANCE" in err


def test_a_proxy_of_the_environment_is_not_between_us_and_the_simulator(monkeypatch):
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:1")

    assert cli.main(["fetch"]) == 0


# watch


def test_watch_ends_after_max(api, capsys):
    for _ in range(3):
        api.post()

    code = cli.main(["watch", "--max", "2"])

    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert out.count("\n") == 2


def test_watch_prints_json_lines(api, capsys):
    posted = api.post("video")

    cli.main(["watch", "--jsonl", "--max", "1"])

    assert from_dict(json.loads(capsys.readouterr().out)) == from_dict(posted)


def test_watch_begins_so_many_minutes_back(api, capsys):
    api.post(text="earlier", late=1200)
    api.post(text="lately", late=300)

    cli.main(["watch", "--minutes", "10", "--max", "1"])

    assert "lately" in capsys.readouterr().out


def test_watch_takes_more_minutes_than_the_api_keeps(api):
    api.post()

    assert cli.main(["watch", "--minutes", "9" * 30, "--max", "1"]) == 0


@pytest.mark.usefixtures("no_backoff")
def test_watch_warns_on_one_line_goes_on_and_says_that_it_works_again(api, capsys):
    api.faults.append(Refuse(500))
    api.post()

    code = cli.main(["watch", "--interval", "0.1", "--max", "1"])

    out, err = capsys.readouterr()
    assert code == 0
    assert out.count("\n") == 1
    warning, recovery = err.splitlines()
    assert warning.startswith("greenapi-async: warning: polling instance 1101000001 fails: HTTP 500")
    assert re.fullmatch(r"greenapi-async: works again after \d+ s", recovery)


def test_no_handler_of_the_logger_is_left_behind(api):
    cli.main(["fetch"])

    assert logging.getLogger("greenapi_async").handlers == []


@pytest.mark.usefixtures("quick_demo")
@pytest.mark.parametrize("interval", [[], ["--interval", "0.3"]])
def test_watch_without_credentials_shows_every_kind_and_ends(capsys, interval):
    code = cli.main(["watch", *interval])

    out, err = capsys.readouterr()
    assert code == 0
    assert kinds(out) == KINDS
    assert err.count("\n") == 1


def test_watch_without_credentials_ends_even_if_something_hangs(capsys, monkeypatch):
    async def hang(api, *, every=0.0):
        await anyio.sleep_forever()

    monkeypatch.setattr(commands, "demo", hang)
    monkeypatch.setattr(commands, "_MAX_DEMO_SECONDS", 0.2)

    assert cli.main(["watch"]) == 0


@pytest.mark.usefixtures("quick_demo")
def test_an_error_beside_the_demo_comes_out_on_one_line(capsys, monkeypatch):
    def refusing(**settings):
        api = Simulator(**settings)
        api.faults.append(Refuse(403))
        return api

    monkeypatch.setattr(commands, "Simulator", refusing)

    code = cli.main(["watch"])

    assert code == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("greenapi-async: error: HTTP 403: ")


# simulator


def test_simulator_prints_what_to_paste_and_ends_on_ctrl_c(capsys, monkeypatch):
    async def interrupt(api, *, every):
        await demo(api, every=0.0)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(commands, "demo", interrupt)

    code = cli.main(["simulator"])

    out, err = capsys.readouterr()
    comment, *exports = out.splitlines()
    assert (code, err) == (130, "")
    assert comment.startswith("# ")
    assert [line.partition("=")[0] for line in exports] == [
        "export GREEN_API_ID_INSTANCE",
        "export GREEN_API_TOKEN_INSTANCE",
        "export GREEN_API_URL",
    ]


def test_simulator_in_chaos_plays_the_seed_for_ever(capsys, monkeypatch):
    """The same number brings the same trouble, so that a bot can be tried on it again."""
    played = []

    async def interrupt(api, seed, *, every):
        played.append((type(api), seed))
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(commands, "chaos", interrupt)

    assert cli.main(["simulator", "--chaos", "7"]) == 130
    assert played == [(Simulator, 7)]


def test_simulator_says_that_its_port_is_taken(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code = cli.main(["simulator", "--port", str(port)])

    assert code == 1
    assert capsys.readouterr().err == (
        f"greenapi-async: error: cannot listen on port {port} (Address already in use): "
        "choose another with --port\n"
    )


def test_a_port_that_fails_without_a_number_is_told_too(capsys, monkeypatch):
    def refuse(*, port):
        raise OSError("no loopback here")

    monkeypatch.setattr(commands, "Simulator", refuse)

    assert cli.main(["simulator"]) == 1
    assert "(no loopback here)" in capsys.readouterr().err


# Stopping


# anyio before 4.16 leaves a socket that was being connected to the garbage collector.
@pytest.mark.usefixtures("nothing_left_to_collect")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_watch(capsys, monkeypatch, number):
    async def stop(api):
        signal.raise_signal(number)
        await anyio.sleep_forever()

    monkeypatch.setattr(commands, "demo", stop)
    before = signal.getsignal(signal.SIGTERM)

    code = cli.main(["watch"])

    assert code == 130
    assert capsys.readouterr().err.count("\n") == 1
    assert signal.getsignal(signal.SIGTERM) is before


def test_where_sigint_is_ignored_it_stays_so_and_sigterm_is_heard(api, monkeypatch):
    seen = []
    monkeypatch.setattr(
        commands, "echo", lambda _: seen.extend(map(signal.getsignal, (signal.SIGINT, signal.SIGTERM)))
    )
    api.post()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)

    try:
        cli.main(["fetch"])
        after = signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)

    assert seen[0] is after is signal.SIG_IGN
    assert callable(seen[1])


# Output


def test_a_reader_that_went_away_is_no_error(api, capsys, monkeypatch):
    for _ in range(3):
        api.post()

    reader, writer = os.pipe()
    os.close(reader)

    with os.fdopen(writer, "w", encoding="utf-8") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        code = cli.main(["watch", "--jsonl"])

    assert (code, capsys.readouterr().err) == (0, "")


@pytest.mark.skipif(not FULL.exists(), reason="needs a disk that is always full")
def test_a_full_disk_is_one_line(api, capsys, monkeypatch):
    api.post()

    with FULL.open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        code = cli.main(["fetch"])

    assert code == 1
    assert capsys.readouterr().err == "greenapi-async: error: No space left on device\n"


def test_closed_standard_streams_are_nobody_listening(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)

    assert cli.main(["fetch"]) == 0
    assert (sys.stdout, sys.stderr) == (None, None)


@pytest.mark.parametrize("arguments", [[], ["--jsonl"]])
def test_a_stdout_without_the_letters_shows_their_codes(api, monkeypatch, arguments):
    item = api.post(text="Доброе утро 🌅")
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)

    code = cli.main(["fetch", *arguments])

    shown = stdout.buffer.getvalue().decode("ascii")
    assert code == 0
    assert from_dict(json.loads(shown)) == from_dict(item) if arguments else "\\u0414\\u043e" in shown


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--jsonl"]])
@pytest.mark.parametrize(
    "field", ["textMessage", "senderContactName", "idMessage", "typeMessage", "unheardOf"]
)
def test_a_stranger_moves_no_cursor_and_forges_no_line(api, capsys, arguments, field):
    """Whatever field it is in: one line, no control characters, no bidi overrides, no lone surrogates."""
    item = {"idMessage": "3EB0", "timestamp": int(time.time()), "typeMessage": "extendedTextMessage"}
    api.faults.append(Answer(json.dumps([item | {"chatId": "1@c.us", field: HOSTILE}])))

    code = cli.main(["fetch", *arguments])

    out = capsys.readouterr().out
    assert code == 0
    assert out.count("\n") == 1
    assert not {unicodedata.category(char) for char in out[:-1]} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize("arguments", [["--json"], ["--jsonl"]])
def test_hostile_json_still_says_the_same(api, capsys, arguments):
    """But for half an emoji, which no UTF-8 can say."""
    item = {"idMessage": "3EB0", "timestamp": int(time.time()), "chatId": "1@c.us", "textMessage": HOSTILE}
    api.faults.append(Answer(json.dumps([item])))

    cli.main(["fetch", *arguments])

    item["textMessage"] = HOSTILE.replace("\ud83d", "\ufffd")
    assert json.loads(capsys.readouterr().out) in (item, [item])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (HOSTILE, r"a\x1b[2J\x9b31m⏎b\u202ec\u2066d�e\x07f\u2028g h"),
        ("سلام می\u200cکنم", "سلام می\u200cکنم"),
        ("👩\u200d👩\u200d👧 ☀️", "👩\u200d👩\u200d👧 ☀️"),
        ("\U0001fae9", "\U0001fae9"),
        ("\u3000x", "x"),
    ],
    ids=["hostile", "persian", "family", "newer than Python", "wide space"],
)
def test_a_text_in_a_line(text, shown):
    assert _terminal.text_line(make(textMessage=text)).partition("text     ")[2].lstrip() == shown


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (make(textMessage="Доброе утро"), "22 Nov  2025  Аня               text     Доброе утро"),
        (make(extendedTextMessage={"text": "hi"}), "22 Nov  2025  Аня               text     hi"),
        (make(), "22 Nov  2025  Аня               text"),
        (make("imageMessage", caption="c"), "22 Nov  2025  Аня               image    c"),
        (
            make("audioMessage", downloadUrl="https://x/a"),
            "22 Nov  2025  Аня               audio    https://x/a",
        ),
        (make("videoMessage"), "22 Nov  2025  Аня               video"),
        (make("deletedMessage"), "22 Nov  2025  Аня               deleted  3EB0FFFF"),
        (make("sticker"), "22 Nov  2025  Аня               unknown  sticker: unknown typeMessage"),
        (make(timestamp=253_402_300_799), "31 Dec  9999  Аня               text"),
        (make(senderContactName="花花花花花花花花花"), "22 Nov  2025  花花花花花花花…   text"),
        (make(senderContactName="e\u0301" * 16, textMessage="x"), f"22 Nov  2025  {'é' * 16}  text     x"),
        (from_dict(7), "no time       -                 unknown  expected an object, got int"),
    ],
)
def test_a_status_as_a_line(status, line):
    assert unicodedata.normalize("NFC", _terminal.text_line(status)) == line


def test_a_terminal_gets_colours_and_no_line_wider_than_it(api, monkeypatch):
    api.post(text="long " * 100)
    api.post("audio")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())

    cli.main(["fetch"])

    text, audio = terminal.shown().splitlines()
    plain = text
    for code in ("0", "1", "2", "32"):
        assert f"\x1b[{code}m" in text
        plain = plain.replace(f"\x1b[{code}m", "")

    assert len(plain) == 60
    assert plain.endswith("…")
    assert audio.endswith(".ogg")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_without_colours(api, monkeypatch, name, value):
    api.post()
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())

    cli.main(["fetch"])

    assert terminal.shown().count("\n") == 1
    assert "\x1b" not in terminal.shown()


# Errors


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"GREEN_API_URL": "https://1101.api.green-api.com"}, "GREEN_API_ID_INSTANCE"),
        ({"GREEN_API_ID_INSTANCE": "1101000001"}, "GREEN_API_TOKEN_INSTANCE"),
        ({"GREEN_API_ID_INSTANCE": "", "GREEN_API_TOKEN_INSTANCE": TOKEN}, "GREEN_API_ID_INSTANCE"),
        (
            {"GREEN_API_ID_INSTANCE": "1", "GREEN_API_TOKEN_INSTANCE_FILE": "/nowhere"},
            "GREEN_API_TOKEN_INSTANCE_FILE",
        ),
    ],
)
@pytest.mark.parametrize("command", ["watch", "fetch"])
def test_half_of_the_credentials_is_wrong_usage(capsys, monkeypatch, command, variables, name):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)

    code = cli.main([command])

    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith(f"greenapi-async: error: {name} ")
    assert err.count("\n") == 1
    assert TOKEN not in err


@pytest.mark.parametrize("command", ["watch", "fetch"])
@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (Refuse(401), "GREEN_API_TOKEN_INSTANCE"),
        (Refuse(403), "api_url"),
        (Refuse(404), "api_url"),
        (Refuse(400, {"message": "bad request data"}), "--minutes"),
        (Refuse(466), "change the plan"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_to_do(api, capsys, command, fault, advice):
    api.faults.extend([fault] * 2)  # A day is tried, too, where the first window may have been too wide.

    code = cli.main([command])

    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith(f"greenapi-async: error: HTTP {fault.code}: ")
    assert advice in err.splitlines()[-1]
    assert ".;" not in err  # The API's own words are whole sentences.
    assert TOKEN not in err


@pytest.mark.usefixtures("no_retries")
@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (Refuse(500), "try again"),
        (Refuse(400, {"message": "instance is starting"}), "wait a minute"),
        (Answer("<html>"), "GREEN_API_URL"),
        (Reset(), "check the network"),
    ],
)
def test_what_does_not_heal_soon_is_one_line_too(api, capsys, fault, advice):
    api.faults.append(fault)

    code = cli.main(["fetch"])

    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert err.startswith("greenapi-async: error: ")
    assert err.count("\n") == 1
    assert advice in err
    assert TOKEN not in err


# Usage


@pytest.mark.parametrize(
    "argv",
    [
        ["watch", "--interval", "0"],
        ["watch", "--interval", "-1"],
        ["watch", "--interval", "inf"],
        ["watch", "--interval", "nan"],
        ["watch", "--interval", "often"],
        ["watch", "--minutes", "0"],
        ["watch", "--minutes", "1.5"],
        ["watch", "--max", "0"],
        ["watch", "--json"],
        ["watch", "--min", "1"],
        ["fetch", "--minutes", "many"],
        ["fetch", "--json", "--jsonl"],
        ["simulator", "--port", "-1"],
        ["simulator", "--port", "65536"],
        ["simulator", "--port", "http"],
        ["simulator", "--chaos", "much"],
        ["bogus"],
    ],
    ids=" ".join,
)
def test_wrong_arguments(capsys, argv):
    wrong_usage(*argv)

    out, err = capsys.readouterr()
    assert out == ""
    assert "error: " in err.splitlines()[-1]


def test_an_interval_beyond_a_day_is_wrong_usage(api, capsys):
    assert cli.main(["watch", "--interval", "86401"]) == 2
    assert "interval" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["--token", TOKEN], [f"--token={TOKEN}"], ["1101000001", TOKEN]])
def test_a_token_among_the_arguments_is_refused_and_not_repeated(capsys, argv):
    wrong_usage("watch", *argv)

    err = capsys.readouterr().err
    assert TOKEN not in err
    assert "environment only" in err
    assert ("--token" in err) == argv[0].startswith("--token")


def test_no_command_is_help(capsys):
    wrong_usage()

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: greenapi-async")


@pytest.mark.parametrize("command", [[], ["watch"], ["fetch"], ["check"], ["simulator"]])
def test_help_has_examples(capsys, command):
    with pytest.raises(SystemExit) as caught:
        cli.main([*command, "--help"])

    assert caught.value.code == 0
    assert f"greenapi-async {' '.join(command)}" in capsys.readouterr().out.partition("examples:")[2]


def test_version(capsys):
    """A literal of the package, which the build reads, too: nothing is looked up among what is installed."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])

    assert caught.value.code == 0
    assert capsys.readouterr().out == f"greenapi-async {greenapi_async.__version__}\n"
