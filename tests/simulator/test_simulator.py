"""The simulator's decisions, without a socket."""

import base64
import gzip
import json
import re
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import anyio
import pytest
from samples import SAMPLES

from greenapi_async.simulator import (
    Answer,
    Bomb,
    Delay,
    Drip,
    IgnoreMinutes,
    Media,
    Received,
    Refuse,
    Request,
    Simulator,
    demo,
)

NOW = 1_710_232_595.25
DAY = 86_400


class Clock:
    def __init__(self, now=NOW):
        self.now = now

    def __call__(self):
        return self.now


def simulator(**arguments):
    return Simulator(**{"clock": Clock(), "max_rate": None} | arguments)


def ask(api, minutes=None, *, method="GET", path=None, headers=()):
    path = path or f"/waInstance{api.id_instance}/getIncomingStatuses/{api.token}"
    query = "" if minutes is None else f"?minutes={minutes}"
    return api.respond(Request(method, urlsplit(api.url).path + path + query, headers))


def statuses(api, minutes=None):
    return json.loads(ask(api, minutes).body)


def ids(api, minutes=None):
    return [item["idMessage"] for item in statuses(api, minutes)]


def header(response, name):
    return next((value for key, value in response.headers if key == name), None)


# What a status looks like


@pytest.mark.parametrize(
    ("kind", "type_message"),
    [
        ("text", "extendedTextMessage"),
        ("image", "imageMessage"),
        ("video", "videoMessage"),
        ("audio", "audioMessage"),
        ("deleted", "deletedMessage"),
    ],
)
def test_a_status_has_the_fields_of_the_vendors_sample(kind, type_message):
    """Where samples of a type differ in their fields, ours has those of the fullest, in its order."""
    api = simulator()
    samples = [sample for sample in SAMPLES if sample["typeMessage"] == type_message]
    sample = max(samples, key=len)

    item = api.post(kind, of="3EB0FFFF" if kind == "deleted" else None)

    assert statuses(api) == [item]
    expected = list(sample) if "senderContactName" in sample else [*sample, "senderContactName"]
    assert list(item) == expected
    assert {name: type(value) for name, value in item.items()} == {
        name: type(value) for name, value in sample.items()
    }
    if kind == "text":
        assert list(item["extendedTextMessage"]) == list(sample["extendedTextMessage"])
        assert item["textMessage"] == item["extendedTextMessage"]["text"]


@pytest.mark.parametrize("kind", ["image", "video"])
def test_thumbnails_are_small_distinct_jpegs(kind):
    api = simulator()

    thumbnails = [base64.b64decode(api.post(kind)["jpegThumbnail"], validate=True) for _ in range(5)]

    assert len(set(thumbnails)) == 4
    assert all(data.startswith(b"\xff\xd8\xff") and data.endswith(b"\xff\xd9") for data in thumbnails)
    assert all(1000 < len(data) < 3000 for data in thumbnails)


def test_audio_has_an_empty_thumbnail_and_a_mime_type_with_parameters():
    item = simulator().post("audio")

    assert item["jpegThumbnail"] == ""
    assert item["mimeType"] == "audio/ogg; codecs=opus"


def test_ids_are_unique_and_a_deletion_carries_the_id_of_what_it_deletes():
    api = simulator()

    first, second = api.post(), api.post()
    deletion = api.post("deleted", of=first["idMessage"])

    assert first["idMessage"] != second["idMessage"]
    assert deletion["idMessage"] == first["idMessage"]
    assert ids(api) == [first["idMessage"], second["idMessage"], first["idMessage"]]


def test_fields_replace_add_and_remove():
    item = simulator().post(senderName=None, typeMessage="stickerMessage", participants=[1])

    assert "senderName" not in item
    assert item["typeMessage"] == "stickerMessage"
    assert item["participants"] == [1]


def test_what_was_posted_does_not_change_when_its_dict_does():
    api = simulator()
    item = api.post(text="🌷")

    item["extendedTextMessage"]["text"] = ""

    assert statuses(api)[0]["extendedTextMessage"]["text"] == "🌷"


@pytest.mark.parametrize("arguments", [{"kind": "deleted"}, {"kind": "text", "of": "1"}, {"kind": "sticker"}])
def test_a_post_that_makes_no_sense_is_a_value_error(arguments):
    with pytest.raises(ValueError, match="deleted"):
        simulator().post(**arguments)


@pytest.mark.parametrize("item", [None, 1, "text", [], {}, {"timestamp": "yesterday", "senderId": 5}, True])
def test_any_json_value_can_be_put_on_the_feed(item):
    api = simulator()

    api.post_raw(item)

    assert statuses(api, 1) == [item]


def test_the_answer_is_utf8_and_not_escaped():
    """Half a surrogate pair, which UTF-8 cannot hold, is all that is escaped."""
    api = simulator()

    api.post_raw("Доброе утро 🌷 \ud83c")

    assert ask(api).body.decode() == '["Доброе утро 🌷 \\ud83c"]'


# Which statuses an answer shows


def test_the_window_is_by_timestamp():
    api = simulator()
    old = api.post(late=600)["idMessage"]
    fresh = api.post(late=1)["idMessage"]
    exact = api.post(at=int(NOW) - 240)["idMessage"]

    assert ids(api, 5) == [fresh, exact]
    assert ids(api, 4) == [fresh]
    assert ids(api, 11) == [old, fresh, exact]


def test_without_minutes_the_window_is_a_day():
    api = simulator()
    inside = api.post(late=DAY - 1)["idMessage"]
    api.post(late=DAY + 1)

    assert ids(api) == ids(api, 1440) == [inside]


def test_an_item_without_a_usable_timestamp_counts_from_when_it_was_posted():
    api = simulator()
    api.post_raw({"idMessage": "1", "timestamp": None})

    api.clock.now += 120

    assert ids(api, 3) == ["1"]
    assert ids(api, 1) == []


def test_records_are_kept_for_thirty_days_from_when_they_came():
    api = simulator()
    late = api.post(late=29 * DAY)["idMessage"]
    future = api.post(at=NOW + 365 * DAY)["idMessage"]

    api.clock.now += 20 * DAY
    assert ids(api, 100 * 1440) == [late, future]

    api.clock.now += 10 * DAY + 1
    assert ids(api, 100 * 1440) == []


def test_only_statuses_of_contacts_show():
    """The collection is the caller's: who is added to it later shows from then on."""
    contacts = {"1@c.us"}
    api = simulator(contacts=contacts)
    first = api.post(sender="1@c.us")["idMessage"]
    second = api.post(sender="2@c.us")["idMessage"]
    api.post_raw({"senderId": ["1@c.us"]})

    assert ids(api) == [first]

    contacts.add("2@c.us")
    assert ids(api) == [first, second]


# How it answers


def test_an_answer_has_the_servers_date_and_json():
    api = simulator()

    response = ask(api)

    assert response.http_code == 200
    assert response.body == b"[]"
    assert header(response, "Content-Type") == "application/json"
    assert header(response, "Date") == "Tue, 12 Mar 2024 08:36:35 GMT"
    assert parsedate_to_datetime(header(response, "Date")).timestamp() == int(NOW)


def test_the_clock_can_be_replaced():
    api = simulator()

    api.clock = lambda: 0.0

    assert header(ask(api), "Date") == "Thu, 01 Jan 1970 00:00:00 GMT"


@pytest.mark.parametrize(("base_path", "path"), [("", ""), ("/v3", "/v3"), ("v3/", "/v3"), ("/", "")])
def test_the_base_path_stands_in_the_url(base_path, path):
    api = simulator(base_path=base_path)

    assert api.url == f"http://127.0.0.1{path}"
    assert ask(api).http_code == 200


def test_a_path_without_the_base_path_is_not_found():
    api = simulator(base_path="/v3")

    target = f"/waInstance{api.id_instance}/getIncomingStatuses/{api.token}"

    assert api.respond(Request("GET", target)).http_code == 404


def test_the_token_is_fifty_hex_digits_or_the_callers():
    first, second = Simulator(), Simulator()

    assert re.fullmatch("[0-9a-f]{50}", first.token)
    assert first.token != second.token
    assert Simulator(token="d75b3a66").token == "d75b3a66"


def test_a_long_answer_is_gzipped_for_who_takes_it():
    api = simulator()
    api.post("image")

    plain, packed = ask(api), ask(api, headers=[("accept-encoding", "gzip, deflate")])

    assert header(plain, "Content-Encoding") is None
    assert header(packed, "Content-Encoding") == "gzip"
    assert header(packed, "Content-Length") == str(len(packed.body))
    assert gzip.decompress(packed.body) == plain.body


def test_a_short_answer_is_not_gzipped():
    assert header(ask(simulator(), headers=[("Accept-Encoding", "gzip")]), "Content-Encoding") is None


def test_requests_are_remembered():
    api = simulator()

    ask(api)
    ask(api, 60)
    ask(api, "soon")
    ask(api, path="/waInstance1101000001/getIncomingStatuses/wrong")

    assert api.requests == [
        Received(minutes=None, http_code=200, at=NOW),
        Received(minutes=60, http_code=200, at=NOW),
        Received(minutes=None, http_code=400, at=NOW),
        Received(minutes=None, http_code=401, at=NOW),
    ]


# How it refuses


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/waInstance{id}/getIncomingStatus/{token}"),
        ("GET", "/waInstance{id}/getIncomingStatuses/{token}/"),
        ("GET", "/waInstance{id}"),
        ("POST", "/waInstance{id}/getIncomingStatuses/{token}"),
        ("GET", "/"),
    ],
)
def test_a_wrong_path_or_verb_is_echoed_with_the_token(method, path):
    api = simulator()
    path = path.format(id=api.id_instance, token=api.token)

    response = ask(api, 5, method=method, path=path)

    assert response.http_code == 404
    assert header(response, "Content-Type") == "application/json"
    assert json.loads(response.body) == {
        "statusCode": 404,
        "timestamp": "2024-03-12T08:36:35.250000000Z",
        "path": path,
        "message": f"Cannot {method} {path}?minutes=5",
    }
    assert api.requests == []


@pytest.mark.parametrize("id_instance", ["1101000002", "", "abc", "1101000001x"])
@pytest.mark.parametrize("method", ["getIncomingStatuses", "getSettings"])
def test_another_instance_is_forbidden_by_nginx(id_instance, method):
    api = simulator()

    response = ask(api, path=f"/waInstance{id_instance}/{method}/{api.token}")

    assert response.http_code == 403
    assert header(response, "Content-Type") == "text/html"
    assert response.body.startswith(b"<html>\r\n<head><title>403 Forbidden</title></head>")


def test_a_wrong_token_is_refused_without_a_word_before_the_parameters_are_read():
    api = simulator()

    response = ask(api, "soon", path=f"/waInstance{api.id_instance}/getIncomingStatuses/wrong")

    assert (response.http_code, response.body) == (401, b"")
    assert header(response, "Content-Type") == "application/json"


@pytest.mark.parametrize("minutes", ["0", "-1", "1.5", "", "soon", "\u0665", "1e3", "9" * 30])
def test_minutes_that_are_no_positive_integer_are_bad_request_data(minutes):
    api = simulator()

    response = ask(api, minutes)

    assert response.http_code == 400
    assert json.loads(response.body)["message"] == "bad request data"
    assert json.loads(response.body)["path"].endswith(api.token)


def test_over_the_rate_the_answer_is_empty_and_does_not_say_when():
    api = simulator(max_rate=1.0)
    assert ask(api).http_code == 200
    api.clock.now += 0.9

    response = ask(api)

    assert (response.http_code, response.body) == (429, b"")
    assert header(response, "Content-Type") == "application/json"
    assert header(response, "X-RateLimit-Remaining") == "0"
    assert header(response, "X-RateLimit-Replenish-Rate") == "1"
    assert header(response, "Retry-After") is None


def test_the_rate_has_five_percent_of_tolerance():
    api = simulator(max_rate=2.0)

    codes = []
    for _ in range(4):
        codes.append(ask(api).http_code)
        api.clock.now += 0.48

    assert codes == [200] * 4


def test_refused_calls_count_against_the_rate_but_not_those_that_it_refused():
    api = simulator(max_rate=1.0)

    codes = [ask(api, "soon").http_code]
    for _ in range(4):
        api.clock.now += 0.6
        codes.append(ask(api).http_code)

    assert codes == [400, 429, 200, 429, 200]


def test_a_clock_that_steps_back_blocks_nobody():
    api = simulator(max_rate=1.0)
    ask(api)

    api.clock.now -= 3600

    assert ask(api).http_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "example.org", "::"])
def test_only_loopback_is_listened_on(host):
    with pytest.raises(ValueError, match="loopback"):
        Simulator(host=host)


# Faults that change the answer


@pytest.mark.parametrize(
    ("code", "content_type", "body"),
    [
        (400, "application/json", b'"message":"instance account not authorized"'),
        (401, "application/json", None),
        (403, "text/html", b"<center><h1>403 Forbidden</h1></center>"),
        (404, "application/json", b'"message":"Not Found"'),
        (429, "application/json", None),
        (466, "application/json", b'"status":"QUOTE_EXCEEDED"'),
        (499, "application/json", None),
        (500, "application/json", b'"message":"Internal Server Error"'),
        (502, "text/html", b"<title>502 Bad Gateway</title>"),
        (503, "text/html", b"<title>503 Service Temporarily Unavailable</title>"),
        (504, "text/html", b"<title>504 Gateway Time-out</title>"),
    ],
)
def test_a_refusal_has_the_real_body_of_its_code(code, content_type, body):
    api = simulator()
    api.faults.append(Refuse(code))

    response = ask(api)

    assert response.http_code == api.requests[0].http_code == code
    assert header(response, "Content-Type") == content_type
    assert header(response, "Content-Length") == str(len(response.body))
    assert (body in response.body) if body else response.body == b""
    assert ask(api).http_code == 200


def test_the_quota_answer_names_both_quotas():
    api = simulator()
    api.faults.append(Refuse(466))

    body = json.loads(ask(api).body)

    assert set(body) == {"invokeStatus", "correspondentsStatus"}
    assert set(body["invokeStatus"]) == {"method", "used", "total", "status", "description"}
    assert body["correspondentsStatus"]["status"] == "CORRESPONDENTS_QUOTE_EXCEEDED"


@pytest.mark.parametrize(
    ("fault", "content_type", "body"),
    [
        (Refuse(400, "Instance is deleted"), "text/plain; charset=utf-8", b"Instance is deleted"),
        (Refuse(400, b"\xff", "image/png"), "image/png", b"\xff"),
        (Refuse(403, {"message": "нет"}), "application/json", '{"message":"нет"}'.encode()),
        (Refuse(401, content_type="text/html"), "text/html", b""),
    ],
)
def test_a_refusal_can_have_a_body_of_its_own(fault, content_type, body):
    api = simulator()
    api.faults.append(fault)

    response = ask(api)

    assert response.body == body
    assert header(response, "Content-Type") == content_type
    assert header(response, "Content-Length") == str(len(body))


@pytest.mark.parametrize(
    ("body", "wire"),
    [(None, b"null"), ({}, b"{}"), ("", b""), ("[{", b"[{"), (b"\xff", b"\xff"), ([1], b"[1]")],
)
def test_an_answer_can_be_anything(body, wire):
    api = simulator()
    api.faults.append(Answer(body))

    response = ask(api)

    assert (response.http_code, response.body) == (200, wire)
    assert header(response, "Content-Type") == "application/json"


def test_an_answers_headers_replace_add_and_remove():
    api = simulator()
    api.faults.append(Answer([], {"date": None, "Age": "7", "content-type": "text/html"}, http_code=302))

    response = ask(api)

    assert response.http_code == 302
    assert response.headers == [("Content-Length", "2"), ("Age", "7"), ("content-type", "text/html")]


def test_minutes_can_be_ignored():
    """What was really asked is what is remembered."""
    api = simulator()
    item = api.post(late=3600)
    api.faults.extend([IgnoreMinutes(), IgnoreMinutes(instead=5)])

    assert ids(api, 1) == [item["idMessage"]]
    assert ids(api, 100) == []
    assert [received.minutes for received in api.requests] == [1, 100]


@pytest.mark.parametrize("size", [2, 1000, 3 * 2**20])
def test_a_bomb_is_valid_json_of_the_size_it_says(size):
    api = simulator()
    api.faults.append(Bomb(size))

    response = ask(api)

    assert header(response, "Content-Encoding") == "gzip"
    assert len(response.body) < 10_000
    plain = gzip.decompress(response.body)
    assert len(plain) == size
    assert json.loads(plain) == []


def test_none_among_the_faults_is_a_regular_answer():
    api = simulator()
    api.faults.extend([None, Refuse(502)])

    assert [ask(api).http_code for _ in range(3)] == [200, 502, 200]


def test_faults_wait_for_requests_to_the_method():
    api = simulator()
    api.faults.append(Refuse(502))

    assert ask(api, path="/").http_code == 404
    assert ask(api).http_code == 502


def test_without_a_socket_faults_of_sending_change_nothing():
    api = simulator()
    api.faults.extend([Drip(), Delay(1), Delay(1, Refuse(503)), Delay(1, IgnoreMinutes())])
    api.post(late=3600)

    assert [ask(api, 1).http_code for _ in range(3)] == [200, 200, 503]
    assert len(statuses(api, 1)) == 1


# Downloads


@pytest.fixture
def media():
    api = simulator()
    api.media["file"] = Media(content=b"0123456789", content_type="video/mp4")
    return api


def download(api, *, method="GET", name="file", **headers):
    pairs = [(key.replace("_", "-"), value) for key, value in headers.items()]
    return api.respond(Request(method, f"/media/{name}", pairs))


@pytest.mark.parametrize(
    ("kind", "magic"), [("image", b"\xff\xd8\xff"), ("video", b"\0\0\0\x20ftyp"), ("audio", b"OggS")]
)
def test_a_posted_file_can_be_downloaded(kind, magic):
    api = simulator()
    item = api.post(kind)

    response = api.respond(Request("GET", urlsplit(item["downloadUrl"]).path))

    assert response.http_code == 200
    assert header(response, "Content-Type") == item["mimeType"]
    assert header(response, "Accept-Ranges") == "bytes"
    assert header(response, "Content-Length") == str(len(response.body))
    assert response.body.startswith(magic)
    assert item["downloadUrl"].endswith(item["fileName"])


@pytest.mark.parametrize(
    ("asked", "content", "content_range"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=4-", b"456789", "bytes 4-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-30", b"0123456789", "bytes 0-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
    ],
)
def test_a_range_is_a_part(media, asked, content, content_range):
    response = download(media, Range=asked)

    assert (response.http_code, response.body) == (206, content)
    assert header(response, "Content-Range") == content_range


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=5-4", "bytes=-0"])
def test_a_range_outside_is_refused(media, asked):
    response = download(media, Range=asked)

    assert (response.http_code, response.body) == (416, b"")
    assert header(response, "Content-Range") == "bytes */10"


@pytest.mark.parametrize("asked", ["bytes=-", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b"])
def test_a_range_that_is_none_brings_the_whole(media, asked):
    assert download(media, Range=asked).http_code == 200


def test_if_range_brings_a_part_of_the_same_file_and_the_whole_of_another(media):
    etag = header(download(media), "ETag")

    assert download(media, Range="bytes=4-", If_Range=etag).http_code == 206
    assert download(media, Range="bytes=4-", If_Range='"other"').http_code == 200


def test_head_has_the_headers_alone(media):
    response = download(media, method="HEAD", Range="bytes=0-3")

    assert (response.http_code, response.body) == (200, b"")
    assert header(response, "Content-Length") == "10"


def test_what_is_not_there_and_what_is_not_allowed(media):
    assert download(media, name="other").http_code == 404
    assert download(media, method="PUT").http_code == 405


def test_downloads_have_faults_of_their_own(media):
    media.media_faults.append(Refuse(503))

    assert ask(media).http_code == 200
    assert [download(media).http_code for _ in range(2)] == [503, 200]


def test_an_address_may_come_later_under_the_same_id():
    api = simulator()
    item = api.post("image", address_after=30)

    [early] = statuses(api)
    api.clock.now += 30

    assert early == item | {"downloadUrl": ""}
    assert statuses(api) == [item]


def test_a_file_may_come_later():
    api = simulator()
    path = urlsplit(api.post("image", file_after=30)["downloadUrl"]).path
    early = api.respond(Request("GET", path))
    api.clock.now += 30

    assert (early.http_code, api.respond(Request("GET", path)).http_code) == (404, 200)


# The demo


@pytest.mark.anyio
async def test_the_demo_shows_every_type():
    api = simulator()
    begun = anyio.current_time()

    await demo(api, every=0.001)

    shown = statuses(api)
    assert {item["typeMessage"] for item in shown} == {
        *(sample["typeMessage"] for sample in SAMPLES),
        "stickerMessage",
    }
    assert anyio.current_time() - begun >= 0.01
    assert len(shown) == 10
    deletion = next(item for item in shown if item["typeMessage"] == "deletedMessage")
    assert [item["idMessage"] for item in shown].count(deletion["idMessage"]) == 2
    assert min(item["timestamp"] for item in shown) == int(NOW - 600)
    assert any(item["senderId"].endswith("@lid") for item in shown)
