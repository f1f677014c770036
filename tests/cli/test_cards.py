"""`watch` on a terminal: cards, pictures and the bar, as pure lines and in a real pseudo-terminal."""

import base64
import io
import os
import re
import signal
import time
import warnings
from datetime import UTC, datetime

import pytest
from decoding import is_harmless
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from running import environment, on_terminal, shown_until, shown_until_closed
from samples import SAMPLES

from greenapi_async import Health, RetentionGapError, from_dict
from greenapi_async.cli import cards
from greenapi_async.cli.picture import picture
from greenapi_async.cli.terminal import cells, sanitized, wrapped
from greenapi_async.simulator import Drip, Refuse, Simulator

SGR = re.compile(r"\x1b\[([0-9;]*)m")
MOVES = re.compile(r"\x1b\[(?:\?25[hl]|[0-9]*[AK]|[0-9;]*m)")
MANY_COLOURS = {"COLORTERM": "truecolor"}
HOSTILE = ["\x1b[2J", "\x1b]0;t\x07", "\r\n¶ Аня  text  now", "\n", "\u202e", "\u2028", "花" * 50, "☀️" * 60]
HOSTILE += [
    "e" + "\u0301" * 500,
    "ש\u05b8" * 50,
    "\U0001fae9" * 60,
    "[red]x[/red] :smile:",
    "\t",
    "a b " * 80,
]


@pytest.fixture
def api():
    """A simulator in a thread of its own."""
    with Simulator(max_rate=None) as api:
        yield api


def jpeg(width=72, height=128, colour=(200, 30, 30), kind="JPEG"):
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, kind)
    return file.getvalue()


def make(type_message="extendedTextMessage", **fields):
    usual = {"idMessage": "3EB0", "timestamp": 1_763_812_800, "typeMessage": type_message, "chatId": "1@c.us"}
    return from_dict(usual | {"senderContactName": "Аня"} | fields)


def pictured(data, **fields):
    return make("imageMessage", jpegThumbnail=base64.b64encode(data).decode(), **fields)


def plain(status, file=None, width=80, rows=0):
    return [line.plain for line in cards.card(status, file, width=width, picture_rows=rows)]


# A card


def test_a_card_has_its_head_in_column_0_and_the_rest_below_it(tmp_path):
    lines = plain(make("imageMessage", caption="one\ntwo"), tmp_path / "a.jpg")

    assert lines == ["▣ Аня  image  22 Nov  2025", "  one", "  two", f"  {tmp_path / 'a.jpg'}"]


def test_a_picture_stands_left_and_its_caption_right():
    lines = plain(pictured(jpeg(), caption="Рассвет"), rows=6)

    assert lines[1:] == ["  ▀▀▀▀▀▀▀ Рассвет", *["  ▀▀▀▀▀▀▀ "] * 5]


def test_a_caption_longer_than_its_picture_goes_on_below_it_in_its_own_column():
    lines = plain(pictured(jpeg(height=72, width=72), caption="words " * 40), rows=6, width=40)

    assert len(lines) > 7
    assert all(line.startswith("  " + " " * 13) for line in lines[7:])


@given(
    st.sampled_from(SAMPLES),
    st.lists(st.sampled_from(HOSTILE) | st.text(max_size=6), max_size=4).map("".join),
    st.sampled_from(
        ["textMessage", "senderContactName", "idMessage", "caption", "typeMessage", "downloadUrl"]
    ),
    st.integers(20, 120),
)
def test_a_stranger_leaves_the_card_nowhere(sample, text, field, width):
    """One head; all else is indented, wraps nowhere, and moves no cursor."""
    item = {**sample, field: text, "jpegThumbnail": base64.b64encode(jpeg()).decode()}
    item.pop("extendedTextMessage", None)
    head, *lines = plain(from_dict(item), width=width, rows=6)

    assert re.match(r"[¶▣▶♪✗?] ", head)
    assert all(line.startswith("  ") for line in lines)
    assert len(lines) <= 13
    for line in (head, *lines):
        assert is_harmless(line), ascii(line)
        assert cells(line) < max(width, 40)


def test_marks_heaped_on_a_letter_are_cut_and_a_hebrew_text_is_not():
    """5,000 of them take no cell, and any amount of lines above and below."""
    assert sanitized("Z" + "\u0300" * 5000 + "algo") == "Z" + "\u0300" * 8 + "…algo"
    assert sanitized("a" + "\u200f" * 5000) == "a" + "\u200f" * 8 + "…"
    for text in ("בְּרֵאשִׁ֖ית בָּרָ֣א", "नमस्ते", "ẵ ǭ", "👩\u200d👩\u200d👧\u200d👦"):
        assert sanitized(text) == text


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three", ["one two", "three"]),
        ("one  two", ["one  two"]),
        ("abcdefghijkl", ["abcdefgh", "ijkl"]),
        ("花花花花花", ["花花花花", "花"]),
        ("a b c d e f g h i j k l", ["a b c d", "e f g h", "i j k l"]),
        ("a b c d e f g h i j k l m", ["a b c d", "e f g h", "i j k l…"]),
        ("", []),
    ],
)
def test_words_are_kept_together(text, lines):
    assert wrapped(text, 8, lines=3) == lines


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("#228B22", (34, 139, 34)),
        ("#228B2280", (34, 139, 34)),
        ("228b22", (34, 139, 34)),
        ("rgb(34, 139,34)", (34, 139, 34)),
        ("rgba(34,139,34,0.5)", (34, 139, 34)),
        ("rgb(34,139,999)", (34, 139, 255)),
        ("green", None),
        ("#12", None),
        ("", None),
        (None, None),
        ("#228B22 on red", None),
    ],
)
def test_a_background_as_the_api_spells_it(text, colour):
    assert cards.colour_of(text) == colour


@pytest.mark.parametrize(
    ("background", "ink"),
    [
        ((0, 0, 0), "255"),
        ((255, 255, 255), "0"),
        ((34, 139, 34), "255"),
        ((255, 255, 0), "0"),
        ((148, 148, 148), "255"),
        ((150, 150, 150), "0"),
    ],
)
def test_ink_is_white_where_that_can_be_read(background, ink):
    assert cards.ink(background) == f"rgb({ink},{ink},{ink})"


def test_a_text_stands_on_its_colour():
    [_, line] = cards.card(
        make(textMessage="hi", extendedTextMessage={"text": "hi", "backgroundColor": "#FFFF00"}),
        None,
        width=80,
        picture_rows=0,
    )

    assert line.plain == "   hi "
    assert [str(span.style) for span in line.spans] == ["rgb(0,0,0) on rgb(255,255,0)"]


# A picture


@pytest.mark.parametrize(
    ("width", "height", "columns", "rows"),
    [
        (72, 128, 7, 6),
        (128, 72, 21, 6),
        (100, 100, 12, 6),
        (1000, 10, 30, 1),
        (10, 1000, 1, 6),
        (1, 1, 12, 6),
    ],
)
def test_a_picture_keeps_its_shape(width, height, columns, rows):
    shown = picture(jpeg(width, height), rows=6, columns=30)

    assert len(shown) == rows
    assert {len(row) for row in shown} == {columns}
    assert all(abs(part - wanted) < 12 for part, wanted in zip(shown[0][0][0], (200, 30, 30), strict=True))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff\xe0",
        jpeg()[:200],
        jpeg(kind="PNG"),
        jpeg(kind="GIF"),
        b"<svg/>",
        jpeg().replace((128).to_bytes(2, "big") + (72).to_bytes(2, "big"), b"\xff\xff\xff\xff"),
    ],
    ids=["empty", "head", "cut", "png", "gif", "svg", "bomb"],
)
def test_what_is_no_thumbnail_is_no_picture(data):
    """The vendor's own sample is cut; a stranger's may be anything, and is opened as JPEG only."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert picture(data, rows=6, columns=30) == []
        assert plain(pictured(data, caption="c"), rows=6)[1:] == ["  c"]

    assert caught == []


# The bar


@pytest.mark.parametrize(
    ("health", "wait", "bar"),
    [
        (Health(), None, "* live  9 statuses"),
        (Health(lag=30.0, delivered=1), 42.4, "* live  9 statuses  next request in 42 s"),
        (Health(lag=602.0), 60.0, "* live  9 statuses  next request in 60 s"),
        (Health(), 0.3, "* live  9 statuses  requesting"),
        (
            Health(lag=200.0, delivered=1, consecutive_failures=1),
            2.0,
            "* live  9 statuses  1 failure  200 s behind  next request in 2 s",
        ),
        (
            Health(gaps=(RetentionGapError(datetime.now(UTC), datetime.now(UTC)),) * 2),
            5.0,
            "* live  9 statuses  2 gaps  next request in 5 s",
        ),
    ],
)
def test_the_bar_says_what_there_is(health, wait, bar):
    assert cards.bar_line("live", health, shown=9, wait=wait, interval=60.0) == bar


# A terminal


def without_moves(shown):
    return MOVES.sub("", shown.replace("\r\n", "\n").replace("\r", "\n"))


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_a_terminal_shows_cards_with_pictures_and_nothing_remains_of_the_bar(api, size):
    for kind in ("text", "image", "video", "audio"):
        api.post(kind, caption="Рассвет", text="Доброе утро")

    with on_terminal("watch", "--max", "4", api=api, size=size, variables=MANY_COLOURS) as (
        process,
        controller,
    ):
        shown = shown_until_closed(controller)
        code = process.wait(timeout=10)

    rows = 10 if size[1] >= 40 else 6
    assert code == 0
    assert "* live" in shown
    assert len(re.findall(r"^  (?:\x1b\[[0-9;]*m)*▀", without_colours(shown), re.MULTILINE)) == 2 * rows
    assert "38;2;" in shown
    assert shown.rindex("\x1b[2K") > shown.rindex("* ")


def without_colours(shown):
    return SGR.sub("", shown).replace("\r", "")


@pytest.mark.parametrize(
    ("size", "variables", "pictures", "colours"),
    [
        ((80, 24), {"TERM": "xterm-256color"}, True, True),
        ((80, 24), {"TERM": "xterm"}, False, True),
        ((39, 24), MANY_COLOURS, False, True),
        ((80, 11), MANY_COLOURS, False, True),
        ((30, 8), MANY_COLOURS, False, True),
        ((80, 24), MANY_COLOURS | {"NO_COLOR": "1"}, False, False),
    ],
)
def test_pictures_are_for_windows_with_room_and_colours(api, size, variables, pictures, colours):
    api.post("image", caption="Рассвет")

    with on_terminal("watch", "--max", "1", api=api, size=size, variables=variables) as (_, controller):
        shown = shown_until_closed(controller)

    assert ("▀" in shown) is pictures
    assert any(re.search(r"(?:^|;)[34][0-8]", codes) for codes in SGR.findall(shown)) is colours
    assert "▣ " in shown
    assert max(map(cells, without_moves(shown).splitlines())) <= size[0]


@pytest.mark.parametrize(
    ("options", "variables"),
    [
        (["--plain"], MANY_COLOURS),
        (["--exec", "true"], MANY_COLOURS),
        (["--jsonl"], MANY_COLOURS),
        ([], MANY_COLOURS | {"TERM": "dumb"}),
        ([], MANY_COLOURS | {"PYTHONIOENCODING": "ascii"}),
    ],
    ids=str,
)
def test_plain_lines_elsewhere(api, options, variables):
    api.post("image", caption="c")

    with on_terminal("watch", "--max", "1", *options, api=api, variables=variables) as (process, controller):
        shown = shown_until_closed(controller)

        assert process.wait(timeout=10) == 0

    assert shown.count("\n") == 1
    assert not re.search(r"\x1b\[\?|▀|\* live", shown)


def test_without_the_extra_there_are_plain_lines(api, tmp_path):
    """It is an extra: what cannot be imported is no error."""
    package = tmp_path / "rich"
    package.mkdir()
    (package / "__init__.py").write_text("raise ModuleNotFoundError('no rich here')")
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    api.post("image", caption="c")

    with on_terminal("watch", "--max", "1", api=api, variables=MANY_COLOURS | {"PYTHONPATH": path}) as (
        process,
        controller,
    ):
        shown = shown_until_closed(controller)
        assert process.wait(timeout=10) == 0

    assert shown.count("\n") == 1
    assert "image" in shown


def test_what_is_said_stands_above_the_bar(api):
    """Warnings, notices and the recovery do not tear it apart; the last error is there while it lasts."""
    argv = ["watch", "--interval", "0.3"]

    with on_terminal(*argv, api=api, variables=MANY_COLOURS, stderr=None) as (process, controller):
        first = shown_until(controller, "connected, nothing yet")
        api.faults.append(Refuse(500))
        failing = shown_until(controller, "works again after") + shown_until(controller, "* live")
        process.send_signal(signal.SIGTERM)
        rest = shown_until_closed(controller)
        assert process.wait(timeout=10) == 130

    lines = without_moves(first + failing + rest).splitlines()
    told = [line for line in lines if line.startswith("greenapi-async: ")]
    assert [line.split(": ")[1][:9] for line in told] == ["connected", "warning", "works aga"]
    assert any(line.startswith("* failing  0 statuses  1 failure") for line in lines)
    assert any(line.startswith("HTTP 500") for line in lines)


@pytest.mark.parametrize("key", [b"\x03"], ids=["Ctrl-C"])
def test_ctrl_c_leaves_a_clean_terminal(api, key):
    """The bar is gone, the cursor is there, and the code says that somebody stopped it."""
    api.post(text="first")

    with on_terminal("watch", api=api, variables=MANY_COLOURS) as (process, controller):
        shown = shown_until(controller, "next request")
        os.write(controller, key)
        shown += shown_until_closed(controller)

        assert process.wait(timeout=10) == 130

    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")
    assert shown.rindex("\x1b[2K") > shown.rindex("* live")


def test_the_cursor_is_never_left_hidden(api):
    """Ctrl-Z and a kill give nobody the time to show it again."""
    api.post(text="first")

    with on_terminal("watch", api=api, variables=MANY_COLOURS) as (process, controller):
        shown = shown_until(controller, "next request")
        process.send_signal(signal.SIGKILL)

    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")


def test_it_goes_on_after_ctrl_z(api):
    api.post(text="first")

    with on_terminal("watch", "--interval", "0.5", api=api, variables=MANY_COLOURS) as (process, controller):
        shown_until(controller, "first")
        process.send_signal(signal.SIGSTOP)
        api.post(text="second")
        process.send_signal(signal.SIGCONT)

        assert "second" in shown_until(controller, "second")


def test_a_download_is_drawn_while_it_lasts(api, tmp_path):
    """Below the cards, above the bar; the card says where the file is."""
    api.post("audio")
    api.media_faults.append(Drip(0.0005))
    argv = ["watch", "--max", "1", "--save", "s"]

    with on_terminal(*argv, api=api, variables=MANY_COLOURS, cwd=tmp_path) as (process, controller):
        lines = without_moves(shown_until_closed(controller)).splitlines()
        assert process.wait(timeout=10) == 0

    [file] = (tmp_path / "s").glob("*.ogg")
    drawn = [line for line in lines if re.match("[━╌]{20}  ", line)]
    assert len(set(drawn)) > 1
    assert all(line.endswith("MiB  from Аня") for line in drawn)
    assert f"  s/{file.name}" in lines


def test_ctrl_c_reaches_a_command_too(api, tmp_path):
    """A terminal sends it to both: neither is left, and nothing is told of a failure."""
    api.post()
    script = tmp_path / "wait"
    script.write_text("#!/bin/sh\necho $$ > pid\nexec sleep 60\n")
    script.chmod(0o700)
    argv = ["watch", "--exec", str(script)]

    with on_terminal(*argv, api=api, cwd=tmp_path, stderr=None) as (process, controller):
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.02)
        os.write(controller, b"\x03")
        shown = shown_until_closed(controller)
        assert process.wait(timeout=10) == 130

    assert "greenapi-async: " not in shown
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_download_is_drawn_as_it_grows():
    download = cards._Download("from Аня")
    lines = []
    for received, total in [
        (0, None),
        (1, None),
        (0, 4_000_000),
        (1_000_000, 4_000_000),
        (4_000_000, 4_000_000),
    ]:
        download.received, download.total = received, total
        lines.append(download.line())

    assert lines == [
        "0.0 MiB  from Аня",
        "0.0 MiB  from Аня",
        f"{'╌' * 20}  0.0/3.8 MiB  from Аня",
        f"{'━' * 5}{'╌' * 15}  1.0/3.8 MiB  from Аня",
        f"{'━' * 20}  3.8/3.8 MiB  from Аня",
    ]
