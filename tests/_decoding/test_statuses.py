"""From an answer's bytes to statuses and back."""

import contextlib
import hashlib
import json
import pickle

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from samples import SAMPLES

from greenapi_async import from_dict, to_dict
from greenapi_async._api.refusals import array_in
from greenapi_async._decoding.page import read as read_array
from greenapi_async._decoding.statuses import dumps
from greenapi_async._decoding.text import loads_object, parse
from greenapi_async.errors import DecodeError
from greenapi_async.models import (
    AudioStatus,
    DeletedStatus,
    ExtendedTextMessage,
    ImageStatus,
    TextStatus,
    UnknownStatus,
    VideoStatus,
)

CLASSES = [TextStatus, ImageStatus, ImageStatus, VideoStatus, AudioStatus, DeletedStatus]
KNOWN = {
    "extendedTextMessage": TextStatus,
    "imageMessage": ImageStatus,
    "videoMessage": VideoStatus,
    "audioMessage": AudioStatus,
    "deletedMessage": DeletedStatus,
}
PRIVATE = "79990001122"
COMMON_TEXTS = ["senderId", "senderName", "senderContactName"]
TEXTS = {
    "extendedTextMessage": [*COMMON_TEXTS, "textMessage"],
    "imageMessage": [*COMMON_TEXTS, "downloadUrl", "fileName", "mimeType", "caption", "jpegThumbnail"],
    "deletedMessage": COMMON_TEXTS,
}
ABSENT = object()


def item(type_message="imageMessage", **fields):
    """One element of an answer; a field of ABSENT is left out."""
    whole = {
        "type": "incoming",
        "idMessage": "3EB0C431",
        "timestamp": 1710232595,
        "typeMessage": type_message,
        "chatId": "79001234567@c.us",
    } | fields
    return {name: value for name, value in whole.items() if value is not ABSENT}


def read(body):
    """Return the statuses of a body, as `fetch` does."""
    array = array_in(body)
    return None if array is None else trio.run(read_array, array)


def snake(name):
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def meaningful(obj):
    """A known item without what is null or empty, as JSON: 1, 1.0 and true stay apart."""
    looks = obj.get("extendedTextMessage")
    kept = {name: value for name, value in obj.items() if value is not None and value != ""}
    if isinstance(looks, dict):
        kept["extendedTextMessage"] = {
            name: value for name, value in looks.items() if value is not None and value != ""
        }

    return canonical({"type": "incoming"} | kept)


# Items of every type


@pytest.mark.parametrize(("sample", "model"), list(zip(SAMPLES, CLASSES, strict=True)))
def test_a_sample_of_the_vendor_is_read_whole(sample, model):
    """Every field stands under the API's own name in snake_case, and none is left over."""
    status = from_dict(sample)

    assert type(status) is model
    assert status.extra == {}
    for name in sample.keys() - {"type", "typeMessage", "extendedTextMessage"}:
        assert getattr(status, snake(name)) == (sample[name] or None)


def test_the_look_of_a_text_is_read():
    status = from_dict(SAMPLES[0])

    assert status.extended_text_message == ExtendedTextMessage(
        text="Прекрасное утро!", background_color="#228B22", font="SANS_SERIF"
    )


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_comes_back_without_what_was_empty(sample):
    assert to_dict(from_dict(sample)) == {name: value for name, value in sample.items() if value != ""}


@pytest.mark.parametrize("nothing", [ABSENT, None, ""], ids=["absent", "null", "empty"])
@pytest.mark.parametrize(
    ("type_message", "name"), [(kind, name) for kind, names in TEXTS.items() for name in names]
)
def test_absent_null_and_empty_are_none(type_message, name, nothing):
    status = from_dict(item(type_message, **{name: nothing}))

    assert type(status) is KNOWN[type_message]
    assert getattr(status, snake(name)) is None
    assert name not in to_dict(status)


@pytest.mark.parametrize("nothing", [ABSENT, None, ""], ids=["absent", "null", "empty"])
def test_a_text_without_a_look_has_none(nothing):
    status = from_dict(item("extendedTextMessage", extendedTextMessage=nothing))

    assert type(status) is TextStatus
    assert status.extended_text_message is None


@pytest.mark.parametrize("nothing", [ABSENT, None, ""], ids=["absent", "null", "empty"])
@pytest.mark.parametrize("name", ["text", "backgroundColor", "font"])
def test_the_parts_of_a_look_are_optional_too(name, nothing):
    look = {"text": "a", "backgroundColor": "b", "font": "c", name: nothing}
    look = {key: value for key, value in look.items() if value is not ABSENT}

    status = from_dict(item("extendedTextMessage", extendedTextMessage=look))

    assert getattr(status.extended_text_message, snake(name)) is None


@pytest.mark.parametrize("type_message", KNOWN)
def test_unknown_keys_are_kept(type_message):
    """The API is in beta and grows fields: what this version does not know must not get lost."""
    obj = item(type_message, isForwarded=False, participants=[{"a": None}], note="", gone=None)

    status = from_dict(obj)

    assert type(status) is KNOWN[type_message]
    assert status.extra == {"isForwarded": False, "participants": [{"a": None}], "note": "", "gone": None}
    assert to_dict(status) == obj


def test_unknown_keys_of_a_look_are_kept_there():
    look = {"text": "a", "gradient": ["#000000", "#FFFFFF"]}

    status = from_dict(item("extendedTextMessage", extendedTextMessage=look))

    assert status.extended_text_message.extra == {"gradient": ["#000000", "#FFFFFF"]}
    assert status.extra == {}
    assert to_dict(status)["extendedTextMessage"] == look


def test_the_direction_is_kept_where_it_is_not_the_usual_one():
    """`type` is "incoming" in every answer; another value is news."""
    assert from_dict(item(type="outgoing")).extra == {"type": "outgoing"}
    assert to_dict(from_dict(item(type="outgoing")))["type"] == "outgoing"
    assert from_dict(item(type="incoming")).extra == {}


def test_fields_of_another_type_are_extra():
    """A caption was seen on audio; on a deletion it is just as harmless."""
    status = from_dict(item("deletedMessage", caption="Утро"))

    assert type(status) is DeletedStatus
    assert status.extra == {"caption": "Утро"}


def test_a_marker_in_place_of_a_url_passes():
    assert from_dict(item(downloadUrl="{{SWE002}}")).download_url == "{{SWE002}}"


@pytest.mark.parametrize("color", ["#FFFFFFFF", "228B22", "rgb(1, 2, 3)", "hsl(120deg 50% 50%)"])
def test_colours_and_fonts_pass_as_they_are(color):
    look = {"backgroundColor": color, "font": "COMIC_SANS"}

    status = from_dict(item("extendedTextMessage", extendedTextMessage=look))

    assert status.extended_text_message.background_color == color
    assert status.extended_text_message.font == "COMIC_SANS"


# Items that cannot be read


@pytest.mark.parametrize(
    "type_message", ["stickerMessage", "textMessage", "", None, ABSENT, 5, ["imageMessage"]]
)
def test_an_unknown_type_is_an_unknown_status_with_all_it_brought(type_message):
    obj = item(typeMessage=type_message, senderName="Анна", senderContactName="", stickerId=7)

    status = from_dict(obj)

    assert type(status) is UnknownStatus
    assert (status.id_message, status.timestamp, status.sender) == ("3EB0C431", 1710232595, "Анна")
    assert status.sender_contact_name is None
    assert "typeMessage" in status.problem
    assert status.raw == obj == to_dict(status)


def test_the_type_of_an_unknown_status_is_told():
    assert from_dict(item("stickerMessage")).type_message == "stickerMessage"
    assert from_dict(item(typeMessage=7)).type_message is None


BAD_TEXTS = [5, 1.5, True, False, [], [PRIVATE], {}, {PRIVATE: PRIVATE}]
BAD_TIMESTAMPS = [
    ABSENT,
    None,
    "",
    "1710232595",
    True,
    False,
    1710232595.0,
    1710232595.5,
    -1,
    1710232595000,
    253_402_300_800,
    10**30,
    [1710232595],
    {PRIVATE: 1},
]


@pytest.mark.parametrize(
    ("type_message", "name", "value"),
    [
        *[("audioMessage", "timestamp", value) for value in BAD_TIMESTAMPS],
        *[("imageMessage", "chatId", value) for value in [ABSENT, None, "", *BAD_TEXTS]],
        *[(kind, name, value) for kind, names in TEXTS.items() for name in names for value in BAD_TEXTS],
        *[
            ("extendedTextMessage", "extendedTextMessage", value)
            for value in [5, True, PRIVATE, [], [PRIVATE]]
        ],
    ],
)
def test_a_malformed_field_is_named_and_its_value_is_not_told(type_message, name, value):
    """Nothing is coerced: "12" is not 12 and None is not "None". Problems end up in logs."""
    obj = item(type_message, **{name: value})

    status = from_dict(obj)

    assert type(status) is UnknownStatus
    assert status.problem.endswith((f"$.{name}", f"$.{snake(name)}"))
    assert PRIVATE not in status.problem + repr(status)
    assert "1710232595" not in status.problem
    assert status.raw == obj
    assert status.id_message == "3EB0C431"


@pytest.mark.parametrize("value", BAD_TEXTS)
@pytest.mark.parametrize("name", ["text", "backgroundColor", "font"])
def test_a_malformed_part_of_a_look_is_named(name, value):
    obj = item("extendedTextMessage", extendedTextMessage={name: value})

    status = from_dict(obj)

    assert type(status) is UnknownStatus
    assert "extended" in status.problem
    assert status.problem.endswith((name, snake(name)))
    assert PRIVATE not in status.problem


def test_every_malformed_field_is_named():
    status = from_dict(item(timestamp="soon", chatId=5, caption=[]))

    assert all(name in status.problem for name in ("timestamp", "chat", "caption"))


@pytest.mark.parametrize("timestamp", [0, 1, 1710232595, 2**31, 253_402_300_799])
def test_seconds_up_to_the_year_9999_are_timestamps(timestamp):
    status = from_dict(item(timestamp=timestamp))

    assert type(status) is ImageStatus
    assert status.timestamp == timestamp
    assert status.posted_at.timestamp() == timestamp


@pytest.mark.parametrize("timestamp", BAD_TIMESTAMPS)
def test_an_unusable_timestamp_is_zero(timestamp):
    """Every status can be sorted and shown."""
    assert from_dict(item(timestamp=timestamp)).timestamp == 0
    assert repr(from_dict(item(timestamp=timestamp))) == "<UnknownStatus 3EB0C431 1970-01-01T00:00:00Z>"


@pytest.mark.parametrize("id_message", [ABSENT, None, "", 5, 1.5, True, [], {"a": 1}])
def test_without_an_id_the_digest_of_the_item_is_the_id(id_message):
    """So the same item is the same status in the next answer, whatever the order of its keys."""
    obj = item(idMessage=id_message, caption="Утро")

    status, turned = from_dict(obj), from_dict(dict(reversed(obj.items())))

    assert type(status) is UnknownStatus
    assert status.id_message == f"sha256:{hashlib.sha256(canonical(obj).encode()).hexdigest()}"
    assert status.id_message == turned.id_message
    assert "idMessage" in status.problem
    assert status.timestamp == 1710232595


def test_different_items_without_an_id_have_different_ids():
    objects = [item(idMessage=None), item(idMessage=""), item(idMessage=ABSENT), item(idMessage=ABSENT, a=1)]

    assert len({from_dict(obj).id_message for obj in objects}) == 4


@pytest.mark.parametrize("element", [None, 1, 1.5, True, "3EB0C431", "", [], [item()]])
def test_an_element_that_is_no_object_is_kept(element):
    status = from_dict(element)

    assert type(status) is UnknownStatus
    assert status.raw == to_dict(status) == element
    assert status.id_message == f"sha256:{hashlib.sha256(canonical(element).encode()).hexdigest()}"
    assert status.problem == f"expected an object, got {type(element).__name__}"


# An answer's array


def test_one_bad_item_never_sinks_the_others():
    items = [item(idMessage="1"), None, item(idMessage="2", timestamp="?"), {}, item(idMessage="3")]

    statuses = read(json.dumps(items).encode())

    assert [type(status) for status in statuses] == [UnknownStatus] * 3 + [ImageStatus] * 2
    assert [status.id_message for status in statuses[-2:]] == ["1", "3"]


@given(st.lists(st.integers(0, 5)))
def test_statuses_come_by_time_and_within_a_second_as_the_api_had_them(timestamps):
    items = [item(idMessage=str(number), timestamp=at) for number, at in enumerate(timestamps, start=1)]

    statuses = read(json.dumps(items).encode())

    assert [(status.timestamp, int(status.id_message)) for status in statuses] == sorted(
        (at, number) for number, at in enumerate(timestamps, start=1)
    )


# Bytes


def test_broken_utf8_in_one_name_loses_nothing_else():
    body = json.dumps([item(senderName="?"), item(idMessage="2")]).encode().replace(b'"?"', b'"\xd0\xff"')

    first, second = read(body)

    assert first.sender_name == "\ufffd\ufffd"
    assert second.id_message == "2"


@pytest.mark.parametrize("body", [b"", b" \r\n\t", b"\xef\xbb\xbf", b"null", b" null\n"])
def test_no_body_and_null_are_none(body):
    assert parse(body) is None


@pytest.mark.parametrize("body", [b"\xef\xbb\xbf[]", b"\n[ ]\n"])
def test_a_byte_order_mark_and_white_space_are_passed_over(body):
    assert parse(body) == []


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b'[{"idMessage":' + b"[" * 100_000,
    ],
    ids=["open arrays", "arrays", "objects", "inside an item"],
)
def test_a_body_that_is_no_array_and_nested_deeply_is_a_decode_error(body):
    """Items of an array are another matter: see test_odd_items."""
    with pytest.raises(DecodeError, match="nested too deeply") as caught:
        parse(body)

    assert caught.value.retryable
    assert len(str(caught.value)) < 100


def test_whatever_can_be_parsed_can_be_structured():
    """Parser, encoder and hash have different limits; none may sink the answer."""
    structured = []

    for depth in range(800, 1100):
        with contextlib.suppress(DecodeError):
            structured += read(b"[%b]" % (b"[" * depth + b"]" * depth))

    assert structured
    assert all(status.id_message.startswith("sha256:") for status in structured)
    assert {status: repr(status) for status in structured}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"<html><body>Sign in to Wi-Fi</body></html>", "web page"),
        (b"\r\n <!DOCTYPE html>", "web page"),
        (b'[{"textMessage":"79990001122', "character"),
        (b"[1,]", "character [23] of 4"),
        (b"79990001122 79990001122", "character"),
        (b"[] []", "character"),
        ("[]".encode("utf-16"), "character"),
        (b"\x00", "character"),
        (b"{79990001122}", "character"),
    ],
)
def test_what_is_no_json_is_a_decode_error_that_tells_where_and_not_what(body, problem):
    with pytest.raises(DecodeError, match=problem) as caught:
        parse(body)

    assert PRIVATE not in str(caught.value)
    assert "Wi-Fi" not in str(caught.value)


@pytest.mark.parametrize("digits", ["9" * 5000, "-" + "9" * 5000, "1" * 100_000])
@pytest.mark.parametrize("name", ["timestamp", "surprise"])
def test_a_number_of_thousands_of_digits_loses_nothing_else(digits, name):
    """Python refuses to convert it; one such number must not cost the whole answer."""
    huge = json.dumps(item(**{name: 0})).replace(f'"{name}": 0', f'"{name}": {digits}')

    statuses = read(f"[{huge},{json.dumps(item(idMessage='2'))}]".encode())

    assert {status.id_message for status in statuses} == {"3EB0C431", "2"}
    assert digits not in repr(statuses)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "1.0", "1e3"])
def test_a_timestamp_that_is_a_float_is_unusable(number):
    """1e999 is infinity to Python."""
    body = json.dumps([item(timestamp=0)]).replace(": 0", f": {number}")

    (status,) = read(body.encode())

    assert type(status) is UnknownStatus
    assert status.problem.endswith("$.timestamp")


# Properties

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
texts = st.none() | st.just("") | st.text(max_size=8)
unknown_keys = st.dictionaries(st.sampled_from(["participants", "isForwarded", "Ключ", ""]), json_values)
looks = st.none() | st.builds(
    dict.__or__,
    unknown_keys,
    st.fixed_dictionaries({}, optional={"text": texts, "backgroundColor": texts, "font": texts}),
)


@st.composite
def well_formed(draw):
    """An item that this version knows, with any of its fields absent, null or empty, and with unknown ones."""
    type_message = draw(st.sampled_from(list(KNOWN)))
    names = TEXTS.get(type_message, TEXTS["imageMessage"])
    optional = dict.fromkeys(names, texts) | {"type": st.sampled_from(["incoming", "outgoing"])}
    if type_message == "extendedTextMessage":
        optional |= {"extendedTextMessage": looks}
    required = {
        "idMessage": st.text(min_size=1, max_size=8),
        "timestamp": st.integers(0, 253_402_300_799),
        "typeMessage": st.just(type_message),
        "chatId": st.text(min_size=1, max_size=8),
    }
    return draw(unknown_keys) | draw(st.fixed_dictionaries(required, optional=optional))


@st.composite
def damaged(draw):
    """An item with some of its fields replaced by any JSON value, or gone."""
    obj = draw(well_formed())
    for name in draw(st.lists(st.sampled_from(sorted(obj)), max_size=3)):
        obj.pop(name, None)
        if draw(st.booleans()):
            obj[name] = draw(json_values)
    return obj


@given(well_formed())
def test_a_well_formed_item_is_known_and_comes_back_whole(obj):
    """What the API sent is never dropped, but for null and empty, which mean absent."""
    status = from_dict(obj)

    assert type(status) is KNOWN[obj["typeMessage"]]
    assert meaningful(to_dict(status)) == meaningful(obj)


@given(json_values | damaged() | st.lists(damaged(), max_size=2))
@example({"idMessage": "1", "typeMessage": "deletedMessage", "chatId": "\ud800", "timestamp": 1})
@example({"idMessage": ["\ud800"]})
@example({"idMessage": "1", "typeMessage": "imageMessage", "chatId": "1", "timestamp": 1, "type": None})
def test_whatever_json_comes_a_status_comes_of_it(obj):
    """`from_dict` never raises, and every status can be shown, sorted, hashed, pickled and written."""
    before = canonical(obj)

    status = from_dict(obj)

    assert from_dict(to_dict(status)) == status
    assert from_dict(json.loads(dumps(to_dict(status)))) == status
    assert pickle.loads(pickle.dumps(status)) == status
    assert (status.id_message, status.key, status.sender is not None) != ("", "", False)
    assert status.posted_at.year >= 1970
    assert {status: repr(status)}
    assert canonical(obj) == before
    if isinstance(status, UnknownStatus):
        assert canonical(status.raw) == before
        assert status.problem


@given(damaged())
def test_a_problem_never_tells_a_value(obj):
    marked = {
        name: [PRIVATE, value] if name not in {"idMessage", "typeMessage"} else value
        for name, value in obj.items()
    }

    status = from_dict(marked)

    assert PRIVATE not in getattr(status, "problem", "") + repr(status)


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_whatever_bytes_come_there_is_a_value_or_a_decode_error(body):
    try:
        value = parse(body)
    except DecodeError:
        return

    assert from_dict(value).key


@given(json_values)
def test_json_lines_are_lines(value):
    """A line break inside a text must not break a line of JSON Lines."""
    line = dumps(value)

    assert "\n" not in line
    assert "\r" not in line
    assert canonical(json.loads(line)) == canonical(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a":1}', {"a": 1}),
        ("[]", {}),
        ("", {}),
        ("{", {}),
        ("[" * 100_000, {}),
        ('{"a":%s}' % ("9" * 5000), {}),
    ],
    ids=["object", "array", "empty", "half", "deep", "huge"],
)
def test_an_object_is_read_from_a_text_or_an_empty_one(text, value):
    assert loads_object(text) == value
