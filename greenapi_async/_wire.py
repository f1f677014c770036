"""From the bytes of an answer to statuses, and from a status back to the wire's JSON object."""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from greenapi_async.errors import DecodeError
from greenapi_async.models import (
    AudioStatus,
    BaseStatus,
    DeletedStatus,
    ExtendedTextMessage,
    ImageStatus,
    Status,
    TextStatus,
    UnknownStatus,
    VideoStatus,
)

_MODELS: dict[str, type[Status]] = {
    "extendedTextMessage": TextStatus,
    "imageMessage": ImageStatus,
    "videoMessage": VideoStatus,
    "audioMessage": AudioStatus,
    "deletedMessage": DeletedStatus,
}
_TYPE_MESSAGES: dict[str, str] = {model.kind: type_message for type_message, model in _MODELS.items()}
_Model = TypeVar("_Model", bound=BaseStatus | ExtendedTextMessage)
_LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z, where datetime ends; milliseconds lie far beyond.


def parse(body: bytes) -> Any:
    """Return the JSON value of a body, or None where it is empty.

    Bytes that are not UTF-8 become U+FFFD: one broken name must not lose the other statuses.

    Raises:
        DecodeError: the body is not JSON.
    """
    text = body.decode("utf-8-sig", errors="replace").strip()
    if not text:
        return None

    try:
        return json.loads(text, parse_int=_parse_int)
    except RecursionError:
        problem = "it is nested too deeply"
    except json.JSONDecodeError as error:
        problem = f"{error.msg} at character {error.pos} of {len(text)}"

    if text.startswith("<"):
        problem = "it is a web page, as a proxy or a captive portal would send"

    raise DecodeError(f"the answer is not JSON: {problem}")


def structure(items: list[Any]) -> list[Status]:
    """Return the statuses of an answer's array, oldest first; those of one second in the API's order."""
    return sorted((from_dict(item) for item in items), key=lambda status: status.timestamp)


def from_dict(obj: Any) -> Status:
    """Read one status from the wire's JSON object.

    Whatever cannot be read comes as `UnknownStatus`, so nothing is dropped and nothing raised.
    """
    if not isinstance(obj, Mapping):
        return _unknown(obj, problem=f"expected an object, got {type(obj).__name__}")

    if not _text(obj.get("idMessage")):
        return _unknown(obj, problem="idMessage is missing")

    type_message = _text(obj.get("typeMessage"))
    read = _readers(detailed=False).get(type_message)
    if read is None:
        return _unknown(obj, problem="unknown typeMessage")

    try:
        return read(obj, None)
    except (LookupError, ValueError):
        return _unknown(obj, problem=_explain(obj, type_message))


def to_dict(status: Status) -> Any:
    """Return the wire's JSON object of a status, without what was absent, null or empty.

    `from_dict` of it is the same status. For an `UnknownStatus` it is `raw`, whatever that was.
    """
    if isinstance(status, UnknownStatus):
        return status.raw

    return {
        "type": "incoming",
        "typeMessage": _TYPE_MESSAGES[status.kind],
        **_writers()[status.kind](status),
    }


def dumps(value: Any) -> str:
    """Return JSON on one line, readable in any language."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def loads_object(text: str) -> dict[str, Any]:
    """Return the JSON object in a text, or an empty one where it is anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}

    return value if isinstance(value, dict) else {}


def _parse_int(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:  # Python refuses thousands of digits; one such number must not lose the others.
        return digits


def _unknown(obj: Any, *, problem: str) -> UnknownStatus:
    item = obj if isinstance(obj, Mapping) else {}

    return UnknownStatus(
        id_message=_text(item.get("idMessage")) or _digest(obj),
        timestamp=_timestamp_or_zero(item.get("timestamp")),
        chat_id=_text(item.get("chatId")),
        sender_id=_text(item.get("senderId")) or None,
        sender_name=_text(item.get("senderName")) or None,
        sender_contact_name=_text(item.get("senderContactName")) or None,
        type_message=_text(item.get("typeMessage")) or None,
        raw=obj,
        problem=problem,
    )


def _digest(obj: Any) -> str:
    try:
        canonical = json.dumps(obj, sort_keys=True, separators=(",", ":"), default=repr)
    except (RecursionError, TypeError, ValueError):  # The parser takes a little more than the encoder does.
        canonical = "no JSON"

    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _timestamp_or_zero(value: Any) -> int:
    try:
        return _timestamp(value, int)
    except ValueError:
        return 0


def _explain(obj: Mapping[str, Any], type_message: str) -> str:
    problems: list[str] = []
    try:
        _readers(detailed=True)[type_message](obj, None)
    except cattrs.ClassValidationError as error:
        problems = cattrs.transform_error(error, format_exception=_describe)

    return "; ".join(problems)


def _describe(error: BaseException, _: type | None) -> str:
    return "required field missing" if isinstance(error, KeyError) else str(error)


@functools.cache
def _readers(*, detailed: bool) -> dict[str, Callable[[Any, Any], Status]]:
    converter = _converter(detailed=detailed)
    return {type_message: _structuring(model, converter) for type_message, model in _MODELS.items()}


@functools.cache
def _writers() -> dict[str, Callable[[Any], dict[str, Any]]]:
    converter = _converter(detailed=False)
    return {model.kind: _unstructuring(model, converter) for model in _MODELS.values()}


@functools.cache
def _converter(*, detailed: bool) -> cattrs.Converter:
    """Build a strict converter: "12" is not 12, and None is not "None"."""
    converter = cattrs.Converter(detailed_validation=detailed)
    converter.register_structure_hook(int, _timestamp)
    converter.register_structure_hook(str, _required_text)
    converter.register_structure_hook(str | None, _optional_text)

    structure_look = _structuring(ExtendedTextMessage, converter)
    unstructure_look = _unstructuring(ExtendedTextMessage, converter)

    def optional_look(value: Any, _: Any) -> ExtendedTextMessage | None:
        if value is None or value == "":
            return None

        if not isinstance(value, Mapping):
            raise ValueError(f"expected an object, got {_shape(value)}")  # noqa: TRY004 - hooks refuse in one way.

        return structure_look(value, ExtendedTextMessage)

    converter.register_structure_hook(ExtendedTextMessage | None, optional_look)
    converter.register_unstructure_hook(ExtendedTextMessage, unstructure_look)
    return converter


def _structuring(model: type[_Model], converter: cattrs.Converter) -> Callable[[Any, Any], _Model]:
    names = _wire_names(model)
    structure_fields = make_dict_structure_fn(model, converter, extra=override(omit=True), **_renames(names))
    known = {"typeMessage", *names.values()}

    def structure_item(obj: Mapping[str, Any], _: Any) -> _Model:
        value = structure_fields(obj, model)
        extra = {key: obj[key] for key in obj.keys() - known if (key, obj[key]) != ("type", "incoming")}
        return attrs.evolve(value, extra=extra) if extra else value

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


def _timestamp(value: Any, _: Any) -> int:
    if type(value) is int and 0 <= value <= _LAST_SECOND:
        return value

    raise ValueError(f"expected UNIX seconds from 0 to the year 9999, got {_shape(value)}")


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
    """Tell what a value is without telling the value: problems end up in logs."""
    if value is None:
        return "null"

    return "an empty one" if value == "" else type(value).__name__
