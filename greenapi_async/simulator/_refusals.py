"""The API's error responses as it really sends them."""

from datetime import UTC, datetime
from http.client import responses
from typing import Any

from greenapi_async.simulator._json import encode
from greenapi_async.simulator._messages import HTML, JSON, Headers, Response, build_response

_NGINX = (
    "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_NGINX_TITLES = {
    403: "403 Forbidden",
    502: "502 Bad Gateway",
    503: "503 Service Temporarily Unavailable",
    504: "504 Gateway Time-out",
}
_RATE_HEADERS: Headers = [("X-RateLimit-Remaining", "0"), ("X-RateLimit-Replenish-Rate", "1")]
_NOT_AUTHORIZED = "instance account not authorized"
_QUOTA = {
    "invokeStatus": {
        "method": "getIncomingStatuses",
        "used": 100,
        "total": 100,
        "status": "QUOTE_EXCEEDED",
        "description": "The monthly quota of requests is used up. Please upgrade to a business plan.",
    },
    "correspondentsStatus": {
        "used": 3,
        "total": 3,
        "status": "CORRESPONDENTS_QUOTE_EXCEEDED",
        "description": "The monthly quota of correspondents is used up. Please upgrade to a business plan.",
    },
}


def refusal(http_code: int, *, path: str, now: float, message: str | None = None) -> Response:
    """Build the API's response for an error code; `message` replaces the default, for codes that have one."""
    if http_code in (401, 499):
        return build_response(http_code, b"", content_type=JSON, now=now)

    if http_code == 429:
        return build_response(http_code, b"", content_type=JSON, now=now, extra=_RATE_HEADERS)

    if http_code in _NGINX_TITLES:
        page = _NGINX.format(title=_NGINX_TITLES[http_code])
        return build_response(http_code, page.encode(), content_type=HTML, now=now)

    if http_code == 466:
        return build_response(http_code, encode(_QUOTA), content_type=JSON, now=now)

    text = message or (_NOT_AUTHORIZED if http_code == 400 else phrase(http_code))
    return build_response(http_code, encode(_error(http_code, path, text, now)), content_type=JSON, now=now)


def phrase(http_code: int) -> str:
    """Return the code's standard reason phrase, or an empty string if it has none, such as 466."""
    return responses.get(http_code, "")


def _error(http_code: int, path: str, message: str, now: float) -> dict[str, Any]:
    return {"statusCode": http_code, "timestamp": _nanoseconds(now), "path": path, "message": message}


def _nanoseconds(now: float) -> str:
    seconds, fraction = divmod(now, 1)

    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{int(fraction * 1e9):09d}Z"
