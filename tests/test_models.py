"""What a status is as a value."""

import base64
import pickle
from datetime import UTC, datetime

import attrs
import pytest

from greenapi_async import models

PHONE = "79001234567@c.us"
TEXT = "Прекрасное утро!"
THUMBNAIL = base64.b64encode(b"\xff\xd8\xff").decode()
SUBCLASSES = [
    models.TextStatus,
    models.ImageStatus,
    models.VideoStatus,
    models.AudioStatus,
    models.DeletedStatus,
    models.UnknownStatus,
]
KINDS = ["text", "image", "video", "audio", "deleted", "unknown"]
MEDIA = [models.ImageStatus, models.VideoStatus, models.AudioStatus]
each_class = pytest.mark.parametrize("model", SUBCLASSES, ids=lambda model: model.__name__)


def status(model=models.TextStatus, **fields):
    required = {"id_message": "3EB0FFFF", "timestamp": 1710232595, "chat_id": PHONE}
    if model is models.UnknownStatus:
        required |= {"raw": {"idMessage": "3EB0FFFF"}, "problem": "unknown typeMessage"}

    return model(**required | fields)


def full(model):
    """A status with something private in every field that can hold it."""
    fields = {
        "sender_id": PHONE,
        "sender_name": "Николай",
        "sender_contact_name": "Коля",
        "extra": {"a": TEXT},
    }
    if model is models.TextStatus:
        fields |= {
            "text_message": TEXT,
            "extended_text_message": models.ExtendedTextMessage(text=TEXT, extra={"b": TEXT}),
        }
    if model in MEDIA:
        fields |= {"caption": TEXT, "jpeg_thumbnail": THUMBNAIL, "download_url": "https://media.example/x"}
    if model is models.UnknownStatus:
        fields |= {"raw": {"textMessage": TEXT, "senderId": PHONE}, "type_message": "stickerMessage"}

    return status(model, **fields)


def test_posted_at_is_the_timestamp_in_utc():
    assert status(timestamp=1710232595).posted_at == datetime(2024, 3, 12, 8, 36, 35, tzinfo=UTC)
    assert status(timestamp=1710232595).posted_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("names", "sender"),
    [
        ({"sender_contact_name": "Коля", "sender_name": "Николай", "sender_id": "1@lid"}, "Коля"),
        ({"sender_name": "Николай", "sender_id": "1@lid"}, "Николай"),
        ({"sender_id": "1@lid"}, "1@lid"),
        ({}, PHONE),
    ],
)
def test_the_sender_is_the_best_name_there_is(names, sender):
    """The account's contact book first, then the sender's own name, then the id; never nothing."""
    assert status(**names).sender == sender


@pytest.mark.parametrize(("model", "kind"), list(zip(SUBCLASSES, KINDS, strict=True)))
def test_every_class_has_its_kind(model, kind):
    assert status(model).kind == model.kind == kind


@pytest.mark.parametrize("model", MEDIA, ids=lambda model: model.__name__)
@pytest.mark.parametrize(
    ("sent", "thumbnail"),
    [
        (THUMBNAIL, b"\xff\xd8\xff"),
        (None, None),
        ("/9j/2wCEABALDA4MChAODQ4SERATGCgaGBYWGDEjJ", None),
        ("картинка", None),
        ("/9j/ 2wCE", None),
    ],
    ids=["whole", "absent", "the vendor's own sample, cut", "not ascii", "not base64"],
)
def test_the_thumbnail_is_bytes_or_none(model, sent, thumbnail):
    """A thumbnail that does not decode is no reason to fail."""
    assert status(model, jpeg_thumbnail=sent).thumbnail == thumbnail


@each_class
def test_the_key_is_the_id_and_a_deletion_has_one_of_its_own(model):
    """A deletion carries the id of the status it deletes, and must not pass for that one."""
    expected = "3EB0FFFF#deleted" if model is models.DeletedStatus else "3EB0FFFF"

    assert status(model).key == expected


def test_a_malformed_deletion_has_the_key_of_a_deletion():
    malformed = status(models.UnknownStatus, type_message="deletedMessage")

    assert malformed.key == status(models.DeletedStatus).key == models.deletion_key("3EB0FFFF")


@each_class
def test_repr_shows_type_id_and_time_and_nothing_private(model):
    """Statuses end up in logs; texts, names, phone numbers and thumbnails must not."""
    assert repr(full(model)) == f"<{model.__name__} 3EB0FFFF 2024-03-12T08:36:35Z>"
    assert str(full(model)) == repr(full(model))


@pytest.mark.parametrize("id_message", ["\x1b[2J", "1\n2026 ERROR forged", "\u202e", "\U000e0041", "\ud83d"])
def test_repr_cannot_forge_a_line_of_a_log(id_message):
    """The id is a stranger's text as well, and this is what stands in a log."""
    shown = repr(status(models.DeletedStatus, id_message=id_message))

    assert shown.isprintable()
    assert shown == f"<DeletedStatus {ascii(id_message)[1:-1]} 2024-03-12T08:36:35Z>"


@each_class
def test_a_status_is_a_value(model):
    """Equal where all fields are equal, usable in sets whatever JSON it holds."""
    assert full(model) == full(model)
    assert len({full(model), full(model), status(model)}) == 2
    assert status(model, extra={"a": 1}) != status(model, extra={"a": 2})


def test_unknown_statuses_of_different_content_are_different():
    one, other = (status(models.UnknownStatus, raw=raw) for raw in ([1], [2]))

    assert one != other


@each_class
def test_statuses_of_different_classes_are_different(model):
    others = [other for other in SUBCLASSES if other is not model]

    assert all(status(model) != status(other) for other in others)


@each_class
def test_a_status_cannot_be_changed(model):
    item = full(model)

    for name in ("timestamp", "sender_name", "kind", "surprise"):
        with pytest.raises((attrs.exceptions.FrozenInstanceError, AttributeError)):
            setattr(item, name, "else")

    assert item == full(model)
    assert not hasattr(item, "__dict__")


@each_class
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_status_pickles(model, protocol):
    """Bots hand statuses to worker processes and queues."""
    assert pickle.loads(pickle.dumps(full(model), protocol)) == full(model)


@each_class
def test_a_status_takes_keywords_only(model):
    with pytest.raises(TypeError):
        model("3EB0FFFF", 1710232595, PHONE)


def test_statuses_are_told_apart_by_match():
    def shown(item):
        match item:
            case models.TextStatus(text_message=text):
                return text
            case models.ImageStatus() | models.VideoStatus():
                return "picture"
            case _:
                return item.kind

    assert [shown(full(model)) for model in SUBCLASSES] == [
        TEXT,
        "picture",
        "picture",
        "audio",
        "deleted",
        "unknown",
    ]
