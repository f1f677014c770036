"""A JSON array as typed items: msgspec validates them while it reads, and refuses whatever is odd."""

from collections.abc import Iterable
from itertools import compress
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, Union

import attrs
import msgspec

from greenapi_async.models import (
    AudioStatus,
    DeletedStatus,
    ExtendedTextMessage,
    ImageStatus,
    Status,
    TextStatus,
    VideoStatus,
    deletion_key,
)

MODELS: Final[dict[str, type[Status]]] = {
    "extendedTextMessage": TextStatus,
    "imageMessage": ImageStatus,
    "videoMessage": VideoStatus,
    "audioMessage": AudioStatus,
    "deletedMessage": DeletedStatus,
}
LAST_SECOND: Final = 253_402_300_799
"""9999-12-31T23:59:59Z, where datetime ends; milliseconds are far beyond."""

values_of: Final = msgspec.structs.astuple
"""Return a typed item's values in the order of its model's fields; absent ones are None."""

_T = TypeVar("_T")
_Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]


def read_keys(array: bytes) -> list[str] | None:
    """Return the keys of the statuses in a JSON array, or None if one of its items is odd."""
    heads = _read(_HEADS, array)
    if heads is None:
        return None

    return [
        deletion_key(head.id_message) if head.type_message == "deletedMessage" else head.id_message
        for head in heads
    ]


def read_items(array: bytes) -> list[Any] | None:
    """Return the items of a JSON array, each of a type in `MODEL_OF`, or None if one of them is odd.

    An item is odd if its kind or one of its fields is unknown, a required field is missing, or a value is wrong.
    """
    return _read(_ITEMS, array)


def read_objects(array: bytes) -> list[Any] | None:
    """Return the items of a JSON array as the standard library reads them, or None where that may accept more."""
    return _read(_OBJECTS, array)


def pick(array: bytes, selectors: Iterable[bool]) -> bytes | None:
    """Return a JSON array of the selected items, or None if it is not JSON."""
    items = _read(_RAW_ITEMS, array)
    return None if items is None else b"[%b]" % b",".join(compress(items, selectors))


def _read(decoder: "msgspec.json.Decoder[_T]", value: bytes) -> _T | None:
    try:
        return decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class _Head(msgspec.Struct, rename="camel", gc=False):
    id_message: _Text
    type_message: Any = None


def _struct(model: type[Any], *others: tuple[str, Any, Any], **options: Any) -> Any:
    """Return a type with the fields of a model, under the API's names; optional ones may be absent or null."""
    fields = [_field(field) for field in attrs.fields(model) if field.name != "extra"]
    return msgspec.defstruct(
        model.__name__, [*fields, *others], rename="camel", forbid_unknown_fields=True, gc=False, **options
    )


def _field(field: "attrs.Attribute[Any]") -> tuple[str, Any] | tuple[str, Any, None]:
    type_ = _TYPES.get(field.type, field.type)
    return (field.name, type_) if field.default is attrs.NOTHING else (field.name, type_, None)


_TYPES: dict[Any, Any] = {str: _Text, int: Annotated[int, msgspec.Meta(ge=0, le=LAST_SECOND)]}
_TYPES[ExtendedTextMessage | None] = _struct(ExtendedTextMessage) | None
_DIRECTION = ("type", Literal["incoming"], "incoming")

MODEL_OF: Final[dict[Any, type[Status]]] = {
    _struct(model, _DIRECTION, tag_field="typeMessage", tag=type_message): model
    for type_message, model in MODELS.items()
}
KNOWN: Final[frozenset[str]] = frozenset({"typeMessage"}).union(
    *(item_type.__struct_encode_fields__ for item_type in MODEL_OF)
)
"""The API's names of all fields of all models."""

_ANY: Any = Union[tuple(MODEL_OF)]  # noqa: UP007 - `|` takes two.
_HEADS = msgspec.json.Decoder(list[_Head])
_ITEMS: "msgspec.json.Decoder[list[Any]]" = msgspec.json.Decoder(list[_ANY])
_OBJECTS = msgspec.json.Decoder(list[Any])
_RAW_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
