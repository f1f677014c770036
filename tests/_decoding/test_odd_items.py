"""One item never takes the others along, whatever it holds and however large it is."""

import hashlib
import json
import time
import tracemalloc

import pytest
import trio

from greenapi_async import from_dict, to_dict
from greenapi_async._api.refusals import array_in
from greenapi_async._decoding.page import read, scan
from greenapi_async.errors import DecodeError
from greenapi_async.models import ImageStatus, TextStatus, UnknownStatus

MIB = 1024 * 1024
ITEM = {
    "type": "incoming",
    "idMessage": "3EB0C431",
    "timestamp": 1710232595,
    "typeMessage": "imageMessage",
    "chatId": "79001234567@c.us",
    "senderName": "Анна",
    "downloadUrl": "https://media.example/1.jpg",
    "caption": "Утро",
}
BEFORE, AFTER = (
    ITEM | {"idMessage": "before", "timestamp": 1},
    ITEM | {"idMessage": "after", "timestamp": 2**31},
)


def encoded(item):
    return item if isinstance(item, bytes) else json.dumps(item, ensure_ascii=False).encode()


def body_of(*items):
    return b"[%b]" % b",".join(map(encoded, items))


def with_member(member, item=ITEM):
    """The item with one member more, which may be no JSON."""
    return b"{%b," % member + encoded(item)[1:]


def fetched(body):
    """Return the statuses of a response, the same in one step, as `fetch` reads them, and in two, as the poller."""

    async def main():
        array = array_in(body)
        page = await scan(array)
        statuses = await read(array)
        assert sorted(page.keys) == sorted(status.key for status in statuses)
        assert await page.statuses(set(page.keys)) == statuses
        for key in page.keys if len(body) < MIB else ():
            assert await page.statuses({key}) == [status for status in statuses if status.key == key]
        return statuses

    return trio.run(main)


def between(item):
    """Return the status of an odd item; those around it come, too."""
    before, *odd, after = fetched(body_of(BEFORE, item, AFTER))

    assert [before, after] == [from_dict(BEFORE), from_dict(AFTER)]
    [status] = odd
    assert from_dict(to_dict(status)).key == status.key or "idMessage" not in status.raw
    json.dumps(to_dict(status), ensure_ascii=False).encode()
    return status


# Control characters


@pytest.mark.parametrize("code", [0x00, 0x01, 0x09, 0x0A, 0x0D, 0x1B, 0x1F, 0x7F])
def test_a_raw_control_character_in_a_caption_stays_there(code):
    """A line break that the API forgot to escape cost the whole window, as long as the item was in it."""
    raw = encoded(ITEM | {"caption": "a?b"}).replace(b"?", bytes([code]))

    status = between(raw)

    assert status == from_dict(ITEM | {"caption": f"a{chr(code)}b"})
    assert type(status) is ImageStatus


def test_a_raw_control_character_in_an_id_or_an_unknown_field_stays_there():
    status = between(with_member(b'"surprise":"\x01"').replace(b"3EB0C431", b"3EB0\t"))

    assert (status.id_message, status.extra) == ("3EB0\t", {"surprise": "\x01"})


# Deep nesting


def nest(depth, brackets=(b"[", b"]")):
    opening, closing = brackets
    return opening * depth + closing * depth


@pytest.mark.parametrize("depth", [101, 500, 980, 990, 1000, 10_000, 100_000])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"1}")], ids=["arrays", "objects"])
def test_what_is_nested_deeply_stays_as_its_text(depth, brackets):
    """An item nested 1,000 deep exhausted the parser, and the response was refused for as long as it held it."""
    deep = nest(depth, brackets).replace(b":1}", b":null}")

    status = between(with_member(b'"surprise":' + deep))

    assert type(status) is ImageStatus
    assert status == from_dict(ITEM | {"surprise": deep.decode()})


def test_an_unknown_kind_that_is_nested_deeply_is_unknown():
    status = between(with_member(b'"surprise":' + nest(1000), ITEM | {"typeMessage": "stickerMessage"}))

    assert type(status) is UnknownStatus
    assert status.raw["surprise"] == nest(1000).decode()


def test_a_known_field_that_is_nested_deeply_is_malformed():
    look = b'"extendedTextMessage":' + nest(1000, (b'{"a":', b"}")).replace(b":}", b":1}")

    status = between(with_member(look, ITEM | {"typeMessage": "extendedTextMessage"}))

    assert "expected an object" in status.problem


def test_an_element_that_is_nested_deeply_is_unknown():
    [first, second] = fetched(body_of(nest(1000), nest(1001)))

    assert (first.raw, second.raw) == (nest(1000).decode(), nest(1001).decode())
    assert first.key != second.key


@pytest.mark.parametrize("depth", range(90, 110))
def test_whatever_is_read_can_be_written(depth):
    """A status that only the parser can walk would end the command's loop in its turn."""
    status = between(with_member(b'"surprise":' + nest(depth)))

    assert from_dict(json.loads(json.dumps(to_dict(status)))) == status


# No JSON


@pytest.mark.parametrize(
    ("member", "value"),
    [
        (b'"surprise":"\\x"', '"\\x"'),
        (b'"surprise":tru', "tru"),
        (b'"surprise":', ""),
        (b'"surprise":01', "01"),
        (b'"surprise": [1,] ', "[1,]"),
        (b'"surprise":"say "hi" now"', '"say "hi" now"'),
        (b'"surprise":"\\ud83"', '"\\ud83"'),
    ],
)
def test_a_value_that_is_no_json_stays_as_its_text(member, value):
    status = between(with_member(member))

    assert status == from_dict(ITEM | {"surprise": value})


@pytest.mark.parametrize("item", [b'{"idMessage" 5}', b"{79990001122}", b"[nul]", b'"\\x"', b"[1 2]"])
def test_an_item_of_which_nothing_can_be_read_stays_as_its_text(item):
    [status] = fetched(body_of(item))

    assert type(status) is UnknownStatus
    assert status.raw == item.decode()


@pytest.mark.parametrize("number", [b"9" * 5000, b"1e999", b"-1e999", b"NaN", b"-Infinity"])
def test_a_number_that_no_machine_holds_loses_nothing_else(number):
    assert type(between(with_member(b'"surprise":' + number))) is ImageStatus


def test_of_a_key_that_stands_twice_the_last_counts():
    """Whichever way an item is read."""
    twice = b'"caption":"first","idMessage":"first"'

    assert between(with_member(twice)) == from_dict(ITEM)
    assert between(with_member(twice + b',"surprise":"\x01"')) == from_dict(ITEM | {"surprise": "\x01"})
    assert between(with_member(twice + b',"surprise":tru')) == from_dict(ITEM | {"surprise": "tru"})


@pytest.mark.parametrize("odd", [b'"surprise":"\x01"', b'"surprise":' + nest(1000)])
def test_a_byte_order_mark_changes_nothing(odd):
    body = body_of(BEFORE, with_member(odd))

    assert fetched(b"\xef\xbb\xbf" + body) == fetched(b" " + body + b"\r\n") == fetched(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[%b",
        b"[%b,",
        b"[%b,]",
        b"[%b, ]",
        b"[,%b]",
        b"[%b,,1]",
        b"[%b}",
        b"[%b]]",
        b"[%b],[1]",
        b"[%b] []",
        b"[%b junk]",
        b"[junk, %b]",
        b"[%b %b]",
        b"[%b, {} []]",
        b"[%b, [1} ]",
        b'[%b, "a" "b"]',
        b'[%b, "]',
        b'[%b, "\\"]',
    ],
)
@pytest.mark.parametrize("odd", [b"", b'"surprise":' + nest(1000), b'"surprise":"%b"' % (b"x" * 2 * MIB)])
def test_what_is_cut_or_no_list_is_refused_as_a_whole(body, odd):
    """Half a response must not pass for a whole one: the marks would move."""
    item = with_member(odd) if odd else encoded(ITEM)

    with pytest.raises(DecodeError, match="not JSON"):
        fetched(body.replace(b"%b", item))


def test_a_truncated_response_is_refused_wherever_it_was_cut():
    body = body_of(BEFORE, with_member(b'"surprise":' + nest(101)), AFTER)

    for stop in range(2, len(body)):
        for end in [b"", b"]"] if body[stop - 1 : stop] != b"}" else [b""]:
            with pytest.raises(DecodeError):
                fetched(body[:stop] + end)


# Large items


def large(**fields):
    """An item over 1 MiB, its large text first."""
    return {"surprise": "x" * MIB} | ITEM | fields


def test_of_an_item_over_a_mebibyte_short_texts_and_numbers_are_kept():
    """One of 15 MB held the loop for seconds and took 37 times its size; its file can still be saved."""
    item = large(views=7, ratio=0.5, seen=True, nothing=None, tags=["a"], look={"a": 1}, long="y" * 65_536)

    status = between(item)

    assert type(status) is UnknownStatus
    assert status.raw == ITEM | {"views": 7, "ratio": 0.5}
    assert (status.id_message, status.timestamp, status.sender) == ("3EB0C431", 1710232595, "Анна")
    assert (status.chat_id, status.type_message) == ("79001234567@c.us", "imageMessage")
    assert str(len(encoded(item))) in status.problem


def test_an_item_of_just_a_mebibyte_is_structured():
    size = MIB - len(encoded(ITEM | {"caption": ""}))

    assert type(between(ITEM | {"caption": "x" * size})) is ImageStatus
    assert type(between(ITEM | {"caption": "x" * (size + 1)})) is UnknownStatus


def test_a_large_deletion_has_the_key_of_one():
    assert between(large(typeMessage="deletedMessage")).key == "3EB0C431#deleted"


@pytest.mark.parametrize(
    "member",
    [
        b'"surprise":' + nest(MIB),
        b'"surprise":[%b]' % b",".join([b'{"a":1}'] * (MIB // 8)),
        b'"surprise":"%b"' % (b"},{" * (MIB // 2)),
        b'"surprise":"%b"' % (rb"\"" * MIB),
        b",".join(b'"k%d":"\\x%b"' % (number, b"x" * 100) for number in range(MIB // 100)),
    ],
    ids=["deep", "small objects", "what looks like items", "escapes", "no JSON"],
)
def test_a_large_item_of_any_shape_is_told_by_its_top(member):
    """Also one that a response holds which is small enough to be read whole, and between two others."""
    item = with_member(member)

    status = between(item)

    assert status == fetched(body_of(item))[0]
    assert status.raw == ITEM
    assert str(len(item)) in status.problem


def test_the_known_fields_of_a_large_item_are_kept_behind_many_others():
    """They are bounded in number, the others together: a dictionary of small ones takes a multiple of their bytes."""
    others = b",".join(b'"k%d":%d' % (number, number) for number in range(MIB // 8))

    status = between(with_member(others))

    assert status.raw.items() >= ITEM.items()
    assert 1000 < len(status.raw) < 20_000


def test_large_items_without_an_id_are_told_apart():
    one, other = (between(large(idMessage=None, surprise=letter * MIB)) for letter in "xy")

    assert one.id_message != other.id_message
    digest = hashlib.sha256(encoded(large(idMessage=None))).hexdigest()
    assert one.id_message == f"sha256:{digest}"


@pytest.mark.parametrize(
    "element", [b'"%b"' % (b"x" * MIB), b"[%b0]" % (b"12345678," * (MIB // 8)), nest(MIB)]
)
def test_a_large_element_that_is_no_object_is_unknown(element):
    [status] = fetched(body_of(element))

    assert (type(status), status.raw) == (UnknownStatus, {})


def test_blanks_make_no_item_large():
    blanks = b" \t\r\n" * MIB

    assert type(between(blanks + encoded(ITEM) + blanks)) is ImageStatus


HUGE = {
    "one text": b'"surprise":"%b"' % (b"x" * 15 * MIB),
    "small keys": b",".join(b'"k%d":"v"' % number for number in range(MIB // 4)),
    "deep": b'"surprise":' + nest(4 * MIB),
    "no quote that closes": b'"surprise":"%b"' % (rb"\"" * 4 * MIB),
}


@pytest.mark.parametrize("member", HUGE.values(), ids=HUGE)
def test_a_huge_item_is_read_in_short_turns_and_little_memory(member):
    """Between two pauses a few milliseconds at most pass, whatever it holds; no multiple of its size is built."""
    from greenapi_async._decoding.portions import statuses_of

    body = body_of(BEFORE, with_member(member), AFTER)
    steps = statuses_of(body)
    longest = 0.0
    tracemalloc.start()

    ends = False
    while not ends:
        began = time.thread_time()
        ends = next(steps, steps) is steps
        longest = max(longest, time.thread_time() - began)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert longest < 0.05
    assert peak < max(len(body) // 4, 8 * MIB)


# Half an emoji


@pytest.mark.parametrize("lone", [r"\ud83d", r"\udc00", r"\ud83d\ud83d", r"\ud83dx"])
@pytest.mark.parametrize(
    "name", ["caption", "senderName", "senderContactName", "senderId", "chatId", "surprise"]
)
@pytest.mark.parametrize("type_message", ["imageMessage", "stickerMessage"])
def test_half_an_emoji_becomes_a_replacement_character(lone, name, type_message):
    """`print` of such a text raised, at-least-once brought it again, and a bot died at every start."""
    raw = encoded(ITEM | {name: "a?", "typeMessage": type_message}).replace(b"?", lone.encode())

    status = between(raw)

    mended = "a" + lone.replace(r"\ud83d", "\ufffd").replace(r"\udc00", "\ufffd")
    assert status == from_dict(ITEM | {name: mended, "typeMessage": type_message})
    print(status.sender, status.chat_id, getattr(status, "caption", ""), to_dict(status))


@pytest.mark.parametrize(
    "value", [{"text": "a\ud83d"}, {"text": "a", "b\udc00": ["\ud83d", {"c": "\ud83d"}]}], ids=ascii
)
def test_half_an_emoji_is_replaced_inside_of_objects(value):
    status = from_dict(
        ITEM | {"typeMessage": "extendedTextMessage", "extendedTextMessage": value, "x": value}
    )

    assert type(status) is TextStatus
    assert status.extended_text_message.text == value["text"].replace("\ud83d", "\ufffd")
    json.dumps(to_dict(status), ensure_ascii=False).encode()


def test_ids_keep_their_identity():
    """What a store recorded is still known, and two ids that differ in nothing else stay two."""
    items = [encoded(ITEM | {"idMessage": "3A?"}).replace(b"?", lone) for lone in (rb"\ud83d", rb"\ud83e")]

    assert [status.key for status in fetched(body_of(*items))] == ["3A\ud83d", "3A\ud83e"]


def test_the_digest_of_an_item_without_an_id_is_that_of_what_came():
    """It was recorded under it; `raw` stays as it came, for the digest is made of it."""
    item = {name: value for name, value in ITEM.items() if name != "idMessage"} | {"senderName": "a\ud83d"}

    [status] = fetched(json.dumps([item]).encode())

    canonical = json.dumps(item, sort_keys=True, separators=(",", ":"))
    assert status.id_message == f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"
    assert (status.sender, status.raw) == ("a\ufffd", item)
    assert from_dict(to_dict(status)) == status


@pytest.mark.parametrize("id_message", ["1", None])
def test_what_is_given_to_from_dict_may_be_nested_without_end(id_message):
    """No response brings such a value, but a program may."""
    deep = {}
    for _ in range(100_000):
        deep = {"a": deep}

    status = from_dict(ITEM | {"idMessage": id_message, "surprise": deep})

    assert status.key
    while deep:  # Freed all at once it would exhaust the stack.
        deep = deep.pop("a")
