"""Strangers' texts, wherever they end up in front of somebody: lines of the terminal, errors, logs, reprs."""

import io
import json
import re
import sys

import anyio
import httpx
import pytest
from decoding import is_harmless
from fake_api import TOKEN
from hypothesis import given
from hypothesis import strategies as st
from samples import SAMPLES

from greenapi_async import AsyncStatusesClient, GreenApiError, cli, from_dict
from greenapi_async.cli import terminal as _terminal

LOCATION = "https://\u202e.example/\x1b[2J".encode()
OWN_COLOURS = re.compile(r"\x1b\[(0|1|2|3[1-6])m")

NASTY = [
    "\x1b[2J\x1b[1;1H",
    "\x1b]0;title\x07",
    "\x1b]8;;https://evil.example\x1b\\here\x1b]8;;\x1b\\",
    "\x9b31m\x90q\x9c",
    "\r\n22 Nov 20:05  text     forged",
    "\n\v\f\x85\u2028\u2029",
    "\b\b\b\x7f\t\x00",
    "\u202e\u202d\u202a\u202b\u202c",
    "\u2066\u2067\u2068\u2069\u061c",
    "\u200b\u2060\ufeff\u00ad\u180e",
    "\U000e0001\U000e0041\U000e007f",
    "\ud83d\udc00",
    "\U0010ffff\ufdd0\ue000",
]
hostile = st.lists(st.sampled_from(NASTY) | st.text(max_size=8) | st.characters(), max_size=6).map("".join)
FIELDS = sorted({name for sample in SAMPLES for name, value in sample.items() if isinstance(value, str)})


@st.composite
def hostile_items(draw):
    """A sample some of whose texts are hostile, in the nested object too; its type stays in half of them."""
    item = dict(draw(st.sampled_from(SAMPLES)))
    for name in draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=4)):
        item[name] = draw(hostile)
    if "extendedTextMessage" in item:
        item["extendedTextMessage"] = {"text": draw(hostile), draw(hostile): draw(hostile)}
    return item


class Stdout(io.StringIO):
    encoding = "utf-8"

    def __init__(self, *, terminal):
        super().__init__()
        self._terminal = terminal

    def isatty(self):
        return self._terminal


@given(hostile_items(), st.booleans())
def test_no_text_acts_on_a_terminal(item, terminal):
    """Whatever stands in whatever field: a line, our own colours, and nothing else that a terminal acts on."""
    status = from_dict(item)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", Stdout(terminal=terminal))
        patch.setenv("TERM", "xterm")
        patch.delenv("NO_COLOR", raising=False)
        lines = [_terminal.text_line(status), _terminal.json_line(status)]

    for line in lines:
        plain = OWN_COLOURS.sub("", line)
        assert is_harmless(plain), ascii(plain)

    assert OWN_COLOURS.search(lines[0]) if terminal else "\x1b" not in lines[0]
    assert from_dict(json.loads(lines[1])).key == status.key
    assert repr(status).isprintable()


@given(hostile)
def test_a_text_that_cannot_be_shown_is_told_and_not_dropped(text):
    """Escaping is not forgetting: every letter and digit of a text is still there."""
    shown = _terminal.sanitized(text)

    letters = [char for char in text if char.isprintable() and not char.isspace()]
    rest = iter(shown)
    assert all(char in rest for char in letters)


@pytest.mark.parametrize(
    "text",
    [
        "שלום \u200e+972\u200f עולם",
        "السلام عليكم ورحمة الله",
        "سلام می\u200cکنم",
        "👩\u200d👩\u200d👧\u200d👦 👍🏽 🏳️\u200d🌈 🇮🇱 1️⃣ ☀️",
        "नमस्ते, สวัสดี, e\u0301",
        "\U0001fae9",
    ],
    ids=["hebrew", "arabic", "persian", "emoji", "combining", "newer than Python"],
)
def test_a_reader_sees_their_own_language(text):
    assert _terminal.sanitized(text) == text


@pytest.mark.parametrize("wide", ["☀️", "1️⃣", "\U0001fae9", "漢", "👍"], ids=ascii)
def test_a_long_line_of_wide_characters_does_not_go_on_below(monkeypatch, wide):
    """What does not fit wraps, and the wrapped part could pose as a line of its own."""
    monkeypatch.setattr(sys, "stdout", Stdout(terminal=True))
    monkeypatch.setenv("COLUMNS", "80")
    sample = next(sample for sample in SAMPLES if "textMessage" in sample)

    line = OWN_COLOURS.sub("", _terminal.text_line(from_dict(sample | {"textMessage": wide * 100})))

    assert 40 + 2 * line.count(wide) <= 80


def refusing(http_code, body):
    def answer(_):
        return httpx.Response(http_code, content=body, headers=[(b"Location", LOCATION)])

    http_client = httpx.AsyncClient(transport=httpx.MockTransport(answer), trust_env=False)
    return AsyncStatusesClient(1, TOKEN, http_client=http_client, max_rate=None, retries=0)


def said_in(text):
    """Return bodies that say a text, in each of the API's ways."""
    quota = {"invokeStatus": {"description": text, "method": text, "used": text}}
    return [
        json.dumps(body).encode()
        for body in ({"message": text}, {"reason": text}, {"message": [text]}, {text: text}, quota, text)
    ] + [f"!{text}".encode(errors="surrogatepass")]


@pytest.mark.anyio
@given(hostile, st.sampled_from([200, 302, 400, 403, 404, 466, 500]))
async def test_no_refusal_acts_on_who_reads_the_error(text, http_code):
    """In the message, in every attribute and in the repr: one line of printable characters."""
    for body in said_in(text):
        with pytest.raises(GreenApiError) as caught:
            await refusing(http_code, body).fetch()

        told = [str(caught.value), repr(caught.value), *filter(_is_text, vars(caught.value).values())]
        assert all(map(str.isprintable, told)), list(map(ascii, told))
        assert max(map(len, told)) < 2048


def _is_text(value):
    return isinstance(value, str)


@pytest.mark.anyio
@pytest.mark.parametrize("text", NASTY, ids=ascii)
async def test_no_refusal_forges_a_line_of_a_log(caplog, text):
    """A log is read in a terminal, too."""
    caplog.set_level("DEBUG")
    poller = refusing(500, json.dumps({"message": f"a{text}b"}).encode()).poll()

    with anyio.move_on_after(0.05):
        await anext(poller)

    lines = [record.getMessage() for record in caplog.records if record.name == "greenapi_async"]
    assert any("fails: HTTP 500: a" in line for line in lines)
    assert all(map(str.isprintable, lines)), list(map(ascii, lines))


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_no_refusal_acts_on_the_terminal_of_the_command(monkeypatch, capsys, text):
    async def refuse(_):
        raise GreenApiError(f"a{text}b")

    monkeypatch.setattr("greenapi_async.cli.arguments.fetch", refuse)

    assert cli.main(["fetch"]) == 1
    assert is_harmless(capsys.readouterr().err.removesuffix("\n"))
