"""The meaning of a response without an array: HTTP code, headers and body in, our error out. Pure."""

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from greenapi_async._api.frontend import page_title, wants_login
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
_PAGE = "received a web page instead of the API's JSON: is a proxy or a captive portal in the way?"
_PLAIN: dict[int, tuple[type[ResponseError], str]] = {
    401: (AuthenticationError, "the API does not know this token: check it (GREEN_API_TOKEN_INSTANCE)"),
    403: (
        AccessDeniedError,
        "access denied: beta access not granted (ask support), wrong id_instance (GREEN_API_ID_INSTANCE) or api_url, or suspended",
    ),
    404: (NotFoundError, "no such method at this address: check api_url (GREEN_API_URL)"),
}
_LOGIN = "something in front of the API requires a login: check api_url (GREEN_API_URL) and any proxy"
_TOO_OFTEN = "more than one request a second: is another program polling this instance?"
_NEVER_GOT_IT = (
    "the API does not know this token because it never received it: the transport of http_client, or a hook, sends *** "
    "in its place; it must send request.url as it is, or a copy_with of it, whose raw_path holds the token"
)


def refusal(
    http_code: int,
    headers: Mapping[str, str],
    body: bytes,
    quotable: Callable[[str], str],
    *,
    token_sent: bool = True,
) -> ResponseError:
    """Return the error for a response other than 200.

    Only what `quotable` leaves of a stranger's text is quoted, truncated to 512 bytes. The codes are listed at
    https://green-api.com/en/docs/api/common-errors/
    """
    title = page_title(headers, body)
    login = printable(quotable(wants_login(headers))) if http_code == 401 else ""
    told = _told(body) if title is None else ""
    said = printable(quotable(told))
    quoted = _quoted(login or said) if title is None else _titled(title, quotable)

    if http_code in _PLAIN:
        error, meaning = _PLAIN[http_code]
        if http_code == 401 and (title is not None or login):
            meaning = _LOGIN
        elif http_code == 401 and not token_sent:
            meaning = _NEVER_GOT_IT

        return error(f"{meaning}{quoted}", http_code=http_code)

    if http_code == 429:
        return RateLimitedError(
            _TOO_OFTEN if title is None else f"too many requests{quoted}",
            retry_after=_seconds(headers.get("retry-after", ""), headers.get("date", "")),
        )

    if http_code == 466:
        return _quota(loads_object(body.decode(errors="replace")), quotable)

    if 300 <= http_code < 400:
        return _redirect(http_code, headers.get("location"), quotable)

    words = said or (_SILENT if title is None else f"{_PAGE}{quoted}")
    if 400 <= http_code < 500 and not is_retryable(http_code):
        return _not_ready(told, said, http_code) or BadRequestError(words, http_code=http_code)

    return ServerError(words, http_code=http_code)


def says_nothing(http_code: int, headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether a 2xx other than 200 means no statuses: it is empty, or an empty array.

    An empty body with a longer announced length is one that could not be read.
    """
    unread = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
    empty = http_code == 204 or not (body or unread)
    return 200 < http_code < 300 and (empty or body.split() in ([b"[]"], [b"[", b"]"]))


def array_in(
    body: bytes, *, headers: Mapping[str, str] | None = None, quotable: Callable[[str], str] = str
) -> bytes | None:
    """Return the JSON array in a 200, or None if there is nothing: an empty body or `null`.

    The array is stripped of whatever may surround it; whether it is valid to its end is for the decoder to find out.

    Raises:
        DecodeError: the body is not JSON, or not an array.
        InstanceNotReadyError: it says so.
    """
    trimmed = body.strip()
    if not trimmed.startswith(b"["):
        trimmed = body.decode("utf-8-sig", errors="replace").strip().encode()

    if trimmed.startswith(b"["):
        return _closed(trimmed)

    title = page_title(headers or {}, body)
    if title is not None:
        raise DecodeError(f"{_PAGE}{_titled(title, quotable)}")

    value = parse(trimmed)
    if value is None:
        return None

    raise _no_array(value, quotable)


def _closed(array: bytes) -> bytes:
    if array.endswith(b"]"):
        return array

    raise DecodeError(f"the response is not JSON: the array is not closed at byte {len(array)}")


def _no_array(value: Any, quotable: Callable[[str], str]) -> GreenApiError:
    reason = value.get("reason") or value.get("message") if isinstance(value, dict) else None
    said = printable(quotable(str(reason or "")))

    return _not_ready(str(reason), said, http_code=200) or DecodeError(
        f"expected a JSON array of statuses, got {type(value).__name__}{_quoted(said)}"
    )


def _told(body: bytes) -> str:
    """Return the text of a refusal, unchanged."""
    text = body.decode(errors="replace").strip()
    told = loads_object(text)
    return str(told.get("message") or told.get("reason") or text)


def _quoted(said: str) -> str:
    return f'; it says "{said}"' if said else ""


def _titled(title: str, quotable: Callable[[str], str]) -> str:
    words = printable(quotable(title))
    return f'; its page says "{words}"' if words else "; the page has no title that can be shown"


def _not_ready(told: str, said: str, http_code: int) -> InstanceNotReadyError | None:
    """Return the error if `told` says so; only `said` is quoted."""
    # "instance is starting or not authorized" may be over in seconds, so "starting" is looked for first.
    for reason in ("starting", "not authorized"):
        if reason in told.lower():
            return InstanceNotReadyError(
                said or f"the instance is {reason}", http_code=http_code, reason=reason
            )

    return None


def _quota(body: Mapping[str, Any], quotable: Callable[[str], str]) -> QuotaExceededError:
    status = body.get("invokeStatus") or body.get("correspondentsStatus")
    told = status if isinstance(status, dict) else {}
    description = printable(quotable(str(told.get("description") or ""))) or None

    return QuotaExceededError(
        description or "the plan's quota is used up",
        method=printable(quotable(str(told.get("method") or ""))) or None,
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


def _redirect(
    http_code: int, location: str | None, quotable: Callable[[str], str]
) -> UnexpectedRedirectError:
    where = quotable(host_in(location) or "") or None
    return UnexpectedRedirectError(
        f"redirected to {where or 'another address'}: is a proxy or a captive portal in the way?",
        http_code=http_code,
        location=where,
    )


def _seconds(retry_after: str, date: str) -> float | None:
    """Return the seconds in a Retry-After header; a date is relative to the response's own `Date`."""
    try:
        seconds = float(retry_after)
    except ValueError:
        seconds = _seconds_between(date, retry_after)

    return seconds if 0 <= seconds < float("inf") else None


def _seconds_between(earlier: str, later: str) -> float:
    try:
        return (parsedate_to_datetime(later) - parsedate_to_datetime(earlier)).total_seconds()
    except (TypeError, ValueError, OverflowError):  # One is not a date, or only one has a time zone.
        return -1.0
