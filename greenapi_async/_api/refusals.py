"""What a response means that brings no array: HTTP code, headers and body in, our error out. Pure."""

from collections.abc import Mapping
from typing import Any

from greenapi_async._decoding.text import loads_object, parse
from greenapi_async._http.failures import host_in, is_retryable, printable
from greenapi_async.errors import (
    AccessDeniedError,
    AuthenticationError,
    BadRequestError,
    DecodeError,
    GreenApiError,
    InstanceNotReadyError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    ResponseError,
    ServerError,
    UnexpectedRedirectError,
)

_SILENT = "the API did not say why"
_PLAIN: dict[int, tuple[type[ResponseError], str]] = {
    401: (AuthenticationError, "the API does not know this token: check GREEN_API_TOKEN_INSTANCE"),
    403: (
        AccessDeniedError,
        "access denied: beta access not granted (ask support), wrong api_url for this instance, or account suspended",
    ),
    404: (NotFoundError, "no such method at this address: check api_url (GREEN_API_URL)"),
}


def refusal(http_code: int, headers: Mapping[str, str], body: bytes) -> ResponseError:
    """Return the error that a response other than 200 stands for.

    The body must be free of secrets; what is kept of it is cut at 512 bytes. The codes are those of
    https://green-api.com/en/docs/api/common-errors/
    """
    said = _said(body)

    if http_code in _PLAIN:
        error, meaning = _PLAIN[http_code]
        return error(f"{meaning}{_quoted(said)}", http_code=http_code)

    if http_code == 429:
        return RateLimitedError(
            "more than one request a second: perhaps this instance is polled twice",
            retry_after=_seconds(headers.get("retry-after")),
        )

    if http_code == 466:
        return _quota(loads_object(body.decode(errors="replace")))

    if 300 <= http_code < 400:
        return _redirect(http_code, headers.get("location"))

    if 400 <= http_code < 500 and not is_retryable(http_code):
        return _not_ready(said, http_code) or BadRequestError(said or _SILENT, http_code=http_code)

    return ServerError(said or _SILENT, http_code=http_code)


def says_nothing(http_code: int, headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether a 2xx that is no 200 brings no statuses: it is empty, or an empty array.

    An empty body that was announced as a longer one could not be read.
    """
    unread = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
    empty = http_code == 204 or not (body or unread)
    return 200 < http_code < 300 and (empty or body.split() in ([b"[]"], [b"[", b"]"]))


def array_in(body: bytes) -> bytes | None:
    """Return the JSON array that a 200 brings, or None where it says nothing: it is empty or `null`.

    An array comes without what may stand around it; whether it is one to its end is for the decoder to find out.

    Raises:
        DecodeError: the body is no JSON, or something else than an array.
        InstanceNotReadyError: it says so.
    """
    trimmed = body.strip()
    if not trimmed.startswith(b"["):
        trimmed = body.decode("utf-8-sig", errors="replace").strip().encode()

    if trimmed.startswith(b"["):
        return _closed(trimmed)

    value = parse(trimmed)
    if value is None:
        return None

    raise _no_array(value)


def _closed(array: bytes) -> bytes:
    if array.endswith(b"]"):
        return array

    raise DecodeError(f"the response is not JSON: the array is not closed at byte {len(array)}")


def _no_array(value: Any) -> GreenApiError:
    reason = value.get("reason") or value.get("message") if isinstance(value, dict) else None
    said = printable(str(reason or ""))

    return _not_ready(said, http_code=200) or DecodeError(
        f"expected a JSON array of statuses, got {type(value).__name__}{_quoted(said)}"
    )


def _said(body: bytes) -> str:
    """Return what a refusal says in words; a web page says nothing."""
    text = body.decode(errors="replace").strip()
    if text.startswith("<"):
        return ""

    said = loads_object(text)
    return printable(str(said.get("message") or said.get("reason") or text))


def _quoted(said: str) -> str:
    return f'; it says "{said}"' if said else ""


def _not_ready(said: str, http_code: int) -> InstanceNotReadyError | None:
    # "instance is starting or not authorized" may be over in seconds, so "starting" is looked for first.
    for reason in ("starting", "not authorized"):
        if reason in said.lower():
            return InstanceNotReadyError(said, http_code=http_code, reason=reason)

    return None


def _quota(body: Mapping[str, Any]) -> QuotaExceededError:
    status = body.get("invokeStatus") or body.get("correspondentsStatus")
    told = status if isinstance(status, dict) else {}
    description = printable(str(told.get("description") or "")) or None

    return QuotaExceededError(
        description or "the quota of the plan is used up",
        method=printable(str(told.get("method") or "")) or None,
        used=_count(told.get("used")),
        total=_count(told.get("total")),
        description=description,
    )


def _count(value: Any) -> int | None:
    """Return a count that the API writes as a number or as a string."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _redirect(http_code: int, location: str | None) -> UnexpectedRedirectError:
    where = host_in(location)
    return UnexpectedRedirectError(
        f"redirected to {where or 'elsewhere'}: is a proxy or a captive portal in the way?",
        http_code=http_code,
        location=where,
    )


def _seconds(retry_after: str | None) -> float | None:
    """Return the seconds of a Retry-After header; a date in it counts as not said."""
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None

    return seconds if 0 <= seconds < float("inf") else None
