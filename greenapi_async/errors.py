"""The exception hierarchy: one root, data in attributes, never a secret."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Literal, TypeVar

_Error = TypeVar("_Error", bound=BaseException)


class GreenApiError(Exception):
    """Base class of every error that this library raises on purpose.

    All of them can be pickled, hold no httpx objects and never contain the token.

    Attributes:
        message: what went wrong.
        retryable: whether the same call may succeed on retry.
    """

    retryable: bool = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(cls: type[GreenApiError], args: tuple[Any, ...], attributes: Mapping[str, Any]) -> GreenApiError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(attributes)
    return error


class ConfigurationError(GreenApiError, ValueError):
    """An argument or environment variable is invalid.

    Attributes:
        message: names the argument or variable.
        retryable: always false.
    """


class ClientClosedError(GreenApiError):
    """The client, or the one whose connections it shares, is closed.

    Attributes:
        message: what is closed.
        retryable: always false.
    """


class TransportError(GreenApiError):
    """No complete response arrived: DNS, connect, TLS, reset, truncated or too slow.

    Attributes:
        message: what failed, without the token.
        timeout: whether the timeout expired: of the whole request, or of a download without progress.
        refused: `"certificate"` if the server's TLS certificate was rejected, `"proxy"` if a proxy rejected the
            username or password, else None.
        retryable: false if something was refused, else true.
    """

    def __init__(
        self,
        message: str,
        *,
        timeout: bool = False,
        retryable: bool = True,
        refused: Literal["certificate", "proxy"] | None = None,
    ) -> None:
        super().__init__(message)
        self.timeout = timeout
        self.refused = refused
        self.retryable: bool = retryable and refused is None


class ResponseError(GreenApiError):
    """The API responded with an error.

    The codes are listed at https://green-api.com/en/docs/api/common-errors/

    Attributes:
        message: what the API said, truncated, unless the token is in it, or what the code means.
        http_code: the HTTP status code.
        default_http_code: the `http_code` of an error made without one.
        retryable: whether the same request may succeed on retry; false unless a subclass says otherwise.
    """

    default_http_code: ClassVar[int] = 400

    def __init__(self, message: str, *, http_code: int | None = None) -> None:
        super().__init__(message)
        self.http_code: int = self.default_http_code if http_code is None else http_code

    def __str__(self) -> str:
        return f"HTTP {self.http_code}: {self.message}"


class AuthenticationError(ResponseError):
    """401: the API does not know this token, or a front end before it requires its own login.

    Attributes:
        message: what the code means and what to check, then what the API said.
        http_code: the HTTP status code, 401.
        retryable: always false.
    """

    default_http_code = 401


class AccessDeniedError(ResponseError):
    """403: no beta access, an instance on another host, or a suspended account.

    Attributes:
        message: what the code means and what to check, then what the API said.
        http_code: the HTTP status code, 403.
        retryable: always false.
    """

    default_http_code = 403


class NotFoundError(ResponseError):
    """404: no such method at this address.

    Attributes:
        message: what the code means and what to check, then what the API said.
        http_code: the HTTP status code, 404.
        retryable: always false.
    """

    default_http_code = 404


class InstanceNotReadyError(ResponseError):
    """The instance is starting, or its WhatsApp account is not authorized.

    Attributes:
        message: what the API said, truncated, unless the token is in it.
        http_code: the HTTP status code; 200 if the API sent an object in place of an array.
        reason: `"starting"` (ready within seconds) or `"not authorized"` (someone must scan the QR code).
        retryable: true if `reason` is `"starting"`.
    """

    def __init__(self, message: str, *, http_code: int | None = None, reason: str = "starting") -> None:
        super().__init__(message, http_code=http_code)
        self.reason = reason
        self.retryable: bool = reason == "starting"

    def __str__(self) -> str:
        advice = "it will be ready soon" if self.retryable else "scan the QR code in the console"
        return f"{super().__str__()}: {advice}"


class BadRequestError(ResponseError):
    """400 and other 4xx: retrying will not help; change the request or the account.

    Attributes:
        message: what the API said, truncated, unless the token is in it.
        http_code: the HTTP status code, 400 to 498.
        retryable: always false.
    """


class RateLimitedError(ResponseError):
    """429: more than one request a second, usually because another poller uses the same instance.

    Attributes:
        message: the likely cause.
        http_code: the HTTP status code, 429.
        retry_after: seconds to wait as given by `Retry-After`, or None without a usable one.
        retryable: always true.
    """

    default_http_code = 429
    retryable = True

    def __init__(
        self, message: str, *, http_code: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, http_code=http_code)
        self.retry_after = retry_after


class QuotaExceededError(ResponseError):
    """466: the plan's quota is used up until next month or a plan upgrade.

    Attributes:
        message: `description`, or what the code means.
        http_code: the HTTP status code, 466.
        method: the API method that the quota is for, or None if the API did not say.
        used: calls made so far, or None if the API did not say.
        total: calls that the plan allows, or None if the API did not say.
        description: the API's explanation, or None if it gave none.
        retryable: always false.
    """

    default_http_code = 466

    def __init__(
        self,
        message: str,
        *,
        http_code: int | None = None,
        method: str | None = None,
        used: int | None = None,
        total: int | None = None,
        description: str | None = None,
    ) -> None:
        super().__init__(message, http_code=http_code)
        self.method = method
        self.used = used
        self.total = total
        self.description = description


class ServerError(ResponseError):
    """408, 421, 425, 499, 5xx or any other code that is the server's own fault.

    Attributes:
        message: what the API said, truncated, unless the token is in it.
        http_code: the HTTP status code.
        retryable: always true.
    """

    default_http_code = 500
    retryable = True


class UnexpectedRedirectError(ServerError):
    """3xx: the API never redirects, so a proxy or a captive portal responded.

    Attributes:
        message: where the redirect leads.
        http_code: the HTTP status code, 3xx.
        location: the host in `Location`, without path or query, or None if there is none.
        retryable: always true.
    """

    default_http_code = 302

    def __init__(self, message: str, *, http_code: int | None = None, location: str | None = None) -> None:
        super().__init__(message, http_code=http_code)
        self.location = location


class DecodeError(GreenApiError):
    """A 200 whose body is not a JSON array: a web page, truncated JSON, an object.

    Attributes:
        message: what was found in place of an array.
        retryable: always true.
    """

    retryable = True


class BodyTooLargeError(GreenApiError):
    """The response is larger than `max_body`, as sent or decompressed.

    Attributes:
        message: the limit and what to change.
        limit: the limit in bytes.
        retryable: always false.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the response is larger than {limit} bytes: request fewer minutes or raise max_body"
        )
        self.limit = limit


class MediaError(GreenApiError):
    """A download was refused, is not the type of file it claims to be, or cannot be saved.

    Attributes:
        message: what went wrong.
        http_code: the media server's HTTP status code if that was the reason, else None.
        retryable: whether the download may succeed on retry, as after 429 or 5xx.
    """

    def __init__(self, message: str, *, http_code: int | None = None, retryable: bool = False) -> None:
        super().__init__(message)
        self.http_code = http_code
        self.retryable: bool = retryable


class DirectoryError(MediaError):
    """The directory cannot be written to, for example because the disk is full.

    Attributes:
        message: the directory and the reason.
        http_code: always None.
        retryable: whether waiting may help, as on a full disk; false if somebody has to remove what is in the way.
    """


class RetentionGapError(GreenApiError):
    """Statuses may have been missed: the API keeps them for only 30 days, or returned fewer.

    The poller does not raise this error; it adds it to `health.gaps`. The vendor documents the retention at
    https://green-api.com/en/docs/api/statuses/GetIncomingStatuses/

    Attributes:
        message: the gap and its cause.
        lost_from: start of the gap (aware, UTC).
        lost_to: end of the gap (aware, UTC).
        retryable: always false.
    """

    def __init__(self, lost_from: datetime, lost_to: datetime) -> None:
        super().__init__(
            f"statuses from {lost_from:%Y-%m-%d %H:%M} to {lost_to:%Y-%m-%d %H:%M} UTC may be lost: "
            "they are newer than what was seen, but older than what the API still returns"
        )
        self.lost_from = lost_from
        self.lost_to = lost_to


class StoreError(GreenApiError):
    """The store failed; the poller never continues without it.

    Attributes:
        message: which store failed and why.
        retryable: true if waiting may help: another program has locked the file, the disk is full, too many files are
            open, or Redis does not respond. The poller's loops then wait; `commit`, `Batch.commit` and `poll_once` raise it.
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable: bool = retryable


def sealed(error: _Error) -> _Error:
    """Return the error without its traceback and causes, which hold bodies and requests."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
