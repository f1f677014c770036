"""What a test in another language does over HTTP: post statuses, and add and remove faults."""

import json
from collections.abc import Callable
from typing import Any, Final

from greenapi_async.simulator import faults
from greenapi_async.simulator._json import decode, encode
from greenapi_async.simulator._messages import JSON, TEXT, Request, Response, build_response
from greenapi_async.simulator._queue import FaultQueue

PREFIX: Final = "/_simulator/"
_FAULTS = {
    each.__name__: each
    for each in vars(faults).values()
    if isinstance(each, type) and issubclass(each, faults.Fault) and each is not faults.Fault
}
_WRONG = (TypeError, ValueError, ArithmeticError, RecursionError)


def control(
    request: Request, *, post: Callable[..., dict[str, Any]], queue: FaultQueue, now: float
) -> Response:
    """Return the response to a request below `/_simulator/`; a wrong one gets a 400 that says why.

    `POST /_simulator/statuses` takes an object with the arguments of `post`, and returns the status.
    `POST /_simulator/faults` takes `{"Refuse": [502]}`: a fault and its arguments (numbers, strings and booleans);
    `DELETE /_simulator/faults` removes all. Both return how many are waiting.
    """
    try:
        match request.method, request.path.removeprefix(PREFIX):
            case "POST", "statuses":
                result: Any = post(**_object(request.body))
            case "POST", "faults":
                queue.append(_fault(_object(request.body)))
                result = {"waiting": len(queue)}
            case "DELETE", "faults":
                queue.clear()
                result = {"waiting": 0}
            case _:
                return _refusal(404, "use POST statuses, POST faults or DELETE faults", now)
    except _WRONG as error:
        return _refusal(400, str(error), now)

    return build_response(200, encode(result), content_type=JSON, now=now)


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = decode(body)
    except (json.JSONDecodeError, RecursionError):
        value = None

    if isinstance(value, dict):
        return value

    raise ValueError("the body must be a JSON object")


def _fault(named: dict[str, Any]) -> faults.Fault:
    if len(named) != 1 or not named.keys() <= _FAULTS.keys():
        raise ValueError(f'the body must be one fault, such as {{"Refuse": [502]}}, of {", ".join(_FAULTS)}')

    [(name, arguments)] = named.items()
    if not isinstance(arguments, list) or not all(isinstance(each, int | float | str) for each in arguments):
        raise ValueError(f"the arguments of {name} must be a list of numbers, strings and booleans")

    return _FAULTS[name](*arguments)


def _refusal(http_code: int, message: str, now: float) -> Response:
    return build_response(http_code, message.encode(errors="replace"), content_type=TEXT, now=now)
