"""Pages: what msgspec reads is what the standard library would have read, in turns that hold up nobody."""

import json
import re

import anyio
import anyio.lowlevel
import attrs
import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from samples import SAMPLES

from greenapi_async import _turn, from_dict
from greenapi_async._api.refusals import array_in
from greenapi_async._decoding import page, portion, portions, typed
from greenapi_async._decoding.text import parse
from greenapi_async.errors import DecodeError, GreenApiError
from greenapi_async.models import ImageStatus

IMAGE = SAMPLES[1]
FRAGMENTS = [
    *('"', "\\", "{", "}", "[", "]", ",", ":", " ", "\n", "\0", "\xa0", "\ufeff", '},{"a', "{},", "[{}],"),
    *("null,", "true", "1e999", "NaN", "-0", "9" * 30, "9" * 5000),
    *("\\ud800", "\\udc00", "\\ud83d\\ude00", "\\ud800\\u0041", "\\u0000", "\\x"),
    *('"typeMessage":"deletedMessage",', '"typeMessage":"imageMessage",', '"\\u0069dMessage":"z",'),
    *('"idMessage":5,', '"idMessage":"",', '"idMessage":"z",', '"timestamp":1.0,', '"timestamp":1e3,'),
    *('"caption":"",', '"caption":null,', '"type":null,', '"type":"outgoing",', '"x":[{"a":1},{"b":2}],'),
    *('"extendedTextMessage":"",', '"extendedTextMessage":{"text":"","text":"y"},'),
]


@pytest.fixture(params=[None, 400, 16], ids=["whole", "in portions", "item by item"])
def cut(request, monkeypatch):
    """Decode a body in one go, in portions of few items, and item by item."""
    if request.param:
        monkeypatch.setattr(portions, "_WHOLE", 0)
        monkeypatch.setattr(portions, "_PORTION", request.param)


def items(count, **fields):
    return [IMAGE | {"idMessage": f"id{number}"} | fields for number in range(count)]


def body_of(elements, **options):
    return json.dumps(elements, **options).encode()


def slowly(body):
    """Return the keys and statuses of a body by the standard library alone."""
    value = parse(body)
    if value is None:
        return None

    if not isinstance(value, list):
        array_in(body)

    statuses = [from_dict(element) for element in value]
    return [status.key for status in statuses], sorted(statuses, key=lambda status: status.timestamp)


async def fast(body):
    """Return the keys and statuses of a body as the poller and `fetch` get them."""
    array = array_in(body)
    if array is None:
        return None

    scanned = await page.scan(array)
    statuses = await scanned.statuses(set(scanned.keys))
    assert shown(statuses) == shown(await page.read(array))
    few = set(scanned.keys[::3])
    assert shown(await scanned.statuses(few)) == shown(status for status in statuses if status.key in few)
    return scanned.keys, statuses


def shown(statuses):
    """Every field of statuses, so that 1, 1.0 and true, and NaN and NaN, are told apart or not as they look."""
    return [(type(status).__name__, repr(attrs.asdict(status))) for status in statuses]


def outcome(decode, *arguments):
    try:
        result = decode(*arguments)
    except GreenApiError as error:
        return type(error), str(error)

    return result and (result[0], shown(result[1]))


# What msgspec reads


@st.composite
def mutated(draw):
    """A body of the vendor's items, damaged by fragments, bytes and cuts at any place."""
    elements = draw(st.lists(st.sampled_from(SAMPLES), min_size=1, max_size=4))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    body = body_of(elements, ensure_ascii=draw(st.booleans()), separators=separators)
    for _ in range(draw(st.integers(0, 3))):
        structural = [place for place, byte in enumerate(body, start=1) if byte in b'{[,:"']
        place = draw(st.sampled_from(structural) if structural else st.just(0)) + draw(st.integers(-1, 1))
        piece = draw(st.sampled_from(FRAGMENTS).map(str.encode) | st.binary(max_size=2))
        body = body[: max(place, 0)] + piece + body[max(place, 0) + draw(st.integers(0, 2)) :]
    return body


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
values = json_values | st.sampled_from(SAMPLES)
changed = st.builds(
    lambda sample, name, value: sample | {name: value},
    st.sampled_from(SAMPLES),
    st.sampled_from(sorted(IMAGE)),
    values,
)


@pytest.mark.usefixtures("cut")
@settings(max_examples=200)
@given(mutated() | st.lists(values | changed, max_size=6).map(body_of) | st.binary().map(b"[%b]".__mod__))
@example(b"")
@example(b" null")
@example(b"[")
@example(b"[]]")
@example(b'[{"a":1}],[{"a":1},{"a":1}]')
@example(b'\xef\xbb\xbf[{"a":1},{"b":2}]\xc2\xa0')
@example(b'{"reason": "instance is starting or not authorized"}')
@example(body_of([IMAGE | {"caption": '},{"type'}] * 3))
@example(body_of([IMAGE | {"participants": [{"a": 1}, {"b": 2}]}] * 3))
@example(body_of([IMAGE, IMAGE]).replace(b"jpg", b"\xd0\xff"))
def test_whatever_bytes_come_both_ways_agree(body):
    """Keys, values and order: nobody can tell which of the two read an item. What is no JSON may still be cut."""
    expected = outcome(slowly, body)

    found = outcome(trio.run, fast, body)

    if expected and expected[0] is DecodeError:
        assert found is None or found[0] is DecodeError or isinstance(found[0], list)
    else:
        assert found == expected


def test_the_samples_are_read_by_msgspec():
    """Otherwise the comparison above compares one way with itself."""
    array = body_of(SAMPLES)

    assert len(typed.read_keys(array)) == len(typed.read_items(array)) == len(SAMPLES)


@pytest.mark.parametrize("depth", [100, *range(900, 1000, 3), 100_000])
def test_an_item_that_is_nested_deeply_is_read(depth):
    """Each parser has a limit of its own, and none may let a RecursionError through."""
    body = b'[{"idMessage":"1","surprise":%b%b}]' % (b"[" * depth, b"]" * depth)

    assert trio.run(page.scan, body).keys == ["1"]
    assert len(trio.run(page.read, body)) == 1


@pytest.mark.parametrize(
    "odd",
    [
        {"surprise": 1},
        {"timestamp": "1710232595"},
        {"timestamp": 1710232595.0},
        {"timestamp": -1},
        {"timestamp": 253_402_300_800},
        {"typeMessage": "stickerMessage"},
        {"type": "outgoing"},
        {"chatId": ""},
        {"idMessage": ""},
        {"caption": 5},
    ],
    ids=str,
)
def test_what_is_odd_is_left_to_cattrs(odd):
    """It is strict all the same, and the one that can explain."""
    assert typed.read_items(body_of([IMAGE | odd])) is None


def test_an_odd_item_has_its_whole_portion_read_strictly(monkeypatch):
    """Others than its own are read quickly."""
    read_strictly = []
    read_clean = portion.read_clean
    monkeypatch.setattr(portion, "read_clean", lambda item: read_strictly.append(item) or read_clean(item))
    monkeypatch.setattr(portions, "_WHOLE", 0)
    monkeypatch.setattr(portions, "_PORTION", 2 * len(body_of(items(1))))
    body = body_of([*items(4), IMAGE | {"surprise": 5}, *items(5)])

    statuses = trio.run(page.read, body)

    assert len(statuses) == 10
    assert 2 <= len(read_strictly) <= 3


def test_what_strict_json_is_not_is_read_all_the_same():
    """Of a page that holds a NaN or half a surrogate pair, nothing is lost."""
    body = b"[%b,%b]" % (body_of(items(1))[1:-1], rb'{"idMessage":"odd\ud800","surprise":NaN}')

    statuses = trio.run(page.read, body)

    assert [type(status).__name__ for status in statuses] == ["UnknownStatus", "ImageStatus"]


def test_statuses_read_by_msgspec_are_frozen():
    """They are filled as mutable twins, and nobody else may be able to."""
    [status] = trio.run(page.read, body_of([IMAGE]))

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        status.caption = "else"
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del status.caption
    assert type(status) is ImageStatus


# What is asked for


@pytest.mark.parametrize("whole", [portions._WHOLE, 0])
def test_only_what_is_wanted_is_structured(monkeypatch, whole):
    """The ids come first; a page of which nothing is new costs no more than them."""
    monkeypatch.setattr(portions, "_WHOLE", whole)
    monkeypatch.setattr(portions, "_PORTION", 400)
    read = []
    monkeypatch.setattr(typed, "read_items", lambda array: read.append(array) or [])

    async def main():
        scanned = await page.scan(body_of(items(9)))
        await scanned.statuses(set())
        nothing = list(read)
        await scanned.statuses({"id7"})
        return nothing

    assert trio.run(main) == []
    assert [json.loads(array) for array in read] == [items(9)[7:8]]


def test_too_many_items_are_refused_before_they_are_structured(monkeypatch):
    """No account has that many; megabytes of zeros must not cost minutes."""
    monkeypatch.setattr(portion, "read_clean", None)

    with pytest.raises(DecodeError, match="more than any account"):
        trio.run(page.scan, b"[" + b"0," * 200_000 + b"0]")


@pytest.mark.usefixtures("cut")
def test_items_are_counted_over_all_portions(monkeypatch):
    monkeypatch.setattr(portion, "_MOST_ITEMS", 8)

    assert len(trio.run(page.read, body_of(items(8)))) == 8
    for decode in (page.read, page.scan):
        with pytest.raises(DecodeError, match="9 items"):
            trio.run(decode, body_of(items(9)))


# Others have their turn


@pytest.mark.anyio
@pytest.mark.parametrize("decode", [page.read, page.scan])
async def test_a_large_answer_lets_other_tasks_run(decode, monkeypatch):
    """Nobody on the event loop waits for a whole page; here every portion ends a turn."""
    monkeypatch.setattr(_turn, "_SECONDS", 0.0)
    monkeypatch.setattr(page, "_BATCH", 1_000_000)
    body = body_of(items(5_000, jpegThumbnail="/9j/" * 100))
    turns = 0

    async with anyio.create_task_group() as tasks:

        async def other():
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        tasks.start_soon(other)
        await decode(body)
        tasks.cancel_scope.cancel()

    assert turns > 0.9 * len(body) / portions._PORTION


@pytest.mark.anyio
async def test_decoding_can_be_cancelled(monkeypatch):
    monkeypatch.setattr(_turn, "_SECONDS", 0.0)

    with anyio.CancelScope() as scope:
        scope.cancel()
        await page.read(body_of(items(100)))

    assert scope.cancelled_caught


@pytest.mark.anyio
async def test_a_page_fails_sealed(monkeypatch):
    """What came with the error, bodies among it, must not be seen in its traceback."""
    scanned = await page.scan(body_of(items(2)))

    def fail(_):
        raise DecodeError("nested too deeply")

    monkeypatch.setattr(portion, "statuses", fail)

    with pytest.raises(DecodeError) as caught:
        await scanned.statuses({"id0"})

    assert caught.value.__context__ is None
    assert {frame.name for frame in caught.traceback} & {"fail"} == set()


@pytest.mark.anyio
@pytest.mark.long
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(("decode", "item"), [(page.scan, b"[]"), (page.read, b"{}")])
async def test_millions_of_empty_items_are_not_all_built(decode, item):
    """A bomb of a few kilobytes, unpacked: who counts only at the end has built a gigabyte by then."""
    body = b"[%b]" % b",".join([item] * 1_000_000)

    with pytest.raises(DecodeError) as caught:
        await decode(body)

    told = int(re.search(r"holds (\d+) items", str(caught.value))[1])
    assert 200_000 < told < 400_000


@pytest.mark.parametrize("blanks", [0, 1, 1_000, 3_000_000])
def test_an_empty_array_is_empty_however_much_white_space_it_holds(blanks):
    """Two megabytes of blanks were told as no JSON."""
    array = b"[%b]" % (b" " * blanks)

    assert trio.run(page.read, array) == []
    assert trio.run(page.scan, array).keys == []
