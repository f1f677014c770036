"""The scanner: it cuts what is JSON where its items end, and whatever comes it goes on to the end, and ends."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from greenapi_async._decoding import scanner
from greenapi_async.errors import DecodeError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
marks = st.lists(st.sampled_from([*'"\\[]{},: \n', "a", "\\\\", '\\"', "[[[[", "]]]]", "{{", "}}"])).map(
    "".join
)


@pytest.fixture(params=[2, 3, 7, 4096], autouse=True)
def step(request, monkeypatch):
    """Steps that end at every place of what is cut."""
    monkeypatch.setattr(scanner, "_STEP", request.param)


def places(text, start=1):
    return [place for place in scanner.cuts(text, start) if place is not None]


def places_by_character(text):
    """The same, the obvious way: the commas outside of strings and brackets, and what closes the first bracket."""
    found, closers, in_string, escaped = [], [], False, False
    for place, char in enumerate(text[1:], start=1):
        if escaped or (in_string and char not in b'"\\'):
            escaped = False
        elif in_string:
            in_string, escaped = char != b'"'[0], char == b"\\"[0]
        elif char == b'"'[0]:
            in_string = True
        elif char in b"[{":
            closers.append(char)
        elif char in b"]}" and closers:
            if bytes([closers.pop(), char]) not in {b"[]", b"{}"}:
                return None
        elif char in b",]}" and not closers:
            found.append(place)
            if char in b"]}":
                return found
    return None


@given(st.lists(json_values, min_size=1, max_size=4), st.booleans(), st.sampled_from([None, 1]))
def test_an_array_is_cut_into_its_items(items, ascii_only, indent):
    text = json.dumps(items, ensure_ascii=ascii_only, indent=indent).encode(errors="replace")

    stops = places(text)

    starts = [1, *(stop + 1 for stop in stops)]
    cut = [json.loads(text[start:stop]) for start, stop in zip(starts, stops, strict=False)]
    assert json.dumps(cut) == json.dumps(json.loads(text))
    assert starts[-1] == len(text)


@given((st.binary() | marks.map(str.encode)).map(b"[%b".__mod__))
@example(b'["\\')
@example(b'["\\"]')
@example(b"[[}]")
@example(b"[]]")
def test_whatever_bytes_come_they_are_cut_at_the_commas_or_do_not_balance(text):
    expected = places_by_character(text)

    try:
        found = places(text)
    except DecodeError:
        found = None

    assert found == expected


@given(st.binary(max_size=200))
def test_a_string_ends_at_its_quote(content):
    literal = json.dumps(content.decode("latin-1")).encode() + b'"]'

    def ended():
        end = yield from scanner.string_end(literal, 1)
        yield end

    assert list(ended())[-1] == len(literal) - 2


@pytest.mark.parametrize(
    "text", [b"[", b"]", b'"', b"\\", b'\\"', b'"\\', b",", b"{}", b'"",', b"a", b'"a":', b'{"a":', b'["']
)
def test_the_work_grows_with_the_length_and_no_faster(text, monkeypatch):
    """Each byte is looked at a bounded number of times, in steps of a bounded length, whatever stands there."""
    monkeypatch.setattr(scanner, "_STEP", 64)
    steps = looked_at = 0
    matched = scanner._matched

    def counting(pattern, body, place):
        nonlocal looked_at
        end = matched(pattern, body, place)
        looked_at += end - place + 1
        return end

    monkeypatch.setattr(scanner, "_matched", counting)
    body = b"[" + text * (20_000 // len(text))

    try:
        for _ in scanner.cuts(body, 1):
            steps += 1
    except DecodeError:
        pass

    assert looked_at <= 4 * len(body)
    assert steps <= 2 * len(body)
