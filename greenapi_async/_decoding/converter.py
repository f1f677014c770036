"""The converter: the wire's objects to attrs classes and back, strictly, in the API's own spelling."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs.gen import (
    make_dict_structure_fn,
    make_dict_unstructure_fn,
    override,
)

from greenapi_async._decoding.twin import structuring_items
from greenapi_async._decoding.typed import LAST_SECOND, MODEL_OF, MODELS
from greenapi_async.models import ExtendedTextMessage, Status

_TYPE_MESSAGES = {model.kind: type_message for type_message, model in MODELS.items()}
_EXTRA: Any = 0  # A key that is in no JSON object.
_Model = TypeVar("_Model", bound=attrs.AttrsInstance)


def read(obj: Mapping[str, Any], type_message: str) -> Status:
    """Return the status in an object of a known `typeMessage`.

    Raises:
        LookupError: a required field is missing.
        ValueError: a field is not as the API documents it.
    """
    return _readers()[type_message](obj, None)


def read_items(items: Iterable[Any]) -> Iterator[Status]:
    """Yield the statuses of typed items, which need no further checks."""
    readers = _item_readers()
    return (readers[type(item)](item, None) for item in items)


def explain(obj: Mapping[str, Any], type_message: str) -> str:
    """Return why `read` refuses an object, naming fields but never their values."""
    try:
        _explaining_readers()[type_message](obj, None)
    except cattrs.ClassValidationError as error:
        return "; ".join(cattrs.transform_error(error, format_exception=_describe))

    return "malformed"


def write(status: Status) -> dict[str, Any]:
    """Return the API's JSON object for a status of a known kind, without the fields that are None."""
    fields = _writers()[status.kind](status)
    return {"type": "incoming", "typeMessage": _TYPE_MESSAGES[status.kind], **fields}


def timestamp(value: Any, _: Any = None) -> int:
    """Return UNIX seconds that `datetime` can show; anything else raises ValueError."""
    if type(value) is int and 0 <= value <= LAST_SECOND:
        return value

    raise ValueError(f"expected UNIX seconds from 0 to the year 9999, got {_shape(value)}")


def _describe(error: BaseException, _: type | None) -> str:
    return "required field missing" if isinstance(error, KeyError) else str(error)


@functools.cache
def _readers() -> dict[str, Callable[[Any, Any], Status]]:
    return _readers_of(_converter(detailed=False))


@functools.cache
def _explaining_readers() -> dict[str, Callable[[Any, Any], Status]]:
    return _readers_of(_converter(detailed=True))


def _readers_of(converter: cattrs.Converter) -> dict[str, Callable[[Any, Any], Status]]:
    return {type_message: _structuring(model, converter) for type_message, model in MODELS.items()}


@functools.cache
def _item_readers() -> dict[type[Any], Callable[[Any, Any], Status]]:
    converter = cattrs.Converter(detailed_validation=False)
    converter.register_structure_hook(str | None, lambda value, _: value or None)
    structure_look = structuring_items(ExtendedTextMessage, converter)
    converter.register_structure_hook(
        ExtendedTextMessage | None, lambda value, _: None if value is None else structure_look(value, None)
    )
    return {item_type: structuring_items(model, converter) for item_type, model in MODEL_OF.items()}


@functools.cache
def _writers() -> dict[str, Callable[[Any], dict[str, Any]]]:
    converter = _converter(detailed=False)
    return {model.kind: _unstructuring(model, converter) for model in MODELS.values()}


@functools.cache
def _converter(*, detailed: bool) -> cattrs.Converter:
    """Build a strict converter: "12" is not 12, and None is not "None"."""
    converter = cattrs.Converter(detailed_validation=detailed)
    converter.register_structure_hook(int, timestamp)
    converter.register_structure_hook(str, _required_text)
    converter.register_structure_hook(str | None, _optional_text)

    structure_look = _structuring(ExtendedTextMessage, converter)
    unstructure_look = _unstructuring(ExtendedTextMessage, converter)

    def optional_look(value: Any, _: Any) -> ExtendedTextMessage | None:
        if value is None or value == "":
            return None

        if not isinstance(value, Mapping):
            raise ValueError(f"expected an object, got {_shape(value)}")  # noqa: TRY004 - all hooks refuse with one type.

        return structure_look(value, ExtendedTextMessage)

    converter.register_structure_hook(ExtendedTextMessage | None, optional_look)
    converter.register_unstructure_hook(ExtendedTextMessage, unstructure_look)
    return converter


def _structuring(model: type[_Model], converter: cattrs.Converter) -> Callable[[Any, Any], _Model]:
    names = _wire_names(model)
    extra: Any = override(rename=_EXTRA, struct_hook=lambda value, _: value)
    structure_fields = make_dict_structure_fn(model, converter, extra=extra, **_renames(names))
    known = {"type", "typeMessage", *names.values()}

    def structure_item(obj: Mapping[str, Any], _: Any) -> _Model:
        extra = {key: value for key, value in obj.items() if key not in known}
        if obj.get("type", "incoming") != "incoming":
            extra["type"] = obj["type"]

        return structure_fields({**obj, _EXTRA: extra} if extra else obj, model)

    return structure_item


def _unstructuring(model: type[Any], converter: cattrs.Converter) -> Callable[[Any], dict[str, Any]]:
    renames = _renames(_wire_names(model))
    unstructure_fields = make_dict_unstructure_fn(
        model, converter, _cattrs_omit_if_default=True, extra=override(omit=True), **renames
    )
    return lambda value: {**unstructure_fields(value), **value.extra}


def _wire_names(model: type[Any]) -> dict[str, str]:
    return {field.name: _camel(field.name) for field in attrs.fields(model) if field.name != "extra"}


def _renames(names: Mapping[str, str]) -> dict[str, Any]:
    return {name: override(rename=wire_name) for name, wire_name in names.items()}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.title, rest))


def _required_text(value: Any, _: Any) -> str:
    if isinstance(value, str) and value:
        return value

    raise ValueError(f"expected a text, got {_shape(value)}")


def _optional_text(value: Any, _: Any) -> str | None:
    if isinstance(value, str):
        return value or None

    if value is None:
        return None

    raise ValueError(f"expected a text, got {_shape(value)}")


def _shape(value: Any) -> str:
    """Describe a value without showing it: problems end up in logs."""
    if value is None:
        return "null"

    return "an empty one" if value == "" else type(value).__name__
